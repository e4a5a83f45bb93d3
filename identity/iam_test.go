package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"%s","Resource":"*"}]}`

func wantCode(t *testing.T, what string, err error, want identity.Code) {
	t.Helper()
	if identity.CodeOf(err) != want || want == "" && err != nil {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func user(t *testing.T, id *identity.Identity, name string) *identity.Entity {
	t.Helper()
	return must(id.CreateEntity(t.Context(), identity.NewEntity{Account: account, Kind: identity.User, Name: name}))(t)
}

func principal(e *identity.Entity) arn.Principal {
	return arn.Principal{Kind: arn.KindUser, Account: e.Account, ARN: e.ARN(), ID: e.ID}
}

func may(t *testing.T, id *identity.Identity, p arn.Principal, action string) bool {
	t.Helper()
	c := gate.Call{Principal: p, Service: "ecr", Place: arn.Place{Account: account, Region: "eu-west-1"}}
	d, err := id.Authorize(t.Context(), c, action, arn.Repository(c.Place, "app").String())
	if err != nil {
		t.Fatal(err)
	}
	return d.Allowed
}

func TestEntities(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		for name, n := range map[string]identity.NewEntity{"empty name": {}, "long name": {Name: strings.Repeat("a", 65)}, "odd name": {Name: "a/b"}, "odd path": {Name: "a", Path: "x"},
			"open path": {Name: "a", Path: "/x"}, "reserved tag": {Name: "a", Tags: map[string]string{"AWS:x": ""}}} {
			n.Account, n.Kind = account, identity.User
			if _, err := id.CreateEntity(ctx, n); identity.CodeOf(err) != identity.ValidationError && identity.CodeOf(err) != identity.InvalidInput {
				t.Errorf("%s: %v", name, err)
			}
		}
		u := must(id.CreateEntity(ctx, identity.NewEntity{Account: account, Kind: identity.User, Name: "Alice", Path: "/team/", Tags: map[string]string{"k": "v"}}))(t)
		if u.ARN() != "arn:aws:iam::000000000012:user/team/Alice" || !strings.HasPrefix(u.ID, "AIDA") {
			t.Errorf("%+v", u)
		}
		_, err := id.CreateEntity(ctx, identity.NewEntity{Account: account, Kind: identity.User, Name: "aLICE"})
		wantCode(t, "another case", err, identity.EntityAlreadyExists)
		got := must(id.Entity(ctx, account, identity.User, "alice"))(t)
		if got.ID != u.ID || got.Tags["k"] != "v" || got.Name != "Alice" {
			t.Errorf("%+v", got)
		}
		_, err = id.Entity(ctx, "000000000099", identity.User, "alice")
		wantCode(t, "another account", err, identity.NoSuchEntity)
		for _, n := range []string{"bob", "carol", "dave"} {
			user(t, id, n)
		}
		var names []string
		for after := ""; ; {
			list := must(id.Entities(ctx, account, identity.User, "/", after, 2))(t)
			if len(list) == 0 {
				break
			}
			for _, e := range list {
				names = append(names, e.Name)
			}
			after = list[len(list)-1].Name
		}
		if fmt.Sprint(names) != "[Alice bob carol dave]" {
			t.Errorf("paged: %v", names)
		}
		if list := must(id.Entities(ctx, account, identity.User, "/team/", "", 10))(t); len(list) != 1 {
			t.Errorf("under a path: %d", len(list))
		}
		c, _, err := id.CreateKey(ctx, account, "alice")
		wantCode(t, "key", err, "")
		wantCode(t, "rename onto another", id.RenameEntity(ctx, account, identity.User, "alice", "bob", ""), identity.EntityAlreadyExists)
		wantCode(t, "rename", id.RenameEntity(ctx, account, identity.User, "alice", "anna", "/"), "")
		if k := must(id.LookupKey(ctx, c.AccessKeyID, ""))(t); k.Principal.ARN != "arn:aws:iam::000000000012:user/anna" || k.Principal.ID != u.ID {
			t.Errorf("the key of a renamed user: %+v", k.Principal)
		}
		wantCode(t, "delete with a key", id.DeleteEntity(ctx, account, identity.User, "anna"), identity.DeleteConflict)
		wantCode(t, "delete the key", id.DeleteKey(ctx, account, "anna", c.AccessKeyID), "")
		wantCode(t, "delete", id.DeleteEntity(ctx, account, identity.User, "anna"), "")
		wantCode(t, "delete again", id.DeleteEntity(ctx, account, identity.User, "anna"), identity.NoSuchEntity)
	})
}

func TestKeys(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		user(t, id, "alice")
		user(t, id, "bob")
		var done sync.WaitGroup
		var mu sync.Mutex
		var made []string
		for range 8 { // eight at once, of which two may succeed
			done.Go(func() {
				c, _, err := id.CreateKey(ctx, account, "alice")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made = append(made, c.AccessKeyID)
				} else if identity.CodeOf(err) != identity.LimitExceeded {
					t.Error(err)
				}
			})
		}
		done.Wait()
		if len(made) != 2 {
			t.Fatalf("%d keys, want 2", len(made))
		}
		wantCode(t, "another user's key", id.DeleteKey(ctx, account, "bob", made[0]), identity.NoSuchEntity)
		wantCode(t, "switch off", id.SetKeyActive(ctx, account, "alice", made[0], false), "")
		if _, err := id.LookupKey(ctx, made[0], ""); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("a key that is off: %v", err)
		}
		id.Used(made[1], "ecr", "eu-west-1")
		if err := id.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		k, owner, err := id.KeyByID(ctx, account, made[1])
		if err != nil || owner != "alice" || k.UsedService != "ecr" || k.UsedAt.IsZero() {
			t.Errorf("%+v %s %v", k, owner, err)
		}
		if a := must(id.KeyAccount(ctx, made[1]))(t); a != account {
			t.Errorf("account %s", a)
		}
	})
}

func TestPolicies(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		u := user(t, id, "alice")
		p := principal(u)
		wantCode(t, "malformed", id.PutInline(ctx, account, identity.User, "alice", "x", `{"Statement":[]}`), identity.MalformedPolicyDocument)
		wantCode(t, "too long", id.PutInline(ctx, account, identity.User, "alice", "x", fmt.Sprintf(allow, "ecr:"+strings.Repeat("a", 2100))), identity.LimitExceeded)
		if may(t, id, p, "PutImage") {
			t.Error("allowed without a policy")
		}
		wantCode(t, "inline", id.PutInline(ctx, account, identity.User, "alice", "x", fmt.Sprintf(allow, "ecr:Put*")), "")
		if !may(t, id, p, "PutImage") || may(t, id, p, "ListImages") {
			t.Error("inline policy")
		}
		wantCode(t, "delete inline", id.DeleteInline(ctx, account, identity.User, "alice", "x"), "")
		wantCode(t, "delete inline again", id.DeleteInline(ctx, account, identity.User, "alice", "x"), identity.NoSuchEntity)

		m := must(id.CreatePolicy(ctx, identity.ManagedPolicy{Account: account, Name: "push", Path: "/team/"}, fmt.Sprintf(allow, "ecr:PutImage")))(t)
		policyARN := m.ARN()
		wantCode(t, "attach", id.Attach(ctx, account, identity.User, "alice", policyARN), "")
		wantCode(t, "attach again", id.Attach(ctx, account, identity.User, "alice", policyARN), "")
		wantCode(t, "attach a missing one", id.Attach(ctx, account, identity.User, "alice", identity.PolicyARN(account, "none")), identity.NoSuchEntity)
		wantCode(t, "attach by a wrong path", id.Attach(ctx, account, identity.User, "alice", identity.PolicyARN(account, "push")), identity.NoSuchEntity)
		wantCode(t, "attach another account's", id.Attach(ctx, account, identity.User, "alice", identity.PolicyARN("000000000099", "team/push")), identity.NoSuchEntity)
		if !may(t, id, p, "PutImage") || may(t, id, p, "ListImages") {
			t.Error("managed policy")
		}
		v2 := must(id.AddPolicyVersion(ctx, account, policyARN, fmt.Sprintf(allow, "ecr:ListImages"), false))(t)
		if !may(t, id, p, "PutImage") || v2.Number != 2 {
			t.Error("a version that is not the default counts")
		}
		wantCode(t, "make it the default", id.SetDefaultVersion(ctx, account, policyARN, "v2"), "")
		if may(t, id, p, "PutImage") || !may(t, id, p, "ListImages") {
			t.Error("the default version does not count")
		}
		wantCode(t, "default missing", id.SetDefaultVersion(ctx, account, policyARN, "v9"), identity.NoSuchEntity)
		for range 3 {
			must(id.AddPolicyVersion(ctx, account, policyARN, fmt.Sprintf(allow, "ecr:ListImages"), false))(t)
		}
		_, err := id.AddPolicyVersion(ctx, account, policyARN, fmt.Sprintf(allow, "ecr:ListImages"), false)
		wantCode(t, "a sixth version", err, identity.LimitExceeded)
		wantCode(t, "delete the default", id.DeletePolicyVersion(ctx, account, policyARN, "v2"), identity.DeleteConflict)
		wantCode(t, "delete an attached policy", id.DeletePolicy(ctx, account, policyARN), identity.DeleteConflict)
		wantCode(t, "detach", id.Detach(ctx, account, identity.User, "alice", policyARN), "")
		if may(t, id, p, "ListImages") {
			t.Error("still allowed after the detaching")
		}
		wantCode(t, "delete with versions", id.DeletePolicy(ctx, account, policyARN), identity.DeleteConflict)
		for _, v := range []string{"v1", "v3", "v4", "v5"} {
			wantCode(t, "delete "+v, id.DeletePolicyVersion(ctx, account, policyARN, v), "")
		}
		wantCode(t, "delete", id.DeletePolicy(ctx, account, policyARN), "")

		readOnly := "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
		wantCode(t, "attach AWS's own", id.Attach(ctx, account, identity.User, "alice", readOnly), "")
		if !may(t, id, p, "ListImages") || may(t, id, p, "PutImage") {
			t.Error("AWS's own policy")
		}
		wantCode(t, "change AWS's own", id.DeletePolicy(ctx, account, readOnly), identity.AccessDenied)
		_, err = id.ChangeEntity(ctx, account, identity.User, "alice", func(e *identity.Entity) error {
			e.Boundary = "arn:aws:iam::aws:policy/IAMFullAccess"
			return nil
		})
		wantCode(t, "boundary", err, "")
		if may(t, id, p, "ListImages") {
			t.Error("the boundary does not bound")
		}
	})
}

// TestAWSPolicies: those that are shipped parse.
func TestAWSPolicies(t *testing.T) {
	id, _, _ := plane(t, sqldbtest.SQLite(t))
	list := must(id.Policies(t.Context(), account, true, "/", "", 100))(t)
	for _, p := range list {
		_, v, err := id.PolicyVersion(t.Context(), account, p.ARN(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Parse(v.Document, policy.Identity); err != nil {
			t.Errorf("%s: %v", p.ARN(), err)
		}
	}
	if len(list) < 7 {
		t.Errorf("%d policies", len(list))
	}
}

func TestGroups(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		u := user(t, id, "alice")
		for _, n := range []string{"devs", "ops"} {
			must(id.CreateEntity(ctx, identity.NewEntity{Account: account, Kind: identity.Group, Name: n}))(t)
			wantCode(t, "add", id.AddToGroup(ctx, account, n, "alice"), "")
		}
		wantCode(t, "policy", id.PutInline(ctx, account, identity.Group, "devs", "x", fmt.Sprintf(allow, "ecr:PutImage")), "")
		if !may(t, id, principal(u), "PutImage") {
			t.Error("the group's policy does not count")
		}
		if g := must(id.GroupsOf(ctx, u))(t); len(g) != 2 {
			t.Errorf("%d groups", len(g))
		}
		wantCode(t, "delete a group with members", id.DeleteEntity(ctx, account, identity.Group, "ops"), identity.DeleteConflict)
		wantCode(t, "remove", id.RemoveFromGroup(ctx, account, "devs", "alice"), "")
		wantCode(t, "remove again", id.RemoveFromGroup(ctx, account, "devs", "alice"), identity.NoSuchEntity)
		if may(t, id, principal(u), "PutImage") {
			t.Error("still counts after the removal")
		}
	})
}

// TestRevocationOnAnotherNode: what one node takes away, another forgets within
// five seconds.
func TestRevocationOnAnotherNode(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		one, clock, _ := plane(t, db)
		two := identity.New(db, secret.NewMaster(make([]byte, 32)), identity.Options{Now: clock.now})
		ctx := t.Context()
		u := user(t, one, "alice")
		c, _, err := one.CreateKey(ctx, account, "alice")
		wantCode(t, "key", err, "")
		wantCode(t, "policy", one.PutInline(ctx, account, identity.User, "alice", "x", fmt.Sprintf(allow, "*")), "")
		if !may(t, two, principal(u), "PutImage") {
			t.Fatal("not allowed")
		}
		if _, err := two.LookupKey(ctx, c.AccessKeyID, ""); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "take away", one.DeleteInline(ctx, account, identity.User, "alice", "x"), "")
		wantCode(t, "delete key", one.DeleteKey(ctx, account, "alice", c.AccessKeyID), "")
		clock.t = clock.t.Add(5 * time.Second)
		if may(t, two, principal(u), "PutImage") {
			t.Error("the right is still there")
		}
		if _, err := two.LookupKey(ctx, c.AccessKeyID, ""); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the key is still there: %v", err)
		}
	})
}

// TestDeleteWhileUsed: of a deletion and an attachment at once, one loses; nothing
// is left behind for the next of that name.
func TestDeleteWhileUsed(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		for range 20 {
			u := user(t, id, "racer")
			var both sync.WaitGroup
			both.Go(func() { _ = id.DeleteEntity(ctx, account, identity.User, "racer") })
			both.Go(func() { _ = id.PutInline(ctx, account, identity.User, "racer", "x", fmt.Sprintf(allow, "*")) })
			both.Wait()
			var left int
			if err := db.QueryRow(ctx, []any{&left}, "select count(*) from inline_policies where entity_id = $1", u.ID); err != nil {
				t.Fatal(err)
			}
			_, err := id.Entity(ctx, account, identity.User, "racer")
			if gone := identity.CodeOf(err) == identity.NoSuchEntity; gone && left > 0 {
				t.Fatal("a policy outlived its user")
			} else if !gone {
				wantCode(t, "clean up", errors.Join(id.DeleteInline(ctx, account, identity.User, "racer", "x"), id.DeleteEntity(ctx, account, identity.User, "racer")), "")
			}
		}
	})
}

func TestSessions(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, clock, _ := plane(t, db)
		ctx := t.Context()
		trust := `{"Statement":{"Effect":"Allow","Principal":{"AWS":"` + string(account) + `"},"Action":["sts:AssumeRole","sts:TagSession"]}}`
		role := must(id.CreateEntity(ctx, identity.NewEntity{Account: account, Kind: identity.Role, Name: "deploy", Path: "/ci/", Trust: trust, MaxSession: 2 * time.Hour,
			Tags: map[string]string{"team": "core"}}))(t)
		wantCode(t, "policy", id.PutInline(ctx, account, identity.Role, "deploy", "x",
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"web"}}}}`), "")
		assume := func(r identity.Assume, base *identity.Session) (arn.Principal, *identity.Session, identity.Credentials, error) {
			if err := r.Check(); err != nil {
				return arn.Principal{}, nil, identity.Credentials{}, err
			}
			c, s, err := id.AssumeRole(ctx, role, r, base, nil)
			if err != nil {
				return arn.Principal{}, nil, c, err
			}
			return s.Principal, s, c, nil
		}
		p, _, c, err := assume(identity.Assume{Name: "one"}, nil)
		wantCode(t, "assume", err, "")
		if p.ARN != "arn:aws:sts::000000000012:assumed-role/deploy/one" || p.ID != role.ID+":one" || !c.Expires.Equal(clock.t.Add(time.Hour)) {
			t.Errorf("%+v %+v", p, c)
		}
		if may(t, id, p, "PutImage") {
			t.Error("the role's own tag should not do")
		}
		tagged, base, _, err := assume(identity.Assume{Name: "two", Tags: map[string]string{"Team": "web"}, Transitive: []string{"Team"}, Duration: 2 * time.Hour}, nil)
		wantCode(t, "assume with tags", err, "")
		if !may(t, id, tagged, "PutImage") {
			t.Error("the session's tag should win over the role's; keys have no case")
		}
		_, chained, _, err := assume(identity.Assume{Name: "three"}, base)
		wantCode(t, "chain", err, "")
		if chained.Tags["Team"] != "web" || !chained.Chained {
			t.Errorf("chained: %+v", chained)
		}
		for name, r := range map[string]identity.Assume{"short name": {Name: "x"}, "odd name": {Name: "a b"}, "too short": {Name: "ok", Duration: time.Minute},
			"too long": {Name: "ok", Duration: 3 * time.Hour}, "transitive without tag": {Name: "ok", Transitive: []string{"k"}}} {
			_, _, _, err := assume(r, nil)
			wantCode(t, name, err, identity.ValidationError)
		}
		_, _, _, err = assume(identity.Assume{Name: "ok", Duration: 2 * time.Hour}, base)
		wantCode(t, "a long chain", err, identity.ValidationError)
		_, _, _, err = assume(identity.Assume{Name: "ok", Policy: "{}"}, nil)
		wantCode(t, "bad session policy", err, identity.MalformedPolicyDocument)
		_, _, _, err = assume(identity.Assume{Name: "ok", Policy: strings.Repeat(" ", 2049)}, nil)
		wantCode(t, "long session policy", err, identity.PackedPolicyTooLarge)

		// A registry token outlives its session, and dies with the role.
		token, _ := id.IssueToken(p, account, "eu-west-1")
		clock.t = clock.t.Add(90 * time.Minute)
		if _, err := id.LookupKey(ctx, c.AccessKeyID, c.SessionToken); !errors.Is(err, identity.ErrExpired) {
			t.Errorf("after its end: %v", err)
		}
		if _, err := id.VerifyToken(ctx, token); err != nil {
			t.Errorf("the registry token after the session's end: %v", err)
		}
		wantCode(t, "delete policy", id.DeleteInline(ctx, account, identity.Role, "deploy", "x"), "")
		wantCode(t, "delete role", id.DeleteEntity(ctx, account, identity.Role, "deploy"), "")
		if _, err := id.VerifyToken(ctx, token); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the registry token of a role that is gone: %v", err)
		}
		clock.t = clock.t.Add(24 * time.Hour)
		if err := id.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow(ctx, []any{&n}, "select count(*) from sessions"); err != nil || n != 0 {
			t.Errorf("%d sessions are kept, %v", n, err)
		}
	})
}

func TestPasswords(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		u := user(t, id, "alice")
		_, err := id.SetPassword(ctx, account, "alice", "weak", nil, true)
		wantCode(t, "weak", err, identity.PasswordPolicyViolation)
		const good = "Correct-Horse-1"
		_, err = id.SetPassword(ctx, account, "alice", good, nil, false)
		wantCode(t, "update without one", err, identity.NoSuchEntity)
		_, err = id.SetPassword(ctx, account, "alice", good, nil, true)
		wantCode(t, "create", err, "")
		_, err = id.SetPassword(ctx, account, "alice", good, nil, true)
		wantCode(t, "create again", err, identity.EntityAlreadyExists)
		if p, _, err := id.CheckPassword(ctx, account, "alice", good); err != nil || p.ID != u.ID {
			t.Errorf("%v %v", p, err)
		}
		for _, c := range [][2]string{{"alice", "Correct-Horse-2"}, {"alice", ""}, {"nobody", good}, {"alice", strings.Repeat("x", 1000)}} {
			_, _, err := id.CheckPassword(ctx, account, c[0], secret.String(c[1]))
			wantCode(t, "check "+c[0], err, identity.AccessDenied)
		}
		var stored string
		if err := db.QueryRow(ctx, []any{&stored}, "select password from entities where name = 'alice'"); err != nil || !strings.HasPrefix(stored, "$argon2id$") || strings.Contains(stored, good) {
			t.Errorf("stored as %q, %v", stored, err)
		}
		wantCode(t, "user with a password", id.DeleteEntity(ctx, account, identity.User, "alice"), identity.DeleteConflict)
		wantCode(t, "take it away", id.DeletePassword(ctx, account, "alice"), "")
		_, _, err = id.CheckPassword(ctx, account, "alice", good)
		wantCode(t, "after that", err, identity.AccessDenied)
	})
}

func TestProviders(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		for _, u := range []string{"http://idp.example", "idp.example", "https://", "https://u:p@idp.example", "https://idp.example?x=1"} {
			_, err := id.CreateProvider(ctx, account, u, nil, nil, nil)
			wantCode(t, u, err, identity.ValidationError)
		}
		_, err := id.CreateProvider(ctx, account, "https://idp.example", nil, []string{"xx"}, nil)
		wantCode(t, "thumbprint", err, identity.InvalidInput)
		p := must(id.CreateProvider(ctx, account, "https://idp.example/x", []string{"a"}, nil, nil))(t)
		_, err = id.CreateProvider(ctx, account, "https://idp.example/x", nil, nil, nil)
		wantCode(t, "again", err, identity.EntityAlreadyExists)
		wantCode(t, "add a client", id.AddClient(ctx, account, p.ARN(), "b"), "")
		wantCode(t, "remove a client", id.RemoveClient(ctx, account, p.ARN(), "a"), "")
		if got := must(id.Provider(ctx, account, p.ARN()))(t); fmt.Sprint(got.Clients) != "[b]" || got.URL != "idp.example/x" {
			t.Errorf("%+v", got)
		}
		_, err = id.Provider(ctx, "000000000099", p.ARN())
		wantCode(t, "another account", err, identity.NoSuchEntity)
		wantCode(t, "delete", id.DeleteProvider(ctx, account, p.ARN()), "")
		wantCode(t, "delete again", id.DeleteProvider(ctx, account, p.ARN()), identity.NoSuchEntity)
	})
}

// TestExplain: a denial is kept with what was read, and only its account reads it.
func TestExplain(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		u := user(t, id, "alice")
		ctx := gate.WithCaller(t.Context(), gate.Caller{RequestID: "req-1", SourceIP: "10.0.0.1", Principal: principal(u)})
		wantCode(t, "policy", id.PutInline(ctx, account, identity.User, "alice", "x",
			`{"Version":"2012-10-17","Statement":[{"Sid":"Net","Effect":"Allow","Action":"ecr:PutImage","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.168.0.0/16"}}}]}`), "")
		c := gate.Call{Principal: principal(u), Service: "ecr", Action: "PutImage", Place: arn.Place{Account: account, Region: "eu-west-1"}}
		c.Resources = []string{arn.Repository(c.Place, "app").String()}
		d, err := id.Authorize(ctx, c, c.Action, c.Resources[0])
		if err != nil || d.Allowed {
			t.Fatal(d, err)
		}
		wantCode(t, "record", id.RecordDenial(ctx, c, &gate.Denied{Principal: u.ARN(), Action: "ecr:PutImage", Resource: c.Resources[0], Reason: d.Reason}), "")
		wantCode(t, "take the policy away", id.DeleteInline(ctx, account, identity.User, "alice", "x"), "")
		x := must(id.Past(ctx, account, "req-1"))(t)
		if x.Allowed || x.Missing != "ecr:PutImage" || len(x.Answers) != 1 || len(x.Answers[0].Read) != 1 {
			t.Fatalf("%+v", x)
		}
		r := x.Answers[0].Read[0]
		if r.Sid != "Net" || r.Applies || r.Because != "Condition IpAddress aws:sourceip" {
			t.Errorf("%+v", r)
		}
		if want := `{"Action":"ecr:PutImage","Effect":"Allow","Resource":"` + c.Resources[0] + `"}`; x.Suggestion != want || !strings.Contains(x.Where, "user/alice") {
			t.Errorf("suggests %s for %s", x.Suggestion, x.Where)
		}
		_, err = id.Past(ctx, "000000000099", "req-1")
		wantCode(t, "another account", err, identity.NoSuchEntity)
		message := id.MessageOf(account, "req-1")
		if y := must(id.DecodeMessage(ctx, account, message))(t); y.Missing != x.Missing {
			t.Errorf("%+v", y)
		}
		_, err = id.DecodeMessage(ctx, "000000000099", message)
		wantCode(t, "another account's message", err, identity.InvalidMessage)
		if list := must(id.Denials(ctx, account, 10))(t); len(list) != 1 {
			t.Errorf("%d denials", len(list))
		}
	})
}

func TestAccounts(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		id, _, _ := plane(t, db)
		ctx := t.Context()
		a, c, err := id.CreateAccount(ctx, "", "second")
		if err != nil || !a.Valid() {
			t.Fatal(a, err)
		}
		_, _, err = id.CreateAccount(ctx, a, "second")
		wantCode(t, "again", err, identity.EntityAlreadyExists)
		k := must(id.LookupKey(ctx, c.AccessKeyID, ""))(t)
		session := must(id.SessionToken(ctx, k.Principal, time.Hour))(t)
		wantCode(t, "close", id.CloseAccount(ctx, a), "")
		wantCode(t, "close again", id.CloseAccount(ctx, a), identity.NoSuchEntity)
		if _, err := id.LookupKey(ctx, c.AccessKeyID, ""); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the key of a closed account: %v", err)
		}
		if _, err := id.LookupKey(ctx, session.AccessKeyID, session.SessionToken); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("a session of a closed account: %v", err)
		}
		wantCode(t, "alias", id.SetAlias(ctx, account, "home"), "")
		wantCode(t, "alias twice", id.SetAlias(ctx, a, "home"), identity.EntityAlreadyExists)
		if list := must(id.Accounts(ctx))(t); len(list) != 2 || list[0].Alias != "home" {
			t.Errorf("%+v", list)
		}
	})
}
