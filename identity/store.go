package identity

import (
	"context"
	"time"

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
		if c.AccessKeyID == "" {
			return nil
		}
		return id.insertKey(tx, root, c, id.now())
	})
}

func (id *Identity) insertKey(tx *sqldb.Tx, p arn.Principal, c Credentials, at time.Time) error {
	_, err := tx.Exec(`insert into access_keys (account, access_key_id, kind, principal_arn, principal_id, secret, active, created_at)
		values ($1, $2, $3, $4, $5, $6, 1, $7)`, p.Account, c.AccessKeyID, p.Kind, p.ARN, p.ID,
		id.keys.Seal([]byte(c.Secret.Reveal()), c.AccessKeyID), sqldb.Micros(at))
	return err
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
		`select k.account, k.kind, k.principal_arn, k.principal_id, k.secret from access_keys k join accounts a on a.account = k.account
		where k.access_key_id = $1 and k.active = 1 and a.closed_at = 0`, accessKeyID)
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

func (id *Identity) readOpen(ctx context.Context, a arn.Account) (bool, error) {
	var closed int64
	err := id.db.QueryRow(ctx, []any{&closed}, "select closed_at from accounts where account = $1", a)
	if sqldb.IsNoRows(err) {
		return false, nil
	}
	return err == nil && closed == 0, err
}

func (id *Identity) listAccounts(ctx context.Context) ([]AccountInfo, error) {
	rows, err := id.db.Query(ctx, `select a.account, a.name, a.created_at, a.closed_at, coalesce(l.alias, '') from accounts a
		left join account_aliases l on l.account = a.account order by a.account`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []AccountInfo
	for rows.Next() {
		var a AccountInfo
		var created, closed int64
		if err := rows.Scan(&a.ID, &a.Name, &created, &closed, &a.Alias); err != nil {
			return nil, err
		}
		a.CreatedAt, a.ClosedAt = sqldb.Time(created), sqldb.Time(closed)
		out = append(out, a)
	}
	return out, rows.Err()
}

func closeAccount(tx *sqldb.Tx, a arn.Account, now time.Time) (int64, error) {
	return tx.Exec("update accounts set closed_at = $1 where account = $2 and closed_at = 0", sqldb.Micros(now), a)
}

func putAlias(tx *sqldb.Tx, a arn.Account, alias string) error {
	if _, err := tx.Exec("delete from account_aliases where account = $1", a); err != nil || alias == "" {
		return err
	}
	_, err := tx.Exec("insert into account_aliases (account, alias) values ($1, $2)", a, alias)
	return err
}

func (id *Identity) readAlias(ctx context.Context, a arn.Account) (alias string, err error) {
	err = id.db.QueryRow(ctx, []any{&alias}, "select alias from account_aliases where account = $1", a)
	if sqldb.IsNoRows(err) {
		err = nil
	}
	return alias, err
}

// countMisc counts what is not an entity, by the names of GetAccountSummary.
func (id *Identity) countMisc(ctx context.Context, a arn.Account) (map[string]int32, error) {
	out := map[string]int32{}
	for name, query := range map[string]string{
		"Policies":                 "select count(*) from managed_policies where account = $1",
		"PolicyVersionsInUse":      "select count(*) from policy_versions where account = $1",
		"Providers":                "select count(*) from oidc_providers where account = $1",
		"AccountAccessKeysPresent": "select count(*) from access_keys where account = $1 and principal_id = $1",
	} {
		var n int32
		if err := id.db.QueryRow(ctx, []any{&n}, query, a); err != nil {
			return nil, err
		}
		out[name] = n
	}
	return out, nil
}

// Access keys.

func countKeys(tx *sqldb.Tx, a arn.Account, principalID string) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from access_keys where account = $1 and principal_id = $2", a, principalID)
	return n, err
}

const keyColumns = "access_key_id, principal_id, active, created_at, used_at, used_service, used_region"

func (k *AccessKey) scan(scan func(...any) error, more ...any) error {
	var active, created, used int64
	err := scan(append([]any{&k.ID, &k.PrincipalID, &active, &created, &used, &k.UsedService, &k.UsedRegion}, more...)...)
	k.Active, k.CreatedAt, k.UsedAt = active != 0, sqldb.Time(created), sqldb.Time(used)
	return err
}

func (id *Identity) listKeys(ctx context.Context, a arn.Account, principalID string) ([]AccessKey, error) {
	rows, err := id.db.Query(ctx, "select "+keyColumns+" from access_keys where account = $1 and principal_id = $2 order by created_at, access_key_id", a, principalID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []AccessKey
	for rows.Next() {
		var k AccessKey
		if err := k.scan(rows.Scan); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, rows.Err()
}

func (id *Identity) readKeyInfo(ctx context.Context, a arn.Account, keyID string) (k AccessKey, principalARN string, err error) {
	err = k.scan(func(dest ...any) error {
		return id.db.QueryRow(ctx, dest, "select "+keyColumns+", principal_arn from access_keys where account = $1 and access_key_id = $2", a, keyID)
	}, &principalARN)
	return k, principalARN, err
}

func updateKey(tx *sqldb.Tx, p arn.Principal, keyID string, active bool) (int64, error) {
	return tx.Exec("update access_keys set active = $1 where account = $2 and principal_id = $3 and access_key_id = $4", sqldb.Flag(active), p.Account, p.ID, keyID)
}

func deleteKey(tx *sqldb.Tx, p arn.Principal, keyID string) (int64, error) {
	return tx.Exec("delete from access_keys where account = $1 and principal_id = $2 and access_key_id = $3", p.Account, p.ID, keyID)
}

func (id *Identity) findKeyAccount(ctx context.Context, keyID string) (a arn.Account, err error) {
	err = id.db.QueryRow(ctx, []any{&a}, `select account from access_keys where access_key_id = $1
		union all select account from sessions where access_key_id = $1`, keyID)
	return a, err
}

// touchKeys stores when keys were last used.
func touchKeys(tx *sqldb.Tx, used map[string]keyUse) error {
	for keyID, u := range used {
		if _, err := tx.Exec("update access_keys set used_at = $1, used_service = $2, used_region = $3 where access_key_id = $4",
			sqldb.Micros(u.at), u.service, u.region, keyID); err != nil {
			return err
		}
	}
	return nil
}
