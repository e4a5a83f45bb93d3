package identity

import (
	"context"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// browserRow is a session of a browser, or a link, as it is stored.
type browserRow struct {
	account            arn.Account
	hash               []byte
	kind, key, name    string
	started, used, end time.Time
}

func insertBrowser(tx *sqldb.Tx, w *browserRow) error {
	_, err := tx.Exec(`insert into console_sessions (account, hash, kind, access_key_id, name, started_at, used_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
		w.account, w.hash, w.kind, w.key, w.name, sqldb.Micros(w.started), sqldb.Micros(w.used), sqldb.Micros(w.end))
	return err
}

func (id *Identity) readBrowser(ctx context.Context, hash []byte, kind string) (*browserRow, error) {
	w := &browserRow{hash: hash, kind: kind}
	var started, used, end int64
	err := id.db.QueryRow(ctx, []any{&w.account, &w.key, &w.name, &started, &used, &end},
		"select account, access_key_id, name, started_at, used_at, expires_at from console_sessions where hash = $1 and kind = $2", hash, kind)
	w.started, w.used, w.end = sqldb.Time(started), sqldb.Time(used), sqldb.Time(end)
	return w, err
}

func touchBrowser(tx *sqldb.Tx, hash []byte, at time.Time) error {
	_, err := tx.Exec("update console_sessions set used_at = $2 where hash = $1", hash, sqldb.Micros(at))
	return err
}

func deleteBrowser(tx *sqldb.Tx, hash []byte, kind string) (int64, error) {
	return tx.Exec("delete from console_sessions where hash = $1 and kind = $2", hash, kind)
}

// sweepBrowsers removes sessions and links whose time is over.
func sweepBrowsers(tx *sqldb.Tx, now time.Time) error {
	_, err := tx.Exec("delete from console_sessions where expires_at < $1 or kind = 'session' and used_at < $2", sqldb.Micros(now), sqldb.Micros(now.Add(-browserIdle)))
	return err
}
