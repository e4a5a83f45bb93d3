package fsblob_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/blob/blobtest"
	"github.com/berth-registry/berth/blob/fsblob"
	"github.com/berth-registry/berth/internal/vfs"
	"github.com/berth-registry/berth/internal/vfs/simfs"
)

func open(t *testing.T, o fsblob.Options) *fsblob.Store {
	t.Helper()
	root, err := vfs.OpenOS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s, err := fsblob.Open(root, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	t.Run("ahead", func(t *testing.T) {
		blobtest.Test(t, func(t *testing.T) blob.Store { return open(t, fsblob.Options{Ahead: 16}) })
	})
	t.Run("plain", func(t *testing.T) {
		blobtest.Test(t, func(t *testing.T) blob.Store { return open(t, fsblob.Options{}) })
	})
	t.Run("simulated", func(t *testing.T) {
		blobtest.Test(t, func(t *testing.T) blob.Store {
			s, err := fsblob.Open(simfs.New(), fsblob.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
}

// TestCloseLeavesNothing: files made ahead and not used are removed.
func TestCloseLeavesNothing(t *testing.T) {
	disk := simfs.New()
	s, err := fsblob.Open(disk, fsblob.Options{Ahead: 8})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := s.Walk(t.Context(), func(blob.Info) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d files left (%v), want the committed one", n, err)
	}
}

// TestFailedFlushClosesTheStore: after a flush failed nothing more is written,
// though later flushes would report success.
func TestFailedFlushClosesTheStore(t *testing.T) {
	disk := simfs.New()
	s, err := fsblob.Open(disk, fsblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	disk.FailAt(1, syscall.EIO, false)
	if err := w.Commit(); !errors.Is(err, blob.ErrFailed) {
		t.Fatalf("Commit: %v, want ErrFailed", err)
	}
	if _, err := s.Create(t.Context()); !errors.Is(err, blob.ErrFailed) {
		t.Errorf("Create after a failed flush: %v, want ErrFailed", err)
	}
	if _, err := s.Open(t.Context(), w.Key(), 1); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("the unflushed file is still there: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	disk := simfs.New()
	s, err := fsblob.Open(disk, fsblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	disk.FailAt(1, syscall.ENOSPC, false)
	if _, err := w.Write([]byte("x")); !errors.Is(err, blob.ErrFull) {
		t.Fatalf("Write: %v, want ErrFull", err)
	}
	if err := w.Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context()); err != nil {
		t.Errorf("a full disk recovers: %v", err)
	}
}
