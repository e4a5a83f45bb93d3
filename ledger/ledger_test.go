package ledger_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/entry"
	"github.com/berth-registry/berth/ledger"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

var (
	here   = arn.Place{Account: "111111111111", Region: "eu-west-1"}
	global = arn.Place{Account: "111111111111"}
	then   = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
)

func each(t *testing.T, fn func(*testing.T, *ledger.Ledger)) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.Migrate(t.Context(), "ledger", ledger.Migrations()); err != nil {
			t.Fatal(err)
		}
		fn(t, ledger.New(db, secret.NewMaster(make([]byte, 32)), func() time.Time { return then }))
	})
}

func repository(source, name string) entry.Entry {
	return entry.Entry{Key: entry.Key{Kind: entry.Repository, Name: name}, Source: source, Module: "ecr", Line: 3, Spec: map[string]string{"scan_on_push": "true"}, ChangedAt: then}
}

func names(list []entry.Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%s %s by %s", e.Kind, e.Name, e.Source))
	}
	return strings.Join(out, "\n")
}

func list(t *testing.T, l *ledger.Ledger, p arn.Place, source string, page int) []entry.Entry {
	t.Helper()
	var all []entry.Entry
	for token := ""; ; {
		got, next, err := l.List(t.Context(), p, source, token, page)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, got...); next == "" {
			return all
		}
		token = next
	}
}

// TestOwners: a thing has one file, unless it is shared or taken over.
func TestOwners(t *testing.T) {
	each(t, func(t *testing.T, l *ledger.Ledger) {
		ctx := t.Context()
		put := func(p arn.Place, want string, entries []entry.Entry, from ...string) {
			t.Helper()
			err := l.Put(ctx, p, entries, from...)
			if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		put(here, "", []entry.Entry{repository("a.tf", "one"), repository("a.tf", "two")})
		put(here, `DeclaredElsewhereException: repository one is declared by a.tf:3 (module "ecr"); repository two is declared by a.tf:3`,
			[]entry.Entry{repository("b.tf", "new"), repository("b.tf", "one"), repository("b.tf", "two")})
		if got := names(list(t, l, here, "b.tf", 10)); got != "" {
			t.Errorf("a refused call wrote %s", got)
		}
		put(arn.Place{Account: here.Account, Region: "us-east-1"}, "", []entry.Entry{repository("b.tf", "one")})
		put(arn.Place{Account: "222222222222", Region: here.Region}, "", []entry.Entry{repository("b.tf", "one")})
		put(here, "", []entry.Entry{repository("b.tf", "one")}, "a.tf", "b.tf")
		provider := func(source string) entry.Entry {
			return entry.Entry{Key: entry.Key{Kind: entry.Provider, Name: "github"}, Source: source}
		}
		put(global, "", []entry.Entry{provider("a.tf"), {Key: entry.Key{Kind: entry.Role, Name: "push"}, Source: "a.tf", Adopted: true, Pending: true}})
		put(global, "", []entry.Entry{provider("b.tf")})
		put(global, "", []entry.Entry{provider("b.tf")}, "a.tf") // what is shared is not taken
		put(global, "role push is declared by a.tf", []entry.Entry{{Key: entry.Key{Kind: entry.Role, Name: "push"}, Source: "b.tf"}})
		if got := names(list(t, l, here, "", 1)); got != "repository one by b.tf\nrepository two by a.tf" {
			t.Errorf("here: %s", got)
		}
		if got := names(list(t, l, global, "", 1)); got != "oidc-provider github by a.tf\noidc-provider github by b.tf\nrole push by a.tf" {
			t.Errorf("account: %s", got)
		}
		if got := names(list(t, l, global, "a.tf", 1)); got != "oidc-provider github by a.tf\nrole push by a.tf" {
			t.Errorf("one source: %s", got)
		}
		if err := l.Delete(ctx, global, "b.tf", []entry.Key{{Kind: entry.Role, Name: "push"}, {Kind: entry.Provider, Name: "github"}}); err != nil {
			t.Fatal(err)
		}
		got, err := l.Find(ctx, global, entry.Key{Kind: entry.Role, Name: "push"})
		if err != nil || len(got) != 1 || !got[0].Adopted || !got[0].Pending {
			t.Errorf("the role of another file: %+v %v", got, err)
		}
		again := repository("a.tf", "two")
		again.Spec = map[string]string{"tags.owner": "core"}
		put(here, "", []entry.Entry{again})
		two, err := l.Find(ctx, here, entry.Key{Kind: entry.Repository, Name: "two"})
		if diff := cmp.Diff([]entry.Entry{again}, two); diff != "" || err != nil {
			t.Errorf("%s %v", diff, err)
		}
	})
}

// TestRace: of files that declare a name at the same time, one has it.
func TestRace(t *testing.T) {
	each(t, func(t *testing.T, l *ledger.Ledger) {
		for round := range 10 {
			var all sync.WaitGroup
			won := make(chan int, 8)
			for i := range 8 {
				all.Go(func() {
					err := l.Put(t.Context(), here, []entry.Entry{repository(fmt.Sprint(i), fmt.Sprint("r", round))})
					if err == nil {
						won <- i
					} else if ledger.CodeOf(err) != ledger.Conflict {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if len(won) != 1 {
				t.Fatalf("%d files have the name", len(won))
			}
		}
	})
}

func TestInvalid(t *testing.T) {
	each(t, func(t *testing.T, l *ledger.Ledger) {
		good := repository("a.tf", "one")
		for name, change := range map[string]func(*entry.Entry, *arn.Place){
			"kind":        func(e *entry.Entry, _ *arn.Place) { e.Kind = "bucket" },
			"no name":     func(e *entry.Entry, _ *arn.Place) { e.Name = "" },
			"long name":   func(e *entry.Entry, _ *arn.Place) { e.Name = strings.Repeat("x", 513) },
			"control":     func(e *entry.Entry, _ *arn.Place) { e.Source = "a\nb" },
			"no source":   func(e *entry.Entry, _ *arn.Place) { e.Source = "" },
			"line":        func(e *entry.Entry, _ *arn.Place) { e.Line = -1 },
			"large spec":  func(e *entry.Entry, _ *arn.Place) { e.Spec = map[string]string{"x": strings.Repeat("x", 70_000)} },
			"no region":   func(_ *entry.Entry, p *arn.Place) { p.Region = "" },
			"role's":      func(e *entry.Entry, _ *arn.Place) { e.Kind = entry.Role },
			"module name": func(e *entry.Entry, _ *arn.Place) { e.Module = "\x00" },
		} {
			e, p := good, here
			change(&e, &p)
			if err := l.Put(t.Context(), p, []entry.Entry{good, e}); ledger.CodeOf(err) != ledger.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		many := make([]entry.Entry, ledger.MaxEntries+1)
		if err := l.Put(t.Context(), here, many); ledger.CodeOf(err) != ledger.Invalid {
			t.Errorf("too many: %v", err)
		}
		if err := l.Delete(t.Context(), here, "a", make([]entry.Key, ledger.MaxEntries+1)); ledger.CodeOf(err) != ledger.Invalid {
			t.Errorf("too many: %v", err)
		}
		if _, _, err := l.List(t.Context(), here, "", "nonsense", 1); ledger.CodeOf(err) != ledger.Invalid {
			t.Errorf("token: %v", err)
		}
		if got := list(t, l, here, "", 10); got != nil {
			t.Errorf("bad calls wrote %v", got)
		}
	})
}

// TestPlans: lists find their rows by an index.
func TestPlans(t *testing.T) {
	db := sqldbtest.SQLite(t)
	if err := db.Migrate(t.Context(), "ledger", ledger.Migrations()); err != nil {
		t.Fatal(err)
	}
	const place = " where account = 'a' and region = 'r'"
	sqldbtest.Plans(t, db, map[string]string{
		"select spec from declarations" + place + " and (kind, name, slot) > ('k', 'n', 's') order by kind, name, slot limit 5":                       "PRIMARY KEY (account=? AND region=? AND (kind,name,slot)>",
		"select spec from declarations" + place + " and (source, kind, name) > ('s', 'k', 'n') and source <= 's' order by source, kind, name limit 5": "declarations_by_source (account=? AND region=? AND (source,kind,name)>",
		"select spec from declarations" + place + " and kind = 'k' and name = 'n' order by slot":                                                      "PRIMARY KEY (account=? AND region=? AND kind=? AND name=?)",
		"delete from declarations" + place + " and kind = 'k' and name = 'n' and source = 's'":                                                        "PRIMARY KEY (account=? AND region=? AND kind=? AND name=?)",
	})
}
