// Package webtoken verifies the tokens of OpenID Connect issuers: GitHub Actions,
// GitLab, Buildkite, Kubernetes.
//
// It answers who issued a token and what it claims. Whether an account trusts the
// issuer, and what the claims are worth, is identity's business. Signatures are
// RS256 or ES256; keys come only from the issuer's own key set, never from the
// token.
package webtoken

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/berth-registry/berth/internal/strictjson"
)

const (
	// MaxToken bounds a token, in bytes.
	MaxToken = 16 << 10
	// leeway is how far the issuer's clock may be from ours.
	leeway   = 60 * time.Second
	maxDepth = 16
)

// The ways a token can be wrong.
var (
	// ErrInvalid is a token that does not parse or is not its issuer's.
	ErrInvalid = errors.New("the token is not valid")
	// ErrExpired is a token past its end.
	ErrExpired = errors.New("the token has expired")
	// ErrUnreachable is an issuer whose keys could not be had.
	ErrUnreachable = errors.New("the issuer's keys could not be read")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// Token is a verified token.
type Token struct {
	// Issuer is the URL of the issuer without https:// and a final slash.
	Issuer   string
	Subject  string
	Audience []string
	// Party is the azp claim, "" for none.
	Party   string
	Expires time.Time
	// Claims are the claims that are texts, numbers, booleans or lists of texts.
	Claims map[string][]string
}

// Keys finds the keys of an issuer.
type Keys interface {
	// Keys returns those with the id, or all that the issuer has when the id is
	// "": ErrUnreachable.
	Keys(ctx context.Context, issuer, kid string) ([]jose.JSONWebKey, error)
}

// Issuer reads the issuer of a token without verifying anything: to find out whose
// keys to ask for. What it returns is a claim of whoever sent the token.
func Issuer(token string) (string, error) {
	_, claims, err := parse(token)
	if err != nil {
		return "", err
	}
	return issuerOf(claims)
}

func issuerOf(claims *strictjson.Value) (string, error) {
	iss := claims.Get("iss")
	if iss == nil || iss.Kind != strictjson.String {
		return "", invalid("it has no issuer")
	}
	u, err := url.Parse(iss.Text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", invalid("its issuer is not an https URL")
	}
	return strings.TrimSuffix(strings.TrimPrefix(iss.Text, "https://"), "/"), nil
}

// parse splits a token and reads header and claims strictly.
func parse(token string) (header, claims *strictjson.Value, err error) {
	if len(token) > MaxToken {
		return nil, nil, invalid("it is longer than %d bytes", MaxToken)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, invalid("it is not of three parts")
	}
	read := func(part, what string) (*strictjson.Value, error) {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return nil, invalid("its %s is not base64url", what)
		}
		v, err := strictjson.Parse(b, maxDepth)
		if err != nil {
			return nil, invalid("its %s: %v", what, err)
		}
		return v, nil
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil {
		return nil, nil, invalid("its signature is not base64url")
	}
	if header, err = read(parts[0], "header"); err != nil {
		return nil, nil, err
	}
	claims, err = read(parts[1], "payload")
	return header, claims, err
}

// Verify checks signature and times of a token: ErrInvalid, ErrExpired,
// ErrUnreachable.
func Verify(ctx context.Context, token string, keys Keys, now time.Time) (*Token, error) {
	header, claims, err := parse(token)
	if err != nil {
		return nil, err
	}
	alg, kid, err := checkHeader(header)
	if err != nil {
		return nil, err
	}
	issuer, err := issuerOf(claims)
	if err != nil {
		return nil, err
	}
	if err := verifySignature(ctx, token, keys, issuer, alg, kid); err != nil {
		return nil, err
	}
	t := &Token{Issuer: issuer, Claims: map[string][]string{}}
	if err := t.read(claims); err != nil {
		return nil, err
	}
	return t, t.checkTimes(claims, now)
}

// checkHeader takes the algorithm and key id; every other way to say how the token
// is to be verified is refused.
func checkHeader(header *strictjson.Value) (jose.SignatureAlgorithm, string, error) {
	text := func(name string) string {
		if v := header.Get(name); v != nil && v.Kind == strictjson.String {
			return v.Text
		}
		return ""
	}
	alg := jose.SignatureAlgorithm(text("alg"))
	if alg != jose.RS256 && alg != jose.ES256 {
		return "", "", invalid("it must be signed with RS256 or ES256")
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if header.Get(name) != nil {
			return "", "", invalid("its header has %s", name)
		}
	}
	return alg, text("kid"), nil
}

func verifySignature(ctx context.Context, token string, keys Keys, issuer string, alg jose.SignatureAlgorithm, kid string) error {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
	if err != nil {
		return invalid("%v", err)
	}
	candidates, err := keys.Keys(ctx, issuer, kid)
	if err != nil {
		return err
	}
	for i := range candidates {
		k := &candidates[i]
		if !usable(k, alg) {
			continue
		}
		if _, err := signed.Verify(k.Key); err == nil {
			return nil
		}
	}
	return invalid("no key of its issuer verifies it")
}

// usable binds an algorithm to the kind of key.
func usable(k *jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != string(alg) || !k.Valid() {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return alg == jose.RS256 && key.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && key.Curve == elliptic.P256()
	}
	return false
}

func (t *Token) read(claims *strictjson.Value) error {
	for _, m := range claims.Members {
		v := m.Value
		switch v.Kind {
		case strictjson.String, strictjson.Number, strictjson.Bool:
			t.Claims[m.Name] = []string{v.Text}
		case strictjson.List:
			list := []string{}
			for _, item := range v.Items {
				if item.Kind == strictjson.String {
					list = append(list, item.Text)
				}
			}
			if len(list) == len(v.Items) {
				t.Claims[m.Name] = list
			}
		}
	}
	one := func(name string) string {
		if v := claims.Get(name); v != nil && v.Kind == strictjson.String {
			return v.Text
		}
		return ""
	}
	t.Subject, t.Party, t.Audience = one("sub"), one("azp"), t.Claims["aud"]
	if t.Subject == "" || len(t.Subject) > 1024 {
		return invalid("it has no subject, or one that is too long")
	}
	if aud := claims.Get("aud"); len(t.Audience) == 0 || aud.Kind != strictjson.String && aud.Kind != strictjson.List {
		return invalid("it has no audience")
	}
	return nil
}

func (t *Token) checkTimes(claims *strictjson.Value, now time.Time) error {
	at := func(name string) (time.Time, bool, error) {
		v := claims.Get(name)
		if v == nil {
			return time.Time{}, false, nil
		}
		f, err := strconv.ParseFloat(v.Text, 64)
		if v.Kind != strictjson.Number || err != nil || f < 0 || f > 1e11 {
			return time.Time{}, false, invalid("its %s is not a time", name)
		}
		return time.Unix(int64(f), 0), true, nil
	}
	exp, ok, err := at("exp")
	if err != nil || !ok {
		return errors.Join(err, invalid("it has no end"))
	}
	t.Expires = exp
	if !now.Before(exp.Add(leeway)) {
		return fmt.Errorf("%w at %s", ErrExpired, exp.UTC().Format(time.RFC3339))
	}
	for _, name := range []string{"nbf", "iat"} {
		from, ok, err := at(name)
		if err != nil {
			return err
		}
		if ok && from.After(now.Add(leeway)) {
			return invalid("its %s lies in the future", name)
		}
	}
	return nil
}

// ConditionKeys are the claims as policies name them: ISSUER:CLAIM, in lower case.
// Its aud is the authorised party where the token has one, as in AWS.
func (t *Token) ConditionKeys() map[string][]string {
	keys := map[string][]string{}
	for name, v := range t.Claims {
		keys[strings.ToLower(t.Issuer+":"+name)] = v
	}
	if t.Party != "" {
		keys[strings.ToLower(t.Issuer+":aud")] = []string{t.Party}
	}
	return keys
}
