package trail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func insertRecord(tx *sqldb.Tx, r *Record, body []byte) error {
	return tx.Run("insert into trail_recent (account, region, at, id, body, reads) values ($1, $2, $3, $4, $5, $6)", r.Place.Account, r.Place.Region, r.At.UnixMicro(), r.ID,
		string(body), sqldb.Flag(r.ReadOnly))
}

// update writes a record's body again, if it is not sealed yet.
func update(tx *sqldb.Tx, r *Record) error {
	return tx.Run("update trail_recent set body = $5 where account = $1 and region = $2 and at = $3 and id = $4",
		r.Place.Account, r.Place.Region, r.At.UnixMicro(), r.ID, string(r.encode()))
}

// key is a place in a trail: records go from the newest to the oldest.
type key struct {
	At int64  `json:"t"`
	ID string `json:"i"`
}

func (k key) before(o key) bool { return k.At < o.At || k.At == o.At && k.ID < o.ID }

// readRecent reads recent records before a key, the newest first: those with an
// attribute, unless it is "". They are few, so they are looked through.
func (t *Trail) readRecent(ctx context.Context, p arn.Place, attribute string, before key, since int64, limit int) ([]*Record, error) {
	size := limit
	if attribute != "" {
		size = segmentRecords
	}
	var out []*Record
	for {
		list, err := t.records(ctx, p, `select body from trail_recent where account = $1 and region = $2 and (at < $3 or at = $3 and id < $4) and at >= $5
			order by at desc, id desc limit $6`, p.Account, p.Region, before.At, before.ID, since, size)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if attribute == "" || slices.Contains(r.attributes(), attribute) {
				if out = append(out, r); len(out) == limit {
					return out, nil
				}
			}
		}
		if len(list) < size {
			return out, nil
		}
		before = keyOf(list[len(list)-1])
	}
}

// readOldest reads the oldest recent records, up to a time.
func (t *Trail) readOldest(ctx context.Context, p arn.Place, until int64, limit int) ([]*Record, error) {
	return t.records(ctx, p, "select body from trail_recent where account = $1 and region = $2 and at <= $3 order by at, id limit $4", p.Account, p.Region, until, limit)
}

func (t *Trail) records(ctx context.Context, p arn.Place, q string, args ...any) ([]*Record, error) {
	rows, err := t.db.Query(ctx, q, args...)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Record, error) {
		var body []byte
		if err := scan(&body); err != nil {
			return nil, err
		}
		r := &Record{Place: p}
		return r, json.Unmarshal(body, r)
	})
}

// fullPlaces are the trails whose recent records are many, or old.
func (t *Trail) fullPlaces(ctx context.Context, until, old int64, least int) ([]arn.Place, error) {
	rows, err := t.db.Query(ctx, `select account, region from trail_recent where at <= $1 group by account, region having count(*) >= $3 or min(at) <= $2`, until, old, least)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (arn.Place, error) {
		var p arn.Place
		return p, scan(&p.Account, &p.Region)
	})
}

// segmentRow is a stored segment.
type segmentRow struct {
	last, first key
	records     int
	body        []byte
	attributes  []string
	activity    map[activityKey]int64 // how many calls of each kind
}

// removeRows removes the rows that a segment was made of. It reports false when they
// were not the only ones in between.
func removeRows(tx *sqldb.Tx, p arn.Place, s *segmentRow) (bool, error) {
	n, err := tx.Exec(`delete from trail_recent where account = $1 and region = $2 and (at > $3 or at = $3 and id >= $4) and (at < $5 or at = $5 and id <= $6)`,
		p.Account, p.Region, s.first.At, s.first.ID, s.last.At, s.last.ID)
	return n == int64(s.records), err
}

func insertSegment(tx *sqldb.Tx, p arn.Place, s *segmentRow) error {
	if _, err := tx.Exec("insert into trail_segments (account, region, last_at, id, first_at, records, body) values ($1, $2, $3, $4, $5, $6, $7)",
		p.Account, p.Region, s.last.At, s.last.ID, s.first.At, s.records, s.body); err != nil {
		return err
	}
	for _, a := range s.attributes {
		if _, err := tx.Exec("insert into trail_attributes (account, region, attribute, last_at, segment_id) values ($1, $2, $3, $4, $5)",
			p.Account, p.Region, indexed(a), s.last.At, s.last.ID); err != nil {
			return err
		}
	}
	return addActivity(tx, p, s)
}

// indexed is an attribute as the index has it: long ones by their hash.
func indexed(a string) string {
	if len(a) <= 200 {
		return a
	}
	sum := sha256.Sum256([]byte(a))
	return a[:1] + "#" + hex.EncodeToString(sum[:])
}

// nextSegment reads the segment that ends next before a key, begins before a time and,
// unless attribute is "", has it; nil when there is none.
func (t *Trail) nextSegment(ctx context.Context, p arn.Place, attribute string, before key, begins int64) (*segmentRow, error) {
	s := &segmentRow{}
	dest := []any{&s.last.At, &s.last.ID, &s.first.At, &s.body}
	var err error
	if attribute == "" {
		err = t.db.QueryRow(ctx, dest, `select last_at, id, first_at, body from trail_segments
			where account = $1 and region = $2 and (last_at < $3 or last_at = $3 and id < $4) and first_at <= $5 order by last_at desc, id desc limit 1`,
			p.Account, p.Region, before.At, before.ID, begins)
	} else {
		err = t.db.QueryRow(ctx, dest, `select s.last_at, s.id, s.first_at, s.body from trail_attributes a
			join trail_segments s on s.account = a.account and s.region = a.region and s.last_at = a.last_at and s.id = a.segment_id
			where a.account = $1 and a.region = $2 and a.attribute = $6 and (a.last_at < $3 or a.last_at = $3 and a.segment_id < $4) and s.first_at <= $5
			order by a.last_at desc, a.segment_id desc limit 1`, p.Account, p.Region, before.At, before.ID, begins, indexed(attribute))
	}
	if sqldb.IsNoRows(err) {
		return nil, nil
	}
	return s, err
}

// readOne reads a recent record by its time and id, nil when it is not there.
func (t *Trail) readOne(ctx context.Context, p arn.Place, at time.Time, id string) (*Record, error) {
	list, err := t.records(ctx, p, "select body from trail_recent where account = $1 and region = $2 and at = $3 and id = $4", p.Account, p.Region, at.UnixMicro(), id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// forget removes segments that ended before a time, and recent records and counts as old.
func (t *Trail) forget(ctx context.Context, before time.Time) error {
	if err := t.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec("delete from trail_activity where hour < $1", before.UnixMicro())
		return err
	}); err != nil {
		return err
	}
	for {
		var n int64
		err := t.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
			var p arn.Place
			var k key
			err := tx.QueryRow([]any{&p.Account, &p.Region, &k.At, &k.ID}, "select account, region, last_at, id from trail_segments where last_at < $1 limit 1", before.UnixMicro())
			if sqldb.IsNoRows(err) {
				n, err = tx.Exec("delete from trail_recent where at < $1", before.UnixMicro())
				n = 0
				return err
			}
			if err != nil {
				return err
			}
			if n, err = tx.Exec("delete from trail_segments where account = $1 and region = $2 and last_at = $3 and id = $4", p.Account, p.Region, k.At, k.ID); err != nil {
				return err
			}
			_, err = tx.Exec("delete from trail_attributes where account = $1 and region = $2 and last_at = $3 and segment_id = $4", p.Account, p.Region, k.At, k.ID)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
