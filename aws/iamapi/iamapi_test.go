package iamapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

const home = arn.Account("000000000012")

type silent struct{}

func (silent) Prepare(ctx context.Context, _ gate.Call) context.Context { return ctx }
func (silent) Record(context.Context, gate.Call, time.Duration, error)  {}

func service(t *testing.T, db *sqldb.DB) (*Service, context.Context, *[]string) {
	t.Helper()
	if err := db.Migrate(t.Context(), "identity", identity.Migrations()); err != nil {
		t.Fatal(err)
	}
	id := identity.New(db, secret.NewMaster(make([]byte, 32)), identity.Options{})
	if _, err := id.EnsureAccount(t.Context(), home, "test", nil); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	s := New(id, gate.New(id, silent{}), func(_ context.Context, role, text string) { warnings = append(warnings, role+": "+text) })
	return s, gate.WithCaller(t.Context(), gate.Caller{Principal: arn.Root(home), Region: "eu-west-1"}), &warnings
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return "not modelled: " + err.Error()
	}
	return ""
}

// TestEveryOperationHasARow: an operation without a row, or a row without an
// operation, is a mistake.
func TestEveryOperationHasARow(t *testing.T) {
	served := (&Service{}).Handler().Operations()
	slices.Sort(served)
	if !slices.Equal(served, Operations()) {
		t.Errorf("served %v\nrows %v", served, Operations())
	}
}

// TestEveryCode: each of identity's codes becomes an error of the API with the
// status of IAM's model.
func TestEveryCode(t *testing.T) {
	want := map[identity.Code]int{identity.NoSuchEntity: 404, identity.EntityAlreadyExists: 409, identity.DeleteConflict: 409, identity.LimitExceeded: 409,
		identity.MalformedPolicyDocument: 400, identity.InvalidInput: 400, identity.ValidationError: 400, identity.PasswordPolicyViolation: 400,
		identity.AccessDenied: 403, identity.PackedPolicyTooLarge: 400, identity.InvalidIdentityToken: 400, identity.ExpiredToken: 400,
		identity.IDPCommunicationError: 400, identity.InvalidMessage: 400, identity.Unavailable: 503}
	for _, c := range identity.Codes() {
		var api smithy.APIError
		if !errors.As(exception(&identity.Error{Code: c, Message: "x"}), &api) || api.ErrorCode() != string(c) || awsproto.Status(api) != want[c] {
			t.Errorf("%s: %v, status %d, want %d", c, api, awsproto.Status(api), want[c])
		}
	}
}

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000012:user/alice"},"Action":"sts:AssumeRole"}]}`

// TestRole is what terraform does with a role: documents come back as they were
// sent, encoded, with names in place of unique ids.
func TestRole(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx, _ := service(t, db)
		if _, err := s.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("ci"), AssumeRolePolicyDocument: aws.String(trust)}); code(err) != "MalformedPolicyDocument" {
			t.Errorf("a role that trusts nobody: %v", err)
		}
		if _, err := s.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("alice")}); err != nil {
			t.Fatal(err)
		}
		made, err := s.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("ci"), Path: aws.String("/a/"), AssumeRolePolicyDocument: aws.String(trust), MaxSessionDuration: aws.Int32(7200),
			Description: aws.String("d"), Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("ci")})
		if err != nil || *got.Role.Arn != "arn:aws:iam::000000000012:role/a/ci" || *got.Role.RoleId != *made.Role.RoleId || *got.Role.MaxSessionDuration != 7200 || len(got.Role.Tags) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		text, err := url.PathUnescape(*got.Role.AssumeRolePolicyDocument)
		if err != nil || text != trust || strings.Contains(*got.Role.AssumeRolePolicyDocument, "+") {
			t.Errorf("%s, %v", text, err)
		}
		inline := `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Action":["ecr:*"],"Resource":"*"}]}`
		if _, err := s.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("ci"), PolicyName: aws.String("p"), PolicyDocument: &inline}); err != nil {
			t.Fatal(err)
		}
		p, err := s.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String("ci"), PolicyName: aws.String("p")})
		if text, _ := url.PathUnescape(aws.ToString(p.PolicyDocument)); err != nil || text != inline {
			t.Errorf("%s, %v", text, err)
		}
		list, err := s.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: aws.String("ci")})
		if err != nil || !slices.Equal(list.PolicyNames, []string{"p"}) {
			t.Errorf("%v, %v", list, err)
		}
		attached, err := s.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("ci")})
		if err != nil || attached.AttachedPolicies == nil || len(attached.AttachedPolicies) != 0 {
			t.Errorf("%v, %v", attached, err)
		}
		profiles, err := s.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: aws.String("ci")})
		if err != nil || len(profiles.InstanceProfiles) != 0 {
			t.Errorf("%v, %v", profiles, err)
		}
		if _, err := s.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: aws.String("ci")}); code(err) != "DeleteConflict" {
			t.Errorf("with a policy: %v", err)
		}
		for _, err := range []error{
			second(s.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String("ci"), PolicyName: aws.String("p")})),
			second(s.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: aws.String("ci")})),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := s.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("ci")}); code(err) != "NoSuchEntity" {
			t.Errorf("after that: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestWideTrustWarns: what is allowed and wider than it looks is told.
func TestWideTrustWarns(t *testing.T) {
	s, ctx, warnings := service(t, sqldbtest.SQLite(t))
	wide := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::000000000012:oidc-provider/token.actions.githubusercontent.com"},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringLike":{"token.actions.githubusercontent.com:sub":"repo:acme/*"}}}]}`
	if _, err := s.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("ci"), AssumeRolePolicyDocument: aws.String(wide)}); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(*warnings, "\n"); !strings.Contains(all, "every repository of its owner") || !strings.Contains(all, ":aud") {
		t.Errorf("warnings: %s", all)
	}
}

// TestPaging walks lists by one.
func TestPaging(t *testing.T) {
	s, ctx, _ := service(t, sqldbtest.SQLite(t))
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	for _, n := range []string{"c", "a", "b"} {
		if _, err := s.CreateUser(ctx, &iam.CreateUserInput{UserName: &n}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: &n, PolicyDocument: &document}); err != nil {
			t.Fatal(err)
		}
	}
	var users, policies []string
	for marker, more := (*string)(nil), true; more; {
		out, err := s.ListUsers(ctx, &iam.ListUsersInput{MaxItems: aws.Int32(1), Marker: marker})
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, *out.Users[0].UserName)
		marker, more = out.Marker, out.IsTruncated
	}
	for marker, more := (*string)(nil), true; more; {
		out, err := s.ListPolicies(ctx, &iam.ListPoliciesInput{MaxItems: aws.Int32(2), Marker: marker})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range out.Policies {
			policies = append(policies, *p.PolicyName)
		}
		marker, more = out.Marker, out.IsTruncated
	}
	if !slices.Equal(users, []string{"a", "b", "c"}) || !slices.Equal(policies[:3], []string{"a", "b", "c"}) || len(policies) < 10 {
		t.Errorf("%v %v", users, policies)
	}
	out, err := s.ListUsers(ctx, &iam.ListUsersInput{MaxItems: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ListUsers(ctx, &iam.ListUsersInput{Marker: out.Marker, PathPrefix: aws.String("/x/")}); code(err) != "ValidationError" {
		t.Errorf("a marker of another query: %v", err)
	}
}

// TestOwn: a user who names nobody means themselves.
func TestOwn(t *testing.T) {
	s, ctx, _ := service(t, sqldbtest.SQLite(t))
	if _, err := s.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("alice")}); err != nil {
		t.Fatal(err)
	}
	self := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:GetUser","iam:*AccessKey*"],"Resource":"arn:aws:iam::*:user/${aws:username}"}]}`
	if _, err := s.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: aws.String("self"), PolicyDocument: &self}); err != nil {
		t.Fatal(err)
	}
	e, err := s.identity.Entity(ctx, home, identity.User, "alice")
	if err != nil {
		t.Fatal(err)
	}
	alice := gate.WithCaller(ctx, gate.Caller{Principal: arn.Principal{Kind: arn.KindUser, Account: home, ARN: e.ARN(), ID: e.ID}, Region: "eu-west-1"})
	u, err := s.GetUser(alice, &iam.GetUserInput{})
	if err != nil || *u.User.UserName != "alice" {
		t.Errorf("%v %v", u, err)
	}
	k, err := s.CreateAccessKey(alice, &iam.CreateAccessKeyInput{})
	if err != nil || *k.AccessKey.UserName != "alice" {
		t.Errorf("%v %v", k, err)
	}
	if _, err := s.GetUser(alice, &iam.GetUserInput{UserName: aws.String("bob")}); code(err) != "AccessDenied" {
		t.Errorf("another user: %v", err)
	}
	r, err := s.GetUser(ctx, &iam.GetUserInput{})
	if err != nil || *r.User.Arn != "arn:aws:iam::000000000012:root" {
		t.Errorf("%v %v", r, err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}
