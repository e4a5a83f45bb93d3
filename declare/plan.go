package declare

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/config"
)

// planner makes one plan.
type planner struct {
	*Backend
	o        Options
	want     *wanted
	plan     *Plan
	problems config.Problems
	hosted   map[arn.Account]bool              // nil when nobody can say
	declared map[arn.Place]map[key][]*Resource // several only of what files share
	entries  map[arn.Place]map[key][]*line
	actual   map[arn.Place]map[key]map[string]string
}

// Make compares what files declare with what is there. What must not be done is told as
// config.Problems, all of it, and nothing is planned then.
func (b *Backend) Make(ctx context.Context, files []*config.File, o Options) (*Plan, error) {
	p := &planner{Backend: b, o: o, want: desire(files, o), plan: &Plan{Changes: []*Change{}, Kept: []Kept{}, Warnings: []string{}, Grants: []Grant{}, from: map[arn.Place][]string{}, force: o.Force},
		declared: map[arn.Place]map[key][]*Resource{}, entries: map[arn.Place]map[key][]*line{}, actual: map[arn.Place]map[key]map[string]string{}}
	if p.problems = p.want.problems; len(p.problems) > 0 {
		return nil, p.problems
	}
	p.plan.Warnings, p.plan.Grants = append(p.plan.Warnings, p.want.warnings...), append(p.plan.Grants, p.want.grants...)
	if err := p.accounts(ctx); err != nil {
		return nil, err
	}
	for _, r := range p.want.resources {
		if p.declared[r.Place] == nil {
			p.declared[r.Place] = map[key][]*Resource{}
		}
		p.declared[r.Place][r.Key] = append(p.declared[r.Place][r.Key], r)
	}
	for place := range p.want.places {
		if err := p.read(ctx, place); err != nil {
			return nil, err
		}
	}
	for place := range p.want.places {
		p.compare(place)
		if err := p.leftOver(ctx, place); err != nil {
			return nil, err
		}
	}
	if len(p.problems) > 0 {
		slices.SortStableFunc(p.problems, func(a, b config.Problem) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, p.problems
	}
	p.plan.sort()
	return p.plan, nil
}

// maxAccountName is how long an account's name may be, in bytes.
const maxAccountName = 50

// accounts plans those that are named and not there.
func (p *planner) accounts(ctx context.Context) error {
	if p.Accounts == nil {
		return nil
	}
	list, err := p.Accounts.List(ctx)
	if err != nil {
		return fmt.Errorf("list the accounts: %w", plain(err))
	}
	p.hosted = map[arn.Account]bool{}
	for _, a := range list {
		p.hosted[a] = true
	}
	if p.o.Destroy {
		return nil
	}
	missing := maps.Clone(p.want.accounts)
	for a := range p.want.landing {
		if missing[a] == "" {
			missing[a] = "account " + string(a)
		}
	}
	for id, name := range missing {
		if !p.hosted[id] {
			if name == "" {
				name = "account " + string(id)
			}
			p.plan.Changes = append(p.plan.Changes, &Change{Action: Create, Kind: Account, Name: string(id), Account: id,
				Fields: []FieldChange{{Field: "name", After: strings.ToValidUTF8(name[:min(len(name), maxAccountName)], "")}}})
		}
	}
	return nil
}

// read reads the ledger of a place, and what is there of what is declared or was.
func (p *planner) read(ctx context.Context, place arn.Place) error {
	p.entries[place], p.actual[place] = map[key][]*line{}, map[key]map[string]string{}
	if p.hosted != nil && !p.hosted[place.Account] {
		return nil
	}
	if err := p.readLedger(ctx, place); err != nil {
		return err
	}
	fields := map[key]map[string]bool{}
	need := func(k key, from map[string]string) {
		if fields[k] == nil {
			fields[k] = map[string]bool{}
		}
		for f := range from {
			fields[k][f] = true
		}
	}
	for k, list := range p.declared[place] {
		need(k, list[0].Fields)
	}
	for k, list := range p.entries[place] {
		for _, e := range list {
			if p.want.sources[e.Source] {
				need(k, e.Spec)
			}
		}
	}
	if len(fields) == 0 {
		return nil
	}
	c, err := p.Connect(ctx, place)
	if err != nil {
		return err
	}
	if p.actual[place], err = read(ctx, c, place, fields, p.progress); err != nil {
		return err
	}
	for k := range p.declared[place] {
		if _, exists := p.actual[place][k]; exists && p.entries[place][k] == nil {
			// Somebody may have claimed and made it since: claims come first.
			return p.readLedger(ctx, place)
		}
	}
	return nil
}

func (p *planner) readLedger(ctx context.Context, place arn.Place) error {
	if p.Ledger == nil {
		return nil
	}
	list, err := p.Ledger.List(ctx, place)
	if err != nil {
		return fmt.Errorf("read what is declared in account %s: %w", place.Account, plain(err))
	}
	p.entries[place] = map[key][]*line{}
	for i := range list {
		p.entries[place][list[i].Key] = append(p.entries[place][list[i].Key], &list[i])
	}
	return nil
}

// own is the entry of a source, or that of the file that has the thing.
func own(list []*line, r *Resource) (mine, other *line) {
	for _, e := range list {
		if e.Source == r.Source {
			mine = e
		} else if r.Kind != Provider {
			other = e
		}
	}
	return mine, other
}

// compare plans the things that a place shall have.
func (p *planner) compare(place arn.Place) {
	for k, list := range p.declared[place] {
		for i, r := range list {
			mine, other := own(p.entries[place][k], r)
			c := &Change{Action: Create, Kind: k.Kind, Name: k.Name, Account: place.Account, Region: place.Region, Source: r.Source, Module: r.Module, Line: r.Pos.Line, resource: r}
			if i > 0 { // the first one's file makes it
				p.settle(c, mine, true)
				continue
			}
			p.compareOne(c, mine, other)
		}
	}
}

func (p *planner) compareOne(c *Change, mine, other *line) {
	r, place := c.resource, c.place()
	there, exists := p.actual[place][c.key()]
	switch {
	case other != nil && !p.want.sources[other.Source] && !slices.Contains(p.o.AdoptFrom, other.Source):
		p.refuse(r, "%s %q in account %s is declared by %s: remove it there first and give both files, or give --adopt-from %s", c.Kind, c.Name, c.Account, other.Where(), other.Source)
		return
	case other != nil:
		c.From, mine = other.Source, other
		p.plan.from[place] = append(p.plan.from[place], other.Source)
	case exists && mine == nil && p.Ledger != nil && c.Kind != Provider && !p.o.Adopt:
		p.refuse(r, "%s %q exists already in account %s and no file declares it: give --adopt to take it over", c.Kind, c.Name, c.Account)
		return
	}
	if exists {
		c.Action = Update
		if mine == nil {
			// Unless another file has made it, as it may have what files share.
			c.adopted = !slices.ContainsFunc(p.entries[place][c.key()], func(e *line) bool { return !e.Adopted })
			if p.Ledger != nil && c.Kind != Provider {
				c.Action = Adopt
			}
		}
	}
	if mine != nil {
		c.spec, c.adopted = mine.Spec, mine.Adopted
	}
	p.diff(c, r, mine, there)
	p.settle(c, mine, c.Action == Update && len(c.Fields) == 0 && c.From == "")
}

func (p *planner) refuse(r *Resource, format string, args ...any) {
	p.problems = append(p.problems, config.Problem{Pos: r.Pos, Text: fmt.Sprintf(format, args...)})
}

// settle takes a change into the plan, or only into the ledger when nothing has to
// change but what is known.
func (p *planner) settle(c *Change, mine *line, same bool) {
	if !same {
		p.plan.Changes = append(p.plan.Changes, c)
		return
	}
	p.plan.Same++
	now := c.entry(false)
	if p.Ledger != nil && (mine == nil || mine.Pending || mine.Module != now.Module || mine.Line != now.Line || !maps.Equal(mine.Spec, now.Spec)) {
		p.plan.record = append(p.plan.record, note{place: c.place(), entry: now})
	}
}

// entry is the ledger's line of a change. While it is pending, it tells of all that may
// have been set: what was, and what shall be.
func (c *Change) entry(pending bool) line {
	e := line{Key: c.key(), Source: c.Source, Module: c.Module, Line: c.Line, Pending: pending, Adopted: c.adopted}
	if e.Spec = spec(c.resource.Fields); pending {
		all := maps.Clone(c.spec)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, e.Spec)
		e.Spec = all
	}
	return e
}

// diff finds the fields that differ.
func (p *planner) diff(c *Change, r *Resource, mine *line, there map[string]string) {
	last := map[string]string{}
	if mine != nil && !mine.Pending {
		last = mine.Spec
	}
	now := spec(r.Fields)
	for _, f := range slices.Sorted(maps.Keys(r.Fields)) {
		before, after := there[f], r.Fields[f]
		tag := strings.HasPrefix(f, fieldTag) // an empty one is one, too
		if there == nil {
			if after != "" || tag {
				c.Fields = append(c.Fields, FieldChange{Field: f, After: after})
			}
			continue
		}
		if _, has := there[f]; has && canonical(f, before) == canonical(f, after) || !has && after == "" && !tag {
			continue
		}
		if f == fieldKMSKey && sameKey(before, after) {
			continue
		}
		if c.Kind == Repository && (f == fieldEncryption || f == fieldKMSKey) {
			p.refuse(r, "%s of repository %q is %s and cannot become %s: a repository's encryption is fixed when it is created", f, c.Name, or(before, "none"), or(after, "none"))
			continue
		}
		was, known := last[f]
		c.Fields = append(c.Fields, FieldChange{Field: f, Before: before, After: after, Drift: known && was == now[f]})
	}
	if mine != nil && there != nil { // what the file said once and says no longer
		for _, f := range slices.Sorted(maps.Keys(mine.Spec)) {
			if _, still := r.Fields[f]; still || f == fieldEncryption || f == fieldKMSKey {
				continue
			}
			before, has := there[f]
			after := defaultOf(c.Kind, f)
			if has && (before != after || strings.HasPrefix(f, fieldTag)) {
				c.Fields = append(c.Fields, FieldChange{Field: f, Before: before, After: after, Removed: after == ""})
			}
		}
	}
	c.Drift = slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return f.Drift }) || there == nil && mine != nil && !mine.Pending
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// sameKey reports whether a key that was named by alias or id may be the one that an
// answer shows by ARN: which key an alias means is not known here.
func sameKey(shown, named string) bool {
	return named == "" || shown != "" && (strings.HasSuffix(shown, "/"+named) || strings.HasPrefix(named, "alias/") || strings.Contains(named, ":alias/"))
}

// leftOver plans what the files of this run declared once and do no longer.
func (p *planner) leftOver(ctx context.Context, place arn.Place) error {
	var doomed []*Change
	for k, list := range p.entries[place] {
		for _, e := range list {
			if !p.want.sources[e.Source] || p.still(place, k, e.Source) {
				continue
			}
			_, exists := p.actual[place][k]
			shared := k.Kind == Provider && (e.Adopted || len(list) > 1)
			switch {
			case !exists || shared:
				p.plan.record = append(p.plan.record, note{place: place, entry: *e, strike: true})
			case k.Kind == Repository && !p.o.Prune && !p.o.Destroy:
				p.plan.Kept = append(p.plan.Kept, Kept{k.Kind, k.Name, place.Account, place.Region, e.Source})
			default:
				doomed = append(doomed, &Change{Action: Delete, Kind: k.Kind, Name: k.Name, Account: place.Account, Region: place.Region, Source: e.Source, Module: e.Module, Line: e.Line, spec: e.Spec})
			}
		}
	}
	if len(doomed) == 0 {
		return nil
	}
	p.plan.Changes = append(p.plan.Changes, doomed...)
	if p.o.Force {
		return nil
	}
	c, err := p.Connect(ctx, place)
	if err != nil {
		return err
	}
	repositories := slices.DeleteFunc(slices.Clone(doomed), func(c *Change) bool { return c.Kind != Repository })
	full := make(chan *Change, len(repositories))
	err = each(ctx, len(repositories), func(ctx context.Context, i int) error {
		holds, err := holdsImages(ctx, c.ECR, repositories[i].Name)
		if holds {
			full <- repositories[i]
		}
		return err
	}, func(n int) { p.progress("looking for images", n, len(repositories)) })
	close(full)
	for r := range full {
		p.problems = append(p.problems, config.Problem{Pos: config.Pos{File: r.Source, Line: r.Line, Column: 1},
			Text: fmt.Sprintf("repository %q would be deleted, and holds images: give --force to delete them too, or list it again", r.Name)})
	}
	return err
}

// still reports whether a thing is declared in this run by the source, or has gone over
// from it to another.
func (p *planner) still(place arn.Place, k key, source string) bool {
	return slices.ContainsFunc(p.declared[place][k], func(r *Resource) bool { return r.Source == source || k.Kind != Provider })
}
