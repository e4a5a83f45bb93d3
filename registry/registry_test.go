package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
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

func never(string) error { return errors.New("no further right was expected to be asked for") }

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

func TestImages(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		one, two := b.image("aa", 1), b.image("aa", 2)
		p := b.mustPut("aa", "v1", one)
		if !p.Created || p.Digest != sha(one) || p.Size != 550 {
			t.Errorf("%+v", p)
		}
		if again := b.mustPut("aa", "v1", one); again.Created {
			t.Error("the same again counts as a change")
		}
		if more := b.mustPut("aa", "v2", one); !more.Created {
			t.Error("a second tag is a change")
		}
		b.mustPut("aa", "v2", two)
		for ref, want := range map[registry.ImageID][]byte{{Tag: "v1"}: one, {Tag: "v2"}: two, {Digest: sha(one)}: one, {Digest: sha(two), Tag: "v2"}: two} {
			for range 2 { // the second read may come from the cache
				img, err := b.Image(b.ctx, here, "aa", ref)
				if err != nil || !bytes.Equal(img.Body, want) || img.MediaType != manifest.OCIManifest {
					t.Errorf("%v: %v", ref, err)
				}
			}
		}
		for _, ref := range []registry.ImageID{{Tag: "v3"}, {Digest: sha(nil)}, {Digest: sha(one), Tag: "v2"}} {
			_, err := b.Image(b.ctx, here, "aa", ref)
			wantCode(t, err, registry.ImageNotFound)
		}
		r, _ := b.Repository(b.ctx, here, "aa")
		if r.Images != 2 {
			t.Errorf("count %d", r.Images)
		}
		refs, err := b.ImageRefs(b.ctx, here, "aa", registry.Any, registry.ImageRef{}, 10)
		if err != nil || !slices.Equal(refs, []registry.ImageRef{{Digest: sha(one), Tag: "v1"}, {Digest: sha(two), Tag: "v2"}}) {
			t.Errorf("%v %v", refs, err)
		}
		missing := encode(map[string]any{"schemaVersion": 2, "config": map[string]any{"mediaType": "x/y", "digest": sha([]byte("no")), "size": 2}, "layers": []any{}})
		_, err = b.put("aa", "bad", missing)
		wantCode(t, err, registry.LayersNotFound)
		wrongSize := bytes.Replace(one, []byte(`"size":500`), []byte(`"size":501`), 1)
		_, err = b.put("aa", "bad", wrongSize)
		wantCode(t, err, registry.ManifestInvalid)
		_, err = b.PutImage(b.ctx, registry.NewImage{Place: here, Repository: "aa", Digest: sha(two), Body: one})
		wantCode(t, err, registry.ImageDigestDoesNotMatch)
		_, err = b.put("none", "x", one)
		wantCode(t, err, registry.RepositoryNotFound)
		_, err = b.put("aa", ".x", one)
		wantCode(t, err, registry.TagInvalid)
		_, err = b.put("aa", "x", make([]byte, manifest.MaxSize+1))
		wantCode(t, err, registry.ManifestTooBig)
	})
}

func TestImmutableTags(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa", func(n *registry.NewRepository) { n.Tags.Mode = registry.Immutable })
		one, two := b.image("aa", 1), b.image("aa", 2)
		b.mustPut("aa", "v1", one)
		b.mustPut("aa", "v1", one)
		_, err := b.put("aa", "v1", two)
		wantCode(t, err, registry.ImageTagAlreadyExists)
		// Delete and push again is allowed.
		if _, err := b.DeleteImage(b.ctx, here, "aa", registry.ImageID{Tag: "v1"}); err != nil {
			t.Fatal(err)
		}
		b.mustPut("aa", "v1", two)
	})
}

// TestImmutableRace: of many pushers of one immutable tag exactly one wins.
func TestImmutableRace(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa", func(n *registry.NewRepository) { n.Tags.Mode = registry.Immutable })
		const pushers = 8
		var bodies [][]byte
		for i := range pushers {
			bodies = append(bodies, b.image("aa", uint64(i)))
		}
		for round := range 30 {
			tag := fmt.Sprint("r", round)
			var wg sync.WaitGroup
			var mu sync.Mutex
			var winner []byte
			for i := range pushers {
				wg.Go(func() {
					_, err := b.put("aa", tag, bodies[i])
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil && winner != nil:
						t.Errorf("round %d has two winners", round)
					case err == nil:
						winner = bodies[i]
					case registry.CodeOf(err) != registry.ImageTagAlreadyExists:
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			if img, err := b.Image(b.ctx, here, "aa", registry.ImageID{Tag: tag}); err != nil || !bytes.Equal(img.Body, winner) {
				t.Fatalf("round %d: the tag is not the winner's: %v", round, err)
			}
		}
	})
}

// TestTagMoves: readers see the old or the new image, and never the old one after
// a move was acknowledged, cache or not.
func TestTagMoves(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		bodies := [][]byte{b.image("aa", 1), b.image("aa", 2)}
		b.mustPut("aa", "t", bodies[0])
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if _, err := b.Image(b.ctx, here, "aa", registry.ImageID{Tag: "t"}); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		for i := range 300 {
			want := bodies[i%2]
			b.mustPut("aa", "t", want)
			if img, err := b.Image(b.ctx, here, "aa", registry.ImageID{Tag: "t"}); err != nil || !bytes.Equal(img.Body, want) {
				t.Fatalf("move %d: an acknowledged move is not visible (%v)", i, err)
			}
		}
		close(stop)
		wg.Wait()
	})
}

func TestIndexAndDelete(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		child := b.image("aa", 1)
		index := encode(map[string]any{"schemaVersion": 2, "mediaType": manifest.OCIIndex, "manifests": []any{
			map[string]any{"mediaType": manifest.OCIManifest, "digest": sha(child), "size": len(child)}}})
		_, err := b.put("aa", "multi", index)
		wantCode(t, err, registry.ReferencedImagesNotFound)
		b.mustPut("aa", "", child)
		b.mustPut("aa", "multi", index)
		if _, err := b.DeleteImage(b.ctx, here, "aa", registry.ImageID{Digest: sha(child)}); !errors.Is(err, registry.ErrReferenced) {
			t.Errorf("deleting a child: %v", err)
		}
		// With its last tag an image goes; its child may then go.
		gone, err := b.DeleteImage(b.ctx, here, "aa", registry.ImageID{Tag: "multi"})
		if err != nil || !slices.Equal(gone, []registry.Deleted{{Digest: sha(index), Tag: "multi"}}) {
			t.Errorf("%v %v", gone, err)
		}
		_, err = b.Image(b.ctx, here, "aa", registry.ImageID{Digest: sha(index)})
		wantCode(t, err, registry.ImageNotFound)
		if _, err := b.DeleteImage(b.ctx, here, "aa", registry.ImageID{Digest: sha(child)}); err != nil {
			t.Error(err)
		}
		// By digest all tags go, by tag only that tag while there are others.
		b.mustPut("aa", "x", child)
		b.mustPut("aa", "y", child)
		if _, err := b.DeleteImage(b.ctx, here, "aa", registry.ImageID{Digest: sha(child), Tag: "zz"}); registry.CodeOf(err) != registry.ImageNotFound {
			t.Error(err)
		}
		if _, err := b.DeleteImage(b.ctx, here, "aa", registry.ImageID{Tag: "x"}); err != nil {
			t.Error(err)
		}
		if img, err := b.DescribeImage(b.ctx, here, "aa", registry.ImageID{Digest: sha(child)}); err != nil || !slices.Equal(img.Tags, []string{"y"}) {
			t.Errorf("%v %v", img, err)
		}
		b.mustPut("aa", "x", child)
		gone, err = b.DeleteImage(b.ctx, here, "aa", registry.ImageID{Digest: sha(child)})
		if err != nil || len(gone) != 2 {
			t.Errorf("%v %v", gone, err)
		}
		if r, _ := b.Repository(b.ctx, here, "aa"); r.Images != 0 {
			t.Errorf("count %d after everything went", r.Images)
		}
		// Indexes nest to a depth.
		b.mustPut("aa", "", child)
		inner, size := sha(child), len(child)
		for depth := 1; ; depth++ {
			body := encode(map[string]any{"schemaVersion": 2, "mediaType": manifest.OCIIndex, "manifests": []any{map[string]any{"mediaType": "x/y", "digest": inner, "size": size}}})
			_, err := b.put("aa", "", body)
			if depth > 8 {
				wantCode(t, err, registry.ManifestInvalid)
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			inner, size = sha(body), len(body)
		}
	})
}

// TestPages walks every list in small pages while rows come and go.
func TestPages(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		for i := range 12 {
			body := b.image("aa", uint64(i))
			tag := fmt.Sprintf("t%02d", i)
			if i%3 == 0 {
				tag = ""
			}
			b.mustPut("aa", tag, body)
		}
		for _, c := range []struct {
			status      registry.TagStatus
			refs, image int
		}{{registry.Any, 12, 12}, {registry.Tagged, 8, 8}, {registry.Untagged, 4, 4}} {
			seen := map[registry.ImageRef]bool{}
			var after registry.ImageRef
			for {
				page, err := b.ImageRefs(b.ctx, here, "aa", c.status, after, 5)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range page {
					seen[r] = true
				}
				if len(page) < 5 {
					break
				}
				after = page[len(page)-1]
			}
			if len(seen) != c.refs {
				t.Errorf("%s: %d references, want %d", c.status, len(seen), c.refs)
			}
			digests := map[string]bool{}
			var key registry.ImageKey
			last := time.Now()
			for {
				page, err := b.Images(b.ctx, here, "aa", c.status, key, 5)
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range page {
					digests[i.Digest] = true
					if i.PushedAt.After(last) {
						t.Errorf("%s comes after an older image", i.Digest)
					}
					last = i.PushedAt
				}
				if len(page) < 5 {
					break
				}
				key = page[len(page)-1].Key()
			}
			if len(digests) != c.image {
				t.Errorf("%s: %d images, want %d", c.status, len(digests), c.image)
			}
		}
		tags, err := b.Tags(b.ctx, here, "aa", "t04", 3)
		if err != nil || !slices.Equal(tags, []string{"t05", "t07", "t08"}) {
			t.Errorf("%v %v", tags, err)
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
		wantCode(t, b.OpenPageToken(c[0], c[1], &key), registry.PageInvalid)
		_ = name
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

func TestUploads(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		b.create("bb")
		data := random(1, 1000)
		ref, err := b.StartUpload(b.ctx, here, "aa", root, never)
		if err != nil {
			t.Fatal(err)
		}
		chunk := func(from int64, p []byte) registry.Chunk {
			return registry.Chunk{Body: bytes.NewReader(p), From: from, Length: int64(len(p))}
		}
		if n, err := b.AppendUpload(b.ctx, ref, chunk(0, data[:300])); err != nil || n != 300 {
			t.Fatalf("%d %v", n, err)
		}
		_, err = b.AppendUpload(b.ctx, ref, chunk(200, data[200:]))
		wantCode(t, err, registry.RangeInvalid)
		var e *registry.Error
		if errors.As(err, &e) && e.Offset != 300 {
			t.Errorf("offset %d", e.Offset)
		}
		// A body that breaks off keeps what came.
		_, err = b.AppendUpload(b.ctx, ref, registry.Chunk{Body: io.MultiReader(bytes.NewReader(data[300:400]), broken{}), From: 300, Length: 700})
		wantCode(t, err, registry.BodyInvalid)
		if n, err := b.UploadSize(b.ctx, ref); err != nil || n != 400 {
			t.Errorf("%d %v", n, err)
		}
		// Another repository, account or principal does not see it.
		for _, other := range []registry.UploadRef{
			{Place: here, Repository: "bb", ID: ref.ID, Principal: ref.Principal},
			{Place: here, Repository: "aa", ID: ref.ID, Principal: "arn:aws:iam::000000000012:user/u"},
			{Place: arn.Place{Account: "999999999999", Region: here.Region}, Repository: "aa", ID: ref.ID, Principal: ref.Principal},
			{Place: here, Repository: "aa", ID: "00000000-0000-4000-8000-000000000000", Principal: ref.Principal},
			{Place: here, Repository: "aa", ID: "../../x", Principal: ref.Principal},
		} {
			_, err := b.UploadSize(b.ctx, other)
			wantCode(t, err, registry.UploadNotFound)
		}
		l, err := b.FinishUpload(b.ctx, ref, sha(data), chunk(400, data[400:]))
		if err != nil || l.Size != 1000 {
			t.Fatal(err)
		}
		_, rd, err := b.OpenLayer(b.ctx, here, "aa", sha(data))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(rd); err != nil || !bytes.Equal(got, data) {
			t.Error(err)
		}
		rd.Close()
		_, err = b.UploadSize(b.ctx, ref)
		wantCode(t, err, registry.UploadNotFound)
		// A digest alone gives no access: the other repository has to bring the bytes.
		_, err = b.Layer(b.ctx, here, "bb", sha(data))
		wantCode(t, err, registry.LayersNotFound)
		wrong, _ := b.StartUpload(b.ctx, here, "bb", root, never)
		_, err = b.FinishUpload(b.ctx, wrong, sha(data), chunk(0, data[:999]))
		wantCode(t, err, registry.DigestInvalid)
		_, err = b.Layer(b.ctx, here, "bb", sha(data))
		wantCode(t, err, registry.LayersNotFound)
		b.layer("bb", data)
		if _, err := b.Layer(b.ctx, here, "bb", sha(data)); err != nil {
			t.Error(err)
		}
		// Cancel.
		c, _ := b.StartUpload(b.ctx, here, "bb", root, never)
		if err := b.CancelUpload(b.ctx, c); err != nil {
			t.Error(err)
		}
		wantCode(t, b.CancelUpload(b.ctx, c), registry.UploadNotFound)
	})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestParts holds the API's rules for parts.
func TestParts(t *testing.T) {
	limits := registry.DefaultLimits()
	limits.MinPart, limits.Parts, limits.LayerSize = 100, 3, 450
	b := newBed(t, sqldbtest.SQLite(t), limits, nil)
	b.create("aa")
	start := func() registry.UploadRef {
		ref, err := b.StartUpload(b.ctx, here, "aa", root, never)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	part := func(ref registry.UploadRef, from int64, p []byte) error {
		_, err := b.AppendUpload(b.ctx, ref, registry.Chunk{Body: bytes.NewReader(p), From: from, Length: int64(len(p)), Part: true})
		return err
	}
	data := random(1, 450)
	_, err := b.CompleteUpload(b.ctx, start(), sha(nil))
	wantCode(t, err, registry.EmptyUpload)
	ref := start()
	if err := errors.Join(part(ref, 0, data[:100]), part(ref, 100, data[100:150])); err != nil {
		t.Fatal(err)
	}
	wantCode(t, part(ref, 50, data[50:]), registry.InvalidLayerPart)
	if _, err := b.CompleteUpload(b.ctx, ref, sha(data[:150])); err != nil {
		t.Errorf("the last part may be short: %v", err)
	}
	ref = start()
	if err := errors.Join(part(ref, 0, data[:50]), part(ref, 50, data[50:200])); err != nil {
		t.Fatal(err)
	}
	_, err = b.CompleteUpload(b.ctx, ref, sha(data[:200]))
	wantCode(t, err, registry.LayerPartTooSmall)
	ref = start()
	if err := errors.Join(part(ref, 0, data[:100]), part(ref, 100, data[100:200]), part(ref, 200, data[200:300])); err != nil {
		t.Fatal(err)
	}
	wantCode(t, part(ref, 300, data[300:400]), registry.LimitExceeded)
	_, err = b.CompleteUpload(b.ctx, ref, sha(data))
	wantCode(t, err, registry.InvalidLayer)
	ref = start()
	wantCode(t, part(ref, 0, random(2, 451)), registry.SizeInvalid)
	ref = start()
	if err := part(ref, 0, data[:150]); err != nil {
		t.Fatal(err)
	}
	_, err = b.CompleteUpload(b.ctx, ref, sha(data[:150]))
	wantCode(t, err, registry.LayerAlreadyExists)
	ref = start()
	_, err = b.AppendUpload(b.ctx, ref, registry.Chunk{Body: bytes.NewReader(random(3, 1000)), From: -1, Length: -1})
	wantCode(t, err, registry.SizeInvalid)
}

func TestMount(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("from")
		b.create("to")
		b.create("sealed", func(n *registry.NewRepository) { n.Encryption = registry.KMS })
		d := b.layer("from", random(1, 500))
		for _, c := range []struct {
			to, from, digest string
			ok               bool
		}{{"to", "from", d, true}, {"to", "from", d, true}, {"to", "none", d, false}, {"to", "from", sha(nil), false}, {"sealed", "from", d, false}} {
			_, ok, err := b.MountLayer(b.ctx, here, c.to, c.from, c.digest)
			if ok != c.ok || err != nil && c.to != "to" {
				t.Errorf("%+v: %v %v", c, ok, err)
			}
		}
		if _, err := b.Layer(b.ctx, here, "to", d); err != nil {
			t.Error(err)
		}
		if err := b.PutAccountSetting(b.ctx, here, registry.BlobMounting, "DISABLED"); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := b.MountLayer(b.ctx, here, "to", "from", d); ok {
			t.Error("mounted though mounting is switched off")
		}
	})
}

// TestDamagedLayer: a blob whose bytes went is not served and not "already
// there"; pushing it again repairs it everywhere.
func TestDamagedLayer(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		data := random(1, 5000)
		d := b.layer("aa", data)
		if err := b.store.Walk(b.ctx, func(i blob.Info) error { return b.store.Delete(b.ctx, i.Key) }); err != nil {
			t.Fatal(err)
		}
		_, _, err := b.OpenLayer(b.ctx, here, "aa", d)
		wantCode(t, err, registry.LayerInaccessible)
		b.create("bb")
		b.layer("bb", data)
		for _, repo := range []string{"aa", "bb"} {
			_, rd, err := b.OpenLayer(b.ctx, here, repo, d)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(rd); !bytes.Equal(got, data) {
				t.Errorf("%s: not repaired", repo)
			}
			rd.Close()
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

func TestTemplates(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		add := func(prefix string, causes ...string) {
			t.Helper()
			if _, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: prefix, AppliedFor: causes}); err != nil {
				t.Fatal(err)
			}
		}
		add("ROOT", registry.CreateOnPush)
		add("prod", registry.CreateOnPush, registry.Replication)
		add("prod/team/", registry.CreateOnPush)
		add("pull", registry.PullThroughCache)
		for name, want := range map[string]string{"prod/a": "prod", "prod/team/b": "prod/team/", "prod/teams/b": "prod", "production/a": "ROOT", "prod": "ROOT", "pull/x": "ROOT", "zz": "ROOT"} {
			got, err := b.MatchTemplate(b.ctx, here, name, registry.CreateOnPush)
			if err != nil || got == nil || got.Prefix != want {
				t.Errorf("%s: %v %v, want %s", name, got, err, want)
			}
		}
		if got, _ := b.MatchTemplate(b.ctx, here, "zz", registry.Replication); got != nil {
			t.Errorf("replication takes %s", got.Prefix)
		}
		_, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: "prod", AppliedFor: []string{registry.CreateOnPush}})
		wantCode(t, err, registry.TemplateAlreadyExists)
		for _, bad := range []registry.Template{
			{Prefix: "UPPER", AppliedFor: []string{registry.CreateOnPush}}, {Prefix: "xx"}, {Prefix: "xx", AppliedFor: []string{"NONSENSE"}},
			{Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, Policy: "{"}, {Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, Lifecycle: "{}"},
			{Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, Tags: registry.TagRule{Mode: "SOMETIMES"}},
			{Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, CustomRole: "arn:aws:iam::1:user/x"},
		} {
			bad.Place = here
			_, err := b.CreateTemplate(b.ctx, bad)
			wantCode(t, err, registry.Validation)
		}
		up, err := b.UpdateTemplate(b.ctx, here, "prod", func(t *registry.Template) { t.Description = "new" })
		if err != nil || up.Description != "new" || len(up.AppliedFor) != 2 {
			t.Errorf("%+v %v", up, err)
		}
		_, err = b.UpdateTemplate(b.ctx, here, "none", func(*registry.Template) {})
		wantCode(t, err, registry.TemplateNotFound)
		if _, err := b.DeleteTemplate(b.ctx, here, "prod"); err != nil {
			t.Error(err)
		}
		_, err = b.DeleteTemplate(b.ctx, here, "prod")
		wantCode(t, err, registry.TemplateNotFound)
	})
}

func TestCreateOnPush(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		if _, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: "team", AppliedFor: []string{registry.CreateOnPush},
			Tags: registry.TagRule{Mode: registry.Immutable}, Encryption: registry.KMS, Resource: map[string]string{"owner": "x"}}); err != nil {
			t.Fatal(err)
		}
		_, err := b.StartUpload(b.ctx, here, "other/app", root, never)
		wantCode(t, err, registry.RepositoryNotFound)
		var asked []string
		denied := errors.New("denied")
		if _, err := b.StartUpload(b.ctx, here, "team/app", root, func(a string) error { asked = append(asked, a); return denied }); !errors.Is(err, denied) {
			t.Errorf("got %v, want the gate's answer", err)
		}
		_, err = b.Repository(b.ctx, here, "team/app")
		wantCode(t, err, registry.RepositoryNotFound) // authorised before anything exists
		// The layers of one push race.
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := b.StartUpload(b.ctx, here, "team/app", root, func(string) error { return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		r, err := b.Repository(b.ctx, here, "team/app")
		if err != nil || r.Tags.Mode != registry.Immutable || r.Encryption != registry.KMS || r.Resource["owner"] != "x" || r.Template != "team" {
			t.Errorf("%+v %v", r, err)
		}
		if !slices.Contains(asked, "CreateRepository") {
			t.Errorf("asked for %v", asked)
		}
	})
}

// TestLeftovers: what a template made and nobody filled goes after its term, and
// nothing else does.
func TestLeftovers(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		if _, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: "ROOT", AppliedFor: []string{registry.CreateOnPush}}); err != nil {
			t.Fatal(err)
		}
		allow := func(string) error { return nil }
		made := func(name string) registry.UploadRef {
			t.Helper()
			ref, err := b.StartUpload(b.ctx, here, name, root, allow)
			if err != nil {
				t.Fatal(err)
			}
			return ref
		}
		if err := b.CancelUpload(b.ctx, made("left")); err != nil {
			t.Fatal(err)
		}
		if err := b.CancelUpload(b.ctx, made("changed")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.SetScanOnPush(b.ctx, here, "changed", true); err != nil {
			t.Fatal(err)
		}
		if err := b.CancelUpload(b.ctx, made("filled")); err != nil {
			t.Fatal(err)
		}
		b.mustPut("filled", "v1", b.image("filled", 1))
		b.create("by-user")
		exists := func(name string) bool { _, err := b.Repository(b.ctx, here, name); return err == nil }
		b.advance(23 * time.Hour)
		if err := b.CancelUpload(b.ctx, made("busy")); err != nil {
			t.Fatal(err)
		}
		b.layer("busy", random(9, 200))
		open := made("open")
		if err := b.Sweep(b.ctx); err != nil || !exists("left") {
			t.Fatalf("gone before its term (%v)", err)
		}
		b.advance(2 * time.Hour)
		if err := b.Sweep(b.ctx); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"left": false, "changed": true, "filled": true, "by-user": true, "busy": true, "open": true} {
			if exists(name) != want {
				t.Errorf("%s exists: %v, want %v", name, !want, want)
			}
		}
		// Uploads end after a day without use, and their repository then follows.
		b.advance(25 * time.Hour)
		if err := b.Sweep(b.ctx); err != nil {
			t.Fatal(err)
		}
		_, err := b.UploadSize(b.ctx, open)
		if code := registry.CodeOf(err); code != registry.UploadNotFound {
			t.Errorf("an expired upload: %v", err)
		}
		if err := b.Sweep(b.ctx); err != nil || exists("open") || exists("busy") {
			t.Errorf("open %v, busy %v (%v)", exists("open"), exists("busy"), err)
		}
	})
}

func TestReferrers(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		subject := map[string]any{"mediaType": manifest.OCIManifest, "digest": sha([]byte("absent")), "size": 6}
		cfg := b.layer("aa", []byte("{}"))
		var digests []string
		for i := range 5 {
			body := encode(map[string]any{"schemaVersion": 2, "mediaType": manifest.OCIManifest, "artifactType": fmt.Sprint("kind/", i%2), "subject": subject,
				"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": cfg, "size": 2}, "layers": []any{}, "annotations": map[string]string{"n": fmt.Sprint(i)}})
			digests = append(digests, b.mustPut("aa", "", body).Digest)
		}
		slices.Sort(digests)
		list, err := b.Referrers(b.ctx, here, "aa", sha([]byte("absent")), nil, "", 3)
		if err != nil || len(list) != 3 || list[0].Digest != digests[0] || list[0].Annotations["n"] == "" {
			t.Fatalf("%v %v", list, err)
		}
		rest, _ := b.Referrers(b.ctx, here, "aa", sha([]byte("absent")), nil, list[2].Digest, 3)
		if len(rest) != 2 {
			t.Errorf("%d after the first page", len(rest))
		}
		if some, _ := b.Referrers(b.ctx, here, "aa", sha([]byte("absent")), []string{"kind/1"}, "", 10); len(some) != 2 {
			t.Errorf("%d of kind/1", len(some))
		}
		if none, err := b.Referrers(b.ctx, here, "aa", sha(nil), nil, "", 10); err != nil || len(none) != 0 {
			t.Errorf("%v %v", none, err)
		}
	})
}

func TestPulled(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		body := b.image("aa", 1)
		b.mustPut("aa", "v1", body)
		b.Pulled(here, "aa", sha(body))
		b.Close(b.ctx)
		img, err := b.DescribeImage(b.ctx, here, "aa", registry.ImageID{Tag: "v1"})
		if err != nil || img.PulledAt.IsZero() {
			t.Errorf("%+v %v", img, err)
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
			if _, err := b.StartUpload(b.ctx, here, "bb", root, never); err != nil {
				t.Fatal(err)
			}
		}
		_, err = b.StartUpload(b.ctx, here, "bb", root, never)
		wantCode(t, err, registry.LimitExceeded)
	})
}
