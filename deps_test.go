package berth_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/berth-registry/berth"

// kinds says what each package is; a new package needs a line here.
var kinds = map[string]string{
	"arn": "leaf", "secret": "leaf", "sqldb": "leaf", "blob": "leaf", "blob/fsblob": "leaf", "blob/memblob": "leaf", "blob/keyring": "leaf",
	"aws/awsproto": "leaf", "aws/sigv4": "leaf", "internal/digest": "leaf", "internal/vfs": "leaf", "internal/vfs/simfs": "leaf",
	"registry/manifest": "leaf", "registry/name": "leaf", "declare": "leaf", "declare/config": "leaf", "declare/entry": "leaf", "catalog/mapping": "leaf", "catalog/mapping/runner": "leaf", "aws/cloudshape": "leaf", "registry/lifecycle": "leaf", "identity/policy": "leaf", "internal/strictjson": "leaf", "identity/webtoken": "leaf", "internal/egress": "leaf", "internal/fresh": "leaf", "internal/limit": "leaf", "internal/latecollect": "leaf", "internal/uid": "leaf", "internal/wildcard": "leaf",
	"gate": "core", "catalog": "core", "catalog/query": "leaf", "catalog/imagedoc": "leaf", "portapi": "front", "requests": "core", "aws/controlapi": "front", "identity": "core", "registry": "core", "trail": "core", "event": "leaf", "event/pattern": "leaf", "event/input": "leaf", "bus": "core", "logs": "core", "ledger": "core", "function": "core", "function/worker": "leaf", "deploy": "test",
	"oci": "front", "aws/ecrapi": "front", "aws/iamapi": "front", "aws/stsapi": "front", "aws/trailapi": "front", "aws/eventsapi": "front", "aws/logsapi": "front", "aws/lambdaapi": "front", "aws/lambdaapi/model": "leaf", "berthapi": "front", "console": "front",
	"server": "server", "cmd/berth": "cmd",
	"bench":         "test", // a tool of developers: it starts a PostgreSQL as tests do
	"blob/blobtest": "test", "sqldb/sqldbtest": "test", "internal/berthtest": "test", "oci/conformance": "test",
}

type pkg struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// TestImports holds the import rules of ARCHITECTURE.md.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if name == "" {
			continue
		}
		kind, ok := kinds[name]
		if !ok {
			t.Errorf("package %s has no kind in deps_test.go", name)
			continue
		}
		for _, imp := range p.Imports {
			if why := forbidden(name, kind, imp); why != "" {
				t.Errorf("%s (%s) imports %s: %s", name, kind, imp, why)
			}
		}
	}
}

func forbidden(name, kind, imp string) string {
	other, ours := strings.CutPrefix(imp, module+"/")
	target := kinds[other]
	switch {
	case ours && target == "server" && kind != "cmd" && kind != "test":
		return "only commands and tests import server"
	case ours && target == "test" && kind != "test":
		return "test helpers are for tests"
	case ours && target == "cmd":
		return "nobody imports a command"
	}
	switch kind {
	case "leaf":
		if ours && target != "leaf" {
			return "leaves import only leaves"
		}
	case "core":
		switch {
		case ours && target == "core" && other != "gate":
			return "cores never import each other; gate owns the interfaces they share"
		case ours && (target == "front" || target == "server"):
			return "cores do not know who calls them"
		case imp == "net/http":
			return "cores do not know HTTP"
		case strings.HasPrefix(imp, "github.com/aws/"):
			return "cores do not know the AWS SDK"
		}
	case "front":
		if ours && target == "front" {
			return "front ends never import each other"
		}
	}
	if imp == "database/sql" && kind != "leaf" && kind != "test" && name != "registry" && name != "identity" && name != "catalog" {
		return "SQL goes through sqldb"
	}
	return ""
}

// TestPackageDocs: every package says what it is.
func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		documented := len(p.GoFiles) == 0
		for _, f := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || parsed.Doc != nil && len(parsed.Doc.Text()) > 60
		}
		if !documented {
			t.Errorf("%s has no package comment that says what it is", p.ImportPath)
		}
	}
}

// TestNoInit: nothing happens at import.
func TestNoInit(t *testing.T) {
	each(t, func(p pkg, name string, file *ast.File) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: %s has an init function", p.ImportPath, name)
			}
		}
	})
}

var sqlText = regexp.MustCompile(`(?i)^\s*(select|insert into|update|delete from|create table)\s`)

// TestSQLStaysInStores: SQL texts stand in store*.go of a core, and a statement
// on a table that belongs to accounts asks for the account.
func TestSQLStaysInStores(t *testing.T) {
	owned := regexp.MustCompile(`(?i)\b(from|into|update|join)\s+(repositories|images|tags|layers|image_refs|templates|registry_settings|` +
		`entities|inline_policies|managed_policies|policy_versions|attachments|memberships|oidc_providers|event_buses|event_rules|event_targets|event_resources|archived_events|` +
		`push_holds|functions|function_versions|function_aliases|function_event_configs|function_code|function_runs|log_groups|log_streams|log_events|trail_recent|trail_segments|trail_attributes|trail_activity|declarations|catalog_[a-z]+|control_requests)\b`)
	listed := []string{"leftovers", "gone", "anyDue", "txDue", "accounts", "allRules", "allArchives", "dueRules", "runningReplays", "Sweep", "forget", // background work over all accounts
		"findID"} // policies name users and roles of other accounts; it tells their names only
	each(t, func(p pkg, name string, file *ast.File) {
		short := strings.TrimPrefix(p.ImportPath, module+"/")
		if short == "sqldb" || kinds[short] == "test" {
			return
		}
		for _, decl := range file.Decls {
			fn := ""
			if f, ok := decl.(*ast.FuncDecl); ok {
				fn = f.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				if sqlText.MatchString(strings.Trim(lit.Value, "`\"")) && !strings.HasPrefix(name, "store") {
					t.Errorf("%s: SQL in %s: %.60s", p.ImportPath, name, lit.Value)
				}
				if strings.HasPrefix(name, "store") && strings.Contains(lit.Value, "where") && owned.MatchString(lit.Value) && !strings.Contains(lit.Value, "account") &&
					!slices.Contains(listed, fn) {
					t.Errorf("%s: %s: a statement on a table of accounts does not ask for the account: %s", p.ImportPath, fn, lit.Value)
				}
				return true
			})
		}
	})
}

func each(t *testing.T, fn func(p pkg, name string, file *ast.File)) {
	t.Helper()
	for _, p := range packages(t) {
		for _, f := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			fn(p, f, parsed)
		}
	}
}
