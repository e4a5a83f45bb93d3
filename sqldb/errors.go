package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"zombiezen.com/go/sqlite"
)

// The classes of database errors that callers tell apart with errors.Is.
var (
	// ErrUnique is a row that exists already.
	ErrUnique = errors.New("row exists already")
	// ErrUnavailable is a database that cannot answer at the moment: locked by
	// another process, out of reach, or a race lost too often. Trying later helps.
	ErrUnavailable = errors.New("database unavailable")
	// ErrFull is a disk without room.
	ErrFull = errors.New("database storage full")
	// ErrFailed is a database whose storage failed a write: nothing more is
	// written before a restart, because what the failed flush lost is unknown.
	ErrFailed = errors.New("database storage failed, writes are refused until restart")
)

// classify adds a class to an engine's error; other errors pass unchanged.
func classify(err error) error {
	if err = noRows(err); err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	switch code := sqlite.ErrCode(err); {
	case code == sqlite.ResultConstraintUnique, code == sqlite.ResultConstraintPrimaryKey, code == sqlite.ResultConstraintRowID:
		return fmt.Errorf("%w: %w", ErrUnique, err)
	case code.ToPrimary() == sqlite.ResultBusy, code.ToPrimary() == sqlite.ResultLocked:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case code.ToPrimary() == sqlite.ResultFull:
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch {
		case pe.Code == "23505":
			return fmt.Errorf("%w: %w", ErrUnique, err)
		case pe.Code == "53100":
			return fmt.Errorf("%w: %w", ErrFull, err)
		case pe.Code[:2] == "57", pe.Code[:2] == "08", pe.Code == "53300", pe.Code == "55P03":
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	}
	var ce *pgconn.ConnectError
	var ne net.Error
	gone := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err) || errors.As(err, &ne)
	if errors.As(err, &ce) || gone && !errors.Is(err, context.Canceled) { // a caller who has gone is no fault of the database
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// Retryable reports a transaction that lost a race and may be run again, which Write does
// by itself.
func Retryable(err error) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return pgconn.SafeToRetry(err) // a connection that was gone before anything was sent
	}
	// PostgreSQL 15 now and then refuses to add to the lockers of a row that one of them
	// has just updated, as an internal error. The transaction was undone.
	crowded := pe.Code == "XX000" && strings.Contains(pe.Message, "multixact has more than one updating member")
	return crowded || pe.Code == "40001" || pe.Code == "40P01"
}

// isIOError reports a SQLite error after which the state of the file is unknown.
func isIOError(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultIOErr, sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultCantOpen:
		return true
	}
	return false
}
