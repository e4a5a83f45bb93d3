package catalog

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func (c *Catalog) readModelVersion(ctx context.Context, a arn.Account) (v int64, err error) {
	err = c.db.QueryRow(ctx, []any{&v}, "select version from catalog_models where account = $1", a)
	if sqldb.IsNoRows(err) {
		err = nil
	}
	return v, err
}

func txModelVersion(tx *sqldb.Tx, a arn.Account) (v int64, err error) {
	err = tx.QueryRow([]any{&v}, "select version from catalog_models where account = $1", a)
	if sqldb.IsNoRows(err) {
		err = nil
	}
	return v, err
}

// insertModel reports whether this transaction is the one that makes it.
func insertModel(tx *sqldb.Tx, a arn.Account, version int64) (bool, error) {
	n, err := tx.Exec("insert into catalog_models (account, version) values ($1, $2) on conflict do nothing", a, version)
	return n > 0, err
}

func bumpModel(tx *sqldb.Tx, a arn.Account, from int64) (int64, error) {
	return tx.Exec("update catalog_models set version = version + 1 where account = $1 and version = $2", a, from)
}

const blueprintColumns = "doc, shipped, created_at, created_by, updated_at, updated_by"

func scanBlueprint(scan func(...any) error) (*Blueprint, error) {
	var doc, createdBy, updatedBy string
	var own, created, updated int64
	if err := scan(&doc, &own, &created, &createdBy, &updated, &updatedBy); err != nil {
		return nil, err
	}
	m, err := parseDoc(doc)
	if err != nil {
		return nil, err
	}
	b, err := readBlueprint(m)
	if err != nil {
		return nil, err
	}
	b.Shipped, b.CreatedAt, b.CreatedBy, b.UpdatedAt, b.UpdatedBy = own != 0, sqldb.Time(created), createdBy, sqldb.Time(updated), updatedBy
	return b, nil
}

// readModel reads the version after the blueprints, so that a model is never taken for a
// newer one than it is.
func (c *Catalog) readModel(ctx context.Context, a arn.Account) (*Model, error) {
	version, err := c.readModelVersion(ctx, a)
	if err != nil {
		return nil, err
	}
	for {
		m, err := modelOf(c.reader(ctx), a, version)
		if err != nil {
			return nil, err
		}
		again, err := c.readModelVersion(ctx, a)
		if err != nil || again == version {
			return m, err
		}
		version = again
	}
}

func txReadModel(tx *sqldb.Tx, a arn.Account, version int64) (*Model, error) {
	return modelOf(tx.Query, a, version)
}

func modelOf(read reader, a arn.Account, version int64) (*Model, error) {
	m := &Model{version: version, blueprints: map[string]*Blueprint{}, scorecards: map[string][]*Scorecard{}}
	rows, err := read("select "+blueprintColumns+" from catalog_blueprints where account = $1", a)
	list, err := sqldb.Collect(rows, err, scanBlueprint)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		m.blueprints[b.Identifier] = b
	}
	rows, err = read("select blueprint, doc, created_at, created_by, updated_at, updated_by from catalog_scorecards where account = $1 order by blueprint, id", a)
	cards, err := sqldb.Collect(rows, err, scanScorecard)
	for _, s := range cards {
		m.scorecards[s.Blueprint] = append(m.scorecards[s.Blueprint], s)
	}
	if err != nil {
		return nil, err
	}
	own, err := readIntegrations(read, a, BuiltIn)
	if err != nil {
		return nil, err
	}
	if len(own) > 0 && own[0].Config != nil {
		m.Mapping, m.mappedAt = own[0].Config, own[0].UpdatedAt
		return m, nil
	}
	m.Mapping, err = DefaultMapping()
	return m, err
}

func scanScorecard(scan func(...any) error) (*Scorecard, error) {
	var blueprint, doc, createdBy, updatedBy string
	var created, updated int64
	if err := scan(&blueprint, &doc, &created, &createdBy, &updated, &updatedBy); err != nil {
		return nil, err
	}
	m, err := parseDoc(doc)
	if err != nil {
		return nil, err
	}
	s, err := readScorecard(m)
	if err != nil {
		return nil, err
	}
	s.Blueprint, s.CreatedAt, s.CreatedBy, s.UpdatedAt, s.UpdatedBy = blueprint, sqldb.Time(created), createdBy, sqldb.Time(updated), updatedBy
	return s, nil
}

func upsertBlueprint(tx *sqldb.Tx, a arn.Account, b *Blueprint) error {
	doc, err := json.Marshal(b.doc)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`insert into catalog_blueprints (account, id, `+blueprintColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (account, id) do update set doc = excluded.doc, shipped = excluded.shipped, created_at = excluded.created_at, created_by = excluded.created_by,
		updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
		a, b.Identifier, string(doc), sqldb.Flag(b.Shipped), sqldb.Micros(b.CreatedAt), b.CreatedBy, sqldb.Micros(b.UpdatedAt), b.UpdatedBy)
	return err
}

func deleteBlueprint(tx *sqldb.Tx, a arn.Account, id string) error {
	if _, err := tx.Exec("delete from catalog_scorecards where account = $1 and blueprint = $2", a, id); err != nil {
		return err
	}
	_, err := tx.Exec("delete from catalog_blueprints where account = $1 and id = $2", a, id)
	return err
}

// holdBlueprint keeps a blueprint from being deleted until the transaction ends. Where
// there is one writer nothing can happen in between.
func holdBlueprint(tx *sqldb.Tx, a arn.Account, id string) error {
	if tx.Engine() == sqldb.SQLite {
		return nil
	}
	var one int64
	err := tx.QueryRow([]any{&one}, "select 1 from catalog_blueprints where account = $1 and id = $2{forshare}", a, id)
	if sqldb.IsNoRows(err) {
		return errNoBlueprint(id)
	}
	return err
}

// renameBlueprint moves everything of a blueprint to another name.
func renameBlueprint(tx *sqldb.Tx, a arn.Account, from, to string) error {
	for _, q := range []string{
		"update catalog_blueprints set id = $1 where account = $2 and id = $3", "update catalog_entities set blueprint = $1 where account = $2 and blueprint = $3",
		"update catalog_relations set blueprint = $1 where account = $2 and blueprint = $3",
		"update catalog_relations set target_blueprint = $1 where account = $2 and target_blueprint = $3",
		"update catalog_values set blueprint = $1 where account = $2 and blueprint = $3", "update catalog_origins set blueprint = $1 where account = $2 and blueprint = $3",
		"update catalog_scorecards set blueprint = $1 where account = $2 and blueprint = $3", "update catalog_audit set blueprint = $1 where account = $2 and blueprint = $3",
		"update catalog_notices set wait_blueprint = $1 where account = $2 and wait_blueprint = $3"} {
		if _, err := tx.Exec(q, to, a, from); err != nil {
			return err
		}
	}
	return nil
}

func hasEntities(tx *sqldb.Tx, a arn.Account, blueprint string) (bool, error) {
	return found(tx.Query("select 1 from catalog_entities e where e.account = $1 and e.blueprint = $2"+alive+" limit 1", a, blueprint))
}

// propertyUsed reports whether an entity has a value of a property. It reads every entity
// of the blueprint, and is asked when a property's type changes.
func propertyUsed(tx *sqldb.Tx, a arn.Account, blueprint, property string) (bool, error) {
	used := false
	err := eachEntity(tx, a, blueprint, func(e *row) error {
		used = used || e.properties[property] != nil
		return nil
	})
	return used, err
}

// eachEntity visits the entities of a blueprint, which the function may change.
func eachEntity(tx *sqldb.Tx, a arn.Account, blueprint string, fn func(*row) error) error {
	after := ""
	for {
		rows, err := tx.Query("select "+entityColumns+" from catalog_entities e where e.account = $1 and e.blueprint = $2 and e.k > $3"+alive+" order by e.k limit 500",
			a, blueprint, after)
		list, err := sqldb.Collect(rows, err, scanEntity)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			if err := fn(e); err != nil {
				return err
			}
		}
		after = list[len(list)-1].k
	}
}

func found(rows *sqldb.Rows, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

func dropRelation(tx *sqldb.Tx, a arn.Account, blueprint, relation string) error {
	_, err := tx.Exec("delete from catalog_relations where account = $1 and blueprint = $2 and relation = $3", a, blueprint, relation)
	return err
}

// shortenRelation leaves each entity the first of what a relation names.
func shortenRelation(tx *sqldb.Tx, a arn.Account, blueprint, relation string) error {
	_, err := tx.Exec("delete from catalog_relations where account = $1 and blueprint = $2 and relation = $3 and ord > 0", a, blueprint, relation)
	return err
}

func dropValues(tx *sqldb.Tx, a arn.Account, blueprint, property string) error {
	_, err := tx.Exec("delete from catalog_values where account = $1 and blueprint = $2 and property = $3", a, blueprint, property)
	return err
}

func upsertScorecard(tx *sqldb.Tx, a arn.Account, s *Scorecard) error {
	_, err := tx.Exec(`insert into catalog_scorecards (account, blueprint, id, doc, created_at, created_by, updated_at, updated_by) values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (account, blueprint, id) do update set doc = excluded.doc, updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
		a, s.Blueprint, s.Identifier, sqldb.JSON(s.doc), sqldb.Micros(s.CreatedAt), s.CreatedBy, sqldb.Micros(s.UpdatedAt), s.UpdatedBy)
	return err
}

func deleteScorecard(tx *sqldb.Tx, a arn.Account, blueprint, id string) error {
	_, err := tx.Exec("delete from catalog_scorecards where account = $1 and blueprint = $2 and id = $3", a, blueprint, id)
	return err
}

// reindex brings the index and the values of a blueprint's entities in line with
// properties that changed or went.
func (c *Catalog) reindex(tx *sqldb.Tx, a arn.Account, b *Blueprint, properties []string) error {
	for _, p := range properties {
		if err := dropValues(tx, a, b.Identifier, p); err != nil {
			return err
		}
	}
	return eachEntity(tx, a, b.Identifier, func(e *row) error {
		changed := false
		for _, p := range properties {
			if _, has := e.properties[p]; has && b.Properties[p] == nil {
				delete(e.properties, p)
				changed = true
			}
		}
		if changed {
			if err := updateEntity(tx, a, e.k, e); err != nil {
				return err
			}
		}
		var rows []valueRow
		for _, r := range indexRows(b, e) {
			if slices.Contains(properties, r.property) {
				rows = append(rows, r)
			}
		}
		return insertValues(tx, a, b.Identifier, e.k, rows)
	})
}

func renameRelation(tx *sqldb.Tx, a arn.Account, blueprint, from, to string) error {
	_, err := tx.Exec("update catalog_relations set relation = $1 where account = $2 and blueprint = $3 and relation = $4", to, a, blueprint, from)
	return err
}
