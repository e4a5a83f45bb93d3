package sqldb

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFlushFails: when the log cannot be brought to stable storage nothing is acknowledged,
// then or later; what may be lost with the power is.
func TestFlushFails(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "berth.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	write := func(tx *Tx) error {
		_, err := tx.Exec("create table if not exists item (n bigint)")
		return err
	}
	flushed := 0
	db.sync = func(f *os.File) error { flushed++; return dataSync(f) }
	if err := db.Write(t.Context(), write); err != nil || flushed != 1 {
		t.Fatalf("%v, %d flushes", err, flushed)
	}
	if err := db.WriteRelaxed(t.Context(), write); err != nil || flushed != 1 {
		t.Fatalf("%v, %d flushes", err, flushed)
	}
	db.sync = func(*os.File) error { return syscall.EIO }
	err = db.Write(t.Context(), func(tx *Tx) error {
		tx.AfterCommit(func() { t.Error("it is told as durable") })
		return write(tx)
	})
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	db.sync = dataSync
	for _, again := range []func() error{func() error { return db.Write(t.Context(), write) }, func() error { return db.WriteRelaxed(t.Context(), write) }, func() error { return db.Ping(t.Context()) }} {
		if err := again(); !errors.Is(err, ErrFailed) {
			t.Errorf("later: %v", err)
		}
	}
	if s := db.Stats(); s.Transactions != 3 || s.Commits != 3 || s.Flushes != 2 {
		t.Errorf("%+v", s)
	}
}
