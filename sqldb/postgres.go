package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

func openPostgres(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: the address does not parse (postgres://user@host/database): %w", err)
	}
	for k, v := range map[string]string{"statement_timeout": "30000", "lock_timeout": "10000",
		"idle_in_transaction_session_timeout": "60000"} {
		if _, set := cfg.RuntimeParams[k]; !set {
			cfg.RuntimeParams[k] = v
		}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	pool := stdlib.OpenDB(*cfg)
	n := max(16, 8*runtime.GOMAXPROCS(0))
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	db := &DB{engine: Postgres, pg: pool, log: log, stop: make(chan struct{})}
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open PostgreSQL: %w", classify(err))
	}
	return db, nil
}

// onePostgres runs fn once, in one transaction.
func (db *DB) onePostgres(ctx context.Context, fn func(*Tx) error, relaxed bool) error {
	t, err := db.pg.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer t.Rollback() //nolint:errcheck // after Commit it does nothing
	if relaxed {
		if _, err := t.ExecContext(ctx, "set local synchronous_commit = off"); err != nil {
			return classify(err)
		}
	}
	tx := &Tx{db: db, ex: pgExecutor{ctx, t, db}}
	if err := fn(tx); err != nil {
		return err
	}
	last := lateJobs{}
	last.add(&job{tx: tx})
	if _, err := last.run(); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		if Retryable(err) {
			return err
		}
		// The server may have committed before the answer was lost; nobody may
		// be told that it failed for certain.
		return fmt.Errorf("%w: the outcome of the commit is unknown: %w", ErrUnavailable, classify(err))
	}
	db.stats.commits.Add(1)
	db.stats.transactions.Add(1)
	for _, f := range tx.after {
		f()
	}
	return nil
}

type pgExecutor struct {
	ctx context.Context
	tx  *sql.Tx
	db  *DB
}

func (e pgExecutor) exec(q string, args []any) (int64, error) {
	res, err := e.tx.ExecContext(e.ctx, e.db.text(q), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (e pgExecutor) query(q string, args []any) (*Rows, error) {
	return pgRows(e.tx.QueryContext(e.ctx, e.db.text(q), args...))
}

func (e pgExecutor) row(dest []any, q string, args []any) error {
	return e.tx.QueryRowContext(e.ctx, e.db.text(q), args...).Scan(dest...)
}

func pgRows(rows *sql.Rows, err error) (*Rows, error) {
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
