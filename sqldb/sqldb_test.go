package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

var schema = fstest.MapFS{"migrations/0001_first.sql": {Data: []byte(`
create table item (name {text} not null, n bigint not null, body {bytes}, primary key (name)){norowid};
`)}}

func migrated(t *testing.T, db *sqldb.DB) {
	t.Helper()
	for range 2 { // the second run finds nothing to do
		if err := db.Migrate(t.Context(), "test", schema); err != nil {
			t.Fatal(err)
		}
	}
}

func insert(name string, n int) func(*sqldb.Tx) error {
	return func(tx *sqldb.Tx) error {
		_, err := tx.Exec("insert into item (name, n, body) values ($1, $2, $3)", name, n, []byte{0, 1})
		return err
	}
}

func names(t *testing.T, db *sqldb.DB) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), "select name from item order by name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func TestWrite(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		migrated(t, db)
		ctx := t.Context()
		boom := errors.New("boom")
		committed := 0
		if err := db.Write(ctx, func(tx *sqldb.Tx) error {
			tx.AfterCommit(func() { committed++ })
			return insert("b", 1)(tx)
		}); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(ctx, func(tx *sqldb.Tx) error {
			tx.AfterCommit(func() { committed++ })
			if err := insert("lost", 1)(tx); err != nil {
				return err
			}
			return boom
		}); !errors.Is(err, boom) {
			t.Fatalf("got %v, want the function's own error", err)
		}
		if err := db.Write(ctx, insert("b", 2)); !errors.Is(err, sqldb.ErrUnique) {
			t.Fatalf("got %v, want ErrUnique", err)
		}
		// Bytes decide the order, not a locale: capitals sort first.
		for _, n := range []string{"a", "B", "_", "é"} {
			if err := db.WriteRelaxed(ctx, insert(n, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := names(t, db), []string{"B", "_", "a", "b", "é"}; !slices.Equal(got, want) {
			t.Errorf("names %q, want %q", got, want)
		}
		if committed != 1 {
			t.Errorf("AfterCommit ran %d times, want 1", committed)
		}
		var n int
		if err := db.QueryRow(ctx, []any{&n}, "select n from item where name = $1", "nobody"); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("missing row: %v", err)
		}
	})
}

func TestHook(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		migrated(t, db)
		ctx := sqldb.WithHook(t.Context(), nil, insert("record", 1))
		if err := db.Write(ctx, insert("change", 1)); err != nil {
			t.Fatal(err)
		}
		if got := names(t, db); !slices.Equal(got, []string{"change", "record"}) {
			t.Errorf("got %q", got)
		}
		refused := errors.New("refused")
		ctx = sqldb.WithHook(t.Context(), nil, func(*sqldb.Tx) error { return refused })
		if err := db.Write(ctx, insert("other", 1)); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if got := names(t, db); len(got) != 2 {
			t.Errorf("a refused record left its change: %q", got)
		}
	})
}

// TestGroup has many writers at once, a third of which fail in different ways:
// each failure must be its own and no success may be lost.
func TestGroup(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		migrated(t, db)
		if err := db.Write(t.Context(), insert("taken", 0)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				name := fmt.Sprintf("n%03d", i)
				var err error
				switch i % 6 {
				case 0:
					err = db.Write(t.Context(), insert("taken", i))
					if !errors.Is(err, sqldb.ErrUnique) {
						t.Errorf("%d: %v", i, err)
					}
				case 1:
					err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
						if err := insert(name, i)(tx); err != nil {
							return err
						}
						if tx.Engine() == sqldb.Postgres {
							return errors.New("x")
						}
						panic("x")
					})
					if err == nil || !strings.Contains(err.Error(), "x") {
						t.Errorf("%d: %v", i, err)
					}
				case 2:
					err = db.WriteRelaxed(t.Context(), insert(name, i))
					if err != nil {
						t.Errorf("%d: %v", i, err)
					}
				default:
					if err := db.Write(t.Context(), insert(name, i)); err != nil {
						t.Errorf("%d: %v", i, err)
					}
				}
			})
		}
		wg.Wait()
		if got := len(names(t, db)); got != 201 {
			t.Errorf("%d rows, want 201", got)
		}
	})
}

// TestBrokenTransaction ends the shared transaction from inside one job, as an
// engine does when it runs out of memory or disk: the others must still commit.
func TestBrokenTransaction(t *testing.T) {
	db := sqldbtest.SQLite(t)
	migrated(t, db)
	hold, release := make(chan struct{}), make(chan struct{})
	go db.Write(t.Context(), func(*sqldb.Tx) error { close(hold); <-release; return nil }) //nolint:errcheck // it only blocks the writer
	<-hold
	var wg sync.WaitGroup
	errs := make([]error, 9)
	for i := range errs {
		wg.Go(func() {
			errs[i] = db.Write(t.Context(), func(tx *sqldb.Tx) error {
				if err := insert(fmt.Sprint(i), i)(tx); err != nil {
					return err
				}
				if i == 4 {
					if _, err := tx.Exec("rollback"); err != nil {
						return err
					}
					return errors.New("guilty")
				}
				return nil
			})
		})
	}
	close(release)
	wg.Wait()
	for i, err := range errs {
		if (err != nil) != (i == 4) {
			t.Errorf("job %d: %v", i, err)
		}
	}
	if got := len(names(t, db)); got != 8 {
		t.Errorf("%d rows, want 8", got)
	}
}

func TestSerializationRetry(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		migrated(t, db)
		if err := db.Write(t.Context(), insert("counter", 0)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
					var n int
					if err := tx.QueryRow([]any{&n}, "select n from item where name = $1{forupdate}", "counter"); err != nil {
						return err
					}
					_, err := tx.Exec("update item set n = $1 where name = $2", n+1, "counter")
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var n int
		if err := db.QueryRow(t.Context(), []any{&n}, "select n from item where name = $1", "counter"); err != nil || n != 64 {
			t.Errorf("counter %d (%v), want 64", n, err)
		}
	})
}

func TestMigrateRefusesNewerSchema(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		newer := fstest.MapFS{"migrations/0001_first.sql": schema["migrations/0001_first.sql"], "migrations/0002_next.sql": {Data: []byte("alter table item add column more bigint;\n")}}
		if err := db.Migrate(t.Context(), "test", newer); err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), "test", schema); !errors.Is(err, sqldb.ErrNewerSchema) {
			t.Errorf("got %v, want ErrNewerSchema", err)
		}
	})
}

// TestMigrateAll: a new database has all planes' tables at their newest, or none; one that is
// there gets what it lacks, a migration at a time.
func TestMigrateAll(t *testing.T) {
	plane := func(statements ...string) fstest.MapFS {
		files := fstest.MapFS{}
		for i, s := range statements {
			files[fmt.Sprintf("migrations/%04d_x.sql", i+1)] = &fstest.MapFile{Data: []byte(s + ";\n")}
		}
		return files
	}
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		one, two := "create table one (a bigint not null)", "create table two (\n\ta bigint not null, -- so it is\n\tprimary key (a) -- alone\n)"
		more, wrong := "alter table one add column b bigint not null default 7", "create table wrong ("
		for _, c := range []struct {
			planes map[string]fs.FS
			fails  bool
			have   []string // columns that are there then
			lack   string
		}{
			{map[string]fs.FS{"one": plane(one), "two": plane(two, wrong)}, true, nil, "a from one"},
			{map[string]fs.FS{"one": plane(one, more), "two": plane(two, "alter table two add column b bigint")}, false, []string{"a, b from one", "a, b from two"}, "a from three"},
			{map[string]fs.FS{"one": plane(one, more), "two": plane(two, "alter table two add column b bigint", "alter table two add column c bigint", wrong),
				"three": plane("create table three (a bigint)")}, true, []string{"b from one", "c from two", "a from three"}, "d from two"},
		} {
			if err := db.MigrateAll(t.Context(), c.planes); (err != nil) != c.fails {
				t.Fatal(err)
			}
			ask := func(columns string) error {
				rows, err := db.Query(t.Context(), "select "+columns)
				if err != nil {
					return err
				}
				for rows.Next() {
				}
				return errors.Join(rows.Err(), rows.Close())
			}
			for _, columns := range c.have {
				if err := ask(columns); err != nil {
					t.Errorf("%s: %v", columns, err)
				}
			}
			if ask(c.lack) == nil {
				t.Errorf("%s is there", c.lack)
			}
		}
	})
}

// TestMigrateTogether starts several nodes at once on one empty database.
func TestMigrateTogether(t *testing.T) {
	url := sqldbtest.PostgresURL(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := sqldb.Open(t.Context(), url, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.Migrate(t.Context(), "test", schema); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestDamagedFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 300)), 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err := sqldb.Open(context.Background(), path, nil); err == nil {
		db.Close()
		t.Fatal("a damaged file was opened")
	} else if !strings.Contains(err.Error(), path) {
		t.Errorf("the error does not name the file: %v", err)
	}
}

// TestCloseFoldsTheLog: after an orderly end everything is in the one file.
func TestCloseFoldsTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db, err := sqldb.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, db)
	if err := db.Write(t.Context(), insert("a", 1)); err != nil {
		t.Fatal(err)
	}
	names(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + "-*"); len(left) > 0 {
		t.Errorf("left beside the file: %q", left)
	}
}

// TestManyTexts: texts that callers compose do not stay prepared without end.
func TestManyTexts(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		for i := range 2500 {
			var got int
			text := fmt.Sprintf("select %d + $1", i)
			if db.Engine() == sqldb.Postgres {
				text = fmt.Sprintf("select %d + $1::int", i)
			}
			if err := db.QueryRow(t.Context(), []any{&got}, text, 1); err != nil || got != i+1 {
				t.Fatalf("%s: %d, %v", text, got, err)
			}
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return tx.QueryRow([]any{&got}, text, 2) })
			if err != nil || got != i+2 {
				t.Fatalf("%s in a transaction: %d, %v", text, got, err)
			}
		}
	})
}

// TestOnce: what is registered runs once a key, last, with what the transaction did, and its
// error is that of the transaction that registered it.
func TestOnce(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		migrated(t, db)
		var ran []string
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			ran = nil // it may run again
			for _, name := range []string{"first", "second"} {
				tx.Once("key", func(tx *sqldb.Tx) error {
					ran = append(ran, name)
					return insert(name, 2)(tx)
				})
			}
			tx.Once("other", func(*sqldb.Tx) error { ran = append(ran, "other"); return nil })
			ran = append(ran, "itself")
			return insert("itself", 1)(tx)
		}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(ran, " "); got != "itself second other" {
			t.Errorf("ran %s", got)
		}
		guilty := errors.New("guilty")
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Once("key", func(*sqldb.Tx) error { return guilty })
			return insert("undone", 3)(tx)
		}); !errors.Is(err, guilty) {
			t.Errorf("%v", err)
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Once("key", func(*sqldb.Tx) error { t.Error("of a transaction that failed"); return nil })
			return guilty
		}); !errors.Is(err, guilty) {
			t.Errorf("%v", err)
		}
		if got := strings.Join(names(t, db), " "); got != "itself second" {
			t.Errorf("rows: %s", got)
		}
	})
}

// TestOnceTogether: transactions that share a commit share what runs last; where that fails,
// only those fail whose it is.
func TestOnceTogether(t *testing.T) {
	for _, bad := range []int{-1, 3} {
		db := sqldbtest.SQLite(t)
		migrated(t, db)
		hold, release := make(chan struct{}), make(chan struct{})
		go db.Write(t.Context(), func(*sqldb.Tx) error { close(hold); <-release; return nil }) //nolint:errcheck // it only blocks the writer
		<-hold
		const jobs = 8
		var wg sync.WaitGroup
		errs := make([]error, jobs)
		ran := 0 // by the writer alone
		for i := range errs {
			wg.Go(func() {
				errs[i] = db.Write(t.Context(), func(tx *sqldb.Tx) error {
					tx.Once("key", func(tx *sqldb.Tx) error {
						ran++
						var n int
						if err := tx.QueryRow([]any{&n}, "select count(*) from item"); err != nil {
							return err
						}
						if bad < 0 && n != jobs {
							return fmt.Errorf("%d rows when it ran", n)
						}
						if i == bad {
							return errors.New("guilty")
						}
						return nil
					})
					if i == bad {
						tx.Once("own", func(*sqldb.Tx) error { return errors.New("guilty") })
					}
					return insert(fmt.Sprint(i), i)(tx)
				})
			})
		}
		for db.Waiting() < jobs {
			time.Sleep(time.Millisecond)
		}
		close(release)
		wg.Wait()
		for i, err := range errs {
			if (err != nil) != (i == bad) {
				t.Errorf("job %d: %v", i, err)
			}
		}
		if bad < 0 && ran != 1 {
			t.Errorf("ran %d times", ran)
		}
	}
}
