package trail

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestActivity: calls are counted the same before they are sealed and after, by hour, name
// and outcome, and are forgotten with the records.
func TestActivity(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db, Options{})
		begin := b.now
		want := map[Activity]int64{}
		for i := range 300 {
			b.now = b.now.Add(time.Minute)
			action := []string{"PutImage", "BatchGetImage"}[i%2]
			var err error
			outcome := OK
			switch i % 10 {
			case 3:
				err, outcome = &gate.Denied{Principal: "p", Action: action, Resource: "r", Reason: "no"}, Denied
			case 4:
				err, outcome = errors.New("broken"), Failed
			}
			x := b.record(b.ctx, call(here, here.Account, action, "r", i%2 == 1))
			x.ID = uid.New(b.now)
			fault(x, err)
			b.later(x)
			want[Activity{Hour: b.now.Truncate(time.Hour), Name: action, Outcome: outcome}]++
			if i%100 == 99 {
				if err := b.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		check := func(when string) {
			t.Helper()
			got, err := b.Activity(t.Context(), here.Account, begin)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[Activity]int64{}
			for _, a := range got {
				n := a.Calls
				a.Calls = 0
				seen[a] += n
			}
			for k, n := range want {
				if seen[k] != n {
					t.Errorf("%s: %+v: %d calls, want %d", when, k, seen[k], n)
				}
			}
			if len(seen) != len(want) {
				t.Errorf("%s: %v", when, seen)
			}
		}
		check("written")
		b.now = b.now.Add(3 * time.Hour)
		if err := b.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("sealed")
		if got, err := b.Activity(t.Context(), there.Account, begin); err != nil || len(got) != 0 {
			t.Errorf("another account: %v %v", got, err)
		}
		if err := b.forget(t.Context(), b.now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Activity(t.Context(), here.Account, begin); err != nil || len(got) != 0 {
			t.Errorf("afterwards: %v %v", got, err)
		}
	})
}
