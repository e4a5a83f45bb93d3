package bus

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
)

func countResources(tx *sqldb.Tx, p arn.Place, k Kind) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from event_resources where account = $1 and region = $2 and kind = $3", p.Account, p.Region, k)
	return n, err
}

// resourceBody is how a resource rests: its visible part, and its sealed secrets.
func (b *Bus) resourceBody(x Any) (string, []byte, error) {
	c, ok := x.(*Connection)
	if !ok {
		return sqldb.JSON(x), []byte{}, nil
	}
	visible, plain, err := c.conceal()
	if err != nil {
		return "", nil, err
	}
	return sqldb.JSON(visible), b.sealed.Seal(plain, c.ARN()), nil
}

func (b *Bus) insertResource(tx *sqldb.Tx, x Any) error {
	r := x.common()
	body, sealed, err := b.resourceBody(x)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`insert into event_resources (account, region, kind, name, id, body, sealed, state, created_at, updated_at, version)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 0)`, r.Place.Account, r.Place.Region, r.Kind, r.Name, r.ID, body, sealed, r.State, sqldb.Micros(r.CreatedAt))
	return err
}

func (b *Bus) updateResource(tx *sqldb.Tx, x Any) (bool, error) {
	r := x.common()
	body, sealed, err := b.resourceBody(x)
	if err != nil {
		return false, err
	}
	n, err := tx.Exec(`update event_resources set body = $5, sealed = $6, state = $7, updated_at = $8, version = version + 1
		where account = $1 and region = $2 and kind = $3 and name = $4 and version = $9`, r.Place.Account, r.Place.Region, r.Kind, r.Name, body, sealed, r.State,
		sqldb.Micros(r.UpdatedAt), r.version)
	return n == 1, err
}

func deleteResource(tx *sqldb.Tx, r *Resource) (int64, error) {
	n, err := tx.Exec("delete from event_resources where account = $1 and region = $2 and kind = $3 and name = $4", r.Place.Account, r.Place.Region, r.Kind, r.Name)
	if err != nil || r.Kind != ArchiveKind {
		return n, err
	}
	_, err = tx.Exec("delete from archived_events where account = $1 and region = $2 and archive = $3", r.Place.Account, r.Place.Region, r.Name)
	return n, err
}

const resourceColumns = "account, region, kind, name, id, body, sealed, state, created_at, updated_at, version"

func (b *Bus) scanResource(x Any, scan func(...any) error) error {
	r := x.common()
	var body, sealed []byte
	var created, updated int64
	if err := scan(&r.Place.Account, &r.Place.Region, &r.Kind, &r.Name, &r.ID, &body, &sealed, &r.State, &created, &updated, &r.version); err != nil {
		return err
	}
	r.CreatedAt, r.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	if err := json.Unmarshal(body, x); err != nil {
		return err
	}
	c, ok := x.(*Connection)
	if !ok {
		return nil
	}
	plain, err := b.sealed.Open(sealed, c.ARN())
	if err != nil {
		return err
	}
	return c.reveal(plain)
}

func (b *Bus) readResource(ctx context.Context, x Any) error {
	r := *x.common()
	return b.scanResource(x, func(dest ...any) error {
		return b.db.QueryRow(ctx, dest, "select "+resourceColumns+" from event_resources where account = $1 and region = $2 and kind = $3 and name = $4",
			r.Place.Account, r.Place.Region, r.Kind, r.Name)
	})
}

// List lists the resources of a kind by name from after on, of those with a prefix. make
// makes one to read into.
func List[T Any](ctx context.Context, b *Bus, p arn.Place, k Kind, prefix, after string, limit int, make func() T) ([]T, error) {
	rows, err := b.db.Query(ctx, "select "+resourceColumns+` from event_resources where account = $1 and region = $2 and kind = $3 and name > $4
		and substr(name, 1, length($5)) = $5 order by name limit $6`, p.Account, p.Region, k, after, prefix, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (T, error) {
		x := make()
		return x, b.scanResource(x, scan)
	})
}

func (b *Bus) allArchives(ctx context.Context) ([]*Archive, error) {
	rows, err := b.db.Query(ctx, "select "+resourceColumns+" from event_resources where kind = 'archive'")
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Archive, error) {
		x := &Archive{}
		return x, b.scanResource(x, scan)
	})
}

func (b *Bus) runningReplays(ctx context.Context) ([]*Replay, error) {
	rows, err := b.db.Query(ctx, "select "+resourceColumns+" from event_resources where kind = 'replay' and state = 'RUNNING'")
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Replay, error) {
		x := &Replay{}
		return x, b.scanResource(x, scan)
	})
}

func insertArchived(tx *sqldb.Tx, a *Archive, e *event.Event) error {
	_, err := tx.Exec(`insert into archived_events (account, region, archive, at, id, source, detail_type, order_key, read_only, body)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (account, region, archive, at, id) do nothing`, a.Place.Account, a.Place.Region, a.Name, sqldb.Micros(e.Time), e.ID,
		e.Source, e.DetailType, e.Key, sqldb.Flag(e.ReadOnly), string(e.JSON()))
	return err
}

// readArchived reads events of an archive after a key, up to a time.
func (b *Bus) readArchived(ctx context.Context, p arn.Place, archive string, at int64, id string, to int64, limit int) ([]*event.Event, error) {
	rows, err := b.db.Query(ctx, `select at, id, source, detail_type, order_key, read_only, body from archived_events where account = $1 and region = $2 and archive = $3
		and (at > $4 or at = $4 and id > $5) and at < $6 order by at, id limit $7`, p.Account, p.Region, archive, at, id, to, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*event.Event, error) {
		e := &event.Event{Place: p}
		var at, readOnly int64
		var body []byte
		if err := scan(&at, &e.ID, &e.Source, &e.DetailType, &e.Key, &readOnly, &body); err != nil {
			return nil, err
		}
		e.Time, e.ReadOnly = sqldb.Time(at), readOnly != 0
		var in struct {
			Resources []string        `json:"resources"`
			Detail    json.RawMessage `json:"detail"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		e.Resources, e.Detail = in.Resources, in.Detail
		return e, nil
	})
}

// Archived counts the events of an archive, and their bytes.
func (b *Bus) Archived(ctx context.Context, a *Archive) (events, bytes int64, err error) {
	err = b.db.QueryRow(ctx, []any{&events, &bytes}, "select count(*), coalesce(sum(length(body)), 0) from archived_events where account = $1 and region = $2 and archive = $3",
		a.Place.Account, a.Place.Region, a.Name)
	return events, bytes, err
}

func (b *Bus) expireArchived(ctx context.Context, a *Archive, before int64) error {
	return b.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec("delete from archived_events where account = $1 and region = $2 and archive = $3 and at < $4", a.Place.Account, a.Place.Region, a.Name, before)
		return err
	})
}
