package catalog

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/sqldb"
)

// Mode is what a write does to an entity that exists.
type Mode int

// The modes.
const (
	Create  Mode = iota // refuses
	Replace             // what is not given is cleared
	Merge               // what is not given stays
)

// Put is an entity to be written.
type Put struct {
	Blueprint  string
	Identifier string // "" makes one up
	Find       any    // a query that finds it, instead of the identifier
	Rename     string // its identifier from now on, "" for the same
	// Title and Icon are nil when they are not given, and "" when they are null.
	Title, Icon *string
	// Team is nil when it is not given: a name, a list of names, or a query.
	Team       any
	Properties map[string]any
	// Relations have identifiers, lists of them, nil, or queries.
	Relations    map[string]any
	Mode         Mode
	MustExist    bool
	ValidateOnly bool
	// CreateMissing makes the entities that relations name.
	CreateMissing bool
	By            Actor

	links map[string][]link // of an ingested one, instead of Relations
	owner int64
	fresh bool // it is hardly there yet
}

// link is one entity that a relation names, by keys.
type link struct {
	target, alt string // alt is another spelling, "" for none
	kept        bool
}

// Written says what a write did.
type Written struct {
	Ref
	Created bool
	Changed bool
}

var entityID = regexp.MustCompile(`^[\p{L}0-9@_.+:\\/=-]+$`)

const maxEntityID = 1000

// checkID says what is wrong with an identifier, "" for nothing.
func checkID(id string) string {
	switch {
	case id == "" || utf8.RuneCountInString(id) > maxEntityID:
		return "an identifier has 1 to 1000 characters"
	case !entityID.MatchString(id) || id == "." || id == "..":
		return preview(id) + " is no identifier: letters, digits and @ _ . + : \\ / = - are allowed"
	}
	return ""
}

// PutEntity writes an entity: NotFound (its blueprint, or itself when it must exist),
// Taken, Invalid, TargetMissing. What is refused is in the log of changes.
func (c *Catalog) PutEntity(ctx context.Context, account arn.Account, p Put) (Written, error) {
	var out Written
	err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		q := p // the transaction may run again
		var err error
		if out, err = c.put(tx, m, account, &q); err == nil && p.ValidateOnly {
			return errOnlyValidated
		}
		return err
	})
	if p.ValidateOnly && errIsValidated(err) {
		return out, nil
	}
	if err != nil {
		c.refused(ctx, account, p.By, "entity", p.Blueprint, p.Identifier, map[string]any{"properties": p.Properties, "relations": p.Relations}, err)
	}
	return out, err
}

func (c *Catalog) put(tx *sqldb.Tx, m *Model, account arn.Account, p *Put) (Written, error) {
	b := m.blueprints[p.Blueprint]
	if b == nil {
		return Written{}, errNoBlueprint(p.Blueprint)
	}
	if err := holdBlueprint(tx, account, b.Identifier); err != nil {
		return Written{}, err
	}
	if err := c.identify(tx, m, account, p); err != nil {
		return Written{}, err
	}
	if why := checkID(p.Identifier); why != "" {
		return Written{}, fail(Invalid, "identifier: %s", why)
	}
	if p.fresh {
		w, err := c.store(tx, m, b, account, p, nil)
		if !errors.Is(err, errThere) {
			return w, err
		}
	}
	p.fresh = false
	old, gone, err := txAnyEntity(tx, account, b.Identifier, key(p.Identifier))
	if err != nil {
		return Written{}, err
	}
	if gone {
		if err := c.erase(tx, b, account, old); err != nil {
			return Written{}, err
		}
		old = nil
	}
	switch {
	case old == nil && p.MustExist:
		return Written{}, errNoEntity(b.Identifier, p.Identifier)
	case old != nil && p.Mode == Create:
		return Written{}, fail(Taken, "An entity %q of blueprint %q exists already", p.Identifier, b.Identifier)
	}
	return c.store(tx, m, b, account, p, old)
}

// identify finds or makes up the identifier.
func (c *Catalog) identify(tx *sqldb.Tx, m *Model, account arn.Account, p *Put) error {
	if p.Find == nil {
		if p.Identifier == "" {
			p.Identifier = newIdentifier("e_")
		}
		return nil
	}
	ids, err := c.lookup(tx, m, account, p.Blueprint, p.Find, 2)
	switch {
	case err != nil:
		return err
	case len(ids) == 0:
		return fail(NotFound, "No entity of blueprint %q fits the query that is its identifier", p.Blueprint)
	case len(ids) > 1:
		return fail(Invalid, "More than one entity of blueprint %q fits the query that is its identifier", p.Blueprint)
	}
	p.Identifier = ids[0]
	return nil
}

// store writes what p makes of old, which may be nil.
func (c *Catalog) store(tx *sqldb.Tx, m *Model, b *Blueprint, account arn.Account, p *Put, old *row) (Written, error) {
	now := c.moment()
	e := &row{blueprint: b.Identifier, k: key(p.Identifier), id: p.Identifier, title: p.Identifier, createdAt: now, createdBy: p.By.ID, updatedAt: now, updatedBy: p.By.ID,
		source: sourceID(p.By.Source), owner: p.owner, team: []string{}, properties: map[string]any{}}
	if old != nil {
		e.createdAt, e.createdBy, e.id, e.k = old.createdAt, old.createdBy, old.id, old.k
		if p.By.Source == "" {
			e.source, e.owner = old.source, old.owner
		}
		if p.Mode == Merge {
			e.title, e.icon, e.team, e.properties = old.title, old.icon, old.team, maps.Clone(old.properties)
		}
	}
	if p.Rename != "" && p.Rename != e.id {
		if err := c.rename(tx, account, b, e, p.Rename); err != nil {
			return Written{}, err
		}
	}
	if err := c.fill(tx, m, b, account, p, e, old == nil); err != nil {
		return Written{}, err
	}
	var have map[string][]link
	var err error
	if old != nil {
		if have, err = linksOf(tx.Query, account, b.Identifier, old.k); err != nil {
			return Written{}, err
		}
	}
	want, err := c.relate(tx, m, b, account, p, have)
	if err != nil {
		return Written{}, err
	}
	w := Written{Ref: Ref{b.Identifier, e.id}, Created: old == nil}
	if old != nil && same(old, e) && reflect.DeepEqual(have, want) {
		return w, nil
	}
	w.Changed = true
	return w, c.save(tx, m, b, account, p, old, e, have, want)
}

func same(a, b *row) bool {
	return a.id == b.id && a.title == b.title && a.icon == b.icon && a.source == b.source && a.owner == b.owner && slices.Equal(a.team, b.team) &&
		reflect.DeepEqual(a.properties, b.properties)
}

// rename gives an entity another identifier.
func (c *Catalog) rename(tx *sqldb.Tx, account arn.Account, b *Blueprint, e *row, to string) error {
	if why := checkID(to); why != "" {
		return fail(Invalid, "identifier: %s", why)
	}
	other, gone, err := txAnyEntity(tx, account, b.Identifier, key(to))
	switch {
	case err != nil:
		return err
	case gone:
		if err := c.erase(tx, b, account, other); err != nil {
			return err
		}
	case other != nil:
		return fail(Taken, "An entity %q of blueprint %q exists already", to, b.Identifier)
	}
	if err := renameEntity(tx, account, b.Identifier, e.k, key(to)); err != nil {
		return err
	}
	if e.title == e.id {
		e.title = to
	}
	e.id, e.k = to, key(to)
	return nil
}

// fill puts what is given into the entity and checks it.
func (c *Catalog) fill(tx *sqldb.Tx, m *Model, b *Blueprint, account arn.Account, p *Put, e *row, isNew bool) error {
	if p.Title != nil {
		if e.title = *p.Title; e.title == "" {
			e.title = e.id
		}
	}
	if p.Icon != nil {
		e.icon = *p.Icon
	}
	if utf8.RuneCountInString(e.title) > maxEntityID || len(e.icon) > maxEntityID {
		return fail(Invalid, "title and icon must have at most %d characters", maxEntityID)
	}
	if p.Team != nil {
		team, err := c.team(tx, m, account, p.Team)
		if err != nil {
			return err
		}
		e.team = team
	}
	for _, id := range slices.Sorted(maps.Keys(p.Properties)) {
		v, def := p.Properties[id], b.Properties[id]
		if def == nil {
			if b.derived(id) {
				return fail(Invalid, "properties.%s is made from other properties and cannot be written", id)
			}
			return fail(Invalid, "properties.%s: blueprint %q has no such property", id, b.Identifier)
		}
		if why := def.check(v); why != "" {
			return fail(Invalid, "properties.%s %s", id, why)
		}
		if v == nil {
			delete(e.properties, id)
			continue
		}
		e.properties[id] = v
	}
	if isNew {
		for id, def := range b.Properties {
			if _, given := p.Properties[id]; !given && def.Default != nil {
				e.properties[id] = def.Default
			}
		}
	}
	for _, id := range b.Required {
		if e.properties[id] == nil {
			return fail(Invalid, "properties.%s is required by blueprint %q", id, b.Identifier)
		}
	}
	return nil
}

func (c *Catalog) team(tx *sqldb.Tx, m *Model, account arn.Account, v any) ([]string, error) {
	out := []string{}
	switch v := v.(type) {
	case string:
		if v != "" {
			out = append(out, v)
		}
		return out, nil
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok || s == "" || len(s) > maxEntityID || len(out) == maxElements {
				return nil, fail(Invalid, "team must be a name, or a list of at most %d names", maxElements)
			}
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out, nil
	}
	if query.Is(v) {
		return c.lookup(tx, m, account, "_team", v, maxElements)
	}
	return nil, fail(Invalid, "team must be a name, or a list of names")
}

// save writes the rows.
func (c *Catalog) save(tx *sqldb.Tx, m *Model, b *Blueprint, account arn.Account, p *Put, old, e *row, have, want map[string][]link) error {
	rows, was := indexRows(b, e), []valueRow(nil)
	change := Change{Action: "CREATE", Resource: "entity", Blueprint: b.Identifier, Entity: e.id, After: document(b, e, want)}
	if old == nil {
		n, err := insertEntity(tx, account, e, p.fresh)
		if err != nil {
			return err
		}
		if n == 0 {
			return errThere
		}
	} else {
		was = indexRows(b, old)
		change.Action, change.Before = "UPDATE", document(b, old, have)
		if err := updateEntity(tx, account, old.k, e); err != nil {
			return err
		}
		stays := func(r valueRow) bool { return old.k == e.k && slices.Contains(rows, r) }
		if err := deleteValues(tx, account, b.Identifier, old.k, slices.DeleteFunc(slices.Clone(was), stays)); err != nil {
			return err
		}
	}
	if old != nil && old.k == e.k {
		rows = slices.DeleteFunc(rows, func(r valueRow) bool { return slices.Contains(was, r) })
	}
	if e.source != 0 && (old == nil || old.source != e.source) && p.By.Source != "" {
		if err := c.source(tx, account, p.By.Source); err != nil {
			return err
		}
	}
	if err := insertValues(tx, account, b.Identifier, e.k, rows); err != nil {
		return err
	}
	if err := saveLinks(tx, account, b, e.k, have, want); err != nil {
		return err
	}
	if (old == nil || old.k != e.k) && m.needed(b.Identifier) {
		if err := c.appeared(tx, account, b.Identifier, e.k); err != nil {
			return err
		}
	}
	return c.record(tx, account, p.By, change)
}

// errThere is an entity that was thought not to be there. Nothing was written yet.
var errThere = errors.New("the entity is there")

// source notes the name of a source, once.
func (c *Catalog) source(tx *sqldb.Tx, account arn.Account, name string) error {
	k := string(account) + "/" + name
	if _, known := c.sources.Load(k); known {
		return nil
	}
	tx.AfterCommit(func() {
		if c.sourceCount.Add(1) < maxSources {
			c.sources.Store(k, true)
		}
	})
	return insertSource(tx, account, name)
}

// maxSources bounds how many names of sources are kept.
const maxSources = 10_000

// maxLogged bounds what the log of changes keeps of a text, in bytes.
const maxLogged = 4 << 10

// document is an entity as the log of changes has it.
func document(b *Blueprint, e *row, links map[string][]link) map[string]any {
	relations := map[string]any{}
	for id, r := range b.Relations {
		names := []string{}
		for _, l := range links[id] {
			names = append(names, l.target)
		}
		switch {
		case r.Many:
			relations[id] = names
		case len(names) > 0:
			relations[id] = names[0]
		}
	}
	properties := map[string]any{}
	for id, v := range e.properties {
		if s, isText := v.(string); isText && len(s) > maxLogged {
			v = cut(s, maxLogged) + "…"
		}
		properties[id] = v
	}
	return map[string]any{"identifier": e.id, "title": e.title, "icon": nilIfEmpty(e.icon), "team": e.team, "blueprint": e.blueprint, "properties": properties,
		"relations": relations}
}

func nilIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}
