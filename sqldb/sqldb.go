// Package sqldb opens Berth's metadata database, SQLite or PostgreSQL, and runs
// one SQL text on both.
//
// It owns connections, transactions with bounded retry, the grouped commit of
// SQLite, migrations and the classes of errors. It is not an ORM or a query
// builder, and it knows no table: SQL lives in each core's store*.go files.
//
// # Portable SQL
//
// Placeholders are $1, $2, …; types are bigint (times in microseconds, booleans
// as 0 and 1), {text} and {bytes}. The tokens in braces are replaced per engine:
//
//	{text}       text that sorts and compares by bytes
//	{bytes}      a byte string
//	{norowid}    after a table's closing bracket: rows live in the primary key
//	{forupdate}  locks the selected rows until the transaction ends
//	{forshare}   keeps the selected rows from being deleted, and lets others change
//	             them: so that many transactions below one row do not deadlock on it
//
// # Transactions
//
// Write runs a function in a transaction. The function may run more than once
// (serialisation failures, a group that had to be split), so it must not have
// effects outside the transaction; Tx.AfterCommit is for those. On SQLite one
// goroutine runs all writers, and those that wait while another commits share
// the next commit and its one flush. A function must therefore be short and must
// not wait for anything.
package sqldb

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Engine names a database engine.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// maxRetries bounds how often a transaction that lost a race is run again.
const maxRetries = 5

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine Engine
	log    *slog.Logger

	pg    *pgxpool.Pool // PostgreSQL
	texts sync.Map      // PostgreSQL: a caller's text -> the rewritten one
	known atomic.Int64  // how many those are

	path    string // SQLite: its file
	readers *readers

	queue    chan *job
	stop     chan struct{}
	done     sync.WaitGroup
	wal      *os.File // SQLite's log, of the writer
	sync     func(*os.File) error
	failed   atomic.Pointer[error]
	stats    struct{ transactions, commits, flushes atomic.Int64 }
	clock    atomic.Int64 // SQLite: the last answer of Tx.Clock
	dirty    atomic.Bool  // something was committed since the last checkpoint
	closing  sync.Once
	closeErr error
}

// Engine says which engine this is.
func (db *DB) Engine() Engine { return db.engine }

// SingleProcess reports whether this process is the only one that can write, so
// that caches invalidated at commit are exact.
func (db *DB) SingleProcess() bool { return db.engine == SQLite }

// Open opens a database by its address: a PostgreSQL URL (postgres://…), or else
// the path of a SQLite file, which is made when it is missing.
func Open(ctx context.Context, address string, log *slog.Logger) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		return openPostgres(ctx, address, log)
	}
	return openSQLite(address, log)
}

// Stats is what a database has done so far.
type Stats struct {
	// Transactions are those that were committed; on SQLite several share a commit, and
	// commits a flush of the log, unless they may be lost with the power.
	Transactions, Commits, Flushes int64
}

// Stats counts; on PostgreSQL flushes are the server's own, and 0 here.
func (db *DB) Stats() Stats {
	return Stats{db.stats.transactions.Load(), db.stats.commits.Load(), db.stats.flushes.Load()}
}

// Close ends the writer, folds the write-ahead log into the file and closes
// every connection.
func (db *DB) Close() error {
	db.closing.Do(func() {
		close(db.stop)
		db.done.Wait()
		if db.engine == Postgres {
			db.pg.Close()
		} else if err := db.readers.close(); err != nil {
			db.closeErr = err
		}
	})
	return db.closeErr
}

// Ping reports whether the database answers and accepts writes.
func (db *DB) Ping(ctx context.Context) error {
	if p := db.failed.Load(); p != nil {
		return *p
	}
	if db.engine == Postgres {
		return classify(db.pg.Ping(ctx))
	}
	var one int
	return db.QueryRow(ctx, []any{&one}, "select 1")
}

// rewrite replaces the dialect tokens of a text.
func rewrite(e Engine, q string) string {
	if !strings.Contains(q, "{") {
		return q
	}
	if e == SQLite {
		return sqliteTokens.Replace(q)
	}
	return postgresTokens.Replace(q)
}

var (
	sqliteTokens = strings.NewReplacer("{text}", "text", "{bytes}", "blob",
		"{norowid}", " without rowid", "{forupdate}", "", "{forshare}", "")
	postgresTokens = strings.NewReplacer("{text}", `text collate "C"`, "{bytes}", "bytea",
		"{norowid}", "", "{forupdate}", " for update", "{forshare}", " for key share")
)

// Query runs a read outside any transaction. The caller closes the rows.
func (db *DB) Query(ctx context.Context, q string, args ...any) (*Rows, error) {
	if db.engine == Postgres {
		return pgRows(db.pg.Query(ctx, db.text(q), args...))
	}
	// What runs here are point reads and pages: ctx ends the wait for a connection, but to
	// watch it meanwhile would cost more than the read.
	c, err := db.reader(ctx)
	if err != nil {
		return nil, classify(err)
	}
	st, err := c.prepare(q, args)
	if err != nil {
		db.readers.give(c)
		return nil, classify(err)
	}
	return &Rows{st: st, done: func() { db.readers.give(c) }}, nil
}

// QueryRow runs a read of at most one row and scans it into dest; no row is
// sql.ErrNoRows.
func (db *DB) QueryRow(ctx context.Context, dest []any, q string, args ...any) error {
	if db.engine == Postgres {
		return classify(db.pg.QueryRow(ctx, db.text(q), args...).Scan(dest...))
	}
	c, err := db.reader(ctx)
	if err != nil {
		return classify(err)
	}
	err = c.row(dest, q, args)
	db.readers.give(c)
	return classify(err)
}

func (db *DB) reader(ctx context.Context) (*lite, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return db.readers.take(ctx)
}

// Tx is a running transaction. It belongs to the function it was given to.
type Tx struct {
	db    *DB
	ex    executor
	late  []late
	after []func()
}

// late is what a transaction does last.
type late struct {
	key any // nil for what is done each time
	do  func(*Tx) error
}

// executor runs statements of one transaction, by rewritten text.
type executor interface {
	run(n *int64, q string, args []any) error
	exec(q string, args []any) (int64, error)
	query(q string, args []any) (*Rows, error)
	row(dest []any, q string, args []any) error
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(q string, args ...any) (int64, error) {
	n, err := tx.ex.exec(q, args)
	return n, classify(err)
}

// Run is Exec where nobody asks how many rows it changed. On PostgreSQL the statement travels
// with the next one, or with the commit, and an error of it is theirs.
func (tx *Tx) Run(q string, args ...any) error { return classify(tx.ex.run(nil, q, args)) }

// RunCount is Run for who asks later: n is how many rows the statement changed, once a later
// statement that is not Run has returned.
func (tx *Tx) RunCount(n *int64, q string, args ...any) error { return classify(tx.ex.run(n, q, args)) }

// Query runs a read in the transaction. The caller closes the rows before the
// next statement.
func (tx *Tx) Query(q string, args ...any) (*Rows, error) {
	rows, err := tx.ex.query(q, args)
	return rows, classify(err)
}

// QueryRow reads at most one row into dest; no row is sql.ErrNoRows.
func (tx *Tx) QueryRow(dest []any, q string, args ...any) error {
	return classify(tx.ex.row(dest, q, args))
}

// Engine says which engine the transaction runs on.
func (tx *Tx) Engine() Engine { return tx.db.engine }

// Clock is a time in microseconds that orders transactions over all nodes: what was
// committed before a transaction began has a smaller one. It is near the wall clock.
func (tx *Tx) Clock() (int64, error) {
	if tx.db.engine == Postgres { // the database's clock: those of nodes differ
		var at int64
		err := tx.QueryRow([]any{&at}, "select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
		return at, err
	}
	for {
		last := tx.db.clock.Load()
		if at := max(time.Now().UnixMicro(), last+1); tx.db.clock.CompareAndSwap(last, at) {
			return at, nil
		}
	}
}

// Once registers do to run as the last thing before the transaction is committed, with the
// same consequences as if it ran now. Of several with the same key only the newest runs, and
// transactions that are committed together count as one: so what follows from the state that
// they lead to is worked out once.
func (tx *Tx) Once(key any, do func(*Tx) error) { tx.late = append(tx.late, late{key, do}) }

// Last registers do to run at the end, as Once does, each time: for what many transactions
// wait for, such as a count that all of them change.
func (tx *Tx) Last(do func(*Tx) error) { tx.late = append(tx.late, late{nil, do}) }

// AfterCommit registers f to run once the transaction is durable, before Write
// returns. It does not run when the transaction fails.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

type hookKey struct{}

// hook is what a context adds to the next write.
type hook struct {
	before func()
	within func(*Tx) error
}

// WithHook returns a context whose next Write also runs within, after the write's
// own function and inside its transaction: what a caller wants recorded with a
// change is committed with it or not at all. before, unless nil, runs ahead of the
// transaction, for what takes time.
func WithHook(ctx context.Context, before func(), within func(*Tx) error) context.Context {
	h := hook{before, within}
	if prev, ok := ctx.Value(hookKey{}).(hook); ok {
		h.before = func() {
			for _, f := range []func(){prev.before, before} {
				if f != nil {
					f()
				}
			}
		}
		h.within = func(tx *Tx) error {
			if err := prev.within(tx); err != nil {
				return err
			}
			return within(tx)
		}
	}
	return context.WithValue(ctx, hookKey{}, h)
}

// Apart returns a context for writes beside the change that the context is for,
// such as cleaning up after it failed: without its hook, and not cancelled with it.
func Apart(ctx context.Context) context.Context {
	return context.WithValue(context.WithoutCancel(ctx), hookKey{}, nil)
}

// Write runs fn in a transaction and returns once the result is on stable
// storage. An error of fn rolls the transaction back and is returned as it is.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	return db.transact(ctx, fn, false)
}

// WriteRelaxed is Write without the wait for stable storage: it survives the
// death of the process, but a power failure may undo it (and what was written
// relaxed after it). It is for leases, upload positions and last-use times.
func (db *DB) WriteRelaxed(ctx context.Context, fn func(*Tx) error) error {
	return db.transact(ctx, fn, true)
}

func (db *DB) transact(ctx context.Context, fn func(*Tx) error, relaxed bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p := db.failed.Load(); p != nil {
		return *p
	}
	if h, ok := ctx.Value(hookKey{}).(hook); ok {
		if h.before != nil {
			h.before()
		}
		own := fn
		fn = func(tx *Tx) error {
			if err := own(tx); err != nil {
				return err
			}
			return h.within(tx)
		}
	}
	if db.engine == SQLite {
		return db.enqueue(ctx, fn, relaxed)
	}
	for try := 0; ; try++ {
		err := db.onePostgres(ctx, fn, relaxed)
		if err == nil || !Retryable(err) {
			return err
		}
		if try == maxRetries {
			return fmt.Errorf("%w: gave up after %d tries: %w", ErrUnavailable, try+1, err)
		}
		wait := time.Duration(1+rand.IntN(4<<try)) * time.Millisecond
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
