package catalog

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/sqldb"
)

func insertChange(tx *sqldb.Tx, a arn.Account, id string, ch *Change, doc string) error {
	_, err := tx.Exec("insert into catalog_audit (account, id, action, resource, status, blueprint, entity, doc) values ($1, $2, $3, $4, $5, $6, $7, $8)",
		a, id, ch.Action, ch.Resource, ch.Status, ch.Blueprint, key(ch.Entity), doc)
	return err
}

func (c *Catalog) readChanges(ctx context.Context, a arn.Account, q *ChangesQuery, before string, limit int) ([]Change, error) {
	text := "select id, action, resource, status, blueprint, doc from catalog_audit where account = $1 and id < $2"
	args := []any{a, before}
	if q.Blueprint != "" && q.Entity != "" {
		text += " and blueprint = $3 and entity = $4"
		args = append(args, q.Blueprint, key(q.Entity))
	}
	args = append(args, limit)
	if len(args) == 3 {
		text += " order by id desc limit $3"
	} else {
		text += " order by id desc limit $5"
	}
	rows, err := c.db.Query(ctx, text, args...)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (Change, error) {
		var ch Change
		var doc string
		if err := scan(&ch.ID, &ch.Action, &ch.Resource, &ch.Status, &ch.Blueprint, &doc); err != nil {
			return ch, err
		}
		var r rest
		err := json.Unmarshal([]byte(doc), &r)
		ch.At, _ = uid.Time(ch.ID)
		ch.By, ch.Entity, ch.Before, ch.After, ch.Message = Actor{ID: r.By, Origin: r.Origin, Run: r.Run}, r.Entity, r.Before, r.After, r.Message
		return ch, err
	})
}

// forgetChanges deletes old entries, so many at a time.
func forgetChanges(tx *sqldb.Tx, a arn.Account, before string, limit int) error {
	_, err := tx.Exec("delete from catalog_audit where account = $1 and id in (select id from catalog_audit where account = $1 and id < $2 limit $3)", a, before, limit)
	return err
}

func (c *Catalog) anyChange(ctx context.Context, a arn.Account, before string) (bool, error) {
	return found(c.db.Query(ctx, "select 1 from catalog_audit where account = $1 and id < $2 limit 1", a, before))
}

// accounts are those that have a catalog.
func (c *Catalog) accounts(ctx context.Context) ([]arn.Account, error) {
	rows, err := c.db.Query(ctx, "select account from catalog_models order by account")
	return sqldb.Collect(rows, err, func(scan func(...any) error) (arn.Account, error) {
		var a arn.Account
		return a, scan(&a)
	})
}
