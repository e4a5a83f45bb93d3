package sqldb

import (
	"errors"
	"os"
	"syscall"
)

// dataSync brings a file's bytes to stable storage, and of what is known about it only what
// is needed to read them: a log that is written over costs no journal.
func dataSync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
