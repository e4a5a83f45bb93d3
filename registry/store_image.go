package registry

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/sqldb"
)

const imageColumns = "i.digest, i.media_type, i.artifact_type, i.config_type, i.subject, i.size, i.pushed_at, i.pulled_at, i.pushed_by"

type imageRow struct {
	Image
	pushed, pulled int64
}

func (w *imageRow) dest(more ...any) []any {
	return append([]any{&w.Digest, &w.MediaType, &w.ArtifactType, &w.ConfigType, &w.Subject, &w.Size, &w.pushed, &w.pulled, &w.PushedBy}, more...)
}

func (w *imageRow) image() *Image {
	w.PushedAt, w.PulledAt = sqldb.Time(w.pushed), sqldb.Time(w.pulled)
	return &w.Image
}

// chunk bounds how many values one statement takes.
const chunk = 256

// inList makes "($4, $5, …)" for n values from placeholder first on. n is rounded
// up to a power of two so that few texts are prepared; pad fills the rest.
func inList(first, n int) (text string, width int) {
	width = 1
	for width < n {
		width *= 2
	}
	var b strings.Builder
	b.WriteByte('(')
	for i := range width {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	b.WriteByte(')')
	return b.String(), width
}

// selectIn runs a text ending in "in " with lists of digests and hands each row
// (digest, number) to the result.
func selectIn(tx *sqldb.Tx, rp *Repository, text, after string, of []manifest.Descriptor) (map[string]int64, error) {
	out := map[string]int64{}
	for len(of) > 0 {
		n := min(len(of), chunk)
		list, width := inList(4, n)
		args := []any{rp.Place.Account, rp.Place.Region, rp.ID}
		for i := range width {
			args = append(args, of[min(i, n-1)].Digest)
		}
		of = of[n:]
		rows, err := tx.Query(text+list+after, args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var d string
			var v int64
			if err := rows.Scan(&d, &v); err != nil {
				rows.Close()
				return nil, err
			}
			out[d] = v
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func txLayerSizes(tx *sqldb.Tx, rp *Repository, of []manifest.Descriptor) (map[string]int64, error) {
	return selectIn(tx, rp, "select digest, size from layers where account = $1 and region = $2 and repo = $3 and digest in ", "{forshare}", of)
}

func txImageDepths(tx *sqldb.Tx, rp *Repository, of []manifest.Descriptor) (map[string]int64, error) {
	return selectIn(tx, rp, "select digest, depth from images where account = $1 and region = $2 and repo = $3 and digest in ", "{forshare}", of)
}

// txTag returns the digest that a tag is on, "" for none.
func txTag(tx *sqldb.Tx, rp *Repository, tag string) (string, error) {
	if tag == "" {
		return "", nil
	}
	var d string
	err := tx.QueryRow([]any{&d}, "select digest from tags where account = $1 and region = $2 and repo = $3 and tag = $4{forupdate}",
		rp.Place.Account, rp.Place.Region, rp.ID, tag)
	if sqldb.IsNoRows(err) {
		return "", nil
	}
	return d, err
}

// txImageState returns the media type of an image, "" for no such image, and how many tags
// it has.
func txImageState(tx *sqldb.Tx, rp *Repository, digest string) (mediaType string, tags int64, err error) {
	err = tx.QueryRow([]any{&mediaType, &tags}, "select media_type, tag_count from images where account = $1 and region = $2 and repo = $3 and digest = $4{forupdate}",
		rp.Place.Account, rp.Place.Region, rp.ID, digest)
	if sqldb.IsNoRows(err) {
		return "", 0, nil
	}
	return mediaType, tags, err
}

// txImage returns an image with its body, nil for none.
func txImage(tx *sqldb.Tx, rp *Repository, digest string) (*Image, error) {
	var w imageRow
	err := tx.QueryRow(w.dest(&w.Body), "select "+imageColumns+", i.body from images i where account = $1 and region = $2 and repo = $3 and digest = $4{forupdate}",
		rp.Place.Account, rp.Place.Region, rp.ID, digest)
	if sqldb.IsNoRows(err) {
		return nil, nil
	}
	return w.image(), err
}

func txTagsOf(tx *sqldb.Tx, rp *Repository, digest string) ([]string, error) {
	rows, err := tx.Query("select tag from tags where account = $1 and region = $2 and repo = $3 and digest = $4 order by tag",
		rp.Place.Account, rp.Place.Region, rp.ID, digest)
	if err != nil {
		return nil, err
	}
	return scanStrings(rows)
}

func scanStrings(rows *sqldb.Rows) ([]string, error) {
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

// txReferenced reports whether an index in the repository needs an image.
func txReferenced(tx *sqldb.Tx, rp *Repository, digest string) (bool, error) {
	var n int
	err := tx.QueryRow([]any{&n}, "select 1 from image_refs where account = $1 and region = $2 and repo = $3 and ref = $4 and kind = 'child' limit 1",
		rp.Place.Account, rp.Place.Region, rp.ID, digest)
	if sqldb.IsNoRows(err) {
		return false, nil
	}
	return err == nil, err
}

func insertImage(tx *sqldb.Tx, rp *Repository, i *Image, depth int64) error {
	return tx.Run(`insert into images (account, region, repo, digest, media_type, artifact_type, config_type, subject, depth, size,
		tag_count, pushed_at, pulled_at, pushed_by, body, origin) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, 0, $12, $13, $14)`,
		rp.Place.Account, rp.Place.Region, rp.ID, i.Digest, i.MediaType, i.ArtifactType, i.ConfigType, i.Subject, depth, i.Size,
		sqldb.Micros(i.PushedAt), i.PushedBy, i.Body, originText(i.origin))
}

func originText(claims map[string]string) string {
	if len(claims) == 0 {
		return ""
	}
	return sqldb.JSON(claims)
}

func (r *Registry) readOrigin(ctx context.Context, rp *Repository, digest string) (text string, err error) {
	err = r.db.QueryRow(ctx, []any{&text}, "select origin from images where account = $1 and region = $2 and repo = $3 and digest = $4",
		rp.Place.Account, rp.Place.Region, rp.ID, digest)
	return text, err
}

func insertReferences(tx *sqldb.Tx, rp *Repository, digest string, m *manifest.Manifest) error {
	type ref struct{ digest, kind string }
	var refs []ref
	for _, b := range m.Blobs {
		refs = append(refs, ref{b.Digest, "blob"})
	}
	for _, c := range m.Children {
		refs = append(refs, ref{c.Digest, "child"})
	}
	for len(refs) > 0 {
		n := min(len(refs), 8)
		var b strings.Builder
		b.WriteString("insert into image_refs (account, region, repo, digest, ref, kind) values ")
		args := []any{rp.Place.Account, rp.Place.Region, rp.ID, digest}
		for i, r := range refs[:n] {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "($1, $2, $3, $4, $%d, $%d)", len(args)+1, len(args)+2)
			args = append(args, r.digest, r.kind)
		}
		refs = refs[n:]
		if err := tx.Run(b.String(), args...); err != nil {
			return err
		}
	}
	return nil
}

func removeReferences(tx *sqldb.Tx, rp *Repository, digest string, m *manifest.Manifest) error {
	for _, list := range [][]manifest.Descriptor{m.Blobs, m.Children} {
		for len(list) > 0 {
			n := min(len(list), chunk)
			in, width := inList(5, n)
			args := []any{rp.Place.Account, rp.Place.Region, rp.ID, digest}
			for i := range width {
				args = append(args, list[min(i, n-1)].Digest)
			}
			list = list[n:]
			if err := tx.Run("delete from image_refs where account = $1 and region = $2 and repo = $3 and digest = $4 and ref in "+in, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeImage(tx *sqldb.Tx, rp *Repository, digest string) error {
	return tx.Run("delete from images where account = $1 and region = $2 and repo = $3 and digest = $4", rp.Place.Account, rp.Place.Region, rp.ID, digest)
}

// addImageCount changes a repository's count; with a limit, not above it.
func addImageCount(tx *sqldb.Tx, rp *Repository, by, limit int64) (int64, error) {
	q := "update repositories set image_count = image_count + $1 where account = $2 and region = $3 and name = $4 and id = $5"
	args := []any{by, rp.Place.Account, rp.Place.Region, rp.Name, rp.ID}
	if limit > 0 {
		q += " and image_count < $6"
		args = append(args, limit)
	}
	return tx.Exec(q, args...)
}

// insertTag makes a tag, unless there is one: then n will be 0 (Tx.RunCount).
func insertTag(tx *sqldb.Tx, n *int64, rp *Repository, tag, digest string, now int64) error {
	return tx.RunCount(n, `insert into tags (account, region, repo, tag, digest, moved_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (account, region, repo, tag) do nothing`, rp.Place.Account, rp.Place.Region, rp.ID, tag, digest, now)
}

// updateTag moves a tag, unless it is elsewhere by now: then n will be 0 (Tx.RunCount).
func updateTag(tx *sqldb.Tx, n *int64, rp *Repository, tag, old, digest string, now int64) error {
	return tx.RunCount(n, "update tags set digest = $1, moved_at = $2 where account = $3 and region = $4 and repo = $5 and tag = $6 and digest = $7",
		digest, now, rp.Place.Account, rp.Place.Region, rp.ID, tag, old)
}

func removeTag(tx *sqldb.Tx, rp *Repository, tag string) error {
	return tx.Run("delete from tags where account = $1 and region = $2 and repo = $3 and tag = $4", rp.Place.Account, rp.Place.Region, rp.ID, tag)
}

// removeTagsOf removes the tags of an image by their names: by digest SQLite would
// walk all tags of the repository.
func removeTagsOf(tx *sqldb.Tx, rp *Repository, tags []string) error {
	for len(tags) > 0 {
		n := min(len(tags), chunk)
		in, width := inList(4, n)
		args := []any{rp.Place.Account, rp.Place.Region, rp.ID}
		for i := range width {
			args = append(args, tags[min(i, n-1)])
		}
		tags = tags[n:]
		if err := tx.Run("delete from tags where account = $1 and region = $2 and repo = $3 and tag in "+in, args...); err != nil {
			return err
		}
	}
	return nil
}

func countTags(tx *sqldb.Tx, rp *Repository, digest string, by int64) error {
	return tx.Run("update images set tag_count = tag_count + $1 where account = $2 and region = $3 and repo = $4 and digest = $5",
		by, rp.Place.Account, rp.Place.Region, rp.ID, digest)
}

// addTagCount counts one more tag on an image, up to a limit.
func addTagCount(tx *sqldb.Tx, rp *Repository, digest string, limit int64) (int64, error) {
	return tx.Exec(`update images set tag_count = tag_count + 1 where account = $1 and region = $2 and repo = $3 and digest = $4
		and tag_count < $5`, rp.Place.Account, rp.Place.Region, rp.ID, digest, limit)
}

// readImage finds an image and its body in one statement. found says whether the
// repository exists.
func (r *Registry) readImage(ctx context.Context, p arn.Place, repo string, id ImageID) (img *Image, found bool, err error) {
	var w imageRow
	var (
		digest, mediaType, artifact, config, subject, by, tag sql.NullString
		size, pushed, pulled                                  sql.NullInt64
	)
	dest := []any{&digest, &mediaType, &artifact, &config, &subject, &size, &pushed, &pulled, &by, &w.Body, &tag}
	const from = " from repositories r left join "
	if id.Tag != "" {
		err = r.db.QueryRow(ctx, dest, "select "+imageColumns+", i.body, t.tag"+from+`tags t on t.account = r.account and t.region = r.region
			and t.repo = r.id and t.tag = $4 left join images i on i.account = t.account and i.region = t.region and i.repo = t.repo and i.digest = t.digest
			where r.account = $1 and r.region = $2 and r.name = $3`, p.Account, p.Region, repo, id.Tag)
	} else {
		err = r.db.QueryRow(ctx, dest, "select "+imageColumns+", i.body, null"+from+`images i on i.account = r.account and i.region = r.region
			and i.repo = r.id and i.digest = $4 where r.account = $1 and r.region = $2 and r.name = $3`, p.Account, p.Region, repo, id.Digest)
	}
	switch {
	case sqldb.IsNoRows(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case !digest.Valid || (id.Digest != "" && id.Digest != digest.String):
		return nil, true, nil
	}
	w.Image = Image{Digest: digest.String, MediaType: mediaType.String, ArtifactType: artifact.String, ConfigType: config.String,
		Subject: subject.String, Size: size.Int64, PushedBy: by.String, Body: w.Body}
	if tag.Valid {
		w.Tags = []string{tag.String}
	}
	w.pushed, w.pulled = pushed.Int64, pulled.Int64
	return w.image(), true, nil
}

func scanImages(rows *sqldb.Rows, body bool) ([]*Image, error) {
	defer rows.Close()
	var out []*Image
	for rows.Next() {
		var w imageRow
		dest := w.dest()
		if body {
			dest = w.dest(&w.Body)
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		out = append(out, w.image())
	}
	return out, rows.Err()
}

func (r *Registry) listImages(ctx context.Context, rp *Repository, status TagStatus, after ImageKey, limit int) ([]*Image, error) {
	q := "select " + imageColumns + " from images i where account = $1 and region = $2 and repo = $3"
	args := []any{rp.Place.Account, rp.Place.Region, rp.ID, limit}
	if after.Digest != "" {
		q += " and pushed_at <= $5 and (pushed_at < $5 or digest > $6)"
		args = append(args, after.PushedAt, after.Digest)
	}
	switch status {
	case Tagged:
		q += " and tag_count > 0"
	case Untagged:
		q += " and tag_count = 0"
	}
	rows, err := r.db.Query(ctx, q+" order by pushed_at desc, digest limit $4", args...)
	if err != nil {
		return nil, err
	}
	return scanImages(rows, false)
}

// fillTags reads the tags of a page of images.
func (r *Registry) fillTags(ctx context.Context, rp *Repository, list []*Image) error {
	byDigest := make(map[string]*Image, len(list))
	for _, i := range list {
		byDigest[i.Digest] = i
	}
	all := list
	for len(list) > 0 {
		n := min(len(list), chunk)
		in, width := inList(4, n)
		args := []any{rp.Place.Account, rp.Place.Region, rp.ID}
		for i := range width {
			args = append(args, list[min(i, n-1)].Digest)
		}
		list = list[n:]
		// Asked for an order, SQLite would go through all tags of the repository.
		rows, err := r.db.Query(ctx, "select digest, tag from tags where account = $1 and region = $2 and repo = $3 and digest in "+in, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var d, t string
			if err := rows.Scan(&d, &t); err != nil {
				rows.Close()
				return err
			}
			byDigest[d].Tags = append(byDigest[d].Tags, t)
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
	}
	for _, i := range all {
		slices.Sort(i.Tags)
	}
	return nil
}

func (r *Registry) listTags(ctx context.Context, rp *Repository, after string, limit int) ([]ImageRef, error) {
	rows, err := r.db.Query(ctx, "select digest, tag from tags where account = $1 and region = $2 and repo = $3 and tag > $4 order by tag limit $5",
		rp.Place.Account, rp.Place.Region, rp.ID, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ImageRef
	for rows.Next() {
		var ref ImageRef
		if err := rows.Scan(&ref.Digest, &ref.Tag); err != nil {
			return nil, err
		}
		out = append(out, ref)
	}
	return out, rows.Err()
}

func (r *Registry) listUntagged(ctx context.Context, rp *Repository, after string, limit int) ([]ImageRef, error) {
	rows, err := r.db.Query(ctx, `select digest from images where account = $1 and region = $2 and repo = $3 and tag_count = 0 and digest > $4
		order by digest limit $5`, rp.Place.Account, rp.Place.Region, rp.ID, after, limit)
	if err != nil {
		return nil, err
	}
	list, err := scanStrings(rows)
	var out []ImageRef
	for _, d := range list {
		out = append(out, ImageRef{Digest: d})
	}
	return out, err
}

// listTagNames reads a page of tags as one row, which is several times faster
// than a row each; tags hold no commas. found says whether the repository exists.
func (r *Registry) listTagNames(ctx context.Context, p arn.Place, repo, after string, limit int) (tags []string, found bool, err error) {
	var joined sql.NullString
	err = r.db.QueryRow(ctx, []any{&joined}, `select (select string_agg(tag, ',') from (select t.tag from tags t
		where t.account = r.account and t.region = r.region and t.repo = r.id and t.tag > $4 order by t.tag limit $5) page)
		from repositories r where r.account = $1 and r.region = $2 and r.name = $3`, p.Account, p.Region, repo, after, limit)
	if sqldb.IsNoRows(err) {
		return nil, false, nil
	}
	if joined.String == "" {
		return []string{}, true, err
	}
	tags = strings.Split(joined.String, ",")
	slices.Sort(tags) // both engines aggregate in the subquery's order, and neither promises it
	return tags, true, err
}

func (r *Registry) listReferrers(ctx context.Context, rp *Repository, subject string, types []string, after string, limit int) ([]*Image, error) {
	q := "select " + imageColumns + ", i.body from images i where account = $1 and region = $2 and repo = $3 and subject = $4 and subject <> '' and digest > $5"
	args := []any{rp.Place.Account, rp.Place.Region, rp.ID, subject, after, limit}
	if len(types) > 0 {
		in, width := inList(7, len(types))
		q += " and artifact_type in " + in
		for i := range width {
			args = append(args, types[min(i, len(types)-1)])
		}
	}
	rows, err := r.db.Query(ctx, q+" order by digest limit $6", args...)
	if err != nil {
		return nil, err
	}
	return scanImages(rows, true)
}
