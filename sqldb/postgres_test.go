package sqldb_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// cutter stands before a PostgreSQL server; armed, it keeps the next answer and cuts the
// connection.
type cutter struct{ armed atomic.Bool }

func (c *cutter) address(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	server := filepath.Join(q.Get("host"), ".s.PGSQL.5432")
	dir, err := os.MkdirTemp("", "cut")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", server)
			if err != nil {
				in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() {
				defer in.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := out.Read(b)
					if err != nil || c.armed.CompareAndSwap(true, false) {
						return
					}
					if _, err := in.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	return u.String()
}

// TestLostCommit: a commit whose answer is lost is not run again, whatever travelled with it,
// and nobody is told that it failed for certain.
func TestLostCommit(t *testing.T) {
	address := sqldbtest.PostgresURL(t)
	var c cutter
	db, err := sqldb.Open(t.Context(), c.address(t, address), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	migrated(t, db)
	for _, alone := range []bool{true, false} {
		name := map[bool]string{true: "alone", false: "with others"}[alone]
		for _, cut := range []bool{false, true} { // the first time all is prepared
			runs := 0
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				runs++
				q := "update item set n = n + 1 where name = $1"
				if !cut {
					q = "insert into item (name, n) values ($1, 1)"
				}
				if _, err := tx.Exec(q, name); err != nil {
					return err
				}
				if !alone {
					if err := tx.Run("update item set body = $2 where name = $1", name, []byte{1}); err != nil {
						return err
					}
				}
				c.armed.Store(cut)
				return nil
			})
			if !cut {
				if err != nil {
					t.Fatal(err)
				}
				continue
			}
			if !errors.Is(err, sqldb.ErrUnavailable) || !strings.Contains(err.Error(), "unknown") || runs != 1 {
				t.Errorf("%s: run %d times: %v", name, runs, err)
			}
		}
		var n int64
		if err := db.QueryRow(t.Context(), []any{&n}, "select n from item where name = $1", name); err != nil || n != 2 {
			t.Errorf("%s: %d %v", name, n, err)
		}
	}
}

// TestStatistics: the planner of a young database knows of what was written, though autovacuum
// comes a minute later.
func TestStatistics(t *testing.T) {
	db := sqldbtest.Postgres(t)
	migrated(t, db)
	rows := func() (n float64) { // by an analysis that somebody asked for, which autovacuum's is not
		err := db.QueryRow(t.Context(), []any{&n}, `select case when s.last_analyze is null then 0 else c.reltuples end
			from pg_class c join pg_stat_user_tables s on s.relid = c.oid where c.oid = 'item'::regclass`)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for written, end := 0, time.Now().Add(20*time.Second); written < 250 || rows() < float64(written)/3; {
		if time.Now().After(end) {
			t.Fatalf("the planner knows of %v rows of %d", rows(), written)
		}
		for range 50 {
			if err := db.WriteRelaxed(t.Context(), insert(strconv.Itoa(written), 1)); err != nil {
				t.Fatal(err)
			}
			written++
		}
		time.Sleep(20 * time.Millisecond) // or the rows are more than all that is found out
	}
}
