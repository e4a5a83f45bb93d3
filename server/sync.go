package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/cloudshape"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/imagedoc"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/sqldb"
)

const (
	// shapeVersion changes when documents do, so that everything is mapped again.
	shapeVersion = "1"
	syncPage     = 100 // repositories read at a time
	imagePage    = 50  // images mapped in one transaction
	// syncEvery is how often a node looks for accounts to synchronise unasked.
	syncEvery = 10 * time.Second
)

// run maps what is pending and synchronises accounts that ask for it, until ctx ends.
func (g *ingester) run(ctx context.Context) {
	if err := g.adopt(ctx); err != nil && ctx.Err() == nil {
		g.s.log.Warn("finding accounts without a catalog", "error", err)
	}
	t := time.NewTicker(syncEvery)
	defer t.Stop()
	due := time.NewTicker(time.Second)
	defer due.Stop()
	for whole := true; ; {
		if err := g.pending(ctx); err != nil && ctx.Err() == nil {
			g.s.log.Warn("mapping what is pending", "error", err)
		}
		if whole {
			if err := g.syncAll(ctx); err != nil && ctx.Err() == nil {
				g.s.log.Warn("synchronising the catalog", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			whole = true
		case <-g.s.catalog.Wake():
			whole = true
		case <-due.C:
			whole = false
		}
	}
}

// adopt gives accounts a catalog that have repositories from before there was one.
func (g *ingester) adopt(ctx context.Context) error {
	have, err := g.s.catalog.Accounts(ctx)
	if err != nil {
		return err
	}
	accounts, err := g.s.identity.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if slices.Contains(have, a.ID) {
			continue
		}
		regions, err := g.s.registry.Regions(ctx, a.ID)
		if err == nil && len(regions) > 0 {
			if err = g.s.catalog.AskSync(ctx, a.ID); err == nil { // first, so that it is not forgotten
				_, err = g.s.catalog.Model(ctx, a.ID)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pending maps resources whose mapping failed or that wait for an entity.
func (g *ingester) pending(ctx context.Context) error {
	for {
		list, err := g.s.catalog.Due(ctx, 50)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, p := range list {
			if err := g.again(ctx, p.Resource); err != nil {
				g.s.log.Warn("mapping a resource again", "kind", p.Kind, "resource", p.Name, "error", err)
			}
		}
	}
}

// again maps one resource as it is now.
func (g *ingester) again(ctx context.Context, r catalog.Resource) error {
	place := arn.Place{Account: r.Account, Region: r.Region}
	var err error
	switch r.Kind {
	case cloudshape.Repository:
		err = g.s.registry.Visit(ctx, place, r.Name, g.Repository)
	case imagedoc.Kind:
		repository, digest := splitImage(r.Name)
		err = g.s.registry.VisitImage(ctx, place, repository, digest, func(tx *sqldb.Tx, r *registry.Repository, i *registry.Image) error {
			_, err := g.image(tx, r, i, false, false)
			return err
		})
	}
	if code := registry.CodeOf(err); code != registry.RepositoryNotFound && code != registry.ImageNotFound {
		return err
	}
	return g.gone(ctx, r)
}

func splitImage(name string) (repository, digest string) {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '@' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// gone removes what a resource made that is no more.
func (g *ingester) gone(ctx context.Context, r catalog.Resource) error {
	in := g.ingest(arn.Place{Account: r.Account, Region: r.Region}, r.Kind, r.Name)
	return g.s.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := g.s.catalog.Ingest(tx, in)
		return err
	})
}

func (g *ingester) syncAll(ctx context.Context) error {
	accounts, err := g.s.catalog.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		m, err := g.s.catalog.Model(ctx, a)
		if err != nil {
			return err
		}
		by := g.mappedBy(a, m)
		fence, ok, err := g.s.catalog.TakeSync(ctx, a, by)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		y := &syncing{g: g, account: a, fence: fence, seen: map[string]bool{}}
		if err := y.run(ctx); err != nil {
			if ctx.Err() != nil { // another node, or the next start, goes on
				return err
			}
			y.report.Error = err.Error()
		}
		if err := g.s.catalog.EndSync(ctx, a, fence, y.report, by); err != nil {
			return err
		}
		g.s.log.Info("catalog synchronised", "account", a, "created", y.report.Created, "updated", y.report.Updated, "deleted", y.report.Deleted, "unchanged", y.report.Unchanged,
			"failed", y.report.Failed, "error", y.report.Error)
	}
	return nil
}

// mappedBy names what entities are made by, beside the resources.
func (g *ingester) mappedBy(a arn.Account, m *catalog.Model) string {
	host, secure := g.s.hosts.Registry(context.Background(), arn.Place{Account: a, Region: g.s.cfg.Region})
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%v\n%s", shapeVersion, host, secure, m.Digest()))
	return hex.EncodeToString(sum[:16])
}

// syncing is one account's synchronisation.
type syncing struct {
	g       *ingester
	account arn.Account
	fence   int64
	report  catalog.Report
	seen    map[string]bool // kind, region and key of each resource
	told    time.Time
	plan    *plan
}

func (y *syncing) mark(r catalog.Resource) {
	y.seen[r.Kind+" "+string(r.Region)+" "+catalog.Key(r.Name)] = true
}

// tell tells how far it is, now and then; an error ends it.
func (y *syncing) tell(ctx context.Context) error {
	if time.Since(y.told) < 500*time.Millisecond {
		return nil
	}
	y.told = time.Now()
	ok, err := y.g.s.catalog.KeepSync(ctx, y.account, y.fence, y.report)
	if err == nil && !ok {
		err = fmt.Errorf("another node has taken the synchronisation of %s over", y.account)
	}
	return err
}

func (y *syncing) run(ctx context.Context) error {
	m, err := y.g.s.catalog.Model(ctx, y.account)
	if err != nil {
		return err
	}
	p, err := y.g.plan(m.Mapping)
	if err != nil {
		return err
	}
	y.plan = p
	regions, err := y.g.s.registry.Regions(ctx, y.account)
	if err != nil {
		return err
	}
	images := p.config.Has(imagedoc.Kind)
	for _, work := range []func(context.Context, *registry.Repository) error{
		func(_ context.Context, r *registry.Repository) error { // count first, so that progress has an end
			if y.report.Total++; images {
				y.report.Total += int(r.Images)
			}
			return nil
		},
		y.repository,
		func(ctx context.Context, r *registry.Repository) error {
			if !images {
				return nil
			}
			return y.images(ctx, r)
		},
	} {
		for _, region := range regions {
			if err := y.each(ctx, arn.Place{Account: y.account, Region: region}, work); err != nil {
				return err
			}
		}
	}
	return y.stale(ctx, p.config.DeletionThreshold)
}

// each visits every repository of a place.
func (y *syncing) each(ctx context.Context, place arn.Place, fn func(context.Context, *registry.Repository) error) error {
	for after := ""; ; {
		list, err := y.g.s.registry.Repositories(ctx, place, after, syncPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, r := range list {
			if err := fn(ctx, r); err != nil {
				return err
			}
			if err := y.tell(ctx); err != nil {
				return err
			}
		}
		after = list[len(list)-1].Name
	}
}

func (y *syncing) repository(ctx context.Context, r *registry.Repository) error {
	y.report.Done++
	y.g.evaluate(ctx, y.plan, r)
	var n catalog.Ingested
	err := y.g.s.registry.Visit(ctx, r.Place, r.Name, func(tx *sqldb.Tx, r *registry.Repository) (err error) {
		n, err = y.g.repository(tx, r)
		return err
	})
	if registry.CodeOf(err) == registry.RepositoryNotFound { // it went meanwhile, and its entities with it
		return nil
	}
	y.mark(catalog.Resource{Kind: cloudshape.Repository, Region: r.Place.Region, Name: r.Name})
	y.report.Add(n)
	return err
}

func (y *syncing) images(ctx context.Context, r *registry.Repository) error {
	for after := ""; ; {
		digests, err := y.g.s.registry.Digests(ctx, r, after, imagePage)
		if err != nil || len(digests) == 0 {
			return err
		}
		for _, d := range digests {
			y.g.readFacts(ctx, r.Place, r.Name, d)
		}
		var n catalog.Ingested
		err = y.g.s.registry.VisitImages(ctx, r.Place, r.Name, digests, func(tx *sqldb.Tx, r *registry.Repository, list []*registry.Image) error {
			n = catalog.Ingested{}
			for _, i := range list {
				one, err := y.g.image(tx, r, i, false, false)
				if err != nil {
					return err
				}
				n.Add(one)
			}
			return nil
		})
		if registry.CodeOf(err) == registry.RepositoryNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		for _, d := range digests {
			y.mark(catalog.Resource{Kind: imagedoc.Kind, Region: r.Place.Region, Name: imageName(r.Name, d)})
		}
		y.report.Add(n)
		y.report.Done += len(digests)
		after = digests[len(digests)-1]
		if err := y.tell(ctx); err != nil {
			return err
		}
	}
}

// stale removes the entities of resources that are no more, unless they are more of a
// kind than the configuration wants removed at once.
func (y *syncing) stale(ctx context.Context, threshold float64) error {
	kinds, err := y.g.s.catalog.Kinds(ctx, y.account)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		var names []string
		total := 0
		for after := ""; ; {
			page, err := y.g.s.catalog.OriginsOf(ctx, y.account, k.Region, k.Kind, after, 1000)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			for _, name := range page {
				total++
				if !y.seen[k.Kind+" "+string(k.Region)+" "+name] {
					names = append(names, name)
				}
			}
			after = page[len(page)-1]
		}
		if len(names) > 0 && float64(len(names)) > threshold*float64(total) {
			y.report.Skipped = fmt.Sprintf("%d of %d resources of kind %s in %s are no longer there or no longer mapped, which is more than entityDeletionThreshold (%v) lets go at once: their entities are left",
				len(names), total, k.Kind, k.Region, threshold)
			continue
		}
		for _, name := range names {
			r := catalog.Resource{Account: y.account, Region: k.Region, Kind: k.Kind, Name: name}
			if err := y.remove(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes what a resource made, unless it has come back since it was looked for.
func (y *syncing) remove(ctx context.Context, r catalog.Resource) error {
	place := arn.Place{Account: r.Account, Region: r.Region}
	if r.Kind == cloudshape.Repository {
		if _, err := y.g.s.registry.Repository(ctx, place, r.Name); err == nil {
			return y.g.again(ctx, r)
		}
	}
	in := y.g.ingest(place, r.Kind, r.Name)
	var n catalog.Ingested
	err := y.g.s.db.Write(ctx, func(tx *sqldb.Tx) (err error) {
		n, err = y.g.s.catalog.Ingest(tx, in)
		return err
	})
	y.report.Add(n)
	return err
}
