package declare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/arn"
)

// ledgerPage is how many entries are written at a time.
const ledgerPage = 500

// rememberTime is how long the ledger may take to learn what was done.
const rememberTime = 30 * time.Second

// Apply does what a plan says. Whatever stops it, doing it again from a new plan ends in
// the same state: what is claimed is claimed first, and everything else compares before
// it acts. Failures of single repositories do not stop the others.
func (b *Backend) Apply(ctx context.Context, p *Plan) error {
	for _, c := range p.of(Account, Create) {
		if err := b.Accounts.Create(ctx, c.Account, c.Fields[0].After); err != nil {
			return fmt.Errorf("create account %s: %w", c.Account, plain(err))
		}
	}
	a := &applier{b, p, map[arn.Place]Clients{}, map[*Change]bool{}}
	for _, c := range p.Changes {
		if _, ok := a.clients[c.place()]; ok || c.Kind == Account {
			continue
		}
		clients, err := b.Connect(ctx, c.place())
		if err != nil {
			return err
		}
		a.clients[c.place()] = clients
	}
	if err := a.claim(ctx); err != nil {
		return err
	}
	err := a.all(ctx)
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberTime) // also of what was done before it was interrupted
	defer cancel()
	return errors.Join(err, a.remember(after))
}

type applier struct {
	*Backend
	plan    *Plan
	clients map[arn.Place]Clients
	failed  map[*Change]bool
}

// of lists a plan's changes of a kind with one of some actions.
func (p *Plan) of(k Kind, actions ...Action) []*Change {
	return slices.DeleteFunc(slices.Clone(p.Changes), func(c *Change) bool { return c.Kind != k || !slices.Contains(actions, c.Action) })
}

// bySource groups entries for the ledger's calls.
func bySource(notes []note) map[arn.Place]map[string][]line {
	out := map[arn.Place]map[string][]line{}
	for _, n := range notes {
		if out[n.place] == nil {
			out[n.place] = map[string][]line{}
		}
		out[n.place][n.entry.Source] = append(out[n.place][n.entry.Source], n.entry)
	}
	return out
}

func (a *applier) put(ctx context.Context, notes []note) error {
	for place, sources := range bySource(notes) {
		for source, entries := range sources {
			for page := range slices.Chunk(entries, ledgerPage) {
				if err := a.Ledger.Put(ctx, place, source, page, a.plan.from[place]); err != nil {
					return fmt.Errorf("declare in account %s: %w", place.Account, plain(err))
				}
			}
		}
	}
	return nil
}

// claim has the ledger say whose everything is, before it is touched.
func (a *applier) claim(ctx context.Context) error {
	if a.Ledger == nil {
		return nil
	}
	var notes []note
	for _, c := range a.plan.Changes {
		if c.Kind != Account && c.Action != Delete {
			notes = append(notes, note{place: c.place(), entry: c.entry(true)})
		}
	}
	return a.put(ctx, notes)
}

// remember has the ledger say what was done.
func (a *applier) remember(ctx context.Context) error {
	if a.Ledger == nil {
		return nil
	}
	var notes []note
	gone := map[arn.Place]map[string][]key{}
	strike := func(place arn.Place, source string, k key) {
		if gone[place] == nil {
			gone[place] = map[string][]key{}
		}
		gone[place][source] = append(gone[place][source], k)
	}
	for _, n := range a.plan.record {
		if n.strike {
			strike(n.place, n.entry.Source, n.entry.Key)
		} else {
			notes = append(notes, n)
		}
	}
	for _, c := range a.plan.Changes {
		switch {
		case c.Kind == Account || a.failed[c]:
		case c.Action == Delete:
			strike(c.place(), c.Source, c.key())
		default:
			notes = append(notes, note{place: c.place(), entry: c.entry(false)})
		}
	}
	err := a.put(ctx, notes)
	for place, sources := range gone {
		for source, keys := range sources {
			for page := range slices.Chunk(keys, ledgerPage) {
				if derr := a.Ledger.Delete(ctx, place, source, page); derr != nil {
					err = errors.Join(err, fmt.Errorf("end declarations in account %s: %w", place.Account, plain(derr)))
				}
			}
		}
	}
	return err
}

// all makes, changes and deletes, in an order in which nothing is named before it is
// there. When what others need fails, it stops.
func (a *applier) all(ctx context.Context) error {
	total := len(a.plan.Changes) - len(a.plan.of(Account, Create))
	done := 0
	run := func(changes []*Change, do func(context.Context, *Change) error) error {
		errs := make(chan *Change, len(changes))
		err := each(ctx, len(changes), func(ctx context.Context, i int) error {
			c := changes[i]
			err := do(ctx, c)
			if err != nil {
				errs <- c
				err = fmt.Errorf("%s %s %s in account %s: %w", c.Action, c.Kind, c.Name, c.Account, plain(err))
			}
			return err
		}, func(n int) { a.progress("applying", done+n, total) })
		close(errs)
		for c := range errs {
			a.failed[c] = true
		}
		done += len(changes)
		return err
	}
	build := []Action{Create, Update, Adopt}
	for _, k := range []Kind{Provider, Role} {
		if err := run(a.plan.of(k, build...), a.change); err != nil {
			for _, c := range a.plan.Changes { // what comes after was not done
				a.failed[c] = a.failed[c] || slices.Index(order, c.Kind) > slices.Index(order, k) || c.Action == Delete
			}
			return err
		}
	}
	var failed failures
	for _, k := range []Kind{Repository, Template, RegistryPolicy} {
		failed.add(run(a.plan.of(k, build...), a.change))
	}
	for _, k := range []Kind{RegistryPolicy, Template, Repository, Role, Provider} {
		failed.add(run(a.plan.of(k, Delete), a.remove))
	}
	return failed.err()
}

func (a *applier) change(ctx context.Context, c *Change) error {
	clients := a.clients[c.place()]
	switch c.Kind {
	case Provider:
		return putProvider(ctx, clients.IAM, c)
	case Role:
		return putRole(ctx, clients.IAM, c)
	case Repository:
		return putRepository(ctx, clients.ECR, c)
	case Template:
		return putTemplate(ctx, clients.ECR, c)
	}
	return putRegistryPolicy(ctx, clients.ECR, c)
}

func (a *applier) remove(ctx context.Context, c *Change) error {
	clients := a.clients[c.place()]
	switch c.Kind {
	case Provider:
		return deleteProvider(ctx, clients.IAM, c)
	case Role:
		return deleteRole(ctx, clients.IAM, c.Name)
	case Repository:
		return deleteRepository(ctx, clients.ECR, c.Name, a.plan.force)
	case Template:
		return deleteTemplate(ctx, clients.ECR, c.Name)
	}
	return deleteRegistryPolicy(ctx, clients.ECR)
}

// set returns what fields shall become.
func (c *Change) set() map[string]string {
	out := map[string]string{}
	for _, f := range c.Fields {
		out[f.Field] = f.After
	}
	return out
}

// whole is all that is declared, where a call sets everything at once.
func (c *Change) whole() map[string]string { return maps.Clone(c.resource.Fields) }
