package declare

import (
	"slices"
	"testing"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/identity/policy"
)

// TestCanonical: texts that mean the same are the same, others are not.
func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		name, field, a, b string
		same              bool
	}{
		{"spaces and order of keys", fieldPolicy, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:A","Principal":"*"}]}`,
			`{"Statement": [{"Principal": {"AWS": "*"}, "Action": ["ecr:A"], "Effect": "Allow"}], "Version": "2012-10-17"}`, true},
		{"one statement or a list", fieldPolicy, `{"Statement":{"Effect":"Deny","Action":["b","a"]}}`, `{"Statement":[{"Effect":"Deny","Action":["a","b","a"]}]}`, true},
		{"an account and its root", fieldPolicy, `{"Statement":[{"Principal":{"AWS":"111122223333"}}]}`, `{"Statement":[{"Principal":{"AWS":["arn:aws:iam::111122223333:root"]}}]}`, true},
		{"an account in a condition is none", fieldPolicy, `{"Statement":[{"Condition":{"StringEquals":{"k":"111122223333"}}}]}`,
			`{"Statement":[{"Condition":{"StringEquals":{"k":"arn:aws:iam::111122223333:root"}}}]}`, false},
		{"order of statements", fieldTrust, `{"Statement":[{"Sid":"a"},{"Sid":"b"}]}`, `{"Statement":[{"Sid":"b"},{"Sid":"a"}]}`, false},
		{"another effect", fieldPolicy, `{"Statement":[{"Effect":"Deny"}]}`, `{"Statement":[{"Effect":"Allow"}]}`, false},
		{"lifecycles keep the order of rules", fieldLifecycle, `{"rules":[1,2]}`, `{"rules":[2,1]}`, false},
		{"lifecycle spacing", fieldLifecycle, `{"rules":[{"a":1,"b":10000000000000001}]}`, `{ "rules" : [ {"b":10000000000000001, "a":1} ] }`, true},
		{"other fields are texts", fieldTag + "x", `{"a":1}`, `{ "a":1}`, false},
		{"no document", fieldPolicy, `x`, `x`, true},
	} {
		if got := canonical(c.field, c.a) == canonical(c.field, c.b); got != c.same {
			t.Errorf("%s: %v\n%s\n%s", c.name, got, canonical(c.field, c.a), canonical(c.field, c.b))
		}
	}
}

// TestSubjects: GitHub's subjects with names alone, and with ids.
func TestSubjects(t *testing.T) {
	for _, c := range []struct {
		d    config.GitHubRepository
		want []string
	}{
		{config.GitHubRepository{Organisation: "o", Repository: "r"}, []string{"repo:o/r:*", "repo:o@*/r@*:*"}},
		{config.GitHubRepository{Organisation: "o", Repository: "r", Subjects: []string{"ref:refs/heads/main", "environment:p"}},
			[]string{"repo:o/r:ref:refs/heads/main", "repo:o@*/r@*:ref:refs/heads/main", "repo:o/r:environment:p", "repo:o@*/r@*:environment:p"}},
		{config.GitHubRepository{Organisation: "o", Repository: "r", OrganisationID: "1", RepositoryID: "2"}, []string{"repo:o@1/r@2:*"}},
		{config.GitHubRepository{Organisation: "*", Repository: "*", OrganisationID: "1"}, []string{"repo:*@1/*@*:*"}},
	} {
		got := Subjects(&c.d)
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.d, got, c.want)
		}
		back := githubRepositories(got)
		if len(back) != 1 || back[0].Organisation != c.d.Organisation || back[0].OrganisationID != c.d.OrganisationID || back[0].RepositoryID != c.d.RepositoryID || !slices.Equal(back[0].Subjects, c.d.Subjects) {
			t.Errorf("%q reads back as %+v", got, back)
		}
		// Strangers are never among them.
		text := trustPolicy(&config.GitHubAccess{Role: "x", Repositories: []config.GitHubRepository{c.d}}, "000000000000")
		doc, err := policy.Parse(text, policy.Trust)
		if err == nil {
			_, err = policy.ReviewTrust(doc)
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if got := githubRepositories([]string{"project_path:x"}); got != nil {
		t.Errorf("another provider's subject reads as %+v", got)
	}
}

var home = arn.Place{Account: "000000000000", Region: "eu-west-1"}

// TestPolicies: every text that is made is one that is taken.
func TestPolicies(t *testing.T) {
	m := &config.Module{Accounts: []config.AccountAccess{{ID: "111122223333", CanWrite: true}, {ID: "222233334444"}}, GitHub: &config.GitHubAccess{Role: "r"},
		CreateOnPush: []config.Named{{Name: "team/"}, {Name: "ROOT"}, {Name: "other"}}}
	for _, extra := range []string{"", `{"Statement":{"Effect":"Deny","Principal":"*","Action":"ecr:PutImage"}}`, `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:PutImage"}]}`} {
		if _, err := policy.Parse(repositoryPolicy(m, "000000000000", extra), policy.Repository); err != nil {
			t.Error(err)
		}
	}
	text := rolePolicy(m, home, true)
	if _, err := policy.Parse(text, policy.Identity); err != nil {
		t.Error(err)
	}
	want := []string{"arn:aws:ecr:eu-west-1:000000000000:repository/team/*", "arn:aws:ecr:eu-west-1:000000000000:repository/other/*"}
	if got := createOnPush(m, home); !slices.Equal(got, want) {
		t.Errorf("a role may create %q, want %q", got, want)
	}
	if repositoryPolicy(&config.Module{}, "000000000000", "") != "" {
		t.Error("a block that lets nobody in makes a policy")
	}
}
