package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/sqldb"
)

// Resource is something of the registry that entities are made of.
type Resource struct {
	Account arn.Account
	Region  arn.Region
	Kind    string // such as AWS::ECR::Repository
	Name    string
}

// Ingest is what a resource became.
type Ingest struct {
	Resource
	Model *Model // of TxModel; nil has it read
	// Results are the mapped entities; none for a resource that is gone.
	Results []mapping.Result
	// New says that the resource has just come to be, so that nothing of it is there.
	New bool
	// Owner, unless 0, is what the resource is a part of and goes with (DropOwner).
	Owner int64
	// Quiet leaves it out of the log of changes; what has an owner is left out anyway.
	Quiet bool
	// Merge leaves what the mapping does not say; else it is cleared.
	Merge bool
	// CreateMissing makes entities that relations name.
	CreateMissing bool
	By            Actor
}

// Ingested counts what an Ingest did to entities.
type Ingested struct {
	Created, Updated, Deleted, Unchanged, Failed int
}

// Add sums up.
func (n *Ingested) Add(o Ingested) {
	n.Created += o.Created
	n.Updated += o.Updated
	n.Deleted += o.Deleted
	n.Unchanged += o.Unchanged
	n.Failed += o.Failed
}

// Notice is something that went wrong with a resource's entities.
type Notice struct {
	Resource
	Blueprint string    `json:"blueprint"`
	Entity    string    `json:"entity"`
	Code      string    `json:"code"`
	Path      string    `json:"path"`
	Message   string    `json:"message"`
	At        time.Time `json:"at"`
	wait      Ref
}

// The codes of notices beside those of mapping.
const (
	UnknownBlueprint = "UNKNOWN_BLUEPRINT"
	UnknownProperty  = "UNKNOWN_PROPERTY"
	UnknownRelation  = "UNKNOWN_RELATION"
	InvalidValue     = "INVALID_VALUE"
	NotStored        = "NOT_STORED"
	Unresolved       = "NO_SUCH_ENTITY"
)

// maxNotices bounds what is kept of one resource.
const maxNotices = 50

// ErrRaced is an ingestion that met another one; the transaction is to be run again.
var ErrRaced = errors.New("another transaction changed the same entity")

// ingestion is one while it goes on.
type ingestion struct {
	*Ingest
	c       *Catalog
	tx      *sqldb.Tx
	m       *Model
	n       Ingested
	notices []Notice
	made    []Ref // by keys
	created []Ref // of those
}

// Ingest writes the entities of a resource within the transaction that changes it, and
// removes those that it no longer makes. What cannot be stored does not fail it: it
// becomes a notice.
func (c *Catalog) Ingest(tx *sqldb.Tx, in *Ingest) (Ingested, error) {
	i := &ingestion{Ingest: in, c: c, tx: tx, m: in.Model}
	in.By.quiet = in.Owner != 0 || in.Quiet // a push, of which there are many, and each has its record
	var old []Ref
	var err error
	if i.m == nil {
		if i.m, err = c.txModel(tx, in.Account); err != nil {
			return Ingested{}, err
		}
	}
	if !in.New {
		old, err = txOrigins(tx, in.Resource)
	}
	if err == nil {
		err = i.run(old)
	}
	if errors.Is(err, sqldb.ErrUnique) { // only where there are several writers
		err = ErrRaced
	}
	return i.n, err
}

func (i *ingestion) run(old []Ref) error {
	failed := false
	for r := range i.Results {
		failed = failed || i.Results[r].Failed
		for _, n := range i.Results[r].Notices {
			i.notice(n, "", "", Ref{})
		}
		for e := range i.Results[r].Entities {
			if err := i.entity(&i.Results[r].Entities[e]); err != nil {
				return err
			}
		}
	}
	if !failed { // what exists of a resource that cannot be mapped is not stale
		for _, ref := range old {
			if !slices.Contains(i.made, ref) {
				if err := i.stale(ref); err != nil {
					return err
				}
			}
		}
	}
	for _, ref := range i.made {
		if slices.Contains(old, ref) {
			continue
		}
		if err := insertOrigin(i.tx, i.Resource, ref); err != nil {
			return err
		}
		if slices.Contains(i.created, ref) {
			continue
		}
		if err := shareEntity(i.tx, i.Account, ref); err != nil {
			return err
		}
	}
	if i.New && len(i.notices) == 0 {
		return nil
	}
	if err := replaceNotices(i.tx, i.Resource, i.notices, i.c.now()); err != nil {
		return err
	}
	return deletePending(i.tx, i.Resource)
}

func (i *ingestion) notice(n mapping.Notice, blueprint, entity string, wait Ref) {
	if len(i.notices) < maxNotices {
		i.notices = append(i.notices, Notice{Resource: i.Resource, Blueprint: blueprint, Entity: entity, Code: string(n.Code), Path: n.Path, Message: n.Text, wait: wait})
	}
}

// entity writes one.
func (i *ingestion) entity(e *mapping.Entity) error {
	say := func(code, path, format string, args ...any) {
		i.notice(mapping.Notice{Code: mapping.Code(code), Path: path, Text: fmt.Sprintf(format, args...)}, e.Blueprint, e.Identifier, Ref{})
	}
	b := i.m.blueprints[e.Blueprint]
	if b == nil {
		i.n.Failed++
		i.notice(mapping.Notice{Code: UnknownBlueprint, Path: "blueprint", Text: fmt.Sprintf("there is no blueprint %q", e.Blueprint)}, e.Blueprint, e.Identifier, Ref{})
		return nil
	}
	for _, s := range e.Steps {
		for _, n := range s.Notices {
			if n.Code == mapping.Failed || n.Code == mapping.BadName || n.Code == mapping.ManyValues {
				i.notice(n, e.Blueprint, e.Identifier, Ref{})
			}
		}
	}
	p := &Put{Blueprint: e.Blueprint, Identifier: e.Identifier, Title: word(e.Title), Icon: word(e.Icon), Team: teamOf(e.Team), Mode: Replace, By: i.By, Properties: map[string]any{},
		links: map[string][]link{}, owner: i.Owner, fresh: i.New}
	if i.Merge {
		p.Mode = Merge
	}
	for id, v := range e.Properties {
		def := b.Properties[id]
		if def == nil {
			say(UnknownProperty, "properties."+id, "blueprint %q has no property %q", e.Blueprint, id)
			continue
		}
		if n, isInt := v.(int); isInt { // of an expression that is a number
			v = float64(n)
		}
		if why := def.check(v); why != "" {
			say(InvalidValue, "properties."+id, "%s", why)
			continue
		}
		p.Properties[id] = v
	}
	for id, l := range e.Relations {
		r := b.Relations[id]
		if r == nil {
			say(UnknownRelation, "relations."+id, "blueprint %q has no relation %q", e.Blueprint, id)
			continue
		}
		if err := i.link(p, id, r, l); err != nil {
			return err
		}
	}
	if ref, ok, err := i.waits(b, p); err != nil || ok {
		i.notice(mapping.Notice{Code: Unresolved, Path: "relations", Text: fmt.Sprintf("it needs the entity %q of blueprint %q, which does not exist", ref.Identifier, ref.Blueprint)},
			e.Blueprint, e.Identifier, ref)
		i.n.Failed++
		return err
	}
	return i.put(p)
}

func (i *ingestion) put(p *Put) error {
	w, err := i.c.put(i.tx, i.m, i.Account, p)
	var own *Error
	if errors.As(err, &own) && own.Code != Unavailable && own.Code != StorageFull {
		i.n.Failed++
		i.notice(mapping.Notice{Code: NotStored, Path: p.Blueprint, Text: own.Message}, p.Blueprint, p.Identifier, Ref{})
		// What there is of it stays as it was.
		if e, gone, err := txAnyEntity(i.tx, i.Account, p.Blueprint, key(p.Identifier)); err != nil || e == nil || gone {
			return err
		}
	} else if err != nil {
		return err
	}
	ref := Ref{p.Blueprint, key(p.Identifier)}
	if !slices.Contains(i.made, ref) {
		i.made = append(i.made, ref)
	}
	switch {
	case err != nil:
	case w.Created:
		i.n.Created++
		i.created = append(i.created, ref)
	case w.Changed:
		i.n.Updated++
	default:
		i.n.Unchanged++
	}
	return nil
}

// link turns a mapped relation into links, which name what there may not be yet.
func (i *ingestion) link(p *Put, id string, r *Relation, l mapping.Link) error {
	p.links[id] = nil
	for n, name := range l.Names {
		if n > 0 && !r.Many || n == maxLinks {
			break
		}
		if checkID(name) != "" && (l.Fixed == nil || checkID(l.Fixed[n]) != "") {
			continue // it can name no entity
		}
		one := link{target: key(name), kept: true}
		if l.Fixed != nil && l.Fixed[n] != name {
			one.alt = key(l.Fixed[n])
		}
		p.links[id] = append(p.links[id], one)
		if !i.CreateMissing {
			continue
		}
		there, err := i.exists(r.Target, one.target, one.alt)
		if err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		if err := i.c.createMissing(i.tx, i.m, i.Account, r.Target, l.Create[n], i.By); err != nil {
			var own *Error
			if !errors.As(err, &own) {
				return err
			}
			i.notice(mapping.Notice{Code: NotStored, Path: "relations." + id, Text: own.Message}, p.Blueprint, p.Identifier, Ref{})
		}
	}
	return nil
}

func (i *ingestion) exists(blueprint string, keys ...string) (bool, error) {
	list, err := readEntities(i.tx.Query, i.Account, blueprint, slices.DeleteFunc(keys, func(k string) bool { return k == "" }), "")
	return len(list) > 0, err
}

// waits reports whether a required relation names what does not exist yet.
func (i *ingestion) waits(b *Blueprint, p *Put) (Ref, bool, error) {
	for id, r := range b.Relations {
		if !r.Required || len(p.links[id]) == 0 {
			continue
		}
		l := p.links[id][0]
		if r.Target == p.Blueprint && l.target == key(p.Identifier) {
			continue
		}
		if there, err := i.exists(r.Target, l.target, l.alt); err != nil || !there {
			return Ref{r.Target, l.target}, !there, err
		}
	}
	return Ref{}, false, nil
}

// stale removes what a resource no longer makes, unless another one does.
func (i *ingestion) stale(ref Ref) error {
	if err := deleteOrigin(i.tx, i.Resource, ref); err != nil {
		return err
	}
	e, gone, err := txAnyEntity(i.tx, i.Account, ref.Blueprint, ref.Identifier)
	if err != nil || e == nil || gone {
		return err
	}
	if e.shared {
		if others, err := hasOrigins(i.tx, i.Account, ref); err != nil || others {
			return err
		}
	}
	i.n.Deleted++
	return i.c.remove(i.tx, i.m, i.Account, e, true, i.By)
}

// word is a title or icon that a mapping made: nil when it is none.
func word(v any) *string {
	var s string
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		s = v
	default:
		s = preview(v)
	}
	if s == "" {
		return nil
	}
	return &s
}

func teamOf(v any) any {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		return slices.DeleteFunc(slices.Clone(v), func(item any) bool { s, ok := item.(string); return !ok || s == "" })
	}
	return nil
}

// TxModel is the model of an account within a transaction, for an Ingest in it.
func (c *Catalog) TxModel(tx *sqldb.Tx, account arn.Account) (*Model, error) {
	return c.txModel(tx, account)
}

// Key is a resource's name as OriginsOf returns it.
func Key(name string) string { return key(name) }

// DropOwner makes all entities of an owner gone, however many they are: those that were
// made of the resources of r's kind whose names begin with its name. They are cleared away
// later.
func (c *Catalog) DropOwner(tx *sqldb.Tx, r Resource, owner int64) error {
	return insertGone(tx, r, owner, c.now())
}

// Delay notes that a resource is yet to be mapped, and why not now.
func (c *Catalog) Delay(tx *sqldb.Tx, r Resource, due time.Time, reason string) error {
	if err := upsertPending(tx, r, due, cut(reason, 1000)); err != nil {
		return err
	}
	tx.AfterCommit(c.wakeUp)
	return nil
}

func (c *Catalog) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Wake receives when something may be pending.
func (c *Catalog) Wake() <-chan struct{} { return c.wake }

// Pending is a resource that is yet to be mapped.
type Pending struct {
	Resource
	Due    time.Time
	Tries  int64
	Reason string
}

// Due returns resources that are to be mapped now, and keeps them from being returned
// again for a while.
func (c *Catalog) Due(ctx context.Context, limit int) ([]Pending, error) {
	var out []Pending
	some, err := c.anyDue(ctx)
	if err != nil || !some {
		return nil, storage(err)
	}
	err = c.db.Write(ctx, func(tx *sqldb.Tx) error {
		var err error
		out, err = txDue(tx, c.now(), limit)
		for i := range out {
			if err == nil {
				wait := min(time.Second<<min(out[i].Tries, 12), time.Hour)
				err = retryPending(tx, out[i].Resource, c.now().Add(wait))
			}
		}
		return err
	})
	return out, storage(err)
}

// appeared has the resources mapped again that waited for an entity.
func (c *Catalog) appeared(tx *sqldb.Tx, account arn.Account, blueprint, k string) error {
	list, err := txWaiting(tx, account, Ref{blueprint, k})
	for _, r := range list {
		if err == nil {
			err = c.Delay(tx, r, c.now(), "what it needs has appeared")
		}
	}
	return err
}

// Notices returns what went wrong, of one resource or, with an empty one, of all of an
// account, in order, after another.
func (c *Catalog) Notices(ctx context.Context, r Resource, after Resource, limit int) ([]Notice, error) {
	list, err := c.readNotices(ctx, r, after, limit)
	return list, storage(err)
}

// Pendings returns what is yet to be mapped.
func (c *Catalog) Pendings(ctx context.Context, account arn.Account, limit int) ([]Pending, error) {
	list, err := c.readPending(ctx, account, limit)
	return list, storage(err)
}

// OriginsOf are the resources of a kind in a region that made entities, by name after
// one given.
func (c *Catalog) OriginsOf(ctx context.Context, account arn.Account, region arn.Region, kind, after string, limit int) ([]string, error) {
	list, err := c.readOriginNames(ctx, account, region, kind, after, limit)
	return list, storage(err)
}

// Dangling is a relation that names what does not exist.
type Dangling struct {
	Blueprint  string   `json:"blueprint"`
	Identifier string   `json:"identifier"`
	Relation   string   `json:"relation"`
	Target     string   `json:"target"` // the blueprint
	Names      []string `json:"names"`  // the spellings that were looked for
}

// Unresolved returns relations that were made from the registry and name nothing that
// exists: they are made as soon as it does.
func (c *Catalog) Unresolved(ctx context.Context, account arn.Account, limit int) ([]Dangling, error) {
	list, err := c.readUnresolved(ctx, account, limit)
	return list, storage(err)
}

// KindIn is a kind of resource in a region.
type KindIn struct {
	Region arn.Region
	Kind   string
}

// Kinds are those whose resources made entities of an account.
func (c *Catalog) Kinds(ctx context.Context, account arn.Account) ([]KindIn, error) {
	list, err := c.readKinds(ctx, account)
	return list, storage(err)
}
