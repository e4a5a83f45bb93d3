// Package simfs is a file system in memory that can lose what a real one may
// lose: unsynced writes, unsynced names, the end of the last write. It can also
// fail the k-th call.
//
// It keeps the durable state and, apart from it, the ordered list of changes
// that no sync has covered yet. A power cut leaves the durable state plus some
// subset of that list; States makes those subsets. It is for tests.
package simfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/berth-registry/berth/internal/vfs"
)

// sector is the unit in which a torn write reaches the disk.
const sector = 512

type inode int

// change is one thing that was done and not yet synced.
type change struct {
	// a write at off of data into ino, or a cut to off when data is nil …
	ino  inode
	off  int64
	data []byte
	// … or, with dir set, the name in dir that now means ino (0: removed).
	dir, name string
}

// state is what a disk holds.
type state struct {
	files map[inode][]byte
	dirs  map[string]map[string]inode // directory path -> names; directories have inodes too
	// shared marks files whose bytes belong to the state this is a clone of; nil
	// when all are its own.
	shared map[inode]bool
}

// clone copies names at once and bytes when they change.
func (s state) clone() state {
	c := state{maps.Clone(s.files), make(map[string]map[string]inode, len(s.dirs)), make(map[inode]bool, len(s.files))}
	for i := range s.files {
		c.shared[i] = true
	}
	for d, names := range s.dirs {
		c.dirs[d] = maps.Clone(names)
	}
	return c
}

func (s state) apply(c change) {
	if c.name != "" {
		if s.dirs[c.dir] == nil {
			return // its directory itself was lost
		}
		if c.ino == 0 {
			delete(s.dirs[c.dir], c.name)
			return
		}
		s.dirs[c.dir][c.name] = c.ino
		if _, isFile := s.files[c.ino]; !isFile {
			if full := path.Join(c.dir, c.name); s.dirs[full] == nil {
				s.dirs[full] = map[string]inode{}
			}
		}
		return
	}
	b := s.files[c.ino]
	if s.shared[c.ino] {
		b = bytes.Clone(b)
		delete(s.shared, c.ino)
	}
	if size := c.off + int64(len(c.data)); size > int64(len(b)) {
		b = append(b, make([]byte, size-int64(len(b)))...)
	}
	if c.data == nil {
		b = b[:c.off]
	}
	copy(b[c.off:], c.data)
	s.files[c.ino] = b
}

// FS is a simulated disk. It is safe for concurrent use.
type FS struct {
	mu      sync.Mutex
	live    state
	durable state
	pending []change
	next    inode
	calls   int
	failAt  int
	failure error
	sticky  bool
	noSync  bool
	onCall  func(call int, op string)
}

// New makes an empty disk.
func New() *FS {
	root := func() state {
		return state{map[inode][]byte{}, map[string]map[string]inode{".": {}}, nil}
	}
	return &FS{live: root(), durable: root(), next: 1}
}

// FailAt makes the k-th call from now (1 is the next one) return err, and with
// sticky every call after it.
func (f *FS) FailAt(k int, err error, sticky bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.failure, f.sticky = f.calls+k, err, sticky
}

// NoSync makes every sync a lie, as the control of a crash test: with it, the
// test must fail.
func (f *FS) NoSync() { f.noSync = true }

// OnCall is told of every changing call after it was done, with its number.
func (f *FS) OnCall(fn func(call int, op string)) { f.onCall = fn }

// Calls returns how many calls were made.
func (f *FS) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// call counts a call and says whether it has to fail.
func (f *FS) call() error {
	f.calls++
	if f.failAt > 0 && (f.calls == f.failAt || (f.sticky && f.calls > f.failAt)) {
		return f.failure
	}
	return nil
}

func (f *FS) done(op string) {
	if f.onCall != nil {
		f.onCall(f.Calls(), op)
	}
}

func (f *FS) change(c change) {
	f.live.apply(c)
	f.pending = append(f.pending, c)
}

// States calls fn with each disk that a power cut at this moment may leave:
// nothing of the unsynced changes, all of them, every prefix, all but each one,
// and the last write torn at each sector. It returns how many there were.
func (f *FS) States(fn func(what string, disk *FS)) int {
	f.mu.Lock()
	base, pending, next := f.durable.clone(), slices.Clone(f.pending), f.next
	f.mu.Unlock()
	n := 0
	make := func(what string, changes []change) {
		s := base.clone()
		for _, c := range changes {
			s.apply(c)
		}
		n++
		fn(what, &FS{live: s, durable: s.clone(), next: next})
	}
	make("nothing unsynced", nil)
	for i := range pending {
		make(fmt.Sprintf("the first %d of %d unsynced", i+1, len(pending)), pending[:i+1])
	}
	for i := range len(pending) - 1 {
		make(fmt.Sprintf("all unsynced but number %d", i+1), slices.Concat(pending[:i], pending[i+1:]))
	}
	if len(pending) > 0 {
		last := pending[len(pending)-1]
		for cut := sector; cut < len(last.data); cut += max(sector, len(last.data)/8/sector*sector) {
			torn := last
			torn.data = last.data[:cut]
			make(fmt.Sprintf("the last write torn at %d", cut), append(slices.Clone(pending[:len(pending)-1]), torn))
		}
	}
	return n
}

// Unsettled lists the names that an unsynced change concerns: of files written or
// made, and of directories made.
func (f *FS) Unsettled() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	written, out := map[inode]bool{}, map[string]bool{}
	for _, c := range f.pending {
		if c.name != "" {
			out[c.name] = true
		} else {
			written[c.ino] = true
		}
	}
	for _, names := range f.live.dirs {
		for n, i := range names {
			if written[i] {
				out[n] = true
			}
		}
	}
	return out
}

// OpenFile implements vfs.FS.
func (f *FS) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	dir, base := path.Split(path.Clean(name))
	dir = path.Clean(dir)
	names, ok := f.live.dirs[dir]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	ino, exists := names[base]
	switch {
	case !exists && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case exists && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !exists:
		ino = f.next
		f.next++
		f.live.files[ino], f.durable.files[ino] = nil, nil
		f.change(change{dir: dir, name: base, ino: ino})
	}
	return &file{fs: f, ino: ino, name: base}, nil
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(name string, _ fs.FileMode) error {
	f.mu.Lock()
	if err := f.call(); err != nil {
		f.mu.Unlock()
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	dir, base := path.Dir(path.Clean(name)), path.Base(name)
	if _, ok := f.live.dirs[dir][base]; ok {
		f.mu.Unlock()
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	ino := f.next
	f.next++
	f.change(change{dir: dir, name: base, ino: ino})
	f.mu.Unlock()
	f.done("mkdir")
	return nil
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	if err := f.call(); err != nil {
		f.mu.Unlock()
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	dir, base := path.Dir(path.Clean(name)), path.Base(name)
	if _, ok := f.live.dirs[dir][base]; !ok {
		f.mu.Unlock()
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	f.change(change{dir: dir, name: base})
	f.mu.Unlock()
	f.done("remove")
	return nil
}

// ReadDir implements vfs.FS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call(); err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	names, ok := f.live.dirs[path.Clean(name)]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var out []fs.DirEntry
	for _, n := range slices.Sorted(maps.Keys(names)) {
		data, isFile := f.live.files[names[n]]
		out = append(out, fs.FileInfoToDirEntry(info{n, int64(len(data)), !isFile}))
	}
	return out, nil
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(name string) error {
	name = path.Clean(name)
	return f.sync(func(c change) bool { return c.name != "" && c.dir == name }, "syncdir", name)
}

// sync makes the changes that match durable, in their order.
func (f *FS) sync(match func(change) bool, op, name string) error {
	f.mu.Lock()
	if err := f.call(); err != nil {
		// What a failed sync was to write is gone for good: a later sync of the
		// same file will not write it.
		f.pending = slices.DeleteFunc(f.pending, match)
		f.mu.Unlock()
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !f.noSync {
		f.pending = slices.DeleteFunc(f.pending, func(c change) bool {
			if !match(c) {
				return false
			}
			f.durable.apply(c)
			return true
		})
	}
	f.mu.Unlock()
	f.done(op)
	return nil
}

type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) IsDir() bool        { return i.dir }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

type file struct {
	fs   *FS
	ino  inode
	name string
	pos  int64

	closed bool
}

// call counts a call on the file, which must be open.
func (h *file) call() error {
	if h.closed {
		return fs.ErrClosed
	}
	return h.fs.call()
}

func (h *file) data() []byte { return h.fs.live.files[h.ino] }

func (h *file) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, h.pos)
	h.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.call(); err != nil {
		return 0, &fs.PathError{Op: "read", Path: h.name, Err: err}
	}
	return bytes.NewReader(h.data()).ReadAt(p, off)
}

func (h *file) Write(p []byte) (int, error) {
	h.fs.mu.Lock()
	if err := h.call(); err != nil {
		// A failing write may leave a part behind.
		part := p[:len(p)/2]
		if len(part) > 0 {
			h.fs.change(change{ino: h.ino, off: h.pos, data: bytes.Clone(part)})
			h.pos += int64(len(part))
		}
		h.fs.mu.Unlock()
		return len(part), &fs.PathError{Op: "write", Path: h.name, Err: err}
	}
	h.fs.change(change{ino: h.ino, off: h.pos, data: bytes.Clone(p)})
	h.pos += int64(len(p))
	h.fs.mu.Unlock()
	h.fs.done("write")
	return len(p), nil
}

func (h *file) Seek(off int64, whence int) (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		off += h.pos
	case io.SeekEnd:
		off += int64(len(h.data()))
	}
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	h.pos = off
	return off, nil
}

func (h *file) Stat() (fs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.call(); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: h.name, Err: err}
	}
	return info{h.name, int64(len(h.data())), false}, nil
}

func (h *file) Sync() error {
	if h.closed {
		return &fs.PathError{Op: "fsync", Path: h.name, Err: fs.ErrClosed}
	}
	return h.fs.sync(func(c change) bool { return c.name == "" && c.ino == h.ino }, "fsync", h.name)
}

func (h *file) Truncate(size int64) error {
	h.fs.mu.Lock()
	if err := h.call(); err != nil {
		h.fs.mu.Unlock()
		return &fs.PathError{Op: "truncate", Path: h.name, Err: err}
	}
	h.fs.change(change{ino: h.ino, off: size})
	h.fs.mu.Unlock()
	h.fs.done("truncate")
	return nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.call(); err != nil {
		return &fs.PathError{Op: "close", Path: h.name, Err: err}
	}
	h.closed = true
	return nil
}

var _ vfs.FS = (*FS)(nil)
