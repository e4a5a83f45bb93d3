// Package blob keeps content-addressed bytes: uploads that are hashed as they
// arrive, checked before anything can see them, optionally encrypted, and read
// back with ranges.
//
// The package has two levels. A Store (fsblob, memblob) keeps opaque bytes at
// keys it chooses itself and knows no digests. Blobs stands on a Store and is
// the one door for content: it hashes, encrypts and verifies, so that no store
// repeats it. What makes a blob exist is neither: it is the metadata row that
// points from a digest to a key, which the caller commits after Upload.Commit
// returned. Nothing is renamed or copied then.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Errors that stores and Blobs return, to be told apart with errors.Is.
var (
	// ErrNotFound is a key without bytes.
	ErrNotFound = errors.New("blob bytes not found")
	// ErrDamaged is bytes that are not what was stored: of another length, or
	// not the digest's.
	ErrDamaged = errors.New("blob bytes damaged")
	// ErrFull is a store without room.
	ErrFull = errors.New("blob storage full")
	// ErrFailed is a store whose disk failed a write or a flush: nothing more is
	// written before a restart.
	ErrFailed = errors.New("blob storage failed, writes are refused until restart")
	// ErrDigest is an upload whose bytes do not have the digest it claims.
	ErrDigest = errors.New("content does not match the digest")
)

// Store keeps bytes at keys of its own making. All methods may be called from
// many goroutines.
type Store interface {
	// Create begins new bytes. ErrFull, ErrFailed.
	Create(ctx context.Context) (Writer, error)
	// Resume continues suspended bytes at offset, cutting off what lies beyond.
	// ErrNotFound when fewer than offset bytes are there.
	Resume(ctx context.Context, key string, offset int64) (Writer, error)
	// Open reads committed or suspended bytes, of which there must be exactly
	// size: ErrNotFound, ErrDamaged.
	Open(ctx context.Context, key string, size int64) (Reader, error)
	// Delete removes bytes; bytes that are not there are no error.
	Delete(ctx context.Context, key string) error
	// Walk calls fn for every key, in no order, until fn fails.
	Walk(ctx context.Context, fn func(Info) error) error
	// Close ends background work and removes what was made ahead.
	Close() error
}

// Writer receives bytes at one key. Exactly one of Commit, Suspend and Discard
// ends it.
type Writer interface {
	io.Writer
	// Key is where the bytes are.
	Key() string
	// Sync makes what was written so far durable and leaves the writer open.
	// After an error the bytes are gone.
	Sync() error
	// Commit returns once the bytes, and the name they are found under, are on
	// stable storage. After an error the bytes are gone.
	Commit() error
	// Suspend closes the writer and leaves the bytes for Resume. They survive
	// the death of the process, not a power failure.
	Suspend() error
	// Discard closes the writer and removes the bytes.
	Discard() error
}

// Reader reads bytes of known length. A Reader that is an *os.File underneath
// also has a method File() *os.File, for sendfile.
type Reader interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Info describes one key.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Content is an upload that is safe on storage, ready to be made visible by a
// metadata row holding these fields.
type Content struct {
	Digest string // algorithm:hex of the plain bytes
	Size   int64  // plain bytes
	// Key and StoredSize say where the bytes are; small content has no key and
	// its bytes in Inline instead.
	Key        string
	StoredSize int64
	Inline     []byte
	// Encryption is the ARN of the key that wraps DataKey, "" for plain bytes.
	Encryption string
	DataKey    []byte
}

// Options configures Blobs.
type Options struct {
	// InlineMax is up to how many bytes content stays out of the store and goes
	// into the metadata row. 0 means DefaultInlineMax, negative means none.
	InlineMax int
	// Keys wraps the data keys of encrypted content; nil refuses encryption.
	Keys Keys
}

// DefaultInlineMax is the size up to which a blob lives in its metadata row: one
// flush of the log then serves both, where a file would need its own.
const DefaultInlineMax = 32 << 10

// Blobs hashes, encrypts and verifies content above a Store.
type Blobs struct {
	store     Store
	inlineMax int
	keys      Keys
}

// New puts the door in front of a store.
func New(store Store, o Options) *Blobs {
	if o.InlineMax == 0 {
		o.InlineMax = DefaultInlineMax
	}
	return &Blobs{store: store, inlineMax: max(o.InlineMax, 0), keys: o.Keys}
}

// Store is the store below, for sweeping and scrubbing.
func (b *Blobs) Store() Store { return b.store }

// Open reads content back: the fields are those of its metadata row. It fails
// with ErrNotFound or ErrDamaged when the bytes are missing or of another
// length. Encrypted content is authenticated as it is read.
func (b *Blobs) Open(ctx context.Context, c Content) (Reader, error) {
	if c.Key == "" && c.Encryption == "" {
		if int64(len(c.Inline)) != c.Size {
			return nil, fmt.Errorf("%w: %s has %d bytes in its row, want %d", ErrDamaged, c.Digest, len(c.Inline), c.Size)
		}
		return memReader(c.Inline), nil
	}
	if c.Encryption != "" {
		return b.openEncrypted(ctx, c)
	}
	return b.store.Open(ctx, c.Key, c.StoredSize)
}

// Healthy reports whether stored content still has its bytes at the right
// length, without reading them.
func (b *Blobs) Healthy(ctx context.Context, c Content) bool {
	if c.Key == "" {
		return true
	}
	r, err := b.store.Open(ctx, c.Key, c.StoredSize)
	if err != nil {
		return false
	}
	return r.Close() == nil
}
