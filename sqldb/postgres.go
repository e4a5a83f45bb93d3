package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// rollbackTime bounds the wait for a transaction's undoing; without it the connection is
// closed, which undoes it too.
const rollbackTime = 5 * time.Second

func openPostgres(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: the address does not parse (postgres://user@host/database): %w", err)
	}
	for k, v := range map[string]string{"statement_timeout": "30000", "lock_timeout": "10000",
		"idle_in_transaction_session_timeout": "60000"} {
		if _, set := cfg.ConnConfig.RuntimeParams[k]; !set {
			cfg.ConnConfig.RuntimeParams[k] = v
		}
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	cfg.MaxConns = int32(max(16, 8*runtime.GOMAXPROCS(0)))
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err == nil {
		if err = pool.Ping(ctx); err != nil {
			pool.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", classify(err))
	}
	db := &DB{engine: Postgres, pg: pool, log: log, stop: make(chan struct{})}
	db.done.Add(1)
	go db.statistician()
	return db, nil
}

// onePostgres runs fn once, in one transaction.
func (db *DB) onePostgres(ctx context.Context, fn func(*Tx) error, relaxed bool) error {
	conn, err := db.pg.Acquire(ctx)
	if err != nil {
		return classify(err)
	}
	defer conn.Release() // closes one whose transaction has not ended
	ex := &pgExecutor{ctx: ctx, conn: conn, db: db, waiting: []statement{{q: "begin"}}}
	if relaxed {
		ex.waiting = append(ex.waiting, statement{q: "set local synchronous_commit = off"})
	}
	tx := &Tx{db: db, ex: ex}
	err = fn(tx)
	if err == nil {
		last := lateJobs{}
		last.add(&job{tx: tx})
		_, err = last.run()
	}
	if err != nil {
		ex.rollback()
		return err
	}
	if err := ex.commit(); err != nil {
		return err
	}
	db.stats.commits.Add(1)
	db.stats.transactions.Add(1)
	for _, f := range tx.after {
		f()
	}
	return nil
}

// pgExecutor runs the statements of one transaction. What needs no answer waits and travels
// with the next that does, since round trips are most of the cost.
type pgExecutor struct {
	ctx     context.Context
	conn    *pgxpool.Conn
	db      *DB
	waiting []statement // first of all the transaction's beginning
	asked   bool        // for anything but that
	begun   bool
}

type statement struct {
	q       string
	args    []any
	changed *int64 // how many rows, for who asks
}

// run keeps a statement until the next.
func (e *pgExecutor) run(n *int64, q string, args []any) error {
	e.waiting, e.asked = append(e.waiting, statement{q, args, n}), true
	return nil
}

// send sends what waits, and a statement behind it, and returns the answer's rest, which is
// the statement's.
func (e *pgExecutor) send(q string, args []any) (pgx.BatchResults, error) {
	var b pgx.Batch
	for _, s := range e.waiting {
		b.Queue(e.db.text(s.q), s.args...)
	}
	b.Queue(e.db.text(q), args...)
	sent := e.waiting
	e.waiting, e.asked, e.begun = nil, true, true
	res := e.conn.SendBatch(e.ctx, &b)
	for _, s := range sent {
		tag, err := res.Exec()
		if err != nil {
			_ = res.Close()
			return nil, err
		}
		if s.changed != nil {
			*s.changed = tag.RowsAffected()
		}
	}
	return res, nil
}

func (e *pgExecutor) exec(q string, args []any) (int64, error) {
	if len(e.waiting) == 0 {
		tag, err := e.conn.Exec(e.ctx, e.db.text(q), args...)
		return tag.RowsAffected(), err
	}
	res, err := e.send(q, args)
	if err != nil {
		return 0, err
	}
	tag, err := res.Exec()
	if end := res.Close(); err == nil {
		err = end
	}
	return tag.RowsAffected(), err
}

func (e *pgExecutor) query(q string, args []any) (*Rows, error) {
	if len(e.waiting) == 0 {
		return pgRows(e.conn.Query(e.ctx, e.db.text(q), args...))
	}
	res, err := e.send(q, args)
	if err != nil {
		return nil, err
	}
	rows, err := pgRows(res.Query())
	if err != nil {
		_ = res.Close()
		return nil, err
	}
	rows.batch = res
	return rows, nil
}

func (e *pgExecutor) row(dest []any, q string, args []any) error {
	if len(e.waiting) == 0 {
		return e.conn.QueryRow(e.ctx, e.db.text(q), args...).Scan(dest...)
	}
	res, err := e.send(q, args)
	if err != nil {
		return err
	}
	err = res.QueryRow().Scan(dest...)
	if end := res.Close(); err == nil {
		err = end
	}
	return err
}

// commit ends the transaction, unless nothing was asked in it.
func (e *pgExecutor) commit() error {
	if !e.asked {
		return nil
	}
	var pe *pgconn.PgError
	res, err := e.send("commit", nil)
	if errors.As(err, &pe) { // of what waited: the commit was not even tried
		e.rollback()
		return classify(err)
	}
	if err == nil {
		_, err = res.Exec()
		if end := res.Close(); err == nil { // what a lost connection says at its end tells nothing of the commit
			err = end
		}
	}
	if err == nil || errors.As(err, &pe) && Retryable(err) {
		return err
	}
	// The server may have committed before the answer was lost; nobody may
	// be told that it failed for certain.
	return fmt.Errorf("%w: the outcome of the commit is unknown: %w", ErrUnavailable, classify(err))
}

func (e *pgExecutor) rollback() {
	if !e.begun || e.conn.Conn().IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), rollbackTime)
	defer cancel()
	_, _ = e.conn.Exec(ctx, "rollback")
}

func pgRows(rows pgx.Rows, err error) (*Rows, error) {
	if err != nil {
		return nil, classify(err)
	}
	return &Rows{pg: rows}, nil
}

// text is a caller's text in PostgreSQL's words.
func (db *DB) text(q string) string {
	if v, ok := db.texts.Load(q); ok {
		return v.(string)
	}
	t := rewrite(db.engine, q)
	if db.known.Load() < maxPrepared {
		db.known.Add(1)
		db.texts.Store(q, t)
	}
	return t
}

// noRows is database/sql's error for pgx's.
func noRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return sql.ErrNoRows
	}
	return err
}
