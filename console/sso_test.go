package console_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/chromedp/chromedp"
	"github.com/go-jose/go-jose/v4"
)

// provider is an OpenID Connect provider: its pages, keys and tokens are real, its users
// are whoever asks.
type provider struct {
	*httptest.Server
	t     *testing.T
	key   *rsa.PrivateKey
	mu    sync.Mutex
	codes map[string]url.Values // what was asked for, by code
	spoil func(claims map[string]any)
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, codes: map[string]url.Values{}}
	m := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	m.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys"})
	})
	m.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Use: "sig", Algorithm: "RS256"}}})
	})
	m.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		v := r.URL.Query()
		if v.Get("response_type") != "code" || v.Get("code_challenge_method") != "S256" || v.Get("nonce") == "" || v.Get("state") == "" {
			t.Errorf("asked for %v", v)
		}
		code := rand.Text()
		p.mu.Lock()
		p.codes[code] = v
		p.mu.Unlock()
		http.Redirect(w, r, v.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {v.Get("state")}}.Encode(), http.StatusFound)
	})
	m.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		asked, ok := p.codes[r.PostFormValue("code")]
		delete(p.codes, r.PostFormValue("code"))
		id, secret, _ := r.BasicAuth()
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !ok || id != "console" || secret != "s3cret" || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		answer(w, map[string]any{"token_type": "Bearer", "id_token": p.token(asked.Get("nonce"))})
	})
	p.Server = httptest.NewTLSServer(m)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) token(nonce string) string {
	claims := map[string]any{"iss": p.URL, "aud": "console", "sub": "user-1", "email": "dana@example.com", "nonce": nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
	if p.spoil != nil {
		p.spoil(claims)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// TestSingleSignOn signs in by a provider, as a session of a role, and is refused with
// tokens that are for another attempt, or for somebody whom the role does not trust.
func TestSingleSignOn(t *testing.T) {
	p := newProvider(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", ca)
	host := p.URL[len("https://"):]
	s := newSite(t, "--sso-issuer", p.URL, "--sso-client-id", "console", "--sso-client-secret-file", secretFile, "--sso-role", "arn:aws:iam::000000000000:role/console", "--sso-name", "Example",
		"--oidc-jwks", p.URL+"="+p.URL+"/keys")
	users := iam.NewFromConfig(s.aws)
	for _, err := range []error{
		second(users.CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{Url: &p.URL, ClientIDList: []string{"console"}})),
		second(users.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: ptr("console"), AssumeRolePolicyDocument: ptr(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::000000000000:oidc-provider/` + host +
			`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + host + `:aud":"console","` + host + `:sub":"user-1"}}}]}`)})),
		second(users.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: ptr("console"), PolicyArn: ptr("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b := s.chromium(chromedp.IgnoreCertErrors)
	b.open("/repositories")
	b.press("Sign in with Example")
	b.see("No repositories yet")
	b.see("dana@example.com")
	b.base = value[string](b, "location.origin") // it is the one that the provider knows
	b.open("/users")
	b.see("is not authorized to perform: iam:ListUsers")
	b.press("You: dana@example.com of 000000000000")
	b.press("Sign out")
	for name, spoil := range map[string]func(map[string]any){
		"is not for this attempt": func(c map[string]any) { c["nonce"] = "another" },
		"Not authorized":          func(c map[string]any) { c["sub"] = "user-2" },
		"Incorrect token":         func(c map[string]any) { c["aud"] = "elsewhere" },
		"expired":                 func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
	} {
		p.spoil = spoil
		b.open("/signin")
		b.press("Sign in with Example")
		b.see(name)
	}
	b.open("/signin/sso/callback?code=x&state=y")
	b.see("began in another browser")
}
