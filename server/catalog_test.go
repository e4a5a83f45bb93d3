package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/mapping/runner"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == runner.Command { // the server starts its own program
		os.Exit(runner.Process(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// deaf is a watcher that does not hear one kind of event.
type deaf struct {
	*ingester
	to string
}

func (d deaf) Repository(tx *sqldb.Tx, r *registry.Repository) error {
	if d.to == "repository" {
		return nil
	}
	return d.ingester.Repository(tx, r)
}

func (d deaf) RepositoryGone(tx *sqldb.Tx, r *registry.Repository) error {
	if d.to == "repository gone" {
		return nil
	}
	return d.ingester.RepositoryGone(tx, r)
}

func (d deaf) Image(tx *sqldb.Tx, r *registry.Repository, i *registry.Image, isNew bool) error {
	if d.to == "image" {
		return nil
	}
	return d.ingester.Image(tx, r, i, isNew)
}

func (d deaf) ImageGone(tx *sqldb.Tx, r *registry.Repository, digest string) error {
	if d.to == "image gone" {
		return nil
	}
	return d.ingester.ImageGone(tx, r, digest)
}

// yard is a registry on which random things happen.
type yard struct {
	t    *testing.T
	s    *Server
	r    *registry.Registry
	rng  *rand.Rand
	ctx  context.Context
	did  []string
	here arn.Place
}

func newYard(t *testing.T, s *Server, to string, seed uint64) *yard {
	r := registry.New(s.db, blob.New(s.store, blob.Options{}), secret.NewMaster(make([]byte, 32)), registry.Options{Watcher: deaf{s.ingest, to}, Events: s.outbox})
	return &yard{t, s, r, rand.New(rand.NewPCG(seed, 1)), t.Context(), nil, arn.Place{Account: homeAccount, Region: "us-east-1"}}
}

func (y *yard) layer(repo string, data []byte) string {
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	ref, err := y.r.StartUpload(y.ctx, y.here, repo, arn.Root(homeAccount), nil)
	if err == nil {
		_, err = y.r.FinishUpload(y.ctx, ref, sum, registry.Chunk{Body: bytes.NewReader(data), From: -1, Length: int64(len(data))})
	}
	if err != nil && registry.CodeOf(err) == "" { // the repository may have gone meanwhile
		y.t.Error(err)
	}
	return sum
}

// push pushes one of a few images with labels and annotations.
func (y *yard) push(repo, tag string, n int) {
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","created":"2026-11-%02dT00:00:00Z","config":{"Labels":{"org.opencontainers.image.revision":"r%d"}}}`, n%28+1, n)
	layer := fmt.Appendf(nil, "layer %d", n)
	m := map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": y.layer(repo, config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": y.layer(repo, layer), "size": len(layer)}},
		"annotations": map[string]string{"org.opencontainers.image.source": "https://git.example/" + repo, "org.opencontainers.image.base.name": "localhost/" + repo + ":base",
			"org.opencontainers.image.base.digest": "sha256:abc"}}
	body, err := json.Marshal(m)
	if err == nil {
		_, err = y.r.PutImage(y.ctx, registry.NewImage{Place: y.here, Repository: repo, Tag: tag, Body: body, Principal: arn.Root(homeAccount),
			Origin: map[string]string{"repository": "org/" + repo, "run_id": fmt.Sprint(n)}})
	}
	switch registry.CodeOf(err) {
	case registry.ImageTagAlreadyExists, registry.RepositoryNotFound, registry.LayersNotFound:
	default:
		if err != nil {
			y.t.Error(err)
		}
	}
}

// step does one random thing. What cannot be done at the moment is no failure.
func (y *yard) step() {
	repo := fmt.Sprintf("r%d", y.rng.IntN(4))
	tag := []string{"", "a", "b", "c"}[y.rng.IntN(4)]
	service := fmt.Sprintf("s%d", y.rng.IntN(3))
	ok := func(err error) {
		if err != nil && registry.CodeOf(err) == "" && catalog.CodeOf(err) == "" {
			y.t.Errorf("%v after %v", err, y.did)
		}
	}
	has := func() bool { _, err := y.r.Repository(y.ctx, y.here, repo); return err == nil }
	what := []string{"create", "create", "tag", "tag", "untag", "scan", "rule", "policy", "push", "push", "push", "untag image", "delete image", "delete", "service", "no service"}[y.rng.IntN(16)]
	y.did = append(y.did, what+" "+repo+" "+tag+" "+service)
	switch what {
	case "create":
		_, err := y.r.CreateRepository(y.ctx, registry.NewRepository{Place: y.here, Name: repo, Resource: map[string]string{"port-" + service: ""}})
		ok(err)
	case "tag":
		ok(y.r.TagResource(y.ctx, y.here, repo, map[string]string{"port-" + service: "x", "other": tag}))
	case "untag":
		ok(y.r.UntagResource(y.ctx, y.here, repo, []string{"port-" + service}))
	case "scan":
		_, err := y.r.SetScanOnPush(y.ctx, y.here, repo, y.rng.IntN(2) == 0)
		ok(err)
	case "rule":
		_, err := y.r.SetTagRule(y.ctx, y.here, repo, registry.TagRule{Mode: []registry.Mutability{registry.Mutable, registry.Immutable}[y.rng.IntN(2)]})
		ok(err)
	case "policy":
		_, err := y.r.SetLifecycle(y.ctx, y.here, repo, `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`)
		ok(err)
	case "push":
		if has() {
			y.push(repo, tag, y.rng.IntN(6))
		}
	case "untag image":
		if tag != "" {
			_, err := y.r.DeleteImage(y.ctx, y.here, repo, registry.ImageID{Tag: tag})
			ok(err)
		}
	case "delete image":
		if rp, err := y.r.Repository(y.ctx, y.here, repo); err == nil {
			if list, err := y.r.Digests(y.ctx, rp, "", 10); err == nil && len(list) > 0 {
				_, err := y.r.DeleteImage(y.ctx, y.here, repo, registry.ImageID{Digest: list[y.rng.IntN(len(list))]})
				ok(err)
			}
		}
	case "delete":
		_, err := y.r.DeleteRepository(y.ctx, y.here, repo, true)
		ok(err)
	case "service":
		_, err := y.s.catalog.PutEntity(y.ctx, homeAccount, catalog.Put{Blueprint: "service", Identifier: service, Mode: catalog.Merge, By: catalog.Actor{ID: "me", Origin: "API"}})
		ok(err)
	case "no service":
		ok(y.s.catalog.DeleteEntity(y.ctx, homeAccount, "service", service, false, catalog.Actor{ID: "me", Origin: "API"}))
	}
}

// differences synchronises and returns what that changed.
func (y *yard) differences() int {
	if err := y.s.catalog.AskSync(y.ctx, homeAccount); err != nil {
		y.t.Fatal(err)
	}
	if err := y.s.ingest.syncAll(y.ctx); err != nil {
		y.t.Fatal(err)
	}
	state, err := y.s.catalog.SyncState(y.ctx, homeAccount)
	if err != nil || state.Report.Error != "" {
		y.t.Fatal(err, state.Report.Error)
	}
	r := state.Report
	return r.Created + r.Updated + r.Deleted + r.Failed
}

// open is a server that is not run: nothing happens in the background.
func open(t *testing.T, db string) *Server {
	cfg := config(t)
	cfg.DB = db
	s, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// eachServer runs fn on a server of its own with each database.
func eachServer(t *testing.T, fn func(t *testing.T, s *Server)) {
	t.Run("sqlite", func(t *testing.T) { fn(t, open(t, "")) })
	t.Run("postgres", func(t *testing.T) { fn(t, open(t, sqldbtest.PostgresURL(t))) })
}

// TestIngestion: whatever happens to the registry, a synchronisation finds the catalog as
// it should be; and it would find that ingestion misses one kind of event.
func TestIngestion(t *testing.T) {
	eachServer(t, func(t *testing.T, s *Server) {
		y := newYard(t, s, "", 7)
		for range 12 {
			for range 40 {
				y.step()
			}
			if n := y.differences(); n != 0 {
				t.Fatalf("%d differences after %v", n, y.did)
			}
			if list, err := s.catalog.Pendings(y.ctx, homeAccount, 10); err != nil || len(list) > 0 {
				t.Fatalf("pending: %v %v", list, err)
			}
		}
	})
	for _, to := range []string{"repository", "repository gone", "image", "image gone"} {
		t.Run("deaf to "+to, func(t *testing.T) {
			y := newYard(t, open(t, ""), to, 7)
			for range 20 {
				for range 40 {
					y.step()
				}
				if y.differences() > 0 {
					return
				}
			}
			t.Error("a synchronisation found no difference")
		})
	}
}

// BenchmarkPutImage stores images, with the catalog and without.
func BenchmarkPutImage(b *testing.B) {
	for _, to := range []string{"", "image"} {
		b.Run("deaf to "+to, func(b *testing.B) {
			cfg := Config{Listen: "127.0.0.1:0", Data: filepath.Join(b.TempDir(), "data"), Account: homeAccount, Region: "us-east-1"}
			s, err := New(b.Context(), cfg, slog.New(slog.DiscardHandler), io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			r := registry.New(s.db, blob.New(s.store, blob.Options{}), secret.NewMaster(make([]byte, 32)), registry.Options{Watcher: deaf{s.ingest, to}, Events: s.outbox})
			here := arn.Place{Account: homeAccount, Region: "us-east-1"}
			if _, err := r.CreateRepository(b.Context(), registry.NewRepository{Place: here, Name: "team/app"}); err != nil {
				b.Fatal(err)
			}
			config := []byte(`{"architecture":"amd64","os":"linux"}`)
			sum := fmt.Sprintf("sha256:%x", sha256.Sum256(config))
			ref, err := r.StartUpload(b.Context(), here, "team/app", arn.Root(homeAccount), nil)
			if err == nil {
				_, err = r.FinishUpload(b.Context(), ref, sum, registry.Chunk{Body: bytes.NewReader(config), From: -1, Length: int64(len(config))})
			}
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for i := range b.N {
				body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[],"annotations":{"n":"%d"}}`, sum, len(config), i)
				if _, err := r.PutImage(b.Context(), registry.NewImage{Place: here, Repository: "team/app", Tag: fmt.Sprint("t", i), Body: body, Principal: arn.Root(homeAccount)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestFactsOfAnEarlyManifest: a manifest that comes before its config, and again after it,
// has the config's labels.
func TestFactsOfAnEarlyManifest(t *testing.T) {
	s := open(t, "")
	y := newYard(t, s, "", 1)
	if _, err := y.r.CreateRepository(y.ctx, registry.NewRepository{Place: y.here, Name: "rr"}); err != nil {
		t.Fatal(err)
	}
	config := []byte(`{"architecture":"amd64","os":"linux","config":{"Labels":{"org.opencontainers.image.revision":"abc"}}}`)
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d},"layers":[]}`,
		sha256.Sum256(config), len(config))
	put := registry.NewImage{Place: y.here, Repository: "rr", Tag: "1", Body: body, Principal: arn.Root(homeAccount)}
	if _, err := y.r.PutImage(y.ctx, put); registry.CodeOf(err) != registry.LayersNotFound {
		t.Fatal(err)
	}
	y.layer("rr", config)
	if _, err := y.r.PutImage(y.ctx, put); err != nil {
		t.Fatal(err)
	}
	e, err := s.catalog.Entity(y.ctx, homeAccount, "ecr_image", fmt.Sprintf("rr@sha256:%x", sha256.Sum256(body)), catalog.View{})
	if err != nil || e.Properties["revision"] != "abc" || e.Properties["platform"] != "linux/amd64" {
		t.Errorf("%v %+v", err, e)
	}
}

// TestIngestionAtOnce: what many do at once leaves the catalog as the registry is, on both
// engines.
func TestIngestionAtOnce(t *testing.T) {
	eachServer(t, func(t *testing.T, s *Server) {
		var work sync.WaitGroup
		first := newYard(t, s, "", 100)
		for i := range 6 {
			y := newYard(t, s, "", uint64(i))
			y.r = first.r
			work.Go(func() {
				for range 60 {
					y.step()
				}
			})
		}
		work.Wait()
		for { // what could not be mapped at once is mapped later
			list, err := s.catalog.Pendings(first.ctx, homeAccount, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			if err := s.ingest.pending(first.ctx); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := first.differences(); n != 0 {
			t.Errorf("%d differences", n)
		}
	})
}

// TestManyTags: of an image with more tags than the catalog is told it knows the first ones,
// whatever comes and goes.
func TestManyTags(t *testing.T) {
	eachServer(t, func(t *testing.T, s *Server) {
		y := newYard(t, s, "", 1)
		if _, err := y.r.CreateRepository(y.ctx, registry.NewRepository{Place: y.here, Name: "many"}); err != nil {
			t.Fatal(err)
		}
		same := func(after string) {
			t.Helper()
			if n := y.differences(); n != 0 {
				t.Fatalf("%d differences after %s", n, after)
			}
		}
		for n := range registry.WatchedTags + 20 {
			y.push("many", fmt.Sprintf("t%03d", n), 0)
		}
		same("the first tags")
		last := fmt.Sprintf("t%03d", registry.WatchedTags-1)
		for _, p := range []struct {
			tag   string
			image int
		}{{"zzz", 0}, {last + "-", 0}, {"a", 0}, {last, 1}, {last, 0}, {"t050", 1}, {"t050", 0}} {
			y.push("many", p.tag, p.image)
			same(p.tag)
		}
		if _, err := y.r.DeleteImage(y.ctx, y.here, "many", registry.ImageID{Tag: "a"}); err != nil {
			t.Fatal(err)
		}
		same("a deletion")
	})
}
