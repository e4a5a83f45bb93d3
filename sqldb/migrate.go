package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNewerSchema is a database that a newer Berth has migrated.
var ErrNewerSchema = errors.New("the database belongs to a newer Berth")

// Migrate is MigrateAll for one plane.
func (db *DB) Migrate(ctx context.Context, plane string, files fs.FS) error {
	return db.MigrateAll(ctx, map[string]fs.FS{plane: files})
}

// MigrateAll brings the tables of planes up to date. Each plane's files are migrations
// named migrations/0001_what.sql, migrations/0002_….sql, written in portable SQL,
// statements ended by a semicolon at a line's end.
//
// Each migration is one transaction that also writes the row recording it, and a new
// database is made in one, so a kill at any statement leaves it done or not begun. Nodes
// that start together meet at those rows' keys: one migrates, the others wait and find it
// done. A schema newer than files is ErrNewerSchema.
func (db *DB) MigrateAll(ctx context.Context, planes map[string]fs.FS) error {
	var steps []step
	names := slices.Sorted(maps.Keys(planes))
	newest := map[string]int{}
	for _, plane := range names {
		list, err := migrations(planes[plane])
		if err != nil {
			return fmt.Errorf("migrate %s: %w", plane, err)
		}
		for i, statements := range list {
			steps = append(steps, step{plane, i + 1, statements})
		}
		newest[plane] = len(list)
	}
	have, err := db.schemaVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's versions: %w", err)
	}
	if len(have) == 0 {
		made, err := db.migrate(ctx, folded(steps))
		if err != nil {
			return fmt.Errorf("make the tables: %w", err)
		}
		if made {
			return nil
		}
		if have, err = db.schemaVersions(ctx); err != nil { // another node, perhaps an older one, made them
			return fmt.Errorf("read the schema's versions: %w", err)
		}
	}
	for _, plane := range names {
		if have[plane] > newest[plane] {
			return fmt.Errorf("migrate %s: %w: it is at schema %d, this binary knows %d; start the newer binary or restore a backup",
				plane, ErrNewerSchema, have[plane], newest[plane])
		}
	}
	for _, s := range steps {
		if s.version <= have[s.plane] {
			continue
		}
		if _, err := db.migrate(ctx, []step{s}); err != nil {
			return fmt.Errorf("migrate %s to %d: %w", s.plane, s.version, err)
		}
	}
	return nil
}

// step is one migration of a plane.
type step struct {
	plane      string
	version    int
	statements []string
}

// schemaVersions returns the last migration of each plane that has one, and makes the table
// that records them.
func (db *DB) schemaVersions(ctx context.Context) (map[string]int, error) {
	var have map[string]int
	read := func(tx *Tx) error {
		rows, err := tx.Query("select plane, max(version) from berth_schema group by plane")
		list, err := Collect(rows, err, func(scan func(...any) error) (s step, err error) { return s, scan(&s.plane, &s.version) })
		have = map[string]int{}
		for _, s := range list {
			have[s.plane] = s.version
		}
		return err
	}
	if err := db.write1(ctx, read); err == nil {
		return have, nil
	}
	for try := 0; ; try++ {
		// Two nodes that make the table at the same moment collide in
		// PostgreSQL's catalog, "if not exists" or not.
		err := db.write1(ctx, func(tx *Tx) error {
			if _, err := tx.Exec(`create table if not exists berth_schema (plane {text} not null, version bigint not null,
				applied_at bigint not null, primary key (plane, version)){norowid}`); err != nil {
				return err
			}
			return read(tx)
		})
		if err == nil || try == maxRetries {
			return have, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// migrate takes steps in one transaction; done is false, and nothing was changed, if another
// node has taken one of them.
func (db *DB) migrate(ctx context.Context, steps []step) (done bool, err error) {
	err = db.write1(ctx, func(tx *Tx) error {
		now := time.Now().UnixMicro()
		for _, s := range steps {
			if _, err := tx.Exec("insert into berth_schema (plane, version, applied_at) values ($1, $2, $3)", s.plane, s.version, now); err != nil {
				return errAlready{err}
			}
		}
		for _, s := range steps {
			for _, text := range s.statements {
				if _, err := tx.Exec(text); err != nil {
					return fmt.Errorf("%w in: %s", err, text)
				}
			}
		}
		return nil
	})
	var a errAlready
	if errors.As(err, &a) && errors.Is(err, ErrUnique) {
		return false, nil // another node was faster
	}
	return err == nil, err
}

var (
	addColumn  = regexp.MustCompile(`(?is)^alter table (\w+) add column (.+)$`)
	constraint = regexp.MustCompile(`(?i)[,\n]\s*(primary key|unique|check|foreign key|constraint)\b`)
)

// folded puts columns that a later migration adds into the statement that makes their table:
// of a new database SQLite would read the whole schema anew for each of them.
func folded(steps []step) []step {
	var out []step
	for _, s := range steps {
		var rest []string
		for _, text := range s.statements {
			m := addColumn.FindStringSubmatch(text)
			if m == nil || !addTo(out, s.plane, m[1], m[2]) {
				rest = append(rest, text)
			}
		}
		out = append(out, step{s.plane, s.version, rest})
	}
	return out
}

// addTo adds a column to the statement among a plane's steps that makes a table, if there is
// one.
func addTo(steps []step, plane, table, column string) bool {
	for _, s := range steps {
		for i, text := range s.statements {
			if s.plane != plane || !strings.HasPrefix(strings.ToLower(text), "create table "+strings.ToLower(table)+" (") {
				continue
			}
			if at := constraint.FindStringSubmatchIndex(text); at != nil {
				s.statements[i] = text[:at[2]] + column + ", " + text[at[2]:]
			} else {
				end := strings.LastIndex(text, ")")
				s.statements[i] = text[:end] + "\n, " + column + text[end:] // the line before may end in a comment
			}
			return true
		}
	}
	return false
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
