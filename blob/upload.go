package blob

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
)

const (
	// readSize is how much is asked of the network at a time, in bytes.
	readSize  = 256 << 10
	beginSize = 32 << 10
	// writeSize is how much is given to the store at a time, in bytes. Larger
	// writes make the kernel take larger pages, which is slower on virtual
	// machines (docs/performance.md).
	writeSize = 32 << 10
)

// State is everything needed to go on with an upload elsewhere or later.
type State struct {
	Size      int64
	Key       string // where the stored part is, "" when everything is in Tail
	Hash      []byte // of all Size bytes so far
	Tail      []byte // received but not in the store; sealed when encrypted
	DataKey   []byte // wrapped, bound to "upload"
	Encrypted string // key ARN
	Nonce     []byte
}

// uploadContext binds the data key of an upload that has no digest yet.
const uploadContext = "upload"

// Upload receives one blob. It is not safe for concurrent use.
type Upload struct {
	blobs   *Blobs
	size    int64
	hash    hash.Hash
	small   []byte // everything so far, while w is nil
	w       Writer
	seal    *sealer
	keyARN  string
	dataKey []byte
	nonce   [12]byte
	err     error // a failed write ends the upload
}

// Begin starts an upload; keyARN encrypts it, "" stores it as it is.
func (b *Blobs) Begin(keyARN string) (*Upload, error) {
	u := &Upload{blobs: b, hash: sha256.New(), keyARN: keyARN}
	if keyARN != "" {
		if b.keys == nil {
			return nil, ErrNoKeys
		}
		u.dataKey, u.nonce = newDataKey()
	}
	return u, nil
}

// Resume goes on with a suspended upload. With distrust (after a restart, when
// unsynced bytes may be anything) what the store holds is read and hashed again;
// bytes that are not those of the state are ErrDamaged. Encrypted uploads need no
// distrust: State flushed their bytes.
func (b *Blobs) Resume(ctx context.Context, s State, distrust bool) (*Upload, error) {
	u := &Upload{blobs: b, size: s.Size, hash: sha256.New(), keyARN: s.Encrypted}
	if s.Encrypted != "" {
		if b.keys == nil {
			return nil, ErrNoKeys
		}
		var err error
		if u.dataKey, err = b.keys.Unwrap(s.Encrypted, s.DataKey, uploadContext); err != nil {
			return nil, err
		}
		copy(u.nonce[:], s.Nonce)
		if s.Tail, err = openTail(u.dataKey, s.Tail); err != nil {
			return nil, err
		}
	}
	if err := u.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.Hash); err != nil {
		return nil, fmt.Errorf("%w: the upload's hash state does not load: %w", ErrDamaged, err)
	}
	if s.Key == "" {
		u.small = s.Tail
		return u, nil
	}
	return u, u.reopen(ctx, s, distrust)
}

func (u *Upload) reopen(ctx context.Context, s State, distrust bool) error {
	stored, plain := s.Size, s.Size
	if u.keyARN != "" {
		plain = written(s.Size)
		stored = sealedSize(plain)
	}
	w, err := u.blobs.store.Resume(ctx, s.Key, stored)
	if err != nil {
		return err
	}
	if distrust && u.keyARN == "" {
		if err := u.recheck(ctx, s); err != nil {
			return errors.Join(err, w.Discard())
		}
	}
	u.w = w
	if u.keyARN == "" {
		return nil
	}
	if u.seal, err = newSealer(u.dataKey, u.nonce, w, uint32(plain/packageSize)); err == nil {
		_, err = u.seal.Write(s.Tail)
	}
	if err != nil {
		return errors.Join(err, w.Discard())
	}
	return nil
}

// recheck reads back what a suspended upload stored and compares its hash.
func (u *Upload) recheck(ctx context.Context, s State) error {
	r, err := u.blobs.store.Open(ctx, s.Key, s.Size)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if got, want := h.Sum(nil), u.hash.Sum(nil); string(got) != string(want) {
		return fmt.Errorf("%w: the stored part of the upload changed while nobody wrote to it", ErrDamaged)
	}
	return nil
}

// Size is how many bytes have been received.
func (u *Upload) Size() int64 { return u.size }

// buffers recycles the receive buffers, beginnings those that every body begins with: most
// are small, and a thousand clients at once are not to take a large buffer each.
var (
	buffers    = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}
	beginnings = sync.Pool{New: func() any { b := make([]byte, beginSize); return &b }}
)

// ReadFrom receives all of r and returns how many bytes were taken. An error of
// r leaves the upload usable, with the bytes that came before it; an error of
// the store ends it.
func (u *Upload) ReadFrom(r io.Reader) (int64, error) {
	if u.err != nil {
		return 0, u.err
	}
	begin := beginnings.Get().(*[]byte)
	defer beginnings.Put(begin)
	n, rerr := fill(r, *begin)
	have := (*begin)[:n]
	if rerr == nil && n == beginSize {
		bp := buffers.Get().(*[]byte)
		defer buffers.Put(bp)
		copy(*bp, have)
		if n, rerr = fill(r, (*bp)[beginSize:]); rerr == nil && n == readSize-beginSize {
			return u.stream(r, *bp)
		}
		n += beginSize
		have = (*bp)[:n]
	}
	if err := u.write(have, nil); err != nil {
		return 0, err
	}
	if rerr == io.EOF {
		rerr = nil
	}
	return int64(n), rerr
}

// fill reads until the buffer is full or r ends; a full buffer has no error.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	if n == len(b) {
		err = nil
	}
	return n, err
}

// stream receives a large body: one goroutine hashes while this one reads and
// writes. first holds the bytes read already.
func (u *Upload) stream(r io.Reader, first []byte) (int64, error) {
	second := buffers.Get().(*[]byte)
	defer buffers.Put(second)
	work, hashed := make(chan []byte), make(chan struct{}, 1)
	go func() {
		for p := range work {
			u.hash.Write(p)
			hashed <- struct{}{}
		}
		close(hashed)
	}()
	defer func() {
		close(work)
		for range hashed { //nolint:revive // drain: the buffers may be reused only after this
		}
	}()
	total, n := int64(0), len(first)
	cur, next := first, *second
	for {
		if err := u.write(cur[:n], func(p []byte) { work <- p }); err != nil {
			return total, err
		}
		total += int64(n)
		m, rerr := fill(r, next)
		<-hashed // cur is free again
		if m > 0 {
			cur, next, n = next, cur, m
			if rerr == nil {
				continue
			}
			if err := u.write(cur[:n], func(p []byte) { work <- p }); err != nil {
				return total, err
			}
			total += int64(n)
			<-hashed
		}
		if rerr == io.EOF {
			rerr = nil
		}
		return total, rerr
	}
}

// write stores p and hashes it, by hashing itself or by handing it on.
func (u *Upload) write(p []byte, hashing func([]byte)) error {
	if len(p) == 0 {
		return nil
	}
	if u.w == nil && len(u.small)+len(p) > u.blobs.inlineMax {
		if err := u.spill(); err != nil {
			return u.fail(err)
		}
	}
	if hashing != nil {
		hashing(p)
	} else {
		u.hash.Write(p)
	}
	if u.w == nil {
		u.small = append(u.small, p...)
	} else if err := u.put(p); err != nil {
		return u.fail(err)
	}
	u.size += int64(len(p))
	return nil
}

// put gives p to the store, in pieces of writeSize.
func (u *Upload) put(p []byte) error {
	var w io.Writer = u.w
	if u.seal != nil {
		w = u.seal
	}
	for len(p) > 0 {
		n := min(len(p), writeSize)
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// spill moves an upload that outgrew its row to the store.
func (u *Upload) spill() error {
	w, err := u.blobs.store.Create(context.Background())
	if err != nil {
		return err
	}
	u.w = w
	if u.keyARN != "" {
		if u.seal, err = newSealer(u.dataKey, u.nonce, w, 0); err != nil {
			return err
		}
	}
	if err := u.put(u.small); err != nil {
		return err
	}
	u.small = nil
	return nil
}

func (u *Upload) fail(err error) error {
	u.err = err
	u.Discard()
	return err
}

// Discard ends the upload and removes its bytes.
func (u *Upload) Discard() {
	if u.w != nil {
		// The bytes belong to nobody; what cannot be removed now is swept later.
		_ = u.w.Discard()
		u.w = nil
	}
	u.small = nil
	if u.err == nil {
		u.err = errors.New("the upload was discarded")
	}
}

// State describes the upload as it is, to be written where Resume can find it.
// The upload stays usable. State aliases the upload's memory until the next write.
func (u *Upload) State() (State, error) {
	if u.err != nil {
		return State{}, u.err
	}
	h, err := u.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return State{}, err
	}
	s := State{Size: u.size, Hash: h, Tail: u.small, Encrypted: u.keyARN}
	if u.w != nil {
		s.Key = u.w.Key()
	}
	if u.keyARN == "" {
		return s, nil
	}
	if u.seal != nil {
		// Packages cannot be hashed again before the final one is marked, so
		// they are made safe instead.
		if err := u.w.Sync(); err != nil {
			return State{}, u.fail(err)
		}
		s.Tail = u.seal.tail
	}
	s.Tail, s.Nonce = sealTail(u.dataKey, s.Tail), u.nonce[:]
	s.DataKey, err = u.blobs.keys.Wrap(u.keyARN, u.dataKey, uploadContext)
	return s, err
}

// Suspend closes the upload and leaves its bytes for Resume with the State taken
// before.
func (u *Upload) Suspend() error {
	if u.w == nil {
		return nil
	}
	err := u.w.Suspend()
	u.w, u.err = nil, errors.New("the upload was suspended")
	return err
}

// Small reports that the bytes so far would rest in their row, so that Commit writes nothing
// anywhere.
func (u *Upload) Small() bool { return u.w == nil }

// Encryption is the ARN of the key the upload is encrypted under, "" for none.
func (u *Upload) Encryption() string { return u.keyARN }

// Check compares what was received with a digest, without storing anything:
// ErrDigest. Content under a SHA-512 digest that outgrew its row has to be read
// back, which Commit does.
func (u *Upload) Check(digest string) error {
	if u.err != nil {
		return u.err
	}
	sum, err := u.sum(digest)
	if err == nil && sum == nil {
		return fmt.Errorf("%w: %s cannot be checked before it is stored", ErrDigest, digest)
	}
	return err
}

// sum checks the digest as far as the running hash can; nil without an error
// means that the content has to be read back.
func (u *Upload) sum(digest string) ([]byte, error) {
	alg, want, _ := strings.Cut(digest, ":")
	var sum []byte
	switch {
	case alg == "sha256":
		sum = u.hash.Sum(nil)
	case alg == "sha512" && u.w == nil:
		s := sha512.Sum512(u.small)
		sum = s[:]
	case alg == "sha512":
		return nil, nil
	default:
		return nil, fmt.Errorf("%w: algorithm %q is not supported", ErrDigest, alg)
	}
	if hex.EncodeToString(sum) != want {
		return nil, fmt.Errorf("%w: got %s:%x, want %s", ErrDigest, alg, sum, digest)
	}
	return sum, nil
}

// Commit checks the bytes against digest (sha256 or sha512) and returns once
// they are safe. On ErrDigest, and on every other error, the upload is gone.
func (u *Upload) Commit(ctx context.Context, digest string) (Content, error) {
	if u.err != nil {
		return Content{}, u.err
	}
	c, err := u.commit(ctx, digest)
	if err != nil {
		return Content{}, u.fail(err)
	}
	u.w, u.err = nil, errors.New("the upload was committed")
	return c, nil
}

func (u *Upload) commit(ctx context.Context, digest string) (Content, error) {
	sum, err := u.sum(digest)
	if err != nil {
		return Content{}, err
	}
	c := Content{Digest: digest, Size: u.size, StoredSize: u.size, Encryption: u.keyARN}
	if u.keyARN != "" {
		if c.DataKey, err = u.blobs.keys.Wrap(u.keyARN, u.dataKey, digest); err != nil {
			return Content{}, err
		}
		c.StoredSize = sealedSize(u.size)
	}
	if u.w == nil {
		c.Inline = u.small
		if c.Inline == nil {
			c.Inline = []byte{}
		}
		if u.keyARN != "" && u.size > 0 {
			if c.Inline, err = sealInline(u.dataKey, u.small); err != nil {
				return Content{}, err
			}
		}
		return c, nil
	}
	if u.seal != nil {
		if err := u.seal.out.Close(); err != nil {
			return Content{}, err
		}
	}
	c.Key = u.w.Key()
	if err := u.w.Commit(); err != nil {
		u.w = nil // it removed the bytes itself
		return Content{}, err
	}
	u.w = nil
	if sum == nil {
		return c, u.rehash512(ctx, c)
	}
	return c, nil
}

// rehash512 checks a SHA-512 digest by reading the content back: which of the
// two algorithms a client means is known only at the end, and nearly all use
// SHA-256.
func (u *Upload) rehash512(ctx context.Context, c Content) error {
	r, err := u.blobs.Open(ctx, c)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha512.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	if got := "sha512:" + hex.EncodeToString(h.Sum(nil)); got != c.Digest {
		return errors.Join(fmt.Errorf("%w: got %s, want %s", ErrDigest, got, c.Digest), u.blobs.store.Delete(ctx, c.Key))
	}
	return nil
}
