package identity

import (
	"context"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func insertSession(tx *sqldb.Tx, s *Session, hash, sealed []byte) error {
	_, err := tx.Exec("insert into sessions (account, access_key_id, principal_id, token_hash, payload, expires_at) values ($1, $2, $3, $4, $5, $6)",
		s.Principal.Account, s.Principal.AccessKeyID, s.EntityID, hash, sealed, sqldb.Micros(s.ExpiresAt))
	return err
}

func (id *Identity) readSession(ctx context.Context, accessKeyID string) (hash, sealed []byte, err error) {
	err = id.db.QueryRow(ctx, []any{&hash, &sealed}, "select token_hash, payload from sessions where access_key_id = $1", accessKeyID)
	return hash, sealed, err
}

func touchEntity(tx *sqldb.Tx, e *Entity, at time.Time) error {
	_, err := tx.Exec("update entities set used_at = $1 where account = $2 and id = $3", sqldb.Micros(at), e.Account, e.ID)
	return err
}

// sweep removes sessions that ended and denials that happened before, and of those
// the oldest beyond denialsMost.
func sweep(tx *sqldb.Tx, sessionsBefore, denialsBefore time.Time) error {
	if _, err := tx.Exec("delete from denials where at < (select at from denials order by at desc limit 1 offset $1)", denialsMost); err != nil {
		return err
	}
	if _, err := tx.Exec("delete from sessions where expires_at < $1", sqldb.Micros(sessionsBefore)); err != nil {
		return err
	}
	_, err := tx.Exec("delete from denials where at < $1", sqldb.Micros(denialsBefore))
	return err
}

func insertDenial(tx *sqldb.Tx, a arn.Account, requestID string, at time.Time, body string) error {
	_, err := tx.Exec("insert into denials (account, request_id, at, body) values ($1, $2, $3, $4) on conflict do nothing", a, requestID, sqldb.Micros(at), body)
	return err
}

func (id *Identity) listDenials(ctx context.Context, a arn.Account, limit int) ([]string, error) {
	rows, err := id.db.Query(ctx, "select body from denials where account = $1 order by at desc limit $2", a, limit)
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

func (id *Identity) readDenial(ctx context.Context, a arn.Account, requestID string) (body string, err error) {
	err = id.db.QueryRow(ctx, []any{&body}, "select body from denials where account = $1 and request_id = $2", a, requestID)
	return body, err
}
