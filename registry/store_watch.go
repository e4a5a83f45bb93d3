package registry

import (
	"context"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// txWatched reads an image with claims and some of its tags, nil for none.
func txWatched(tx *sqldb.Tx, rp *Repository, digest string) (*Image, error) {
	var w imageRow
	var origin string
	err := tx.QueryRow(w.dest(&origin), "select "+imageColumns+", i.origin from images i where account = $1 and region = $2 and repo = $3 and digest = $4{forupdate}",
		rp.Place.Account, rp.Place.Region, rp.ID, digest)
	if sqldb.IsNoRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	i := w.image()
	if i.origin, err = claimsOf(origin); err != nil {
		return nil, err
	}
	rows, err := tx.Query("select tag from tags where account = $1 and region = $2 and repo = $3 and digest = $4 order by tag limit $5",
		rp.Place.Account, rp.Place.Region, rp.ID, digest, WatchedTags)
	if err != nil {
		return nil, err
	}
	i.Tags, err = scanStrings(rows)
	return i, err
}

// txLastWatched returns the last tag of an image of those that a Watcher is told:
// sql.ErrNoRows when it has fewer.
func txLastWatched(tx *sqldb.Tx, rp *Repository, digest string) (tag string, err error) {
	err = tx.QueryRow([]any{&tag}, "select tag from tags where account = $1 and region = $2 and repo = $3 and digest = $4 order by tag limit 1 offset $5",
		rp.Place.Account, rp.Place.Region, rp.ID, digest, WatchedTags-1)
	return tag, err
}

func (r *Registry) listDigests(ctx context.Context, rp *Repository, after string, limit int) ([]string, error) {
	rows, err := r.db.Query(ctx, "select digest from images where account = $1 and region = $2 and repo = $3 and digest > $4 order by digest limit $5",
		rp.Place.Account, rp.Place.Region, rp.ID, after, limit)
	if err != nil {
		return nil, err
	}
	return scanStrings(rows)
}

// listRegions steps from one region to the next along the key.
func (r *Registry) listRegions(ctx context.Context, a arn.Account) ([]arn.Region, error) {
	var out []arn.Region
	for at := arn.Region(""); ; {
		err := r.db.QueryRow(ctx, []any{&at}, "select region from repositories where account = $1 and region > $2 order by region limit 1", a, at)
		if sqldb.IsNoRows(err) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, at)
	}
}
