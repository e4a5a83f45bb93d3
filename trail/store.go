package trail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func insertRecord(tx *sqldb.Tx, r *Record, body []byte) error {
	var names strings.Builder
	for _, x := range r.Resources() {
		for _, s := range []string{byResource + x.Name, byResource + x.ARN, byType + x.Type} {
			names.WriteString("\n" + s + "\n")
		}
	}
	readOnly := 0
	if r.ReadOnly {
		readOnly = 1
	}
	_, err := tx.Exec(`insert into trail_recent (account, region, at, id, name, source, read_only, username, access_key, resources, body)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, r.Place.Account, r.Place.Region, r.At.UnixMicro(), r.ID, r.Name, r.Source, readOnly,
		r.Who.Username(), r.Who.AccessKeyID, names.String(), string(body))
	return err
}

// update writes a record's body again, if it is not sealed yet.
func update(tx *sqldb.Tx, r *Record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return nil // the response is not JSON; the record stays as it was
	}
	_, err = tx.Exec("update trail_recent set body = $5 where account = $1 and region = $2 and at = $3 and id = $4",
		r.Place.Account, r.Place.Region, r.At.UnixMicro(), r.ID, string(body))
	return err
}

// key is a place in a trail: records go from the newest to the oldest.
type key struct {
	At int64  `json:"t"`
	ID string `json:"i"`
}

func (k key) before(o key) bool { return k.At < o.At || k.At == o.At && k.ID < o.ID }

const columns = "select body from trail_recent where account = $1 and region = $2 and (at < $3 or at = $3 and id < $4) and at >= $5"

// filters are the conditions on recent records, by attribute.
var filters = map[string]string{byName: " and name = $6", bySource: " and source = $6", byUsername: " and username = $6",
	byAccessKey: " and access_key = $6", byReadOnly: " and read_only = $6", byResource: " and resources like $6", byType: " and resources like $6"}

// likeText escapes what LIKE takes for a pattern.
var likeText = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

// readRecent reads recent records before a key, the newest first.
func (t *Trail) readRecent(ctx context.Context, p arn.Place, attribute, value string, before key, since int64, limit int) ([]*Record, error) {
	q, args := columns, []any{p.Account, p.Region, before.At, before.ID, since}
	switch attribute {
	case "":
	case byResource, byType:
		q += filters[attribute] + ` escape '\'`
		args = append(args, "%\n"+likeText.Replace(attribute+value)+"\n%")
	case byReadOnly:
		n := 0
		if value == "true" {
			n = 1
		}
		q += filters[attribute]
		args = append(args, n)
	default:
		q += filters[attribute]
		args = append(args, value)
	}
	return t.records(ctx, p, q+fmt.Sprintf(" order by at desc, id desc limit %d", limit), args...)
}

// readOldest reads the oldest recent records, up to a time.
func (t *Trail) readOldest(ctx context.Context, p arn.Place, until int64, limit int) ([]*Record, error) {
	return t.records(ctx, p, "select body from trail_recent where account = $1 and region = $2 and at <= $3 order by at, id limit $4", p.Account, p.Region, until, limit)
}

func (t *Trail) records(ctx context.Context, p arn.Place, q string, args ...any) ([]*Record, error) {
	rows, err := t.db.Query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Record
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		r := &Record{Place: p}
		if err := json.Unmarshal(body, r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// fullPlaces are the trails with at least so many recent records up to a time.
func (t *Trail) fullPlaces(ctx context.Context, until int64, least int) ([]arn.Place, error) {
	rows, err := t.db.Query(ctx, "select account, region from trail_recent where at <= $1 group by account, region having count(*) >= $2", until, least)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []arn.Place
	for rows.Next() {
		var p arn.Place
		if err := rows.Scan(&p.Account, &p.Region); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// segmentRow is a stored segment.
type segmentRow struct {
	last, first key
	records     int
	body        []byte
	attributes  []string
}

// insertSegment puts a segment in the place of the rows that it was made of. It
// reports false when they were not the only ones in between.
func insertSegment(tx *sqldb.Tx, p arn.Place, s *segmentRow) (bool, error) {
	n, err := tx.Exec(`delete from trail_recent where account = $1 and region = $2 and (at > $3 or at = $3 and id >= $4) and (at < $5 or at = $5 and id <= $6)`,
		p.Account, p.Region, s.first.At, s.first.ID, s.last.At, s.last.ID)
	if err != nil || n != int64(s.records) {
		return false, err
	}
	if _, err := tx.Exec("insert into trail_segments (account, region, first_at, id, last_at, records, body) values ($1, $2, $3, $4, $5, $6, $7)",
		p.Account, p.Region, s.first.At, s.first.ID, s.last.At, s.records, s.body); err != nil {
		return false, err
	}
	for _, a := range s.attributes {
		if _, err := tx.Exec("insert into trail_attributes (account, region, attribute, first_at, segment_id) values ($1, $2, $3, $4, $5)",
			p.Account, p.Region, indexed(a), s.first.At, s.first.ID); err != nil {
			return false, err
		}
	}
	return true, nil
}

// indexed is an attribute as the index has it: long ones by their hash.
func indexed(a string) string {
	if len(a) <= 200 {
		return a
	}
	sum := sha256.Sum256([]byte(a))
	return a[:1] + "#" + hex.EncodeToString(sum[:])
}

// nextSegment reads the segment that begins next before a key and, unless attribute
// is "", has it; nil when there is none.
func (t *Trail) nextSegment(ctx context.Context, p arn.Place, attribute string, before key) (*segmentRow, error) {
	s := &segmentRow{}
	dest := []any{&s.first.At, &s.first.ID, &s.last.At, &s.body}
	var err error
	if attribute == "" {
		err = t.db.QueryRow(ctx, dest, `select first_at, id, last_at, body from trail_segments
			where account = $1 and region = $2 and (first_at < $3 or first_at = $3 and id < $4) order by first_at desc, id desc limit 1`,
			p.Account, p.Region, before.At, before.ID)
	} else {
		err = t.db.QueryRow(ctx, dest, `select s.first_at, s.id, s.last_at, s.body from trail_attributes a
			join trail_segments s on s.account = a.account and s.region = a.region and s.first_at = a.first_at and s.id = a.segment_id
			where a.account = $1 and a.region = $2 and a.attribute = $5 and (a.first_at < $3 or a.first_at = $3 and a.segment_id < $4)
			order by a.first_at desc, a.segment_id desc limit 1`, p.Account, p.Region, before.At, before.ID, indexed(attribute))
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

// forget removes segments that ended before a time, and recent records as old.
func (t *Trail) forget(ctx context.Context, before time.Time) error {
	for {
		var n int64
		err := t.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
			var p arn.Place
			var k key
			err := tx.QueryRow([]any{&p.Account, &p.Region, &k.At, &k.ID}, "select account, region, first_at, id from trail_segments where last_at < $1 limit 1", before.UnixMicro())
			if sqldb.IsNoRows(err) {
				n, err = tx.Exec("delete from trail_recent where at < $1", before.UnixMicro())
				n = 0
				return err
			}
			if err != nil {
				return err
			}
			if n, err = tx.Exec("delete from trail_segments where account = $1 and region = $2 and first_at = $3 and id = $4", p.Account, p.Region, k.At, k.ID); err != nil {
				return err
			}
			_, err = tx.Exec("delete from trail_attributes where account = $1 and region = $2 and first_at = $3 and segment_id = $4", p.Account, p.Region, k.At, k.ID)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
