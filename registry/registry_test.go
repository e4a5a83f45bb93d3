package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/blob/keyring"
	"github.com/berth-registry/berth/blob/memblob"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

var (
	here = arn.Place{Account: "000000000012", Region: "eu-west-1"}
	root = arn.Root("000000000012")
)

// bed is a registry to test, with its clock and what is below it.
type bed struct {
	*registry.Registry
	t     *testing.T
	ctx   context.Context
	now   time.Time
	db    *sqldb.DB
	store blob.Store
	mu    sync.Mutex
}

func newBed(t *testing.T, db *sqldb.DB, limits registry.Limits, store blob.Store) *bed {
	t.Helper()
	if err := db.Migrate(t.Context(), "registry", registry.Migrations()); err != nil {
		t.Fatal(err)
	}
	master := secret.NewMaster(make([]byte, 32))
	ring, err := keyring.New(master, nil)
	if err != nil {
		t.Fatal(err)
	}
	if store == nil {
		store = memblob.New()
	}
	b := &bed{t: t, ctx: t.Context(), now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), db: db, store: store}
	b.Registry = registry.New(db, blob.New(store, blob.Options{InlineMax: 100, Keys: ring}), master, registry.Options{Limits: limits, Keys: ring, Now: b.clock})
	return b
}

func (b *bed) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(time.Millisecond)
	return b.now
}

func (b *bed) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// each runs a test on both engines.
func each(t *testing.T, fn func(t *testing.T, b *bed)) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) { fn(t, newBed(t, db, registry.Limits{}, nil)) })
}

func (b *bed) create(name string, more ...func(*registry.NewRepository)) *registry.Repository {
	b.t.Helper()
	n := registry.NewRepository{Place: here, Name: name}
	for _, f := range more {
		f(&n)
	}
	r, err := b.CreateRepository(b.ctx, n)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func never(context.Context, string, func(context.Context) error) error {
	return errors.New("no further right was expected to be asked for")
}

func allow(ctx context.Context, _ string, act func(context.Context) error) error {
	if act == nil {
		return nil
	}
	return act(ctx)
}

func sha(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func (b *bed) layer(repo string, data []byte) string {
	b.t.Helper()
	ref, err := b.StartUpload(b.ctx, here, repo, root, never)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.FinishUpload(b.ctx, ref, sha(data), registry.Chunk{Body: bytes.NewReader(data), From: -1, Length: int64(len(data))}); err != nil {
		b.t.Fatal(err)
	}
	return sha(data)
}

func random(seed uint64, n int) []byte {
	data := make([]byte, n)
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(s).Read(data)
	return data
}

// image makes a manifest over a config and a layer that it pushes.
func (b *bed) image(repo string, seed uint64) []byte {
	b.t.Helper()
	cfg, layer := random(seed, 50), random(seed+1000, 500)
	return encode(map[string]any{"schemaVersion": 2, "mediaType": manifest.OCIManifest,
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": b.layer(repo, cfg), "size": len(cfg)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": b.layer(repo, layer), "size": len(layer)}}})
}

func encode(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func (b *bed) put(repo, tag string, body []byte) (*registry.Put, error) {
	return b.PutImage(b.ctx, registry.NewImage{Place: here, Repository: repo, Tag: tag, MediaType: "", Body: body, Principal: root})
}

func (b *bed) mustPut(repo, tag string, body []byte) *registry.Put {
	b.t.Helper()
	p, err := b.put(repo, tag, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// wantCode checks an error's code.
func wantCode(t *testing.T, err error, want registry.Code) {
	t.Helper()
	if registry.CodeOf(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRepositories(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("bb")
		full := b.create("a/x", func(n *registry.NewRepository) {
			n.Tags = registry.TagRule{Mode: registry.ImmutableWithExclusion, Exclusions: []string{"dev*"}}
			n.Encryption, n.ScanOnPush, n.Resource = registry.KMS, true, map[string]string{"k": "v"}
		})
		got, err := b.Repository(b.ctx, here, "a/x")
		if err != nil || got.Tags.Mode != registry.ImmutableWithExclusion || !got.ScanOnPush || got.Resource["k"] != "v" || got.KMSKey != full.KMSKey ||
			!strings.HasPrefix(got.KMSKey, "arn:aws:kms:eu-west-1:000000000012:key/") || !got.CreatedAt.Equal(full.CreatedAt) {
			t.Errorf("%+v, %v", got, err)
		}
		_, err = b.CreateRepository(b.ctx, registry.NewRepository{Place: here, Name: "bb"})
		wantCode(t, err, registry.RepositoryAlreadyExists)
		elsewhere := arn.Place{Account: here.Account, Region: "us-east-1"}
		if _, err := b.CreateRepository(b.ctx, registry.NewRepository{Place: elsewhere, Name: "bb"}); err != nil {
			t.Errorf("the same name in another region: %v", err)
		}
		list, err := b.Repositories(b.ctx, here, "", 10)
		if err != nil || len(list) != 2 || list[0].Name != "a/x" || list[1].Name != "bb" {
			t.Errorf("%v %v", list, err)
		}
		if list, _ := b.Repositories(b.ctx, here, "a/x", 1); len(list) != 1 || list[0].Name != "bb" {
			t.Errorf("after a/x: %v", list)
		}
		_, err = b.Repository(b.ctx, here, "none")
		wantCode(t, err, registry.RepositoryNotFound)
		if want := "The repository with name 'none' does not exist in the registry with id '000000000012'"; !strings.Contains(err.Error(), want) {
			t.Errorf("text %q", err)
		}
		for _, bad := range []string{"", "a", "A/b", "a//b", "-a", strings.Repeat("x", 257)} {
			_, err := b.CreateRepository(b.ctx, registry.NewRepository{Place: here, Name: bad})
			wantCode(t, err, registry.NameInvalid)
		}
		_, err = b.CreateRepository(b.ctx, registry.NewRepository{Place: here, Name: "kk", Encryption: registry.KMS, KMSKey: "arn:aws:kms:eu-west-1:000000000012:key/nope"})
		wantCode(t, err, registry.Kms)
	})
}

func TestResourceTags(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		if err := b.TagResource(b.ctx, here, "aa", map[string]string{"one": "1", "two": "2"}); err != nil {
			t.Fatal(err)
		}
		if err := b.TagResource(b.ctx, here, "aa", map[string]string{"two": "22"}); err != nil {
			t.Fatal(err)
		}
		if err := b.UntagResource(b.ctx, here, "aa", []string{"one", "none"}); err != nil {
			t.Fatal(err)
		}
		r, _ := b.Repository(b.ctx, here, "aa")
		if len(r.Resource) != 1 || r.Resource["two"] != "22" {
			t.Errorf("%v", r.Resource)
		}
		wantCode(t, b.TagResource(b.ctx, here, "aa", map[string]string{"aws:x": ""}), registry.InvalidTagParameter)
		wantCode(t, b.TagResource(b.ctx, here, "aa", map[string]string{"": ""}), registry.InvalidTagParameter)
		wantCode(t, b.TagResource(b.ctx, here, "aa", map[string]string{"k": strings.Repeat("x", 257)}), registry.InvalidTagParameter)
		many := map[string]string{}
		for i := range 50 {
			many[fmt.Sprint(i)] = ""
		}
		wantCode(t, b.TagResource(b.ctx, here, "aa", many), registry.TooManyTags)
		if r, _ := b.Repository(b.ctx, here, "aa"); len(r.Resource) != 1 {
			t.Errorf("a refused change left %v", r.Resource)
		}
		// Changes at the same moment do not lose each other.
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := b.TagResource(b.ctx, here, "aa", map[string]string{fmt.Sprint("c", i): "x"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if r, _ := b.Repository(b.ctx, here, "aa"); len(r.Resource) != 21 {
			t.Errorf("%d tags after 20 concurrent changes, want 21", len(r.Resource))
		}
	})
}

func TestPageTokens(t *testing.T) {
	b := newBed(t, sqldbtest.SQLite(t), registry.Limits{}, nil)
	token := b.PageToken("list a", "key")
	var key string
	if err := b.OpenPageToken("list a", token, &key); err != nil || key != "key" {
		t.Errorf("%q %v", key, err)
	}
	for name, c := range map[string][2]string{"other query": {"list b", token}, "junk": {"list a", "junk"}, "cut": {"list a", token[:10]},
		"long": {"list a", strings.Repeat("A", 5000)}} {
		if err := b.OpenPageToken(c[0], c[1], &key); registry.CodeOf(err) != registry.PageInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPageToken(f *testing.F) {
	b := registry.New(sqldbtest.SQLite(f), blob.New(memblob.New(), blob.Options{}), secret.NewMaster(make([]byte, 32)), registry.Options{})
	f.Add("q", b.PageToken("q", "k"))
	f.Add("q", "")
	f.Fuzz(func(t *testing.T, query, token string) {
		var key string
		if err := b.OpenPageToken(query, token, &key); err != nil && registry.CodeOf(err) != registry.PageInvalid {
			t.Errorf("%v", err)
		}
	})
}

func TestDeleteRepository(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		body := b.image("aa", 1)
		b.mustPut("aa", "v1", body)
		if _, err := b.Image(b.ctx, here, "aa", registry.ImageID{Tag: "v1"}); err != nil {
			t.Fatal(err)
		}
		_, err := b.DeleteRepository(b.ctx, here, "aa", false)
		wantCode(t, err, registry.RepositoryNotEmpty)
		up, _ := b.StartUpload(b.ctx, here, "aa", root, never)
		if _, err := b.DeleteRepository(b.ctx, here, "aa", true); err != nil {
			t.Fatal(err)
		}
		_, err = b.Image(b.ctx, here, "aa", registry.ImageID{Tag: "v1"})
		wantCode(t, err, registry.RepositoryNotFound)
		b.create("aa")
		_, err = b.Image(b.ctx, here, "aa", registry.ImageID{Tag: "v1"})
		wantCode(t, err, registry.ImageNotFound)
		_, err = b.FinishUpload(b.ctx, up, sha(nil), registry.Chunk{})
		wantCode(t, err, registry.UploadNotFound)
		if err := b.Sweep(b.ctx); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"images", "tags", "layers", "image_refs", "purges", "uploads"} {
			var n int
			if err := b.db.QueryRow(b.ctx, []any{&n}, "select count(*) from "+table); err != nil || n != 0 {
				t.Errorf("%d rows left in %s (%v)", n, table, err)
			}
		}
	})
}

func TestSettings(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		for name, want := range map[string]string{"BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2", "BLOB_MOUNTING": "ENABLED"} {
			if v, err := b.AccountSetting(b.ctx, here, name); err != nil || v != want {
				t.Errorf("%s: %s %v", name, v, err)
			}
		}
		if err := b.PutAccountSetting(b.ctx, here, "REGISTRY_POLICY_SCOPE", "V1"); err != nil {
			t.Fatal(err)
		}
		if v, _ := b.AccountSetting(b.ctx, here, "REGISTRY_POLICY_SCOPE"); v != "V1" {
			t.Errorf("%s after the change", v)
		}
		wantCode(t, b.PutAccountSetting(b.ctx, here, "REGISTRY_POLICY_SCOPE", "V9"), registry.Validation)
		_, err := b.AccountSetting(b.ctx, here, "NOPE")
		wantCode(t, err, registry.Validation)
		_, err = b.RegistryPolicy(b.ctx, here)
		wantCode(t, err, registry.RegistryPolicyNotFound)
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:ReplicateImage","Resource":"*"}]}`
		if err := b.PutRegistryPolicy(b.ctx, here, policy); err != nil {
			t.Fatal(err)
		}
		if text, err := b.DeleteRegistryPolicy(b.ctx, here); err != nil || text != policy {
			t.Errorf("%q %v", text, err)
		}
		for _, bad := range []string{"", "{", "[]", `{"Statement":[]}`, `{"Version":"2020-01-01","Statement":[{"Effect":"Allow","Action":"*"}]}`,
			`{"Statement":[{"Effect":"Maybe","Action":"*"}]}`, `{"Statement":[{"Effect":"Allow","Action":"*","Extra":1}]}`, policy + "x", strings.Repeat(" ", 10_241)} {
			wantCode(t, b.PutRegistryPolicy(b.ctx, here, bad), registry.InvalidParameter)
		}
		c := registry.ScanConfig{Type: "BASIC", Rules: []registry.ScanRule{{Frequency: registry.ScanOnPush, Filters: []registry.ScanFilter{{Filter: "prod", Type: "WILDCARD"}}}}}
		if err := b.PutScanConfiguration(b.ctx, here, c); err != nil {
			t.Fatal(err)
		}
		got, _ := b.ScanConfiguration(b.ctx, here)
		for name, want := range map[string]string{"my/prod/app": registry.ScanOnPush, "dev/app": registry.ManualScan} {
			if f, _ := got.Frequency(name); f != want {
				t.Errorf("%s: %s", name, f)
			}
		}
		wantCode(t, b.PutScanConfiguration(b.ctx, here, registry.ScanConfig{Type: "BASIC", Rules: []registry.ScanRule{{Frequency: registry.ContinuousScan}}}), registry.Validation)
	})
}

func TestLimits(t *testing.T) {
	limits := registry.DefaultLimits()
	limits.Repositories, limits.Images, limits.TagsPerImage, limits.Uploads, limits.Templates = 2, 2, 2, 2, 1
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := newBed(t, db, limits, nil)
		b.create("aa")
		b.create("bb")
		_, err := b.CreateRepository(b.ctx, registry.NewRepository{Place: here, Name: "cc"})
		wantCode(t, err, registry.LimitExceeded)
		one := b.image("aa", 1)
		b.mustPut("aa", "1", one)
		b.mustPut("aa", "2", one)
		_, err = b.put("aa", "3", one)
		wantCode(t, err, registry.LimitExceeded)
		b.mustPut("aa", "x", b.image("aa", 2))
		_, err = b.put("aa", "y", b.image("aa", 3))
		wantCode(t, err, registry.LimitExceeded)
		if r, _ := b.Repository(b.ctx, here, "aa"); r.Images != 2 {
			t.Errorf("count %d after a refused push", r.Images)
		}
		for range 2 {
			ref, err := b.StartUpload(b.ctx, here, "bb", root, never)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.AppendUpload(b.ctx, ref, registry.Chunk{Body: strings.NewReader("x"), From: -1, Length: 1}); err != nil {
				t.Fatal(err)
			}
		}
		_, err = b.StartUpload(b.ctx, here, "bb", root, never)
		wantCode(t, err, registry.LimitExceeded)
	})
}
