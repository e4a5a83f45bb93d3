package declare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/identity/policy"
)

// The fields of things.
const (
	fieldMutability  = "image_tag_mutability"
	fieldExclusions  = "image_tag_mutability_exclusions"
	fieldScan        = "scan_on_push"
	fieldEncryption  = "encryption_type"
	fieldKMSKey      = "kms_key"
	fieldLifecycle   = "lifecycle_policy"
	fieldPolicy      = "repository_policy"
	fieldTag         = "tags."
	fieldTrust       = "trust_policy"
	fieldInline      = "inline_policy"
	fieldClient      = "client_id."
	fieldAppliedFor  = "applied_for"
	fieldDescription = "description"
	fieldCustomRole  = "custom_role_arn"
	fieldTags        = "resource_tags"
	fieldRegistry    = "registry_policy"
)

// defaults are what fields have that nobody sets.
func defaultOf(kind Kind, field string) string {
	switch {
	case kind == Repository && field == fieldMutability:
		return "MUTABLE"
	case kind == Repository && field == fieldScan:
		return "false"
	}
	return ""
}

// Options say where files land and how far a plan goes.
type Options struct {
	// Account and Region land everything there; the defaults what says nothing itself.
	Account        arn.Account
	Region         arn.Region
	DefaultAccount arn.Account
	DefaultRegion  arn.Region
	// Adopt takes over what is there undeclared, AdoptFrom what those sources declare.
	Adopt     bool
	AdoptFrom []string
	// Prune deletes repositories that their file no longer lists, Force also when they
	// hold images.
	Prune, Force bool
	// Destroy plans to delete all that the files declare.
	Destroy bool
	// Sources are files that declare nothing any more.
	Sources []string
}

func (o *Options) place(m *config.Module) arn.Place {
	return arn.Place{Account: cmp.Or(o.Account, m.Account, o.DefaultAccount), Region: cmp.Or(o.Region, m.Region, o.DefaultRegion)}
}

// wanted is everything that files declare.
type wanted struct {
	resources []*Resource
	sources   map[string]bool
	accounts  map[arn.Account]string // by id, what to call them
	landing   map[arn.Account]bool
	places    map[arn.Place]bool
	grants    []Grant
	warnings  []string
	problems  config.Problems
}

// desire turns blocks into things.
func desire(files []*config.File, o Options) *wanted {
	w := &wanted{sources: map[string]bool{}, accounts: map[arn.Account]string{}, landing: map[arn.Account]bool{}, places: map[arn.Place]bool{}}
	for _, s := range o.Sources {
		w.sources[s] = true
		w.touch(o.place(&config.Module{}))
	}
	for _, f := range files {
		w.sources[f.Source] = true
		for _, m := range f.Modules {
			if o.Destroy {
				w.touch(o.place(m))
			} else {
				w.module(m, o.place(m))
			}
		}
	}
	seen := map[string]*Resource{}
	w.resources = slices.DeleteFunc(w.resources, func(r *Resource) bool {
		k := fmt.Sprint(r.Place, r.Key)
		if r.Kind == Provider { // files share it
			k += r.Source
		}
		first := seen[k]
		if first == nil {
			seen[k] = r
		} else if r.Kind != Provider {
			w.problems = append(w.problems, config.Problem{Pos: r.Pos, Text: fmt.Sprintf("%s %q in account %s is declared twice; it stands already at %s (module %q)", r.Kind, r.Name, r.Place.Account, first.Pos, first.Module)})
		}
		return first != nil
	})
	return w
}

func (w *wanted) touch(p arn.Place) {
	w.landing[p.Account], w.places[p], w.places[arn.Place{Account: p.Account}] = true, true, true
}

func (w *wanted) module(m *config.Module, p arn.Place) {
	if p.Account == "" || p.Region == "" {
		w.problems = append(w.problems, config.Problem{Pos: m.Pos, Text: "nothing says in which account and region this lands: give --account and --region, or account_id and region in the block"})
		return
	}
	w.touch(p)
	if m.AccountName != "" && m.Account == p.Account {
		w.accounts[p.Account] = m.AccountName
	}
	for _, a := range m.Accounts {
		if w.accounts[a.ID] == "" {
			w.accounts[a.ID] = a.Description
		}
	}
	add := func(place arn.Place, kind Kind, name string, pos config.Pos, fields map[string]string) {
		w.resources = append(w.resources, &Resource{Key: key{Kind: kind, Name: name}, Place: place, Source: m.Source, Module: m.Name, Pos: pos, Fields: fields})
	}
	for _, d := range m.Repositories {
		s := m.Each[d.Name].Over(m.Settings)
		fields := repositoryFields(&s)
		if text := repositoryPolicy(m, p.Account, s.RepositoryPolicy); text != "" {
			w.check(d.Pos, text)
			fields[fieldPolicy] = text
		}
		add(p, Repository, d.Name, d.Pos, fields)
	}
	account := arn.Place{Account: p.Account}
	tagged := len(m.Settings.Tags) > 0
	if g := m.GitHub; g != nil {
		trust := trustPolicy(g, p.Account)
		w.reviewTrust(g, trust)
		add(account, Provider, policy.GitHubIssuer, g.Pos, map[string]string{fieldClient + audience: "true"})
		add(account, Role, g.Role, g.Pos, map[string]string{fieldTrust: trust, fieldInline: rolePolicy(m, p, tagged)})
		w.grants = append(w.grants, grant(m, p))
	}
	for _, d := range m.CreateOnPush {
		add(p, Template, d.Name, d.Pos, templateFields(&config.Template{AppliedFor: []string{"CREATE_ON_PUSH"}, Description: "Creates repositories on push", Settings: m.Settings},
			repositoryPolicy(m, p.Account, m.Settings.RepositoryPolicy)))
	}
	for i := range m.Templates {
		t := &m.Templates[i]
		add(p, Template, t.Prefix, t.Pos, templateFields(t, t.Settings.RepositoryPolicy))
	}
	if m.RegistryPolicy != "" {
		add(p, RegistryPolicy, "", m.Pos, map[string]string{fieldRegistry: m.RegistryPolicy})
	}
}

// maxRepositoryPolicy is how long a policy may be (ECR, SetRepositoryPolicy).
const maxRepositoryPolicy = 10_240

func (w *wanted) check(pos config.Pos, text string) {
	if len(text) > maxRepositoryPolicy {
		w.problems = append(w.problems, config.Problem{Pos: pos, Text: fmt.Sprintf("the repository's policy would have %d bytes, at most %d are allowed: let fewer accounts in, or use registry_policy", len(text), maxRepositoryPolicy)})
	}
}

// maxTrust is how long a role's trust policy may be (IAM quotas).
const maxTrust = 4096

// reviewTrust refuses a trust policy that would let strangers in, and warns of one that
// lets in more than it seems.
func (w *wanted) reviewTrust(g *config.GitHubAccess, text string) {
	if len(text) > maxTrust {
		w.problems = append(w.problems, config.Problem{Pos: g.Pos, Text: fmt.Sprintf("the role's trust policy would have %d bytes, at most %d are allowed: use wildcards, or a block with another role for some of the repositories", len(text), maxTrust)})
		return
	}
	d, err := policy.Parse(text, policy.Trust)
	var warnings []string
	if err == nil {
		warnings, err = policy.ReviewTrust(d)
	}
	if err != nil {
		w.problems = append(w.problems, config.Problem{Pos: g.Pos, Text: policy.Why(err)})
	}
	for _, text := range warnings {
		if strings.Contains(text, "wildcard in the owner") { // the others are of every block that pins no branch
			w.warnings = append(w.warnings, config.Problem{Pos: g.Pos, Text: text}.Error())
		}
	}
}

func grant(m *config.Module, p arn.Place) Grant {
	g := Grant{Module: m.Name, Source: m.Source, Role: roleARN(p.Account, m.GitHub.Role), Region: p.Region, Repositories: []string{}, GitHub: []string{}}
	for _, d := range m.Repositories {
		g.Repositories = append(g.Repositories, d.Name)
	}
	for _, d := range m.GitHub.Repositories {
		g.GitHub = append(g.GitHub, d.Organisation+"/"+d.Repository)
	}
	return g
}

func list(items []string) string {
	if len(items) == 0 {
		return ""
	}
	b, err := json.Marshal(slices.Sorted(slices.Values(items)))
	if err != nil {
		return ""
	}
	return string(b)
}

func unlist(s string) []string {
	var out []string
	if s != "" && json.Unmarshal([]byte(s), &out) != nil {
		return nil
	}
	return out
}

// repositoryFields are what settings say of a repository, but for its policy.
func repositoryFields(s *config.Settings) map[string]string {
	f := map[string]string{}
	put := func(k, v string) {
		if v != "" {
			f[k] = v
		}
	}
	put(fieldMutability, s.Mutability)
	if s.Mutability != "" {
		f[fieldExclusions] = list(s.Exclusions)
	}
	if s.ScanOnPush != nil {
		f[fieldScan] = fmt.Sprint(*s.ScanOnPush)
	}
	put(fieldEncryption, s.Encryption)
	put(fieldKMSKey, s.KMSKey)
	put(fieldLifecycle, s.LifecyclePolicy)
	for k, v := range s.Tags {
		f[fieldTag+k] = v
	}
	return f
}

// templateFields are all that a template has: it is declared whole.
func templateFields(t *config.Template, text string) map[string]string {
	s := &t.Settings
	tags := ""
	if len(s.Tags) > 0 {
		if b, err := json.Marshal(s.Tags); err == nil { // with sorted keys
			tags = string(b)
		}
	}
	return map[string]string{fieldAppliedFor: list(t.AppliedFor), fieldDescription: t.Description, fieldCustomRole: t.RoleARN, fieldMutability: cmp.Or(s.Mutability, "MUTABLE"),
		fieldExclusions: list(s.Exclusions), fieldEncryption: cmp.Or(s.Encryption, "AES256"), fieldKMSKey: s.KMSKey, fieldTags: tags, fieldPolicy: text, fieldLifecycle: s.LifecyclePolicy}
}
