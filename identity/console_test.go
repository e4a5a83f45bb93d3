package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestBrowsers: a session of a browser lasts as long as it is used, at most twelve hours,
// and no longer than its key; a link is good once.
func TestBrowsers(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, clk, _ := plane(t, db)
		ctx := t.Context()
		user(t, id, "alice")
		key, _, err := id.CreateKey(ctx, account, "alice")
		if err != nil {
			t.Fatal(err)
		}
		open := func() secret.String {
			t.Helper()
			token, err := id.OpenBrowser(ctx, key.AccessKeyID, "")
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		want := func(what string, token secret.String, good bool) {
			t.Helper()
			b, err := id.Browser(ctx, token)
			if good && (err != nil || b.Principal.AccessKeyID != key.AccessKeyID || b.Principal.Account != account) || !good && !errors.Is(err, identity.ErrNoBrowser) {
				t.Errorf("%s: %+v %v", what, b, err)
			}
		}
		token, other := open(), open()
		want("fresh", token, true)
		want("forged", token+"x", false)
		want("none", "", false)
		for range 14 { // used each 50 minutes, which makes 11 hours and 40 minutes
			clk.t = clk.t.Add(50 * time.Minute)
			want("in use", token, true)
		}
		clk.t = clk.t.Add(30 * time.Minute)
		want("after twelve hours", token, false)
		want("unused", other, false)

		token, other = open(), open()
		if err := id.CloseBrowser(ctx, token); err != nil {
			t.Fatal(err)
		}
		want("signed out", token, false)
		want("the other one", other, true)
		if err := id.SetKeyActive(ctx, account, "alice", key.AccessKeyID, false); err != nil {
			t.Fatal(err)
		}
		want("with an inactive key", other, false)
		if err := id.SetKeyActive(ctx, account, "alice", key.AccessKeyID, true); err != nil {
			t.Fatal(err)
		}
		want("with an active key again", other, true)

		p, err := id.LookupKey(ctx, key.AccessKeyID, "")
		if err != nil {
			t.Fatal(err)
		}
		code, err := id.CreateLink(ctx, p.Principal)
		if err != nil {
			t.Fatal(err)
		}
		want("a link as a session", code, false)
		if token, err = id.RedeemLink(ctx, code); err != nil {
			t.Fatal(err)
		}
		want("by a link", token, true)
		if _, err := id.RedeemLink(ctx, code); !errors.Is(err, identity.ErrNoBrowser) {
			t.Errorf("a link again: %v", err)
		}
		if _, err := id.RedeemLink(ctx, token); !errors.Is(err, identity.ErrNoBrowser) {
			t.Errorf("a session as a link: %v", err)
		}
		late, err := id.CreateLink(ctx, p.Principal)
		if err != nil {
			t.Fatal(err)
		}
		clk.t = clk.t.Add(11 * time.Minute)
		if _, err := id.RedeemLink(ctx, late); !errors.Is(err, identity.ErrNoBrowser) {
			t.Errorf("a link that is too old: %v", err)
		}

		// Temporary credentials: the session ends with them.
		c, err := id.SessionToken(ctx, p.Principal, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if token, err = id.OpenBrowser(ctx, c.AccessKeyID, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := id.Browser(ctx, token); err != nil {
			t.Errorf("temporary: %v", err)
		}
		clk.t = clk.t.Add(59 * time.Minute)
		if _, err := id.Browser(ctx, token); err != nil {
			t.Errorf("temporary, near its end: %v", err)
		}
		clk.t = clk.t.Add(2 * time.Minute)
		want("temporary, over", token, false)
		if _, err := id.OpenBrowser(ctx, "AKIANOBODY", ""); !errors.Is(err, identity.ErrNoBrowser) {
			t.Errorf("with no key: %v", err)
		}
		clk.t = clk.t.Add(24 * time.Hour)
		if err := id.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow(ctx, []any{&n}, "select count(*) from console_sessions"); err != nil || n != 0 {
			t.Errorf("%d sessions are kept, %v", n, err)
		}
	})
}
