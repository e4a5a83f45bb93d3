package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare"
	declared "github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// declaring is a server with files that declare what it shall have.
type declaring struct {
	t       *testing.T
	dir     string
	backend *declare.Backend
	clients declare.Clients
}

// eachEngine runs a test on a server with SQLite, and on one with PostgreSQL.
func eachEngine(t *testing.T, fn func(*testing.T, *declaring)) {
	t.Run("sqlite", func(t *testing.T) { fn(t, newDeclaring(t, config(t))) })
	t.Run("postgres", func(t *testing.T) {
		cfg := config(t)
		cfg.DB = sqldbtest.PostgresURL(t)
		fn(t, newDeclaring(t, cfg))
	})
}

func newDeclaring(t *testing.T, cfg Config) *declaring {
	s := run(t, cfg, io.Discard)
	d := &declaring{t: t, dir: t.TempDir(), backend: newKeeper(s).backend}
	var err error
	if d.clients, err = d.backend.Connect(t.Context(), arn.Place{Account: homeAccount, Region: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	return d
}

// plan writes files, given by name and text, and plans them.
func (d *declaring) plan(files map[string]string, change func(*declare.Options)) (*declare.Plan, error) {
	d.t.Helper()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(d.dir, name)
		names = append(names, path)
		if err := os.WriteFile(path, []byte(files[name]), 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	list, err := declared.Load(names, declared.Options{})
	if err != nil {
		return nil, err
	}
	o := declare.Options{DefaultAccount: homeAccount, DefaultRegion: "us-east-1"}
	if change != nil {
		change(&o)
	}
	return d.backend.Make(d.t.Context(), list, o)
}

// want plans and compares the plan in short, then applies it and sees that nothing is
// left to do.
func (d *declaring) want(files map[string]string, change func(*declare.Options), want ...string) {
	d.t.Helper()
	p, err := d.plan(files, change)
	if err != nil {
		d.t.Fatal(err)
	}
	if got := short(p); got != strings.Join(want, "\n") {
		d.t.Fatalf("plan:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	if err := d.backend.Apply(d.t.Context(), p); err != nil {
		d.t.Fatal(err)
	}
	if p, err = d.plan(files, change); err != nil || !p.Empty() {
		d.t.Fatalf("a second plan: %v\n%s", err, short(p))
	}
}

func (d *declaring) refused(files map[string]string, change func(*declare.Options), want string) {
	d.t.Helper()
	_, err := d.plan(files, change)
	var problems declared.Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), want) {
		d.t.Fatalf("got %v, want %q", err, want)
	}
}

// short is a plan in lines.
func short(p *declare.Plan) string {
	if p == nil {
		return ""
	}
	var out []string
	for _, c := range p.Changes {
		line := fmt.Sprintf("%s %s %s", c.Action, c.Kind, c.Name)
		if c.From != "" {
			line += " from " + filepath.Base(c.From)
		}
		if c.Action != declare.Create && c.Action != declare.Delete {
			for _, f := range c.Fields {
				line += " " + f.Field
				if !strings.HasPrefix(f.Before+f.After, "{") {
					line += fmt.Sprintf("=%s>%s", f.Before, f.After)
				}
				if f.Drift {
					line += "(drift)"
				}
			}
		}
		out = append(out, line)
	}
	for _, k := range p.Kept {
		out = append(out, "kept "+k.Name)
	}
	return strings.Join(out, "\n")
}

func file(keys string) map[string]string { return map[string]string{"a.yaml": keys} }

// TestDeclaredFields: what a file says of a repository becomes so; what it says no longer
// goes back; what it never said stays.
func TestDeclaredFields(t *testing.T) { eachEngine(t, testFields) }

func testFields(t *testing.T, d *declaring) {
	d.want(file("ecr-repositories: [app]"), nil, "create repository app")
	name := aws.String("app")
	repository := arn.Repository(arn.Place{Account: homeAccount, Region: "us-east-1"}, "app").String()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// By hand, of what the file does not speak of.
	must(d.clients.ECR.PutImageTagMutability(t.Context(), &ecr.PutImageTagMutabilityInput{RepositoryName: name, ImageTagMutability: "IMMUTABLE"}))
	must(d.clients.ECR.TagResource(t.Context(), &ecr.TagResourceInput{ResourceArn: &repository, Tags: []types.Tag{{Key: aws.String("port-app"), Value: aws.String("")}}}))
	must(d.clients.ECR.SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: name,
		PolicyText: aws.String(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"ecr:BatchGetImage"}]}`)}))
	d.want(file("ecr-repositories: [app]"), nil)
	full := `ecr-repositories: [app]
image_tag_mutability: MUTABLE_WITH_EXCLUSION
image_tag_mutability_exclusions: ["v*"]
scan_on_push: true
tags: {owner: core, empty: ""}
account_access: [{account_id: "222222222222", description: other}]
lifecycle_policy: {rules: [{rulePriority: 1, selection: {tagStatus: untagged, countType: imageCountMoreThan, countNumber: 5}, action: {type: expire}}]}`
	d.want(file(full), nil, "create account 222222222222",
		`update repository app image_tag_mutability=IMMUTABLE>MUTABLE_WITH_EXCLUSION image_tag_mutability_exclusions=>["v*"] lifecycle_policy repository_policy scan_on_push=false>true tags.empty=> tags.owner=>core`)
	must(d.clients.ECR.PutImageScanningConfiguration(t.Context(), &ecr.PutImageScanningConfigurationInput{RepositoryName: name, ImageScanningConfiguration: &types.ImageScanningConfiguration{}}))
	must(d.clients.ECR.UntagResource(t.Context(), &ecr.UntagResourceInput{ResourceArn: &repository, TagKeys: []string{"empty"}}))
	d.want(file(strings.Replace(full, "core", "web", 1)), nil, "update repository app scan_on_push=false>true(drift) tags.empty=>(drift) tags.owner=core>web")
	d.want(file("ecr-repositories: [app]"), nil,
		`update repository app image_tag_mutability=MUTABLE_WITH_EXCLUSION>MUTABLE image_tag_mutability_exclusions=["v*"]> lifecycle_policy repository_policy scan_on_push=true>false tags.empty=> tags.owner=web>`)
	tags, err := d.clients.ECR.ListTagsForResource(t.Context(), &ecr.ListTagsForResourceInput{ResourceArn: &repository})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "port-app" {
		t.Errorf("tags: %+v %v", tags, err)
	}
	d.refused(file("ecr-repositories: [app]\nencryption_type: KMS"), nil, `encryption_type of repository "app" is AES256 and cannot become KMS`)
	d.want(file("ecr-repositories: [app, sealed]\nrepository_settings: {sealed: {encryption_type: KMS, kms_key: alias/aws/ecr}}"), nil, "create repository sealed")
}

// TestDeclaredOwners: files share a provider, and nothing else.
func TestDeclaredOwners(t *testing.T) { eachEngine(t, testOwners) }

func testOwners(t *testing.T, d *declaring) {
	github := func(role, more string) string {
		return "github_access: {role_name: " + role + ", github_repositories: [{organisation: o, repository: r}]}\n" + more
	}
	a, b := github("a", "ecr-repositories: [one]"), github("b", "ecr-repositories: [two]")
	const provider = "token.actions.githubusercontent.com"
	d.want(map[string]string{"a.yaml": a, "b.yaml": b}, nil, "create oidc-provider "+provider, "create role a", "create repository one", "create role b", "create repository two")
	d.refused(map[string]string{"b.yaml": github("a", "ecr-repositories: [two]")}, nil, `role "a" in account 000000000000 is declared by `)
	d.refused(map[string]string{"a.yaml": a, "b.yaml": github("b", "ecr-repositories: [one]")}, nil, `repository "one" in account 000000000000 is declared twice`)
	// From one file to another, both given.
	d.want(map[string]string{"a.yaml": github("a", "ecr-repositories: []"), "b.yaml": github("b", "ecr-repositories: [two, one]")}, nil, "update repository one from a.yaml repository_policy")
	// Access that is taken out ends without being asked for twice; repositories stay.
	d.want(map[string]string{"b.yaml": "ecr-repositories: [one]"}, nil, "delete role b", "update repository one repository_policy", "kept two")
	d.want(map[string]string{"c.yaml": github("c", "ecr-repositories: []")}, nil, "create role c") // shares the provider that a.yaml has made
	destroy := func(o *declare.Options) { o.Destroy = true }
	d.want(map[string]string{"a.yaml": a}, destroy, "delete role a")
	d.want(map[string]string{"c.yaml": "ecr-repositories: []"}, destroy, "delete oidc-provider "+provider, "delete role c")
	d.want(map[string]string{"b.yaml": "ecr-repositories: [one]"}, destroy, "delete repository one", "delete repository two")
}

// TestDeclaredAdopt: what is there already is taken over only when asked to, and a
// provider that somebody else made stays when the files are gone.
func TestDeclaredAdopt(t *testing.T) { eachEngine(t, testAdopt) }

func testAdopt(t *testing.T, d *declaring) {
	if _, err := d.clients.IAM.CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://token.actions.githubusercontent.com"), ClientIDList: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.clients.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app"), ImageTagMutability: "IMMUTABLE"}); err != nil {
		t.Fatal(err)
	}
	text := "ecr-repositories: [app]\ngithub_access: {role_name: r, github_repositories: [{organisation: o, repository: r}]}"
	d.refused(file(text), nil, `repository "app" exists already in account 000000000000 and no file declares it: give --adopt`)
	d.want(file(text), func(o *declare.Options) { o.Adopt = true }, "update oidc-provider token.actions.githubusercontent.com client_id.sts.amazonaws.com=>true", "create role r", "adopt repository app repository_policy")
	d.want(file("ecr-repositories: [app]"), nil, "delete role r", "update repository app repository_policy")
	if _, err := d.clients.IAM.GetOpenIDConnectProvider(t.Context(), &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String("arn:aws:iam::000000000000:oidc-provider/token.actions.githubusercontent.com")}); err != nil {
		t.Error(err)
	}
	got, err := d.clients.ECR.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || got.Repositories[0].ImageTagMutability != "IMMUTABLE" {
		t.Errorf("%+v %v", got, err)
	}
}

// TestDeclaredRegistry: templates and the registry's policy.
func TestDeclaredRegistry(t *testing.T) { eachEngine(t, testRegistry) }

func testRegistry(t *testing.T, d *declaring) {
	const policy = "\nregistry_policy: {Version: '2012-10-17', Statement: [{Effect: Allow, Principal: {AWS: '222222222222'}, Action: ['ecr:ReplicateImage'%s], Resource: '*'}]}"
	const github = "github_access: {role_name: r, github_repositories: [{organisation: o, repository: r}]}\n"
	first := github + "ecr-repositories: []\ncreate_on_push_prefixes: [team, ROOT]\ntags: {a: b}\ncreation_templates: [{prefix: mirror, applied_for: [PULL_THROUGH_CACHE], description: x}]" + fmt.Sprintf(policy, "")
	d.want(file(first), nil, "create oidc-provider token.actions.githubusercontent.com", "create role r", "create creation-template ROOT", "create creation-template mirror", "create creation-template team", "create registry-policy ")
	second := strings.NewReplacer("[team, ROOT]", "[team]", "tags: {a: b}", "image_tag_mutability: IMMUTABLE", "description: x", "lifecycle_policy: {rules: [{rulePriority: 1, selection: {tagStatus: untagged, countType: imageCountMoreThan, countNumber: 5}, action: {type: expire}}]}",
		"['ecr:ReplicateImage']", "['ecr:ReplicateImage', 'ecr:CreateRepository']").Replace(first)
	d.want(file(second), nil, "update role r inline_policy", "delete creation-template ROOT", "update creation-template mirror description=x> lifecycle_policy",
		`update creation-template team image_tag_mutability=MUTABLE>IMMUTABLE resource_tags`, "update registry-policy  registry_policy")
	// The role pushes to what does not exist, under its prefix.
	x, err := d.clients.IAM.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("ecr")})
	if err != nil || !strings.Contains(*x.PolicyDocument, "repository%2Fteam%2F%2A") {
		t.Errorf("%+v %v", x, err)
	}
	d.want(file("ecr-repositories: []"), nil, "delete oidc-provider token.actions.githubusercontent.com", "delete role r", "delete creation-template mirror", "delete creation-template team", "delete registry-policy ")
}

// TestDeclaredRefused: what cannot work is refused before anything is done.
func TestDeclaredRefused(t *testing.T) { eachEngine(t, testRefused) }

func testRefused(t *testing.T, d *declaring) {
	var accounts, github strings.Builder
	for i := range 160 {
		fmt.Fprintf(&accounts, "{account_id: '%012d', can_write: true},", i)
		fmt.Fprintf(&github, "{organisation: o, repository: r%d},", i)
	}
	d.refused(file("ecr-repositories: [app]\naccount_access: ["+accounts.String()+"]"), nil, "the repository's policy would have")
	d.refused(file("ecr-repositories: [app]\ngithub_access: {role_name: r, github_repositories: ["+github.String()+"]}"), nil, "the role's trust policy would have")
	p, err := d.plan(file("ecr-repositories: [app]\ngithub_access: {role_name: r, github_repositories: [{organisation: 'o-*', repository: r}]}"), nil)
	if err != nil || len(p.Warnings) != 2 || !strings.Contains(p.Warnings[0], "anyone can register an owner that matches") {
		t.Errorf("%+v %v", p, err)
	}
}

// TestDeclaredInterrupted: when single things fail, the others are done, and the next
// time goes on with what is missing.
func TestDeclaredInterrupted(t *testing.T) { eachEngine(t, testInterrupted) }

func testInterrupted(t *testing.T, d *declaring) {
	text := "ecr-repositories: [one, two, three]\nlifecycle_policy: {rules: [{rulePriority: 1, selection: {tagStatus: untagged, countType: imageCountMoreThan, countNumber: 5}, action: {type: expire}}]}"
	p, err := d.plan(file(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	connect := d.backend.Connect
	d.backend.Connect = func(ctx context.Context, p arn.Place) (declare.Clients, error) {
		c, err := connect(ctx, p)
		c.ECR = failing{c.ECR}
		return c, err
	}
	err = d.backend.Apply(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "create repository two in account 000000000000: no") {
		t.Fatalf("%v", err)
	}
	d.backend.Connect = connect
	d.want(file(text), nil, "update repository two lifecycle_policy")
	// What has failed belongs to its file all the same.
	d.refused(map[string]string{"b.yaml": "ecr-repositories: [two]"}, nil, "is declared by")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err = d.plan(file("ecr-repositories: [one, two, three]"), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.backend.Apply(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	d.want(file("ecr-repositories: [one, two, three]"), nil, "update repository one lifecycle_policy", "update repository three lifecycle_policy", "update repository two lifecycle_policy")
}

// TestDeclaredCollect: what is there comes back as blocks that can be applied and change
// nothing, also when repositories that were kept name a role that others have.
func TestDeclaredCollect(t *testing.T) { eachEngine(t, testCollect) }

func testCollect(t *testing.T, d *declaring) {
	const text = "github_access: {role_name: r, github_repositories: [{organisation: o, repository: r, subjects: ['ref:refs/heads/main']}]}\naccount_access: [{account_id: '111111111111', can_write: %t}]\n" +
		"tags: {a: b}\nscan_on_push: true\nrepository_settings: {two: {image_tag_mutability: IMMUTABLE, tags: {c: d}}}\necr-repositories: [one, two, %s]"
	for i, last := range []string{"three", "four"} { // three is kept, with its old policy
		p, err := d.plan(file(fmt.Sprintf(text, i == 0, last)), nil)
		if err == nil {
			err = d.backend.Apply(t.Context(), p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.backend.Collect(t.Context(), arn.Place{Account: homeAccount, Region: "us-east-1"}, nil)
	if err != nil || got.Repositories != 4 || len(got.Notes) != 0 || len(got.Modules) != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	for name, write := range map[string]func([]*declared.Module) string{"back.tf": declared.HCL, "back.yaml": declared.YAML} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(write(got.Modules)), 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := declared.Load([]string{path}, declared.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := (&declare.Backend{Connect: d.backend.Connect}).Make(t.Context(), files, declare.Options{DefaultAccount: homeAccount, DefaultRegion: "us-east-1"})
		if err != nil || !p.Empty() || p.Same != 6 {
			t.Errorf("%s: %v\n%s\n%s", name, err, short(p), write(got.Modules))
		}
	}
}

// TestKeepers: two nodes on one database that keep the same files do not disturb each
// other: what is declared is there, whoever made it, and neither has anything to complain
// of, also when both mend the same drift.
func TestKeepers(t *testing.T) {
	dir, key, url := t.TempDir(), filepath.Join(t.TempDir(), "master.key"), sqldbtest.PostgresURL(t)
	text := "ecr-repositories: [%s]\ntags: {a: b}\ncreate_on_push_prefixes: [team]\naccount_access: [{account_id: '111122223333'}]\n" +
		"github_access: {role_name: r, github_repositories: [{organisation: o, repository: r, subjects: ['ref:refs/heads/main']}]}\n"
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("app%d", i))
	}
	write := func() {
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), fmt.Appendf(nil, text, strings.Join(names, ", ")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	var logs [2]lines
	var nodes []*Server
	for i := range logs {
		cfg := config(t)
		cfg.DB, cfg.MasterKey, cfg.ConfigDir, cfg.ConfigInterval = url, key, dir, time.Second
		nodes = append(nodes, run(t, cfg, &logs[i]))
	}
	k := newKeeper(nodes[0])
	kept := func() bool {
		files, err := declared.Load([]string{dir}, declared.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := k.backend.Make(t.Context(), files, declare.Options{DefaultAccount: homeAccount, DefaultRegion: "us-east-1"})
		return err == nil && p.Empty()
	}
	until := func(what string) {
		t.Helper()
		for range 400 {
			if kept() {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%s: it did not become so\n%s\n%s", what, logs[0].String(), logs[1].String())
	}
	until("at the start")
	c, err := k.backend.Connect(t.Context(), arn.Place{Account: homeAccount, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names[:5] {
		if _, err := c.ECR.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &n}); err != nil {
			t.Fatal(err)
		}
	}
	until("after a deletion")
	names = append(names, "more")
	write()
	until("after an edit")
	for i := range logs {
		if text := logs[i].String(); strings.Contains(text, "cannot be kept") {
			t.Errorf("node %d complains:\n%s", i, text)
		}
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// failing is an API that cannot set the lifecycle of one repository.
type failing struct{ declare.ECR }

func (f failing) PutLifecyclePolicy(ctx context.Context, in *ecr.PutLifecyclePolicyInput, o ...func(*ecr.Options)) (*ecr.PutLifecyclePolicyOutput, error) {
	if *in.RepositoryName == "two" {
		return nil, errors.New("no")
	}
	return f.ECR.PutLifecyclePolicy(ctx, in, o...)
}
