package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

var here = arn.Place{Account: "000000000012", Region: "eu-west-1"}

// receiver remembers what it gets and answers with fail.
type receiver struct {
	mu   sync.Mutex
	got  []bus.Delivery
	fail func(d *bus.Delivery) error
}

func (r *receiver) Deliver(ctx context.Context, d *bus.Delivery) (string, error) {
	r.mu.Lock()
	r.got = append(r.got, *d)
	fail := r.fail
	r.mu.Unlock()
	if fail == nil {
		return "run", nil
	}
	return "run", fail(d)
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// bed is a running plane.
type bed struct {
	*bus.Bus
	db     *sqldb.DB
	outbox *event.Outbox
	lambda *receiver
	logs   *receiver
	stop   func()
}

func open(t *testing.T, db *sqldb.DB) *bed {
	t.Helper()
	for plane, files := range map[string]func() error{"bus": func() error { return db.Migrate(t.Context(), "bus", bus.Migrations()) },
		"event": func() error { return db.Migrate(t.Context(), "event", event.Migrations()) }} {
		if err := files(); err != nil {
			t.Fatal(plane, err)
		}
	}
	b := &bed{db: db, outbox: &event.Outbox{}, lambda: &receiver{}, logs: &receiver{}}
	b.start(t)
	return b
}

func (b *bed) start(t *testing.T) { b.startWith(t, b.logs) }

func (b *bed) startWith(t *testing.T, logs bus.Receiver) {
	t.Helper()
	var err error
	b.Bus, err = bus.New(t.Context(), b.db, secret.NewMaster(make([]byte, 32)), b.outbox, bus.Options{Backoff: 5 * time.Millisecond, PollEvery: 20 * time.Millisecond,
		Receivers: map[string]bus.Receiver{"lambda:function": b.lambda, "logs:log-group": logs}, Holds: []string{"lambda:function"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	b.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(b.stop)
}

func function(name string) string { return "arn:aws:lambda:eu-west-1:000000000012:function:" + name }

func (b *bed) rule(t *testing.T, name, pattern string, targets ...*bus.Target) {
	t.Helper()
	if err := b.PutRule(t.Context(), &bus.Rule{Place: here, Bus: event.DefaultBus, Name: name, Pattern: pattern, Tags: map[string]string{}}); err != nil {
		t.Fatal(err)
	}
	if err := b.PutTargets(t.Context(), here, event.DefaultBus, name, targets); err != nil {
		t.Fatal(err)
	}
}

func target(id, receiver string) *bus.Target {
	return &bus.Target{ID: id, ARN: receiver, Retries: -1, Age: -1}
}

func (b *bed) put(t *testing.T, key string, n int) string {
	t.Helper()
	e := &event.Event{ID: event.NewID(), Place: here, Bus: event.DefaultBus, Source: "my.app", DetailType: "thing", Time: time.Now(), Key: key,
		Detail: json.RawMessage(fmt.Sprintf(`{"n":%d,"key":%q}`, n, key))}
	if err := b.Put(t.Context(), []*event.Event{e}); err != nil {
		t.Fatal(err)
	}
	return e.ID
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// TestOrder: first attempts of one key are in order per target, a target that fails
// stops neither others nor its own next event, and everything arrives.
func TestOrder(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db)
		failed := map[string]bool{}
		b.lambda.fail = func(d *bus.Delivery) error {
			b.lambda.mu.Lock()
			defer b.lambda.mu.Unlock()
			if strings.HasSuffix(d.Receiver, ":shaky") && !failed[d.EventID] {
				failed[d.EventID] = true
				return errors.New("not the first time")
			}
			return nil
		}
		b.rule(t, "all", `{"source":["my.app"]}`, target("steady", function("steady")), target("shaky", function("shaky")))
		b.rule(t, "none", `{"source":["other.app"]}`, target("steady", function("steady")))
		const keys, each = 5, 20
		var wg sync.WaitGroup
		for k := range keys {
			wg.Go(func() {
				for i := range each {
					b.put(t, fmt.Sprint("key", k), i)
				}
			})
		}
		wg.Wait()
		eventually(t, "every delivery", func() bool { return b.lambda.count() == 3*keys*each })
		last := map[string]int{}
		for _, d := range b.lambda.got {
			if d.Attempt > 1 {
				continue
			}
			var e struct {
				Detail struct {
					N   int
					Key string
				}
			}
			if err := json.Unmarshal(d.Input, &e); err != nil {
				t.Fatal(err)
			}
			lane := d.Receiver + e.Detail.Key
			if want := last[lane]; e.Detail.N != want {
				t.Fatalf("%s got event %d, want %d", lane, e.Detail.N, want)
			}
			last[lane]++
		}
		if len(last) != 2*keys {
			t.Errorf("%d lanes", len(last))
		}
	})
}

// TestRestart: what was committed is delivered by whoever starts next, and what was
// under way is attempted again.
func TestRestart(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db)
		b.rule(t, "all", `{"source":["my.app"]}`, target("f", function("f")))
		b.stop()
		id := b.put(t, "k", 1) // lies in the outbox
		reached, release := make(chan struct{}), make(chan struct{})
		b.lambda.fail = func(*bus.Delivery) error {
			close(reached)
			<-release
			return errors.New("the process is gone")
		}
		b.start(t)
		<-reached
		go func() { time.Sleep(50 * time.Millisecond); close(release) }()
		b.stop()
		b.lambda.mu.Lock()
		b.lambda.fail = nil
		b.lambda.mu.Unlock()
		if past, err := b.History(t.Context(), here, id); err != nil || past[0].State != "pending" {
			t.Errorf("it was not given back: %v %v", past, err)
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { // as if it had been killed, and its lease were over
			_, err := tx.Exec("update deliveries set state = 1, next_at = 0")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		b.start(t)
		eventually(t, "the delivery", func() bool { return b.lambda.count() == 2 })
		eventually(t, "its end", func() bool {
			past, err := b.History(t.Context(), here, id)
			return err == nil && len(past) == 1 && past[0].State == "delivered"
		})
	})
}

// TestGivesUp: attempts end by the target's policy, a final failure at once, and what
// failed for good goes to the dead letter target.
func TestGivesUp(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db)
		var turned atomic.Int64
		b.lambda.fail = func(d *bus.Delivery) error {
			if strings.HasSuffix(d.Receiver, ":gone") {
				return &bus.Final{Err: errors.New("no such function")}
			}
			if strings.HasSuffix(d.Receiver, ":busy") && turned.Add(1) <= 5 {
				return &bus.Busy{Err: errors.New("no room")}
			}
			return errors.New("always")
		}
		once := target("once", function("busy"))
		once.Retries = 1
		few := target("few", function("few"))
		few.Retries, few.DeadLetter = 3, "arn:aws:logs:eu-west-1:000000000012:log-group:/dead"
		b.rule(t, "all", `{"source":["my.app"]}`, few, target("gone", function("gone")), once)
		id := b.put(t, "k", 1)
		eventually(t, "the dead letter", func() bool { return b.logs.count() == 1 })
		eventually(t, "the end of the busy one", func() bool {
			past, err := b.History(t.Context(), here, id)
			return err == nil && slices.ContainsFunc(past, func(p *bus.Past) bool { return p.State == "failed" && p.Receiver == once.ARN })
		})
		attempts := map[string]int{}
		for _, d := range b.lambda.got {
			attempts[d.Target.ID]++
		}
		if attempts["few"] != 4 || attempts["gone"] != 1 || attempts["once"] != 7 { // five found no room
			t.Errorf("attempts: %v", attempts)
		}
		if in := string(b.logs.got[0].Input); !strings.Contains(in, "always") || !strings.Contains(in, id) || !strings.Contains(in, few.ARN) {
			t.Errorf("dead letter: %s", in)
		}
		past, err := b.History(t.Context(), here, id)
		if err != nil || len(past) != 4 || !slices.ContainsFunc(past, func(p *bus.Past) bool { return p.State == "failed" && p.Error == "no such function" }) {
			t.Errorf("%v %v", past, err)
		}
	})
}

// TestHolds: whether a push waits, and until when.
func TestHolds(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := open(t, db)
		b.rule(t, "log", `{"source":["my.app"]}`, target("log", "arn:aws:logs:eu-west-1:000000000012:log-group:/all"))
		e := &event.Event{ID: "x", Place: here, Source: "my.app", DetailType: "thing", Time: time.Now(), Detail: json.RawMessage("{}")}
		if b.Holds(e) {
			t.Error("a log group makes a push wait")
		}
		b.rule(t, "call", `{"source":["my.app"]}`, target("call", function("slow")))
		if !b.Holds(e) {
			t.Error("a function does not make a push wait")
		}
		release := make(chan struct{})
		b.lambda.fail = func(*bus.Delivery) error { <-release; return errors.New("failed") }
		id := b.put(t, "k", 1)
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := b.FirstAttempts(short, id); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first attempt is still running: %v", err)
		}
		close(release)
		if err := b.FirstAttempts(t.Context(), id); err != nil {
			t.Error(err)
		}
	})
}

// TestMany: 10,000 events through 20 rules: none lost, and memory stays bounded.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	db := sqldbtest.SQLite(t)
	b := open(t, db)
	const events, rules = 10_000, 20
	for i := range rules {
		b.rule(t, fmt.Sprint("rule", i), fmt.Sprintf(`{"source":["my.app"],"detail":{"n":[{"numeric":[">=",%d]}]}}`, 0), target("f", function(fmt.Sprint("f", i))))
	}
	var mu sync.Mutex
	seen, most := map[string]int{}, uint64(0)
	b.lambda.fail = func(d *bus.Delivery) error {
		mu.Lock()
		seen[d.EventID+d.Receiver]++
		if len(seen)%5000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		mu.Unlock()
		b.lambda.mu.Lock()
		b.lambda.got = nil
		b.lambda.mu.Unlock()
		return nil
	}
	start := time.Now()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range events / 8 {
				b.put(t, fmt.Sprint("repository", (w*31+i)%50), i)
			}
		})
	}
	wg.Wait()
	put := time.Since(start)
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		mu.Lock()
		n := len(seen)
		mu.Unlock()
		if n == events*rules {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d deliveries", n, events*rules)
		}
	}
	t.Logf("%d events put in %s, %d deliveries after %s: %.0f a second; heap at most %d MiB", events, put, events*rules, time.Since(start),
		events*rules/time.Since(start).Seconds(), most>>20)
	if most > 256<<20 {
		t.Errorf("the heap grew to %d MiB", most>>20)
	}
}

// TestArchive: what a bus carried can be put on it again, for chosen rules, and is not
// archived twice.
func TestArchive(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		source := "arn:aws:events:eu-west-1:000000000012:event-bus/default"
		a := &bus.Archive{Resource: bus.Resource{Place: here, Kind: bus.ArchiveKind, Name: "all"}, Source: source, Pattern: `{"source":["my.app"],"detail":{"n":[{"numeric":["<",150]}]}}`, Retention: 1}
		if err := b.Create(ctx, a); err != nil {
			t.Fatal(err)
		}
		if err := b.Create(ctx, a); bus.CodeOf(err) != bus.AlreadyExists {
			t.Errorf("the second time: %v", err)
		}
		start := time.Now()
		const events = 200
		for i := range events {
			b.put(t, "k", i)
		}
		eventually(t, "the archive", func() bool { n, size, err := b.Archived(ctx, a); return err == nil && n == 150 && size > 0 })
		b.rule(t, "wanted", `{"source":["my.app"]}`, target("f", function("f")))
		b.rule(t, "other", `{"source":["my.app"]}`, target("g", function("g")))
		r := &bus.Replay{Resource: bus.Resource{Place: here, Kind: bus.ReplayKind, Name: "again"}, Archive: a.ARN(), Bus: source, Rules: []string{bus.RuleARN(here, "default", "wanted")},
			From: start.Add(-time.Second).UnixMicro(), To: time.Now().Add(time.Second).UnixMicro()}
		bad := *r
		bad.Bus = "arn:aws:events:eu-west-1:000000000012:event-bus/mine"
		if err := b.Create(ctx, &bad); bus.CodeOf(err) != bus.Validation {
			t.Errorf("to another bus: %v", err)
		}
		if err := b.Create(ctx, r); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the replay", func() bool {
			x := &bus.Replay{Resource: bus.Resource{Place: here, Kind: bus.ReplayKind, Name: "again"}}
			return b.Find(ctx, x) == nil && x.State == bus.Completed
		})
		eventually(t, "its deliveries", func() bool { return b.lambda.count() == 150 })
		time.Sleep(100 * time.Millisecond)
		for i, d := range b.lambda.got {
			if d.Receiver != function("f") || !strings.Contains(string(d.Input), `"replay-name":"again"`) || !strings.Contains(string(d.Input), fmt.Sprintf(`"n":%d,`, i)) {
				t.Fatalf("delivery %d: %s %s", i, d.Receiver, d.Input)
			}
		}
		if n, _, err := b.Archived(ctx, a); err != nil || n != 150 {
			t.Errorf("%d events after the replay: %v", n, err)
		}
		if err := b.Remove(ctx, &a.Resource); err != nil {
			t.Fatal(err)
		}
		if n, _, err := b.Archived(ctx, a); err != nil || n != 0 {
			t.Errorf("%d events are left: %v", n, err)
		}
	})
}

// TestConnection: secrets rest sealed, and come back for calls only.
func TestConnection(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		c := &bus.Connection{Resource: bus.Resource{Place: here, Kind: bus.ConnectionKind, Name: "c"}, Auth: bus.APIKey, User: "X-Key", Secret: "canary-key",
			Headers: []bus.Parameter{{Key: "a", Value: "plain"}, {Key: "b", Value: "canary-header", Secret: true}}}
		if err := b.Create(ctx, c); err != nil {
			t.Fatal(err)
		}
		d := &bus.Destination{Resource: bus.Resource{Place: here, Kind: bus.DestinationKind, Name: "d"}, Connection: c.ARN(), Endpoint: "https://example.com/*", Method: "POST"}
		if err := b.Create(ctx, d); err != nil {
			t.Fatal(err)
		}
		_, got, err := b.Endpoint(ctx, d.ARN())
		if err != nil || got.Secret != "canary-key" || got.Headers[0].Value != "plain" || got.Headers[1].Value != "canary-header" {
			t.Errorf("%+v %v", got, err)
		}
		var n int
		if err := db.QueryRow(ctx, []any{&n}, "select count(*) from event_resources where body like '%canary%'"); err != nil || n != 0 {
			t.Errorf("a secret rests in the open: %v", err)
		}
		for _, bad := range []*bus.Destination{{Endpoint: "ftp://x", Method: "POST", Connection: c.ARN()}, {Endpoint: "https://x", Method: "BREW", Connection: c.ARN()},
			{Endpoint: "https://x", Method: "POST", Connection: "arn:aws:events:eu-west-1:000000000012:connection/none/1"}, {Endpoint: "https://u:p@x", Method: "POST", Connection: c.ARN()}} {
			bad.Resource = bus.Resource{Place: here, Kind: bus.DestinationKind, Name: "bad"}
			if err := b.Create(ctx, bad); bus.CodeOf(err) != bus.Validation && bus.CodeOf(err) != bus.NotFound {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}
