// Package fsblob is a blob.Store on a file system: one file per key, made at its
// final name, flushed before it is reported safe.
//
// Layout, below the root it is given:
//
//	blobs/
//	  3f/                 256 shards, the first two digits of the key
//	    3fa1…             32 hexadecimal digits, mode 0600
//
// A name must be as durable as the bytes. Flushing a directory for every file
// would cost as much as the file itself, so files are made ahead in small
// batches, and one flush of the shard's directory serves a batch. Files that no
// metadata row names (made ahead and unused, or left by a crash) are garbage that
// a sweep finds with Walk.
package fsblob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/internal/vfs"
)

const dir = "blobs"

// batch is how many files one flush of a directory makes durable.
const batch = 8

// Options configures a Store.
type Options struct {
	// Ahead is how many files to keep ready; 0 makes each when it is asked for.
	Ahead int
	// Room, if set, is asked before a file is taken and fails with blob.ErrFull
	// when too little space is left for the rest of the system to go on.
	Room func() error
}

// Store is a blob.Store on files.
type Store struct {
	fs     vfs.FS
	opt    Options
	ready  chan *file
	want   chan struct{}
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
	failed atomic.Pointer[error]

	mu     sync.Mutex
	shards map[string]bool // whose directory entry is durable
}

var _ blob.Store = (*Store)(nil)

// Open prepares the directory below fsys and starts making files ahead.
func Open(fsys vfs.FS, o Options) (*Store, error) {
	s := &Store{fs: fsys, opt: o, ready: make(chan *file, o.Ahead+batch), want: make(chan struct{}, 1),
		stop: make(chan struct{}), shards: map[string]bool{}}
	if err := s.mkdir(".", dir); err != nil {
		return nil, fmt.Errorf("open blob storage: %w", err)
	}
	if o.Ahead > 0 {
		s.done.Add(1)
		go s.makeAhead()
		s.want <- struct{}{}
	}
	return s, nil
}

// mkdir makes parent/name unless it exists, and makes its name durable either
// way: an earlier process may have died between the two.
func (s *Store) mkdir(parent, name string) error {
	path := name
	if parent != "." {
		path = parent + "/" + name
	}
	if err := s.fs.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return s.check(err)
	}
	return s.check(s.fs.SyncDir(parent))
}

// check gives an error its class. A device error closes the store to writes:
// what such a disk still holds is unknown.
func (s *Store) check(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EROFS):
		return s.fail(err)
	}
	return err
}

func (s *Store) fail(err error) error {
	failed := fmt.Errorf("%w: %w", blob.ErrFailed, err)
	s.failed.CompareAndSwap(nil, &failed)
	return failed
}

func (s *Store) writable() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	if s.opt.Room != nil {
		return s.opt.Room()
	}
	return nil
}

// makeAhead keeps files ready.
func (s *Store) makeAhead() {
	defer s.done.Done()
	for {
		select {
		case <-s.want:
		case <-s.stop:
			return
		}
		for len(s.ready) < s.opt.Ahead && s.writable() == nil {
			files, err := s.make(batch)
			if err != nil {
				break // the next Create meets the same error and reports it
			}
			for _, f := range files {
				s.ready <- f
			}
		}
	}
}

// make makes n files in one shard and their names durable.
func (s *Store) make(n int) ([]*file, error) {
	var id [16]byte
	rand.Read(id[:])
	shard := hex.EncodeToString(id[:1])
	if err := s.shard(shard); err != nil {
		return nil, err
	}
	var files []*file
	discard := func(err error) ([]*file, error) {
		for _, f := range files {
			_ = f.Discard()
		}
		return nil, s.check(err)
	}
	for range n {
		rand.Read(id[1:])
		key := hex.EncodeToString(id[:])
		f, err := s.fs.OpenFile(path(key), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return discard(err)
		}
		files = append(files, &file{File: f, s: s, key: key})
	}
	if err := s.fs.SyncDir(dir + "/" + shard); err != nil {
		return discard(s.fail(err))
	}
	return files, nil
}

func (s *Store) shard(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shards[name] {
		return nil
	}
	if err := s.mkdir(dir, name); err != nil {
		return err
	}
	s.shards[name] = true
	return nil
}

func path(key string) string { return dir + "/" + key[:2] + "/" + key }

func validKey(key string) bool {
	b, err := hex.DecodeString(key)
	return err == nil && len(b) == 16 && hex.EncodeToString(b) == key
}

// Create implements blob.Store.
func (s *Store) Create(context.Context) (blob.Writer, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	select {
	case f := <-s.ready:
		if len(s.ready) < s.opt.Ahead/2 {
			select {
			case s.want <- struct{}{}:
			default:
			}
		}
		return f, nil
	default:
	}
	files, err := s.make(1)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// Resume implements blob.Store.
func (s *Store) Resume(_ context.Context, key string, offset int64) (blob.Writer, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	f, size, err := s.open(key, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if size < offset {
		err = fmt.Errorf("%w: %s has %d bytes of %d", blob.ErrNotFound, key, size, offset)
	} else if size > offset {
		err = s.check(f.Truncate(offset))
	}
	if err == nil {
		_, err = f.Seek(offset, 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{File: f, s: s, key: key, size: offset}, nil
}

func (s *Store) open(key string, flag int) (vfs.File, int64, error) {
	if !validKey(key) {
		return nil, 0, fmt.Errorf("%w: malformed key %q", blob.ErrNotFound, key)
	}
	f, err := s.fs.OpenFile(path(key), flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Open implements blob.Store.
func (s *Store) Open(_ context.Context, key string, size int64) (blob.Reader, error) {
	f, have, err := s.open(key, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	if have != size {
		err := fmt.Errorf("%w: %s has %d bytes, want %d", blob.ErrDamaged, key, have, size)
		return nil, errors.Join(err, f.Close())
	}
	return reader{f}, nil
}

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, key string) error {
	if !validKey(key) {
		return nil
	}
	if err := s.fs.Remove(path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Walk implements blob.Store.
func (s *Store) Walk(ctx context.Context, fn func(blob.Info) error) error {
	shards, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		files, err := s.fs.ReadDir(dir + "/" + shard.Name())
		if err != nil {
			return err
		}
		for _, f := range files {
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := fn(blob.Info{Key: f.Name(), Size: info.Size(), Modified: info.ModTime()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close implements blob.Store.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		s.done.Wait()
		for {
			select {
			case f := <-s.ready:
				err = errors.Join(err, f.Discard())
			default:
				return
			}
		}
	})
	return err
}

// reader is an open blob.
type reader struct{ blob.Reader }

// File returns the file for sendfile, or nil where there is none.
func (r reader) File() *os.File {
	f, _ := r.Reader.(*os.File)
	return f
}

// file is a blob being written.
type file struct {
	vfs.File
	s       *Store
	key     string
	size    int64
	flushed int64
}

func (f *file) Key() string { return f.key }

func (f *file) Write(p []byte) (int, error) {
	if pe := f.s.failed.Load(); pe != nil {
		return 0, *pe
	}
	n, err := f.File.Write(p)
	f.size += int64(n)
	if err != nil {
		return n, f.s.check(err)
	}
	if f.size-f.flushed >= writeBack {
		startWriteBack(f.File, f.flushed, f.size-f.flushed)
		f.flushed = f.size
	}
	return n, nil
}

// writeBack is how many bytes may gather before the kernel is asked to start
// writing them, so that the final flush finds little left to do.
const writeBack = 8 << 20

func (f *file) Sync() error {
	if err := f.File.Sync(); err != nil {
		// The kernel has dropped what it could not write and says so once: the
		// file is worthless, and so may be others.
		_ = f.Discard()
		return f.s.fail(err)
	}
	return nil
}

func (f *file) Commit() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.File.Close(); err != nil {
		_ = f.s.Delete(context.Background(), f.key)
		return f.s.fail(err)
	}
	return nil
}

func (f *file) Suspend() error { return f.s.check(f.File.Close()) }

func (f *file) Discard() error {
	err := f.File.Close()
	return errors.Join(err, f.s.Delete(context.Background(), f.key))
}
