package webtoken_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/berth-registry/berth/identity/webtoken"
)

const issuer = "idp.example/path"

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fixed is a source of keys that never fails.
type fixed []jose.JSONWebKey

func (f fixed) Keys(_ context.Context, iss, kid string) ([]jose.JSONWebKey, error) {
	var out []jose.JSONWebKey
	for _, k := range f {
		if iss == issuer && (kid == "" || kid == k.KeyID) {
			out = append(out, k)
		}
	}
	return out, nil
}

type keys struct {
	rsa, other *rsa.PrivateKey
	ec         *ecdsa.PrivateKey
	set        fixed
}

func makeKeys(t testing.TB) *keys {
	t.Helper()
	k := &keys{}
	var errs [3]error
	k.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.other, errs[1] = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, errs[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	k.set = fixed{{Key: k.rsa.Public(), KeyID: "r", Algorithm: "RS256", Use: "sig"}, {Key: k.ec.Public(), KeyID: "e", Use: "sig"},
		{Key: k.other.Public(), KeyID: "enc", Use: "enc"}}
	return k
}

func claims(change func(map[string]any)) map[string]any {
	c := map[string]any{"iss": "https://" + issuer, "sub": "job", "aud": "sts.amazonaws.com", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	if change != nil {
		change(c)
	}
	return c
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	body, ok := c.([]byte)
	if !ok {
		if body, err = json.Marshal(c); err != nil {
			t.Fatal(err)
		}
	}
	obj, err := s.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := obj.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// raw signs a header as it is with RS256.
func raw(t testing.TB, k *rsa.PrivateKey, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestVerify(t *testing.T) {
	k := makeKeys(t)
	set := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	unset := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	good := func(change func(map[string]any)) string { return sign(t, jose.RS256, k.rsa, "r", claims(change)) }
	payload, _ := json.Marshal(claims(nil))
	public, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) string {
		input := b64(`{"alg":"HS256","kid":"r"}`) + "." + b64(string(payload))
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: k.other.Public(), KeyID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token string
		err   error
	}{
		"RS256":                     {good(nil), nil},
		"ES256":                     {sign(t, jose.ES256, k.ec, "e", claims(nil)), nil},
		"no kid":                    {sign(t, jose.RS256, k.rsa, "", claims(nil)), nil},
		"a list of audiences":       {good(set("aud", []string{"a", "b"})), nil},
		"issuer with a slash":       {good(set("iss", "https://"+issuer+"/")), nil},
		"ended within the leeway":   {good(set("exp", now.Add(-59*time.Second).Unix())), nil},
		"ended":                     {good(set("exp", now.Add(-60*time.Second).Unix())), webtoken.ErrExpired},
		"issued within the leeway":  {good(set("iat", now.Add(59*time.Second).Unix())), nil},
		"issued in the future":      {good(set("iat", now.Add(62*time.Second).Unix())), webtoken.ErrInvalid},
		"not yet valid":             {good(set("nbf", now.Add(2*time.Minute).Unix())), webtoken.ErrInvalid},
		"no end":                    {good(unset("exp")), webtoken.ErrInvalid},
		"end is text":               {good(set("exp", "tomorrow")), webtoken.ErrInvalid},
		"end overflows":             {good(set("exp", 1e300)), webtoken.ErrInvalid},
		"no issuer":                 {good(unset("iss")), webtoken.ErrInvalid},
		"plain issuer":              {good(set("iss", "http://"+issuer)), webtoken.ErrInvalid},
		"issuer with a query":       {good(set("iss", "https://"+issuer+"?x")), webtoken.ErrInvalid},
		"issuer is a list":          {good(set("iss", []string{"https://" + issuer})), webtoken.ErrInvalid},
		"another issuer":            {good(set("iss", "https://other.example")), webtoken.ErrInvalid},
		"no subject":                {good(unset("sub")), webtoken.ErrInvalid},
		"subject is a number":       {good(set("sub", 7)), webtoken.ErrInvalid},
		"no audience":               {good(unset("aud")), webtoken.ErrInvalid},
		"audience is a number":      {good(set("aud", 7)), webtoken.ErrInvalid},
		"no audiences":              {good(set("aud", []string{})), webtoken.ErrInvalid},
		"another key":               {sign(t, jose.RS256, k.other, "r", claims(nil)), webtoken.ErrInvalid},
		"unknown kid":               {sign(t, jose.RS256, k.rsa, "zzz", claims(nil)), webtoken.ErrInvalid},
		"a key for encryption":      {sign(t, jose.RS256, k.other, "enc", claims(nil)), webtoken.ErrInvalid},
		"RS384":                     {sign(t, jose.RS384, k.rsa, "r", claims(nil)), webtoken.ErrInvalid},
		"PS256":                     {sign(t, jose.PS256, k.rsa, "r", claims(nil)), webtoken.ErrInvalid},
		"kid as a path":             {raw(t, k.rsa, `{"alg":"RS256","kid":"../../etc/passwd"}`, string(payload)), webtoken.ErrInvalid},
		"kid as SQL":                {raw(t, k.rsa, `{"alg":"RS256","kid":"' or 1=1 --"}`, string(payload)), webtoken.ErrInvalid},
		"alg none":                  {b64(`{"alg":"none"}`) + "." + b64(string(payload)) + ".", webtoken.ErrInvalid},
		"alg NONE with signature":   {raw(t, k.rsa, `{"alg":"NONE","kid":"r"}`, string(payload)), webtoken.ErrInvalid},
		"no alg":                    {raw(t, k.rsa, `{"kid":"r"}`, string(payload)), webtoken.ErrInvalid},
		"HS256 with the public key": {hs256(public), webtoken.ErrInvalid},
		"HS256 with its PEM":        {hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), webtoken.ErrInvalid},
		"ES256 said, RSA signed":    {raw(t, k.rsa, `{"alg":"ES256","kid":"r"}`, string(payload)), webtoken.ErrInvalid},
		"own key in the header":     {raw(t, k.other, `{"alg":"RS256","jwk":`+string(jwk)+`}`, string(payload)), webtoken.ErrInvalid},
		"own key at a URL":          {raw(t, k.other, `{"alg":"RS256","jku":"https://evil.example/keys","kid":"r"}`, string(payload)), webtoken.ErrInvalid},
		"own certificate at a URL":  {raw(t, k.other, `{"alg":"RS256","x5u":"https://evil.example/x","kid":"r"}`, string(payload)), webtoken.ErrInvalid},
		"crit":                      {raw(t, k.rsa, `{"alg":"RS256","kid":"r","crit":["x"],"x":1}`, string(payload)), webtoken.ErrInvalid},
		"not encoded":               {raw(t, k.rsa, `{"alg":"RS256","kid":"r","b64":false,"crit":["b64"]}`, string(payload)), webtoken.ErrInvalid},
		"alg twice":                 {raw(t, k.rsa, `{"alg":"none","alg":"RS256","kid":"r"}`, string(payload)), webtoken.ErrInvalid},
		"sub twice":                 {raw(t, k.rsa, `{"alg":"RS256","kid":"r"}`, strings.Replace(string(payload), `"sub"`, `"sub":"admin","sub"`, 1)), webtoken.ErrInvalid},
		"sub twice, escaped":        {raw(t, k.rsa, `{"alg":"RS256","kid":"r"}`, strings.Replace(string(payload), `"sub"`, `"su\u0062":"admin","sub"`, 1)), webtoken.ErrInvalid},
		"claims are a list":         {raw(t, k.rsa, `{"alg":"RS256","kid":"r"}`, `[]`), webtoken.ErrInvalid},
		"two documents":             {raw(t, k.rsa, `{"alg":"RS256","kid":"r"}`, string(payload)+string(payload)), webtoken.ErrInvalid},
		"two parts":                 {strings.Join(strings.Split(good(nil), ".")[:2], "."), webtoken.ErrInvalid},
		"four parts":                {good(nil) + ".x", webtoken.ErrInvalid},
		"empty":                     {"", webtoken.ErrInvalid},
		"very long":                 {good(set("x", strings.Repeat("a", 20_000))), webtoken.ErrInvalid},
		"padded":                    {strings.Replace(good(nil), ".", "=.", 1), webtoken.ErrInvalid},
	} {
		tok, err := webtoken.Verify(t.Context(), c.token, k.set, now)
		if !errors.Is(err, c.err) || c.err == nil && (err != nil || tok.Subject != "job" || tok.Issuer != issuer) {
			t.Errorf("%s: %+v, %v, want %v", name, tok, err, c.err)
		}
	}
}

// TestMutations: no change of a token is accepted.
func TestMutations(t *testing.T) {
	k := makeKeys(t)
	r := mrand.New(mrand.NewPCG(1, 2))
	tokens := []string{sign(t, jose.RS256, k.rsa, "r", claims(nil)), sign(t, jose.ES256, k.ec, "e", claims(nil)),
		sign(t, jose.RS256, k.rsa, "r", claims(func(c map[string]any) { c["sub"] = "other" }))}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.="
	n := 0
	for n < 40_000 {
		from := tokens[r.IntN(len(tokens))]
		b := []byte(from)
		switch r.IntN(4) {
		case 0:
			b[r.IntN(len(b))] = alphabet[r.IntN(len(alphabet))]
		case 1:
			i := r.IntN(len(b))
			b = append(b[:i], b[i+1:]...)
		case 2:
			i := r.IntN(len(b))
			b = append(b[:i], append([]byte{alphabet[r.IntN(len(alphabet))]}, b[i:]...)...)
		case 3: // parts of two tokens
			x, y := strings.Split(from, "."), strings.Split(tokens[r.IntN(len(tokens))], ".")
			i := r.IntN(3)
			x[i] = y[i]
			b = []byte(strings.Join(x, "."))
		}
		if s := string(b); s == tokens[0] || s == tokens[1] || s == tokens[2] {
			continue
		}
		n++
		if tok, err := webtoken.Verify(t.Context(), string(b), k.set, now); err == nil {
			t.Fatalf("accepted as %+v: %s\nfrom %s", tok, b, from)
		}
	}
	t.Logf("%d mutations", n)
}

// server is a Getter of documents.
type server struct {
	docs map[string]string
	gets int
}

func (s *server) Get(_ context.Context, url string, _ int64) ([]byte, error) {
	s.gets++
	if d, ok := s.docs[url]; ok {
		return []byte(d), nil
	}
	return nil, fmt.Errorf("%s: not found", url)
}

// TestKeySets: keys are asked for once an hour, for an unknown key id at most once
// a minute, and a rotation is noticed.
func TestKeySets(t *testing.T) {
	k := makeKeys(t)
	clock := now
	jwks := func(list ...jose.JSONWebKey) string {
		b, err := json.Marshal(jose.JSONWebKeySet{Keys: list})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const config, uri = "https://" + issuer + "/.well-known/openid-configuration", "https://keys.example/set"
	s := &server{docs: map[string]string{config: `{"issuer":"https://` + issuer + `","jwks_uri":"` + uri + `"}`, uri: jwks(k.set[0])}}
	sets := webtoken.NewKeySets(s, map[string]string{"elsewhere.example": uri}, func() time.Time { return clock })
	find := func(iss, kid string, want, gets int) {
		t.Helper()
		before := s.gets
		list, err := sets.Keys(t.Context(), iss, kid)
		if len(list) != want || want > 0 && err != nil {
			t.Errorf("%s %q: %d keys, %v, want %d", iss, kid, len(list), err, want)
		}
		if s.gets-before != gets {
			t.Errorf("%s %q: asked %d times, want %d", iss, kid, s.gets-before, gets)
		}
	}
	find(issuer, "r", 1, 2)
	find(issuer, "r", 1, 0)
	find(issuer, "e", 0, 0) // unknown, but asked within the minute
	clock = clock.Add(time.Minute)
	s.docs[uri] = jwks(k.set[0], k.set[1])
	find(issuer, "e", 1, 2) // rotated
	find(issuer, "zzz", 0, 0)
	find("elsewhere.example", "r", 1, 1) // no discovery
	clock = clock.Add(time.Hour)
	delete(s.docs, uri)
	if _, err := sets.Keys(t.Context(), issuer, "r"); !errors.Is(err, webtoken.ErrUnreachable) {
		t.Errorf("stale keys of an issuer that is gone: %v", err)
	}
	s.docs["https://liar.example/.well-known/openid-configuration"] = `{"issuer":"https://` + issuer + `","jwks_uri":"` + uri + `"}`
	if _, err := sets.Keys(t.Context(), "liar.example", "r"); !errors.Is(err, webtoken.ErrUnreachable) {
		t.Errorf("a discovery document of another issuer: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	k := makeKeys(f)
	f.Add(sign(f, jose.RS256, k.rsa, "r", claims(nil)))
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{"iss":"https://idp.example/path"}`) + ".")
	f.Fuzz(func(t *testing.T, token string) {
		_, _ = webtoken.Issuer(token)
		if tok, err := webtoken.Verify(context.Background(), token, k.set[1:], now); err == nil {
			t.Errorf("accepted %+v", tok)
		}
	})
}
