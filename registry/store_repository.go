package registry

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

const repositoryColumns = `r.account, r.region, r.name, r.id, r.created_at, r.mutability, r.exclusions, r.scan, r.encryption, r.kms_key,
	r.policy, r.lifecycle, r.lifecycle_evaluated_at, r.tags, r.template, r.version, r.image_count`

// repositoryRow receives the columns; repository makes sense of them.
type repositoryRow struct {
	Repository
	createdAt, evaluatedAt, scan int64
	exclusions, tags             string
}

func (w *repositoryRow) dest() []any {
	return []any{&w.Place.Account, &w.Place.Region, &w.Name, &w.ID, &w.createdAt, &w.Tags.Mode, &w.exclusions, &w.scan, &w.Encryption, &w.KMSKey,
		&w.Policy, &w.Lifecycle, &w.evaluatedAt, &w.tags, &w.Template, &w.version, &w.Images}
}

func (w *repositoryRow) repository() (*Repository, error) {
	w.CreatedAt, w.EvaluatedAt, w.ScanOnPush = sqldb.Time(w.createdAt), sqldb.Time(w.evaluatedAt), w.scan != 0
	if w.exclusions != "[]" {
		if err := json.Unmarshal([]byte(w.exclusions), &w.Tags.Exclusions); err != nil {
			return nil, err
		}
	}
	w.Resource = map[string]string{}
	if w.tags != "{}" {
		if err := json.Unmarshal([]byte(w.tags), &w.Resource); err != nil {
			return nil, err
		}
	}
	return &w.Repository, nil
}

func countRepositories(tx *sqldb.Tx, p arn.Place, limit int64) (int64, error) {
	// Counting stops at the limit, and the key's order makes it a walk of an
	// index: at 100,000 names some milliseconds, which allowances spare most of the time.
	var n int64
	err := tx.QueryRow([]any{&n}, `select count(*) from (select 1 as one from repositories where account = $1 and region = $2 limit $3) c`,
		p.Account, p.Region, limit)
	return n, err
}

// readCreatedBy reads what is kept of a repository's making.
func (r *Registry) readCreatedBy(ctx context.Context, repo *Repository) (text string, err error) {
	err = r.db.QueryRow(ctx, []any{&text}, "select created_by from repositories where account = $1 and region = $2 and name = $3", repo.Place.Account,
		repo.Place.Region, repo.Name)
	return text, err
}

func insertRepository(tx *sqldb.Tx, r *Repository, by string) error {
	_, err := tx.Exec(`insert into repositories (account, region, name, id, created_at, mutability, exclusions, scan, encryption, kms_key,
		policy, lifecycle, lifecycle_evaluated_at, tags, template, version, image_count, created_by)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, $14, 0, 0, $15)`,
		r.Place.Account, r.Place.Region, r.Name, r.ID, sqldb.Micros(r.CreatedAt), r.Tags.Mode, sqldb.JSON(r.Tags.Exclusions), sqldb.Flag(r.ScanOnPush),
		r.Encryption, r.KMSKey, r.Policy, r.Lifecycle, sqldb.JSON(r.Resource), r.Template, by)
	return err
}

func (r *Registry) readRepository(ctx context.Context, p arn.Place, name string) (*Repository, error) {
	var w repositoryRow
	if err := r.db.QueryRow(ctx, w.dest(), "select "+repositoryColumns+" from repositories r where account = $1 and region = $2 and name = $3",
		p.Account, p.Region, name); err != nil {
		return nil, err
	}
	return w.repository()
}

func (r *Registry) listRepositories(ctx context.Context, p arn.Place, after string, limit int) ([]*Repository, error) {
	rows, err := r.db.Query(ctx, "select "+repositoryColumns+` from repositories r
		where account = $1 and region = $2 and name > $3 order by name limit $4`, p.Account, p.Region, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Repository
	for rows.Next() {
		var w repositoryRow
		if err := rows.Scan(w.dest()...); err != nil {
			return nil, err
		}
		repo, err := w.repository()
		if err != nil {
			return nil, err
		}
		out = append(out, repo)
	}
	return out, rows.Err()
}

// lockRepository reads a repository for change: RepositoryNotFound.
func lockRepository(tx *sqldb.Tx, p arn.Place, name string) (*Repository, error) {
	return txRepository(tx, p, name, "{forupdate}")
}

// holdRepository reads a repository and keeps it from being deleted until the
// transaction ends: RepositoryNotFound.
func holdRepository(tx *sqldb.Tx, p arn.Place, name string) (*Repository, error) {
	return txRepository(tx, p, name, "{forshare}")
}

func txRepository(tx *sqldb.Tx, p arn.Place, name, lock string) (*Repository, error) {
	var w repositoryRow
	err := tx.QueryRow(w.dest(), "select "+repositoryColumns+" from repositories r where account = $1 and region = $2 and name = $3"+lock,
		p.Account, p.Region, name)
	if sqldb.IsNoRows(err) {
		return nil, errRepositoryNotFound(p, name)
	}
	if err != nil {
		return nil, err
	}
	return w.repository()
}

func updateRepository(tx *sqldb.Tx, r *Repository) error {
	_, err := tx.Exec(`update repositories set mutability = $1, exclusions = $2, scan = $3, policy = $4, lifecycle = $5,
		lifecycle_evaluated_at = $6, tags = $7, version = version + 1 where account = $8 and region = $9 and name = $10 and id = $11`,
		r.Tags.Mode, sqldb.JSON(r.Tags.Exclusions), sqldb.Flag(r.ScanOnPush), r.Policy, r.Lifecycle, evaluated(r), sqldb.JSON(r.Resource),
		r.Place.Account, r.Place.Region, r.Name, r.ID)
	return err
}

func evaluated(r *Repository) int64 {
	if r.EvaluatedAt.IsZero() {
		return 0
	}
	return sqldb.Micros(r.EvaluatedAt)
}

// deleteRepository makes a repository and everything in it invisible at once;
// the rows below it are cleared away later.
func deleteRepository(tx *sqldb.Tx, r *Repository, now int64) error {
	if _, err := tx.Exec("delete from repositories where account = $1 and region = $2 and name = $3 and id = $4",
		r.Place.Account, r.Place.Region, r.Name, r.ID); err != nil {
		return err
	}
	_, err := tx.Exec("insert into purges (account, region, repo, deleted_at) values ($1, $2, $3, $4)", r.Place.Account, r.Place.Region, r.ID, now)
	return err
}
