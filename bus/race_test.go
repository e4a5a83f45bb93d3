package bus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestBusyOrder: an event that its receiver has no room for was not attempted: those
// after it in its lane wait.
func TestBusyOrder(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db)
		const events = 10
		turned, taken := map[string]int{}, []int{}
		b.lambda.fail = func(d *bus.Delivery) error {
			var e struct{ Detail struct{ N int } }
			if err := json.Unmarshal(d.Input, &e); err != nil {
				return &bus.Final{Err: err}
			}
			b.lambda.mu.Lock()
			defer b.lambda.mu.Unlock()
			if e.Detail.N%3 == 0 && turned[d.EventID] < 3 {
				turned[d.EventID]++
				return &bus.Busy{Err: errors.New("no room")}
			}
			taken = append(taken, e.Detail.N)
			return nil
		}
		b.rule(t, "all", `{"source":["my.app"]}`, target("f", function("f")))
		for i := range events {
			b.put(t, "k", i)
		}
		eventually(t, "every delivery", func() bool {
			b.lambda.mu.Lock()
			defer b.lambda.mu.Unlock()
			return len(taken) == events
		})
		for i, n := range taken {
			if n != i {
				t.Fatalf("taken in the order %v", taken)
			}
		}
	})
}

// TestNoChangeIsLost: changes of one thing at the same time all count.
func TestNoChangeIsLost(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		b.rule(t, "r", `{"source":["my.app"]}`)
		const changes = 20
		var all sync.WaitGroup
		for i := range changes {
			name := fmt.Sprint("tag", i)
			all.Go(func() {
				if err := b.TagRule(ctx, here, event.DefaultBus, "r", func(m map[string]string) error { m[name] = "x"; return nil }); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if _, err := b.UpdateBus(ctx, here, event.DefaultBus, func(x *bus.EventBus) error { x.Tags[name] = "x"; return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		r, err := b.Rule(ctx, here, event.DefaultBus, "r")
		if err != nil || len(r.Tags) != changes {
			t.Errorf("the rule has %d tags: %v", len(r.Tags), err)
		}
		x, err := b.Bus.Bus(ctx, here, event.DefaultBus)
		if err != nil || len(x.Tags) != changes || !x.CreatedAt.IsZero() {
			t.Errorf("the bus has %d tags: %v", len(x.Tags), err)
		}
		if _, err := b.UpdateBus(ctx, here, "none", func(*bus.EventBus) error { return nil }); bus.CodeOf(err) != bus.NotFound {
			t.Errorf("a bus that is not there: %v", err)
		}
		if err := b.TagRule(ctx, here, event.DefaultBus, "none", func(map[string]string) error { return nil }); bus.CodeOf(err) != bus.NotFound || !strings.Contains(err.Error(), "Rule none") {
			t.Errorf("a rule that is not there: %v", err)
		}
		if err := b.SetState(ctx, here, "none", "r", bus.Disabled); bus.CodeOf(err) != bus.NotFound || !strings.Contains(err.Error(), "Event bus none") {
			t.Errorf("a rule of a bus that is not there: %v", err)
		}
	})
}
