package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-registry/berth/blob"
)

// takeData makes the data directory and claims it for this process. The claim is
// a lock that the kernel drops when the process dies.
func (s *Server) takeData() error {
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	info, err := os.Stat(s.cfg.Data)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("others can read the data directory %s; run chmod 700 on it", s.cfg.Data)
	}
	f, err := os.OpenFile(filepath.Join(s.cfg.Data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(f)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("the data directory %s is in use by the process with id %s; stop it, or choose another --data", s.cfg.Data, strings.TrimSpace(string(holder)))
		}
		return err
	}
	s.lock = f
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// reserve is how much space is kept free on the disk, in bytes, so that deletes
// and the database can go on: 64 MiB, or 1 % of a smaller disk.
const reserve = 64 << 20

// room returns the check that a store asks before it takes a file. It looks at
// most every 50 ms.
func room(dir string) func() error {
	var mu sync.Mutex
	var at time.Time
	var last error
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(at) > 50*time.Millisecond {
			at, last = now, nil
			var st syscall.Statfs_t
			if err := syscall.Statfs(dir, &st); err == nil {
				free, total := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize) //nolint:gosec // a block size is positive
				if keep := min(reserve, total/100); free < keep {
					last = fmt.Errorf("%w: %d bytes are free on the disk of %s, %d are kept for deletes and the database", blob.ErrFull, free, dir, keep)
				}
			}
		}
		return last
	}
}
