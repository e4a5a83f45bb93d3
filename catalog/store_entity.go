package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// reader reads, in a transaction or outside any.
type reader func(q string, args ...any) (*sqldb.Rows, error)

func (c *Catalog) reader(ctx context.Context) reader {
	return func(q string, args ...any) (*sqldb.Rows, error) { return c.db.Query(ctx, q, args...) }
}

// row is an entity as it rests.
type row struct {
	blueprint, k, id, title, icon string
	team                          []string
	properties                    map[string]any
	source, owner                 int64
	shared                        bool
	createdAt, updatedAt          time.Time
	createdBy, updatedBy          string
}

const entityColumns = "e.blueprint, e.k, e.id, e.title, e.icon, e.team, e.properties, e.source, e.owner, e.shared, e.created_at, e.created_by, e.updated_at, e.updated_by"

// alive leaves out entities that are gone with their owner.
const alive = " and (e.owner = 0 or not exists (select 1 from catalog_gone g where g.account = e.account and g.owner = e.owner))"

func scanEntity(scan func(...any) error) (*row, error) {
	var e row
	var team, properties string
	var created, updated, shared int64
	if err := scan(&e.blueprint, &e.k, &e.id, &e.title, &e.icon, &team, &properties, &e.source, &e.owner, &shared, &created, &e.createdBy, &updated, &e.updatedBy); err != nil {
		return nil, err
	}
	e.createdAt, e.updatedAt, e.shared = sqldb.Time(created), sqldb.Time(updated), shared != 0
	if team != "[]" {
		if err := json.Unmarshal([]byte(team), &e.team); err != nil {
			return nil, err
		}
	}
	return &e, json.Unmarshal([]byte(properties), &e.properties)
}

// inList makes "($first, $first+1, …)", padded to a power of two so that few texts are
// prepared, and appends the values to args.
func inList(args []any, values []string) (string, []any) {
	width := 1
	for width < len(values) {
		width *= 2
	}
	var b strings.Builder
	b.WriteByte('(')
	for i := range width {
		if i > 0 {
			b.WriteString(", ")
		}
		args = append(args, values[min(i, len(values)-1)])
		fmt.Fprintf(&b, "$%d", len(args))
	}
	b.WriteByte(')')
	return b.String(), args
}

// chunk bounds how many values a statement takes.
const chunk = 256

// readEntities reads those of a blueprint that are there, in no order.
func readEntities(read reader, a arn.Account, blueprint string, keys []string, lock string) ([]*row, error) {
	var out []*row
	for len(keys) > 0 {
		n := min(len(keys), chunk)
		in, args := inList([]any{a, blueprint}, keys[:n])
		keys = keys[n:]
		rows, err := read("select "+entityColumns+" from catalog_entities e where e.account = $1 and e.blueprint = $2 and e.k in "+in+alive+lock, args...)
		list, err := sqldb.Collect(rows, err, scanEntity)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// txAnyEntity reads one whether it is gone or not, and locks it.
func txAnyEntity(tx *sqldb.Tx, a arn.Account, blueprint, k string) (e *row, gone bool, err error) {
	rows, err := tx.Query("select "+entityColumns+" from catalog_entities e where e.account = $1 and e.blueprint = $2 and e.k = $3{forupdate}", a, blueprint, k)
	list, err := sqldb.Collect(rows, err, scanEntity)
	if err != nil || len(list) == 0 {
		return nil, false, err
	}
	if e = list[0]; e.owner == 0 {
		return e, false, nil
	}
	var one int64
	err = tx.QueryRow([]any{&one}, "select 1 from catalog_gone where account = $1 and owner = $2", a, e.owner)
	if sqldb.IsNoRows(err) {
		return e, false, nil
	}
	return e, err == nil, err
}

// insertEntity reports 0 when the entity is there and that is no error.
func insertEntity(tx *sqldb.Tx, a arn.Account, e *row, maybe bool) (int64, error) {
	instead := ""
	if maybe {
		instead = " on conflict do nothing"
	}
	return tx.Exec(`insert into catalog_entities (account, blueprint, k, id, title, icon, team, properties, source, owner, shared, created_at, created_by, updated_at, updated_by)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $12, $13, $14)`+instead,
		a, e.blueprint, e.k, e.id, e.title, e.icon, sqldb.JSON(e.team), sqldb.JSON(e.properties), e.source, e.owner, sqldb.Micros(e.createdAt), e.createdBy,
		sqldb.Micros(e.updatedAt), e.updatedBy)
}

// updateEntity stores an entity whose identifier may have changed.
func updateEntity(tx *sqldb.Tx, a arn.Account, k string, e *row) error {
	_, err := tx.Exec(`update catalog_entities set k = $1, id = $2, title = $3, icon = $4, team = $5, properties = $6, source = $7, owner = $8, updated_at = $9, updated_by = $10
		where account = $11 and blueprint = $12 and k = $13`,
		e.k, e.id, e.title, e.icon, sqldb.JSON(e.team), sqldb.JSON(e.properties), e.source, e.owner, sqldb.Micros(e.updatedAt), e.updatedBy, a, e.blueprint, k)
	return err
}

func deleteEntity(tx *sqldb.Tx, a arn.Account, blueprint, k string) error {
	for _, table := range []string{"catalog_entities", "catalog_relations"} {
		if err := tx.Run("delete from "+table+" where account = $1 and blueprint = $2 and k = $3", a, blueprint, k); err != nil {
			return err
		}
	}
	return nil
}

// insertValues adds rows to the index.
func insertValues(tx *sqldb.Tx, a arn.Account, blueprint, k string, rows []valueRow) error {
	for len(rows) > 0 {
		n := min(len(rows), 32)
		width := 1
		for width < n {
			width *= 2
		}
		var b strings.Builder
		b.WriteString("insert into catalog_values (account, blueprint, property, value, k) values ")
		args := []any{a, blueprint, k}
		for i := range width { // padded with the last row, so that few texts are prepared
			if i > 0 {
				b.WriteString(", ")
			}
			r := rows[min(i, n-1)]
			args = append(args, r.property, r.value)
			fmt.Fprintf(&b, "($1, $2, $%d, $%d, $3)", len(args)-1, len(args))
		}
		b.WriteString(" on conflict do nothing")
		if err := tx.Run(b.String(), args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func deleteValues(tx *sqldb.Tx, a arn.Account, blueprint, k string, rows []valueRow) error {
	for _, r := range rows {
		if err := tx.Run("delete from catalog_values where account = $1 and blueprint = $2 and property = $3 and value = $4 and k = $5", a, blueprint, r.property, r.value,
			k); err != nil {
			return err
		}
	}
	return nil
}

// linkRow is a row of catalog_relations, with whether what it names is there.
type linkRow struct {
	k, relation     string
	ord, rank       int64
	targetBlueprint string
	target          string // key
	kept            bool
	id, title       sql.NullString // of the target, if it is there
}

// readLinks reads what entities of a blueprint name, in order.
func readLinks(read reader, a arn.Account, blueprint string, keys []string) ([]linkRow, error) {
	var out []linkRow
	for len(keys) > 0 {
		n := min(len(keys), chunk)
		in, args := inList([]any{a, blueprint}, keys[:n])
		keys = keys[n:]
		rows, err := read(`select r.k, r.relation, r.ord, r.rank, r.target_blueprint, r.target, r.kept, e.id, e.title from catalog_relations r
			left join catalog_entities e on e.account = r.account and e.blueprint = r.target_blueprint and e.k = r.target`+alive+`
			where r.account = $1 and r.blueprint = $2 and r.k in `+in+" order by r.k, r.relation, r.ord, r.rank", args...)
		list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (linkRow, error) {
			var l linkRow
			var kept int64
			err := scan(&l.k, &l.relation, &l.ord, &l.rank, &l.targetBlueprint, &l.target, &kept, &l.id, &l.title)
			l.kept = kept != 0
			return l, err
		})
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

func insertLink(tx *sqldb.Tx, a arn.Account, blueprint string, l linkRow) error {
	return tx.Run(`insert into catalog_relations (account, blueprint, k, relation, ord, rank, target_blueprint, target, kept) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		a, blueprint, l.k, l.relation, l.ord, l.rank, l.targetBlueprint, l.target, sqldb.Flag(l.kept))
}

func deleteLinks(tx *sqldb.Tx, a arn.Account, blueprint, k, relation string) error {
	return tx.Run("delete from catalog_relations where account = $1 and blueprint = $2 and k = $3 and relation = $4", a, blueprint, k, relation)
}

// dependentsText selects the relations to entities: by their first spelling, or by the
// second while there is no entity of the first.
func dependentsText(a arn.Account, blueprint string, keys []string) (string, []any) {
	in, args := inList([]any{a, blueprint}, keys)
	return `select r.blueprint, r.k, r.relation, r.target from catalog_relations r
		join catalog_entities e on e.account = r.account and e.blueprint = r.blueprint and e.k = r.k` + alive + `
		where r.account = $1 and r.target_blueprint = $2 and r.target in ` + in + ` and (r.rank = 0 or not exists (
			select 1 from catalog_relations f join catalog_entities t on t.account = f.account and t.blueprint = f.target_blueprint and t.k = f.target
			where f.account = r.account and f.blueprint = r.blueprint and f.k = r.k and f.relation = r.relation and f.ord = r.ord and f.rank = 0))`, args
}

// unlink removes what was named of an entity by hand; what is kept stays.
func unlink(tx *sqldb.Tx, a arn.Account, blueprint, k string) error {
	return tx.Run("delete from catalog_relations where account = $1 and target_blueprint = $2 and target = $3 and kept = 0", a, blueprint, k)
}

// renameEntity makes everything that names an entity name it by its new key, but for the
// index, which is written anew.
func renameEntity(tx *sqldb.Tx, a arn.Account, blueprint, from, to string) error {
	for _, q := range []string{"update catalog_relations set k = $1 where account = $2 and blueprint = $3 and k = $4",
		"update catalog_relations set target = $1 where account = $2 and target_blueprint = $3 and target = $4",
		"update catalog_origins set k = $1 where account = $2 and blueprint = $3 and k = $4"} {
		if _, err := tx.Exec(q, to, a, blueprint, from); err != nil {
			return err
		}
	}
	return nil
}

func countEntities(read reader, a arn.Account, blueprint string) (n int64, err error) {
	// The index counts quickly; whose owner is gone is asked only while there are some.
	rows, err := read(`select (select count(*) from catalog_entities where account = $1 and blueprint = $2) -
		case when exists (select 1 from catalog_gone where account = $1) then (select count(*) from catalog_entities where account = $1 and blueprint = $2
			and owner in (select owner from catalog_gone where account = $1)) else 0 end`, a, blueprint)
	list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (int64, error) { return n, scan(&n) })
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return n, nil
}

// readSources returns the names of sources by number: of those that are given, or of all.
func readSources(read reader, a arn.Account, ids ...int64) (map[int64]string, error) {
	text, args := "select id, name from catalog_sources where account = $1", []any{a}
	for i, id := range ids {
		text += map[bool]string{true: " and id in (", false: ", "}[i == 0] + "$" + strconv.Itoa(i+2)
		args = append(args, id)
	}
	if len(ids) > 0 {
		text += ")"
	}
	rows, err := read(text, args...)
	out := map[int64]string{}
	_, err = sqldb.Collect(rows, err, func(scan func(...any) error) (struct{}, error) {
		var id int64
		var name string
		err := scan(&id, &name)
		out[id] = name
		return struct{}{}, err
	})
	return out, err
}

func insertSource(tx *sqldb.Tx, a arn.Account, name string) error {
	_, err := tx.Exec("insert into catalog_sources (account, id, name) values ($1, $2, $3) on conflict do nothing", a, sourceID(name), name)
	return err
}
