// Package sqldbtest runs store tests on every database engine: SQLite in a
// temporary file and a real PostgreSQL that it starts itself.
//
// It is for tests only. PostgreSQL comes from the system (Debian's package
// postgresql); where it is missing the test fails and says how to install it.
package sqldbtest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the database/sql driver "pgx"

	"github.com/berth-registry/berth/sqldb"
)

// Each runs fn once per engine, each time on an empty database.
func Each(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { fn(t, Postgres(t)) })
}

// SQLite opens an empty SQLite database that lives as long as the test.
func SQLite(t testing.TB) *sqldb.DB {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "berth.db"))
}

// Postgres opens an empty schema in a PostgreSQL server that the test process
// shares.
func Postgres(t testing.TB) *sqldb.DB {
	t.Helper()
	return open(t, PostgresURL(t))
}

func open(t testing.TB, address string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

var (
	startOnce sync.Once
	baseURL   string
	startErr  error
	schemas   atomic.Int64
	//lint:ignore U1000 the server runs until this process drops it
	alive io.Closer
)

// PostgresURL returns the address of an empty schema.
func PostgresURL(t testing.TB) string {
	t.Helper()
	startOnce.Do(func() { baseURL, alive, startErr = Start("fsync=off", "shared_buffers=64MB") })
	if startErr != nil {
		t.Fatalf("PostgreSQL is needed for this test: %v", startErr)
	}
	name := fmt.Sprintf("t%d", schemas.Add(1))
	c, err := sql.Open("pgx", baseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(context.Background(), "create schema "+name); err != nil {
		t.Fatal(err)
	}
	return baseURL + "&search_path=" + name
}

// keeper starts a server in $1, prints "ready", and removes it when its standard
// input ends: that is, when the test process is gone, however it went.
const keeper = `
set -e
dir=$1; bin=$2; shift 2; as=
if [ "$(id -u)" = 0 ]; then
  chown postgres "$dir"
  as="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
cd "$dir"
$as "$bin/initdb" -D "$dir/data" -A trust -U berth -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
$as "$bin/postgres" -D "$dir/data" -k "$dir" -h '' -c max_connections=400 "$@" >>"$dir/log" 2>&1 &
pid=$!
trap 'kill -QUIT $pid 2>/dev/null; wait $pid 2>/dev/null; rm -rf "$dir"' EXIT
i=0
until "$bin/pg_isready" -q -h "$dir" -U berth; do
  i=$((i+1))
  if [ $i -gt 300 ] || ! kill -0 $pid; then cat "$dir/log" >&2; exit 1; fi
  sleep 0.05
done
echo ready
cat >/dev/null
`

// Start runs a server of its own with settings such as "fsync=off" and returns its address.
// It runs until it is closed, or this process is gone.
func Start(settings ...string) (url string, server io.Closer, err error) {
	bin, err := binaries()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "berth-pg-")
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", nil, err
	}
	args := []string{"-c", keeper, "sh", dir, bin}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command("sh", args...)
	var msg strings.Builder
	cmd.Stderr = &msg
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "ready" {
		_ = cmd.Wait()
		return "", nil, fmt.Errorf("it did not start: %s", msg.String())
	}
	return "postgres:///postgres?user=berth&host=" + dir, &running{in, cmd}, nil
}

// running is a server that ends when its input does.
type running struct {
	in  io.Closer
	cmd *exec.Cmd
}

// Close implements io.Closer.
func (r *running) Close() error { return errors.Join(r.in.Close(), r.cmd.Wait()) }

// binaries finds the directory of the server's programs, which Debian keeps out
// of the PATH; the newest version wins.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1]), nil
	}
	if p, err := exec.LookPath("pg_isready"); err == nil {
		return filepath.Dir(p), nil
	}
	return "", errors.New("no PostgreSQL server found; on Debian: apt-get install postgresql")
}
