package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// ErrNewerSchema is a database that a newer Berth has migrated.
var ErrNewerSchema = errors.New("the database belongs to a newer Berth")

// Migrate brings a plane's tables up to date. files holds migrations named
// migrations/0001_what.sql, migrations/0002_….sql, written in portable SQL, statements
// ended by a semicolon at a line's end.
//
// Each migration is one transaction that also writes the row recording it, so a
// kill at any statement leaves it done or not begun. Nodes that start together
// meet at that row's key: one migrates, the others wait and find it done. A
// schema newer than files is ErrNewerSchema.
func (db *DB) Migrate(ctx context.Context, plane string, files fs.FS) error {
	list, err := migrations(files)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", plane, err)
	}
	have, err := db.schemaVersion(ctx, plane)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", plane, err)
	}
	if have > len(list) {
		return fmt.Errorf("%w: %s is at schema %d, this binary knows %d; start the newer binary or restore a backup",
			ErrNewerSchema, plane, have, len(list))
	}
	for v := have + 1; v <= len(list); v++ {
		if err := db.migrateOne(ctx, plane, v, list[v-1]); err != nil {
			return fmt.Errorf("migrate %s to %d: %w", plane, v, err)
		}
	}
	return nil
}

// schemaVersion returns the last migration of a plane, 0 before the first, and
// makes the table that records them.
func (db *DB) schemaVersion(ctx context.Context, plane string) (int, error) {
	const read = "select coalesce(max(version), 0) from berth_schema where plane = $1"
	var v int
	err := db.write1(ctx, func(tx *Tx) error { return tx.QueryRow([]any{&v}, read, plane) })
	if err == nil {
		return v, nil
	}
	for try := 0; ; try++ {
		// Two nodes that make the table at the same moment collide in
		// PostgreSQL's catalog, "if not exists" or not.
		err = db.write1(ctx, func(tx *Tx) error {
			if _, err := tx.Exec(`create table if not exists berth_schema (plane {text} not null, version bigint not null,
				applied_at bigint not null, primary key (plane, version)){norowid}`); err != nil {
				return err
			}
			return tx.QueryRow([]any{&v}, read, plane)
		})
		if err == nil || try == maxRetries {
			return v, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (db *DB) migrateOne(ctx context.Context, plane string, version int, statements []string) error {
	err := db.write1(ctx, func(tx *Tx) error {
		if _, err := tx.Exec("insert into berth_schema (plane, version, applied_at) values ($1, $2, $3)",
			plane, version, time.Now().UnixMicro()); err != nil {
			return errAlready{err}
		}
		for _, s := range statements {
			if _, err := tx.Exec(s); err != nil {
				return fmt.Errorf("%w in: %s", err, s)
			}
		}
		return nil
	})
	var a errAlready
	if errors.As(err, &a) && errors.Is(err, ErrUnique) {
		return nil // another node was faster
	}
	return err
}

// errAlready marks an error of the recording row itself.
type errAlready struct{ error }

func (e errAlready) Unwrap() error { return e.error }

// write1 is WriteRelaxed without hooks of the context, for the schema's own changes:
// whatever relies on them is flushed with them, and a crash before is a new start.
func (db *DB) write1(ctx context.Context, fn func(*Tx) error) error {
	return db.transact(context.WithValue(ctx, hookKey{}, nil), fn, true)
}

// migrations reads the files in order and checks that none is missing.
func migrations(files fs.FS) ([][]string, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted by name
	if err != nil {
		return nil, err
	}
	var out [][]string
	for i, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s: want number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		out = append(out, statements(string(text)))
	}
	return out, nil
}

// statements splits a file at semicolons that end a line and drops comments that
// stand alone on a line.
func statements(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			lines = append(lines, strings.TrimRight(line, " \t\r\n"))
		}
	}
	var out []string
	for s := range strings.SplitSeq(strings.Join(lines, "\n")+"\n", ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// IsNoRows reports a read that found nothing.
func IsNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
