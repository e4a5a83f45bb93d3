package requests

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func insert(tx *sqldb.Tx, p arn.Place, q *Request) (int64, error) {
	return tx.Exec("insert into control_requests (account, region, token, client, doc, at) values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
		p.Account, p.Region, q.Token, q.Client, sqldb.JSON(q), sqldb.Micros(q.At))
}

func update(tx *sqldb.Tx, p arn.Place, q *Request) error {
	_, err := tx.Exec("update control_requests set doc = $1 where account = $2 and region = $3 and token = $4", sqldb.JSON(q), p.Account, p.Region, q.Token)
	return err
}

// forget removes what is old, of all accounts.
func forget(tx *sqldb.Tx, before time.Time) error {
	_, err := tx.Exec("delete from control_requests where at < $1", sqldb.Micros(before))
	return err
}

const columns = "token, client, doc, at"

func scan(scan func(...any) error) (*Request, error) {
	var q Request
	var doc string
	var at int64
	if err := scan(&q.Token, &q.Client, &doc, &at); err != nil {
		return nil, err
	}
	q.At = sqldb.Time(at)
	return &q, json.Unmarshal([]byte(doc), &q)
}

func (r *Requests) byToken(ctx context.Context, p arn.Place, token string) (*Request, error) {
	return scan(func(dest ...any) error {
		return r.db.QueryRow(ctx, dest, "select "+columns+" from control_requests where account = $1 and region = $2 and token = $3", p.Account, p.Region, token)
	})
}

func (r *Requests) byClient(ctx context.Context, p arn.Place, client string) (*Request, error) {
	return scan(func(dest ...any) error {
		return r.db.QueryRow(ctx, dest, "select "+columns+" from control_requests where account = $1 and region = $2 and client = $3", p.Account, p.Region, client)
	})
}

func (r *Requests) list(ctx context.Context, p arn.Place, before string, limit int) ([]*Request, error) {
	rows, err := r.db.Query(ctx, "select "+columns+" from control_requests where account = $1 and region = $2 and token < $3 order by token desc limit $4",
		p.Account, p.Region, before, limit)
	return sqldb.Collect(rows, err, scan)
}
