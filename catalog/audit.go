package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/sqldb"
)

// Change is an entry of the log of changes.
type Change struct {
	ID        string
	At        time.Time
	Action    string // CREATE, UPDATE, DELETE
	Resource  string // entity, blueprint, scorecard, integration
	Status    string // SUCCESS, FAILURE
	Blueprint string
	Entity    string
	By        Actor
	Before    map[string]any
	After     map[string]any
	Message   string
}

// rest is what of a change lies in its document.
type rest struct {
	By      string         `json:"by,omitempty"`
	Origin  string         `json:"origin,omitempty"`
	Run     string         `json:"run,omitempty"`
	Entity  string         `json:"entity,omitempty"`
	Before  map[string]any `json:"before,omitempty"`
	After   map[string]any `json:"after,omitempty"`
	Message string         `json:"message,omitempty"`
}

// record writes a change that is being made.
func (c *Catalog) record(tx *sqldb.Tx, account arn.Account, by Actor, ch Change) error {
	if by.Origin == shipped || by.quiet {
		return nil // the model's own beginning, or what the trail of API calls has
	}
	doc, err := json.Marshal(rest{by.ID, by.Origin, by.Run, ch.Entity, ch.Before, ch.After, ch.Message})
	if err != nil {
		return err
	}
	if ch.Status == "" {
		ch.Status = "SUCCESS"
	}
	return insertChange(tx, account, uid.New(c.now()), &ch, string(doc))
}

// refused records a write that was refused, by itself.
func (c *Catalog) refused(ctx context.Context, account arn.Account, by Actor, resource, blueprint, entity string, asked map[string]any, why error) {
	var own *Error
	if !errors.As(why, &own) || own.Code == Unavailable || own.Code == StorageFull {
		return
	}
	if b, err := json.Marshal(asked); err != nil || len(b) > maxAsked {
		asked = nil
	}
	ch := Change{Action: "UPDATE", Resource: resource, Status: "FAILURE", Blueprint: cut(blueprint, maxKey), Entity: cut(entity, maxEntityID), After: asked, Message: own.Message}
	err := c.db.WriteRelaxed(sqldb.Apart(ctx), func(tx *sqldb.Tx) error { return c.record(tx, account, by, ch) })
	if err != nil {
		c.log.Warn("a refused change of the catalog is not recorded", "error", err)
	}
}

// maxAsked bounds what is kept of a refused write, in bytes.
const maxAsked = 16 << 10

// errOnlyValidated undoes a write that was to be validated only.
var errOnlyValidated = errors.New("only validated")

func errIsValidated(err error) bool { return errors.Is(err, errOnlyValidated) }

// ChangesQuery selects changes.
type ChangesQuery struct {
	Blueprint, Entity        string
	Action, Status, Resource string
	Origin, Run              string
	From, To                 time.Time
	Limit                    int
}

// maxLook bounds how many entries a query of changes reads.
const maxLook = 50_000

// Changes returns entries of the log of changes, the newest first.
func (c *Catalog) Changes(ctx context.Context, account arn.Account, q ChangesQuery) ([]Change, error) {
	if q.Limit <= 0 || q.Limit > 1000 {
		q.Limit = 100
	}
	var out []Change
	before, looked := "~", 0
	if !q.To.IsZero() {
		before = uid.New(q.To.Add(time.Millisecond))
	}
	for len(out) < q.Limit && looked < maxLook {
		page, err := c.readChanges(ctx, account, &q, before, 500)
		if err != nil {
			return nil, storage(err)
		}
		for _, ch := range page {
			if !q.From.IsZero() && ch.At.Before(q.From.Truncate(time.Millisecond)) {
				return out, nil
			}
			if q.fits(&ch) && len(out) < q.Limit {
				out = append(out, ch)
			}
		}
		looked += len(page)
		if len(page) < 500 {
			break
		}
		before = page[len(page)-1].ID
	}
	return out, nil
}

func (q *ChangesQuery) fits(ch *Change) bool {
	fit := func(want, have string) bool { return want == "" || want == have }
	return fit(q.Action, ch.Action) && fit(q.Status, ch.Status) && fit(q.Resource, ch.Resource) && fit(q.Origin, ch.By.Origin) && fit(q.Run, ch.By.Run) &&
		fit(q.Blueprint, ch.Blueprint) && fit(q.Entity, ch.Entity)
}
