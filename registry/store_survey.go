package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func (r *Registry) readUsage(ctx context.Context, a arn.Account) ([]Usage, error) {
	rows, err := r.db.Query(ctx, `select region, sum(n), sum(images), sum(bytes) from (
			select region, count(*) as n, sum(image_count) as images, 0 as bytes from repositories where account = $1 group by region
			union all select region, 0, 0, sum(size) from layers where account = $1 group by region) u
		group by region having sum(n) > 0 order by region`, a)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (Usage, error) {
		var u Usage
		return u, scan(&u.Region, &u.Repositories, &u.Images, &u.Bytes)
	})
}

// findRepositories reads a page in order of name and region. tag is looked for in the
// tags' JSON, which the caller looks at again.
func (r *Registry) findRepositories(ctx context.Context, f *Find, name, tag string, limit int) ([]*Found, error) {
	args := []any{f.Account, f.Region, f.After.Name, f.After.Region, name, tag, limit}
	named := ""
	if n := len(f.Names); n > 0 {
		in, width := inList(len(args)+1, n)
		named = " and r.name in " + in
		for i := range width {
			args = append(args, f.Names[min(i, n-1)])
		}
	}
	rows, err := r.db.Query(ctx, "select "+repositoryColumns+`,
			coalesce((select sum(l.size) from layers l where l.account = r.account and l.region = r.region and l.repo = r.id), 0),
			coalesce((select max(i.pushed_at) from images i where i.account = r.account and i.region = r.region and i.repo = r.id), 0)
		from repositories r where account = $1 and ($2 = '' or region = $2) and (name > $3 or name = $3 and region > $4)
			and ($5 = '' or name like $5 escape '\') and ($6 = '' or tags like $6 escape '\')`+named+`
		order by name, region limit $7`, args...)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Found, error) {
		var w repositoryRow
		var bytes, pushed int64
		if err := scan(append(w.dest(), &bytes, &pushed)...); err != nil {
			return nil, err
		}
		repo, err := w.repository()
		return &Found{Repository: repo, Bytes: bytes, PushedAt: sqldb.Time(pushed)}, err
	})
}

// findImages reads a page of images that people know by name: of those without tags no parts
// of indexes, and nothing that is attached to others. Of an index it reads the body.
func (r *Registry) findImages(ctx context.Context, rp *Repository, text string, after ImageKey, limit int) ([]*Image, error) {
	q := "select " + imageColumns + `, case when i.config_type = '' then i.body end from images i
		where i.account = $1 and i.region = $2 and i.repo = $3 and (i.tag_count > 0 or i.subject = ''
			and not exists (select 1 from image_refs x where x.account = i.account and x.region = i.region and x.repo = i.repo and x.ref = i.digest and x.kind = 'child'))`
	args := []any{rp.Place.Account, rp.Place.Region, rp.ID, limit, after.PushedAt, after.Digest, text}
	if after.Digest != "" {
		q += " and i.pushed_at <= $5 and (i.pushed_at < $5 or i.digest > $6)"
	} else {
		q += " and ($5 = 0 or $6 = '')"
	}
	if text != "" {
		q += ` and (i.digest like $7 escape '\' or exists (select 1 from tags t
			where t.account = i.account and t.region = i.region and t.repo = i.repo and t.digest = i.digest and t.tag like $7 escape '\'))`
	} else {
		q += " and $7 = ''"
	}
	rows, err := r.db.Query(ctx, q+" order by i.pushed_at desc, i.digest limit $4", args...)
	if err != nil {
		return nil, err
	}
	return scanImages(rows, true)
}

// countAttached counts what is attached to each of some images.
func (r *Registry) countAttached(ctx context.Context, rp *Repository, digests []string) (map[string]int64, error) {
	return r.byDigest(ctx, rp, "select subject, count(*) from images where account = $1 and region = $2 and repo = $3 and subject in %s group by subject", digests)
}

// imageSizes reads the sizes of images.
func (r *Registry) imageSizes(ctx context.Context, rp *Repository, digests []string) (map[string]int64, error) {
	return r.byDigest(ctx, rp, "select digest, size from images where account = $1 and region = $2 and repo = $3 and digest in %s", digests)
}

func (r *Registry) byDigest(ctx context.Context, rp *Repository, text string, digests []string) (map[string]int64, error) {
	out := map[string]int64{}
	for part := range slices.Chunk(digests, chunk) {
		in, width := inList(4, len(part))
		args := []any{rp.Place.Account, rp.Place.Region, rp.ID}
		for i := range width {
			args = append(args, part[min(i, len(part)-1)])
		}
		rows, err := r.db.Query(ctx, fmt.Sprintf(text, in), args...)
		type line struct {
			digest string
			n      int64
		}
		list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (line, error) {
			var l line
			return l, scan(&l.digest, &l.n)
		})
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			out[l.digest] = l.n
		}
	}
	return out, nil
}
