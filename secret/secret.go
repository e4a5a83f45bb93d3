// Package secret holds what must not be seen: the deployment's master key, the
// keys derived from it, sealed values, and a string type that does not print.
//
// It is a leaf without state of its own. It does not know what is sealed, and it
// is no key management service.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// String is a text that logs, errors and dumps show as ***. Reveal gives it.
type String string

// Reveal returns the text itself.
func (s String) Reveal() string { return string(s) }

// String hides the text from fmt.
func (String) String() string { return "***" }

// GoString hides the text from %#v.
func (String) GoString() string { return "***" }

// LogValue hides the text from slog.
func (String) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText hides the text from encoders.
func (String) MarshalText() ([]byte, error) { return []byte("***"), nil }

// keyLen is the length of the master key and of every derived key, in bytes.
const keyLen = 32

// Master is the key from which a deployment derives all others. Nodes that share
// a database share it.
type Master struct{ key [keyLen]byte }

// ErrLoosePermissions is a key file that others can read.
var ErrLoosePermissions = errors.New("others can read this key file; run chmod 600 on it")

// LoadOrCreate reads the master key from a file, or makes the file on first use,
// with mode 0600 and synced, name included.
func LoadOrCreate(path string) (*Master, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	} else if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key %s: %w", path, ErrLoosePermissions)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(raw) != keyLen {
		return nil, fmt.Errorf("master key %s: want %d hexadecimal digits; restore the file from a backup, "+
			"a new key cannot open what the old one sealed", path, 2*keyLen)
	}
	return NewMaster(raw), nil
}

// NewMaster makes a master key of 32 bytes of key material.
func NewMaster(raw []byte) *Master {
	m := &Master{}
	if copy(m.key[:], raw) != keyLen {
		panic("secret: a master key has 32 bytes")
	}
	return m
}

func create(path string) (*Master, error) {
	raw := make([]byte, keyLen)
	rand.Read(raw)
	if err := WriteFile(path, []byte(hex.EncodeToString(raw)+"\n")); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return NewMaster(raw), nil
}

// WriteFile makes a new file of mode 0600 that survives a power failure, whole
// or not at all. It fails when the file exists.
func WriteFile(path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	tmp, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Derive returns the 32 byte key for one purpose. Keys of different purposes say
// nothing about each other.
func (m *Master) Derive(purpose string) []byte {
	k, err := hkdf.Key(sha256.New, m.key[:], nil, "berth/"+purpose, keyLen)
	if err != nil {
		panic(err) // the length is a constant within bounds
	}
	return k
}

// Box seals small values with AES-256-GCM under one derived key.
type Box struct{ aead cipher.AEAD }

// Box returns the box for one purpose.
func (m *Master) Box(purpose string) *Box { return NewBox(m.Derive(purpose)) }

// NewBox makes a box of a 32 byte key.
func NewBox(key []byte) *Box {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // a key of the wrong length is a mistake in the program
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &Box{aead}
}

// ErrSealed is a sealed value that does not open: changed, of another context,
// or sealed under another key.
var ErrSealed = errors.New("sealed value does not open with this key")

// Seal encrypts plain and binds it to context, which is not secret and must be
// given again to open it.
func (b *Box) Seal(plain []byte, context string) []byte {
	return b.aead.Seal(nil, nil, plain, []byte(context))
}

// Open undoes Seal.
func (b *Box) Open(sealed []byte, context string) ([]byte, error) {
	plain, err := b.aead.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
