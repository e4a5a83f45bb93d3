package catalog

import (
	"context"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func scanRef(scan func(...any) error) (Ref, error) {
	var r Ref
	return r, scan(&r.Blueprint, &r.Identifier)
}

// txOrigins are the entities that a resource made, by keys.
func txOrigins(tx *sqldb.Tx, r Resource) ([]Ref, error) {
	rows, err := tx.Query("select blueprint, k from catalog_origins where account = $1 and region = $2 and kind = $3 and resource = $4", r.Account, r.Region, r.Kind, key(r.Name))
	return sqldb.Collect(rows, err, scanRef)
}

func insertOrigin(tx *sqldb.Tx, r Resource, e Ref) error {
	return tx.Run("insert into catalog_origins (account, region, kind, resource, blueprint, k) values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
		r.Account, r.Region, r.Kind, key(r.Name), e.Blueprint, e.Identifier)
}

func deleteOrigin(tx *sqldb.Tx, r Resource, e Ref) error {
	return tx.Run("delete from catalog_origins where account = $1 and region = $2 and kind = $3 and resource = $4 and blueprint = $5 and k = $6",
		r.Account, r.Region, r.Kind, key(r.Name), e.Blueprint, e.Identifier)
}

// deleteOrigins forgets which resources made an entity.
func deleteOrigins(tx *sqldb.Tx, a arn.Account, blueprint, k string) error {
	_, err := tx.Exec("delete from catalog_origins where account = $1 and blueprint = $2 and k = $3", a, blueprint, k)
	return err
}

func hasOrigins(tx *sqldb.Tx, a arn.Account, e Ref) (bool, error) {
	return found(tx.Query("select 1 from catalog_origins where account = $1 and blueprint = $2 and k = $3 limit 1", a, e.Blueprint, e.Identifier))
}

func (c *Catalog) readOriginNames(ctx context.Context, a arn.Account, region arn.Region, kind, after string, limit int) ([]string, error) {
	rows, err := c.db.Query(ctx, "select distinct resource from catalog_origins where account = $1 and region = $2 and kind = $3 and resource > $4 order by resource limit $5",
		a, region, kind, after, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (string, error) {
		var s string
		return s, scan(&s)
	})
}

func replaceNotices(tx *sqldb.Tx, r Resource, list []Notice, now time.Time) error {
	if err := tx.Run("delete from catalog_notices where account = $1 and region = $2 and kind = $3 and resource = $4", r.Account, r.Region, r.Kind, key(r.Name)); err != nil {
		return err
	}
	for i, n := range list {
		if _, err := tx.Exec(`insert into catalog_notices (account, region, kind, resource, n, blueprint, entity, code, path, message, wait_blueprint, wait_k, at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			r.Account, r.Region, r.Kind, key(r.Name), i, n.Blueprint, n.Entity, n.Code, n.Path, cut(n.Message, 1000), n.wait.Blueprint, n.wait.Identifier,
			sqldb.Micros(now)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Catalog) readNotices(ctx context.Context, r, after Resource, limit int) ([]Notice, error) {
	const columns = "select account, region, kind, resource, blueprint, entity, code, path, message, at from catalog_notices where account = $1"
	scan := func(scan func(...any) error) (Notice, error) {
		var n Notice
		var at int64
		err := scan(&n.Account, &n.Region, &n.Kind, &n.Name, &n.Blueprint, &n.Entity, &n.Code, &n.Path, &n.Message, &at)
		n.At = sqldb.Time(at)
		return n, err
	}
	if r.Name != "" {
		rows, err := c.db.Query(ctx, columns+" and region = $2 and kind = $3 and resource = $4 order by n limit $5", r.Account, r.Region, r.Kind, key(r.Name), limit)
		return sqldb.Collect(rows, err, scan)
	}
	rows, err := c.db.Query(ctx, columns+" and (region, kind, resource) > ($2, $3, $4) order by region, kind, resource, n limit $5", r.Account, after.Region, after.Kind,
		after.Name, limit)
	return sqldb.Collect(rows, err, scan)
}

func txWaiting(tx *sqldb.Tx, a arn.Account, e Ref) ([]Resource, error) {
	rows, err := tx.Query("select account, region, kind, resource from catalog_notices where account = $1 and wait_blueprint = $2 and wait_k = $3", a, e.Blueprint, e.Identifier)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (Resource, error) {
		var r Resource
		return r, scan(&r.Account, &r.Region, &r.Kind, &r.Name)
	})
}

func upsertPending(tx *sqldb.Tx, r Resource, due time.Time, reason string) error {
	_, err := tx.Exec(`insert into catalog_pending (account, region, kind, resource, due, tries, reason) values ($1, $2, $3, $4, $5, 0, $6)
		on conflict (account, region, kind, resource) do update set reason = excluded.reason,
		due = case when catalog_pending.due > excluded.due then catalog_pending.due else excluded.due end`,
		r.Account, r.Region, r.Kind, r.Name, sqldb.Micros(due), reason)
	return err
}

func deletePending(tx *sqldb.Tx, r Resource) error {
	return tx.Run("delete from catalog_pending where account = $1 and region = $2 and kind = $3 and resource = $4", r.Account, r.Region, r.Kind, r.Name)
}

const pendingColumns = "account, region, kind, resource, due, tries, reason"

func scanPending(scan func(...any) error) (Pending, error) {
	var p Pending
	var due int64
	err := scan(&p.Account, &p.Region, &p.Kind, &p.Name, &due, &p.Tries, &p.Reason)
	p.Due = sqldb.Time(due)
	return p, err
}

func (c *Catalog) readPending(ctx context.Context, a arn.Account, limit int) ([]Pending, error) {
	rows, err := c.db.Query(ctx, "select "+pendingColumns+" from catalog_pending where account = $1 order by region, kind, resource limit $2", a, limit)
	return sqldb.Collect(rows, err, scanPending)
}

// anyDue and txDue look over all accounts: it is background work.
func (c *Catalog) anyDue(ctx context.Context) (bool, error) {
	return found(c.db.Query(ctx, "select 1 from catalog_pending where due <= $1 limit 1", sqldb.Micros(c.now())))
}

func txDue(tx *sqldb.Tx, now time.Time, limit int) ([]Pending, error) {
	rows, err := tx.Query("select "+pendingColumns+" from catalog_pending where due <= $1 order by due limit $2{forupdate}", sqldb.Micros(now), limit)
	return sqldb.Collect(rows, err, scanPending)
}

func retryPending(tx *sqldb.Tx, r Resource, due time.Time) error {
	_, err := tx.Exec("update catalog_pending set due = $1, tries = tries + 1 where account = $2 and region = $3 and kind = $4 and resource = $5",
		sqldb.Micros(due), r.Account, r.Region, r.Kind, r.Name)
	return err
}

func insertGone(tx *sqldb.Tx, r Resource, owner int64, now time.Time) error {
	_, err := tx.Exec("insert into catalog_gone (account, owner, region, kind, prefix, gone_at) values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
		r.Account, owner, r.Region, r.Kind, cut(r.Name, maxKey-33), sqldb.Micros(now))
	return err
}

// gone are owners whose entities are to be cleared away, of all accounts.
func (c *Catalog) gone(ctx context.Context, limit int) ([]owner, error) {
	rows, err := c.db.Query(ctx, "select account, owner, region, kind, prefix from catalog_gone order by gone_at limit $1", limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (owner, error) {
		var o owner
		return o, scan(&o.Account, &o.id, &o.Region, &o.Kind, &o.Name)
	})
}

// owner is one that is gone, with what its resources' names begin with.
type owner struct {
	Resource
	id int64
}

// shareEntity notes that a resource made an entity that was there.
func shareEntity(tx *sqldb.Tx, a arn.Account, e Ref) error {
	_, err := tx.Exec("update catalog_entities set shared = 1 where account = $1 and blueprint = $2 and k = $3", a, e.Blueprint, e.Identifier)
	return err
}

// owned is an entity of an owner, with the resource that made it.
type owned struct {
	*row
	resource string
}

// txOwned are entities of an owner, so many at a time.
func txOwned(tx *sqldb.Tx, o owner, limit int) ([]owned, error) {
	rows, err := tx.Query("select o.resource, "+entityColumns+` from catalog_origins o join catalog_entities e on e.account = o.account and e.blueprint = o.blueprint and e.k = o.k
		where o.account = $1 and o.region = $2 and o.kind = $3 and o.resource >= $4 and o.resource < $5 and e.owner = $6 limit $7`,
		o.Account, o.Region, o.Kind, o.Name, o.Name+"\U0010FFFF", o.id, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (owned, error) {
		var e owned
		var err error
		e.row, err = scanEntity(func(dest ...any) error { return scan(append([]any{&e.resource}, dest...)...) })
		return e, err
	})
}

func deleteGone(tx *sqldb.Tx, o owner) error {
	_, err := tx.Exec("delete from catalog_gone where account = $1 and owner = $2", o.Account, o.id)
	return err
}

func (c *Catalog) readUnresolved(ctx context.Context, a arn.Account, limit int) ([]Dangling, error) {
	rows, err := c.db.Query(ctx, `select r.blueprint, r.k, r.relation, r.target_blueprint, r.target, coalesce(s.target, '') from catalog_relations r
		left join catalog_relations s on s.account = r.account and s.blueprint = r.blueprint and s.k = r.k and s.relation = r.relation and s.ord = r.ord and s.rank = 1
		join catalog_entities e on e.account = r.account and e.blueprint = r.blueprint and e.k = r.k`+alive+`
		where r.account = $1 and r.kept = 1 and r.rank = 0
		and not exists (select 1 from catalog_entities t where t.account = r.account and t.blueprint = r.target_blueprint and (t.k = r.target or t.k = s.target))
		order by r.blueprint, r.k, r.relation, r.ord limit $2`, a, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (Dangling, error) {
		var d Dangling
		var name, other string
		err := scan(&d.Blueprint, &d.Identifier, &d.Relation, &d.Target, &name, &other)
		if d.Names = []string{name}; other != "" {
			d.Names = append(d.Names, other)
		}
		return d, err
	})
}

// readKinds steps from one kind to the next along the key.
func (c *Catalog) readKinds(ctx context.Context, a arn.Account) ([]KindIn, error) {
	var out []KindIn
	for at := (KindIn{}); ; {
		err := c.db.QueryRow(ctx, []any{&at.Region, &at.Kind}, "select region, kind from catalog_origins where account = $1 and (region, kind) > ($2, $3) order by region, kind limit 1",
			a, at.Region, at.Kind)
		if sqldb.IsNoRows(err) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, at)
	}
}
