package registry

import (
	"context"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

const selectSetting = "select value from registry_settings where account = $1 and region = $2 and name = $3"

// readSetting returns "" for a setting that was never made.
func (r *Registry) readSetting(ctx context.Context, p arn.Place, name string) (string, error) {
	var v string
	err := r.db.QueryRow(ctx, []any{&v}, selectSetting, p.Account, p.Region, name)
	if sqldb.IsNoRows(err) {
		err = nil
	}
	return v, err
}

func txSetting(tx *sqldb.Tx, p arn.Place, name string) (string, error) {
	var v string
	err := tx.QueryRow([]any{&v}, selectSetting+"{forupdate}", p.Account, p.Region, name)
	if sqldb.IsNoRows(err) {
		err = nil
	}
	return v, err
}

func putSetting(tx *sqldb.Tx, p arn.Place, name, value string) error {
	_, err := tx.Exec(`insert into registry_settings (account, region, name, value) values ($1, $2, $3, $4)
		on conflict (account, region, name) do update set value = excluded.value`, p.Account, p.Region, name, value)
	return err
}
