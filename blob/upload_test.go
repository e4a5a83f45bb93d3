package blob_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/blob/fsblob"
	"github.com/berth-registry/berth/blob/keyring"
	"github.com/berth-registry/berth/blob/memblob"
	"github.com/berth-registry/berth/internal/vfs/simfs"
	"github.com/berth-registry/berth/secret"
)

const inlineMax = 1000

func blobs(t testing.TB) (*blob.Blobs, *memblob.Store, string) {
	ring, err := keyring.New(secret.NewMaster(make([]byte, 32)), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := memblob.New()
	return blob.New(s, blob.Options{InlineMax: inlineMax, Keys: ring}), s, ring.Default(arn.Place{Account: "000000000000", Region: "us-east-1"})
}

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(b)
	return b
}

func sha(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// TestRoundTrip writes content of every interesting length in pieces, through
// suspensions, plain and encrypted, and reads all and parts of it back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, _, key := blobs(t)
		if rapid.Bool().Draw(rt, "on files") {
			store, err := fsblob.Open(simfs.New(), fsblob.Options{})
			if err != nil {
				rt.Fatal(err)
			}
			ring, _ := keyring.New(secret.NewMaster(make([]byte, 32)), nil)
			b = blob.New(store, blob.Options{InlineMax: inlineMax, Keys: ring})
		}
		if rapid.Bool().Draw(rt, "plain") {
			key = ""
		}
		near := rapid.SampledFrom([]int{0, 1, inlineMax, 32 << 10, 1 << 16, 2 << 16, 256 << 10, 512 << 10}).Draw(rt, "near")
		data := random(1, max(0, near+rapid.IntRange(-2, 2).Draw(rt, "off")))
		u, err := b.Begin(key)
		if err != nil {
			rt.Fatal(err)
		}
		for rest := data; ; {
			n := rapid.IntRange(0, len(rest)).Draw(rt, "piece")
			if got, err := u.ReadFrom(bytes.NewReader(rest[:n])); err != nil || got != int64(n) {
				rt.Fatalf("ReadFrom: %d, %v", got, err)
			}
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
			if rapid.Bool().Draw(rt, "suspend") {
				s, err := u.State()
				if err != nil {
					rt.Fatal(err)
				}
				if err := u.Suspend(); err != nil {
					rt.Fatal(err)
				}
				if u, err = b.Resume(t.Context(), s, rapid.Bool().Draw(rt, "distrust")); err != nil {
					rt.Fatal(err)
				}
			}
		}
		digest := sha(data)
		if rapid.Bool().Draw(rt, "sha512") {
			digest = fmt.Sprintf("sha512:%x", sha512.Sum512(data))
		}
		c, err := u.Commit(t.Context(), digest)
		if err != nil {
			rt.Fatal(err)
		}
		if c.Size != int64(len(data)) || (c.Key == "") != (len(data) <= inlineMax) {
			rt.Fatalf("content %+v for %d bytes", c, len(data))
		}
		if key != "" && len(data) > 20 && bytes.Contains(c.Inline, data[:20]) {
			rt.Fatal("encrypted content is in the clear")
		}
		r, err := b.Open(t.Context(), c)
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		from := rapid.IntRange(0, len(data)).Draw(rt, "from")
		if _, err := r.Seek(int64(from), io.SeekStart); err != nil {
			rt.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[from:]) {
			rt.Fatalf("read %d bytes from %d: %v", len(got), from, err)
		}
	})
}

func TestWrongDigestLeavesNothing(t *testing.T) {
	for _, n := range []int{10, 5000, 600 << 10} {
		for _, digest := range []string{sha([]byte("other")), fmt.Sprintf("sha512:%x", sha512.Sum512(nil)), "md5:00"} {
			b, s, _ := blobs(t)
			u, _ := b.Begin("")
			if _, err := u.ReadFrom(bytes.NewReader(random(2, n))); err != nil {
				t.Fatal(err)
			}
			if _, err := u.Commit(t.Context(), digest); !errors.Is(err, blob.ErrDigest) {
				t.Errorf("%d bytes as %s: %v, want ErrDigest", n, digest, err)
			}
			if err := s.Walk(t.Context(), func(i blob.Info) error { return fmt.Errorf("%s is left", i.Key) }); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestBrokenBody: what came before the break is kept and can be continued.
func TestBrokenBody(t *testing.T) {
	data := random(3, 700<<10)
	for _, cut := range []int{0, 10, 5000, 32 << 10, 40 << 10, 300 << 10, 512 << 10} {
		b, _, _ := blobs(t)
		u, _ := b.Begin("")
		n, err := u.ReadFrom(io.MultiReader(bytes.NewReader(data[:cut]), iotest.ErrReader(io.ErrUnexpectedEOF)))
		if !errors.Is(err, io.ErrUnexpectedEOF) || n != int64(cut) || u.Size() != n {
			t.Fatalf("cut at %d: took %d, %v", cut, n, err)
		}
		if _, err := u.ReadFrom(bytes.NewReader(data[cut:])); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Commit(t.Context(), sha(data)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDistrustFindsLostBytes: a part that changed while the process was down is
// not built upon.
func TestDistrustFindsLostBytes(t *testing.T) {
	b, s, _ := blobs(t)
	u, _ := b.Begin("")
	if _, err := u.ReadFrom(bytes.NewReader(random(4, 5000))); err != nil {
		t.Fatal(err)
	}
	st, err := u.State()
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Resume(t.Context(), st.Key, 4000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Resume(t.Context(), st, true); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// TestChangedCiphertext: a flipped bit in encrypted content never reads as data.
func TestChangedCiphertext(t *testing.T) {
	b, _, key := blobs(t)
	u, _ := b.Begin(key)
	if _, err := u.ReadFrom(bytes.NewReader(random(5, 500))); err != nil {
		t.Fatal(err)
	}
	c, err := u.Commit(t.Context(), sha(random(5, 500)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Inline {
		bad := c
		bad.Inline = bytes.Clone(c.Inline)
		bad.Inline[i] ^= 1
		r, err := b.Open(t.Context(), bad)
		if err != nil {
			continue
		}
		if _, err := io.ReadAll(r); err == nil {
			t.Fatalf("bit %d of the stored bytes flipped and nobody noticed", i*8)
		}
	}
	other := c
	other.Digest = sha(nil)
	if _, err := b.Open(t.Context(), other); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("the data key opened for another digest: %v", err)
	}
}
