package function_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/function"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestNoChangeIsLost: changes of one thing at the same time all count.
func TestNoChangeIsLost(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		b.create(t, "f", "def handler(e, c): return 1\n")
		if _, err := b.Publish(ctx, here, "f", "", "", ""); err != nil {
			t.Fatal(err)
		}
		if err := b.CreateAlias(ctx, here, "f", &function.Alias{Name: "live", Version: "1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.PutEventConfig(ctx, here, "f", "", true, func(c *function.EventConfig) { c.Age = 60 }); err != nil {
			t.Fatal(err)
		}
		const changes = 20
		var all sync.WaitGroup
		do := func(fn func() error) {
			all.Go(func() {
				if err := fn(); err != nil {
					t.Error(err)
				}
			})
		}
		for i := range changes {
			do(func() error { return b.Tag(ctx, here, "f", map[string]string{fmt.Sprint(i): "x"}, nil) })
			do(func() error {
				_, err := b.ChangeAlias(ctx, here, "f", "live", "", func(a *function.Alias) { a.Description += "x" })
				return err
			})
			do(func() error {
				_, err := b.PutEventConfig(ctx, here, "f", "", false, func(c *function.EventConfig) { c.Age++ })
				return err
			})
		}
		do(func() error { return b.Reserve(ctx, here, "f", 2) })
		all.Wait()
		f, err := b.Get(ctx, here, "f", "")
		if err != nil || len(f.Tags) != changes || f.Reserved != 2 {
			t.Errorf("%d tags, %d reserved: %v", len(f.Tags), f.Reserved, err)
		}
		a, err := b.Alias(ctx, here, "f", "live")
		if err != nil || len(a.Description) != changes {
			t.Errorf("%+v %v", a, err)
		}
		c, err := b.EventConfigOf(ctx, here, "f", "")
		if err != nil || c.Age != 60+changes || c.Retries != -1 {
			t.Errorf("%+v %v", c, err)
		}
	})
}

// TestChanges: what is changed must be there, and be what the caller thinks it is.
func TestChanges(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		f := b.create(t, "f", "def handler(e, c): return 1\n")
		if err := b.CreateAlias(ctx, here, "f", &function.Alias{Name: "live", Version: function.Latest}); err != nil {
			t.Fatal(err)
		}
		nothing := func(*function.Alias) {}
		for what, c := range map[string]struct {
			change func() error
			want   function.Code
		}{
			"an alias":                 {func() error { _, err := b.ChangeAlias(ctx, here, "f", "live", "", nothing); return err }, ""},
			"an alias of another time": {func() error { _, err := b.ChangeAlias(ctx, here, "f", "live", f.Revision, nothing); return err }, function.Precondition},
			"no alias":                 {func() error { _, err := b.ChangeAlias(ctx, here, "f", "dead", "", nothing); return err }, function.NotFound},
			"an alias of no function":  {func() error { _, err := b.ChangeAlias(ctx, here, "g", "live", "", nothing); return err }, function.NotFound},
			"an alias to no version": {func() error {
				_, err := b.ChangeAlias(ctx, here, "f", "live", "", func(a *function.Alias) { a.Version = "7" })
				return err
			}, function.NotFound},
			"tags of no function":       {func() error { return b.Tag(ctx, here, "g", map[string]string{"a": "b"}, nil) }, function.NotFound},
			"more than may be reserved": {func() error { return b.Reserve(ctx, here, "f", 4) }, function.InvalidParameter},
			"retries that were never set": {func() error {
				_, err := b.PutEventConfig(ctx, here, "f", "", false, func(*function.EventConfig) {})
				return err
			}, function.NotFound},
			"too many retries": {func() error {
				_, err := b.PutEventConfig(ctx, here, "f", "", true, func(c *function.EventConfig) { c.Retries = 3 })
				return err
			}, function.InvalidParameter},
			"a version that is not there": {func() error { return b.Delete(ctx, here, "f", "3") }, function.NotFound},
		} {
			if err := c.change(); function.CodeOf(err) != c.want || err != nil && c.want == "" {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// TestOldCode: what was unpacked of code that no function has any more goes, but not
// while workers of the old version may still run.
func TestOldCode(t *testing.T) {
	db := sqldbtest.SQLite(t)
	b, ctx := open(t, db), t.Context()
	unpacked := func() int {
		list, err := filepath.Glob(filepath.Join(b.dir, "code*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	b.create(t, "f", "def handler(e, c): return 1\n")
	b.invoke(t, "f", "", "{}")
	if _, err := b.Update(ctx, here, "f", "", archive(t, map[string]string{"index.py": "def handler(e, c): return 2\n"}), func(*function.Function) {}); err != nil {
		t.Fatal(err)
	}
	if got := b.invoke(t, "f", "", "{}"); got != "2" || unpacked() != 2 {
		t.Fatalf("%s, %d unpacked", got, unpacked())
	}
	b.ahead.Store(int64(2 * time.Hour))
	for sweep, want := range []int{2, 1, 1} {
		if err := b.Sweep(ctx); err != nil || unpacked() != want {
			t.Fatalf("after sweep %d: %d unpacked, want %d: %v", sweep+1, unpacked(), want, err)
		}
	}
	if got := b.invoke(t, "f", "", "{}"); got != "2" {
		t.Error(got)
	}
}
