package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/cloudshape"
	"github.com/berth-registry/berth/aws/ecrapi"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/imagedoc"
	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/catalog/mapping/runner"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/sqldb"
)

// ingester brings what happens in the registry into the catalog, within the transaction
// in which it happens. Mappings that need limits are evaluated outside of it: the
// transaction is rolled back, the mapping evaluated on what the transaction had made, and
// the transaction run again; when it comes to the same, the result is there.
type ingester struct {
	s       *Server
	program string
	mu      sync.Mutex
	plans   map[string]*plan // by configuration
	ready   map[string]outcome
	facts   map[string]imagedoc.Facts // by config digest and manifest digest
	delayed map[catalog.Resource]string
	// told is what images were mapped from last. Only one process that writes can keep it.
	told map[catalog.Resource][sha256.Size]byte
}

var _ registry.Watcher = (*ingester)(nil)

// plan is a configuration that has been read.
type plan struct {
	config *mapping.Config
	text   []byte
	run    *runner.Runner
	used   time.Time
}

// outcome is an evaluation that is ready.
type outcome struct {
	results []mapping.Result
	err     error
	at      time.Time
}

// Limits of what is kept.
const (
	maxPlans    = 8
	maxReady    = 2000
	maxFacts    = 5000
	outcomeLife = 30 * time.Second
	failureLife = 2 * time.Second
	// mappers is how many processes evaluate the mappings of one configuration.
	mappers = 2
)

func newIngester(s *Server) (*ingester, error) {
	program, err := os.Executable()
	return &ingester{s: s, program: program, plans: map[string]*plan{}, ready: map[string]outcome{}, facts: map[string]imagedoc.Facts{},
		delayed: map[catalog.Resource]string{}, told: map[catalog.Resource][sha256.Size]byte{}}, err
}

// plan reads a configuration, which was checked when it was stored.
func (g *ingester) plan(text []byte) (*plan, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.plans[string(text)]; p != nil {
		p.used = time.Now()
		return p, nil
	}
	config, err := mapping.Read(text)
	if err != nil {
		return nil, err
	}
	if len(g.plans) >= maxPlans {
		g.dropPlan()
	}
	p := &plan{config: config, text: text, run: runner.New(g.program, text, mappers), used: time.Now()}
	g.plans[string(text)] = p
	return p, nil
}

// dropPlan lets go of the one that was not used for longest.
func (g *ingester) dropPlan() {
	oldest := ""
	for k, p := range g.plans {
		if oldest == "" || p.used.Before(g.plans[oldest].used) {
			oldest = k
		}
	}
	go g.plans[oldest].run.Close() // once its evaluations are done
	delete(g.plans, oldest)
}

// close ends the processes.
func (g *ingester) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, p := range g.plans {
		p.run.Close()
		delete(g.plans, k)
	}
}

// Repository implements registry.Watcher.
func (g *ingester) Repository(tx *sqldb.Tx, r *registry.Repository) error {
	_, err := g.repository(tx, r)
	return err
}

func (g *ingester) repository(tx *sqldb.Tx, r *registry.Repository) (catalog.Ingested, error) {
	in := g.ingest(r.Place, cloudshape.Repository, r.Name)
	return g.write(tx, in, func() (any, bool) { return g.repositoryDocument(r), true })
}

func (g *ingester) repositoryDocument(r *registry.Repository) cloudshape.Document {
	host, _ := g.s.hosts.Registry(context.Background(), r.Place)
	return cloudshape.RepositoryOf(ecrapi.Repository(host, r), ecrapi.Tags(r.Resource), r.Policy, r.Lifecycle)
}

// RepositoryGone implements registry.Watcher.
func (g *ingester) RepositoryGone(tx *sqldb.Tx, r *registry.Repository) error {
	if _, err := g.write(tx, g.ingest(r.Place, cloudshape.Repository, r.Name), nil); err != nil {
		return err
	}
	return g.s.catalog.DropOwner(tx, catalog.Resource{Account: r.Place.Account, Region: r.Place.Region, Kind: imagedoc.Kind, Name: r.Name + "@"}, r.ID)
}

// Image implements registry.Watcher.
func (g *ingester) Image(tx *sqldb.Tx, r *registry.Repository, i *registry.Image, isNew bool) error {
	_, err := g.image(tx, r, i, isNew, !isNew && g.s.db.SingleProcess())
	return err
}

func imageName(repository, digest string) string { return repository + "@" + digest }

// image maps an image; skip leaves it when it was mapped from the same document last.
func (g *ingester) image(tx *sqldb.Tx, r *registry.Repository, i *registry.Image, isNew, skip bool) (catalog.Ingested, error) {
	in := g.ingest(r.Place, imagedoc.Kind, imageName(r.Name, i.Digest))
	in.Owner, in.New = r.ID, isNew
	facts, known := g.factsOf(i)
	doc := g.imageDocument(r, i, facts)
	sum, keep := g.sum(doc, known && !isNew) // of a new image the next tag makes another document anyway
	if keep && skip && g.was(in.Resource, sum) {
		return catalog.Ingested{Unchanged: 1}, nil
	}
	g.forget(in.Resource) // until this is committed nothing is known of what others see
	n, err := g.write(tx, in, func() (any, bool) { return doc, known })
	if keep && err == nil {
		tx.AfterCommit(func() { g.remember(in.Resource, sum) })
	}
	var again *registry.Again
	if errors.As(err, &again) && again.Prepare == nil {
		place, name, image := r.Place, r.Name, *i
		again.Prepare = func(ctx context.Context) {
			if image.Body == nil {
				g.readFacts(ctx, place, name, image.Digest)
			} else if m, err := g.s.registry.ParseManifest(&image); err == nil { // it was checked
				g.learn(ctx, place, name, &image, m, true)
			}
		}
	}
	return n, err
}

// sum is a document's hash, where it is of use.
func (g *ingester) sum(doc map[string]any, known bool) (sum [sha256.Size]byte, ok bool) {
	if !known || !g.s.db.SingleProcess() {
		return sum, false
	}
	text, err := json.Marshal(doc)
	return sha256.Sum256(text), err == nil
}

func (g *ingester) was(r catalog.Resource, sum [sha256.Size]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.told[r] == sum
}

func (g *ingester) remember(r catalog.Resource, sum [sha256.Size]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.told) >= maxFacts {
		clear(g.told)
	}
	g.told[r] = sum
}

func (g *ingester) forget(r catalog.Resource) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.told, r)
}

// ImageGone implements registry.Watcher.
func (g *ingester) ImageGone(tx *sqldb.Tx, r *registry.Repository, digest string) error {
	in := g.ingest(r.Place, imagedoc.Kind, imageName(r.Name, digest))
	in.Quiet = true
	_, err := g.write(tx, in, nil)
	g.forget(in.Resource)
	return err
}

func (g *ingester) imageDocument(r *registry.Repository, i *registry.Image, facts imagedoc.Facts) map[string]any {
	host, _ := g.s.hosts.Registry(context.Background(), r.Place)
	doc := imagedoc.Image{RegistryID: string(r.Place.Account), Region: string(r.Place.Region), Repository: r.Name, RepositoryARN: r.ARN(), RepositoryURI: host + "/" + r.Name,
		Digest: i.Digest, MediaType: i.MediaType, ArtifactType: i.ArtifactType, Subject: i.Subject, Tags: i.Tags, Size: i.Size, PushedAt: i.PushedAt, PushedBy: i.PushedBy,
		Claims: i.Claims(), Facts: facts}
	if doc.ArtifactType == "" {
		doc.ArtifactType = i.ConfigType
	}
	return doc.Document()
}

// ingest is the beginning of one: who does it, and how.
func (g *ingester) ingest(p arn.Place, kind, name string) *catalog.Ingest {
	return &catalog.Ingest{Resource: catalog.Resource{Account: p.Account, Region: p.Region, Kind: kind, Name: name},
		By: catalog.Actor{ID: catalog.BuiltIn, Origin: catalog.BuiltIn, Source: catalog.OwnSource + exporterVersion + " (accountid/" + string(p.Account) + " region/" + string(p.Region) + ")"}}
}

// exporterVersion is part of $datasource, by which entities are known as ours.
const exporterVersion = "1"

// write maps a resource and writes what it becomes; without a document it is gone. The
// document reports whether it is complete: else the transaction waits for Prepare.
func (g *ingester) write(tx *sqldb.Tx, in *catalog.Ingest, document func() (any, bool)) (_ catalog.Ingested, err error) {
	if reason, ok := g.isDelayed(tx, in.Resource); ok {
		return catalog.Ingested{}, g.s.catalog.Delay(tx, in.Resource, time.Now().Add(time.Second), reason)
	}
	if in.Model, err = g.s.catalog.TxModel(tx, in.Account); err != nil {
		return catalog.Ingested{}, g.survive(in.Resource, err)
	}
	p, err := g.plan(in.Model.Mapping)
	if err != nil {
		return catalog.Ingested{}, g.survive(in.Resource, err)
	}
	if document != nil {
		if !p.config.Has(in.Kind) {
			return catalog.Ingested{}, nil
		}
		doc, complete := document()
		if !complete {
			return catalog.Ingested{}, &registry.Again{}
		}
		if in.Results, err = g.results(p, in.Kind, doc); err != nil {
			var again *registry.Again
			if errors.As(err, &again) {
				return catalog.Ingested{}, err
			}
			return catalog.Ingested{}, g.s.catalog.Delay(tx, in.Resource, time.Now().Add(time.Second), err.Error())
		}
	}
	in.Merge, in.CreateMissing = p.config.Merge, p.config.CreateMissing
	n, err := g.s.catalog.Ingest(tx, in)
	return n, g.survive(in.Resource, err)
}

// survive keeps what the catalog cannot do from failing the registry: the transaction is
// run again, and the resource mapped later.
func (g *ingester) survive(r catalog.Resource, err error) error {
	switch {
	case err == nil, errors.Is(err, sqldb.ErrUnavailable), errors.Is(err, sqldb.ErrFull), errors.Is(err, sqldb.ErrFailed):
		return err
	case errors.Is(err, catalog.ErrRaced) && !g.s.db.SingleProcess(): // one writer races nobody
		return &registry.Again{}
	case sqldb.Retryable(err):
		return err
	}
	g.s.log.Error("a change of the registry could not be brought into the catalog; it is tried again", "kind", r.Kind, "resource", r.Name, "account", r.Account, "error", err)
	return &registry.Again{Prepare: func(context.Context) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.delayed[r] = err.Error()
	}}
}

// isDelayed reports whether a resource's ingestion just failed and is to be left for
// later.
func (g *ingester) isDelayed(tx *sqldb.Tx, r catalog.Resource) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	reason, ok := g.delayed[r]
	if ok {
		tx.AfterCommit(func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			delete(g.delayed, r)
		})
	}
	return reason, ok
}

// results evaluates what needs no limits, and finds what was evaluated outside of the
// transaction: *registry.Again has that done.
func (g *ingester) results(p *plan, kind string, doc any) ([]mapping.Result, error) {
	if p.config.Bounded(kind) {
		return p.config.Map(context.Background(), kind, doc), nil
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	sum.Write(p.text)
	sum.Write([]byte(kind))
	sum.Write(text)
	k := hex.EncodeToString(sum.Sum(nil))
	g.mu.Lock()
	defer g.mu.Unlock()
	if got, ok := g.ready[k]; ok {
		age := time.Since(got.at)
		if age < failureLife || got.err == nil && age < outcomeLife {
			return got.results, got.err
		}
		delete(g.ready, k)
	}
	return nil, &registry.Again{Prepare: func(ctx context.Context) {
		results, err := p.run.Map(ctx, kind, text)
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.ready) >= maxReady {
			clear(g.ready)
		}
		g.ready[k] = outcome{results, err, time.Now()}
	}}
}

// evaluate has a repository's mapping ready ahead of a transaction.
func (g *ingester) evaluate(ctx context.Context, p *plan, r *registry.Repository) {
	var again *registry.Again
	if _, err := g.results(p, cloudshape.Repository, g.repositoryDocument(r)); errors.As(err, &again) {
		again.Prepare(ctx)
	}
}

// readFacts has an image's facts ready ahead of a transaction. It is no matter when it
// cannot.
func (g *ingester) readFacts(ctx context.Context, place arn.Place, repository, digest string) {
	if _, ok := g.factsOf(&registry.Image{Digest: digest}); ok {
		return
	}
	i, err := g.s.registry.Image(ctx, place, repository, registry.ImageID{Digest: digest})
	if err != nil {
		return
	}
	if m, err := g.s.registry.ParseManifest(i); err == nil {
		g.learn(ctx, place, repository, i, m, true)
	}
}

// Pushing implements registry.Watcher: it reads the image's config.
func (g *ingester) Pushing(ctx context.Context, p arn.Place, repository string, i *registry.Image, m *manifest.Manifest) {
	if _, ok := g.factsOf(i); !ok {
		g.learn(ctx, p, repository, i, m, false)
	}
}

// learn reads an image's facts. Those of one whose config cannot be read are kept only if
// that is final: of a push, the config may be yet to come.
func (g *ingester) learn(ctx context.Context, p arn.Place, repository string, i *registry.Image, m *manifest.Manifest, final bool) {
	var config []byte
	if m.ConfigType != "" && len(m.Blobs) > 0 && m.Blobs[0].Size <= imagedoc.MaxConfig {
		if config = g.config(ctx, p, repository, m.Blobs[0].Digest); config == nil && !final {
			return
		}
	}
	facts := imagedoc.ReadFacts(m.Annotations, config)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.facts) >= maxFacts {
		clear(g.facts)
	}
	g.facts[i.Digest] = facts
}

func (g *ingester) factsOf(i *registry.Image) (imagedoc.Facts, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.facts[i.Digest]
	return f, ok
}

// config reads an image's config; nil when it cannot.
func (g *ingester) config(ctx context.Context, p arn.Place, repository, digest string) []byte {
	_, r, err := g.s.registry.OpenLayer(ctx, p, repository, digest)
	if err != nil {
		return nil
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, imagedoc.MaxConfig))
	if err != nil {
		return nil
	}
	return b
}
