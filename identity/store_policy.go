package identity

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

const policyColumns = "account, name, path, id, description, created_at, updated_at, default_version, last_version, tags"

type policyRow struct {
	ManagedPolicy
	createdAt, updatedAt int64
	tags                 string
}

func (w *policyRow) dest() []any {
	return []any{&w.Account, &w.Name, &w.Path, &w.ID, &w.Description, &w.createdAt, &w.updatedAt, &w.Default, &w.last, &w.tags}
}

func (w *policyRow) policy() (*ManagedPolicy, error) {
	w.CreatedAt, w.UpdatedAt, w.Tags = sqldb.Time(w.createdAt), sqldb.Time(w.updatedAt), map[string]string{}
	return &w.ManagedPolicy, json.Unmarshal([]byte(w.tags), &w.Tags)
}

const selectPolicy = "select " + policyColumns + " from managed_policies where account = $1 and name_key = $2"

func (id *Identity) readPolicy(ctx context.Context, a arn.Account, name string) (*ManagedPolicy, error) {
	var w policyRow
	if err := id.db.QueryRow(ctx, w.dest(), selectPolicy, a, strings.ToLower(name)); err != nil {
		return nil, err
	}
	return w.policy()
}

func (id *Identity) listPolicies(ctx context.Context, a arn.Account, prefix, after string, limit int) ([]*ManagedPolicy, error) {
	rows, err := id.db.Query(ctx, "select "+policyColumns+` from managed_policies where account = $1 and name_key > $2
		and substr(path, 1, length($3)) = $3 order by name_key limit $4`, a, strings.ToLower(after), prefix, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*ManagedPolicy
	for rows.Next() {
		var w policyRow
		if err := rows.Scan(w.dest()...); err != nil {
			return nil, err
		}
		p, err := w.policy()
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

func txPolicy(tx *sqldb.Tx, a arn.Account, policyARN, lock string) (*ManagedPolicy, error) {
	if p, _, ok := awsPolicy(policyARN); ok {
		return p, nil
	}
	name, ours := policyName(a, policyARN)
	if !ours {
		return nil, noPolicy(policyARN)
	}
	var w policyRow
	err := tx.QueryRow(w.dest(), selectPolicy+lock, a, strings.ToLower(name))
	if sqldb.IsNoRows(err) {
		return nil, noPolicy(policyARN)
	}
	if err != nil {
		return nil, err
	}
	p, err := w.policy()
	if err == nil && p.ARN() != policyARN {
		return nil, noPolicy(policyARN)
	}
	return p, err
}

// lockPolicy reads a managed policy for change, holdPolicy so that it is not
// deleted until the transaction ends: NoSuchEntity.
func lockPolicy(tx *sqldb.Tx, a arn.Account, policyARN string) (*ManagedPolicy, error) {
	return txPolicy(tx, a, policyARN, "{forupdate}")
}

func holdPolicy(tx *sqldb.Tx, a arn.Account, policyARN string) (*ManagedPolicy, error) {
	return txPolicy(tx, a, policyARN, "{forshare}")
}

func insertPolicy(tx *sqldb.Tx, p *ManagedPolicy) error {
	_, err := tx.Exec(`insert into managed_policies (account, name_key, name, path, id, description, created_at, updated_at, default_version, last_version, tags)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, p.Account, strings.ToLower(p.Name), p.Name, p.Path, p.ID, p.Description,
		sqldb.Micros(p.CreatedAt), sqldb.Micros(p.UpdatedAt), p.Default, p.last, sqldb.JSON(p.Tags))
	return err
}

func updatePolicy(tx *sqldb.Tx, p *ManagedPolicy) error {
	_, err := tx.Exec("update managed_policies set updated_at = $1, default_version = $2, last_version = $3, tags = $4 where account = $5 and name_key = $6",
		sqldb.Micros(p.UpdatedAt), p.Default, p.last, sqldb.JSON(p.Tags), p.Account, strings.ToLower(p.Name))
	return err
}

func deletePolicy(tx *sqldb.Tx, p *ManagedPolicy) error {
	if _, err := deleteVersions(tx, p, 0); err != nil {
		return err
	}
	_, err := tx.Exec("delete from managed_policies where account = $1 and name_key = $2", p.Account, strings.ToLower(p.Name))
	return err
}

func insertVersion(tx *sqldb.Tx, p *ManagedPolicy, v Version) error {
	_, err := tx.Exec("insert into policy_versions (account, policy_id, version, document, created_at) values ($1, $2, $3, $4, $5)",
		p.Account, p.ID, v.Number, v.Document, sqldb.Micros(v.CreatedAt))
	return err
}

// deleteVersions removes one version, or all with 0.
func deleteVersions(tx *sqldb.Tx, p *ManagedPolicy, n int) (int64, error) {
	return tx.Exec("delete from policy_versions where account = $1 and policy_id = $2 and ($3 = 0 or version = $3)", p.Account, p.ID, int64(n))
}

func countVersions(tx *sqldb.Tx, p *ManagedPolicy) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from policy_versions where account = $1 and policy_id = $2", p.Account, p.ID)
	return n, err
}

func hasVersion(tx *sqldb.Tx, p *ManagedPolicy, n int) (bool, error) {
	var have int
	err := tx.QueryRow([]any{&have}, "select count(*) from policy_versions where account = $1 and policy_id = $2 and version = $3", p.Account, p.ID, n)
	return have > 0, err
}

func (id *Identity) listVersions(ctx context.Context, p *ManagedPolicy) ([]Version, error) {
	rows, err := id.db.Query(ctx, "select version, document, created_at from policy_versions where account = $1 and policy_id = $2 order by version desc", p.Account, p.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Version
	for rows.Next() {
		var v Version
		var at int64
		if err := rows.Scan(&v.Number, &v.Document, &at); err != nil {
			return nil, err
		}
		v.CreatedAt = sqldb.Time(at)
		out = append(out, v)
	}
	return out, rows.Err()
}

// readDefault reads the version that counts of a customer managed policy.
func (id *Identity) readDefault(ctx context.Context, a arn.Account, policyARN string) (string, error) {
	if _, text, ok := awsPolicy(policyARN); ok {
		return text, nil
	}
	name, _ := policyName(a, policyARN)
	var text string
	err := id.db.QueryRow(ctx, []any{&text}, `select v.document from managed_policies p join policy_versions v
		on v.account = p.account and v.policy_id = p.id and v.version = p.default_version where p.account = $1 and p.name_key = $2`, a, strings.ToLower(name))
	return text, err
}

func (id *Identity) countUses(ctx context.Context, a arn.Account, policyARN string) (attached, boundaries int, err error) {
	if err = id.db.QueryRow(ctx, []any{&attached}, "select count(*) from attachments where account = $1 and policy_arn = $2", a, policyARN); err != nil {
		return 0, 0, err
	}
	err = id.db.QueryRow(ctx, []any{&boundaries}, "select count(*) from entities where account = $1 and boundary = $2", a, policyARN)
	return attached, boundaries, err
}

func policyUsed(tx *sqldb.Tx, a arn.Account, policyARN string) (bool, error) {
	var n int
	err := tx.QueryRow([]any{&n}, `select (select count(*) from attachments where account = $1 and policy_arn = $2) +
		(select count(*) from entities where account = $1 and boundary = $2)`, a, policyARN)
	return n > 0, err
}

// countAttached counts an entity's attached policies but one.
func countAttached(tx *sqldb.Tx, e *Entity, but string) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from attachments where account = $1 and entity_id = $2 and policy_arn <> $3", e.Account, e.ID, but)
	return n, err
}

func insertAttachment(tx *sqldb.Tx, e *Entity, policyARN string) error {
	_, err := tx.Exec("insert into attachments (account, entity_id, policy_arn) values ($1, $2, $3) on conflict do nothing", e.Account, e.ID, policyARN)
	return err
}

func deleteAttachment(tx *sqldb.Tx, e *Entity, policyARN string) (int64, error) {
	return tx.Exec("delete from attachments where account = $1 and entity_id = $2 and policy_arn = $3", e.Account, e.ID, policyARN)
}

func (id *Identity) listAttached(ctx context.Context, a arn.Account, entityID string) ([]string, error) {
	rows, err := id.db.Query(ctx, "select policy_arn from attachments where account = $1 and entity_id = $2 order by policy_arn", a, entityID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

func (id *Identity) listUsers(ctx context.Context, a arn.Account, policyARN string, boundary bool) ([]*Entity, error) {
	if boundary {
		return entitiesOf(id.db.Query(ctx, "select "+entityColumns+" from entities where account = $1 and boundary = $2 order by kind, name_key", a, policyARN))
	}
	return entitiesOf(id.db.Query(ctx, "select "+entityColumns+` from entities where account = $1 and id in
		(select entity_id from attachments where account = $1 and policy_arn = $2) order by kind, name_key`, a, policyARN))
}

// inlineSize sums the sizes of an entity's inline policies but one.
func inlineSize(tx *sqldb.Tx, e *Entity, but string) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select coalesce(sum(length(document)), 0) from inline_policies where account = $1 and entity_id = $2 and name <> $3", e.Account, e.ID, but)
	return n, err
}

func upsertInline(tx *sqldb.Tx, e *Entity, name, document string) error {
	_, err := tx.Exec(`insert into inline_policies (account, entity_id, name, document) values ($1, $2, $3, $4)
		on conflict (account, entity_id, name) do update set document = excluded.document`, e.Account, e.ID, name, document)
	return err
}

func deleteInline(tx *sqldb.Tx, e *Entity, name string) (int64, error) {
	return tx.Exec("delete from inline_policies where account = $1 and entity_id = $2 and name = $3", e.Account, e.ID, name)
}

func (id *Identity) readInline(ctx context.Context, e *Entity, name string) (text string, err error) {
	err = id.db.QueryRow(ctx, []any{&text}, "select document from inline_policies where account = $1 and entity_id = $2 and name = $3", e.Account, e.ID, name)
	return text, err
}

func (id *Identity) listInline(ctx context.Context, a arn.Account, entityID string) (map[string]string, error) {
	rows, err := id.db.Query(ctx, "select name, document from inline_policies where account = $1 and entity_id = $2", a, entityID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		out[name] = text
	}
	return out, rows.Err()
}

// findID finds a user or role by its unique id in any account: policies may name
// those of others. It tells only the name.
func (id *Identity) findID(ctx context.Context, entityID string) (arn.Account, *Entity, error) {
	var w entityRow
	if err := id.db.QueryRow(ctx, w.dest(), "select "+entityColumns+" from entities where id = $1 and kind <> 'group'", entityID); err != nil {
		return "", nil, err
	}
	e, err := w.entity()
	return w.Account, e, err
}
