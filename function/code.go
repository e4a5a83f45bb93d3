package function

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// chance is a number for choosing between versions.
func chance() float64 { return rand.Float64() }

var errArchive = errors.New("the archive is not acceptable")

// checkZip refuses archives that are not what they should be.
func checkZip(b []byte) error {
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	if len(r.File) == 0 || len(r.File) > maxFiles {
		return fmt.Errorf("%w: it has %d files, 1 to %d are allowed", errArchive, len(r.File), maxFiles)
	}
	total := uint64(0)
	for _, f := range r.File {
		if total += f.UncompressedSize64; total > maxUnzipped {
			return fmt.Errorf("%w: unpacked it has more than %d bytes", errArchive, maxUnzipped)
		}
		name := strings.TrimSuffix(f.Name, "/")
		if !fs.ValidPath(name) || strings.Contains(name, `\`) {
			return fmt.Errorf("%w: %.200q is no name for a file", errArchive, f.Name)
		}
		if m := f.Mode(); !m.IsRegular() && !m.IsDir() {
			return fmt.Errorf("%w: %.200q is neither a file nor a directory", errArchive, f.Name)
		}
	}
	return nil
}

// unzip unpacks an archive below a directory, which nothing of it can leave.
func unzip(b []byte, dir string) error {
	if err := checkZip(b); err != nil {
		return err
	}
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxUnzipped)
	for _, f := range r.File {
		name := strings.TrimSuffix(f.Name, "/")
		if f.Mode().IsDir() {
			if err := root.MkdirAll(name, 0o755); err != nil {
				return err
			}
			continue
		}
		if d := path.Dir(name); d != "." {
			if err := root.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		mode := fs.FileMode(0o644)
		if f.Mode()&0o111 != 0 || path.Base(name) == "bootstrap" { // archives made on other systems lose the bit
			mode = 0o755
		}
		n, err := unpackOne(root, f, name, mode, left)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func unpackOne(root *os.Root, f *zip.File, name string, mode fs.FileMode, left int64) (int64, error) {
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, left+1)) // what it says of its size may be wrong
	if err == nil && n > left {
		err = fmt.Errorf("%w: unpacked it has more than %d bytes", errArchive, maxUnzipped)
	}
	return n, errors.Join(err, out.Close())
}

// codes are the archives that this node has unpacked.
type codes struct {
	mu    sync.Mutex
	ready map[string]*sync.Once
	paths map[string]string
	errs  map[string]error
}

// unpacked returns the directory of a function's code.
func (s *Functions) unpacked(ctx context.Context, f *Function) (string, error) {
	key := string(f.Place.Account) + " " + f.CodeSHA
	c := &s.codes
	c.mu.Lock()
	once := c.ready[key]
	if once == nil {
		once = &sync.Once{}
		c.ready[key] = once
	}
	c.mu.Unlock()
	once.Do(func() {
		dir, err := s.unpack1(ctx, f)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paths[key], c.errs[key] = dir, err
		if err != nil {
			delete(c.ready, key) // another try may do better
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[key], c.errs[key]
}

func (s *Functions) unpack1(ctx context.Context, f *Function) (string, error) {
	b, err := s.Code(ctx, f)
	if err != nil {
		return "", err
	}
	outer, err := os.MkdirTemp(s.box.Dir(), "code") // its name is the secret
	if err != nil {
		return "", err
	}
	dir := filepath.Join(outer, "task")
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{{outer, 0o711}, {dir, 0o755}} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return "", err
		}
		if err := os.Chmod(d.path, d.mode); err != nil {
			return "", err
		}
	}
	if err := unzip(b, dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(outer))
	}
	return dir, nil
}
