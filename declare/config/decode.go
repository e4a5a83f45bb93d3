package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/registry/lifecycle"
	"github.com/berth-registry/berth/registry/name"
)

// The keys of a block, in the order in which they are written.
const (
	keyRepositories   = "ecr-repositories"
	keyAccountAccess  = "account_access"
	keyGitHubAccess   = "github_access"
	keySettings       = "repository_settings"
	keyCreateOnPush   = "create_on_push_prefixes"
	keyTemplates      = "creation_templates"
	keyRegistryPolicy = "registry_policy"
	keyAccount        = "account_id"
	keyRegion         = "region"
)

// Keys of a repository's settings.
const (
	keyMutability = "image_tag_mutability"
	keyExclusions = "image_tag_mutability_exclusions"
	keyScan       = "scan_on_push"
	keyEncryption = "encryption_type"
	keyKMSKey     = "kms_key"
	keyLifecycle  = "lifecycle_policy"
	keyPolicy     = "repository_policy"
	keyTags       = "tags"
)

func settingKeys() []string {
	return []string{keyMutability, keyExclusions, keyScan, keyEncryption, keyKMSKey, keyLifecycle, keyPolicy, keyTags}
}

func moduleKeys() []string {
	return append([]string{keyRepositories, keyAccountAccess, keyGitHubAccess, keySettings, keyCreateOnPush, keyTemplates, keyRegistryPolicy, keyAccount, keyRegion}, settingKeys()...)
}

// ours reports whether a block is about repositories: whether it has a key that only
// ours have, or one that is nearly it.
func ours(keys []string) bool {
	mark := []string{keyRepositories, keyAccountAccess, keyGitHubAccess, keyCreateOnPush, keyTemplates}
	for _, k := range keys {
		if slices.Contains(mark, k) || nearest(k, mark) != "" {
			return true
		}
	}
	return false
}

// forTerraform are arguments that say something to terraform alone.
var forTerraform = []string{"source", "version", "providers", "depends_on", "create_github_oidc_provider", "force_delete"}

// module reads a block's keys.
func (r *reader) module(label string, pos Pos, fields []field) *Module {
	m := &Module{Name: label, Pos: pos, Each: map[string]Settings{}}
	n := &node{pos: pos, kind: object}
	for _, f := range fields {
		switch {
		case slices.Contains(forTerraform, f.key):
		case f.key == "count" || f.key == "for_each":
			r.fail(f.pos, "%s is not supported: write one block for each", f.key)
		case !slices.Contains(moduleKeys(), f.key):
			r.unknown(f, "the block", moduleKeys())
		default:
			n.fields = append(n.fields, f)
		}
	}
	if v := n.get(keyRepositories); v != nil {
		m.Repositories = r.repositories(v)
	}
	if v := n.get(keyAccountAccess); v != nil {
		m.Accounts = r.accounts(v)
	}
	if v := n.get(keyGitHubAccess); v != nil {
		m.GitHub = r.github(v)
	}
	m.Settings = r.settings(n, "")
	if v := n.get(keySettings); v != nil && r.is(v, object, keySettings) {
		for _, f := range v.fields {
			what := fmt.Sprintf("%s[%q]", keySettings, f.key)
			if !slices.ContainsFunc(m.Repositories, func(d Named) bool { return d.Name == f.key }) {
				r.fail(f.pos, "%s is of a repository that %s does not list", what, keyRepositories)
			}
			if r.object(f.val, what, nil, settingKeys()...) {
				m.Each[f.key] = r.settings(f.val, what+".")
			}
		}
	}
	if v := n.get(keyCreateOnPush); v != nil {
		m.CreateOnPush = r.prefixes(v)
	}
	if v := n.get(keyTemplates); v != nil {
		m.Templates = r.templates(v)
	}
	if v := n.get(keyRegistryPolicy); v != nil {
		m.RegistryPolicy = r.policy(v, keyRegistryPolicy, policy.Registry)
	}
	r.landing(n, m)
	return m
}

// landing reads where the block says that it lands.
func (r *reader) landing(n *node, m *Module) {
	if v := n.get(keyAccount); v != nil {
		if m.Account = arn.Account(r.str(v, keyAccount)); !m.Account.Valid() {
			r.fail(v.pos, "%s %q must have 12 digits", keyAccount, m.Account)
		}
	}
	if v := n.get(keyRegion); v != nil {
		if m.Region = arn.Region(r.str(v, keyRegion)); !m.Region.Valid() {
			r.fail(v.pos, "%s %q is no name of a region", keyRegion, m.Region)
		}
	}
}

func (r *reader) repositories(v *node) []Named {
	out := r.strings(v, keyRepositories)
	seen := map[string]bool{}
	for _, d := range out {
		switch {
		case !name.Valid(d.Name):
			r.fail(d.Pos, "%q cannot name a repository: it must have 2 to %d characters, lower case letters and digits, in words joined by one . _ or by -, in parts joined by /", d.Name, name.Max)
		case seen[d.Name]:
			r.fail(d.Pos, "%q is listed twice", d.Name)
		}
		seen[d.Name] = true
	}
	return out
}

func (r *reader) accounts(v *node) []AccountAccess {
	var out []AccountAccess
	seen := map[arn.Account]bool{}
	for i, item := range r.list(v, keyAccountAccess) {
		what := fmt.Sprintf("%s[%d]", keyAccountAccess, i)
		if !r.object(item, what, []string{"account_id"}, "description", "can_write") {
			continue
		}
		a := AccountAccess{Pos: item.pos, ID: arn.Account(r.str(item.get("account_id"), what+".account_id"))}
		switch {
		case a.ID != "" && !a.ID.Valid():
			r.fail(item.get("account_id").pos, "%s.account_id %q must have 12 digits; write it in quotes", what, a.ID)
		case seen[a.ID]:
			r.fail(item.pos, "account %s is listed twice", a.ID)
		}
		seen[a.ID] = true
		if d := item.get("description"); d != nil {
			a.Description = r.str(d, what+".description")
		}
		if w := item.get("can_write"); w != nil {
			if b := r.flag(w, what+".can_write"); b != nil {
				a.CanWrite = *b
			}
		}
		out = append(out, a)
	}
	return out
}

func (r *reader) github(v *node) *GitHubAccess {
	if !r.object(v, keyGitHubAccess, []string{"role_name", "github_repositories"}) {
		return nil
	}
	g := &GitHubAccess{Pos: v.pos, Role: r.str(v.get("role_name"), keyGitHubAccess+".role_name")}
	if g.Role != "" && !roleName(g.Role) {
		r.fail(v.get("role_name").pos, "role_name %q must have at most 64 characters: letters, digits and +=,.@_-", g.Role)
	}
	const what = keyGitHubAccess + ".github_repositories"
	for i, item := range r.list(v.get("github_repositories"), what) {
		at := fmt.Sprintf("%s[%d]", what, i)
		if !r.object(item, at, []string{"organisation", "repository"}, "organisation_id", "repository_id", "subjects") {
			continue
		}
		d := GitHubRepository{Pos: item.pos}
		for _, f := range []struct {
			key     string
			dest    *string
			pattern func(string) bool
			rule    string
		}{{"organisation", &d.Organisation, githubName, "letters, digits, - and *"}, {"repository", &d.Repository, githubName, "letters, digits, . _ - and *"},
			{"organisation_id", &d.OrganisationID, digits, "digits"}, {"repository_id", &d.RepositoryID, digits, "digits"}} {
			if n := item.get(f.key); n != nil {
				if *f.dest = r.str(n, at+"."+f.key); *f.dest != "" && !f.pattern(*f.dest) {
					r.fail(n.pos, "%s.%s %q must have %s", at, f.key, *f.dest, f.rule)
				} else if *f.dest == "" && n.kind == text {
					r.fail(n.pos, "%s.%s must not be empty", at, f.key)
				}
			}
		}
		if n := item.get("organisation"); strings.Trim(d.Organisation, "*") == "" && d.Organisation != "" && d.OrganisationID == "" {
			r.fail(n.pos, "%s.organisation %q is true of everybody on GitHub: name the organisation, or give organisation_id", at, d.Organisation)
		}
		if n := item.get("subjects"); n != nil {
			for _, s := range r.strings(n, at+".subjects") {
				if s.Name == "" || len(s.Name) > 256 || strings.Contains(s.Name, "${") {
					r.fail(s.Pos, "%s.subjects: %q is no end of a subject, such as ref:refs/heads/main or environment:production", at, s.Name)
				}
				d.Subjects = append(d.Subjects, s.Name)
			}
		}
		g.Repositories = append(g.Repositories, d)
	}
	if len(g.Repositories) == 0 && len(r.problems) == 0 {
		r.fail(v.pos, "%s must name at least one repository", what)
	}
	return g
}

func every(s string, ok func(rune) bool) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}

func alnum(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func roleName(s string) bool {
	return len(s) <= 64 && every(s, func(c rune) bool { return alnum(c) || strings.ContainsRune("+=,.@_-", c) })
}

func githubName(s string) bool {
	return len(s) <= 100 && every(s, func(c rune) bool { return alnum(c) || strings.ContainsRune("._-*", c) })
}

func digits(s string) bool {
	return len(s) <= 20 && every(s, func(c rune) bool { return c >= '0' && c <= '9' })
}

// settings reads what an object says of repositories; prefix is for the errors.
func (r *reader) settings(n *node, prefix string) Settings {
	var s Settings
	if v := n.get(keyMutability); v != nil {
		s.Mutability = r.word(v, prefix+keyMutability, "MUTABLE", "IMMUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION")
	}
	if v := n.get(keyExclusions); v != nil {
		for _, f := range r.strings(v, prefix+keyExclusions) {
			s.Exclusions = append(s.Exclusions, f.Name)
		}
		if !strings.HasSuffix(s.Mutability, "_WITH_EXCLUSION") {
			r.fail(v.pos, "%s%s goes with %s MUTABLE_WITH_EXCLUSION or IMMUTABLE_WITH_EXCLUSION", prefix, keyExclusions, keyMutability)
		}
	} else if strings.HasSuffix(s.Mutability, "_WITH_EXCLUSION") {
		r.fail(n.get(keyMutability).pos, "%s%s %s needs %s", prefix, keyMutability, s.Mutability, keyExclusions)
	}
	if v := n.get(keyScan); v != nil {
		s.ScanOnPush = r.flag(v, prefix+keyScan)
	}
	if v := n.get(keyEncryption); v != nil {
		s.Encryption = r.word(v, prefix+keyEncryption, "AES256", "KMS", "KMS_DSSE")
	}
	if v := n.get(keyKMSKey); v != nil {
		if s.KMSKey = r.str(v, prefix+keyKMSKey); s.Encryption == "" || s.Encryption == "AES256" {
			r.fail(v.pos, "%s%s goes with %s KMS", prefix, keyKMSKey, keyEncryption)
		}
	}
	if v := n.get(keyLifecycle); v != nil {
		s.LifecyclePolicy = r.json(v, prefix+keyLifecycle)
		if _, err := lifecycle.Parse(s.LifecyclePolicy); err != nil && s.LifecyclePolicy != "" {
			r.fail(v.pos, "%s%s: %v", prefix, keyLifecycle, err)
		}
	}
	if v := n.get(keyPolicy); v != nil {
		s.RepositoryPolicy = r.policy(v, prefix+keyPolicy, policy.Repository)
	}
	if v := n.get(keyTags); v != nil {
		s.Tags = r.tags(v, prefix+keyTags)
	}
	return s
}

func (r *reader) word(v *node, what string, words ...string) string {
	s := r.str(v, what)
	if s != "" && !slices.Contains(words, s) {
		r.fail(v.pos, "%s %q must be one of %s", what, s, strings.Join(words, ", "))
	}
	return s
}

// json reads a document: a string that holds it, or the value itself.
func (r *reader) json(v *node, what string) string {
	if v.kind == text {
		if !json.Valid([]byte(v.text)) {
			r.fail(v.pos, "%s holds no JSON", what)
			return ""
		}
		return v.text
	}
	if !r.is(v, object, what) {
		return ""
	}
	b, err := json.Marshal(v.value())
	if err != nil {
		r.fail(v.pos, "%s: %v", what, err)
	}
	return string(b)
}

func (r *reader) policy(v *node, what string, kind policy.Kind) string {
	s := r.json(v, what)
	if s == "" {
		return ""
	}
	if _, err := policy.Parse(s, kind); err != nil {
		r.fail(v.pos, "%s: %s", what, policy.Why(err))
	}
	return s
}

// value is the node as encoding/json knows it.
func (n *node) value() any {
	switch n.kind {
	case boolean:
		return n.truth
	case number:
		return json.Number(n.text)
	case text:
		return n.text
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = item.value()
		}
		return out
	case object:
		out := map[string]any{}
		for _, f := range n.fields {
			out[f.key] = f.val.value()
		}
		return out
	}
	return nil
}

func (r *reader) prefixes(v *node) []Named {
	out := r.strings(v, keyCreateOnPush)
	for _, d := range out {
		r.prefix(d.Name, d.Pos, keyCreateOnPush)
	}
	return out
}

func (r *reader) prefix(s string, pos Pos, what string) {
	if !name.ValidPrefix(s) {
		r.fail(pos, "%s: %q is neither %s nor the beginning of names of repositories", what, s, name.Root)
	}
}

func (r *reader) templates(v *node) []Template {
	var out []Template
	for i, item := range r.list(v, keyTemplates) {
		what := fmt.Sprintf("%s[%d]", keyTemplates, i)
		if !r.object(item, what, []string{"prefix", "applied_for"}, append([]string{"description", "custom_role_arn"}, settingKeys()...)...) {
			continue
		}
		t := Template{Pos: item.pos, Prefix: r.str(item.get("prefix"), what+".prefix"), Settings: r.settings(item, what+".")}
		r.prefix(t.Prefix, item.pos, what+".prefix")
		for _, d := range r.strings(item.get("applied_for"), what+".applied_for") {
			t.AppliedFor = append(t.AppliedFor, d.Name)
			if !slices.Contains([]string{"CREATE_ON_PUSH", "PULL_THROUGH_CACHE", "REPLICATION"}, d.Name) {
				r.fail(d.Pos, "%s.applied_for %q must be CREATE_ON_PUSH, PULL_THROUGH_CACHE or REPLICATION", what, d.Name)
			}
		}
		if d := item.get("description"); d != nil {
			t.Description = r.str(d, what+".description")
		}
		if d := item.get("custom_role_arn"); d != nil {
			t.RoleARN = r.str(d, what+".custom_role_arn")
		}
		out = append(out, t)
	}
	return out
}
