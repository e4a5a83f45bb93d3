package bus_test

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestNames: names have their letters and lengths.
func TestNames(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		rule := func(name string) error {
			return b.PutRule(ctx, &bus.Rule{Place: here, Bus: event.DefaultBus, Name: name, Schedule: "rate(1 day)", Tags: map[string]string{}})
		}
		if err := rule("r"); err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string]struct {
			put  func(name string) error
			most int
		}{
			"a rule": {rule, 64},
			"a bus":  {func(name string) error { return b.PutBus(ctx, &bus.EventBus{Place: here, Name: name}) }, 256},
			"a target": {func(name string) error {
				return b.PutTargets(ctx, here, event.DefaultBus, "r", []*bus.Target{target(name, function("f"))})
			}, 64},
			"a connection": {func(name string) error {
				return b.Create(ctx, &bus.Connection{Resource: bus.Resource{Place: here, Kind: bus.ConnectionKind, Name: name}, Auth: "API_KEY", User: "k", Secret: "s"})
			}, 64},
		} {
			if err := c.put(strings.Repeat("x", c.most)); err != nil {
				t.Errorf("%s with the longest name: %v", what, err)
			}
			for _, bad := range []string{strings.Repeat("x", c.most+1), "", "a b", "é"} {
				if err := c.put(bad); bus.CodeOf(err) != bus.Validation {
					t.Errorf("%s named %.10q: %v", what, bad, err)
				}
			}
		}
	})
}
