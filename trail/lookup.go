package trail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/internal/uid"
)

// Attribute is what records are looked up by, in LookupEvents' words.
type Attribute string

// The attributes.
const (
	EventID      Attribute = "EventId"
	EventName    Attribute = "EventName"
	ReadOnly     Attribute = "ReadOnly"
	Username     Attribute = "Username"
	ResourceType Attribute = "ResourceType"
	ResourceName Attribute = "ResourceName"
	EventSource  Attribute = "EventSource"
	AccessKeyID  Attribute = "AccessKeyId"
)

var letters = map[Attribute]string{EventName: byName, ReadOnly: byReadOnly, Username: byUsername, ResourceType: byType, ResourceName: byResource,
	EventSource: bySource, AccessKeyID: byAccessKey, EventID: ""}

// Attributes lists them.
func Attributes() []Attribute {
	return []Attribute{EventID, EventName, ReadOnly, Username, ResourceType, ResourceName, EventSource, AccessKeyID}
}

// Query asks for records of one trail, the newest first.
type Query struct {
	Place arn.Place
	// Attribute and Value select; "" is all.
	Attribute Attribute
	Value     string
	// Start and End bound the time, both inclusive; zero is unbounded.
	Start, End time.Time
	Limit      int
}

// ErrToken is a token that was not made for the query.
var ErrToken = errors.New("the token was not made for this request")

// Lookup returns a page of records and the token of the next, "" at the end:
// ErrToken. What this node has gathered is written first, so that a caller finds its
// own calls.
func (t *Trail) Lookup(ctx context.Context, q Query, token string) ([]*Record, string, error) {
	if err := t.Flush(ctx); err != nil {
		return nil, "", err
	}
	id := "lookup " + string(q.Place.Account) + " " + string(q.Place.Region) + " " + string(q.Attribute) + " " + q.Value + " " +
		stamp(q.Start) + " " + stamp(q.End)
	before := key{At: math.MaxInt64}
	if !q.End.IsZero() {
		before = key{At: q.End.UnixMicro() + 1}
	}
	if err := t.pages.Untoken(id, token, &before); err != nil {
		return nil, "", ErrToken
	}
	since := int64(math.MinInt64)
	if !q.Start.IsZero() {
		since = q.Start.UnixMicro()
	}
	if q.Attribute == EventID {
		r, err := t.Find(ctx, q.Place, q.Value, func(r *Record) bool { return r.ID == q.Value })
		if err != nil || r == nil || !keyOf(r).before(before) || keyOf(r).At < since {
			return nil, "", err
		}
		return []*Record{r}, "", nil
	}
	attribute := ""
	if q.Attribute != "" {
		attribute = letters[q.Attribute] + q.Value
	}
	list, err := t.page(ctx, q.Place, attribute, before, since, q.Limit+1)
	if err != nil || len(list) <= q.Limit {
		return list, "", err
	}
	list = list[:q.Limit]
	return list, t.pages.Token(id, keyOf(list[q.Limit-1])), nil
}

// page merges recent records and segments, the newest first: those with an attribute,
// unless it is "".
func (t *Trail) page(ctx context.Context, p arn.Place, attribute string, before key, since int64, limit int) ([]*Record, error) {
	merged, err := t.readRecent(ctx, p, attribute, before, since, limit)
	if err != nil {
		return nil, err
	}
	// A segment that ends later than the key may hold what is before it; none spans more
	// than maxSpan.
	at := key{At: math.MaxInt64}
	if before.At < math.MaxInt64-maxSpan.Microseconds() {
		at = key{At: before.At + maxSpan.Microseconds() + 1}
	}
	for {
		s, err := t.nextSegment(ctx, p, attribute, at, before.At)
		if err != nil {
			return nil, err
		}
		if s == nil || s.last.At < since || len(merged) >= limit && s.last.before(keyOf(merged[limit-1])) {
			return merged, nil
		}
		at = s.last
		list, err := s.open(p)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if k := keyOf(r); k.before(before) && k.At >= since && (attribute == "" || slices.Contains(r.attributes(), attribute)) {
				merged = append(merged, r)
			}
		}
		slices.SortFunc(merged, func(a, b *Record) int {
			if keyOf(b).before(keyOf(a)) {
				return -1
			}
			return 1
		})
		merged = merged[:min(len(merged), limit)]
	}
}

// nearby is how far from the time in an id its record is looked for.
const nearby = 5 * time.Minute

// Find returns the record near the time that an id begins with and for which is
// holds, nil when there is none.
func (t *Trail) Find(ctx context.Context, p arn.Place, id string, is func(*Record) bool) (*Record, error) {
	at, ok := uid.Time(id)
	if !ok {
		return nil, nil // what is no id of ours names nothing
	}
	before, since := key{At: at.Add(nearby).UnixMicro()}, at.Add(-nearby).UnixMicro()
	for {
		list, err := t.page(ctx, p, "", before, since, segmentRecords)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if is(r) {
				return r, nil
			}
		}
		if len(list) < segmentRecords {
			return nil, nil
		}
		before = keyOf(list[len(list)-1])
	}
}

// ByRequest returns the record of a request in an account, nil when there is none.
func (t *Trail) ByRequest(ctx context.Context, p arn.Place, requestID string) (*Record, error) {
	if err := t.Flush(ctx); err != nil {
		return nil, err
	}
	return t.Find(ctx, p, requestID, func(r *Record) bool { return r.RequestID == requestID })
}

// Expand fills in the detail of an event that refers to a record. It waits for the
// answer of a call that is not answered yet.
func (t *Trail) Expand(ctx context.Context, e *event.Event) error {
	t.await(ctx, e.Ref)
	if err := t.Flush(ctx); err != nil {
		return err
	}
	r, err := t.readOne(ctx, e.Place, e.Time, e.Ref)
	if err != nil {
		return err
	}
	if r == nil {
		if r, err = t.Find(ctx, e.Place, e.Ref, func(r *Record) bool { return r.ID == e.Ref }); err != nil {
			return err
		}
	}
	if r == nil {
		e.Detail = json.RawMessage("{}") // the record's time is over
		return nil
	}
	t.Fill(ctx, r)
	e.Detail = r.JSON()
	return nil
}

// reference is how Params and Response hold a manifest: by its digest.
const reference = "berth:manifest:"

// ManifestRef is what stands for a manifest in a record.
func ManifestRef(repository, digest string) string { return reference + repository + "@" + digest }

// Fill puts manifests in the place of the references to them, where they still exist.
func (t *Trail) Fill(ctx context.Context, r *Record) {
	// Only there did Berth itself put them, and not a caller.
	if t.options.Manifest == nil || r.Name != "PutImage" || r.ErrorCode != "" || r.Home.Account != r.Place.Account {
		return
	}
	for _, doc := range []*json.RawMessage{&r.Params, &r.Response} {
		for {
			i := bytes.Index(*doc, []byte(`"`+reference))
			if i < 0 {
				break
			}
			n := bytes.IndexByte((*doc)[i+1:], '"')
			repository, digest, _ := strings.Cut(string((*doc)[i+1+len(reference):i+1+n]), "@")
			text, err := t.options.Manifest(ctx, r.Home, repository, digest)
			quoted, merr := json.Marshal(text)
			if err != nil || merr != nil || len(quoted) > maxDocument {
				quoted = []byte(`"` + digest + `"`)
			}
			*doc = slices.Concat((*doc)[:i], quoted, (*doc)[i+n+2:])
		}
	}
}
