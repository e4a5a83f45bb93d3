// Package ledger remembers which file declares which repository, role, template and
// so on, and what it said of it when it was last applied.
//
// It keeps two files from declaring one thing, tells what a file no longer declares,
// and tells a change in a file from a change behind its back. It reads no files,
// compares nothing and changes nothing but its own table: package declare does.
package ledger

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/entry"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// Code is what went wrong. The set is closed.
type Code string

// The codes.
const (
	Invalid  Code = "ValidationError"
	Conflict Code = "DeclaredElsewhereException"
)

// Codes lists every code.
func Codes() []Code { return []Code{Invalid, Conflict} }

// Error is a refusal, with a text for the caller.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// ErrorCode and ErrorMessage are what a record of the call says.
func (e *Error) ErrorCode() string { return string(e.Code) }

// ErrorMessage is the text for the caller.
func (e *Error) ErrorMessage() string { return e.Message }

// CodeOf returns the code of an error of this package, or "".
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func fail(c Code, format string, args ...any) error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// kinds says which are shared, and which belong to a region.
var kinds = map[entry.Kind]struct{ shared, regional bool }{entry.Repository: {false, true}, entry.Role: {}, entry.Provider: {true, false},
	entry.Template: {false, true}, entry.RegistryPolicy: {false, true}}

// Limits of a call and of an entry.
const (
	MaxEntries = 1000
	maxName    = 512
	maxSpec    = 64 << 10
	maxTold    = 20 // conflicts that an error names
)

// Ledger is the plane.
type Ledger struct {
	db    *sqldb.DB
	pages *secret.Box
	now   func() time.Time
}

// New makes the plane. The clock is time.Now when nil.
func New(db *sqldb.DB, master *secret.Master, now func() time.Time) *Ledger {
	if now == nil {
		now = time.Now
	}
	return &Ledger{db, master.Box("ledger pages"), now}
}

// slot is where an entry stands beside others of its name.
func slot(e *entry.Entry) string {
	if kinds[e.Kind].shared {
		return e.Source
	}
	return ""
}

func check(e *entry.Entry, p arn.Place) error {
	k, known := kinds[e.Kind]
	size := 0
	for f, v := range e.Spec {
		size += len(f) + len(v)
	}
	switch {
	case !known:
		return fail(Invalid, "%.50q is no kind of thing that can be declared", e.Kind)
	case k.regional != (p.Region != ""):
		return fail(Invalid, "a %s is declared with a region only if it belongs to one", e.Kind)
	case e.Kind != entry.RegistryPolicy && e.Name == "" || len(e.Name) > maxName || !text(e.Name):
		return fail(Invalid, "the name of a %s must have between 1 and %d printable characters", e.Kind, maxName)
	case e.Source == "" || len(e.Source) > maxName || !text(e.Source):
		return fail(Invalid, "the source must have between 1 and %d printable characters", maxName)
	case len(e.Module) > maxName || !text(e.Module) || e.Line < 0:
		return fail(Invalid, "the module's name must have at most %d printable characters, and the line must not be negative", maxName)
	case size > maxSpec:
		return fail(Invalid, "what is declared of %s %.100q is longer than %d bytes", e.Kind, e.Name, maxSpec)
	}
	return nil
}

func text(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Put writes entries of one account and region, all or none: Conflict when another
// source has one of them, unless it is in from, whose entries of these names end but for
// shared things.
func (l *Ledger) Put(ctx context.Context, p arn.Place, entries []entry.Entry, from ...string) error {
	if len(entries) > MaxEntries {
		return fail(Invalid, "at most %d entries can be written at a time", MaxEntries)
	}
	for i := range entries {
		if err := check(&entries[i], p); err != nil {
			return err
		}
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		var taken []string
		for i := range entries {
			e := &entries[i]
			for _, source := range from {
				if source == e.Source || kinds[e.Kind].shared {
					continue
				}
				if err := deleteEntry(tx, p, source, e.Key); err != nil {
					return err
				}
			}
			n, err := upsertEntry(tx, p, e, l.now())
			if err != nil {
				return err
			}
			if n > 0 {
				continue
			}
			if owner, err := readOwner(tx, p, e); err != nil {
				return err
			} else if len(taken) < maxTold {
				taken = append(taken, fmt.Sprintf("%s %s is declared by %s", e.Kind, e.Name, owner.Where()))
			}
		}
		if taken != nil {
			return fail(Conflict, "%s", strings.Join(taken, "; "))
		}
		return nil
	})
}

// Delete removes entries of a source. Those that are not there are no error.
func (l *Ledger) Delete(ctx context.Context, p arn.Place, source string, keys []entry.Key) error {
	if len(keys) > MaxEntries {
		return fail(Invalid, "at most %d entries can be removed at a time", MaxEntries)
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		for _, k := range keys {
			if err := deleteEntry(tx, p, source, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// Find returns the entries of one thing: none, one, or for shared things one a source.
func (l *Ledger) Find(ctx context.Context, p arn.Place, k entry.Key) ([]entry.Entry, error) {
	return l.entriesOf(ctx, p, k)
}

// List returns entries of an account and region, of one source if it is given, in
// order of kind and name, from a page token on; next is "" at the end.
func (l *Ledger) List(ctx context.Context, p arn.Place, source, token string, limit int) (list []entry.Entry, next string, err error) {
	after := [3]string{}
	binding := fmt.Sprintf("%s/%s/%s", p.Account, p.Region, source)
	if l.pages.Untoken(binding, token, &after) != nil {
		return nil, "", fail(Invalid, "the page token is not of this list")
	}
	list, err = l.listEntries(ctx, p, source, after, limit+1)
	if err != nil || len(list) <= limit {
		return list, "", err
	}
	list = list[:limit]
	e := &list[limit-1]
	return list, l.pages.Token(binding, [3]string{string(e.Kind), e.Name, slot(e)}), nil
}
