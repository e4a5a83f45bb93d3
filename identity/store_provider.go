package identity

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

const selectProvider = "select account, url, clients, thumbprints, tags, created_at from oidc_providers where account = $1"

func (p *Provider) scan(scan func(...any) error) error {
	var clients, thumbprints, tags string
	var created int64
	if err := scan(&p.Account, &p.URL, &clients, &thumbprints, &tags, &created); err != nil {
		return err
	}
	p.CreatedAt = sqldb.Time(created)
	return errors.Join(json.Unmarshal([]byte(clients), &p.Clients), json.Unmarshal([]byte(thumbprints), &p.Thumbprints),
		json.Unmarshal([]byte(tags), &p.Tags))
}

func insertProvider(tx *sqldb.Tx, p *Provider) error {
	_, err := tx.Exec("insert into oidc_providers (account, url, clients, thumbprints, tags, created_at) values ($1, $2, $3, $4, $5, $6)",
		p.Account, p.URL, sqldb.JSON(p.Clients), sqldb.JSON(p.Thumbprints), sqldb.JSON(p.Tags), sqldb.Micros(p.CreatedAt))
	return err
}

func updateProvider(tx *sqldb.Tx, p *Provider) error {
	_, err := tx.Exec("update oidc_providers set clients = $1, thumbprints = $2, tags = $3 where account = $4 and url = $5",
		sqldb.JSON(p.Clients), sqldb.JSON(p.Thumbprints), sqldb.JSON(p.Tags), p.Account, p.URL)
	return err
}

func deleteProvider(tx *sqldb.Tx, a arn.Account, url string) (int64, error) {
	return tx.Exec("delete from oidc_providers where account = $1 and url = $2", a, url)
}

func countProviders(tx *sqldb.Tx, a arn.Account) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from oidc_providers where account = $1", a)
	return n, err
}

func (id *Identity) readProvider(ctx context.Context, a arn.Account, url string) (*Provider, error) {
	p := &Provider{}
	return p, p.scan(func(dest ...any) error { return id.db.QueryRow(ctx, dest, selectProvider+" and url = $2", a, url) })
}

func lockProvider(tx *sqldb.Tx, a arn.Account, url string) (*Provider, error) {
	p := &Provider{}
	return p, p.scan(func(dest ...any) error { return tx.QueryRow(dest, selectProvider+" and url = $2{forupdate}", a, url) })
}

func (id *Identity) listProviders(ctx context.Context, a arn.Account) ([]*Provider, error) {
	rows, err := id.db.Query(ctx, selectProvider+" order by url", a)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Provider
	for rows.Next() {
		p := &Provider{}
		if err := p.scan(rows.Scan); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}
