// Package logs keeps log groups, their streams and their events, as CloudWatch Logs
// does.
//
// It is where functions' output goes and where rules may send events. It is not
// Berth's own log, and no record of API calls (package trail).
package logs

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// Code is what went wrong, in CloudWatch Logs' own names. The set is closed.
type Code string

// The codes.
const (
	NotFound         Code = "ResourceNotFoundException"
	AlreadyExists    Code = "ResourceAlreadyExistsException"
	InvalidParameter Code = "InvalidParameterException"
	LimitExceeded    Code = "LimitExceededException"
	TooManyTags      Code = "TooManyTagsException"
)

// Codes lists every code, for the table's test.
func Codes() []Code {
	return []Code{NotFound, AlreadyExists, InvalidParameter, LimitExceeded, TooManyTags}
}

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

// Limits (service quotas and API reference).
const (
	maxGroups    = 100_000
	maxBatch     = 1 << 20 // bytes
	maxEntries   = 10_000
	maxTags      = 50
	perEvent     = 26 // bytes that each event counts beside its message
	oldest       = 14 * 24 * time.Hour
	newest       = 2 * time.Hour
	sweepEvery   = 10 * time.Minute
	sweepBatch   = 2000
	maxPageBytes = 1 << 20
)

// retentions are the days that a retention may have.
var retentions = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

var (
	groupName  = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]+$`)
	streamName = regexp.MustCompile(`^[^:*]+$`)
)

// Group is a log group.
type Group struct {
	Place     arn.Place
	Name      string
	Retention int // days, 0 for ever
	Class     string
	Tags      map[string]string
	CreatedAt time.Time
	Bytes     int64
	id        int64
}

// ARN is the group's ARN, without the :* that some answers end it with.
func (g *Group) ARN() string { return GroupARN(g.Place, g.Name) }

// GroupARN is the ARN of a group.
func GroupARN(p arn.Place, name string) string {
	return arn.ARN{Service: "logs", Region: p.Region, Account: p.Account, Resource: "log-group:" + name}.String()
}

// Stream is a log stream. The zero times say that it has no events.
type Stream struct {
	Group                   *Group
	Name                    string
	CreatedAt               time.Time
	First, Last, IngestedAt time.Time
}

// ARN is the stream's ARN.
func (s *Stream) ARN() string { return s.Group.ARN() + ":log-stream:" + s.Name }

// Entry is an event that is put.
type Entry struct {
	At      time.Time
	Message string
}

// Event is a stored event.
type Event struct {
	Key
	Stream   string
	Ingested time.Time
	Message  string
}

// Key is an event's place in its group: its time in milliseconds, and a number.
type Key struct {
	At  int64 `json:"t"`
	Seq int64 `json:"s"`
}

// ID is the event's id.
func (e *Event) ID() string { return fmt.Sprintf("%020d%020d", e.At, e.Seq) }

// Logs is the plane. It is safe for concurrent use.
type Logs struct {
	db    *sqldb.DB
	pages *secret.Box
	now   func() time.Time
	log   *slog.Logger
}

// New makes the plane on a migrated database.
func New(db *sqldb.DB, master *secret.Master, now func() time.Time, log *slog.Logger) *Logs {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Logs{db: db, pages: master.Box("logs-pages"), now: now, log: log}
}

// PageToken makes the token for what follows key in the results of query.
func (l *Logs) PageToken(query string, key any) string { return l.pages.Token(query, key) }

// OpenPageToken reads a token back into key: InvalidParameter.
func (l *Logs) OpenPageToken(query, token string, key any) error {
	if l.pages.Untoken(query, token, key) != nil {
		return fail(InvalidParameter, "The specified nextToken is invalid.")
	}
	return nil
}

// epoch is where numbers of events begin, in microseconds: 2026. It leaves room for
// maxEntries of them in a microsecond.
const epoch = 1_767_225_600_000_000

func newID() int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint64(b[:]) >> 1)
}

// CreateGroup makes a group: AlreadyExists, InvalidParameter, LimitExceeded.
func (l *Logs) CreateGroup(ctx context.Context, g *Group) error {
	if len(g.Name) > 512 || !groupName.MatchString(g.Name) {
		return fail(InvalidParameter, "1 validation error detected: Value '%.100s' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+", g.Name)
	}
	if len(g.Tags) > maxTags {
		return fail(TooManyTags, "A log group may have %d tags.", maxTags)
	}
	g.id, g.CreatedAt = newID(), l.now().UTC().Truncate(time.Millisecond)
	if g.Class == "" {
		g.Class = "STANDARD"
	}
	err := l.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := countGroups(tx, g.Place)
		if err != nil {
			return err
		}
		if n >= maxGroups {
			return fail(LimitExceeded, "The account has %d log groups, no more are allowed.", n)
		}
		return insertGroup(tx, g)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return fail(AlreadyExists, "The specified log group already exists")
	}
	return err
}

// Group returns a group: NotFound.
func (l *Logs) Group(ctx context.Context, p arn.Place, name string) (*Group, error) {
	g, err := l.readGroup(ctx, p, name)
	if sqldb.IsNoRows(err) {
		return nil, errGroup()
	}
	return g, err
}

// DeleteGroup removes a group with all it holds: NotFound.
func (l *Logs) DeleteGroup(ctx context.Context, p arn.Place, name string) error {
	g, err := l.Group(ctx, p, name)
	if err != nil {
		return err
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error { return deleteGroup(tx, g) })
}

// UpdateGroup applies fn to a group's retention and tags: NotFound, InvalidParameter,
// TooManyTags.
func (l *Logs) UpdateGroup(ctx context.Context, p arn.Place, name string, fn func(*Group)) error {
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		g, err := lockGroup(tx, p, name)
		if sqldb.IsNoRows(err) {
			return errGroup()
		}
		if err != nil {
			return err
		}
		fn(g)
		if g.Retention != 0 && !slices.Contains(retentions, g.Retention) {
			return fail(InvalidParameter, "1 validation error detected: Value '%d' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: %v", g.Retention, retentions)
		}
		if len(g.Tags) > maxTags {
			return fail(TooManyTags, "A log group may have %d tags.", maxTags)
		}
		return updateGroup(tx, g)
	})
}

func errGroup() error { return fail(NotFound, "The specified log group does not exist.") }

// CreateStream makes a stream: NotFound, AlreadyExists, InvalidParameter.
func (l *Logs) CreateStream(ctx context.Context, p arn.Place, group, name string) error {
	if utf8.RuneCountInString(name) > 512 || !streamName.MatchString(name) {
		return fail(InvalidParameter, "1 validation error detected: Value '%.100s' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*", name)
	}
	g, err := l.Group(ctx, p, group)
	if err != nil {
		return err
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := insertStream(tx, g, name, l.now().UnixMilli(), 0, 0, 0)
		if err == nil && n == 0 {
			return fail(AlreadyExists, "The specified log stream already exists")
		}
		return err
	})
}

// DeleteStream removes a stream and its events: NotFound.
func (l *Logs) DeleteStream(ctx context.Context, p arn.Place, group, name string) error {
	g, err := l.Group(ctx, p, group)
	if err != nil {
		return err
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := deleteStream(tx, g, name)
		if err == nil && n == 0 {
			return fail(NotFound, "The specified log stream does not exist.")
		}
		return err
	})
}

// Rejected counts the entries of a batch that were too old or too new.
type Rejected struct {
	// TooOld ends before, and TooNew begins at, that index; -1 for none.
	TooOld, TooNew int
}

// Put adds events to a stream: NotFound, InvalidParameter.
func (l *Logs) Put(ctx context.Context, p arn.Place, group, stream string, entries []Entry) (Rejected, error) {
	none := Rejected{-1, -1}
	size := 0
	for i, e := range entries {
		size += len(e.Message) + perEvent
		if e.Message == "" {
			return none, fail(InvalidParameter, "1 validation error detected: Value '' at 'logEvents.%d.member.message' failed to satisfy constraint: Member must have length greater than or equal to 1", i+1)
		}
		if i > 0 && e.At.Before(entries[i-1].At) {
			return none, fail(InvalidParameter, "Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	if len(entries) == 0 || len(entries) > maxEntries || size > maxBatch {
		return none, fail(InvalidParameter, "A batch has 1 to %d events and %d bytes; this one has %d and %d.", maxEntries, maxBatch, len(entries), size)
	}
	g, err := l.Group(ctx, p, group)
	if err != nil {
		return none, err
	}
	now := l.now()
	rejected := none
	from, to := 0, len(entries)
	for from < to && entries[from].At.Before(now.Add(-oldest)) {
		from++
		rejected.TooOld = from
	}
	for to > from && entries[to-1].At.After(now.Add(newest)) {
		to--
		rejected.TooNew = to
	}
	return rejected, l.write(ctx, g, []Output{{stream, entries[from:to]}}, false)
}

// Output is what is added to a stream.
type Output struct {
	Stream  string
	Entries []Entry
}

// Append adds a program's output to streams, all of it or none, making group and streams
// that are missing.
func (l *Logs) Append(ctx context.Context, p arn.Place, group string, list ...Output) error {
	g, err := l.Group(ctx, p, group)
	if CodeOf(err) == NotFound {
		if err := l.CreateGroup(ctx, &Group{Place: p, Name: group, Tags: map[string]string{}}); err != nil && CodeOf(err) != AlreadyExists {
			return err
		}
		g, err = l.Group(ctx, p, group)
	}
	if err != nil {
		return err
	}
	return l.write(ctx, g, list, true)
}

// write adds events; make makes streams that are missing. It survives the death of the
// process.
func (l *Logs) write(ctx context.Context, g *Group, list []Output, make bool) error {
	list = slices.DeleteFunc(list, func(o Output) bool { return len(o.Entries) == 0 })
	if len(list) == 0 {
		return nil
	}
	now := l.now().UnixMilli()
	return l.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		bytes := int64(0)
		for _, o := range list {
			n, err := l.writeStream(tx, g, o, now, make)
			if err != nil {
				return err
			}
			bytes += n
		}
		return addBytes(tx, g, bytes)
	})
}

// writeStream adds events to one stream and returns the bytes that they count.
func (l *Logs) writeStream(tx *sqldb.Tx, g *Group, o Output, now int64, make bool) (bytes int64, err error) {
	first, last := o.Entries[0].At.UnixMilli(), o.Entries[len(o.Entries)-1].At.UnixMilli()
	n, err := touchStream(tx, g, o.Stream, first, last, now)
	if err == nil && n == 0 {
		if !make {
			return 0, fail(NotFound, "The specified log stream does not exist.")
		}
		if n, err = insertStream(tx, g, o.Stream, now, first, last, now); err == nil && n == 0 { // another one made it
			_, err = touchStream(tx, g, o.Stream, first, last, now)
		}
	}
	if err != nil {
		return 0, err
	}
	seq, err := tx.Clock()
	if err != nil {
		return 0, err
	}
	for i, e := range o.Entries {
		bytes += int64(len(e.Message) + perEvent)
		if err := insertEvent(tx, g, o.Stream, e, (seq-epoch)*maxEntries+int64(i), now); err != nil {
			return 0, err
		}
	}
	return bytes, nil
}

// Run removes what is past its retention until ctx ends.
func (l *Logs) Run(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
			l.log.Error("removing old log events", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// clean makes a message fit to be stored and shown: valid UTF-8 without NUL.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
