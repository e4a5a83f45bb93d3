package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/declare"
)

func TestDifferences(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"a b c", "a b c", ""},
		{"", "a", "+ a"},
		{"a", "", "- a"},
		{"a b c", "a x c", "  a|- b|+ x|  c"},
		{"1 2 3 4 5 6 7 8 9", "1 2 3 4 x 6 7 8 9", "  3|  4|- 5|+ x|  6|  7|  …"},
		{"1 2 3 4 5 6 7 8 9", "x 2 3 4 5 6 7 8 y", "- 1|+ x|  2|  3|  …|  7|  8|- 9|+ y"},
	} {
		got := differences(strings.Fields(c.a), strings.Fields(c.b))
		if !slices.Equal(got, strings.FieldsFunc(c.want, func(r rune) bool { return r == '|' })) {
			t.Errorf("%q to %q: %q", c.a, c.b, got)
		}
	}
}

// TestPlanText: what people read of a plan, with colours and without.
func TestPlanText(t *testing.T) {
	p := &declare.Plan{Same: 3, Warnings: []string{"w"}, Kept: []declare.Kept{{Kind: declare.Repository, Name: "old", Account: "1", Source: "a.tf"}}, Changes: []*declare.Change{
		{Action: declare.Create, Kind: declare.Account, Name: "2", Account: "2", Fields: []declare.FieldChange{{Field: "name", After: "dev"}}},
		{Action: declare.Update, Kind: declare.Repository, Name: "app", Account: "1", Region: "r", Source: "a.tf", Drift: true, Fields: []declare.FieldChange{
			{Field: "scan_on_push", Before: "false", After: "true", Drift: true}, {Field: "tags.x", Removed: true}, {Field: "lifecycle_policy", Before: `{"a":1}`, After: `{"a":2}`}}},
		{Action: declare.Create, Kind: declare.Repository, Name: "new", Account: "1", Region: "r", Source: "a.tf", Fields: []declare.FieldChange{{Field: "tags.x", After: "1"}, {Field: "image_tag_mutability", After: "IMMUTABLE"}}},
		{Action: declare.Delete, Kind: declare.RegistryPolicy, Account: "1", Region: "r", Source: "a.tf"},
	}}
	const want = `warning: w
accounts
  + account           2  (dev)

a.tf → account 1, r
  ~ repository        app  (drift)
      scan_on_push: false → true  (drift)
      tags.x: none → removed
      lifecycle_policy:
          {
        -   "a": 1
        +   "a": 2
          }
  + repository        new  (IMMUTABLE, 1 tag)
  - registry-policy   of the registry

kept: repository old in account 1, which a.tf no longer lists (--prune deletes it)
Plan: 2 to create, 1 to change, 1 to delete; 3 unchanged.
Drift: what is marked so was changed outside the files.
`
	s := &session{declared: &declared{}, screen: &screen{}}
	if got := s.text(p); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.screen.colour = true
	if got := s.text(p); !strings.Contains(got, "\x1b[33m~ repository        app") {
		t.Errorf("no colours in %q", got)
	}
	for range 30 {
		p.Changes = append(p.Changes, &declare.Change{Action: declare.Create, Kind: declare.Repository, Name: "more", Account: "1", Region: "r", Source: "a.tf"})
	}
	s.screen.colour = false
	if got := s.text(p); strings.Count(got, "+ repository ") != shown || !strings.Contains(got, "… and 11 more to create (--full shows them)") {
		t.Errorf("31 new repositories:\n%s", got)
	}
}
