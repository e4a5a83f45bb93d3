package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"

	"github.com/berth-registry/berth/secret"
)

// Keys wraps data keys under keys that have an ARN (package keyring).
type Keys interface {
	// Wrap seals a data key, bound to the context.
	Wrap(keyARN string, dataKey []byte, context string) ([]byte, error)
	// Unwrap undoes Wrap.
	Unwrap(keyARN string, wrapped []byte, context string) ([]byte, error)
}

// ErrNoKeys is encryption asked of Blobs without Keys.
var ErrNoKeys = errors.New("no key ring is configured for encryption")

// packageSize is the plain length of the units that DARE 2.0 seals, in bytes.
const packageSize = 64 << 10

// sealer encrypts a stream as DARE 2.0, 64 KiB a package, under a data key that
// is used for nothing else. It can stop at any byte and go on later: what is not
// yet a full package is kept as the tail.
type sealer struct {
	dataKey []byte
	nonce   [12]byte
	out     io.WriteCloser
	size    int64
	tail    []byte
}

func newSealer(dataKey []byte, nonce [12]byte, w io.Writer, packages uint32) (*sealer, error) {
	// Closing the sealer must not close what is below, hence the bare writer.
	out, err := sio.EncryptWriter(struct{ io.Writer }{w}, sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20,
		CipherSuites: []byte{sio.AES_256_GCM}, Key: dataKey, Nonce: &nonce, SequenceNumber: packages})
	if err != nil {
		return nil, err
	}
	return &sealer{dataKey: dataKey, nonce: nonce, out: out, size: int64(packages) * packageSize}, nil
}

// written is how many plain bytes have left in full packages; the writer below
// holds the last package back, since the final one is marked.
func written(size int64) int64 {
	if size == 0 {
		return 0
	}
	return (size - 1) / packageSize * packageSize
}

// sealedSize is the stored length of n plain bytes that are all in full packages.
func sealedSize(n int64) int64 {
	s, err := sio.EncryptedSize(uint64(n))
	if err != nil {
		panic(err) // a blob is never that large
	}
	return int64(s)
}

func (s *sealer) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	s.size += int64(n)
	s.tail = append(s.tail, p[:n]...)
	if cut := written(s.size) - (s.size - int64(len(s.tail))); cut > 0 {
		s.tail = append(s.tail[:0], s.tail[cut:]...)
	}
	return n, err
}

func newDataKey() ([]byte, [12]byte) {
	key := make([]byte, 32)
	rand.Read(key)
	var nonce [12]byte
	rand.Read(nonce[:])
	return key, nonce
}

// sealInline encrypts content that fits a row.
func sealInline(dataKey, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	_, nonce := newDataKey()
	s, err := newSealer(dataKey, nonce, &out, 0)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(plain); err != nil {
		return nil, err
	}
	if err := s.out.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (b *Blobs) openEncrypted(ctx context.Context, c Content) (Reader, error) {
	if b.keys == nil {
		return nil, ErrNoKeys
	}
	dataKey, err := b.keys.Unwrap(c.Encryption, c.DataKey, c.Digest)
	if err != nil {
		return nil, err
	}
	if want := sealedSize(c.Size); c.StoredSize != want {
		return nil, fmt.Errorf("%w: %s is stored in %d bytes, want %d", ErrDamaged, c.Digest, c.StoredSize, want)
	}
	if c.Size == 0 {
		return memReader(nil), nil
	}
	var below Reader
	if c.Key == "" {
		below = memReader(c.Inline)
	} else if below, err = b.store.Open(ctx, c.Key, c.StoredSize); err != nil {
		return nil, err
	}
	plain, err := sio.DecryptReaderAt(below, sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20, Key: dataKey})
	if err != nil {
		below.Close()
		return nil, err
	}
	return sectionReader{io.NewSectionReader(plain, 0, c.Size), below}, nil
}

// sealTail protects the part of a suspended upload that is not yet in the store,
// under a key derived from its data key so that no nonce meets another.
func sealTail(dataKey, tail []byte) []byte {
	return secret.NewBox(secret.NewMaster(dataKey).Derive("upload-tail")).Seal(tail, "")
}

func openTail(dataKey, sealed []byte) ([]byte, error) {
	return secret.NewBox(secret.NewMaster(dataKey).Derive("upload-tail")).Open(sealed, "")
}
