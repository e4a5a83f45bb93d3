package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func fromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

const groupColumns = "name, id, retention, tags, class, created_at, bytes"

func scanGroup(p arn.Place, scan func(...any) error) (*Group, error) {
	g := &Group{Place: p, Tags: map[string]string{}}
	var tags string
	var created int64
	if err := scan(&g.Name, &g.id, &g.Retention, &tags, &g.Class, &created, &g.Bytes); err != nil {
		return nil, err
	}
	g.CreatedAt = fromMillis(created)
	return g, json.Unmarshal([]byte(tags), &g.Tags)
}

func (l *Logs) readGroup(ctx context.Context, p arn.Place, name string) (*Group, error) {
	return scanGroup(p, func(dest ...any) error {
		return l.db.QueryRow(ctx, dest, "select "+groupColumns+" from log_groups where account = $1 and region = $2 and name = $3", p.Account, p.Region, name)
	})
}

func lockGroup(tx *sqldb.Tx, p arn.Place, name string) (*Group, error) {
	return scanGroup(p, func(dest ...any) error {
		return tx.QueryRow(dest, "select "+groupColumns+" from log_groups where account = $1 and region = $2 and name = $3{forupdate}", p.Account, p.Region, name)
	})
}

// Groups lists groups by name from after on, of those with a prefix and a part of
// their name.
func (l *Logs) Groups(ctx context.Context, p arn.Place, prefix, part, after string, limit int) ([]*Group, error) {
	rows, err := l.db.Query(ctx, "select "+groupColumns+` from log_groups where account = $1 and region = $2 and name > $3 and substr(name, 1, length($4)) = $4
		and ($5 = '' or replace(name, $5, '') <> name) order by name limit $6`, p.Account, p.Region, after, prefix, part, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Group, error) { return scanGroup(p, scan) })
}

func countGroups(tx *sqldb.Tx, p arn.Place) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from log_groups where account = $1 and region = $2", p.Account, p.Region)
	return n, err
}

func insertGroup(tx *sqldb.Tx, g *Group) error {
	_, err := tx.Exec("insert into log_groups (account, region, "+groupColumns+") values ($1, $2, $3, $4, $5, $6, $7, $8, $9)", g.Place.Account, g.Place.Region,
		g.Name, g.id, g.Retention, sqldb.JSON(g.Tags), g.Class, g.CreatedAt.UnixMilli(), g.Bytes)
	return err
}

func updateGroup(tx *sqldb.Tx, g *Group) error {
	_, err := tx.Exec("update log_groups set retention = $4, tags = $5 where account = $1 and region = $2 and name = $3", g.Place.Account, g.Place.Region, g.Name,
		g.Retention, sqldb.JSON(g.Tags))
	return err
}

func addBytes(tx *sqldb.Tx, g *Group, n int64) error {
	return tx.Run("update log_groups set bytes = bytes + $4 where account = $1 and region = $2 and name = $3", g.Place.Account, g.Place.Region, g.Name, n)
}

func deleteGroup(tx *sqldb.Tx, g *Group) error {
	for _, q := range []string{"delete from log_groups where account = $1 and region = $2 and id = $3",
		"delete from log_streams where account = $1 and region = $2 and group_id = $3",
		"insert into log_garbage (account, region, group_id) values ($1, $2, $3) on conflict (account, region, group_id) do nothing"} {
		if _, err := tx.Exec(q, g.Place.Account, g.Place.Region, g.id); err != nil {
			return err
		}
	}
	return nil
}

// insertStream makes a stream, 0 when it is there. Without events its other times are 0.
func insertStream(tx *sqldb.Tx, g *Group, name string, now, first, last, ingested int64) (int64, error) {
	return tx.Exec(`insert into log_streams (account, region, group_id, name, created_at, first_at, last_at, ingested_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`, g.Place.Account, g.Place.Region, g.id, name, now, first, last, ingested)
}

func touchStream(tx *sqldb.Tx, g *Group, name string, first, last, now int64) (int64, error) {
	return tx.Exec(`update log_streams set first_at = case when first_at = 0 or first_at > $5 then $5 else first_at end,
		last_at = case when last_at < $6 then $6 else last_at end, ingested_at = $7 where account = $1 and region = $2 and group_id = $3 and name = $4`,
		g.Place.Account, g.Place.Region, g.id, name, first, last, now)
}

func deleteStream(tx *sqldb.Tx, g *Group, name string) (int64, error) {
	n, err := tx.Exec("delete from log_streams where account = $1 and region = $2 and group_id = $3 and name = $4", g.Place.Account, g.Place.Region, g.id, name)
	if err != nil || n == 0 {
		return n, err
	}
	_, err = tx.Exec("delete from log_events where account = $1 and region = $2 and group_id = $3 and stream = $4", g.Place.Account, g.Place.Region, g.id, name)
	return n, err
}

func insertEvent(tx *sqldb.Tx, g *Group, stream string, e Entry, seq, now int64) error {
	return tx.Run("insert into log_events (account, region, group_id, at, seq, stream, ingested_at, message) values ($1, $2, $3, $4, $5, $6, $7, $8)",
		g.Place.Account, g.Place.Region, g.id, e.At.UnixMilli(), seq, stream, now, clean(e.Message))
}

// StreamQuery asks for the streams of a group, by name or by their last event.
type StreamQuery struct {
	Prefix     string
	ByTime     bool
	Descending bool
	// After is where the page begins: a name, or a time and a name.
	AfterAt   int64
	AfterName string
	First     bool
	Limit     int
}

// Streams lists the streams of a group: NotFound.
func (l *Logs) Streams(ctx context.Context, p arn.Place, group string, q StreamQuery) ([]*Stream, error) {
	g, err := l.Group(ctx, p, group)
	if err != nil {
		return nil, err
	}
	op, dir := ">", "asc"
	if q.Descending {
		op, dir = "<", "desc"
	}
	text := `select name, created_at, first_at, last_at, ingested_at from log_streams where account = $1 and region = $2 and group_id = $3
		and substr(name, 1, length($4)) = $4`
	args := []any{p.Account, p.Region, g.id, q.Prefix}
	order := " order by name " + dir
	switch {
	case q.ByTime:
		if !q.First {
			text += fmt.Sprintf(" and (last_at %s $5 or last_at = $5 and name %s $6)", op, op)
			args = append(args, q.AfterAt, q.AfterName)
		}
		order = fmt.Sprintf(" order by last_at %s, name %s", dir, dir)
	case !q.First:
		text += fmt.Sprintf(" and name %s $5", op)
		args = append(args, q.AfterName)
	}
	rows, err := l.db.Query(ctx, text+order+fmt.Sprintf(" limit %d", q.Limit), args...)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Stream, error) {
		s := &Stream{Group: g}
		var created, first, last, ingested int64
		if err := scan(&s.Name, &created, &first, &last, &ingested); err != nil {
			return nil, err
		}
		s.CreatedAt, s.First, s.Last, s.IngestedAt = fromMillis(created), fromMillis(first), fromMillis(last), fromMillis(ingested)
		return s, nil
	})
}

// EventQuery asks for events of a group between two times (milliseconds, the end
// exclusive), after a key, or before one when Backward.
type EventQuery struct {
	Streams    []string // nil: all
	Start, End int64
	After      *Key
	Backward   bool
	Limit      int
}

// Events lists events in order of time, the last ones when Backward: NotFound.
func (l *Logs) Events(ctx context.Context, p arn.Place, group string, q EventQuery) ([]*Event, error) {
	g, err := l.Group(ctx, p, group)
	if err != nil {
		return nil, err
	}
	text := "select at, seq, stream, ingested_at, message from log_events where account = $1 and region = $2 and group_id = $3 and at >= $4 and at < $5"
	args := []any{p.Account, p.Region, g.id, q.Start, q.End}
	if q.Streams != nil {
		marks := []string{}
		for _, s := range q.Streams {
			args = append(args, s)
			marks = append(marks, fmt.Sprintf("$%d", len(args)))
		}
		text += " and stream in (" + strings.Join(marks, ", ") + ")"
	}
	op, dir := ">", "asc"
	if q.Backward {
		op, dir = "<", "desc"
	}
	if q.After != nil {
		n := len(args)
		text += fmt.Sprintf(" and (at %s $%d or at = $%d and seq %s $%d)", op, n+1, n+1, op, n+2)
		args = append(args, q.After.At, q.After.Seq)
	}
	rows, err := l.db.Query(ctx, text+fmt.Sprintf(" order by at %s, seq %s limit %d", dir, dir, q.Limit), args...)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Event, error) {
		e := &Event{}
		var ingested int64
		err := scan(&e.At, &e.Seq, &e.Stream, &ingested, &e.Message)
		e.Ingested = fromMillis(ingested)
		return e, err
	})
}

// Sweep removes events past their group's retention and those of deleted groups.
func (l *Logs) Sweep(ctx context.Context) error {
	type old struct {
		place  arn.Place
		id     int64
		before int64
		gone   bool
	}
	rows, err := l.db.Query(ctx, "select account, region, id, retention, 0 from log_groups where retention > 0 union all select account, region, group_id, 0, 1 from log_garbage")
	list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (old, error) {
		var o old
		var retention, gone int64
		err := scan(&o.place.Account, &o.place.Region, &o.id, &retention, &gone)
		o.gone, o.before = gone != 0, l.now().Add(-time.Duration(retention)*24*time.Hour).UnixMilli()
		if o.gone {
			o.before = 1 << 62
		}
		return o, err
	})
	if err != nil {
		return err
	}
	for _, o := range list {
		for {
			var n int64
			err := l.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
				var err error
				n, err = tx.Exec(`delete from log_events where account = $1 and region = $2 and group_id = $3 and at < $4 and (at, seq) in
					(select at, seq from log_events where account = $1 and region = $2 and group_id = $3 and at < $4 order by at, seq limit $5)`,
					o.place.Account, o.place.Region, o.id, o.before, sweepBatch)
				if err != nil || n == sweepBatch || !o.gone {
					return err
				}
				_, err = tx.Exec("delete from log_garbage where account = $1 and region = $2 and group_id = $3", o.place.Account, o.place.Region, o.id)
				return err
			})
			if err != nil {
				return err
			}
			if n < sweepBatch {
				break
			}
		}
	}
	return nil
}
