package registry

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func countTemplates(tx *sqldb.Tx, p arn.Place) (int64, error) {
	var n int64
	err := tx.QueryRow([]any{&n}, "select count(*) from templates where account = $1 and region = $2", p.Account, p.Region)
	return n, err
}

func insertTemplate(tx *sqldb.Tx, t *Template) error {
	spec, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = tx.Exec("insert into templates (account, region, prefix, created_at, updated_at, spec) values ($1, $2, $3, $4, $5, $6)",
		t.Place.Account, t.Place.Region, t.Prefix, sqldb.Micros(t.CreatedAt), sqldb.Micros(t.UpdatedAt), string(spec))
	return err
}

func updateTemplate(tx *sqldb.Tx, t *Template) error {
	spec, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = tx.Exec("update templates set spec = $1, updated_at = $2 where account = $3 and region = $4 and prefix = $5",
		string(spec), sqldb.Micros(t.UpdatedAt), t.Place.Account, t.Place.Region, t.Prefix)
	return err
}

func deleteTemplate(tx *sqldb.Tx, t *Template) error {
	_, err := tx.Exec("delete from templates where account = $1 and region = $2 and prefix = $3", t.Place.Account, t.Place.Region, t.Prefix)
	return err
}

func scanTemplate(scan func(...any) error, p arn.Place) (*Template, error) {
	t := &Template{Place: p}
	var created, updated int64
	var spec string
	if err := scan(&t.Prefix, &created, &updated, &spec); err != nil {
		return nil, err
	}
	t.CreatedAt, t.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return t, json.Unmarshal([]byte(spec), t)
}

// lockTemplate reads a template for change: TemplateNotFound.
func lockTemplate(tx *sqldb.Tx, p arn.Place, prefix string) (*Template, error) {
	t, err := scanTemplate(func(dest ...any) error {
		return tx.QueryRow(dest, "select prefix, created_at, updated_at, spec from templates where account = $1 and region = $2 and prefix = $3{forupdate}",
			p.Account, p.Region, prefix)
	}, p)
	if sqldb.IsNoRows(err) {
		return nil, errTemplateNotFound(p, prefix)
	}
	return t, err
}

func (r *Registry) listTemplates(ctx context.Context, p arn.Place, after string, limit int) ([]*Template, error) {
	rows, err := r.db.Query(ctx, `select prefix, created_at, updated_at, spec from templates
		where account = $1 and region = $2 and prefix > $3 order by prefix limit $4`, p.Account, p.Region, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Template
	for rows.Next() {
		t, err := scanTemplate(rows.Scan, p)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}
