package berth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-registry/berth/aws/stsapi"
)

// actAs takes the credentials in a reply of the aws CLI (create-access-key,
// assume-role, get-session-token) or of berth account create --output json; "root"
// takes the server's own again.
func actAs(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: act-as FILE|root")
	}
	if args[0] == "root" {
		for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
			ts.Setenv(k, of(ts).server.Env[k])
		}
		ts.Setenv("AWS_SESSION_TOKEN", "")
		return
	}
	type keys struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	var reply struct {
		AccessKey, Credentials keys
		keys
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &reply))
	for _, k := range []keys{reply.AccessKey, reply.Credentials, reply.keys} {
		if k.AccessKeyID != "" {
			ts.Setenv("AWS_ACCESS_KEY_ID", k.AccessKeyID)
			ts.Setenv("AWS_SECRET_ACCESS_KEY", k.SecretAccessKey)
			ts.Setenv("AWS_SESSION_TOKEN", k.SessionToken)
			return
		}
	}
	ts.Fatalf("%s holds no credentials", args[0])
}

// oidcIssuer makes the keys of an identity provider and writes its key set.
func oidcIssuer(ts *testscript.TestScript, _ bool, args []string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ts.Check(err)
	of(ts).issuer = key
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "story", Algorithm: "RS256", Use: "sig"}}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), set, 0o600))
}

// oidcToken writes a token of GitHub's issuer with claims given as NAME=VALUE.
func oidcToken(ts *testscript.TestScript, _ bool, args []string) {
	claims := map[string]string{}
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		claims[k] = v
	}
	text, err := of(ts).token(claims)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// token makes a token of GitHub's issuer.
func (s *story) token(more map[string]string) (string, error) {
	now := time.Now()
	claims := map[string]any{"iss": "https://token.actions.githubusercontent.com", "aud": stsapi.SigningName + ".amazonaws.com",
		"iat": now.Unix(), "nbf": now.Unix() - 5, "exp": now.Add(10 * time.Minute).Unix()}
	for k, v := range more {
		claims[k] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: s.issuer, KeyID: "story"}}, nil)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(body)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

var requestPattern = regexp.MustCompile(`\(request ([0-9a-f-]{36})\)`)

// requestID puts the request id in a denial that the last command printed into
// REQUEST.
func requestID(ts *testscript.TestScript, _ bool, _ []string) {
	m := requestPattern.FindStringSubmatch(ts.ReadFile("stderr") + ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("no request id was printed")
	}
	ts.Setenv("REQUEST", m[1])
}
