package catalog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

func readIntegrations(read reader, a arn.Account, id string) ([]*Integration, error) {
	text, args := "select id, doc, created_at, updated_at from catalog_integrations where account = $1", []any{a}
	if id != "" {
		text += " and id = $2"
		args = append(args, id)
	}
	rows, err := read(text+" order by id", args...)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Integration, error) {
		n := &Integration{}
		var doc string
		var created, updated int64
		if err := scan(&n.ID, &doc, &created, &updated); err != nil {
			return nil, err
		}
		n.CreatedAt, n.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
		var rest struct {
			Config json.RawMessage `json:"config"`
			Doc    map[string]any  `json:"doc"`
		}
		err := json.Unmarshal([]byte(doc), &rest)
		if n.Config, n.doc = rest.Config, rest.Doc; string(n.Config) == "null" {
			n.Config = nil
		}
		return n, err
	})
}

func upsertIntegration(tx *sqldb.Tx, a arn.Account, n *Integration) error {
	_, err := tx.Exec(`insert into catalog_integrations (account, id, doc, created_at, updated_at) values ($1, $2, $3, $4, $5)
		on conflict (account, id) do update set doc = excluded.doc, updated_at = excluded.updated_at`,
		a, n.ID, sqldb.JSON(map[string]any{"config": n.Config, "doc": n.doc}), sqldb.Micros(n.CreatedAt), sqldb.Micros(n.UpdatedAt))
	return err
}

func deleteIntegration(tx *sqldb.Tx, a arn.Account, id string) (int64, error) {
	return tx.Exec("delete from catalog_integrations where account = $1 and id = $2", a, id)
}

// Sync is the state of an account's synchronisation with the registry.
type Sync struct {
	AskedAt, StartedAt, EndedAt time.Time
	// MappedBy says by what the last whole synchronisation mapped.
	MappedBy string
	Report   Report
	lease    time.Time
	fence    int64
}

// Running reports whether a node is at it.
func (s *Sync) Running(now time.Time) bool {
	return s.lease.After(now) && s.EndedAt.Before(s.StartedAt)
}

// Report is what a synchronisation did, so far.
type Report struct {
	Ingested
	Done  int    `json:"done"`
	Total int    `json:"total"`
	Error string `json:"error,omitempty"`
	// Skipped says why stale entities were left.
	Skipped string `json:"skipped,omitempty"`
}

// SyncState returns an account's.
func (c *Catalog) SyncState(ctx context.Context, account arn.Account) (*Sync, error) {
	s := &Sync{}
	var lease, asked, started, ended int64
	var report string
	err := c.db.QueryRow(ctx, []any{&lease, &s.fence, &asked, &started, &ended, &s.MappedBy, &report},
		"select lease_until, fence, asked_at, started_at, ended_at, mapped_by, report from catalog_syncs where account = $1", account)
	if sqldb.IsNoRows(err) {
		return s, nil
	}
	if err != nil {
		return nil, storage(err)
	}
	s.lease, s.AskedAt, s.StartedAt, s.EndedAt = sqldb.Time(lease), sqldb.Time(asked), sqldb.Time(started), sqldb.Time(ended)
	return s, json.Unmarshal([]byte(report), &s.Report)
}

// AskSync has an account synchronised soon.
func (c *Catalog) AskSync(ctx context.Context, account arn.Account) error {
	err := c.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`insert into catalog_syncs (account, lease_until, fence, asked_at, started_at, ended_at, mapped_by, report) values ($1, 0, 0, $2, 0, 0, '', '{}')
			on conflict (account) do update set asked_at = excluded.asked_at`, account, sqldb.Micros(c.now()))
		tx.AfterCommit(c.wakeUp)
		return err
	})
	return storage(err)
}

// syncLease is how long a node has an account's synchronisation without a sign of life.
const syncLease = 30 * time.Second

// TakeSync begins the synchronisation of an account that asks for one, or whose last was
// by another mapping; false when there is none to begin. The fence goes with all further
// calls.
func (c *Catalog) TakeSync(ctx context.Context, account arn.Account, mappedBy string) (fence int64, ok bool, err error) {
	s, err := c.SyncState(ctx, account)
	switch {
	case err != nil, s.lease.After(c.now()):
		return 0, false, err
	case s.AskedAt.After(s.StartedAt):
	case s.MappedBy == mappedBy:
		return 0, false, nil
	case s.MappedBy == "" && s.StartedAt.IsZero(): // all there is was mapped when it came
		return 0, false, c.noteSync(ctx, account, mappedBy)
	}
	now := c.now()
	err = c.db.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec("insert into catalog_syncs (account, lease_until, fence, asked_at, started_at, ended_at, mapped_by, report) values ($1, 0, 0, 0, 0, 0, '', '{}') on conflict do nothing",
			account); err != nil {
			return err
		}
		n, err := tx.Exec("update catalog_syncs set lease_until = $1, fence = fence + 1, started_at = $2, report = '{}' where account = $3 and fence = $4 and lease_until <= $5",
			sqldb.Micros(now.Add(syncLease)), sqldb.Micros(now), account, s.fence, sqldb.Micros(now))
		ok = n > 0
		return err
	})
	return s.fence + 1, ok && err == nil, storage(err)
}

// noteSync notes by what an account is mapped that has not been synchronised yet.
func (c *Catalog) noteSync(ctx context.Context, account arn.Account, mappedBy string) error {
	err := c.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec("insert into catalog_syncs (account, lease_until, fence, asked_at, started_at, ended_at, mapped_by, report) values ($1, 0, 0, 0, 0, 0, $2, '{}') on conflict do nothing",
			account, mappedBy)
		return err
	})
	return storage(err)
}

// KeepSync tells how far a synchronisation is; false when another node has it now.
func (c *Catalog) KeepSync(ctx context.Context, account arn.Account, fence int64, r Report) (bool, error) {
	return c.updateSync(ctx, account, fence, r, "", false)
}

// EndSync ends a synchronisation.
func (c *Catalog) EndSync(ctx context.Context, account arn.Account, fence int64, r Report, mappedBy string) error {
	_, err := c.updateSync(ctx, account, fence, r, mappedBy, true)
	return err
}

func (c *Catalog) updateSync(ctx context.Context, account arn.Account, fence int64, r Report, mappedBy string, end bool) (ok bool, err error) {
	now := c.now()
	err = c.db.Write(ctx, func(tx *sqldb.Tx) error {
		text, args := "update catalog_syncs set report = $1, lease_until = $2 where account = $3 and fence = $4", []any{sqldb.JSON(r), sqldb.Micros(now.Add(syncLease)), account, fence}
		if end {
			text = "update catalog_syncs set report = $1, lease_until = 0, mapped_by = $2, ended_at = $5 where account = $3 and fence = $4"
			args = []any{sqldb.JSON(r), mappedBy, account, fence, sqldb.Micros(now)}
		}
		n, err := tx.Exec(text, args...)
		ok = n > 0
		return err
	})
	return ok, storage(err)
}

// Accounts are those that have a catalog.
func (c *Catalog) Accounts(ctx context.Context) ([]arn.Account, error) {
	list, err := c.accounts(ctx)
	return list, storage(err)
}
