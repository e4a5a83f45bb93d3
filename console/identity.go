package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// kind is a kind of things that policies are attached to.
type kind struct {
	Key, One, Many, Title, Icon string // user, users
}

var kinds = map[string]kind{
	"users":  {"user", "user", "users", "Users", "user"},
	"groups": {"group", "group", "groups", "Groups", "users"},
	"roles":  {"role", "role", "roles", "Roles", "shield"},
}

// someone is a user, group or role in a list.
type someone struct {
	Name, ARN, Path string
	Created         any
	Note            string
}

type peopleBody struct {
	Kind        kind
	List        []someone
	First, Next string
	Part        *part
	Sample      string
}

const pageSize = 50

func marker(q *request) *string {
	if m := q.in("next"); m != "" {
		return aws.String(m)
	}
	return nil
}

func nextPage(path string, more bool, marker *string) string {
	if !more || marker == nil {
		return ""
	}
	return query(path, "next", *marker)
}

// people lists users, groups or roles.
func people(which string) handler {
	return func(c *Console, q *request) (*page, error) {
		k := kinds[which]
		b := &peopleBody{Kind: k, Sample: sampleTrust}
		path := "/" + which
		if q.in("next") != "" {
			b.First = path
		}
		var err error
		switch which {
		case "users":
			var out *iam.ListUsersOutput
			if out, err = ask[iam.ListUsersOutput](q.ctx, c.api, &iam.ListUsersInput{MaxItems: aws.Int32(pageSize), Marker: marker(q)}); err == nil {
				for _, u := range out.Users {
					b.List = append(b.List, someone{Name: aws.ToString(u.UserName), ARN: aws.ToString(u.Arn), Path: aws.ToString(u.Path), Created: u.CreateDate})
				}
				b.Next = nextPage(path, out.IsTruncated, out.Marker)
			}
		case "groups":
			var out *iam.ListGroupsOutput
			if out, err = ask[iam.ListGroupsOutput](q.ctx, c.api, &iam.ListGroupsInput{MaxItems: aws.Int32(pageSize), Marker: marker(q)}); err == nil {
				for _, g := range out.Groups {
					b.List = append(b.List, someone{Name: aws.ToString(g.GroupName), ARN: aws.ToString(g.Arn), Path: aws.ToString(g.Path), Created: g.CreateDate})
				}
				b.Next = nextPage(path, out.IsTruncated, out.Marker)
			}
		default:
			var out *iam.ListRolesOutput
			if out, err = ask[iam.ListRolesOutput](q.ctx, c.api, &iam.ListRolesInput{MaxItems: aws.Int32(pageSize), Marker: marker(q)}); err == nil {
				for _, r := range out.Roles {
					b.List = append(b.List, someone{Name: aws.ToString(r.RoleName), ARN: aws.ToString(r.Arn), Path: aws.ToString(r.Path), Created: r.CreateDate, Note: aws.ToString(r.Description)})
				}
				b.Next = nextPage(path, out.IsTruncated, out.Marker)
			}
		}
		b.Part = c.part(q, err)
		return &page{Title: k.Title, Section: which, view: "people", Live: liveChanges, Body: b}, nil
	}
}

const sampleTrust = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
  ]
}`

// makePeople takes the forms that make users, groups and roles.
func makePeople(which string) handler {
	return func(c *Console, q *request) (*page, error) { return c.submit(q, peopleForms, people(which)) }
}

var peopleForms = forms{
	"create-user": {text: "The user {name} was created.", to: "/users/{name}", cli: "aws iam create-user --user-name {name}",
		in: call(func(q *request) any { return &iam.CreateUserInput{UserName: aws.String(q.in("name"))} })},
	"create-group": {text: "The group {name} was created.", to: "/groups/{name}", cli: "aws iam create-group --group-name {name}",
		in: call(func(q *request) any { return &iam.CreateGroupInput{GroupName: aws.String(q.in("name"))} })},
	"create-role": {text: "The role {name} was created.", to: "/roles/{name}", cli: "aws iam create-role --role-name {name} --assume-role-policy-document {trust}",
		in: call(func(q *request) any {
			in := &iam.CreateRoleInput{RoleName: aws.String(q.in("name")), AssumeRolePolicyDocument: aws.String(q.in("trust"))}
			if d := q.in("description"); d != "" {
				in.Description = aws.String(d)
			}
			return in
		})},
}

// inline is a policy that is part of a user, group or role.
type inline struct{ Name, Document string }

type personBody struct {
	Kind        kind
	Name        string
	ARN         string
	Created     any
	LastUsed    any
	Part        *part
	Attached    []types.AttachedPolicy
	Inline      []inline
	Keys        []types.AccessKeyMetadata
	Groups      []string
	AllGroups   []string
	Members     []string
	Password    bool
	Trust       string
	Tags        []tagRow
	Policies    []string // that can be attached
	Boundary    string
	Description string
	NewKey      *types.AccessKey
	NewUser     string
}

// person shows one user, group or role.
func person(which string) handler {
	return func(c *Console, q *request) (*page, error) {
		b := &personBody{Kind: kinds[which], Name: q.PathValue("name")}
		load := map[string]func(*request, *personBody) error{"users": c.loadUser, "groups": c.loadGroup, "roles": c.loadRole}[which]
		if err := load(q, b); err != nil {
			return nil, err
		}
		b.Part = c.part(q, c.loadPolicies(q, b))
		return &page{Title: b.Name, Section: which, view: "person", Live: liveChanges, Body: b}, nil
	}
}

func (c *Console) loadUser(q *request, b *personBody) error {
	out, err := ask[iam.GetUserOutput](q.ctx, c.api, &iam.GetUserInput{UserName: aws.String(b.Name)})
	if err != nil {
		return err
	}
	b.ARN, b.Created, b.LastUsed = aws.ToString(out.User.Arn), out.User.CreateDate, out.User.PasswordLastUsed
	for _, t := range out.User.Tags {
		b.Tags = append(b.Tags, tagRow{aws.ToString(t.Key), aws.ToString(t.Value)})
	}
	if out.User.PermissionsBoundary != nil {
		b.Boundary = aws.ToString(out.User.PermissionsBoundary.PermissionsBoundaryArn)
	}
	keys, err := ask[iam.ListAccessKeysOutput](q.optional().ctx, c.api, &iam.ListAccessKeysInput{UserName: aws.String(b.Name)})
	if err == nil {
		b.Keys = keys.AccessKeyMetadata
	}
	groups, err := ask[iam.ListGroupsForUserOutput](q.optional().ctx, c.api, &iam.ListGroupsForUserInput{UserName: aws.String(b.Name)})
	if err == nil {
		for _, g := range groups.Groups {
			b.Groups = append(b.Groups, aws.ToString(g.GroupName))
		}
	}
	all, err := ask[iam.ListGroupsOutput](q.optional().ctx, c.api, &iam.ListGroupsInput{MaxItems: aws.Int32(1000)})
	if err == nil {
		for _, g := range all.Groups {
			if name := aws.ToString(g.GroupName); !slices.Contains(b.Groups, name) {
				b.AllGroups = append(b.AllGroups, name)
			}
		}
	}
	_, err = ask[iam.GetLoginProfileOutput](q.optional().ctx, c.api, &iam.GetLoginProfileInput{UserName: aws.String(b.Name)})
	b.Password = err == nil
	return nil
}

func (c *Console) loadGroup(q *request, b *personBody) error {
	out, err := ask[iam.GetGroupOutput](q.ctx, c.api, &iam.GetGroupInput{GroupName: aws.String(b.Name), MaxItems: aws.Int32(1000)})
	if err != nil {
		return err
	}
	b.ARN, b.Created = aws.ToString(out.Group.Arn), out.Group.CreateDate
	for _, u := range out.Users {
		b.Members = append(b.Members, aws.ToString(u.UserName))
	}
	return nil
}

func (c *Console) loadRole(q *request, b *personBody) error {
	out, err := ask[iam.GetRoleOutput](q.ctx, c.api, &iam.GetRoleInput{RoleName: aws.String(b.Name)})
	if err != nil {
		return err
	}
	r := out.Role
	b.ARN, b.Created, b.Description = aws.ToString(r.Arn), r.CreateDate, aws.ToString(r.Description)
	if r.RoleLastUsed != nil {
		b.LastUsed = r.RoleLastUsed.LastUsedDate
	}
	if r.PermissionsBoundary != nil {
		b.Boundary = aws.ToString(r.PermissionsBoundary.PermissionsBoundaryArn)
	}
	for _, t := range r.Tags {
		b.Tags = append(b.Tags, tagRow{aws.ToString(t.Key), aws.ToString(t.Value)})
	}
	b.Trust = document(r.AssumeRolePolicyDocument)
	return nil
}

// document is a policy as IAM answers it, which is encoded as in a URL.
func document(text *string) string {
	plain, err := url.QueryUnescape(strings.ReplaceAll(aws.ToString(text), "+", "%2B"))
	if err != nil {
		return aws.ToString(text)
	}
	return indented(plain)
}

// loadPolicies reads what is attached, what is inline and what could be attached.
func (c *Console) loadPolicies(q *request, b *personBody) error {
	name := aws.String(b.Name)
	var inlineNames []string
	switch b.Kind.Key {
	case "user":
		a, err := ask[iam.ListAttachedUserPoliciesOutput](q.ctx, c.api, &iam.ListAttachedUserPoliciesInput{UserName: name})
		if err != nil {
			return err
		}
		l, err := ask[iam.ListUserPoliciesOutput](q.ctx, c.api, &iam.ListUserPoliciesInput{UserName: name})
		if err != nil {
			return err
		}
		b.Attached, inlineNames = a.AttachedPolicies, l.PolicyNames
	case "group":
		a, err := ask[iam.ListAttachedGroupPoliciesOutput](q.ctx, c.api, &iam.ListAttachedGroupPoliciesInput{GroupName: name})
		if err != nil {
			return err
		}
		l, err := ask[iam.ListGroupPoliciesOutput](q.ctx, c.api, &iam.ListGroupPoliciesInput{GroupName: name})
		if err != nil {
			return err
		}
		b.Attached, inlineNames = a.AttachedPolicies, l.PolicyNames
	default:
		a, err := ask[iam.ListAttachedRolePoliciesOutput](q.ctx, c.api, &iam.ListAttachedRolePoliciesInput{RoleName: name})
		if err != nil {
			return err
		}
		l, err := ask[iam.ListRolePoliciesOutput](q.ctx, c.api, &iam.ListRolePoliciesInput{RoleName: name})
		if err != nil {
			return err
		}
		b.Attached, inlineNames = a.AttachedPolicies, l.PolicyNames
	}
	for _, n := range inlineNames {
		text, err := c.inlineOf(q, b, n)
		if err != nil {
			return err
		}
		b.Inline = append(b.Inline, inline{n, text})
	}
	return c.attachable(q, b)
}

func (c *Console) inlineOf(q *request, b *personBody, policy string) (string, error) {
	name, p := aws.String(b.Name), aws.String(policy)
	switch b.Kind.Key {
	case "user":
		out, err := ask[iam.GetUserPolicyOutput](q.ctx, c.api, &iam.GetUserPolicyInput{UserName: name, PolicyName: p})
		if err != nil {
			return "", err
		}
		return document(out.PolicyDocument), nil
	case "group":
		out, err := ask[iam.GetGroupPolicyOutput](q.ctx, c.api, &iam.GetGroupPolicyInput{GroupName: name, PolicyName: p})
		if err != nil {
			return "", err
		}
		return document(out.PolicyDocument), nil
	}
	out, err := ask[iam.GetRolePolicyOutput](q.ctx, c.api, &iam.GetRolePolicyInput{RoleName: name, PolicyName: p})
	if err != nil {
		return "", err
	}
	return document(out.PolicyDocument), nil
}

// attachable lists the managed policies that are not attached yet.
func (c *Console) attachable(q *request, b *personBody) error {
	out, err := ask[iam.ListPoliciesOutput](q.ctx, c.api, &iam.ListPoliciesInput{MaxItems: aws.Int32(1000)})
	if err != nil {
		return err
	}
	for _, p := range out.Policies {
		a := aws.ToString(p.Arn)
		if !slices.ContainsFunc(b.Attached, func(x types.AttachedPolicy) bool { return aws.ToString(x.PolicyArn) == a }) {
			b.Policies = append(b.Policies, a)
		}
	}
	slices.Sort(b.Policies)
	return nil
}

// changePerson takes the forms of a user's, group's or role's page.
func changePerson(which string) handler {
	return func(c *Console, q *request) (*page, error) { return c.submit(q, personForms[which], person(which)) }
}

// newKeyShown shows an access key, once.
func newKeyShown(c *Console, q *request, out any) (*page, error) {
	key := out.(*iam.CreateAccessKeyOutput).AccessKey
	return &page{Title: "A new access key", Section: cmp.Or(map[bool]string{true: "users"}[q.PathValue("name") != ""], "me"), view: "new-key",
		Body: &personBody{NewKey: key, NewUser: cmp.Or(q.PathValue("name"), aws.ToString(key.UserName))}, Status: http.StatusOK}, nil
}

type policyBody struct {
	ARN, Name, Default string
	Document           string
	AWS                bool
	Versions           []types.PolicyVersion
	Used               []someone
	List               []types.Policy
	First, Next        string
	Scope              string
	Part               *part
	Sample             string
}

const sampleIdentity = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:PutImage", "ecr:InitiateLayerUpload",
        "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:BatchCheckLayerAvailability"],
      "Resource": "arn:aws:ecr:us-east-1:000000000000:repository/team/*"
    },
    {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
  ]
}`

// policies lists managed policies.
func (c *Console) policies(q *request) (*page, error) {
	b := &policyBody{Scope: cmp.Or(q.in("scope"), "Local"), Sample: sampleIdentity}
	out, err := ask[iam.ListPoliciesOutput](q.ctx, c.api, &iam.ListPoliciesInput{Scope: types.PolicyScopeType(b.Scope), MaxItems: aws.Int32(pageSize), Marker: marker(q)})
	if b.Part = c.part(q, err); err == nil {
		b.List, b.Next = out.Policies, nextPage(query("/policies", "scope", b.Scope), out.IsTruncated, out.Marker)
	}
	if q.in("next") != "" {
		b.First = query("/policies", "scope", b.Scope)
	}
	return &page{Title: "Policies", Section: "policies", view: "policies", Live: liveChanges, Body: b}, nil
}

// policy shows a managed policy with its versions and whom it is attached to.
func (c *Console) policy(q *request) (*page, error) {
	b := &policyBody{ARN: q.in("arn")}
	out, err := ask[iam.GetPolicyOutput](q.ctx, c.api, &iam.GetPolicyInput{PolicyArn: aws.String(b.ARN)})
	if err != nil {
		return nil, err
	}
	b.Name, b.Default, b.AWS = aws.ToString(out.Policy.PolicyName), aws.ToString(out.Policy.DefaultVersionId), strings.HasPrefix(b.ARN, "arn:aws:iam::aws:")
	v, err := ask[iam.GetPolicyVersionOutput](q.ctx, c.api, &iam.GetPolicyVersionInput{PolicyArn: aws.String(b.ARN), VersionId: aws.String(cmp.Or(q.in("version"), b.Default))})
	if err == nil {
		b.Document = document(v.PolicyVersion.Document)
	}
	b.Part = c.part(q, err)
	if list, err := ask[iam.ListPolicyVersionsOutput](q.optional().ctx, c.api, &iam.ListPolicyVersionsInput{PolicyArn: aws.String(b.ARN)}); err == nil {
		b.Versions = list.Versions
	}
	if used, err := ask[iam.ListEntitiesForPolicyOutput](q.optional().ctx, c.api, &iam.ListEntitiesForPolicyInput{PolicyArn: aws.String(b.ARN)}); err == nil {
		for _, u := range used.PolicyUsers {
			b.Used = append(b.Used, someone{Name: aws.ToString(u.UserName), Path: "/users"})
		}
		for _, g := range used.PolicyGroups {
			b.Used = append(b.Used, someone{Name: aws.ToString(g.GroupName), Path: "/groups"})
		}
		for _, r := range used.PolicyRoles {
			b.Used = append(b.Used, someone{Name: aws.ToString(r.RoleName), Path: "/roles"})
		}
	}
	return &page{Title: b.Name, Section: "policies", view: "policy", Live: liveChanges, Body: b}, nil
}

func (c *Console) makePolicy(q *request) (*page, error) {
	return c.submit(q, policyForms, (*Console).policies)
}

func (c *Console) changePolicy(q *request) (*page, error) {
	return c.submit(q, policyForms, (*Console).policy)
}
