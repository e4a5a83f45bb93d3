package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/blob/fsblob"
	"github.com/berth-registry/berth/blob/keyring"
	"github.com/berth-registry/berth/internal/vfs/simfs"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

// scenarios are what the simulated disk goes through. Each gets a bed on files.
var scenarios = map[string]func(*bed) error{
	"push":        func(b *bed) error { return pushes(b, "aa", 1) },
	"push sealed": func(b *bed) error { return pushes(b, "sealed", 2) },
	"chunks":      func(b *bed) error { return chunks(b, "aa", 3) },
	"chunks sealed": func(b *bed) error {
		return chunks(b, "sealed", 4)
	},
	"same again": func(b *bed) error { return errors.Join(pushes(b, "aa", 5), pushes(b, "aa", 5)) },
	"cancel":     cancels,
	"repair":     repairs,
}

// tryLayer is layer without a fatal end.
func (b *bed) tryLayer(repo string, data []byte) error {
	ref, err := b.StartUpload(b.ctx, here, repo, root, never)
	if err != nil {
		return err
	}
	_, err = b.FinishUpload(b.ctx, ref, sha(data), registry.Chunk{Body: bytes.NewReader(data), From: -1, Length: int64(len(data))})
	return err
}

func pushes(b *bed, repo string, seed uint64) error {
	var errs []error
	for i := range uint64(6) {
		errs = append(errs, b.tryLayer(repo, random(seed*10+i, 30_000+int(i*i)*36_000)))
	}
	return errors.Join(errs...)
}

func chunks(b *bed, repo string, seed uint64) error {
	data := random(seed, 520_000)
	ref, err := b.StartUpload(b.ctx, here, repo, root, never)
	if err != nil {
		return err
	}
	for from := 0; from < len(data); from += 65_000 {
		if _, err := b.AppendUpload(b.ctx, ref, registry.Chunk{Body: bytes.NewReader(data[from : from+65_000]), From: int64(from), Length: 65_000}); err != nil {
			return err
		}
	}
	_, err = b.FinishUpload(b.ctx, ref, sha(data), registry.Chunk{})
	return err
}

func cancels(b *bed) error {
	ref, err := b.StartUpload(b.ctx, here, "aa", root, never)
	if err != nil {
		return err
	}
	if _, err := b.AppendUpload(b.ctx, ref, registry.Chunk{Body: bytes.NewReader(random(7, 100_000)), From: 0, Length: 100_000}); err != nil {
		return err
	}
	return errors.Join(b.CancelUpload(b.ctx, ref), pushes(b, "aa", 8))
}

// repairs loses a blob's bytes and pushes it again.
func repairs(b *bed) error {
	if err := pushes(b, "aa", 9); err != nil {
		return err
	}
	if err := b.store.Walk(b.ctx, func(i blob.Info) error { return b.store.Delete(b.ctx, i.Key) }); err != nil {
		return err
	}
	return pushes(b, "aa", 9)
}

// row is what the database says of a blob at some moment.
type row struct {
	content blob.Content
}

// committed reads the rows that are durable now: SQLite shows other connections
// only what was committed.
func committed(ctx context.Context, db *sqldb.DB) ([]row, error) {
	rows, err := db.Query(ctx, "select digest, encryption, size, stored_size, store_key, data_key, inline_bytes from blobs")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		var r row
		c := &r.content
		if err := rows.Scan(&c.Digest, &c.Encryption, &c.Size, &c.StoredSize, &c.Key, &c.DataKey, &c.Inline); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func crashBed(t *testing.T, disk *simfs.FS) (*bed, error) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "berth.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store, err := fsblob.Open(disk, fsblob.Options{})
	if err != nil {
		return nil, err
	}
	b := newBed(t, db, registry.Limits{}, store)
	b.create("aa")
	b.create("sealed", func(n *registry.NewRepository) { n.Encryption = registry.KMS })
	return b, nil
}

// whole reads every row's bytes from a disk as a restarted server would.
func whole(disk *simfs.FS, rows []row) error {
	store, err := fsblob.Open(disk, fsblob.Options{})
	if err != nil {
		return fmt.Errorf("the store does not open: %w", err)
	}
	ring, err := keyring.New(secret.NewMaster(make([]byte, 32)), nil)
	if err != nil {
		return err
	}
	blobs := blob.New(store, blob.Options{InlineMax: 100, Keys: ring})
	for _, r := range rows {
		rd, err := blobs.Open(context.Background(), r.content)
		if err != nil {
			return fmt.Errorf("%s has a row and does not open: %w", r.content.Digest, err)
		}
		data, err := io.ReadAll(rd)
		rd.Close()
		if err != nil || sha(data) != r.content.Digest {
			return fmt.Errorf("%s has a row and other bytes (%d, %w)", r.content.Digest, len(data), err)
		}
	}
	return nil
}

// crash runs a scenario and, after each change of the disk, cuts the power in
// every way the simulation knows. It returns how many states there were and the
// first that broke a promise.
func crash(t *testing.T, run func(*bed) error, noSync bool) (states int, broken error) {
	t.Helper()
	disk := simfs.New()
	b, err := crashBed(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	if noSync {
		disk.NoSync()
	}
	settled := map[string]bool{}
	busy := false
	audit := func(call int, op string) {
		if busy || broken != nil { // the audit's own calls; one finding is enough
			return
		}
		busy = true
		defer func() { busy = false }()
		rows, err := committed(b.ctx, b.db)
		if err != nil {
			t.Fatal(err)
		}
		// Rows that no unsynced change concerns are the same in every state: they
		// are read once, the others in each.
		unsettled := disk.Unsettled()
		var once, every []row
		for _, r := range rows {
			if k := r.content.Key; k != "" && (unsettled[k] || unsettled[k[:2]] || unsettled["blobs"]) {
				every = append(every, r)
			} else if !settled[r.content.Key] {
				once = append(once, r)
			}
		}
		if err := whole(disk, once); err != nil && broken == nil {
			broken = fmt.Errorf("after call %d (%s): %w", call, op, err)
		}
		for _, r := range once {
			settled[r.content.Key] = true
		}
		for _, r := range every {
			delete(settled, r.content.Key)
		}
		states += disk.States(func(what string, after *simfs.FS) {
			if err := whole(after, every); err != nil && broken == nil {
				broken = fmt.Errorf("after call %d (%s), with %s: %w", call, op, what, err)
			}
		})
	}
	// The repair scenario destroys bytes itself; its promise is about the end.
	disk.OnCall(audit)
	if err := run(b); err != nil {
		t.Fatal(err)
	}
	audit(disk.Calls(), "the end")
	return states, broken
}

// TestCrashStates cuts the power at every change of the disk, in every way: what
// has a row must have its bytes. The control, on a disk whose flushes lie, must
// fail.
func TestCrashStates(t *testing.T) {
	total := 0
	for name, run := range scenarios {
		if name == "repair" {
			continue // it removes files under living rows
		}
		states, broken := crash(t, run, false)
		if broken != nil {
			t.Errorf("%s: %v", name, broken)
		}
		total += states
		if name == "cancel" {
			continue
		}
		if _, broken := crash(t, run, true); broken == nil {
			t.Errorf("%s: with flushes that lie nothing was found: the audit sees nothing", name)
		}
	}
	if total < 10_000 {
		t.Errorf("only %d crash states", total)
	}
	t.Logf("%d crash states", total)
}

// TestEveryCallFails makes each single call to the disk fail, once and from then
// on, with a broken and with a full disk. Whatever the answer was, what has a row
// must read back; and nothing may be acknowledged that is not there.
func TestEveryCallFails(t *testing.T) {
	total := 0
	for name, run := range scenarios {
		for _, failure := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			for _, sticky := range []bool{false, true} {
				for k := 1; ; k++ {
					disk := simfs.New()
					b, err := crashBed(t, disk)
					if err != nil {
						t.Fatal(err)
					}
					before := disk.Calls()
					disk.FailAt(k, failure, sticky)
					_ = run(b) // its error may be any; what counts is what is there
					calls := disk.Calls() - before
					disk.FailAt(1<<40, nil, false)
					rows, err := committed(b.ctx, b.db)
					if err != nil {
						t.Fatal(err)
					}
					if err := whole(disk, rows); err != nil && name != "repair" {
						t.Fatalf("%s, call %d fails with %v (sticky %v): %v", name, k, failure, sticky, err)
					}
					b.db.Close()
					if total++; k >= calls || testing.Short() && k > 20 {
						break
					}
				}
			}
		}
	}
	t.Logf("%d failing calls", total)
}
