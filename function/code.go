package function

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/berth-registry/berth/arn"
)

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

// codeKey names an archive.
type codeKey struct {
	account arn.Account
	sha     string
}

// unpacking is an archive that this node has unpacked, or is unpacking.
type unpacking struct {
	once   sync.Once
	dir    string
	err    error
	unused bool // at the last sweep
}

// unpacked returns the directory of a function's code.
func (s *Functions) unpacked(ctx context.Context, f *Function) (string, error) {
	key := codeKey{f.Place.Account, f.CodeSHA}
	s.codesMu.Lock()
	u := s.codes[key]
	if u == nil {
		u = &unpacking{}
		s.codes[key] = u
	}
	s.codesMu.Unlock()
	u.once.Do(func() {
		if u.dir, u.err = s.unpack1(ctx, f); u.err != nil {
			s.codesMu.Lock()
			delete(s.codes, key) // another try may do better
			s.codesMu.Unlock()
		}
	})
	return u.dir, u.err
}

// sweepUnpacked removes what was unpacked of archives that no function has any more, for
// two sweeps: workers of old versions may still run.
func (s *Functions) sweepUnpacked(ctx context.Context) error {
	s.codesMu.Lock()
	keys := slices.Collect(maps.Keys(s.codes))
	s.codesMu.Unlock()
	for _, k := range keys {
		used, err := s.hasCode(ctx, k)
		if err != nil {
			return err
		}
		s.codesMu.Lock()
		u := s.codes[k]
		gone := u != nil && !used && u.unused
		if u != nil {
			u.unused = !used
		}
		if gone {
			delete(s.codes, k)
		}
		s.codesMu.Unlock()
		if !gone {
			continue
		}
		u.once.Do(func() {}) // it has ended
		if u.dir == "" {
			continue
		}
		if err := os.RemoveAll(filepath.Dir(u.dir)); err != nil {
			return err
		}
	}
	return nil
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
