package catalog

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed defaults/*.json
var defaults embed.FS

// Model is an account's blueprints at one time.
type Model struct {
	version    int64
	blueprints map[string]*Blueprint
	scorecards map[string][]*Scorecard // by blueprint
	// Mapping is the configuration of the built-in integration.
	Mapping  json.RawMessage
	mappedAt time.Time
}

// Blueprints returns them by identifier.
func (m *Model) Blueprints() []*Blueprint {
	out := make([]*Blueprint, 0, len(m.blueprints))
	for _, id := range slices.Sorted(maps.Keys(m.blueprints)) {
		out = append(out, m.blueprints[id])
	}
	return out
}

// Digest changes whenever what is mapped might become other entities: with the mapping
// and with the blueprints.
func (m *Model) Digest() string {
	sum := sha256.New()
	sum.Write(m.Mapping)
	for _, b := range m.Blueprints() {
		text, err := json.Marshal(b.doc)
		if err != nil {
			continue // what was read is written
		}
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// needed reports whether a relation requires entities of a blueprint.
func (m *Model) needed(blueprint string) bool {
	for _, b := range m.blueprints {
		for _, r := range b.Relations {
			if r.Required && r.Target == blueprint {
				return true
			}
		}
	}
	return false
}

// Blueprint returns one, or nil.
func (m *Model) Blueprint(id string) *Blueprint { return m.blueprints[id] }

// with is the model after a change of one blueprint: old gives way to b; either may be
// nil. Others that target old under its old name target its new one.
func (m *Model) with(old, b *Blueprint) (*Model, error) {
	next := *m
	next.version, next.blueprints = m.version+1, maps.Clone(m.blueprints)
	if old != nil {
		delete(next.blueprints, old.Identifier)
	}
	if b == nil {
		return &next, nil
	}
	next.blueprints[b.Identifier] = b
	if old == nil || old.Identifier == b.Identifier {
		return &next, nil
	}
	for id, other := range next.blueprints {
		doc, changed := retarget(other.doc, old.Identifier, b.Identifier)
		if !changed {
			continue
		}
		again, err := readBlueprint(doc)
		if err != nil {
			return nil, err
		}
		again.CreatedAt, again.CreatedBy, again.UpdatedAt, again.UpdatedBy, again.Shipped = other.CreatedAt, other.CreatedBy, other.UpdatedAt, other.UpdatedBy, other.Shipped
		if id == b.Identifier {
			*b = *again
			continue
		}
		next.blueprints[id] = again
	}
	next.scorecards = maps.Clone(m.scorecards)
	if list, ok := next.scorecards[old.Identifier]; ok {
		delete(next.scorecards, old.Identifier)
		next.scorecards[b.Identifier] = list
	}
	return &next, nil
}

// retarget renames the targets in a document.
func retarget(doc map[string]any, from, to string) (map[string]any, bool) {
	changed := false
	out := maps.Clone(doc)
	for _, part := range []string{"relations", "aggregationProperties"} {
		members, _ := doc[part].(map[string]any)
		copied := maps.Clone(members)
		for id, v := range members {
			m, _ := v.(map[string]any)
			if m["target"] == from {
				m = maps.Clone(m)
				m["target"], changed = to, true
				copied[id] = m
			}
		}
		if copied != nil {
			out[part] = copied
		}
	}
	return out, changed
}

// changedBy are the other blueprints that a renaming changed.
func (m *Model) changedBy(to string) []*Blueprint {
	var out []*Blueprint
	for _, b := range m.Blueprints() {
		if b.Identifier == to {
			continue
		}
		touches := slices.ContainsFunc(slices.Collect(maps.Values(b.Relations)), func(r *Relation) bool { return r.Target == to }) ||
			slices.ContainsFunc(slices.Collect(maps.Values(b.Aggregations)), func(a *Aggregation) bool { return a.Target == to })
		if touches {
			out = append(out, b)
		}
	}
	return out
}

// check checks what blueprints say of each other.
func (m *Model) check() error {
	for _, b := range m.Blueprints() {
		if err := b.checkReferences(m); err != nil {
			return err
		}
	}
	return nil
}

// models keeps the last model read of each account; its version says whether it is still
// the one.
type models struct {
	mu   sync.Mutex
	have map[arn.Account]*Model
}

func newModels() models { return models{have: map[arn.Account]*Model{}} }

// maxModels bounds how many accounts' models are kept.
const maxModels = 200

func (s *models) get(a arn.Account, version int64) *Model {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.have[a]; m != nil && m.version == version {
		return m
	}
	return nil
}

func (s *models) put(a arn.Account, m *Model) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.have) >= maxModels {
		clear(s.have)
	}
	if old := s.have[a]; old == nil || old.version < m.version {
		s.have[a] = m
	}
}

// Model returns an account's model. The first time it is the default one.
func (c *Catalog) Model(ctx context.Context, account arn.Account) (*Model, error) {
	version, err := c.readModelVersion(ctx, account)
	if err != nil {
		return nil, storage(err)
	}
	if m := c.models.get(account, version); m != nil {
		return m, nil
	}
	if version == 0 {
		var m *Model
		err := c.write(sqldb.Apart(ctx), account, func(_ *sqldb.Tx, made *Model) error { m = made; return nil })
		return m, err
	}
	m, err := c.readModel(ctx, account)
	if err != nil {
		return nil, storage(err)
	}
	c.models.put(account, m)
	return m, nil
}

// txModel is Model within a transaction.
func (c *Catalog) txModel(tx *sqldb.Tx, account arn.Account) (*Model, error) {
	version, err := txModelVersion(tx, account)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return c.install(tx, account)
	}
	if m := c.models.get(account, version); m != nil {
		return m, nil
	}
	m, err := txReadModel(tx, account, version)
	if err != nil {
		return nil, err
	}
	tx.AfterCommit(func() { c.models.put(account, m) }) // not before: the version may never be
	return m, nil
}

// nextModel makes a model the account's.
func (c *Catalog) nextModel(tx *sqldb.Tx, account arn.Account, m *Model) error {
	n, err := bumpModel(tx, account, m.version-1)
	if err != nil {
		return err
	}
	if n == 0 {
		return errModelRaced
	}
	tx.AfterCommit(func() { c.models.put(account, m) })
	return nil
}

// shipped is who made the defaults.
const shipped = "berth-defaults"

// install gives an account the default model.
func (c *Catalog) install(tx *sqldb.Tx, account arn.Account) (*Model, error) {
	m := &Model{version: 1, blueprints: map[string]*Blueprint{}, scorecards: map[string][]*Scorecard{}, mappedAt: c.moment()}
	var err error
	if m.Mapping, err = DefaultMapping(); err != nil {
		return nil, err
	}
	blueprints, entities, err := Defaults()
	if err != nil {
		return nil, err
	}
	mine, err := insertModel(tx, account, m.version)
	if err != nil {
		return nil, err
	}
	if !mine { // another node was faster
		version, err := txModelVersion(tx, account)
		if err != nil {
			return nil, err
		}
		return txReadModel(tx, account, version)
	}
	now := c.moment()
	for _, doc := range blueprints {
		b, err := readBlueprint(doc)
		if err != nil {
			return nil, err
		}
		b.CreatedAt, b.CreatedBy, b.UpdatedAt, b.UpdatedBy, b.Shipped = now, shipped, now, shipped, true
		m.blueprints[b.Identifier] = b
		if err := upsertBlueprint(tx, account, b); err != nil {
			return nil, err
		}
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	entities = append(entities, DefaultEntity{Blueprint: "aws_account", Identifier: string(account), Title: string(account)})
	for _, e := range entities {
		title := e.Title
		p := Put{Blueprint: e.Blueprint, Identifier: e.Identifier, Title: &title, Properties: e.Properties, Relations: map[string]any{}, By: Actor{ID: shipped, Origin: shipped}}
		if _, err := c.put(tx, m, account, &p); err != nil {
			return nil, err
		}
	}
	tx.AfterCommit(func() { c.models.put(account, m) })
	return m, nil
}

// DefaultEntity is an entity that a new catalog has.
type DefaultEntity struct {
	Blueprint  string         `json:"blueprint"`
	Identifier string         `json:"identifier"`
	Title      string         `json:"title"`
	Properties map[string]any `json:"properties"`
}

// Defaults are the blueprints and entities of a new catalog.
func Defaults() (blueprints []map[string]any, entities []DefaultEntity, err error) {
	for name, dest := range map[string]any{"defaults/blueprints.json": &blueprints, "defaults/entities.json": &entities} {
		b, err := defaults.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, dest)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return blueprints, entities, nil
}

// DefaultMapping is the configuration by which a new catalog maps the registry.
func DefaultMapping() ([]byte, error) { return defaults.ReadFile("defaults/mapping.json") }
