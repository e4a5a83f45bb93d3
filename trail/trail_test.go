package trail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

var (
	here  = arn.Place{Account: "000000000012", Region: "eu-west-1"}
	there = arn.Place{Account: "000000000034", Region: "eu-west-1"}
)

type bed struct {
	*Trail
	db  *sqldb.DB
	now time.Time
	ctx context.Context
}

func open(t *testing.T, db *sqldb.DB, o Options) *bed {
	t.Helper()
	if err := db.Migrate(t.Context(), "trail", Migrations()); err != nil {
		t.Fatal(err)
	}
	b := &bed{db: db, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	o.Now = func() time.Time { return b.now }
	b.Trail = New(db, secret.NewMaster(make([]byte, 32)), o)
	b.ctx = gate.WithCaller(t.Context(), gate.Caller{RequestID: uid.New(b.now), SourceIP: "10.0.0.1", UserAgent: "test"})
	return b
}

func call(p arn.Place, by arn.Account, action, repository string, reads bool) gate.Call {
	return gate.Call{Principal: arn.Root(by), Service: "ecr", Action: action, Place: p, Resources: []string{arn.Repository(p, repository).String()}, ReadOnly: reads}
}

func (b *bed) all(t *testing.T, q Query) []*Record {
	t.Helper()
	q.Limit = 7
	var out []*Record
	for token := ""; ; {
		list, next, err := b.Lookup(t.Context(), q, token)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, list...)
		if next == "" {
			return out
		}
		token = next
	}
}

// TestEncode: the quick encoder writes what is read back, and what encoding/json would.
func TestEncode(t *testing.T) {
	odd := []string{"", "plain", `with "quotes" and \`, "new\nline", "é世\u2028", "<&>"}
	r := rand.New(rand.NewPCG(1, 1))
	pick := func() string { return odd[r.IntN(len(odd))] }
	for range 500 {
		in := &Record{ID: uid.New(time.Now()), At: time.UnixMicro(r.Int64N(4e15)).UTC(), Source: pick(), Name: pick(), Action: pick(), ReadOnly: r.IntN(2) == 0,
			Who:  Who{Type: arn.KindRoot, PrincipalID: pick(), ARN: pick(), AccountID: pick(), AccessKeyID: pick(), UserName: pick(), Role: pick(), RoleID: pick(), Provider: pick()},
			Home: here, SourceIP: pick(), UserAgent: pick(), RequestID: pick(), ErrorCode: pick(), ErrorMessage: pick(), Shared: pick()}
		if r.IntN(2) == 0 {
			in.Targets, in.Params, in.Response = []string{pick(), "x"}, json.RawMessage(`{"a":1}`), json.RawMessage(`[1]`)
			in.Keys, in.Additional, in.Who.Since = map[string][]string{"k": {pick()}}, map[string]string{"x": pick()}, time.UnixMicro(r.Int64N(4e15)).UTC()
		}
		var quick, slow Record
		if err := json.Unmarshal(in.encode(), &quick); err != nil {
			t.Fatalf("%v: %s", err, in.encode())
		}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &slow); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&slow, &quick, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	}
}

// TestWithTheChange: the record of a change is committed with it, or not at all, and once.
func TestWithTheChange(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db, Options{})
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec("create table things (id bigint primary key)")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		add := func(ctx context.Context, id int, fail error) error {
			return db.Write(ctx, func(tx *sqldb.Tx) error {
				if _, err := tx.Exec("insert into things (id) values ($1)", id); err != nil {
					return err
				}
				return fail
			})
		}
		c := call(here, here.Account, "PutImage", "a", false)
		ctx := b.Prepare(b.ctx, c)
		if err := errors.Join(add(ctx, 1, nil), add(ctx, 2, nil)); err != nil {
			t.Fatal(err)
		}
		b.Record(ctx, c, 0, nil)
		if got := b.all(t, Query{Place: here}); len(got) != 1 || got[0].Name != "PutImage" || got[0].ErrorCode != "" {
			t.Errorf("after two writes: %v", got)
		}
		ctx = b.Prepare(b.ctx, c)
		refused := errors.New("refused")
		if err := add(ctx, 3, refused); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if got := b.all(t, Query{Place: here}); len(got) != 1 {
			t.Errorf("a change that was undone left %d records", len(got)-1)
		}
		b.Record(ctx, c, 0, refused)
		if got := b.all(t, Query{Place: here}); len(got) != 2 || got[0].ErrorCode != "InternalFailure" && got[1].ErrorCode != "InternalFailure" {
			t.Errorf("after a failure: %v", got)
		}
	})
}

// TestBetweenAccounts: both accounts see a call between them, a denial only the caller's.
func TestBetweenAccounts(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db, Options{})
		c := call(here, there.Account, "BatchGetImage", "a", true)
		b.Record(b.ctx, c, 0, nil)
		mine, theirs := b.all(t, Query{Place: here}), b.all(t, Query{Place: there})
		if len(mine) != 1 || len(theirs) != 1 || mine[0].Shared == "" || mine[0].Shared != theirs[0].Shared || mine[0].ID == theirs[0].ID {
			t.Errorf("%+v %+v", mine, theirs)
		}
		b.Record(b.ctx, c, 0, &gate.Denied{Principal: c.Principal.ARN, Action: "ecr:BatchGetImage", Resource: c.Resources[0], Reason: "no"})
		if mine, theirs = b.all(t, Query{Place: here}), b.all(t, Query{Place: there}); len(mine) != 1 || len(theirs) != 2 {
			t.Errorf("after a denial: %d and %d records", len(mine), len(theirs))
		}
	})
}

// TestLookup compares pages over rows, segments of rows and segments of many at once
// with what a plain list says.
func TestLookup(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db, Options{})
		r := rand.New(rand.NewPCG(7, 7))
		var all []*Record
		actions := []string{"PutImage", "BatchGetImage", "DeleteRepository"}
		for range 40 {
			b.now = b.now.Add(time.Duration(r.IntN(600)) * time.Second)
			for range []int{3, 30, 90}[r.IntN(3)] {
				b.now = b.now.Add(time.Duration(r.IntN(3000)) * time.Microsecond)
				c := call(here, here.Account, actions[r.IntN(3)], fmt.Sprint("team/", r.IntN(5)), r.IntN(2) == 0)
				x := b.record(b.ctx, c)
				x.ID = uid.New(b.now)
				all = append(all, x)
				b.later(x)
			}
			if err := b.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r.IntN(8) == 0 {
				if err := b.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		var segments, rows int
		if err := errors.Join(db.QueryRow(t.Context(), []any{&segments}, "select count(*) from trail_segments"),
			db.QueryRow(t.Context(), []any{&rows}, "select count(*) from trail_recent")); err != nil || segments < 5 || rows == 0 {
			t.Fatalf("%d segments, %d rows: %v", segments, rows, err)
		}
		slices.SortFunc(all, func(a, b *Record) int {
			if keyOf(b).before(keyOf(a)) {
				return -1
			}
			return 1
		})
		middle := all[len(all)/2].At
		for _, c := range []struct {
			q  Query
			is func(*Record) bool
		}{
			{Query{}, func(*Record) bool { return true }},
			{Query{Attribute: EventName, Value: "PutImage"}, func(r *Record) bool { return r.Name == "PutImage" }},
			{Query{Attribute: ReadOnly, Value: "false"}, func(r *Record) bool { return !r.ReadOnly }},
			{Query{Attribute: ResourceName, Value: "team/3"}, func(r *Record) bool { return strings.HasSuffix(r.Targets[0], "team/3") }},
			{Query{Attribute: ResourceName, Value: arn.Repository(here, "team/3").String()}, func(r *Record) bool { return strings.HasSuffix(r.Targets[0], "team/3") }},
			{Query{Attribute: ResourceType, Value: "AWS::ECR::Repository"}, func(*Record) bool { return true }},
			{Query{Attribute: Username, Value: "root"}, func(*Record) bool { return true }},
			{Query{Attribute: EventSource, Value: "iam.amazonaws.com"}, func(*Record) bool { return false }},
			{Query{Start: middle}, func(r *Record) bool { return !r.At.Before(middle) }},
			{Query{End: middle}, func(r *Record) bool { return !r.At.After(middle) }},
			{Query{Attribute: EventID, Value: all[len(all)/3].ID}, func(r *Record) bool { return r == all[len(all)/3] }},
		} {
			c.q.Place = here
			var want, got []string
			for _, x := range all {
				if c.is(x) {
					want = append(want, x.ID)
				}
			}
			for _, x := range b.all(t, c.q) {
				got = append(got, x.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v: %d records, want %d", c.q, len(got), len(want))
			}
		}
		if other := b.all(t, Query{Place: there}); len(other) != 0 {
			t.Errorf("another account sees %d records", len(other))
		}
		if _, _, err := b.Lookup(t.Context(), Query{Place: there, Limit: 1}, b.token(t)); !errors.Is(err, ErrToken) {
			t.Errorf("another account's token: %v", err)
		}
		b.now = b.now.Add(100 * 24 * time.Hour)
		if err := b.forget(t.Context(), b.now.Add(-DefaultRetention)); err != nil {
			t.Fatal(err)
		}
		if left := b.all(t, Query{Place: here}); len(left) != 0 {
			t.Errorf("%d records are left after their time", len(left))
		}
	})
}

func (b *bed) token(t *testing.T) string {
	t.Helper()
	_, token, err := b.Lookup(t.Context(), Query{Place: here, Limit: 1}, "")
	if err != nil || token == "" {
		t.Fatal(token, err)
	}
	return token
}

// TestEvents: a record that is asked for is put on the outbox with the change, whole
// once the answer is known.
func TestEvents(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		outbox := &event.Outbox{}
		b := open(t, db, Options{Events: outbox})
		if err := db.Migrate(t.Context(), "event", event.Migrations()); err != nil {
			t.Fatal(err)
		}
		outbox.Bind(wants{})
		x := &gate.Exchange{Params: func() json.RawMessage { return json.RawMessage(`{"repositoryName":"a"}`) }}
		ctx := gate.WithExchange(b.ctx, x)
		c := call(here, here.Account, "CreateRepository", "a", false)
		ctx = b.Prepare(ctx, c)
		if err := db.Write(ctx, func(*sqldb.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		b.Record(ctx, c, 0, nil)
		queued, err := event.Read(t.Context(), db, 10)
		if err != nil || len(queued) != 1 {
			t.Fatal(queued, err)
		}
		go func() {
			time.Sleep(20 * time.Millisecond)
			x.Done(func() json.RawMessage { return json.RawMessage(`{"repository":{"repositoryName":"a"}}`) })
		}()
		if err := b.Expand(t.Context(), &queued[0].Event); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"eventName":"CreateRepository"`, `"requestParameters":{"repositoryName":"a"}`, `"responseElements":{"repository":`, `"type":"Root"`} {
			if !strings.Contains(string(queued[0].Detail), want) {
				t.Errorf("%s is not in %s", want, queued[0].Detail)
			}
		}
	})
}

type wants struct{}

func (wants) Wants(*event.Event) bool { return true }
func (wants) Wake()                   {}
