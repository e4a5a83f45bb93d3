package identity_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

const github = policy.GitHubIssuer

// ghToken is a token of the table; names are what the policies' rows list.
type ghToken struct{ name, sub, aud, iss, claims string }

// ghTokens are the tokens of the table.
var ghTokens = []ghToken{
	{name: "main", sub: "repo:acme/app:ref:refs/heads/main"},
	{name: "dev", sub: "repo:acme/app:ref:refs/heads/dev"},
	{name: "release", sub: "repo:acme/app:ref:refs/heads/release/1"},
	{name: "tag", sub: "repo:acme/app:ref:refs/tags/v1"},
	{name: "pr", sub: "repo:acme/app:pull_request"},
	{name: "prod", sub: "repo:acme/app:environment:prod"},
	{name: "prodx", sub: "repo:acme/app:environment:production"},
	{name: "lib", sub: "repo:acme/lib:ref:refs/heads/main"},
	{name: "app2", sub: "repo:acme/app2:ref:refs/heads/main"},
	{name: "app-x", sub: "repo:acme/app-x:ref:refs/heads/main"},
	{name: "evil", sub: "repo:acme-evil/app:ref:refs/heads/main"},
	{name: "acmeco", sub: "repo:acmeco/app:ref:refs/heads/main"},
	{name: "upper", sub: "repo:ACME/app:ref:refs/heads/main"},
	{name: "upperrepo", sub: "repo:acme/APP:ref:refs/heads/main"},
	{name: "im-main", sub: "repo:acme@77/app@88:ref:refs/heads/main"},
	{name: "im-dev", sub: "repo:acme@77/app@88:ref:refs/heads/dev"},
	{name: "im-pr", sub: "repo:acme@77/app@88:pull_request"},
	{name: "im-other", sub: "repo:acme@99/app@88:ref:refs/heads/main"}, // the owner's name registered again
	{name: "im-repo2", sub: "repo:acme@77/app@89:ref:refs/heads/main"}, // the repository's name used again
	{name: "im-evil", sub: "repo:acme-evil@5/app@88:ref:refs/heads/main"},
	{name: "im-lib", sub: "repo:acme@77/lib@90:ref:refs/heads/main"},
	{name: "inject", sub: "repo:evil/x:ref:refs/heads/repo:acme/app:ref:refs/heads/main"},
	{name: "prefixed", sub: "xrepo:acme/app:ref:refs/heads/main"},
	{name: "custom", sub: "repository_id:88:environment:prod"},
	{name: "customx", sub: "repository_id:89:environment:prod"},
	{name: "aud2", sub: "repo:acme/app:ref:refs/heads/main", aud: "second"},
	{name: "aud-none", sub: "repo:acme/app:ref:refs/heads/main", aud: "unlisted"},
	{name: "other-iss", sub: "repo:acme/app:ref:refs/heads/main", iss: "https://gitlab.example"},
	{name: "octocat", sub: "repo:acme/app:ref:refs/heads/main", claims: `{"actor":"octocat","job_workflow_ref":"acme/ci/.github/workflows/push.yml@refs/heads/main","repository_id":"88"}`},
	{name: "hubot", sub: "repo:acme/app:ref:refs/heads/main", claims: `{"actor":"hubot","job_workflow_ref":"evil/ci/.github/workflows/push.yml@refs/heads/main","repository_id":"89"}`},
}

// onMain are the tokens with the subject of app's main branch.
const onMain = "main octocat hubot"

// ghPolicies are the conditions of trust policies, with the tokens that each lets
// in, or "refused: …" for those that cannot be made. warns says that it is wider
// than it looks.
var ghPolicies = []struct {
	name, condition, lets string
	warns                 bool
}{
	{"exact", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:ref:refs/heads/main"}}`, onMain, false},
	{"exact, two audiences", `{"StringEquals":{"AUD":["sts.amazonaws.com","second"],"SUB":"repo:acme/app:ref:refs/heads/main"}}`, onMain + " aud2", false},
	{"like a branch", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repo:acme/app:ref:refs/heads/*"}}`, onMain + " dev release", false},
	{"like releases", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repo:acme/app:ref:refs/heads/release/*"}}`, "release", false},
	{"like tags", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repo:acme/app:ref:refs/tags/v*"}}`, "tag", false},
	{"an environment", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:environment:prod"}}`, "prod", false},
	{"a repository", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repo:acme/app:*"}}`, onMain + " dev release tag pr prod prodx", true},
	{"both forms", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":["repo:acme/app:*","repo:acme@*/app@*:*"]}}`,
		onMain + " dev release tag pr prod prodx im-main im-dev im-pr im-other im-repo2", true},
	{"both forms, ids filled in", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":["repo:acme/app:ref:*","repo:acme@77/app@88:ref:*"]}}`,
		onMain + " dev release tag im-main im-dev", false},
	{"ids alone", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme@77/app@88:ref:refs/heads/main"}}`, "im-main", false},
	{"an organisation", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repo:acme/*"}}`, onMain + " dev release tag pr prod prodx lib app2 app-x upperrepo", true},
	{"repositories by prefix", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repo:acme/app*:ref:refs/heads/main"}}`, onMain + " app2 app-x", false},
	{"a wildcard in the organisation", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repo:acme*/app:ref:refs/heads/main"}}`, onMain + " evil acmeco", true},
	{"pull requests", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:pull_request"}}`, "pr", true},
	{"ignoring case", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringEqualsIgnoreCase":{"SUB":"repo:acme/app:ref:refs/heads/main"}}`, onMain + " upper upperrepo", false},
	{"a wildcard in StringEquals is none", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:*"}}`, "", false},
	{"no audience", `{"StringEquals":{"SUB":"repo:acme/app:ref:refs/heads/main"}}`, onMain + " aud2", true},
	{"a customised subject", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"StringLike":{"SUB":"repository_id:88:*"}}`, "custom", false},
	{"an actor besides", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:ref:refs/heads/main","GH:actor":"octocat"}}`, "octocat", false},
	{"a reusable workflow besides", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:ref:refs/heads/main"},"StringLike":{"GH:job_workflow_ref":"acme/ci/*"}}`, "octocat", false},
	{"an immutable id besides", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:ref:refs/heads/main","GH:repository_id":"88"}}`, "octocat", false},
	{"an unknown claim besides", `{"StringEquals":{"AUD":"sts.amazonaws.com","SUB":"repo:acme/app:ref:refs/heads/main","GH:made_up":"x"}}`, "", false},
	{"ForAnyValue", `{"StringEquals":{"AUD":"sts.amazonaws.com"},"ForAnyValue:StringLike":{"SUB":["repo:acme/lib:ref:*"]}}`, "lib", false},
	{"no condition", ``, "refused: add a condition", false},
	{"audience alone", `{"StringEquals":{"AUD":"sts.amazonaws.com"}}`, "refused: add a condition", false},
	{"everything", `{"StringLike":{"SUB":"*"}}`, "refused: begins with a wildcard", false},
	{"every repository", `{"StringLike":{"SUB":"repo:*"}}`, "refused: no / after the owner", false},
	{"every owner", `{"StringLike":{"SUB":"repo:*/app:*"}}`, "refused: does not name an owner", false},
	{"every owner, immutable form", `{"StringLike":{"SUB":"repo:*@*/app@88:*"}}`, "refused: does not name an owner", false},
	{"owner without its end", `{"StringLike":{"SUB":"repo:acme*"}}`, "refused: no / after the owner", false},
	{"true when the key is missing", `{"ForAllValues:StringLike":{"SUB":"repo:acme/app:*"}}`, "refused: add a condition", false},
	{"if it exists", `{"StringLikeIfExists":{"SUB":"repo:acme/app:*"}}`, "refused: add a condition", false},
	{"all but one", `{"StringNotLike":{"SUB":"repo:evil/*"}}`, "refused: add a condition", false},
	{"that it is there", `{"Null":{"SUB":"false"}}`, "refused: add a condition", false},
	{"a variable", `{"StringLike":{"SUB":"repo:${aws:username}/*"}}`, "refused: must not hold variables", false},
	{"one good and one bad", `{"StringLike":{"SUB":["repo:acme/app:*","repo:*"]}}`, "refused: no / after the owner", false},
	{"a customised subject without a value", `{"StringLike":{"SUB":"repository_owner_id:*"}}`, "refused: does not pin its repository_owner_id", false},
}

// oneKey is the key set of GitHub and of another issuer.
type oneKey jose.JSONWebKey

func (k oneKey) Keys(context.Context, string, string) ([]jose.JSONWebKey, error) {
	return []jose.JSONWebKey{jose.JSONWebKey(k)}, nil
}

// TestGitHubTrust is the truth table of trust policies and tokens.
func TestGitHubTrust(t *testing.T) {
	if len(ghPolicies) < 30 || len(ghTokens) < 30 {
		t.Fatalf("%d policies, %d tokens", len(ghPolicies), len(ghTokens))
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	db := sqldbtest.SQLite(t)
	if err := db.Migrate(t.Context(), "identity", identity.Migrations()); err != nil {
		t.Fatal(err)
	}
	id := identity.New(db, secret.NewMaster(make([]byte, 32)), identity.Options{Keys: oneKey{Key: key.Public(), KeyID: "k", Algorithm: "RS256"}})
	if _, err := id.EnsureAccount(t.Context(), account, "test", nil); err != nil {
		t.Fatal(err)
	}
	provider, err := id.CreateProvider(t.Context(), account, "https://"+github, []string{"sts.amazonaws.com", "second"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{}
	for _, tok := range ghTokens {
		tokens[tok.name] = signGitHub(t, key, tok)
	}
	cells := 0
	for i, c := range ghPolicies {
		condition := strings.NewReplacer("SUB", github+":sub", "AUD", github+":aud", "GH:", github+":").Replace(c.condition)
		if condition != "" {
			condition = `,"Condition":` + condition
		}
		trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider.ARN() + `"},"Action":"sts:AssumeRoleWithWebIdentity"` + condition + `}]}`
		role, err := id.CreateEntity(t.Context(), identity.NewEntity{Account: account, Kind: identity.Role, Name: fmt.Sprintf("r%d", i), Trust: trust})
		if why, refused := strings.CutPrefix(c.lets, "refused: "); refused {
			if identity.CodeOf(err) != identity.MalformedPolicyDocument || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want …%s…", c.name, err, why)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		d, err := policy.Parse(trust, policy.Trust)
		if err != nil {
			t.Fatal(err)
		}
		if w, _ := policy.ReviewTrust(d); (len(w) > 0) != c.warns {
			t.Errorf("%s: warnings %q, want some: %v", c.name, w, c.warns)
		}
		lets := strings.Fields(c.lets)
		for _, tok := range ghTokens {
			cells++
			if got := assume(t, id, role, tokens[tok.name]); got != slices.Contains(lets, tok.name) {
				t.Errorf("%s: token %s (%s) let in: %v", c.name, tok.name, tok.sub, got)
			}
		}
	}
	t.Logf("%d policies, %d tokens, %d cells", len(ghPolicies), len(ghTokens), cells)
	role := must(id.Entity(t.Context(), account, identity.Role, "r0"))(t)
	if !assume(t, id, role, tokens["main"]) {
		t.Fatal("not let in before")
	}
	if err := id.CloseAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if assume(t, id, role, tokens["main"]) {
		t.Error("let into a closed account")
	}
}

func signGitHub(t *testing.T, key *rsa.PrivateKey, tok ghToken) string {
	t.Helper()
	now := time.Now()
	claims := map[string]any{"iss": "https://" + github, "sub": tok.sub, "aud": "sts.amazonaws.com", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	if tok.claims != "" {
		if err := json.Unmarshal([]byte(tok.claims), &claims); err != nil {
			t.Fatal(err)
		}
	}
	if tok.aud != "" {
		claims["aud"] = tok.aud
	}
	if tok.iss != "" {
		claims["iss"] = tok.iss
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// assume does what STS does with a token and reports whether it would be let in.
func assume(t *testing.T, id *identity.Identity, role *identity.Entity, token string) bool {
	t.Helper()
	w, err := id.WebIdentityOf(t.Context(), account, token)
	if err != nil {
		if identity.CodeOf(err) != identity.InvalidIdentityToken {
			t.Error(err)
		}
		return false
	}
	c := gate.Call{Principal: w.Principal, Service: "sts", Action: "AssumeRoleWithWebIdentity", Place: arn.Place{Account: account, Region: "eu-west-1"}, Keys: w.Keys}
	d, err := id.Authorize(t.Context(), c, c.Action, role.ARN())
	if err != nil {
		t.Error(err)
	}
	return d.Allowed
}
