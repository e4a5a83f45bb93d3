package identity

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

const entityColumns = `account, kind, name, path, id, created_at, description, trust, max_session, boundary, tags, password, password_at,
	password_reset, used_at, used_region`

// entityRow receives the columns; entity makes sense of them.
type entityRow struct {
	Entity
	createdAt, maxSession, passwordAt, reset, usedAt int64
	tags                                             string
}

func (w *entityRow) dest() []any {
	return []any{&w.Account, &w.Kind, &w.Name, &w.Path, &w.ID, &w.createdAt, &w.Description, &w.Trust, &w.maxSession, &w.Boundary, &w.tags,
		&w.password, &w.passwordAt, &w.reset, &w.usedAt, &w.UsedRegion}
}

func (w *entityRow) entity() (*Entity, error) {
	w.CreatedAt, w.PasswordAt, w.UsedAt = sqldb.Time(w.createdAt), sqldb.Time(w.passwordAt), sqldb.Time(w.usedAt)
	w.MaxSession, w.PasswordReset = time.Duration(w.maxSession)*time.Second, w.reset != 0
	w.Tags = map[string]string{}
	if err := json.Unmarshal([]byte(w.tags), &w.Tags); err != nil {
		return nil, err
	}
	return &w.Entity, nil
}

func insertEntity(tx *sqldb.Tx, e *Entity) error {
	_, err := tx.Exec(`insert into entities (account, kind, name_key, name, path, id, created_at, description, trust, max_session, boundary, tags,
		password, password_at, password_reset, used_at, used_region) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', 0, 0, 0, '')`,
		e.Account, e.Kind, strings.ToLower(e.Name), e.Name, e.Path, e.ID, sqldb.Micros(e.CreatedAt), e.Description, e.Trust, int64(e.MaxSession/time.Second),
		e.Boundary, sqldb.JSON(e.Tags))
	return err
}

const selectEntity = "select " + entityColumns + " from entities where account = $1 and kind = $2 and name_key = $3"

func (id *Identity) readEntity(ctx context.Context, a arn.Account, k EntityKind, name string) (*Entity, error) {
	var w entityRow
	if err := id.db.QueryRow(ctx, w.dest(), selectEntity, a, k, strings.ToLower(name)); err != nil {
		return nil, err
	}
	return w.entity()
}

func (id *Identity) readEntityByID(ctx context.Context, a arn.Account, entityID string) (*Entity, error) {
	var w entityRow
	if err := id.db.QueryRow(ctx, w.dest(), "select "+entityColumns+" from entities where account = $1 and id = $2", a, entityID); err != nil {
		return nil, err
	}
	return w.entity()
}

func txEntity(tx *sqldb.Tx, a arn.Account, k EntityKind, name, lock string) (*Entity, error) {
	var w entityRow
	err := tx.QueryRow(w.dest(), selectEntity+lock, a, k, strings.ToLower(name))
	if sqldb.IsNoRows(err) {
		return nil, noEntity(k, name)
	}
	if err != nil {
		return nil, err
	}
	return w.entity()
}

// lockEntity reads an entity for change, holdEntity so that it is not deleted
// until the transaction ends: NoSuchEntity.
func lockEntity(tx *sqldb.Tx, a arn.Account, k EntityKind, name string) (*Entity, error) {
	return txEntity(tx, a, k, name, "{forupdate}")
}

func holdEntity(tx *sqldb.Tx, a arn.Account, k EntityKind, name string) (*Entity, error) {
	return txEntity(tx, a, k, name, "{forshare}")
}

func entitiesOf(rows *sqldb.Rows, err error) ([]*Entity, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Entity
	for rows.Next() {
		var w entityRow
		if err := rows.Scan(w.dest()...); err != nil {
			return nil, err
		}
		e, err := w.entity()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func (id *Identity) listEntities(ctx context.Context, a arn.Account, k EntityKind, prefix, after string, limit int) ([]*Entity, error) {
	return entitiesOf(id.db.Query(ctx, "select "+entityColumns+` from entities where account = $1 and kind = $2 and name_key > $3
		and substr(path, 1, length($4)) = $4 order by name_key limit $5`, a, k, strings.ToLower(after), prefix, limit))
}

func updateEntity(tx *sqldb.Tx, e *Entity) error {
	_, err := tx.Exec(`update entities set description = $1, trust = $2, max_session = $3, boundary = $4, tags = $5, password = $6, password_at = $7,
		password_reset = $8 where account = $9 and kind = $10 and name_key = $11`, e.Description, e.Trust, int64(e.MaxSession/time.Second), e.Boundary,
		sqldb.JSON(e.Tags), e.password, sqldb.Micros(e.PasswordAt), sqldb.Flag(e.PasswordReset), e.Account, e.Kind, strings.ToLower(e.Name))
	return err
}

// renameEntity stores name and path; a user's access keys know its ARN.
func renameEntity(tx *sqldb.Tx, e *Entity, was string) error {
	if _, err := tx.Exec("update entities set name_key = $1, name = $2, path = $3 where account = $4 and kind = $5 and name_key = $6",
		strings.ToLower(e.Name), e.Name, e.Path, e.Account, e.Kind, strings.ToLower(was)); err != nil {
		return err
	}
	_, err := tx.Exec("update access_keys set principal_arn = $1 where account = $2 and principal_id = $3", e.ARN(), e.Account, e.ID)
	return err
}

// dependents says what must be done before an entity can go, "" for nothing.
func dependents(tx *sqldb.Tx, e *Entity) (string, error) {
	for _, c := range []struct{ what, query string }{
		{"detach all policies", "select 1 from attachments where account = $1 and entity_id = $2 limit 1"},
		{"delete policies", "select 1 from inline_policies where account = $1 and entity_id = $2 limit 1"},
		{"delete access keys", "select 1 from access_keys where account = $1 and principal_id = $2 limit 1"},
		{"remove users from group", "select 1 from memberships where account = $1 and user_id = $2 limit 1"},
		{"remove users from group", "select 1 from memberships where account = $1 and group_id = $2 limit 1"},
	} {
		var one int
		err := tx.QueryRow([]any{&one}, c.query, e.Account, e.ID)
		if err == nil {
			return c.what, nil
		}
		if !sqldb.IsNoRows(err) {
			return "", err
		}
	}
	if e.password != "" {
		return "delete login profile", nil
	}
	return "", nil
}

func deleteEntity(tx *sqldb.Tx, e *Entity) error {
	if _, err := tx.Exec("delete from sessions where account = $1 and principal_id = $2", e.Account, e.ID); err != nil {
		return err
	}
	_, err := tx.Exec("delete from entities where account = $1 and kind = $2 and name_key = $3 and id = $4", e.Account, e.Kind, strings.ToLower(e.Name), e.ID)
	return err
}

// Members.

func insertMember(tx *sqldb.Tx, a arn.Account, userID, groupID string) error {
	_, err := tx.Exec("insert into memberships (account, user_id, group_id) values ($1, $2, $3) on conflict do nothing", a, userID, groupID)
	return err
}

func deleteMember(tx *sqldb.Tx, a arn.Account, userID, groupID string) (int64, error) {
	return tx.Exec("delete from memberships where account = $1 and user_id = $2 and group_id = $3", a, userID, groupID)
}

func countGroups(tx *sqldb.Tx, a arn.Account, userID string) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from memberships where account = $1 and user_id = $2", a, userID)
	return n, err
}

func (id *Identity) groupsOf(ctx context.Context, a arn.Account, userID string) ([]*Entity, error) {
	return entitiesOf(id.db.Query(ctx, "select "+entityColumns+` from entities where account = $1 and id in
		(select group_id from memberships where account = $1 and user_id = $2) order by name_key`, a, userID))
}

func (id *Identity) membersOf(ctx context.Context, a arn.Account, groupID, after string, limit int) ([]*Entity, error) {
	return entitiesOf(id.db.Query(ctx, "select "+entityColumns+` from entities where account = $1 and kind = 'user' and name_key > $3 and id in
		(select user_id from memberships where account = $1 and group_id = $2) order by name_key limit $4`, a, groupID, strings.ToLower(after), limit))
}

func (id *Identity) countEntities(ctx context.Context, a arn.Account, k EntityKind) (n int32, err error) {
	err = id.db.QueryRow(ctx, []any{&n}, "select count(*) from entities where account = $1 and kind = $2", a, k)
	return n, err
}
