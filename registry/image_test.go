package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/registry/manifest"
)

// TestImagesByTagAndDigest: what is read by one name is there by the others, and gone when they
// are.
func TestImagesByTagAndDigest(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		one, two := b.image("aa", 1), b.image("aa", 2)
		see := func(want map[string][]byte) { // by tag, or digest
			t.Helper()
			for range 3 { // later reads may come from the cache
				for name, body := range want {
					id, tags := registry.ImageID{Tag: name}, []string{name}
					if strings.HasPrefix(name, "sha256:") {
						id, tags = registry.ImageID{Digest: name}, nil
					}
					img, err := b.Image(b.ctx, here, "aa", id)
					if body == nil {
						wantCode(t, err, registry.ImageNotFound)
						continue
					}
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if !bytes.Equal(img.Body, body) || img.Digest != sha(body) || !slices.Equal(img.Tags, tags) {
						t.Errorf("%s is %s with the tags %v", name, img.Digest, img.Tags)
					}
				}
			}
		}
		b.mustPut("aa", "a", one)
		b.mustPut("aa", "b", one)
		b.mustPut("aa", "c", two)
		see(map[string][]byte{"a": one, "b": one, "c": two, sha(one): one, sha(two): two})
		b.mustPut("aa", "b", two)
		see(map[string][]byte{"a": one, "b": two, "c": two, sha(one): one})
		for _, id := range []registry.ImageID{{Digest: sha(one)}, {Tag: "c"}} {
			if _, err := b.DeleteImage(b.ctx, here, "aa", id); err != nil {
				t.Fatal(err)
			}
		}
		see(map[string][]byte{"a": nil, "b": two, "c": nil, sha(one): nil, sha(two): two})
		b.mustPut("aa", "a", one)
		see(map[string][]byte{"a": one, "b": two, "c": nil, sha(one): one, sha(two): two})
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
