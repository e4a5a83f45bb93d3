// Package vfs is the small part of a file system that durable stores need, as an
// interface, so that tests can put a simulated disk under the real code.
//
// It is not a general file system abstraction: names are relative slash paths
// below one root, and nothing is renamed.
package vfs

import (
	"io"
	"io/fs"
	"os"
)

// FS is one directory tree. Names are slash-separated and relative to its root.
type FS interface {
	// OpenFile opens like os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Mkdir(name string, perm fs.FileMode) error
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Seeker
	io.Closer
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// OS is the operating system's file system below a root that no name can leave.
type OS struct{ root *os.Root }

// OpenOS opens dir, which must exist.
func OpenOS(dir string) (*OS, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &OS{r}, nil
}

// Close gives the root's descriptor back.
func (o *OS) Close() error { return o.root.Close() }

// OpenFile implements FS.
func (o *OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := o.root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File is no nil File
	}
	return f, nil
}

// Mkdir implements FS.
func (o *OS) Mkdir(name string, perm fs.FileMode) error { return o.root.Mkdir(name, perm) }

// Remove implements FS.
func (o *OS) Remove(name string) error { return o.root.Remove(name) }

// ReadDir implements FS.
func (o *OS) ReadDir(name string) ([]fs.DirEntry, error) {
	d, err := o.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// SyncDir implements FS.
func (o *OS) SyncDir(name string) error {
	d, err := o.root.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

var _ FS = (*OS)(nil)
