package identity

import (
	"context"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

func (id *Identity) insertAccount(ctx context.Context, root arn.Principal, name string, c Credentials) error {
	now := id.now().UnixMicro()
	return id.db.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec("insert into accounts (account, name, created_at) values ($1, $2, $3)", root.Account, name, now); err != nil {
			return err
		}
		_, err := tx.Exec(`insert into access_keys (account, access_key_id, kind, principal_arn, principal_id, secret, active, created_at)
			values ($1, $2, $3, $4, $5, $6, 1, $7)`, root.Account, c.AccessKeyID, root.Kind, root.ARN, root.ID,
			id.keys.Seal([]byte(c.Secret.Reveal()), c.AccessKeyID), now)
		return err
	})
}

// rootKey reads the oldest active key of a root; sql.ErrNoRows without any.
func (id *Identity) rootKey(ctx context.Context, root arn.Principal) (Credentials, error) {
	var c Credentials
	var sealed []byte
	err := id.db.QueryRow(ctx, []any{&c.AccessKeyID, &sealed}, `select access_key_id, secret from access_keys
		where account = $1 and principal_arn = $2 and active = 1 order by created_at, access_key_id limit 1`, root.Account, root.ARN)
	if err != nil {
		return Credentials{}, err
	}
	plain, err := id.keys.Open(sealed, c.AccessKeyID)
	c.Secret = secret.String(plain)
	return c, err
}

func (id *Identity) readKey(ctx context.Context, accessKeyID string) (Key, error) {
	k := Key{Principal: arn.Principal{AccessKeyID: accessKeyID}}
	var sealed []byte
	err := id.db.QueryRow(ctx, []any{&k.Principal.Account, &k.Principal.Kind, &k.Principal.ARN, &k.Principal.ID, &sealed},
		"select account, kind, principal_arn, principal_id, secret from access_keys where access_key_id = $1 and active = 1", accessKeyID)
	if sqldb.IsNoRows(err) {
		return Key{}, ErrUnknownKey
	}
	if err != nil {
		return Key{}, err
	}
	plain, err := id.keys.Open(sealed, accessKeyID)
	k.Secret = secret.String(plain)
	return k, err
}

func (id *Identity) hasAccount(ctx context.Context, a arn.Account) (bool, error) {
	var n int
	err := id.db.QueryRow(ctx, []any{&n}, "select 1 from accounts where account = $1", a)
	if sqldb.IsNoRows(err) {
		return false, nil
	}
	return err == nil, err
}
