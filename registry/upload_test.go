package registry_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

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

// TestDamagedSmallLayer: what rested in the store when less was small is repaired by a push
// that stores it in its row.
func TestDamagedSmallLayer(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("aa")
		data := random(1, 5000)
		d := b.layer("aa", data)
		b.Registry = registry.New(b.db, blob.New(b.store, blob.Options{}), secret.NewMaster(make([]byte, 32)), registry.Options{Now: b.clock})
		for _, whole := range []bool{true, false} {
			if !whole {
				if err := b.store.Walk(b.ctx, func(i blob.Info) error { return b.store.Delete(b.ctx, i.Key) }); err != nil {
					t.Fatal(err)
				}
			}
			b.layer("aa", data)
			_, rd, err := b.OpenLayer(b.ctx, here, "aa", d)
			if err != nil {
				t.Fatalf("whole %v: %v", whole, err)
			}
			if got, _ := io.ReadAll(rd); !bytes.Equal(got, data) {
				t.Errorf("whole %v: other bytes", whole)
			}
			rd.Close()
		}
	})
}
