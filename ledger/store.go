package ledger

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/entry"
	"github.com/berth-registry/berth/sqldb"
)

const columns = "kind, name, source, module, line, spec, pending, adopted, changed_at"

func scanEntry(scan func(...any) error) (entry.Entry, error) {
	var e entry.Entry
	var spec string
	var pending, adopted, changed int64
	if err := scan(&e.Kind, &e.Name, &e.Source, &e.Module, &e.Line, &spec, &pending, &adopted, &changed); err != nil {
		return e, err
	}
	e.Pending, e.Adopted, e.ChangedAt = pending != 0, adopted != 0, sqldb.Time(changed)
	return e, json.Unmarshal([]byte(spec), &e.Spec)
}

// upsertEntry writes an entry unless another source has its slot; then it returns 0.
func upsertEntry(tx *sqldb.Tx, p arn.Place, e *entry.Entry, now time.Time) (int64, error) {
	spec := e.Spec
	if spec == nil {
		spec = map[string]string{}
	}
	return tx.Exec(`insert into declarations (account, region, slot, `+columns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (account, region, kind, name, slot) do update set module = excluded.module, line = excluded.line, spec = excluded.spec,
		pending = excluded.pending, adopted = excluded.adopted, changed_at = excluded.changed_at where declarations.source = excluded.source`,
		p.Account, p.Region, slot(e), e.Kind, e.Name, e.Source, e.Module, e.Line, sqldb.JSON(spec), sqldb.Flag(e.Pending), sqldb.Flag(e.Adopted), sqldb.Micros(now))
}

func readOwner(tx *sqldb.Tx, p arn.Place, e *entry.Entry) (entry.Entry, error) {
	return scanEntry(func(dest ...any) error {
		return tx.QueryRow(dest, "select "+columns+" from declarations where account = $1 and region = $2 and kind = $3 and name = $4 and slot = $5",
			p.Account, p.Region, e.Kind, e.Name, slot(e))
	})
}

func deleteEntry(tx *sqldb.Tx, p arn.Place, source string, k entry.Key) error {
	_, err := tx.Exec("delete from declarations where account = $1 and region = $2 and kind = $3 and name = $4 and source = $5", p.Account, p.Region, k.Kind, k.Name, source)
	return err
}

func (l *Ledger) entriesOf(ctx context.Context, p arn.Place, k entry.Key) ([]entry.Entry, error) {
	rows, err := l.db.Query(ctx, "select "+columns+" from declarations where account = $1 and region = $2 and kind = $3 and name = $4 order by slot",
		p.Account, p.Region, k.Kind, k.Name)
	return sqldb.Collect(rows, err, scanEntry)
}

func (l *Ledger) listEntries(ctx context.Context, p arn.Place, source string, after [3]string, limit int) ([]entry.Entry, error) {
	const page = " and (kind, name, slot) > ($3, $4, $5)"
	if source == "" {
		rows, err := l.db.Query(ctx, "select "+columns+" from declarations where account = $1 and region = $2"+page+" order by kind, name, slot limit $6",
			p.Account, p.Region, after[0], after[1], after[2], limit)
		return sqldb.Collect(rows, err, scanEntry)
	}
	// A source has a thing once, so that the slot decides nothing. Written as a range,
	// it is the index by source that is read.
	rows, err := l.db.Query(ctx, "select "+columns+` from declarations where account = $1 and region = $2 and (source, kind, name) > ($3, $4, $5) and source <= $3
		order by source, kind, name limit $6`,
		p.Account, p.Region, source, after[0], after[1], limit)
	return sqldb.Collect(rows, err, scanEntry)
}
