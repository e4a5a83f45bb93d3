package declare

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/identity/policy"
)

// Collection is what a registry has, as blocks that would make it again.
type Collection struct {
	Modules      []*config.Module
	Repositories int
	// Notes tell what could not be said by blocks.
	Notes []string
}

// Collect reads the registry of a place: repositories with their settings, policies and
// lifecycles, templates, the registry policy, and the roles of GitHub workflows that
// policies name. names says what accounts are called; it may be nil.
func (b *Backend) Collect(ctx context.Context, p arn.Place, names map[arn.Account]string) (*Collection, error) {
	clients, err := b.Connect(ctx, p)
	if err != nil {
		return nil, err
	}
	c := &collector{Clients: clients, place: p, names: names, roles: map[string]*config.GitHubAccess{}, out: &Collection{}}
	if err := c.repositories(ctx, b.progress); err != nil {
		return nil, fmt.Errorf("read the repositories of account %s: %w", p.Account, plain(err))
	}
	if err := c.rest(ctx); err != nil {
		return nil, fmt.Errorf("read the registry of account %s: %w", p.Account, plain(err))
	}
	return c.out, nil
}

type collector struct {
	Clients
	place arn.Place
	names map[arn.Account]string
	roles map[string]*config.GitHubAccess // by name; nil for those that are no GitHub workflow's
	out   *Collection
}

// found is one repository with what its policy stands for.
type found struct {
	name     string
	policy   string // its text
	settings config.Settings
	accounts []config.AccountAccess
	role     string
}

func (f *found) group() string { return fmt.Sprint(f.role, f.accounts) }

func (c *collector) repositories(ctx context.Context, progress func(string, int, int)) error {
	all, err := Repositories(ctx, c.ECR, nil)
	if err != nil {
		return err
	}
	c.out.Repositories = len(all)
	fields := make([]map[string]string, len(all))
	err = each(ctx, len(all), func(ctx context.Context, i int) error {
		var err error
		fields[i], err = RepositoryFields(ctx, c.ECR, &all[i], func(string) bool { return true })
		return err
	}, func(n int) { progress("reading repositories", n, len(all)) })
	if err != nil {
		return err
	}
	list := make([]*found, len(all))
	for i := range all {
		f := &found{policy: fields[i][fieldPolicy], name: aws.ToString(all[i].RepositoryName), settings: settings(fields[i])}
		if key := f.settings.KMSKey; key != "" { // a key belongs to its account; another one has the default
			f.settings.KMSKey = ""
			note := fmt.Sprintf("key %s is not written: give kms_key where another than the account's own shall encrypt", key)
			if !slices.Contains(c.out.Notes, note) {
				c.out.Notes = append(c.out.Notes, note)
			}
		}
		c.readPolicy(ctx, f)
		list[i] = f
	}
	groups := grouped(list)
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b string) int { return strings.Compare(first(groups[a]), first(groups[b])) })
	for _, k := range keys {
		c.out.Modules = append(c.out.Modules, c.module(groups[k], len(c.out.Modules)))
	}
	return nil
}

// grouped puts repositories with the same access together. A role is one block's: where
// several differ in their accounts, the most have it as access, the others as a policy.
func grouped(list []*found) map[string][]*found {
	groups := map[string][]*found{}
	for _, f := range list {
		groups[f.group()] = append(groups[f.group()], f)
	}
	most := map[string]string{} // by role, its group
	for _, k := range slices.Sorted(maps.Keys(groups)) {
		if role := groups[k][0].role; role != "" && len(groups[k]) > len(groups[most[role]]) {
			most[role] = k
		}
	}
	for _, k := range slices.Sorted(maps.Keys(groups)) {
		role := groups[k][0].role
		if role == "" || most[role] == k {
			continue
		}
		for _, f := range groups[k] {
			f.role, f.accounts, f.settings.RepositoryPolicy = "", nil, f.policy
			groups[f.group()] = append(groups[f.group()], f)
		}
		delete(groups, k)
	}
	return groups
}

func first(list []*found) string {
	return slices.MinFunc(list, func(a, b *found) int { return strings.Compare(a.name, b.name) }).name
}

// settings turns fields back into what a block says; defaults are left out.
func settings(f map[string]string) config.Settings {
	s := config.Settings{LifecyclePolicy: f[fieldLifecycle], Exclusions: unlist(f[fieldExclusions])}
	if m := f[fieldMutability]; m != "MUTABLE" {
		s.Mutability = m
	}
	if f[fieldScan] == "true" {
		yes := true
		s.ScanOnPush = &yes
	}
	if e := f[fieldEncryption]; e != "AES256" {
		s.Encryption, s.KMSKey = e, f[fieldKMSKey]
	}
	for k, v := range f {
		if key, ok := strings.CutPrefix(k, fieldTag); ok && !strings.HasPrefix(key, "aws:") {
			if s.Tags == nil {
				s.Tags = map[string]string{}
			}
			s.Tags[key] = v
		}
	}
	return s
}

// readPolicy finds in a policy the statements that access of a block stands for. If the
// policy cannot be said so exactly, it stays a policy.
func (c *collector) readPolicy(ctx context.Context, f *found) {
	text := f.policy
	if text == "" {
		return
	}
	var doc struct{ Statement []json.RawMessage }
	if json.Unmarshal([]byte(compact(text, canonicalPolicy)), &doc) != nil {
		f.settings.RepositoryPolicy = text
		return
	}
	m := &config.Module{}
	var rest []any
	for _, raw := range doc.Statement {
		var s struct {
			Sid       string
			Principal map[string][]string
		}
		if json.Unmarshal(raw, &s) != nil || !c.access(ctx, m, s.Sid, s.Principal["AWS"]) {
			rest = append(rest, raw)
		}
	}
	extra := ""
	if rest != nil {
		extra = document(rest...)
	}
	if canonical(fieldPolicy, repositoryPolicy(m, c.place.Account, extra)) != canonical(fieldPolicy, text) {
		f.settings.RepositoryPolicy = text
		return
	}
	if f.accounts, f.settings.RepositoryPolicy = m.Accounts, extra; m.GitHub != nil {
		f.role = m.GitHub.Role
	}
}

// access takes a statement as access, by its name. Whether it says just that is seen
// when the policy is made again.
func (c *collector) access(ctx context.Context, m *config.Module, sid string, principals []string) bool {
	switch sid {
	case sidPull, sidPush:
		for _, p := range principals {
			a, err := arn.Parse(p)
			if err != nil || a.Resource != "root" {
				return false
			}
			i := slices.IndexFunc(m.Accounts, func(x config.AccountAccess) bool { return x.ID == a.Account })
			if sid == sidPull && i < 0 {
				m.Accounts = append(m.Accounts, config.AccountAccess{Description: c.names[a.Account], ID: a.Account})
			} else if i >= 0 {
				m.Accounts[i].CanWrite = true
			}
		}
		return true
	case sidGitHub:
		if len(principals) != 1 {
			return false
		}
		name, ok := strings.CutPrefix(principals[0], roleARN(c.place.Account, ""))
		if !ok {
			return false
		}
		if _, known := c.roles[name]; !known {
			c.roles[name] = c.readRole(ctx, name)
		}
		if c.roles[name] == nil {
			return false
		}
		m.GitHub = c.roles[name]
		return true
	}
	return false
}

// readRole reads a role that a block with access for GitHub would make, else nil.
func (c *collector) readRole(ctx context.Context, name string) *config.GitHubAccess {
	f, err := readRole(ctx, c.IAM, name)
	if err != nil || f == nil {
		c.out.Notes = append(c.out.Notes, fmt.Sprintf("role %s cannot be read, so that policies that name it stay policies: %v", name, plain(err)))
		return nil
	}
	var doc struct {
		Statement []struct {
			Condition map[string]map[string][]string
		}
	}
	if json.Unmarshal([]byte(canonical(fieldTrust, f[fieldTrust])), &doc) != nil || len(doc.Statement) != 1 {
		return nil
	}
	if plainLogin := rolePolicy(&config.Module{}, c.place, false); canonical(fieldInline, f[fieldInline]) != canonical(fieldInline, plainLogin) {
		c.out.Notes = append(c.out.Notes, fmt.Sprintf("role %s has rights of its own, which are not written; create_on_push_prefixes gives the right to create", name))
	}
	g := &config.GitHubAccess{Role: name, Repositories: githubRepositories(doc.Statement[0].Condition["StringLike"][policy.GitHubIssuer+":sub"])}
	if canonical(fieldTrust, trustPolicy(g, c.place.Account)) != canonical(fieldTrust, f[fieldTrust]) {
		c.out.Notes = append(c.out.Notes, fmt.Sprintf("role %s trusts in a way that github_access cannot say; it is not written", name))
		return nil
	}
	return g
}

// githubRepositories finds what subjects stand for. Those that do not fit come out as
// something else, which the caller sees.
func githubRepositories(subjects []string) []config.GitHubRepository {
	var out []config.GitHubRepository
	at := map[string]int{}
	for _, s := range subjects {
		rest, ok := strings.CutPrefix(s, "repo:")
		names, context, ok2 := strings.Cut(rest, ":")
		owner, repository, ok3 := strings.Cut(names, "/")
		if !ok || !ok2 || !ok3 {
			return nil
		}
		organisation, oid, pinned := strings.Cut(owner, "@")
		repository, rid, _ := strings.Cut(repository, "@")
		if !pinned {
			continue // its twin with ids tells
		}
		d := config.GitHubRepository{Organisation: organisation, Repository: repository}
		if oid != "*" {
			d.OrganisationID = oid
		}
		if rid != "*" {
			d.RepositoryID = rid
		}
		k := fmt.Sprint(d)
		if _, known := at[k]; !known {
			at[k] = len(out)
			out = append(out, d)
		}
		if context != "*" {
			out[at[k]].Subjects = append(out[at[k]].Subjects, context)
		}
	}
	return out
}

// module makes a block of repositories with the same access.
func (c *collector) module(list []*found, n int) *config.Module {
	slices.SortFunc(list, func(a, b *found) int { return strings.Compare(a.name, b.name) })
	m := &config.Module{Name: "ecr", Accounts: list[0].accounts, Each: map[string]config.Settings{}}
	if n > 0 {
		m.Name = fmt.Sprintf("ecr-%d", n+1)
	}
	if role := list[0].role; role != "" {
		m.GitHub = c.roles[role]
	}
	m.Settings = list[0].settings
	for _, f := range list {
		m.Repositories = append(m.Repositories, config.Named{Name: f.name})
		m.Settings = common(m.Settings, f.settings)
	}
	for _, f := range list {
		if own := without(f.settings, m.Settings); !empty(own) {
			m.Each[f.name] = own
		}
	}
	return m
}

// common is what two settings agree in.
func common(a, b config.Settings) config.Settings {
	if a.Mutability != b.Mutability || !slices.Equal(a.Exclusions, b.Exclusions) {
		a.Mutability, a.Exclusions = "", nil
	}
	if a.ScanOnPush == nil || b.ScanOnPush == nil || *a.ScanOnPush != *b.ScanOnPush {
		a.ScanOnPush = nil
	}
	if a.Encryption != b.Encryption || a.KMSKey != b.KMSKey {
		a.Encryption, a.KMSKey = "", ""
	}
	if canonical(fieldLifecycle, a.LifecyclePolicy) != canonical(fieldLifecycle, b.LifecyclePolicy) {
		a.LifecyclePolicy = ""
	}
	if canonical(fieldPolicy, a.RepositoryPolicy) != canonical(fieldPolicy, b.RepositoryPolicy) {
		a.RepositoryPolicy = ""
	}
	var tags map[string]string
	for k, v := range a.Tags {
		if other, ok := b.Tags[k]; ok && other == v {
			if tags == nil {
				tags = map[string]string{}
			}
			tags[k] = v
		}
	}
	a.Tags = tags
	return a
}

// without is what settings say beyond base.
func without(s, base config.Settings) config.Settings {
	if base.Mutability != "" {
		s.Mutability, s.Exclusions = "", nil
	}
	if base.ScanOnPush != nil {
		s.ScanOnPush = nil
	}
	if base.Encryption != "" {
		s.Encryption, s.KMSKey = "", ""
	}
	if base.LifecyclePolicy != "" {
		s.LifecyclePolicy = ""
	}
	if base.RepositoryPolicy != "" {
		s.RepositoryPolicy = ""
	}
	var tags map[string]string
	for k, v := range s.Tags {
		if _, ok := base.Tags[k]; !ok {
			if tags == nil {
				tags = map[string]string{}
			}
			tags[k] = v
		}
	}
	s.Tags = tags
	return s
}

func empty(s config.Settings) bool {
	return s.Mutability == "" && s.ScanOnPush == nil && s.Encryption == "" && s.LifecyclePolicy == "" && s.RepositoryPolicy == "" && len(s.Tags) == 0
}

// rest reads what belongs to the whole registry.
func (c *collector) rest(ctx context.Context) error {
	m := &config.Module{Name: "ecr-registry"}
	denied := func(what string, err error) bool {
		if is(err, "AccessDeniedException", "AccessDenied") {
			c.out.Notes = append(c.out.Notes, fmt.Sprintf("%s cannot be read with these credentials and is left out: %v", what, plain(err)))
			return true
		}
		return false
	}
	templates, err := Templates(ctx, c.ECR)
	if err != nil && !denied("what creation templates there are", err) {
		return err
	}
	for _, prefix := range slices.Sorted(maps.Keys(templates)) {
		f := templates[prefix]
		t := config.Template{Prefix: prefix, AppliedFor: unlist(f[fieldAppliedFor]), Description: f[fieldDescription], RoleARN: f[fieldCustomRole], Settings: settings(f)}
		t.Settings.RepositoryPolicy = f[fieldPolicy]
		if f[fieldTags] != "" {
			if err := json.Unmarshal([]byte(f[fieldTags]), &t.Settings.Tags); err != nil {
				return err
			}
		}
		m.Templates = append(m.Templates, t)
	}
	got, err := c.ECR.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
	switch {
	case err == nil:
		m.RegistryPolicy = aws.ToString(got.PolicyText)
	case !is(err, "RegistryPolicyNotFoundException") && !denied("the registry policy", err):
		return err
	}
	if m.Templates != nil || m.RegistryPolicy != "" {
		c.out.Modules = append(c.out.Modules, m)
	}
	slices.SortStableFunc(c.out.Notes, cmp.Compare)
	return nil
}
