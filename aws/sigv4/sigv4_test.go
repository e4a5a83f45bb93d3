package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const key, secretKey = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

var signed = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// request makes a request, signs it with the SDK and passes it through the wire
// form, so that what is verified is what a server sees.
func request(t testing.TB, method, uri, body, token, service string, presign bool, header http.Header) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://localhost:5100"+uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if presign { // what a presigned URL can carry
		header, body = nil, ""
		if r, err = http.NewRequest(method, "http://localhost:5100"+uri, nil); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range header {
		r.Header[k] = v
	}
	cred := aws.Credentials{AccessKeyID: key, SecretAccessKey: secretKey, SessionToken: token}
	if presign {
		q := r.URL.Query()
		q.Set("X-Amz-Expires", "3600")
		r.URL.RawQuery = q.Encode()
		u, _, err := v4.NewSigner().PresignHTTP(context.Background(), cred, r, Unsigned, service, "eu-west-1", signed)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = http.NewRequest(method, u, nil); err != nil {
			t.Fatal(err)
		}
	} else if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, BodyHash([]byte(body)), service, "eu-west-1", signed,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" }); err != nil {
		t.Fatal(err)
	}
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return parseWire(t, wire.Bytes())
}

func parseWire(t testing.TB, wire []byte) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func verify(r *http.Request, now time.Time) error {
	s, err := Parse(r)
	if err != nil {
		return err
	}
	if s.AccessKeyID != key {
		return fmt.Errorf("%w: unknown key", ErrMismatch)
	}
	body, _ := io.ReadAll(r.Body)
	return s.Verify(r, secretKey, now, BodyHash(body))
}

var target = http.Header{"X-Amz-Target": {"AmazonEC2ContainerRegistry_V20150921.ListImages"}, "Content-Type": {"application/x-amz-json-1.1"}}

func TestSDKSigner(t *testing.T) {
	for _, c := range []struct {
		method, uri, body, token, service string
		presign                           bool
		header                            http.Header
	}{
		{"POST", "/", `{"repositoryName":"a"}`, "", "ecr", false, target},
		{"POST", "/", `{}`, "tok/en+with=odd bytes", "ecr", false, target},
		{"POST", "/", "", "", "sts", false, http.Header{"X-Amz-Spaces": {"  a   b  ", "c"}}},
		{"GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Af%20x%2Fy?Qualifier=%24LATEST&a=2&a=1&b", "", "", "lambda", false, nil},
		{"GET", "/bucket/key%20with%2Fslash?list-type=2", "", "", "s3", false, nil},
		{"GET", "/v2/team/app/blobs/sha256:00?x=%2F%20y", "", "session", "ecr", true, nil},
	} {
		r := request(t, c.method, c.uri, c.body, c.token, c.service, c.presign, c.header)
		s, err := Parse(r)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.uri, err)
			continue
		}
		if s.Service != c.service || s.Region != "eu-west-1" || s.SessionToken != c.token || s.Presigned != c.presign {
			t.Errorf("%s %s: parsed %+v", c.method, c.uri, s)
		}
		if err := verify(r, signed); err != nil {
			t.Errorf("%s %s: %v\n%s", c.method, c.uri, err, s.canonical(r, BodyHash([]byte(c.body))))
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		presign bool
		after   time.Duration
		ok      bool
	}{
		{false, 0, true}, {false, Skew, true}, {false, Skew + time.Second, false},
		{false, -Skew, true}, {false, -Skew - time.Second, false},
		{true, time.Hour, true}, {true, time.Hour + time.Second, false},
		{true, -Skew, true}, {true, -Skew - time.Second, false},
	} {
		err := verify(request(t, "POST", "/", "{}", "", "ecr", c.presign, target), signed.Add(c.after))
		if c.ok != (err == nil) || (!c.ok && !errors.Is(err, ErrExpired)) {
			t.Errorf("presigned %v, %v after signing: %v", c.presign, c.after, err)
		}
	}
}

// TestMutations changes every byte of signed requests, and adds, drops and
// doubles headers. Nothing that means something else may pass.
func TestMutations(t *testing.T) {
	accepted, tried := 0, 0
	for _, presign := range []bool{false, true} {
		r := request(t, "POST", "/path/x?b=1&a=2", `{"repositoryName":"a"}`, "tok", "ecr", presign, target)
		original := describe(r)
		var wire bytes.Buffer
		r = request(t, "POST", "/path/x?b=1&a=2", `{"repositoryName":"a"}`, "tok", "ecr", presign, target)
		if err := r.Write(&wire); err != nil {
			t.Fatal(err)
		}
		for i := range wire.Len() {
			for _, flip := range []byte{1, 2, 0x20} {
				m := bytes.Clone(wire.Bytes())
				m[i] ^= flip
				mr, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(m)))
				if err != nil {
					continue
				}
				tried++
				same := describe(mr) == original
				if verify(mr, signed) == nil && !same {
					accepted++
					t.Errorf("presigned %v: accepted %q in place of %q", presign, m[max(0, i-20):min(len(m), i+20)], wire.Bytes()[max(0, i-20):min(wire.Len(), i+20)])
				}
			}
		}
	}
	if tried < 1000 {
		t.Errorf("only %d mutations reached the verifier", tried)
	}
	for name, change := range map[string]func(*http.Request){
		"extra x-amz header":   func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") },
		"second target":        func(r *http.Request) { r.Header.Add("X-Amz-Target", "other") },
		"dropped target":       func(r *http.Request) { r.Header.Del("X-Amz-Target") },
		"other token":          func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") },
		"claimed body hash":    func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", BodyHash(nil)) },
		"unsigned payload":     func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", Unsigned) },
		"other host":           func(r *http.Request) { r.Host = "evil" },
		"second authorization": func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		"both forms":           func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=" + strings.Repeat("0", 64) },
	} {
		r := request(t, "POST", "/", "{}", "tok", "ecr", false, target)
		change(r)
		if verify(r, signed) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	t.Logf("%d mutations tried, %d accepted", tried, accepted)
}

// describe is what the server acts on: two requests with the same description
// are the same request.
func describe(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var relevant []string
	for _, h := range []string{"X-Amz-Target", "X-Amz-Date", "X-Amz-Security-Token", "Authorization", "Content-Type", "X-Amz-Content-Sha256"} {
		relevant = append(relevant, strings.Join(r.Header.Values(h), ","))
	}
	if _, query, _ := strings.Cut(r.RequestURI, "?"); strings.Contains(query, "X-Amz-Signature") {
		// A presigned request signs its host and its query; other headers and the
		// body do not take part.
		return fmt.Sprint(r.Method, r.Host, canonicalQuery(query), r.URL.Path,
			strings.Contains(strings.Join(relevant, ""), "AWS4"))
	}
	return fmt.Sprint(r.Method, r.RequestURI, r.Host, string(body), relevant)
}

func TestParseErrors(t *testing.T) {
	good := request(t, "POST", "/", "{}", "", "ecr", false, target)
	auth := good.Header.Get("Authorization")
	for _, c := range []struct {
		auth string
		want error
	}{
		{"", ErrMissing},
		{"Basic QVdTOng=", ErrIncomplete},
		{"AWS4-HMAC-SHA256", ErrIncomplete},
		{"AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=00", ErrIncomplete},
		{strings.Replace(auth, "Signature=", "Signature=00", 1), ErrIncomplete},
		{strings.Replace(auth, "aws4_request", "aws5_request", 1), ErrIncomplete},
		{strings.Replace(auth, "SignedHeaders=", "SignedHeaders=zz;", 1), ErrIncomplete},
		{auth + ", Signature=x", ErrIncomplete},
	} {
		r := request(t, "POST", "/", "{}", "", "ecr", false, target)
		r.Header.Del("Authorization")
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		if _, err := Parse(r); !errors.Is(err, c.want) {
			t.Errorf("%.60q: %v, want %v", c.auth, err, c.want)
		}
	}
}

// FuzzVerify: no bytes panic, and none are accepted without the secret.
func FuzzVerify(f *testing.F) {
	for _, presign := range []bool{false, true} {
		var wire bytes.Buffer
		if err := request(f, "POST", "/?a=b", "{}", "tok", "ecr", presign, target).Write(&wire); err != nil {
			f.Fatal(err)
		}
		f.Add(wire.Bytes())
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		s, err := Parse(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		if s.Verify(r, "not the secret of anybody", s.Time, BodyHash(body)) == nil {
			t.Errorf("accepted %q", wire)
		}
	})
}
