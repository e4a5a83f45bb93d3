package registry

import (
	"context"
	"database/sql"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/sqldb"
)

// readLayer finds a layer in one statement, with its bytes where they are in the
// row. found says whether the repository exists.
func (r *Registry) readLayer(ctx context.Context, p arn.Place, repo, digest string) (l *Layer, found bool, err error) {
	var (
		d, enc, key  sql.NullString
		size, stored sql.NullInt64
		c            blob.Content
	)
	err = r.db.QueryRow(ctx, []any{&d, &enc, &size, &stored, &key, &c.DataKey, &c.Inline}, `select b.digest, b.encryption, b.size, b.stored_size,
		b.store_key, b.data_key, b.inline_bytes from repositories r
		left join layers l on l.account = r.account and l.region = r.region and l.repo = r.id and l.digest = $4
		left join blobs b on b.digest = l.digest and b.encryption = r.kms_key
		where r.account = $1 and r.region = $2 and r.name = $3`, p.Account, p.Region, repo, digest)
	if sqldb.IsNoRows(err) {
		return nil, false, nil
	}
	if err != nil || !d.Valid {
		return nil, true, err
	}
	c.Digest, c.Encryption, c.Size, c.StoredSize, c.Key = d.String, enc.String, size.Int64, stored.Int64, key.String
	return &Layer{Digest: c.Digest, Size: c.Size, content: c}, true, nil
}

// readBlob finds stored content by digest and encryption; nil for none.
func (r *Registry) readBlob(ctx context.Context, digest, encryption string) (*blob.Content, error) {
	c := blob.Content{Digest: digest, Encryption: encryption}
	err := r.db.QueryRow(ctx, []any{&c.Size, &c.StoredSize, &c.Key, &c.DataKey},
		"select size, stored_size, store_key, data_key from blobs where digest = $1 and encryption = $2", digest, encryption)
	if sqldb.IsNoRows(err) {
		return nil, nil
	}
	return &c, err
}

// insertBlob makes content exist, unless it does already: then n will be 0 (Tx.RunCount).
func insertBlob(tx *sqldb.Tx, n *int64, c blob.Content, now, lease int64) error {
	return tx.RunCount(n, `insert into blobs (digest, encryption, size, stored_size, store_key, data_key, created_at, touched_at, leased_until, inline_bytes)
		values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9) on conflict (digest, encryption) do nothing`,
		c.Digest, c.Encryption, c.Size, c.StoredSize, c.Key, c.DataKey, now, lease, c.Inline)
}

// replaceBlob puts new bytes in the place of damaged ones, unless somebody else
// did first: then n will be 0 (Tx.RunCount).
func replaceBlob(tx *sqldb.Tx, n *int64, c blob.Content, damagedKey string, now, lease int64) error {
	return tx.RunCount(n, `update blobs set stored_size = $3, store_key = $4, data_key = $5, touched_at = $6, leased_until = $7, inline_bytes = $8
		where digest = $1 and encryption = $2 and store_key = $9`,
		c.Digest, c.Encryption, c.StoredSize, c.Key, c.DataKey, now, lease, c.Inline, damagedKey)
}

// touchBlob extends a blob's lease; false when there is no such blob.
func touchBlob(tx *sqldb.Tx, c blob.Content, now, lease int64) (bool, error) {
	n, err := tx.Exec("update blobs set touched_at = $3, leased_until = $4 where digest = $1 and encryption = $2", c.Digest, c.Encryption, now, lease)
	return n > 0, err
}

func linkLayer(tx *sqldb.Tx, rp *Repository, digest string, size, now int64) error {
	return tx.Run(`insert into layers (account, region, repo, digest, size, linked_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (account, region, repo, digest) do nothing`, rp.Place.Account, rp.Place.Region, rp.ID, digest, size, now)
}

func setPulled(tx *sqldb.Tx, k pull, at int64) error {
	return tx.Run(`update images set pulled_at = $1 where account = $2 and region = $3 and digest = $4 and pulled_at < $1
		and repo = (select id from repositories where account = $2 and region = $3 and name = $5)`,
		at, k.place.Account, k.place.Region, k.digest, k.repo)
}
