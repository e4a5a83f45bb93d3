package declare

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/identity/policy"
)

// The texts of policies that blocks stand for. deploy/terraform/ecr-repos makes the same.

func pullActions() []string {
	return []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
}

func pushActions() []string {
	return []string{"ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"}
}

type statement struct {
	Sid       string         `json:",omitempty"`
	Effect    string         `json:"Effect"`
	Principal map[string]any `json:",omitempty"`
	Action    any            `json:"Action"`
	Resource  any            `json:",omitempty"`
	Condition map[string]any `json:",omitempty"`
}

func document(statements ...any) string {
	b, err := json.Marshal(map[string]any{"Version": policy.Version2012, "Statement": statements})
	if err != nil {
		return ""
	}
	return string(b)
}

// The statements' names, by which Modules knows them again.
const (
	sidPull   = "pull"
	sidPush   = "push"
	sidGitHub = "github"
	sidLogin  = "login"
	sidCreate = "create"
)

// repositoryPolicy is the policy of a block's repositories, with the statements of extra,
// or "" when nobody else is let in.
func repositoryPolicy(m *config.Module, account arn.Account, extra string) string {
	var all, writers []string
	for _, a := range m.Accounts {
		root := arn.Root(a.ID).ARN
		if all = append(all, root); a.CanWrite {
			writers = append(writers, root)
		}
	}
	var list []any
	if all != nil {
		list = append(list, statement{Sid: sidPull, Effect: "Allow", Principal: map[string]any{"AWS": all}, Action: pullActions()})
	}
	if writers != nil {
		list = append(list, statement{Sid: sidPush, Effect: "Allow", Principal: map[string]any{"AWS": writers}, Action: pushActions()})
	}
	if m.GitHub != nil {
		list = append(list, statement{Sid: sidGitHub, Effect: "Allow", Principal: map[string]any{"AWS": roleARN(account, m.GitHub.Role)},
			Action: append(pullActions(), pushActions()...)})
	}
	if extra != "" {
		var d struct{ Statement any }
		if json.Unmarshal([]byte(extra), &d) == nil { // it was parsed when it was read
			if more, ok := d.Statement.([]any); ok {
				list = append(list, more...)
			} else {
				list = append(list, d.Statement)
			}
		}
	}
	if list == nil {
		return ""
	}
	return document(list...)
}

func roleARN(a arn.Account, name string) string {
	return arn.ARN{Service: "iam", Account: a, Resource: "role/" + name}.String()
}

func providerARN(a arn.Account) string {
	return arn.ARN{Service: "iam", Account: a, Resource: "oidc-provider/" + policy.GitHubIssuer}.String()
}

// audience is what GitHub's tokens for AWS are made for.
const audience = "sts.amazonaws.com"

// trustPolicy lets the workflows of a block's GitHub repositories assume its role.
func trustPolicy(g *config.GitHubAccess, account arn.Account) string {
	var subjects []string
	for i := range g.Repositories {
		subjects = append(subjects, Subjects(&g.Repositories[i])...)
	}
	return document(statement{Effect: "Allow", Principal: map[string]any{"Federated": providerARN(account)}, Action: "sts:AssumeRoleWithWebIdentity",
		Condition: map[string]any{"StringEquals": map[string]any{policy.GitHubIssuer + ":aud": audience},
			"StringLike": map[string]any{policy.GitHubIssuer + ":sub": subjects}}})
}

// Subjects are the patterns of the subjects that GitHub's tokens of a repository have:
// with names alone, and with the ids that newer repositories send. Where ids are given,
// only those that have them.
func Subjects(d *config.GitHubRepository) []string {
	contexts := d.Subjects
	if len(contexts) == 0 {
		contexts = []string{"*"}
	}
	id := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	var out []string
	for _, c := range contexts {
		if d.OrganisationID == "" && d.RepositoryID == "" {
			out = append(out, "repo:"+d.Organisation+"/"+d.Repository+":"+c)
		}
		out = append(out, "repo:"+d.Organisation+"@"+id(d.OrganisationID)+"/"+d.Repository+"@"+id(d.RepositoryID)+":"+c)
	}
	return out
}

// rolePolicy is what the role may do beside what the repositories' policies say.
func rolePolicy(m *config.Module, p arn.Place, tagged bool) string {
	list := []any{statement{Sid: sidLogin, Effect: "Allow", Action: "ecr:GetAuthorizationToken", Resource: arn.Any}}
	if names := createOnPush(m, p); names != nil {
		actions := append(append([]string{"ecr:CreateRepository"}, pullActions()...), pushActions()...)
		if tagged {
			actions = append(actions, "ecr:TagResource")
		}
		list = append(list, statement{Sid: sidCreate, Effect: "Allow", Action: actions, Resource: names})
	}
	return document(list...)
}

// createOnPush are the ARNs of what a block's pushes may create. ROOT is left out: it
// would let the role push everywhere.
func createOnPush(m *config.Module, p arn.Place) []string {
	var out []string
	for _, prefix := range m.CreateOnPush {
		if prefix.Name != "ROOT" {
			out = append(out, arn.Repository(p, strings.TrimSuffix(prefix.Name, "/")+"/*").String())
		}
	}
	return out
}

// canonical is a field's value in a form that is equal when its meaning is.
func canonical(field, value string) string {
	switch {
	case value == "":
		return ""
	case field == fieldLifecycle:
		return compact(value, func(v any) any { return v })
	case strings.HasSuffix(field, "policy"):
		return compact(value, canonicalPolicy)
	}
	return value
}

func compact(text string, change func(any) any) string {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return text
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(change(v)) != nil {
		return text
	}
	return strings.TrimSpace(b.String())
}

// canonicalPolicy writes sets as sorted lists and accounts as their roots.
func canonicalPolicy(v any) any {
	doc, ok := v.(map[string]any)
	if !ok {
		return v
	}
	list, ok := doc["Statement"].([]any)
	if !ok {
		list = []any{doc["Statement"]}
	}
	for _, item := range list {
		s, ok := item.(map[string]any)
		if !ok {
			continue
		}
		for _, k := range []string{"Action", "NotAction", "Resource", "NotResource"} {
			if s[k] != nil {
				s[k] = set(s[k], same)
			}
		}
		for _, k := range []string{"Principal", "NotPrincipal"} {
			if s[k] == arn.Any {
				s[k] = map[string]any{"AWS": arn.Any}
			}
			if m, ok := s[k].(map[string]any); ok {
				for kind := range m {
					m[kind] = set(m[kind], root)
				}
			}
		}
		if c, ok := s["Condition"].(map[string]any); ok {
			for op := range c {
				if keys, ok := c[op].(map[string]any); ok {
					for k := range keys {
						keys[k] = set(keys[k], same)
					}
				}
			}
		}
	}
	doc["Statement"] = list
	return doc
}

func same(s string) string { return s }

// root writes an account's id as its root's ARN, which means the same.
func root(s string) string {
	if a := arn.Account(s); a.Valid() {
		return arn.Root(a).ARN
	}
	return s
}

func set(v any, write func(string) string) any {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return list
		}
		out = append(out, write(s))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
