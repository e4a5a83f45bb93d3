package logs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/logs"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

var here, there = arn.Place{Account: "000000000012", Region: "eu-west-1"}, arn.Place{Account: "000000000034", Region: "eu-west-1"}

func code(t *testing.T, err error, want logs.Code) {
	t.Helper()
	if logs.CodeOf(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestLogs(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.Migrate(t.Context(), "logs", logs.Migrations()); err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
		l := logs.New(db, secret.NewMaster(make([]byte, 32)), func() time.Time { return now }, nil)
		ctx := t.Context()
		for _, p := range []arn.Place{here, there} {
			if err := l.CreateGroup(ctx, &logs.Group{Place: p, Name: "/g", Tags: map[string]string{"k": "v"}}); err != nil {
				t.Fatal(err)
			}
		}
		code(t, l.CreateGroup(ctx, &logs.Group{Place: here, Name: "/g"}), logs.AlreadyExists)
		code(t, l.CreateGroup(ctx, &logs.Group{Place: here, Name: "a b"}), logs.InvalidParameter)
		code(t, l.CreateGroup(ctx, &logs.Group{Place: here, Name: strings.Repeat("x", 513)}), logs.InvalidParameter)
		entry := func(ago time.Duration, text string) logs.Entry { return logs.Entry{At: now.Add(-ago), Message: text} }
		_, err := l.Put(ctx, here, "/g", "s", []logs.Entry{entry(0, "x")})
		code(t, err, logs.NotFound)
		for _, s := range []string{"s", "t"} {
			if err := l.CreateStream(ctx, here, "/g", s); err != nil {
				t.Fatal(err)
			}
		}
		code(t, l.CreateStream(ctx, here, "/g", "s"), logs.AlreadyExists)
		code(t, l.CreateStream(ctx, here, "/g", "a:b"), logs.InvalidParameter)
		code(t, l.CreateStream(ctx, here, "/g", strings.Repeat("é", 513)), logs.InvalidParameter)
		code(t, l.CreateStream(ctx, here, "/g", strings.Repeat("é", 512)), "")
		_, err = l.Put(ctx, here, "/g", "s", []logs.Entry{entry(0, "b"), entry(time.Second, "a")})
		code(t, err, logs.InvalidParameter)
		rejected, err := l.Put(ctx, here, "/g", "s", []logs.Entry{entry(30*24*time.Hour, "old"), entry(2*time.Second, "one"), entry(time.Second, "tw\x00o\xff"), entry(-3*time.Hour, "new")})
		if err != nil || rejected != (logs.Rejected{TooOld: 1, TooNew: 3}) {
			t.Errorf("%+v %v", rejected, err)
		}
		if err := l.Append(ctx, here, "/new", logs.Output{Stream: "made", Entries: []logs.Entry{entry(0, "first")}}); err != nil {
			t.Error(err)
		}
		if _, err := l.Put(ctx, here, "/g", "t", []logs.Entry{entry(1500*time.Millisecond, "between")}); err != nil {
			t.Fatal(err)
		}
		list, err := l.Events(ctx, here, "/g", logs.EventQuery{End: 1 << 62, Limit: 10})
		if got := texts(list); err != nil || got != "one between tw\uFFFDo\uFFFD" {
			t.Errorf("%q %v", got, err)
		}
		back, err := l.Events(ctx, here, "/g", logs.EventQuery{End: 1 << 62, Limit: 1, Backward: true, After: &list[2].Key, Streams: []string{"s"}})
		if got := texts(back); err != nil || got != "one" {
			t.Errorf("before the last of s: %q %v", got, err)
		}
		if other, err := l.Events(ctx, there, "/g", logs.EventQuery{End: 1 << 62, Limit: 10}); err != nil || len(other) != 0 {
			t.Errorf("another account sees %v %v", other, err)
		}
		code(t, l.UpdateGroup(ctx, here, "/g", func(g *logs.Group) { g.Retention = 2 }), logs.InvalidParameter)
		if err := l.UpdateGroup(ctx, here, "/g", func(g *logs.Group) { g.Retention = 1 }); err != nil {
			t.Fatal(err)
		}
		now = now.Add(25 * time.Hour)
		if err := l.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if left, err := l.Events(ctx, here, "/g", logs.EventQuery{End: 1 << 62, Limit: 10}); err != nil || len(left) != 0 {
			t.Errorf("past the retention: %v %v", left, err)
		}
		if kept, err := l.Events(ctx, here, "/new", logs.EventQuery{End: 1 << 62, Limit: 10}); err != nil || len(kept) != 1 {
			t.Errorf("without a retention: %v %v", kept, err)
		}
		if err := l.DeleteGroup(ctx, here, "/new"); err != nil {
			t.Fatal(err)
		}
		if err := l.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow(ctx, []any{&n}, "select (select count(*) from log_events) + (select count(*) from log_garbage)"); err != nil || n != 0 {
			t.Errorf("%d rows are left: %v", n, err)
		}
		_, err = l.Events(ctx, here, "/new", logs.EventQuery{Limit: 1})
		code(t, err, logs.NotFound)
	})
}

func texts(list []*logs.Event) string {
	var out []string
	for _, e := range list {
		out = append(out, e.Message)
	}
	return strings.Join(out, " ")
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		filter, message string
		want            bool
	}{
		{"", "anything", true}, {"ERROR", "an ERROR here", true}, {"ERROR", "an error here", false}, {"a b", "b then a", true}, {"a b", "only a", false},
		{`"a b"`, "x a b y", true}, {`"a b"`, "a  b", false}, {"-x", "y", true}, {"-x", "x", false}, {"a -x", "a x", false}, {"?a ?b", "b", true}, {"?a ?b", "c", false},
		{"%^\\d+$%", "123", true}, {"%^\\d+$%", "a123", false}, {`-"a b" c`, "a b c", false},
		{`{ $.level = "ERROR" }`, `{"level":"ERROR"}`, true}, {`{$.level=ERROR}`, `{"level":"ERROR"}`, true}, {`{ $.level = "ERROR" }`, `{"level":"INFO"}`, false},
		{`{ $.level = "ERR*" }`, `{"level":"ERROR"}`, true}, {`{ $.level = "*R" }`, `{"level":"ERRORS"}`, false}, {`{ $.level = * }`, `{"level":1}`, true}, {`{ $.level = * }`, `{"other":1}`, false},
		{`{ $.level != INFO }`, `{"level":"WARN"}`, true}, {`{ $.level != INFO }`, `{"level":"INFO"}`, false}, {`{ $.level != INFO }`, `{}`, false},
		{`{ $.n > 10 }`, `{"n":10.5}`, true}, {`{ $.n > 10 }`, `{"n":10}`, false}, {`{ $.n >= 1e1 }`, `{"n":10}`, true}, {`{ $.n < 0 }`, `{"n":-1}`, true}, {`{ $.n <= 5 }`, `{"n":"5"}`, false},
		{`{ $.n = 404 }`, `{"n":404}`, true}, {`{ $.n = 404 }`, `{"n":"404"}`, true}, {`{ $.n = 404.0 }`, `{"n":404}`, true}, {`{ $.n = 4* }`, `{"n":404}`, true}, {`{ $.n = "404" }`, `{"n":404}`, false},
		{`{ $.a.b[1].c = x }`, `{"a":{"b":[0,{"c":"x"}]}}`, true}, {`{ $.a.b[2].c = x }`, `{"a":{"b":[0,{"c":"x"}]}}`, false}, {`{ $.a[*] = x }`, `{"a":["y","x"]}`, true}, {`{ $.a[*].b = 1 }`, `{"a":[{"b":2}]}`, false},
		{`{ $['a b'].c = 1 }`, `{"a b":{"c":1}}`, true}, {`{ $.user-agent = "curl/*" }`, `{"user-agent":"curl/8 (x)"}`, true},
		{`{ $.x IS NULL }`, `{"x":null}`, true}, {`{ $.x IS NULL }`, `{}`, false}, {`{ $.x IS TRUE }`, `{"x":true}`, true}, {`{ $.x is false }`, `{"x":true}`, false}, {`{ $.x NOT EXISTS }`, `{"y":1}`, true},
		{`{ $.x NOT EXISTS }`, `{"x":null}`, false}, {`{ $.x EXISTS }`, `{"x":null}`, true},
		{`{ $.a = 1 && $.b = 2 }`, `{"a":1,"b":2}`, true}, {`{ $.a = 1 && $.b = 2 }`, `{"a":1,"b":3}`, false}, {`{ $.a = 1 || $.b = 2 }`, `{"b":2}`, true},
		{`{ $.a = 1 || $.a = 2 && $.b = 1 }`, `{"a":1}`, true}, {`{ ($.a = 1 || $.a = 2) && $.b = 1 }`, `{"a":1}`, false}, {`{ ($.a = 1) && ($.b = "x)y") }`, `{"a":1,"b":"x)y"}`, true},
		{`{ $.m = %^a+$% }`, `{"m":"aaa"}`, true}, {`{ $.m = %^a+$% }`, `{"m":"aab"}`, false}, {`{ $.q = "a \"b\"" }`, `{"q":"a \"b\""}`, true},
		{`{ $.a = 1 }`, `not json`, false}, {`{ $.a = 1 }`, `{"a":1} trailing`, false}, {`{ $.a NOT EXISTS }`, `not json`, false}, {`{ $.a NOT EXISTS }`, `[1]`, false},
		{`[ip, user, status=4*]`, "10.0.0.1 me 404", true}, {`[ip, user, status=4*]`, "10.0.0.1 me 200", false}, {`[ip, user]`, "10.0.0.1 me 404", false}, {`[ip, ..., status>=500, bytes]`, `10.0.0.1 - [1 Jan 2026] "GET / HTTP/1.1" 502 12`, true},
		{`[ip, ..., status>=500, bytes]`, "a b 200 12", false}, {`[..., last != x]`, "a b x", false}, {`[a, ...]`, "", false}, {`[...]`, "", true}, {`[w1=ERROR || w1=WARN, ...]`, "WARN disk", true}, {`[ip, id, user, time, request="GET *", ...]`, `1 - me [now then] "GET /x y" 1 2`, true},
	} {
		f, err := logs.ParseFilter(c.filter)
		if err != nil {
			t.Errorf("%q: %v", c.filter, err)
			continue
		}
		if got := f.Match(c.message); got != c.want {
			t.Errorf("%q matches %q: %v", c.filter, c.message, got)
		}
	}
	for _, bad := range []string{`"open`, "%open", "%(%", "{", "{}", "{ $.x }", "{ $.x = }", "{ $.x = 1", "{ x = 1 }", "{ $.x = 1 } more", "{ ($.x = 1 }", "{ $.x = 1 && }", "{ $.x > a }", `{ $.x = "a }`, "{ $.x = %(% }", "{ $.x[ = 1 }",
		"{ $.x[-1] = 1 }", "{ $. = 1 }", "{ $.x IS MAYBE }", "{ $.x NOT }", "[", "[a", "[]", "[a,]", "[a, ..., ...]", "[a b]", "[a > b]", "[a] more", "[a = 1 || b = 2]", strings.Repeat("a", 1025), "{" + strings.Repeat("(", 600) + "$.a=1"} {
		_, err := logs.ParseFilter(bad)
		code(t, err, logs.InvalidParameter)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`ERROR -"not this" ?maybe %re%`, "ERROR maybe")
	f.Add(`{ ($.a.b[0] = "x*" || $['c'] >= 1e3) && $.d[*] IS NULL && $.e NOT EXISTS && $.f != %re% }`, `{"a":{"b":["xy"]},"c":1000,"d":[null]}`)
	f.Add(`[a, b = "x y" || b != 4*, ..., c > 5]`, `1 "x y" [2 3] 6`)
	f.Fuzz(func(t *testing.T, text, message string) {
		x, err := logs.ParseFilter(text)
		if err == nil {
			x.Match(message)
		} else if logs.CodeOf(err) != logs.InvalidParameter {
			t.Error(fmt.Errorf("%q: %w", text, err))
		}
	})
}
