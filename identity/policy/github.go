package policy

import (
	"fmt"
	"strings"
)

// GitHubIssuer is the issuer of GitHub Actions' tokens, without its scheme: what
// an identity provider is called after and its condition keys begin with.
const GitHubIssuer = "token.actions.githubusercontent.com"

const webIdentityAction = "sts:assumerolewithwebidentity"

// ReviewTrust looks at what a trust policy gives to GitHub's tokens, which anyone
// with a GitHub account can obtain: it refuses (ErrMalformed) an Allow whose
// conditions do not pin whose repositories may assume the role, and returns
// warnings for what is allowed and probably wider than meant.
func ReviewTrust(d *Document) (warnings []string, err error) {
	for i := range d.Statements {
		s := &d.Statements[i]
		if s.Effect != Allow || !s.trustsGitHub() {
			continue
		}
		w, why := s.reviewGitHub()
		if why != "" {
			return nil, malformed("statement %d trusts GitHub's tokens without saying whose: %s", i+1, why)
		}
		for _, text := range w {
			warnings = append(warnings, fmt.Sprintf("statement %d: %s", i+1, text))
		}
	}
	return warnings, nil
}

func (s *Statement) trustsGitHub() bool {
	if s.principals == nil || matchAny(s.actions, webIdentityAction) == s.notAction {
		return false
	}
	if s.notPrincipal {
		return true
	}
	for _, f := range s.principals.federated {
		if f == GitHubIssuer || strings.HasSuffix(f, "oidc-provider/"+GitHubIssuer) {
			return true
		}
	}
	return false
}

func (s *Statement) reviewGitHub() (warnings []string, why string) {
	pinned, aud := false, false
	why = "add a condition StringLike or StringEquals on " + GitHubIssuer + ":sub, such as repo:ORG/REPO:*"
	for i := range s.conditions {
		c := &s.conditions[i]
		switch c.key {
		case GitHubIssuer + ":aud":
			aud = aud || !c.negated
		case GitHubIssuer + ":sub":
			if c.negated || c.null || c.ifExists || c.mode == forAllValues || !strings.HasPrefix(strings.TrimPrefix(c.name, "ForAnyValue:"), "String") {
				continue // true of tokens that it was not meant for
			}
			pinned = true
			for j := range c.values {
				w, bad := reviewSubject(&c.values[j].template, strings.HasSuffix(c.name, "Like"))
				if bad != "" {
					return nil, bad
				}
				warnings = append(warnings, w...)
			}
		}
	}
	if !pinned {
		return nil, why
	}
	if !aud {
		warnings = append(warnings, "no condition on "+GitHubIssuer+":aud; tokens made for any audience that the provider lists are taken")
	}
	return warnings, ""
}

// reviewSubject looks at one pattern for sub. Subjects are claim:value pairs, the
// first of which, or a customised template's, names the repository or its owner.
func reviewSubject(t *template, wildcardsMean bool) (warnings []string, bad string) {
	if t.fixed == nil {
		return nil, "the subject must not hold variables"
	}
	text := t.text
	if !wildcardsMean {
		text = strings.NewReplacer("*", "x", "?", "x").Replace(text)
	}
	claim, rest, ok := strings.Cut(text, ":")
	if !ok || strings.ContainsAny(claim, "*?") {
		return nil, fmt.Sprintf("subject %q begins with a wildcard, so it is true of every repository on GitHub", t.text)
	}
	if claim != "repo" { // a customised subject; its first value must be pinned
		value, _, _ := strings.Cut(rest, ":")
		if strings.ContainsAny(value, "*?") || value == "" {
			return nil, fmt.Sprintf("subject %q does not pin its %s", t.text, claim)
		}
		return nil, ""
	}
	owner, repository, ok := strings.Cut(rest, "/")
	name, id, _ := strings.Cut(owner, "@")
	switch {
	case !ok:
		return nil, fmt.Sprintf("subject %q has no / after the owner, so it is true of other owners whose names begin alike", t.text)
	case strings.Trim(name, "*?") == "" && (id == "" || strings.ContainsAny(id, "*?")):
		return nil, fmt.Sprintf("subject %q does not name an owner, so it is true of every repository on GitHub", t.text)
	case strings.ContainsAny(name, "*?") && (id == "" || strings.ContainsAny(id, "*?")):
		warnings = append(warnings, fmt.Sprintf("subject %q has a wildcard in the owner: anyone can register an owner that matches", t.text))
	}
	if name := strings.SplitN(repository, ":", 2)[0]; strings.Trim(name, "*?@") == "" {
		warnings = append(warnings, fmt.Sprintf("subject %q is true of every repository of its owner, also of later ones", t.text))
	}
	if _, context, ok := strings.Cut(repository, ":"); !ok || strings.HasPrefix(context, "*") || context == "pull_request" {
		warnings = append(warnings, fmt.Sprintf("subject %q is also true of pull requests and of every branch; pin ref:refs/heads/BRANCH or environment:NAME where a push matters", t.text))
	}
	return warnings, ""
}
