// Package blobtest is the specification of blob.Store as a test suite. Every
// store runs it.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/berth-registry/berth/blob"
)

// Test runs the suite; open returns an empty store.
func Test(t *testing.T, open func(t *testing.T) blob.Store) {
	ctx := context.Background()
	for name, fn := range map[string]func(*testing.T, blob.Store){
		"commit": func(t *testing.T, s blob.Store) {
			for _, size := range []int{0, 1, 4096, 3<<20 + 17} {
				data := bytes.Repeat([]byte{byte(size), 7}, size/2+1)[:size]
				key := put(t, s, data)
				expect(t, s, key, data)
			}
		},
		"ranges": func(t *testing.T, s blob.Store) {
			key := put(t, s, []byte("0123456789"))
			r, err := s.Open(ctx, key, 10)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := r.Seek(-3, io.SeekEnd); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != "789" {
				t.Errorf("after Seek: %q, %v", b, err)
			}
			b := make([]byte, 4)
			if _, err := r.ReadAt(b, 2); err != nil || string(b) != "2345" {
				t.Errorf("ReadAt: %q, %v", b, err)
			}
		},
		"missing": func(t *testing.T, s blob.Store) {
			key := put(t, s, []byte("x"))
			if err := s.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(ctx, key); err != nil {
				t.Errorf("deleting twice: %v", err)
			}
			for _, k := range []string{key, "", "../../etc/passwd", "ffffffffffffffffffffffffffffffff"} {
				if _, err := s.Open(ctx, k, 1); !errors.Is(err, blob.ErrNotFound) {
					t.Errorf("Open(%q): %v, want ErrNotFound", k, err)
				}
				if _, err := s.Resume(ctx, k, 0); !errors.Is(err, blob.ErrNotFound) {
					t.Errorf("Resume(%q): %v, want ErrNotFound", k, err)
				}
			}
		},
		"length": func(t *testing.T, s blob.Store) {
			key := put(t, s, []byte("abc"))
			for _, size := range []int64{0, 2, 4} {
				if _, err := s.Open(ctx, key, size); !errors.Is(err, blob.ErrDamaged) {
					t.Errorf("Open at length %d: %v, want ErrDamaged", size, err)
				}
			}
		},
		"suspend": func(t *testing.T, s blob.Store) {
			w, err := s.Create(ctx)
			if err != nil {
				t.Fatal(err)
			}
			write(t, w, "hello, wurst")
			key := w.Key()
			if err := w.Suspend(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Resume(ctx, key, 13); !errors.Is(err, blob.ErrNotFound) {
				t.Fatalf("resumed past the end: %v", err)
			}
			if w, err = s.Resume(ctx, key, 7); err != nil {
				t.Fatal(err)
			}
			write(t, w, "world")
			if err := w.Sync(); err != nil {
				t.Fatal(err)
			}
			if w.Key() != key {
				t.Errorf("the key changed from %s to %s", key, w.Key())
			}
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
			expect(t, s, key, []byte("hello, world"))
		},
		"discard": func(t *testing.T, s blob.Store) {
			w, err := s.Create(ctx)
			if err != nil {
				t.Fatal(err)
			}
			write(t, w, "gone")
			if err := w.Discard(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Open(ctx, w.Key(), 4); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("discarded bytes open: %v", err)
			}
		},
		"walk": func(t *testing.T, s blob.Store) {
			want := map[string]int64{put(t, s, []byte("one")): 3, put(t, s, []byte("three")): 5}
			if err := s.Walk(ctx, func(i blob.Info) error {
				if n, ok := want[i.Key]; ok && n == i.Size {
					delete(want, i.Key)
				}
				return nil
			}); err != nil || len(want) > 0 {
				t.Errorf("%v; not seen: %v", err, want)
			}
			stop := errors.New("stop")
			if err := s.Walk(ctx, func(blob.Info) error { return stop }); !errors.Is(err, stop) {
				t.Errorf("Walk hid the function's error: %v", err)
			}
		},
		"together": func(t *testing.T, s blob.Store) {
			var (
				wg   sync.WaitGroup
				mu   sync.Mutex
				keys []string
			)
			for i := range 40 {
				wg.Go(func() {
					data := fmt.Appendf(nil, "writer %d", i)
					w, err := s.Create(ctx)
					if err == nil {
						_, err = w.Write(data)
					}
					if err == nil {
						err = w.Commit()
					}
					if err != nil {
						t.Error(err)
						return
					}
					expect(t, s, w.Key(), data)
					mu.Lock()
					keys = append(keys, w.Key())
					mu.Unlock()
				})
			}
			wg.Wait()
			slices.Sort(keys)
			if len(slices.Compact(keys)) != 40 {
				t.Error("two writers shared a key")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			fn(t, s)
		})
	}
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s blob.Store, data []byte) string {
	t.Helper()
	w, err := s.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, string(data))
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return w.Key()
}

func expect(t *testing.T, s blob.Store, key string, want []byte) {
	t.Helper()
	r, err := s.Open(context.Background(), key, int64(len(want)))
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: read %d bytes (%v), want %d", key, len(got), err, len(want))
	}
}
