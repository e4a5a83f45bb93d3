package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

type mode string

// TestRows: values go in and come out as what they were, on both engines, in and outside of
// transactions, whatever the order of the placeholders.
func TestRows(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		write := func(q string, args ...any) (n int64, err error) {
			err = db.Write(ctx, func(tx *sqldb.Tx) error {
				n, err = tx.Exec(q, args...)
				return err
			})
			return n, err
		}
		if _, err := write("create table v (k bigint not null, s {text}, b {bytes}, n bigint, primary key (k))"); err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("\x00ÿ\xff", 20000)
		for k, row := range [][]any{{"", []byte{}, int64(0)}, {mode("MUTABLE"), []byte(long), int64(-1) << 63}, {nil, nil, nil}, {"ä", []byte(nil), 7}} {
			if n, err := write("insert into v (b, n, s, k) values ($2, $3, $1, $4)", append(row, k)...); err != nil || n != 1 {
				t.Fatalf("%d rows, %v", n, err)
			}
		}
		check := func(row func(dest []any, q string, args ...any) error) {
			t.Helper()
			const one = "select s, n, b from v where k = $1"
			var (
				m    mode
				text sql.NullString
				n    sql.NullInt64
				i    int64
				b    = []byte("before")
			)
			if err := row([]any{&m, &i, &b}, one, 1); err != nil || m != "MUTABLE" || string(b) != long || i != -1<<63 {
				t.Errorf("%s %d, %d bytes: %v", m, i, len(b), err)
			}
			if err := row([]any{&text, &n, &b}, one, 2); err != nil || text.Valid || n.Valid || b != nil {
				t.Errorf("NULL: %v %v %q %v", text, n, b, err)
			}
			if err := row([]any{&text, &n, &b}, one, 3); err != nil || text.String != "ä" || n.Int64 != 7 || b != nil {
				t.Errorf("%v %v %q %v", text, n, b, err)
			}
			if err := row([]any{&m, &i, &b}, one, 0); err != nil || m != "" || i != 0 || b == nil || len(b) != 0 {
				t.Errorf("empty: %q %d %q %v", m, i, b, err)
			}
			if err := row([]any{&text, &n, &b}, one, 4); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("no such row: %v", err)
			}
			for what, err := range map[string]error{
				"NULL into a text":    row([]any{&m, &n, &b}, one, 2),
				"NULL into a number":  row([]any{&text, &i, &b}, one, 2),
				"a text for a number": row([]any{&i, &n, &b}, one, 1),
				"too few values":      row([]any{&text, &n}, one, 1),
				"too many parameters": row([]any{&text, &n, &b}, one, 1, 2),
				"too few parameters":  row([]any{&text, &n, &b}, one),
				"no such table":       row([]any{&text}, "select s from w"),
			} {
				if err == nil || errors.Is(err, sql.ErrNoRows) {
					t.Errorf("%s: %v", what, err)
				}
			}
			var now int64
			if err := row([]any{&now}, "select count(*) from v where s = $1 or k = $2 or s = $1", "ä", 0); err != nil || now != 2 {
				t.Errorf("%d %v", now, err)
			}
		}
		check(func(dest []any, q string, args ...any) error { return db.QueryRow(ctx, dest, q, args...) })
		if db.Engine() == sqldb.SQLite { // PostgreSQL ends a transaction with its first error
			if err := db.Write(ctx, func(tx *sqldb.Tx) error { check(tx.QueryRow); return nil }); err != nil {
				t.Error(err)
			}
		}
		if n, err := write("update v set n = $2 where k > $1", 1, 9); err != nil || n != 2 {
			t.Errorf("%d rows changed, %v", n, err)
		}
	})
}

// TestReaders: SQLite's rows that are not read to their end give their connection back when
// they are closed, a read waits for one as long as its caller does, and nothing is read of a
// closed database.
func TestReaders(t *testing.T) {
	db := sqldbtest.SQLite(t)
	migrated(t, db)
	for _, n := range []string{"a", "b"} {
		if err := db.Write(t.Context(), insert(n, 1)); err != nil {
			t.Fatal(err)
		}
	}
	query := func() (*sqldb.Rows, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		rows, err := db.Query(ctx, "select name from item order by name")
		if err == nil && !rows.Next() {
			t.Fatal(rows.Err())
		}
		return rows, err
	}
	var open []*sqldb.Rows
	for {
		rows, err := query()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if open = append(open, rows); err != nil || len(open) > 100 {
			t.Fatalf("%d connections, %v", len(open), err)
		}
	}
	for _, rows := range open {
		for range 2 {
			if err := rows.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if rows.Next() {
			t.Fatal("closed rows go on")
		}
	}
	if got := names(t, db); len(got) != 2 {
		t.Errorf("%v", got)
	}
	last, err := query()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if _, err := query(); !errors.Is(err, sqldb.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
	if err := last.Close(); err != nil {
		t.Error(err)
	}
}

// TestRun: what nobody asks about is done in its order with the rest, and fails it with its
// own error, at the next statement or the commit at the latest.
func TestRun(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		migrated(t, db)
		ctx := t.Context()
		put := func(tx *sqldb.Tx, name string, n int) error {
			return tx.Run("insert into item (name, n, body) values ($1, $2, $3)", name, n, []byte{1})
		}
		sum := func(tx *sqldb.Tx) (n int, err error) {
			err = tx.QueryRow([]any{&n}, "select coalesce(sum(n), 0) from item")
			return n, err
		}
		for _, write := range []func(context.Context, func(*sqldb.Tx) error) error{db.Write, db.WriteRelaxed} {
			if err := write(ctx, func(tx *sqldb.Tx) error {
				if err := errors.Join(tx.Run("delete from item"), put(tx, "a", 1), put(tx, "b", 2)); err != nil {
					return err
				}
				if n, err := sum(tx); err != nil || n != 3 {
					t.Errorf("a row: %d %v", n, err)
				}
				if err := put(tx, "c", 4); err != nil {
					return err
				}
				rows, err := tx.Query("select name from item order by name")
				list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (s string, err error) { return s, scan(&s) })
				if err != nil || strings.Join(list, "") != "abc" {
					t.Errorf("rows: %v %v", list, err)
				}
				if err := put(tx, "d", 8); err != nil {
					return err
				}
				if n, err := tx.Exec("update item set n = n + 1"); err != nil || n != 4 {
					t.Errorf("%d rows changed, %v", n, err)
				}
				var changed, none int64
				if err := errors.Join(tx.RunCount(&changed, "update item set n = n - 1 where n > 1"), tx.RunCount(&none, "delete from item where n > 100"), put(tx, "e", 16)); err != nil {
					return err
				}
				if n, err := sum(tx); err != nil || n != 31 || changed != 4 || none != 0 {
					t.Errorf("%d and %d rows changed, %d %v", changed, none, n, err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if got := names(t, db); strings.Join(got, "") != "abcde" {
				t.Errorf("%v", got)
			}
		}
		for what, fn := range map[string]func(tx *sqldb.Tx) error{
			"the commit": func(tx *sqldb.Tx) error { return errors.Join(put(tx, "f", 1), put(tx, "a", 1)) },
			"a row": func(tx *sqldb.Tx) error {
				if err := errors.Join(put(tx, "f", 1), put(tx, "a", 1)); err != nil {
					return err
				}
				_, err := sum(tx)
				return err
			},
			"rows": func(tx *sqldb.Tx) error {
				if err := errors.Join(put(tx, "f", 1), put(tx, "a", 1)); err != nil {
					return err
				}
				rows, err := tx.Query("select name from item")
				if err == nil {
					t.Error("a query after what failed")
					rows.Close()
				}
				return err
			},
			"another": func(tx *sqldb.Tx) error {
				if err := errors.Join(put(tx, "f", 1), put(tx, "a", 1)); err != nil {
					return err
				}
				_, err := tx.Exec("update item set n = 0")
				return err
			},
		} {
			err := db.Write(ctx, func(tx *sqldb.Tx) error {
				tx.AfterCommit(func() { t.Errorf("%s: it was committed", what) })
				return fn(tx)
			})
			if !errors.Is(err, sqldb.ErrUnique) {
				t.Errorf("%s: %v", what, err)
			}
		}
		boom := errors.New("boom")
		if err := db.Write(ctx, func(tx *sqldb.Tx) error { return errors.Join(put(tx, "f", 1), boom) }); !errors.Is(err, boom) {
			t.Error(err)
		}
		if err := db.Write(ctx, func(*sqldb.Tx) error { return nil }); err != nil {
			t.Errorf("nothing: %v", err)
		}
		var n int
		if err := db.QueryRow(ctx, []any{&n}, "select count(*) from item where n > 0"); err != nil || n != 5 || strings.Join(names(t, db), "") != "abcde" {
			t.Errorf("%d %v", n, err)
		}
	})
}
