package identity_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestForgedTokens changes registry tokens, session tokens, download grants and
// page tokens at random and accepts none of them.
func TestForgedTokens(t *testing.T) {
	id, _, cred := plane(t, sqldbtest.SQLite(t))
	ctx := t.Context()
	k, err := id.LookupKey(ctx, cred.AccessKeyID, "")
	if err != nil {
		t.Fatal(err)
	}
	session, err := id.SessionToken(ctx, k.Principal, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := id.IssueToken(k.Principal, account, "eu-west-1")
	grant := id.IssueGrant(k.Principal, identity.Grant{Place: arn.Place{Account: account, Region: "eu-west-1"}, Repository: "a/b", Digest: "sha256:00"}, time.Hour)
	page := id.PageToken("ListUsers /", "alice")
	accepted := map[string]func(string) bool{
		token:                func(s string) bool { _, err := id.VerifyToken(ctx, s); return err == nil },
		session.SessionToken: func(s string) bool { _, err := id.LookupKey(ctx, session.AccessKeyID, s); return err == nil },
		grant:                func(s string) bool { _, _, err := id.OpenGrant(s, "a/b", "sha256:00"); return err == nil },
		page:                 func(s string) bool { _, err := id.OpenPageToken("ListUsers /", s); return err == nil && s != "" },
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
	r := rand.New(rand.NewPCG(5, 6))
	n := 0
	for good, ok := range accepted {
		if !ok(good) {
			t.Fatalf("the good one is refused: %s", good)
		}
		for range 5_100 {
			b := []byte(good)
			for range 1 + r.IntN(3) {
				i := r.IntN(len(b))
				switch r.IntN(3) {
				case 0:
					b[i] = alphabet[r.IntN(len(alphabet))]
				case 1:
					b = append(b[:i], b[i+1:]...)
				case 2:
					b = append(b[:i], append([]byte{alphabet[r.IntN(len(alphabet))]}, b[i:]...)...)
				}
			}
			if string(b) == good {
				continue
			}
			if n++; ok(string(b)) {
				t.Errorf("accepted %q for %q", b, good)
			}
		}
	}
	t.Logf("%d forged tokens", n)
}
