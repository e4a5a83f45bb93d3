package sqldb

import (
	"database/sql"

	"github.com/jackc/pgx/v5"
	"zombiezen.com/go/sqlite"
)

// Rows are the rows of a query, one after the other. They belong to one goroutine and have
// to be closed; Next closes them at their end.
type Rows struct {
	pg    pgx.Rows         // PostgreSQL
	batch pgx.BatchResults // that they are the last of, unless nil

	st   *sqlite.Stmt // SQLite, nil once closed
	done func()       // hands the connection back, unless nil
	err  error
}

// Next goes on to the next row, or says that there is none, or that it failed (Err).
func (r *Rows) Next() bool {
	if r.pg != nil {
		if r.pg.Next() {
			return true
		}
		_ = r.Close()
		return false
	}
	if r.st == nil {
		return false
	}
	more, err := r.st.Step()
	if more {
		return true
	}
	r.err = classify(err)
	_ = r.Close()
	return false
}

// Scan copies the columns of the row into dest: texts, numbers, bytes, or types made of them.
func (r *Rows) Scan(dest ...any) error {
	if r.pg != nil {
		return r.pg.Scan(dest...)
	}
	if r.st == nil {
		return sql.ErrNoRows
	}
	return scan(r.st, dest)
}

// Err says why Next ended early, if it did.
func (r *Rows) Err() error {
	if r.pg != nil {
		if err := r.pg.Err(); err != nil {
			return classify(err)
		}
	}
	return classify(r.err)
}

// Close ends the query. It may be called more than once.
func (r *Rows) Close() error {
	if r.pg != nil {
		r.pg.Close()
		if r.batch != nil {
			r.err = r.batch.Close()
			r.batch = nil
		}
		return nil
	}
	if r.st == nil {
		return nil
	}
	err := r.st.Reset()
	r.st = nil
	if r.done != nil {
		r.done()
	}
	return classify(err)
}

// Collect reads all rows of a query, each with scan, and closes them. It takes the
// query's error, too.
func Collect[T any](rows *Rows, err error, scan func(func(...any) error) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
