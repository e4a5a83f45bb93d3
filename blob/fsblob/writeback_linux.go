package fsblob

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/berth-registry/berth/internal/vfs"
)

// startWriteBack asks the kernel to begin writing a range. It is a hint: what it
// fails to do, the flush does.
func startWriteBack(f vfs.File, off, n int64) {
	if of, ok := f.(*os.File); ok {
		_ = unix.SyncFileRange(int(of.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}
