package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

const (
	// groupJobs bounds what one commit may hold, so that the first of a group does
	// not wait long for the last.
	groupJobs = 128
	// checkpointEvery is how often the log is folded into the file in the
	// background, so that no commit has to do it.
	checkpointEvery = 200 * time.Millisecond
)

func sqliteDSN(path string, pragmas ...string) string {
	v := url.Values{}
	for _, p := range append([]string{"busy_timeout(10000)", "journal_mode(wal)", "foreign_keys(1)"}, pragmas...) {
		v.Add("_pragma", p)
	}
	v.Set("_txlock", "immediate")
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + v.Encode()
}

func openSQLite(ctx context.Context, path string, log *slog.Logger) (*DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := touch(abs); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	dsn := sqliteDSN(abs, "synchronous(full)", "wal_autocheckpoint(8000)", "cache_size(-16000)")
	w, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	w.SetMaxOpenConns(1)
	r, err := sql.Open("sqlite", sqliteDSN(abs, "query_only(1)", "cache_size(-8000)"))
	if err != nil {
		w.Close()
		return nil, err
	}
	n := max(4, 2*runtime.GOMAXPROCS(0))
	r.SetMaxOpenConns(n)
	r.SetMaxIdleConns(n)
	db := &DB{engine: SQLite, path: abs, dsn: dsn, write: w, read: r, log: log,
		queue: make(chan *job, 1024), stop: make(chan struct{})}
	conn, err := w.Conn(ctx)
	if err == nil {
		err = checkHeader(ctx, conn)
	}
	if err != nil {
		w.Close()
		r.Close()
		return nil, fmt.Errorf("open the database %s: %w", abs, classify(err))
	}
	db.done.Add(2)
	go db.writer(conn)
	go db.checkpointer()
	return db, nil
}

// touch makes the file with tight permissions before SQLite would make it with
// loose ones, and makes its name durable.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// checkHeader fails on a file that is not a database, or is one cut short,
// before anything could be taken for an empty registry.
func checkHeader(ctx context.Context, conn *sql.Conn) error {
	var n int64
	return conn.QueryRowContext(ctx, "select count(*) from sqlite_master").Scan(&n)
}

// job is one transaction that waits for the writer.
type job struct {
	ctx     context.Context
	fn      func(*Tx) error
	relaxed bool
	tx      *Tx
	err     error
	done    chan struct{}
}

func (db *DB) enqueue(ctx context.Context, fn func(*Tx) error, relaxed bool) error {
	j := &job{ctx: ctx, fn: fn, relaxed: relaxed, done: make(chan struct{})}
	select {
	case db.queue <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stop:
		return fmt.Errorf("%w: the database is closed", ErrUnavailable)
	}
	// Once queued the job is waited for: the writer may be running it, and its
	// caller must know how it ended.
	select {
	case <-j.done:
		return j.err
	case <-db.stop:
		db.done.Wait()
		select {
		case <-j.done:
			return j.err
		default:
			return fmt.Errorf("%w: the database is closed", ErrUnavailable)
		}
	}
}

// writer runs every SQLite transaction, in groups.
func (db *DB) writer(conn *sql.Conn) {
	defer db.done.Done()
	defer conn.Close()
	ex := &liteExecutor{conn: conn, stmts: map[string]*sql.Stmt{}, sync: true}
	// With a statement left open the last connection would not fold the log into
	// the file when it closes.
	defer ex.close()
	for {
		select {
		case j := <-db.queue:
			db.runGroup(ex, j)
		case <-db.stop:
			return
		}
	}
}

// runGroup runs first and whatever else is waiting in one transaction and commits
// once. There are no savepoints: most jobs that fail do so before they write, and
// then changed nothing; when one fails later, the group is rolled back and each
// of its jobs runs again on its own.
func (db *DB) runGroup(ex *liteExecutor, first *job) {
	group := []*job{first}
collect:
	for len(group) < groupJobs {
		select {
		case j := <-db.queue:
			group = append(group, j)
		default:
			break collect
		}
	}
	err := db.commitGroup(ex, group)
	if errors.Is(err, errBroken) && len(group) > 1 {
		for _, j := range group {
			if err := db.commitGroup(ex, []*job{j}); err != nil && !errors.Is(err, errBroken) {
				j.err = err
			}
		}
		err = nil
	}
	for _, j := range group {
		if err != nil && !errors.Is(err, errBroken) {
			j.err = err
		}
		close(j.done)
	}
}

// errBroken says that a job failed after it had written; the job's own error says
// why. Nothing of its transaction may be committed.
var errBroken = errors.New("a job broke the transaction")

// commitGroup runs jobs in one transaction. A job that fails has its error set
// and changed nothing. An error other than errBroken is that of all jobs; with
// any error nothing was committed.
func (db *DB) commitGroup(ex *liteExecutor, jobs []*job) error {
	if p := db.failed.Load(); p != nil {
		return *p
	}
	durable := false
	for _, j := range jobs {
		durable = durable || !j.relaxed
	}
	if err := ex.setSync(durable); err != nil {
		return db.storageError(classify(err))
	}
	if err := ex.run("begin immediate"); err != nil {
		return db.storageError(classify(err))
	}
	succeeded := 0
	for _, j := range jobs {
		if broken := db.runJob(ex, j); broken {
			ex.rollback()
			return errBroken
		}
		if j.err == nil {
			succeeded++
		}
	}
	if succeeded == 0 {
		ex.rollback()
		return nil
	}
	if err := ex.run("commit"); err != nil {
		ex.rollback()
		return db.storageError(classify(err))
	}
	db.dirty.Store(true)
	for _, j := range jobs {
		if j.err == nil {
			for _, f := range j.tx.after {
				f()
			}
		}
	}
	return nil
}

// storageError closes the database to writes when the storage below it failed.
func (db *DB) storageError(err error) error {
	if !isIOError(err) {
		return err
	}
	failed := fmt.Errorf("%w: %w", ErrFailed, err)
	if db.failed.CompareAndSwap(nil, &failed) {
		db.log.Error("the database's storage failed, writes are refused until restart", "path", db.path, "error", err)
	}
	return failed
}

// runJob runs one job and sets its error. broken says that it failed after it had
// written, or ended the transaction.
func (db *DB) runJob(ex *liteExecutor, j *job) (broken bool) {
	if j.err = j.ctx.Err(); j.err != nil {
		return false
	}
	ex.wrote = false
	j.tx = &Tx{db: db, ex: ex}
	if j.err = safely(j.fn, j.tx); j.err == nil {
		return false
	}
	j.err = db.storageError(j.err)
	return ex.wrote
}

// safely turns a panic in a transaction function into its error, since it runs
// on the writer's goroutine and must not take the server down.
func safely(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}

// liteExecutor runs statements on the writer's connection. The callers' contexts
// are not used: an interrupted statement would roll the whole group back.
type liteExecutor struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	sync  bool
	wrote bool // since the running job began
}

func (e *liteExecutor) close() {
	for _, st := range e.stmts {
		_ = st.Close()
	}
}

func (e *liteExecutor) stmt(q string) (*sql.Stmt, error) {
	if st, ok := e.stmts[q]; ok {
		return st, nil
	}
	if len(e.stmts) >= maxPrepared { // the rows of each were read before the next was begun
		e.close()
		clear(e.stmts)
	}
	st, err := e.conn.PrepareContext(context.Background(), rewrite(SQLite, q))
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", q, err)
	}
	e.stmts[q] = st
	return st, nil
}

func (e *liteExecutor) exec(q string, args []any) (sql.Result, error) {
	e.wrote = true
	st, err := e.stmt(q)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(context.Background(), args...)
}

func (e *liteExecutor) query(q string, args []any) (*sql.Rows, error) {
	st, err := e.stmt(q)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(context.Background(), args...)
}

func (e *liteExecutor) run(q string) error {
	_, err := e.exec(q, nil)
	return err
}

// rollback ends the transaction; where the engine has ended it already, that is
// no error.
func (e *liteExecutor) rollback() { _ = e.run("rollback") }

// setSync chooses whether the next commit waits for the disk. SQLite ignores the
// setting inside a transaction.
func (e *liteExecutor) setSync(full bool) error {
	if e.sync == full {
		return nil
	}
	q := "pragma synchronous = normal"
	if full {
		q = "pragma synchronous = full"
	}
	if _, err := e.conn.ExecContext(context.Background(), q); err != nil {
		return err
	}
	e.sync = full
	return nil
}

// checkpointer folds the log into the file while nobody waits for it.
func (db *DB) checkpointer() {
	defer db.done.Done()
	pool, err := sql.Open("sqlite", db.dsn)
	if err != nil {
		db.log.Warn("no background checkpoints", "error", err)
		return
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	t := time.NewTicker(checkpointEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if !db.dirty.Swap(false) {
				continue
			}
			if _, err := pool.Exec("pragma wal_checkpoint(passive)"); err != nil {
				db.log.Warn("checkpoint", "error", err)
			}
		case <-db.stop:
			return
		}
	}
}
