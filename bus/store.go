package bus

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

const busColumns = "name, description, policy, tags, created_at, updated_at"

func scanBus(p arn.Place, scan func(...any) error) (*EventBus, error) {
	b := &EventBus{Place: p, Tags: map[string]string{}}
	var tags string
	var created, updated int64
	if err := scan(&b.Name, &b.Description, &b.Policy, &tags, &created, &updated); err != nil {
		return nil, err
	}
	b.CreatedAt, b.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return b, json.Unmarshal([]byte(tags), &b.Tags)
}

func (b *Bus) readBus(ctx context.Context, p arn.Place, name string) (*EventBus, error) {
	return scanBus(p, func(dest ...any) error {
		return b.db.QueryRow(ctx, dest, "select "+busColumns+" from event_buses where account = $1 and region = $2 and name = $3", p.Account, p.Region, name)
	})
}

const insertBusText = "insert into event_buses (account, region, " + busColumns + ") values ($1, $2, $3, $4, $5, $6, $7, $8)"

func busValues(b *EventBus) []any {
	return []any{b.Place.Account, b.Place.Region, b.Name, b.Description, b.Policy, sqldb.JSON(b.Tags), sqldb.Micros(b.CreatedAt), sqldb.Micros(b.UpdatedAt)}
}

func insertBus(tx *sqldb.Tx, b *EventBus) error {
	_, err := tx.Exec(insertBusText, busValues(b)...)
	return err
}

// ensureBus makes the row of a bus, unless it is there.
func ensureBus(tx *sqldb.Tx, b *EventBus) error {
	_, err := tx.Exec(insertBusText+" on conflict (account, region, name) do nothing", busValues(b)...)
	return err
}

func lockBus(tx *sqldb.Tx, p arn.Place, name string) (*EventBus, error) {
	return scanBus(p, func(dest ...any) error {
		return tx.QueryRow(dest, "select "+busColumns+" from event_buses where account = $1 and region = $2 and name = $3{forupdate}", p.Account, p.Region, name)
	})
}

func updateBus(tx *sqldb.Tx, b *EventBus) error {
	_, err := tx.Exec("update event_buses set description = $4, policy = $5, tags = $6, updated_at = $7 where account = $1 and region = $2 and name = $3",
		b.Place.Account, b.Place.Region, b.Name, b.Description, b.Policy, sqldb.JSON(b.Tags), sqldb.Micros(b.UpdatedAt))
	return err
}

func deleteBus(tx *sqldb.Tx, p arn.Place, name string) error {
	_, err := tx.Exec("delete from event_buses where account = $1 and region = $2 and name = $3", p.Account, p.Region, name)
	return err
}

func countBuses(tx *sqldb.Tx, p arn.Place) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from event_buses where account = $1 and region = $2", p.Account, p.Region)
	return n, err
}

// Buses lists the buses that were made, by name from after on, of those with a prefix.
func (b *Bus) Buses(ctx context.Context, p arn.Place, prefix, after string, limit int) ([]*EventBus, error) {
	rows, err := b.db.Query(ctx, "select "+busColumns+` from event_buses where account = $1 and region = $2 and name > $3
		and substr(name, 1, length($4)) = $4 order by name limit $5`, p.Account, p.Region, after, prefix, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*EventBus, error) { return scanBus(p, scan) })
}

const ruleColumns = "bus, name, pattern, schedule, state, description, role, tags, created_at, next_at"

func scanRule(p arn.Place, scan func(...any) error) (*Rule, error) {
	r := &Rule{Place: p, Tags: map[string]string{}}
	var tags string
	var created int64
	if err := scan(&r.Bus, &r.Name, &r.Pattern, &r.Schedule, &r.State, &r.Description, &r.Role, &tags, &created, &r.next); err != nil {
		return nil, err
	}
	r.CreatedAt = sqldb.Time(created)
	return r, json.Unmarshal([]byte(tags), &r.Tags)
}

func (b *Bus) readRule(ctx context.Context, p arn.Place, bus, name string) (*Rule, error) {
	return scanRule(p, func(dest ...any) error {
		return b.db.QueryRow(ctx, dest, "select "+ruleColumns+" from event_rules where account = $1 and region = $2 and bus = $3 and name = $4", p.Account, p.Region, bus, name)
	})
}

func lockRule(tx *sqldb.Tx, p arn.Place, bus, name string) (*Rule, error) {
	return scanRule(p, func(dest ...any) error {
		return tx.QueryRow(dest, "select "+ruleColumns+" from event_rules where account = $1 and region = $2 and bus = $3 and name = $4{forupdate}", p.Account, p.Region, bus, name)
	})
}

func (b *Bus) listRules(ctx context.Context, p arn.Place, bus, prefix, after string, limit int) ([]*Rule, error) {
	rows, err := b.db.Query(ctx, "select "+ruleColumns+` from event_rules where account = $1 and region = $2 and bus = $3 and name > $4
		and substr(name, 1, length($5)) = $5 order by name limit $6`, p.Account, p.Region, bus, after, prefix, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Rule, error) { return scanRule(p, scan) })
}

func upsertRule(tx *sqldb.Tx, r *Rule) (fresh bool, err error) {
	n, err := tx.Exec(`update event_rules set pattern = $5, schedule = $6, state = $7, description = $8, role = $9, next_at = $10
		where account = $1 and region = $2 and bus = $3 and name = $4`, r.Place.Account, r.Place.Region, r.Bus, r.Name, r.Pattern, r.Schedule, r.State,
		r.Description, r.Role, r.next)
	if err != nil || n > 0 {
		return false, err
	}
	_, err = tx.Exec("insert into event_rules (account, region, "+ruleColumns+") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		r.Place.Account, r.Place.Region, r.Bus, r.Name, r.Pattern, r.Schedule, r.State, r.Description, r.Role, sqldb.JSON(r.Tags), sqldb.Micros(r.CreatedAt), r.next)
	return true, err
}

func setState(tx *sqldb.Tx, r *Rule) error {
	_, err := tx.Exec("update event_rules set state = $5, next_at = $6 where account = $1 and region = $2 and bus = $3 and name = $4",
		r.Place.Account, r.Place.Region, r.Bus, r.Name, r.State, r.next)
	return err
}

func setTags(tx *sqldb.Tx, r *Rule) error {
	_, err := tx.Exec("update event_rules set tags = $5 where account = $1 and region = $2 and bus = $3 and name = $4", r.Place.Account, r.Place.Region, r.Bus, r.Name, sqldb.JSON(r.Tags))
	return err
}

func deleteRule(tx *sqldb.Tx, p arn.Place, bus, name string) error {
	_, err := tx.Exec("delete from event_rules where account = $1 and region = $2 and bus = $3 and name = $4", p.Account, p.Region, bus, name)
	return err
}

func countRules(tx *sqldb.Tx, p arn.Place, bus string) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from event_rules where account = $1 and region = $2 and bus = $3", p.Account, p.Region, bus)
	return n, err
}

func countTargets(tx *sqldb.Tx, p arn.Place, bus, rule string) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from event_targets where account = $1 and region = $2 and bus = $3 and rule = $4", p.Account, p.Region, bus, rule)
	return n, err
}

func upsertTarget(tx *sqldb.Tx, p arn.Place, bus, rule string, t *Target) error {
	_, err := tx.Exec(`insert into event_targets (account, region, bus, rule, id, arn, body) values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (account, region, bus, rule, id) do update set arn = excluded.arn, body = excluded.body`, p.Account, p.Region, bus, rule, t.ID, t.ARN, sqldb.JSON(t))
	return err
}

func deleteTarget(tx *sqldb.Tx, p arn.Place, bus, rule, id string) (int64, error) {
	return tx.Exec("delete from event_targets where account = $1 and region = $2 and bus = $3 and rule = $4 and id = $5", p.Account, p.Region, bus, rule, id)
}

func scanTarget(scan func(...any) error) (*Target, error) {
	t := &Target{}
	var body []byte
	if err := scan(&body); err != nil {
		return nil, err
	}
	return t, json.Unmarshal(body, t)
}

func (b *Bus) listTargets(ctx context.Context, p arn.Place, bus, rule string) ([]*Target, error) {
	rows, err := b.db.Query(ctx, "select body from event_targets where account = $1 and region = $2 and bus = $3 and rule = $4 order by id", p.Account, p.Region, bus, rule)
	return sqldb.Collect(rows, err, scanTarget)
}

// RulesOf lists the names of a bus's rules that have a receiver as a target.
func (b *Bus) RulesOf(ctx context.Context, p arn.Place, bus, receiver, after string, limit int) ([]string, error) {
	rows, err := b.db.Query(ctx, `select distinct rule from event_targets where account = $1 and region = $2 and bus = $3 and arn = $4 and rule > $5
		order by rule limit $6`, p.Account, p.Region, bus, receiver, after, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (string, error) {
		var s string
		return s, scan(&s)
	})
}

// allRules reads every rule that may match events, with its targets, of all accounts:
// it is what the matching goes by.
func (b *Bus) allRules(ctx context.Context) ([]*Rule, error) {
	rows, err := b.db.Query(ctx, "select account, region, "+ruleColumns+" from event_rules where state <> 'DISABLED'")
	return sqldb.Collect(rows, err, scanPlacedRule)
}

// scanPlacedRule reads a rule after its account and region.
func scanPlacedRule(scan func(...any) error) (*Rule, error) {
	var p arn.Place
	r, err := scanRule(p, func(dest ...any) error { return scan(append([]any{&p.Account, &p.Region}, dest...)...) })
	if r != nil {
		r.Place = p
	}
	return r, err
}

type placedTarget struct {
	place     arn.Place
	bus, rule string
	target    *Target
}

func (b *Bus) allTargets(ctx context.Context) ([]placedTarget, error) {
	rows, err := b.db.Query(ctx, "select account, region, bus, rule, body from event_targets order by account, region, bus, rule, id")
	return sqldb.Collect(rows, err, func(scan func(...any) error) (placedTarget, error) {
		var t placedTarget
		var err error
		t.target, err = scanTarget(func(dest ...any) error {
			return scan(append([]any{&t.place.Account, &t.place.Region, &t.bus, &t.rule}, dest...)...)
		})
		return t, err
	})
}

// dueRules reads the rules whose schedule's time has come.
func (b *Bus) dueRules(ctx context.Context, now int64) ([]*Rule, error) {
	rows, err := b.db.Query(ctx, "select account, region, "+ruleColumns+" from event_rules where next_at > 0 and next_at <= $1 order by next_at limit 100", now)
	return sqldb.Collect(rows, err, scanPlacedRule)
}

// takeDue moves a schedule on; false when another node did.
func takeDue(tx *sqldb.Tx, r *Rule, next int64) (bool, error) {
	n, err := tx.Exec("update event_rules set next_at = $6 where account = $1 and region = $2 and bus = $3 and name = $4 and next_at = $5",
		r.Place.Account, r.Place.Region, r.Bus, r.Name, r.next, next)
	return n == 1, err
}
