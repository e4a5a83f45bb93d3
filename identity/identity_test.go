package identity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

const account = arn.Account("000000000012")

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func plane(t *testing.T, db *sqldb.DB) (*identity.Identity, *clock, identity.Credentials) {
	t.Helper()
	if err := db.Migrate(t.Context(), "identity", identity.Migrations()); err != nil {
		t.Fatal(err)
	}
	c := &clock{time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	id := identity.New(db, secret.NewMaster(make([]byte, 32)), identity.Options{Now: c.now})
	cred, err := id.EnsureAccount(t.Context(), account, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	return id, c, cred
}

func TestAccount(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, cred := plane(t, db)
		ctx := t.Context()
		again, err := id.EnsureAccount(ctx, account, "test", &identity.Credentials{AccessKeyID: "AKIAOTHER", Secret: "x"})
		if err != nil || again != cred {
			t.Errorf("second start: %v %v, want the first key", again, err)
		}
		k, err := id.LookupKey(ctx, cred.AccessKeyID, "")
		if err != nil || k.Secret != cred.Secret || k.Principal.ARN != "arn:aws:iam::000000000012:root" {
			t.Errorf("LookupKey: %+v, %v", k, err)
		}
		if _, err := id.LookupKey(ctx, "AKIANOBODY", ""); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("unknown key: %v", err)
		}
		for a, want := range map[arn.Account]bool{account: true, "999999999999": false} {
			if has, err := id.Account(ctx, a); err != nil || has != want {
				t.Errorf("Account(%s) = %v, %v", a, has, err)
			}
		}
		var sealed []byte
		if err := db.QueryRow(ctx, []any{&sealed}, "select secret from access_keys"); err != nil || bytes.Contains(sealed, []byte(cred.Secret.Reveal())) {
			t.Errorf("the secret lies open in the database (%v)", err)
		}
	})
}

// TestRevokedKey: a key set inactive stops working within five seconds, and with
// it the registry tokens it asked for.
func TestRevokedKey(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, clock, cred := plane(t, db)
		k, err := id.LookupKey(t.Context(), cred.AccessKeyID, "")
		if err != nil {
			t.Fatal(err)
		}
		token, _ := id.IssueToken(k.Principal, account, "us-east-1")
		if _, err := id.VerifyToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec("update access_keys set active = 0 where account = $1", account)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		clock.t = clock.t.Add(5 * time.Second)
		if _, err := id.LookupKey(t.Context(), cred.AccessKeyID, ""); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("revoked key: %v", err)
		}
		if _, err := id.VerifyToken(t.Context(), token); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("token of a revoked key: %v", err)
		}
	})
}

func TestToken(t *testing.T) {
	id, clock, cred := plane(t, sqldbtest.SQLite(t))
	ctx := t.Context()
	k, err := id.LookupKey(ctx, cred.AccessKeyID, "")
	if err != nil {
		t.Fatal(err)
	}
	token, expires := id.IssueToken(k.Principal, "000000000099", "eu-west-1")
	if strings.ContainsAny(token, ": \t\n") || len(token) > 1024 {
		t.Errorf("password %q", token)
	}
	if want := clock.t.Add(12 * time.Hour); !expires.Equal(want) {
		t.Errorf("expires %v, want %v", expires, want)
	}
	got, err := id.VerifyToken(ctx, token)
	if err != nil || got.Principal != k.Principal || got.Registry != "000000000099" || got.Region != "eu-west-1" {
		t.Errorf("VerifyToken: %+v, %v", got, err)
	}
	for i := range token {
		for _, c := range []byte("A_") {
			m := []byte(token)
			if m[i] == c {
				continue
			}
			m[i] = c
			if tok, err := id.VerifyToken(ctx, string(m)); err == nil && tok != got {
				t.Fatalf("byte %d changed and accepted", i)
			}
		}
	}
	other := identity.New(nil, secret.NewMaster(bytes.Repeat([]byte{1}, 32)), identity.Options{Now: clock.now})
	foreign, _ := other.IssueToken(k.Principal, account, "eu-west-1")
	session, err := id.SessionToken(ctx, k.Principal, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"empty": "", "another deployment's": foreign, "a session token": session.SessionToken,
		"long": strings.Repeat("A", 1<<20)} {
		if _, err := id.VerifyToken(ctx, bad); !errors.Is(err, identity.ErrBadToken) {
			t.Errorf("%s: %v, want ErrBadToken", name, err)
		}
	}
	clock.t = expires.Add(-time.Second)
	if _, err := id.VerifyToken(ctx, token); err != nil {
		t.Errorf("a second before the end: %v", err)
	}
	clock.t = expires
	if _, err := id.VerifyToken(ctx, token); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("at the end: %v, want ErrExpired", err)
	}
}

func TestSession(t *testing.T) {
	id, clock, cred := plane(t, sqldbtest.SQLite(t))
	ctx := t.Context()
	k, _ := id.LookupKey(ctx, cred.AccessKeyID, "")
	a, err := id.SessionToken(ctx, k.Principal, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b, err := id.SessionToken(ctx, k.Principal, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got, err := id.LookupKey(ctx, a.AccessKeyID, a.SessionToken)
	if err != nil || got.Secret != a.Secret || got.Principal.ARN != k.Principal.ARN || got.Principal.AccessKeyID != a.AccessKeyID {
		t.Errorf("%+v, %v", got, err)
	}
	for name, c := range map[string][2]string{"swapped": {a.AccessKeyID, b.SessionToken}, "without token": {a.AccessKeyID, ""},
		"token with a long-term key": {cred.AccessKeyID, a.SessionToken}} {
		if _, err := id.LookupKey(ctx, c[0], c[1]); !errors.Is(err, identity.ErrBadToken) {
			t.Errorf("%s: %v, want ErrBadToken", name, err)
		}
	}
	clock.t = a.Expires
	if _, err := id.LookupKey(ctx, a.AccessKeyID, a.SessionToken); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("at the end: %v", err)
	}
}

func TestGrant(t *testing.T) {
	id, clock, _ := plane(t, sqldbtest.SQLite(t))
	g := identity.Grant{Place: arn.Place{Account: account, Region: "eu-west-1"}, Repository: "a/b", Digest: "sha256:00"}
	token := id.IssueGrant(arn.Root(account), g, time.Minute)
	if p, place, err := id.OpenGrant(token, "a/b", "sha256:00"); err != nil || place != g.Place || p.Account != account {
		t.Errorf("%v %v %v", p, place, err)
	}
	for _, c := range [][2]string{{"a/c", "sha256:00"}, {"a/b", "sha256:01"}} {
		if _, _, err := id.OpenGrant(token, c[0], c[1]); !errors.Is(err, identity.ErrBadToken) {
			t.Errorf("%v: %v", c, err)
		}
	}
	clock.t = clock.t.Add(time.Minute)
	if _, _, err := id.OpenGrant(token, "a/b", "sha256:00"); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("at the end: %v", err)
	}
}

func TestAuthorize(t *testing.T) {
	id, _, _ := plane(t, sqldbtest.SQLite(t))
	if _, _, err := id.CreateAccount(t.Context(), "000000000098", "other"); err != nil {
		t.Fatal(err)
	}
	here := arn.Place{Account: account, Region: "eu-west-1"}
	for _, c := range []struct {
		who      arn.Principal
		resource string
		allowed  bool
		reason   string
	}{
		{arn.Root(account), arn.Repository(here, "a").String(), true, ""},
		{arn.Root(account), "*", true, ""},
		{arn.Root("000000000099"), arn.Repository(here, "a").String(), false, "because no identity-based policy allows the ecr:PutImage action"}, // no such account
		{arn.Root("000000000098"), arn.Repository(here, "a").String(), false, "because no resource-based policy allows the ecr:PutImage action"},
		{arn.Root("000000000098"), "*", false, "because no resource-based policy allows the ecr:PutImage action"},
		{arn.Principal{Kind: arn.KindUser, Account: account, ID: "AIDANOBODY", ARN: "arn:aws:iam::000000000012:user/u"}, "*", false,
			"because no identity-based policy allows the ecr:PutImage action"},
	} {
		d, err := id.Authorize(context.Background(), gate.Call{Principal: c.who, Place: here, Service: "ecr"}, "PutImage", c.resource)
		if err != nil || d.Allowed != c.allowed || d.Reason != c.reason {
			t.Errorf("%s on %s: %+v, %v", c.who.ARN, c.resource, d, err)
		}
	}
}

// TestSecretsDoNotPrint: credentials in logs and errors show as stars.
func TestSecretsDoNotPrint(t *testing.T) {
	var out bytes.Buffer
	c := identity.Credentials{AccessKeyID: "AKIA", Secret: "hunter2"}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "credentials", c, "secret", c.Secret)
	fmt.Fprintf(&out, "%v %+v %#v %s", c, c, c, c.Secret)
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the secret printed: %s", out.String())
	}
}
