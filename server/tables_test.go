package server

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestTables: a new database, whose tables are made as they are now, has the same columns and
// indexes as one that has gone through every version.
func TestTables(t *testing.T) {
	columns := map[sqldb.Engine]string{
		sqldb.SQLite: `select m.name || '.' || c.name || ' ' || c.type || ' ' || c."notnull" || ' ' || coalesce(c.dflt_value, '-') || ' ' || c.pk
			from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table'
			union all select sql from sqlite_master where type = 'index' and sql is not null`,
		sqldb.Postgres: `select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '-') || ' ' || coalesce(collation_name, '-')
			from information_schema.columns where table_schema = current_schema()
			union all select replace(indexdef, schemaname || '.', '') from pg_indexes where schemaname = current_schema()`,
	}
	for engine, open := range map[string]func(testing.TB) *sqldb.DB{"sqlite": sqldbtest.SQLite, "postgres": sqldbtest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			read := func(db *sqldb.DB) []string {
				rows, err := db.Query(t.Context(), columns[db.Engine()])
				list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (s string, err error) { return s, scan(&s) })
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(list)
				return list
			}
			fresh, grown := open(t), open(t)
			if err := fresh.MigrateAll(t.Context(), planes()); err != nil {
				t.Fatal(err)
			}
			for version := 1; version < 10; version++ {
				some := map[string]fs.FS{}
				for plane, files := range planes() {
					some[plane] = upTo(t, files, version)
				}
				if err := grown.MigrateAll(t.Context(), some); err != nil {
					t.Fatal(err)
				}
			}
			a, b := read(fresh), read(grown)
			if len(a) < 200 || !slices.Equal(a, b) {
				only := func(a, b []string) string {
					return strings.Join(slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) }), "\n  ")
				}
				t.Errorf("of %d and %d only the new one has\n  %s\nand only the old one\n  %s", len(a), len(b), only(a, b), only(b, a))
			}
		})
	}
}

// upTo is a plane's schema as it once was.
func upTo(t *testing.T, files fs.FS, version int) fs.FS {
	t.Helper()
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{}
	for _, name := range names {
		if name[:len("migrations/0000")] <= fmt.Sprintf("migrations/%04d", version) {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = &fstest.MapFile{Data: text}
		}
	}
	return out
}
