package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// groupJobs bounds what one commit may hold, so that the first of a group does
	// not wait long for the last.
	groupJobs = 128
	// yields is how often a group lets others run before it commits.
	yields = 1
	// checkpointEvery is how often the log is folded into the file in the
	// background, so that no commit has to do it.
	checkpointEvery = 200 * time.Millisecond
)

func openSQLite(path string, log *slog.Logger) (*DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := touch(abs); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	// NORMAL leaves it to us when the log is flushed.
	w, err := openLite(abs, "synchronous = normal", "wal_autocheckpoint = 8000", "cache_size = -4000")
	if err == nil {
		if err = checkHeader(w); err != nil {
			w.close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", abs, classify(err))
	}
	db := &DB{engine: SQLite, path: abs, log: log, queue: make(chan *job, 1024), sync: dataSync, stop: make(chan struct{})}
	db.readers = newReaders(max(4, 2*runtime.GOMAXPROCS(0)), func() (*lite, error) {
		return openLite(abs, "query_only = 1", "cache_size = -1500")
	})
	db.done.Add(2)
	go db.writer(w)
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
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// checkHeader fails on a file that is not a database, or is one cut short,
// before anything could be taken for an empty registry.
func checkHeader(c *lite) error { return c.once("select count(*) from sqlite_master") }

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
func (db *DB) writer(c *lite) {
	defer db.done.Done()
	ex := &liteExecutor{c: c}
	defer func() {
		if err := c.close(); err != nil {
			db.closeErr = err
		}
		if db.wal != nil {
			db.wal.Close()
		}
	}()
	for {
		select {
		case j := <-db.queue:
			db.runGroup(ex, j)
		case <-db.stop:
			return
		}
	}
}

// flush brings the write-ahead log to stable storage. SQLite keeps one file for it as long
// as the database is open.
func (db *DB) flush() (err error) {
	if db.wal == nil {
		if db.wal, err = os.OpenFile(db.path+"-wal", os.O_RDWR, 0); err != nil {
			return db.fail(err)
		}
		if err := syncDir(filepath.Dir(db.path)); err != nil { // which made its name
			return db.fail(err)
		}
	}
	if err := db.sync(db.wal); err != nil {
		return db.fail(err)
	}
	return nil
}

// runGroup runs first and whatever else is waiting, or comes while they run, in one
// transaction and commits once. There are no savepoints: most jobs that fail do so before
// they write, and then changed nothing; when one fails later, the group is rolled back and
// each of its jobs runs again on its own.
func (db *DB) runGroup(ex *liteExecutor, first *job) {
	group := []*job{first}
	err := db.commitGroup(ex, func(n int) *job {
		if n < len(group) {
			return group[n]
		}
		j := db.join(n)
		if j != nil {
			group = append(group, j)
		}
		return j
	})
	for _, j := range group {
		switch {
		case errors.Is(err, errBroken) && len(group) > 1:
			j.err = nil
			if err := db.commitGroup(ex, only(j)); err != nil && !errors.Is(err, errBroken) {
				j.err = err
			}
		case err != nil && !errors.Is(err, errBroken):
			j.err = err
		}
		close(j.done)
	}
}

// join returns another job for a group of n, nil when it is time to commit.
func (db *DB) join(n int) *job {
	if n >= groupJobs {
		return nil
	}
	for try := 0; ; try++ {
		select {
		case j := <-db.queue:
			return j
		default:
		}
		if try == yields {
			return nil
		}
		// On a busy machine others are about to come: a commit and a flush less is worth
		// more than being first.
		runtime.Gosched()
	}
}

// only is a group of one.
func only(j *job) func(int) *job {
	return func(n int) *job {
		if n > 0 {
			return nil
		}
		return j
	}
}

// errBroken says that a job failed after it had written; the job's own error says
// why. Nothing of its transaction may be committed.
var errBroken = errors.New("a job broke the transaction")

// commitGroup runs the jobs that next gives, by number until there is none, in one
// transaction. A job that fails has its error set and changed nothing. An error other than
// errBroken is that of all jobs; with any error nothing was committed for certain.
func (db *DB) commitGroup(ex *liteExecutor, next func(n int) *job) error {
	if p := db.failed.Load(); p != nil {
		return *p
	}
	if err := ex.run(nil, "begin immediate", nil); err != nil {
		return db.storageError(classify(err))
	}
	var done []*job
	last := lateJobs{}
	durable := false
	for n := 0; ; n++ {
		j := next(n)
		if j == nil {
			break
		}
		if broken := db.runJob(ex, j); broken {
			ex.rollback()
			return errBroken
		}
		if j.err == nil {
			done = append(done, j)
			last.add(j)
			durable = durable || !j.relaxed
		}
	}
	if len(done) == 0 {
		ex.rollback()
		return nil
	}
	if j, err := last.run(); err != nil { // whose it is shows when they run alone
		j.err = db.storageError(err)
		ex.rollback()
		return errBroken
	}
	if err := ex.run(nil, "commit", nil); err != nil {
		ex.rollback()
		return db.storageError(classify(err))
	}
	db.dirty.Store(true)
	db.stats.commits.Add(1)
	db.stats.transactions.Add(int64(len(done)))
	if durable {
		db.stats.flushes.Add(1)
		if err := db.flush(); err != nil {
			return err
		}
	}
	for _, j := range done {
		for _, f := range j.tx.after {
			f()
		}
	}
	return nil
}

// lateJobs is what the jobs of one transaction do last, once for each key.
type lateJobs struct {
	list []lateJob
	at   map[any]int
}

type lateJob struct {
	j  *job
	do func(*Tx) error
}

// add takes what a job registered that has succeeded.
func (l *lateJobs) add(j *job) {
	for _, e := range j.tx.late {
		if e.key == nil {
			l.list = append(l.list, lateJob{j, e.do})
			continue
		}
		if l.at == nil {
			l.at = map[any]int{}
		}
		if n, ok := l.at[e.key]; ok {
			l.list[n] = lateJob{j, e.do}
			continue
		}
		l.at[e.key] = len(l.list)
		l.list = append(l.list, lateJob{j, e.do})
	}
}

// run does it, and returns the job that failed.
func (l *lateJobs) run() (*job, error) {
	for _, e := range l.list {
		if err := safely(e.do, e.j.tx); err != nil {
			return e.j, err
		}
	}
	return nil, nil
}

// storageError closes the database to writes when the storage below it failed.
func (db *DB) storageError(err error) error {
	if !isIOError(err) {
		return err
	}
	return db.fail(err)
}

func (db *DB) fail(err error) error {
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
	c     *lite
	wrote bool // since the running job began
}

func (e *liteExecutor) exec(q string, args []any) (int64, error) {
	e.wrote = true
	return e.c.exec(q, args)
}

func (e *liteExecutor) query(q string, args []any) (*Rows, error) {
	st, err := e.c.prepare(q, args)
	if err != nil {
		return nil, err
	}
	return &Rows{st: st}, nil
}

func (e *liteExecutor) row(dest []any, q string, args []any) error { return e.c.row(dest, q, args) }

func (e *liteExecutor) run(n *int64, q string, args []any) error {
	changed, err := e.exec(q, args)
	if n != nil {
		*n = changed
	}
	return err
}

// rollback ends the transaction; where the engine has ended it already, that is
// no error.
func (e *liteExecutor) rollback() { _ = e.run(nil, "rollback", nil) }

// checkpointer folds the log into the file while nobody waits for it.
func (db *DB) checkpointer() {
	defer db.done.Done()
	c, err := openLite(db.path, "synchronous = normal")
	if err != nil {
		db.log.Warn("no background checkpoints", "error", err)
		return
	}
	defer c.close()
	t := time.NewTicker(checkpointEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if !db.dirty.Swap(false) {
				continue
			}
			if _, err := c.exec("pragma wal_checkpoint(passive)", nil); err != nil {
				db.log.Warn("checkpoint", "error", err)
			}
		case <-db.stop:
			return
		}
	}
}
