package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/secret"
)

// BenchmarkCatalogAtScale fills a registry with 10,000 repositories of ten images each and
// a catalog of 1,000 services, and times what people and clients do with it. It runs once:
//
//	go test ./server -run xxx -bench CatalogAtScale -benchtime 1x -timeout 30m
//
// BERTH_SCALE makes it smaller: 10 is a tenth.
func BenchmarkCatalogAtScale(b *testing.B) {
	scale := 1
	if n, err := strconv.Atoi(os.Getenv("BERTH_SCALE")); err == nil && n > 0 {
		scale = n
	}
	repositories, services := 10_000/scale, 1000/scale
	cfg := Config{Listen: "127.0.0.1:0", Data: filepath.Join(b.TempDir(), "data"), Account: homeAccount, Region: "us-east-1"}
	s, err := New(b.Context(), cfg, slog.New(slog.DiscardHandler), io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	timed := func(what string, fn func() error) {
		began := time.Now()
		if err := fn(); err != nil {
			b.Fatal(what, err)
		}
		b.Logf("%-60s %s", what, time.Since(began).Round(100*time.Microsecond))
	}
	here := arn.Place{Account: homeAccount, Region: "us-east-1"}
	unheard := registry.New(s.db, blob.New(s.store, blob.Options{}), secret.NewMaster(make([]byte, 32)), registry.Options{Events: s.outbox})
	timed("filling the registry, unheard", func() error { return fill(b.Context(), unheard, here, repositories, services) })
	timed("services", func() error {
		for i := range services {
			if _, err := s.catalog.PutEntity(b.Context(), homeAccount, catalog.Put{Blueprint: "service", Identifier: fmt.Sprint("service-", i), By: catalog.Actor{ID: "me"}}); err != nil {
				return err
			}
		}
		return nil
	})
	sync := func() error {
		if err := s.catalog.AskSync(b.Context(), homeAccount); err != nil {
			return err
		}
		if err := s.ingest.syncAll(b.Context()); err != nil {
			return err
		}
		state, err := s.catalog.SyncState(b.Context(), homeAccount)
		b.Logf("  %+v", state.Report)
		return err
	}
	timed("first synchronisation, which makes everything", sync)
	timed("second synchronisation, which changes nothing", sync)
	find := func(blueprint, q string, limit, want int) func() error {
		return func() error {
			g, err := query.Parse([]byte(q))
			if err != nil {
				return err
			}
			f, err := s.catalog.Search(b.Context(), homeAccount, catalog.Search{Blueprint: blueprint, Query: g, Limit: limit, View: catalog.View{Scores: true}})
			if err == nil && len(f.Entities) != want {
				err = fmt.Errorf(" found %d, not %d", len(f.Entities), want)
			}
			return err
		}
	}
	entity := func(blueprint, id string) func() error {
		return func() error {
			_, err := s.catalog.Entity(b.Context(), homeAccount, blueprint, id, catalog.View{Scores: true})
			return err
		}
	}
	timed("entity: a service", entity("service", "service-7"))
	timed("entity: a repository", entity("ecr_repository", "team/repo-17"))
	timed("search: the repositories of a service, by relation", find("ecr_repository", `{"combinator":"and","rules":[{"relation":"service","targetProperty":"$identifier","operator":"=","value":"service-7"}]}`, 200, 10))
	timed("search: everything below a service, over all blueprints", find("", `{"combinator":"and","rules":[{"operator":"relatedTo","blueprint":"service","value":"service-7","direction":"downstream"}]}`, 0, 110))
	timed("search: images by digest", find("ecr_image", `{"combinator":"and","rules":[{"property":"digest","operator":"=","value":"none"}]}`, 200, 0))
	timed("search: images by revision", find("ecr_image", `{"combinator":"and","rules":[{"property":"revision","operator":"=","value":"r5"}]}`, 200, 200))
	timed("search: what nothing is indexed for, over all images", find("ecr_image", `{"combinator":"and","rules":[{"property":"tags","operator":"contains","value":"none"}]}`, 200, 0))
	timed("page: 200 images", find("ecr_image", `{"combinator":"and","rules":[]}`, 200, 200))
	benchConsole(b, s)
	timed("tagging a repository, with its link", func() error {
		heard := registry.New(s.db, blob.New(s.store, blob.Options{}), secret.NewMaster(make([]byte, 32)), registry.Options{Watcher: s.ingest, Events: s.outbox})
		return heard.TagResource(b.Context(), here, "team/repo-17", map[string]string{"port-service-3": ""})
	})
	timed("deleting a repository of ten images", func() error {
		heard := registry.New(s.db, blob.New(s.store, blob.Options{}), secret.NewMaster(make([]byte, 32)), registry.Options{Watcher: s.ingest, Events: s.outbox})
		_, err := heard.DeleteRepository(b.Context(), here, "team/repo-18", true)
		return err
	})
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.Logf("heap afterwards: %d MiB", m.HeapAlloc>>20)
}

// fill makes repositories with a tag for a service and ten images each.
func fill(ctx context.Context, r *registry.Registry, here arn.Place, repositories, services int) error {
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(config))
	next, failed := make(chan int), make(chan error, 1)
	var work sync.WaitGroup
	one := func(i int) error {
		name := fmt.Sprint("team/repo-", i)
		if _, err := r.CreateRepository(ctx, registry.NewRepository{Place: here, Name: name, Resource: map[string]string{fmt.Sprint("port-service-", i%services): ""}}); err != nil {
			return err
		}
		ref, err := r.StartUpload(ctx, here, name, arn.Root(homeAccount), nil)
		if err == nil {
			_, err = r.FinishUpload(ctx, ref, sum, registry.Chunk{Body: bytes.NewReader(config), From: -1, Length: int64(len(config))})
		}
		if err != nil {
			return err
		}
		for n := range 10 {
			body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []any{},
				"config":      map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sum, "size": len(config)},
				"annotations": map[string]string{"org.opencontainers.image.revision": fmt.Sprint("r", n), "org.opencontainers.image.source": "https://git.example/" + name}})
			if err != nil {
				return err
			}
			if _, err := r.PutImage(ctx, registry.NewImage{Place: here, Repository: name, Tag: fmt.Sprint("t", n), Body: body, Principal: arn.Root(homeAccount)}); err != nil {
				return err
			}
		}
		return nil
	}
	for range 32 {
		work.Go(func() {
			for i := range next {
				if err := one(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for i := range repositories {
		next <- i
	}
	close(next)
	work.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
