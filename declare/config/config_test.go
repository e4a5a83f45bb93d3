package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"golang.org/x/tools/txtar"

	"github.com/berth-registry/berth/declare/config"
)

func guide() *config.Module {
	return &config.Module{Name: "ecr-koa", Repositories: []config.Named{{Name: "giftcard-service"}},
		Accounts: []config.AccountAccess{{Description: "aws-koa-dev", ID: "931827427725"}, {Description: "aws-koa-test", ID: "615205931730"}, {Description: "aws-koa-prod", ID: "151484623076"}},
		GitHub:   &config.GitHubAccess{Role: "koa-github-ecr-access", Repositories: []config.GitHubRepository{{Organisation: "JPPOL-KOA", Repository: "GiftCardService"}}}}
}

// anywhere compares what is declared: neither where it stands nor how JSON is spaced.
var anywhere = cmp.Options{cmpopts.IgnoreTypes(config.Pos{}), cmpopts.EquateEmpty(), cmp.FilterValues(func(a, b string) bool {
	return strings.HasPrefix(a, "{") && strings.HasPrefix(b, "{") && json.Valid([]byte(a)) && json.Valid([]byte(b))
}, cmp.Transformer("JSON", func(s string) (v any) {
	_ = json.Unmarshal([]byte(s), &v)
	return v
}))}

// TestGuide: the guide's block reads as it stands, and the same in YAML.
func TestGuide(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "accounts", "jppol-idp-shared", "354918371398", "01.koa-ecr")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/guide.tf")
	if err != nil {
		t.Fatal(err)
	}
	yaml := `module:
  ecr-koa:
    source: anything
    ecr-repositories: [giftcard-service]
    account_access:
      - {description: aws-koa-dev, account_id: 931827427725, can_write: false}
      - {description: aws-koa-test, account_id: "615205931730", can_write: false}
      - {description: aws-koa-prod, account_id: "151484623076"}
    github_access:
      role_name: koa-github-ecr-access
      github_repositories:
        - organisation: JPPOL-KOA
          repository: GiftCardService
`
	plain := "name: ecr-koa\n" + strings.ReplaceAll(yaml[strings.Index(yaml, "    source"):], "\n    ", "\n")[4:]
	t.Chdir(dir)
	for name, content := range map[string]string{"main.tf": string(text), "main.yaml": yaml, "plain.yml": plain} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := config.Load([]string{file}, config.Options{Project: "p"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := guide()
		want.Source, want.Account, want.AccountName = "p//"+name, "354918371398", "jppol-idp-shared"
		if diff := cmp.Diff(want, files[0].Modules[0], anywhere); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestCases runs the cases of testdata: files, and below want what is read of them or
// what is wrong.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, c := range cases {
		ar, err := txtar.ParseFile(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range groups(ar) {
			t.Run(strings.TrimSuffix(filepath.Base(c), ".txtar")+"/"+group.name, func(t *testing.T) { group.check(t) })
		}
		if *update {
			if err := os.WriteFile(c, txtar.Format(ar), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type group struct {
	name  string
	files []txtar.File
	want  *txtar.File
}

var update = flag.Bool("update", false, "write what is read into the cases")

// groups splits an archive at its want files: "-- want: name --".
func groups(ar *txtar.Archive) []group {
	var out []group
	var files []txtar.File
	for i, f := range ar.Files {
		if name, ok := strings.CutPrefix(f.Name, "want: "); ok {
			out = append(out, group{name, files, &ar.Files[i]})
			files = nil
			continue
		}
		files = append(files, f)
	}
	return out
}

func (g *group) check(t *testing.T) {
	dir := t.TempDir()
	for _, f := range g.files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	path := dir
	if len(g.files) == 1 {
		path = filepath.Join(dir, g.files[0].Name)
	}
	files, err := config.Load([]string{path}, config.Options{Project: "p", Vars: map[string]string{"given": "from-flag"}})
	var got strings.Builder
	var problems config.Problems
	if errors.As(err, &problems) {
		got.WriteString(strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir+"/", ""), dir, ".") + "\n")
	} else if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for _, m := range f.Modules {
			text := config.HCL([]*config.Module{m})
			if err == nil {
				got.WriteString(strings.TrimSpace(strings.TrimPrefix(m.Source, "p//")+" "+string(m.Account)+" "+m.AccountName+" "+string(m.Region)) + "\n" + text)
			}
		}
		for _, s := range f.Skipped {
			got.WriteString("skipped " + strings.ReplaceAll(s, dir+"/", "") + "\n")
		}
	}
	if *update {
		g.want.Data = []byte(got.String())
	}
	if diff := cmp.Diff(spaces(string(g.want.Data)), spaces(got.String())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

var space = regexp.MustCompile(`[ \t]+`)

func spaces(s string) string { return strings.TrimSpace(space.ReplaceAllString(s, " ")) }

// TestRoundTrip: what is written reads back as it was.
func TestRoundTrip(t *testing.T) {
	yes := true
	full := guide()
	full.Account, full.Region = "000000000012", "eu-west-1"
	full.Repositories = append(full.Repositories, config.Named{Name: "team/app"})
	full.Accounts[0].CanWrite = true
	full.GitHub.Repositories = append(full.GitHub.Repositories, config.GitHubRepository{Organisation: "*", Repository: "a-*", OrganisationID: "12", RepositoryID: "34", Subjects: []string{"ref:refs/heads/main"}})
	full.Settings = config.Settings{Mutability: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"latest*"}, ScanOnPush: &yes, Encryption: "KMS", KMSKey: "alias/x",
		LifecyclePolicy: `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`,
		Tags:            map[string]string{"port-auth": "", "owner": `with "quotes", ${dollar} and %{percent} \`}}
	full.Each = map[string]config.Settings{"team/app": {Mutability: "MUTABLE", RepositoryPolicy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`}}
	full.CreateOnPush = []config.Named{{Name: "team"}}
	full.Templates = []config.Template{{Prefix: "mirror", AppliedFor: []string{"PULL_THROUGH_CACHE"}, Description: "mirrors", Settings: config.Settings{Mutability: "IMMUTABLE"}}}
	full.RegistryPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"931827427725"},"Action":["ecr:CreateRepository","ecr:ReplicateImage"],"Resource":"*"}]}`
	for name, write := range map[string]func([]*config.Module) string{"a.tf": config.HCL, "a.yaml": config.YAML} {
		dir := t.TempDir()
		modules := []*config.Module{full, {Name: "second", Repositories: []config.Named{{Name: "other"}}}}
		text := write(modules)
		if formatted := string(hclwrite.Format([]byte(text))); name == "a.tf" && formatted != text {
			t.Errorf("terraform fmt would change it:\n%s", cmp.Diff(text, formatted))
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := config.Load([]string{filepath.Join(dir, name)}, config.Options{Project: "p"})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(modules, files[0].Modules, anywhere, cmpopts.IgnoreFields(config.Module{}, "Source")); diff != "" {
			t.Errorf("%s: %s\n%s", name, diff, text)
		}
	}
}

// TestSource: a file has one name wherever the command runs, and no other has it.
func TestSource(t *testing.T) {
	write := func(file, text string) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remote := func(url string) string {
		return "[core]\n\tbare = false\n[remote \"upstream\"]\n\turl = https://example.com/no\n[remote \"origin\"]\n\turl = " + url + "\n"
	}
	for url, want := range map[string]string{"git@github.com:jppol-idp/idp-main-setup.git": "github.com/jppol-idp/idp-main-setup", "https://github.com/jppol-idp/idp-main-setup": "github.com/jppol-idp/idp-main-setup",
		"https://x-access-token:secret@github.com/jppol-idp/idp-main-setup.git": "github.com/jppol-idp/idp-main-setup", "ssh://git@github.com/jppol-idp/idp-main-setup/": "github.com/jppol-idp/idp-main-setup",
		"/srv/git/setup.git": "", "file:///srv/git/setup.git": "", "../setup": ""} {
		root := t.TempDir()
		write(filepath.Join(root, ".git", "config"), remote(url))
		file := filepath.Join(root, "deep", "main.tf")
		write(file, "")
		full := want + "//deep/main.tf"
		if want == "" {
			full = file
		}
		for _, wd := range []string{root, filepath.Join(root, "deep"), os.TempDir()} {
			t.Chdir(wd)
			path := file
			if rel, err := filepath.Rel(wd, file); err == nil && wd != os.TempDir() {
				path = rel
			}
			if got, err := config.SourceOf(path, ""); err != nil || got != full {
				t.Errorf("%s in %s: %q %v, want %q", url, wd, got, err, full)
			}
		}
		if got, err := config.SourceOf(file, "idp"); err != nil || got != "idp//deep/main.tf" {
			t.Errorf("%q %v", got, err)
		}
	}
	// A worktree has its repository's remote; without a repository it is the path.
	root, tree := t.TempDir(), t.TempDir()
	write(filepath.Join(root, ".git", "config"), remote("git@host:a/b"))
	write(filepath.Join(root, ".git", "worktrees", "w", "commondir"), "../..\n")
	write(filepath.Join(tree, ".git"), "gitdir: "+filepath.Join(root, ".git", "worktrees", "w")+"\n")
	if got, err := config.SourceOf(filepath.Join(tree, "x.tf"), ""); err != nil || got != "host/a/b//x.tf" {
		t.Errorf("worktree: %q %v", got, err)
	}
	bare := filepath.Join(t.TempDir(), "x.tf")
	if got, err := config.SourceOf(bare, ""); err != nil || got != bare {
		t.Errorf("no repository: %q %v", got, err)
	}
	t.Chdir(filepath.Dir(bare))
	if got, err := config.SourceOf(bare, "p"); err != nil || got != "p//x.tf" {
		t.Errorf("no repository, a project: %q %v", got, err)
	}
}

// TestLinks: files that are links are read, as Kubernetes mounts them; what they point to
// is not read twice.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "..2026", "a.yaml"), []byte("ecr-repositories: [app]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"..data": "..2026", "a.yaml": "..data/a.yaml", "gone.yaml": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := config.Load([]string{dir}, config.Options{})
	if err != nil || len(files) != 1 || files[0].Path != filepath.Join(dir, "a.yaml") {
		t.Errorf("%+v %v", files, err)
	}
}

func FuzzHCL(f *testing.F) {
	text, err := os.ReadFile("testdata/guide.tf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("locals {\n a = [for x in local.b : x]\n b = local.a\n}\nmodule x {\n ecr-repositories = local.a\n}\n")
	f.Add("module x {\n ecr-repositories = [\"a\", jsonencode({a = null})]\n tags = {for k, v in {a = 1} : k => v if !!true}\n}\n")
	f.Fuzz(func(t *testing.T, src string) { fuzz(t, "main.tf", src) })
}

func FuzzYAML(f *testing.F) {
	f.Add("module:\n  x:\n    ecr-repositories: [a, b]\n    tags: &t {a: 1}\n")
	f.Add("ecr-repositories: &a [*a]\n---\nname: x\naccount_access: [{account_id: 012345678901}]\n")
	f.Fuzz(func(t *testing.T, src string) { fuzz(t, "main.yaml", src) })
}

// fuzz: every problem has a text, and what reads can be written and reads the same.
func fuzz(t *testing.T, name, src string) {
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	read := func(text string) ([]*config.File, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return config.Load([]string{file}, config.Options{Project: "p"})
	}
	files, err := read(src)
	if err != nil {
		if err.Error() == "" {
			t.Fatal("a problem without a text")
		}
		return
	}
	again, err := read(config.HCL(files[0].Modules))
	if name == "main.yaml" {
		again, err = read(config.YAML(files[0].Modules))
	}
	if err != nil {
		t.Fatalf("what was written does not read: %v\n%s", err, config.HCL(files[0].Modules))
	}
	if diff := cmp.Diff(files[0].Modules, again[0].Modules, anywhere); diff != "" {
		t.Fatal(diff)
	}
}
