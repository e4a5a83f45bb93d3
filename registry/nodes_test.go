package registry_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestUploadsAmongNodes: an upload may go on at any node, from its beginning to its end, and
// has ended for all of them.
func TestUploadsAmongNodes(t *testing.T) {
	a := newBed(t, sqldbtest.Postgres(t), registry.Limits{}, nil)
	nodes := []*registry.Registry{a.Registry}
	for range 2 {
		nodes = append(nodes, registry.New(a.db, blob.New(a.store, blob.Options{InlineMax: 100}), secret.NewMaster(make([]byte, 32)), registry.Options{Now: a.clock}))
	}
	a.create("aa")
	start := func() registry.UploadRef {
		t.Helper()
		ref, err := nodes[0].StartUpload(a.ctx, here, "aa", root, never)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	gone := func(ref registry.UploadRef) {
		t.Helper()
		for _, n := range nodes {
			_, err := n.UploadSize(a.ctx, ref)
			wantCode(t, err, registry.UploadNotFound)
		}
	}
	chunk := func(from int64, p []byte) registry.Chunk {
		return registry.Chunk{Body: bytes.NewReader(p), From: from, Length: int64(len(p))}
	}
	data := random(1, 1000)

	t.Run("whole at another", func(t *testing.T) {
		ref := start()
		if _, err := nodes[1].FinishUpload(a.ctx, ref, sha(data), chunk(0, data)); err != nil {
			t.Fatal(err)
		}
		gone(ref)
	})
	t.Run("from one to the next", func(t *testing.T) {
		ref := start()
		for i, n := range nodes {
			if size, err := n.UploadSize(a.ctx, ref); err != nil || size != int64(i*300) {
				t.Fatalf("node %d: %d %v", i, size, err)
			}
			if _, err := n.AppendUpload(a.ctx, ref, chunk(int64(i*300), data[i*300:(i+1)*300])); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := nodes[0].FinishUpload(a.ctx, ref, sha(data), chunk(900, data[900:])); err != nil {
			t.Fatal(err)
		}
		gone(ref)
	})
	t.Run("wrong bytes", func(t *testing.T) {
		ref := start()
		_, err := nodes[2].FinishUpload(a.ctx, ref, sha(nil), chunk(0, data))
		wantCode(t, err, registry.DigestInvalid)
		gone(ref)
	})
	t.Run("cancelled", func(t *testing.T) {
		ref := start()
		if size, err := nodes[1].UploadSize(a.ctx, ref); err != nil || size != 0 {
			t.Fatal(size, err)
		}
		if err := nodes[2].CancelUpload(a.ctx, ref); err != nil {
			t.Fatal(err)
		}
		gone(ref)
	})
	t.Run("of a repository that was made again", func(t *testing.T) {
		ref := start()
		if _, err := nodes[0].AppendUpload(a.ctx, ref, chunk(0, data[:10])); err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[0].DeleteRepository(a.ctx, here, "aa", true); err != nil {
			t.Fatal(err)
		}
		a.create("aa")
		_, err := nodes[1].UploadSize(a.ctx, ref)
		wantCode(t, err, registry.UploadNotFound)
	})
	t.Run("not begun so", func(t *testing.T) {
		ref := start()
		last := map[bool]string{true: "1", false: "0"}[ref.ID[35] == '0']
		for _, other := range []registry.UploadRef{
			{Place: ref.Place, Repository: ref.Repository, Principal: ref.Principal, ID: ref.ID[:35] + last},
			{Place: ref.Place, Repository: ref.Repository, Principal: ref.Principal, ID: "7" + ref.ID[1:]},
			{Place: ref.Place, Repository: ref.Repository, Principal: ref.Principal + "x", ID: ref.ID},
		} {
			_, err := nodes[1].UploadSize(a.ctx, other)
			wantCode(t, err, registry.UploadNotFound)
		}
		a.create("bb")
		_, err := nodes[1].UploadSize(a.ctx, registry.UploadRef{Place: ref.Place, Repository: "bb", Principal: ref.Principal, ID: ref.ID})
		wantCode(t, err, registry.UploadNotFound)
		a.advance(time.Hour)
		gone(ref)
	})
	t.Run("forgotten", func(t *testing.T) {
		ended := func() (n int) {
			if err := a.db.QueryRow(a.ctx, []any{&n}, "select count(*) from ended_uploads"); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := ended()
		if err := nodes[0].Sweep(a.ctx); err != nil || ended() != before || before == 0 {
			t.Errorf("%d of %d are left, %v", ended(), before, err)
		}
		a.advance(2 * time.Hour)
		if err := nodes[0].Sweep(a.ctx); err != nil || ended() != 0 {
			t.Errorf("%d are left, %v", ended(), err)
		}
	})
}
