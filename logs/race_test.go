package logs_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/berth-registry/berth/logs"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestNoChangeIsLost: changes of a group at the same time all count.
func TestNoChangeIsLost(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := db.Migrate(ctx, "logs", logs.Migrations()); err != nil {
			t.Fatal(err)
		}
		l := logs.New(db, secret.NewMaster(make([]byte, 32)), nil, nil)
		if err := l.CreateGroup(ctx, &logs.Group{Place: here, Name: "/g", Tags: map[string]string{}}); err != nil {
			t.Fatal(err)
		}
		const changes = 20
		var all sync.WaitGroup
		for i := range changes {
			all.Go(func() {
				if err := l.UpdateGroup(ctx, here, "/g", func(g *logs.Group) { g.Tags[fmt.Sprint(i)] = "x" }); err != nil {
					t.Error(err)
				}
			})
		}
		all.Go(func() {
			if err := l.UpdateGroup(ctx, here, "/g", func(g *logs.Group) { g.Retention = 7 }); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		g, err := l.Group(ctx, here, "/g")
		if err != nil || len(g.Tags) != changes || g.Retention != 7 {
			t.Errorf("%d tags, %d days: %v", len(g.Tags), g.Retention, err)
		}
		code(t, l.UpdateGroup(ctx, here, "/none", func(*logs.Group) {}), logs.NotFound)
	})
}
