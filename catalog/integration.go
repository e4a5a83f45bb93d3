package catalog

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/sqldb"
)

// BuiltIn is the integration that brings the registry's own resources into the catalog.
const BuiltIn = "berth"

// Integration is a source of entities that has told the catalog of itself, or the
// built-in one.
type Integration struct {
	ID                   string
	Config               json.RawMessage // as it was given, nil for none
	doc                  map[string]any
	CreatedAt, UpdatedAt time.Time
}

// JSON is the integration as the API shows it, but for its state.
func (n *Integration) JSON() map[string]any {
	doc := maps.Clone(n.doc)
	doc["_id"], doc["identifier"], doc["installationId"] = n.ID, n.ID, n.ID
	var config any
	if len(n.Config) > 0 {
		config = n.Config
	}
	doc["config"] = config
	for k, v := range map[string]any{"title": n.ID, "installationAppType": "", "version": "", "changelogDestination": nil, "installationType": "OnPrem"} {
		if doc[k] == nil {
			doc[k] = v
		}
	}
	doc["integrationType"] = doc["installationAppType"]
	doc["createdAt"], doc["updatedAt"] = Moment(n.CreatedAt), Moment(n.UpdatedAt)
	return doc
}

func (c *Catalog) builtIn(m *Model) *Integration {
	return &Integration{ID: BuiltIn, Config: m.Mapping, CreatedAt: m.mappedAt, UpdatedAt: m.mappedAt,
		doc: map[string]any{"title": "Berth", "installationAppType": "BERTH", "version": "1"}}
}

// Integrations returns all of an account's, the built-in one first.
func (c *Catalog) Integrations(ctx context.Context, account arn.Account) ([]*Integration, error) {
	m, err := c.Model(ctx, account)
	if err != nil {
		return nil, err
	}
	list, err := readIntegrations(c.reader(ctx), account, "")
	if err != nil {
		return nil, storage(err)
	}
	list = slices.DeleteFunc(list, func(n *Integration) bool { return n.ID == BuiltIn })
	return append([]*Integration{c.builtIn(m)}, list...), nil
}

// Integration returns one: NotFound.
func (c *Catalog) Integration(ctx context.Context, account arn.Account, id string) (*Integration, error) {
	list, err := c.Integrations(ctx, account)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(list, func(n *Integration) bool { return n.ID == id }); i >= 0 {
		return list[i], nil
	}
	return nil, errNoIntegration(id)
}

func errNoIntegration(id string) *Error { return fail(NotFound, "There is no integration %q", id) }

// PutIntegration writes what is given of an integration. create refuses one that exists,
// unless upsert; without either it must exist: Taken, NotFound, Invalid. It reports
// whether it was made.
func (c *Catalog) PutIntegration(ctx context.Context, account arn.Account, id string, doc map[string]any, create, upsert bool, by Actor) (*Integration, bool, error) {
	if id == "" || len(id) > 500 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, false, fail(Invalid, "installationId must have 1 to 500 characters and no space")
	}
	var out *Integration
	made := false
	err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		out, made = nil, false
		list, err := readIntegrations(tx.Query, account, id)
		if err != nil {
			return err
		}
		switch {
		case len(list) > 0:
			out = list[0]
		case id == BuiltIn:
			out = c.builtIn(m)
		case !create:
			return errNoIntegration(id)
		default:
			out, made = &Integration{ID: id, doc: map[string]any{}, CreatedAt: c.moment()}, true
		}
		if create && !upsert && !made {
			return fail(Taken, "An integration %q exists already", id)
		}
		return c.saveIntegration(tx, m, account, out, doc, by)
	})
	return out, made, err
}

func (c *Catalog) saveIntegration(tx *sqldb.Tx, m *Model, account arn.Account, n *Integration, doc map[string]any, by Actor) error {
	n.doc = maps.Clone(n.doc)
	n.UpdatedAt = c.moment()
	for k, v := range doc {
		switch k {
		case "identifier", "installationId", "_id", "createdAt", "updatedAt", "logAttributes", "metricAttributes", "ingestAttributes", "clientId":
		case "config":
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			if n.Config = text; v == nil {
				n.Config = nil
			}
		case "resyncState":
			if n.ID != BuiltIn { // whose state is known
				n.doc[k] = v
			}
		default:
			n.doc[k] = v
		}
	}
	if n.ID == BuiltIn {
		if _, given := doc["config"]; given {
			if n.Config == nil {
				var err error
				if n.Config, err = DefaultMapping(); err != nil {
					return err
				}
			}
			if _, err := mapping.Read(n.Config); err != nil {
				return fail(Invalid, "config: %v", err)
			}
			next := *m
			next.version, next.Mapping, next.mappedAt = m.version+1, n.Config, n.UpdatedAt
			if err := c.nextModel(tx, account, &next); err != nil {
				return err
			}
		}
	}
	if err := upsertIntegration(tx, account, n); err != nil {
		return err
	}
	return c.record(tx, account, by, Change{Action: "UPDATE", Resource: "integration", Entity: n.ID, After: map[string]any{"config": n.Config}})
}

// DeleteIntegration removes one; the built-in one goes back to the default
// configuration: NotFound.
func (c *Catalog) DeleteIntegration(ctx context.Context, account arn.Account, id string, by Actor) error {
	if id == BuiltIn {
		_, _, err := c.PutIntegration(ctx, account, id, map[string]any{"config": nil}, false, false, by)
		return err
	}
	return c.write(ctx, account, func(tx *sqldb.Tx, _ *Model) error {
		n, err := deleteIntegration(tx, account, id)
		if err == nil && n == 0 {
			err = errNoIntegration(id)
		}
		if err != nil {
			return err
		}
		return c.record(tx, account, by, Change{Action: "DELETE", Resource: "integration", Entity: id})
	})
}
