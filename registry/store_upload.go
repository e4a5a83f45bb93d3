package registry

import (
	"context"
	"database/sql"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/sqldb"
)

// uploadRow is a stored upload.
type uploadRow struct {
	repo      int64
	node      string
	started   time.Time
	saved     time.Time
	parts     int64
	short     bool
	lastShort bool
	state     blob.State
}

// The bits of uploads.short_part.
const (
	shortBefore = 1 << iota // a part before the last is under the least size
	shortLast               // the last part is
)

// save writes where an upload stands, so that it can go on after this process is
// gone, or on another node.
func (r *Registry) save(ctx context.Context, s *session) error {
	st, err := s.up.State()
	if err != nil {
		return storage(err)
	}
	now := r.now().Truncate(time.Microsecond)
	err = r.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		return tx.Run(`insert into uploads (account, region, id, repo, principal, node, started_at, used_at, size, parts, short_part,
			store_key, hash, tail, data_key, encryption, nonce)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
			on conflict (account, region, id) do update set node = excluded.node, used_at = excluded.used_at, size = excluded.size,
			parts = excluded.parts, short_part = excluded.short_part, store_key = excluded.store_key, hash = excluded.hash, tail = excluded.tail,
			data_key = excluded.data_key, nonce = excluded.nonce`,
			s.ref.Place.Account, s.ref.Place.Region, s.ref.ID, s.repo, s.ref.Principal, r.node, sqldb.Micros(s.started), sqldb.Micros(now), st.Size, s.parts,
			sqldb.Flag(s.short)*shortBefore|sqldb.Flag(s.lastShort)*shortLast, st.Key, st.Hash, st.Tail, st.DataKey, st.Encrypted, st.Nonce)
	})
	if err != nil {
		return storage(err)
	}
	s.persisted, s.saved = true, now
	return nil
}

// readUpload reads what there is of an upload of exactly this repository and principal: its
// row, or nil and the repository if nothing is written of it. An upload that has ended, and
// one of another beginning, is sql.ErrNoRows, and so is one of a repository that is gone.
func (r *Registry) readUpload(ctx context.Context, ref UploadRef) (*uploadRow, home, error) {
	var h home
	var row, node, principal, key, encryption, ended sql.NullString
	var repo, started, used, size, parts, short sql.NullInt64
	var st blob.State
	err := r.db.QueryRow(ctx, []any{&h.id, &h.kmsKey, &row, &node, &principal, &repo, &started, &used, &size, &parts, &short,
		&key, &st.Hash, &st.Tail, &st.DataKey, &encryption, &st.Nonce, &ended}, `select r.id, r.kms_key, u.id, u.node, u.principal, u.repo,
		u.started_at, u.used_at, u.size, u.parts, u.short_part, u.store_key, u.hash, u.tail, u.data_key, u.encryption, u.nonce, e.id
		from repositories r left join uploads u on u.account = r.account and u.region = r.region and u.id = $4
		left join ended_uploads e on e.id = $4 where r.account = $1 and r.region = $2 and r.name = $3`,
		ref.Place.Account, ref.Place.Region, ref.Repository, ref.ID)
	switch {
	case err != nil:
		return nil, home{}, err
	case ended.Valid, row.Valid && (repo.Int64 != h.id || principal.String != ref.Principal):
		return nil, home{}, sql.ErrNoRows
	case !row.Valid:
		return nil, h, nil
	}
	st.Size, st.Key, st.Encrypted = size.Int64, key.String, encryption.String
	return &uploadRow{repo: h.id, node: node.String, started: sqldb.Time(started.Int64), saved: sqldb.Time(used.Int64), parts: parts.Int64,
		short: short.Int64&shortBefore != 0, lastShort: short.Int64&shortLast != 0, state: st}, h, nil
}

// isCurrent reports whether what this process knows of an upload is all there is: no other
// has written to it, or ended it.
func (r *Registry) isCurrent(ctx context.Context, s *session) (bool, error) {
	var node string
	var used int64
	err := r.db.QueryRow(ctx, []any{&node, &used}, `select node, used_at from uploads where account = $1 and region = $2 and id = $3
		union all select '', 0 from ended_uploads where id = $3 order by 2 limit 1`, s.ref.Place.Account, s.ref.Place.Region, s.ref.ID)
	if sqldb.IsNoRows(err) {
		return !s.persisted, nil
	}
	return s.persisted && node == r.node && used == sqldb.Micros(s.saved), err
}

// txEndUpload removes what is written of an upload, and where its id would let it go on writes
// that it has ended.
func (r *Registry) txEndUpload(tx *sqldb.Tx, ref UploadRef, persisted bool) error {
	if persisted {
		if err := tx.Run("delete from uploads where account = $1 and region = $2 and id = $3", ref.Place.Account, ref.Place.Region, ref.ID); err != nil {
			return err
		}
	}
	if r.db.SingleProcess() {
		return nil
	}
	return tx.Run("insert into ended_uploads (id) values ($1) on conflict do nothing", ref.ID)
}

// endUpload is txEndUpload in a transaction of its own, if there is anything to write.
func (r *Registry) endUpload(ctx context.Context, ref UploadRef, persisted bool) error {
	if !persisted && r.db.SingleProcess() {
		return nil
	}
	return r.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error { return r.txEndUpload(tx, ref, persisted) })
}

// forgetEnded removes up to limit of the ended uploads that began before a time, and returns
// how many they were.
func (r *Registry) forgetEnded(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = r.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		n, err = tx.Exec("delete from ended_uploads where id in (select id from ended_uploads where id < $1 order by id limit $2)", beganBefore(before), limit)
		return err
	})
	return n, err
}

// staleUpload is an upload nobody used for long, or of a deleted repository.
type staleUpload struct {
	ref UploadRef
	key string
}

// staleUploads lists uploads not used since before, oldest first.
func (r *Registry) staleUploads(ctx context.Context, before int64, limit int) ([]staleUpload, error) {
	rows, err := r.db.Query(ctx, "select account, region, id, store_key from uploads where used_at < $1 order by used_at limit $2", before, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []staleUpload
	for rows.Next() {
		var u staleUpload
		if err := rows.Scan(&u.ref.Place.Account, &u.ref.Place.Region, &u.ref.ID, &u.key); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, rows.Err()
}

// claimUpload removes a stale upload's row, unless it was used meanwhile.
func (r *Registry) claimUpload(ctx context.Context, u staleUpload, before int64) (bool, error) {
	var n int64
	err := r.db.Write(ctx, func(tx *sqldb.Tx) error {
		var err error
		n, err = tx.Exec("delete from uploads where account = $1 and region = $2 and id = $3 and used_at < $4", u.ref.Place.Account, u.ref.Place.Region, u.ref.ID, before)
		return err
	})
	return n > 0, err
}

// leftover is a repository that a template made and nobody filled.
type leftover struct {
	place arn.Place
	name  string
	id    int64
}

// leftovers lists repositories made by templates before a time that hold no
// image, are as they were made, and had no upload and no new layer since.
func (r *Registry) leftovers(ctx context.Context, before int64, limit int) ([]leftover, error) {
	rows, err := r.db.Query(ctx, `select account, region, name, id from repositories r where template <> '' and image_count = 0 and version = 0
		and created_at < $1 and `+unused+" limit $2", before, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []leftover
	for rows.Next() {
		var l leftover
		if err := rows.Scan(&l.place.Account, &l.place.Region, &l.name, &l.id); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

const unused = `not exists (select 1 from uploads u where u.account = r.account and u.region = r.region and u.repo = r.id)
	and not exists (select 1 from layers l where l.account = r.account and l.region = r.region and l.repo = r.id and l.linked_at >= $1)`

// removeLeftover deletes a leftover unless it came to use meanwhile.
func (r *Registry) removeLeftover(ctx context.Context, l leftover, before, now int64) error {
	return r.write(ctx, func(tx *sqldb.Tx) error {
		rp, err := lockRepository(tx, l.place, l.name)
		if CodeOf(err) == RepositoryNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		var one int
		err = tx.QueryRow([]any{&one}, `select 1 from repositories r where image_count = 0 and version = 0 and id = $5
			and account = $2 and region = $3 and name = $4 and `+unused, before, l.place.Account, l.place.Region, l.name, l.id)
		if sqldb.IsNoRows(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return r.deleteRepository(tx, rp, now)
	})
}

// purge is a deleted repository whose rows are still there.
type purge struct {
	place arn.Place
	repo  int64
}

func (r *Registry) purges(ctx context.Context, limit int) ([]purge, error) {
	rows, err := r.db.Query(ctx, "select account, region, repo from purges limit $1", limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []purge
	for rows.Next() {
		var p purge
		if err := rows.Scan(&p.place.Account, &p.place.Region, &p.repo); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// purgeSome clears up to limit rows of each table below a deleted repository and
// reports whether all are gone.
func (r *Registry) purgeSome(ctx context.Context, p purge, limit int) (done bool, err error) {
	err = r.db.Write(ctx, func(tx *sqldb.Tx) error {
		done = true
		for _, t := range [][2]string{{"tags", "tag"}, {"image_refs", "ref, digest"}, {"layers", "digest"}, {"images", "digest"}, {"uploads", "id"}} {
			// Table and key are constants of this list.
			where := " where account = $1 and region = $2 and repo = $3"
			n, err := tx.Exec("delete from "+t[0]+where+" and ("+t[1]+") in (select "+t[1]+" from "+t[0]+where+" limit $4)",
				p.place.Account, p.place.Region, p.repo, limit)
			if err != nil {
				return err
			}
			done = done && n < int64(limit)
		}
		if done {
			_, err := tx.Exec("delete from purges where account = $1 and region = $2 and repo = $3", p.place.Account, p.place.Region, p.repo)
			return err
		}
		return nil
	})
	return done, err
}
