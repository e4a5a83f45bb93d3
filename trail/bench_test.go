package trail

import (
	"testing"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// BenchmarkRecord is what recording costs a read, and a change beside its own
// transaction.
func BenchmarkRecord(b *testing.B) {
	db := sqldbtest.SQLite(b)
	if err := db.Migrate(b.Context(), "trail", Migrations()); err != nil {
		b.Fatal(err)
	}
	t := New(db, secret.NewMaster(make([]byte, 32)), Options{})
	ctx := gate.WithCaller(b.Context(), gate.Caller{RequestID: "x", SourceIP: "10.0.0.1", UserAgent: "docker/28"})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			t.Record(ctx, call(here, here.Account, "BatchGetImage", "team/app", true), 0, nil)
			if len(t.buffer) == 2000 {
				if err := t.Flush(ctx); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("change", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c := call(here, here.Account, "PutImage", "team/app", false)
			x := t.Prepare(ctx, c)
			if err := db.WriteRelaxed(x, func(*sqldb.Tx) error { return nil }); err != nil {
				b.Fatal(err)
			}
			t.Record(x, c, 0, nil)
		}
	})
	b.Run("changes", func(b *testing.B) { // of several at a time
		b.ReportAllocs()
		b.SetParallelism(8)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				c := call(here, here.Account, "PutImage", "team/app", false)
				x := t.Prepare(ctx, c)
				if err := db.WriteRelaxed(x, func(*sqldb.Tx) error { return nil }); err != nil {
					b.Fatal(err)
				}
				t.Record(x, c, 0, nil)
			}
		})
	})
	b.Run("change-without", func(b *testing.B) {
		for b.Loop() {
			if err := db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
				var n int
				return tx.QueryRow([]any{&n}, "select 1")
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
