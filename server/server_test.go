package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
)

func config(t *testing.T) Config {
	t.Helper()
	return Config{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), Account: "000000000000", Region: "us-east-1", Version: "test"}
}

// run opens and runs a server; log receives what it logs.
func run(t *testing.T, cfg Config, log io.Writer) *Server {
	t.Helper()
	s, err := New(t.Context(), cfg, slog.New(slog.NewJSONHandler(log, nil)), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		method, target string
		headers        map[string]string
		want           front
	}{
		{"GET", "/v2/", nil, frontOCI},
		{"GET", "/v2", nil, frontOCI},
		{"PUT", "/v2/a/b/manifests/x", map[string]string{"Authorization": "Basic x"}, frontOCI},
		{"POST", "/", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, frontAWS},
		{"POST", "/", map[string]string{"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.ListImages"}, frontAWS},
		{"GET", "/", nil, frontConsole},
		{"GET", "/repositories", nil, frontConsole},
		{"GET", "/repositories", map[string]string{"Authorization": "Basic x"}, frontNone},
		{"GET", "/v2x/", nil, frontConsole},
		{"GET", "/v1/entities", nil, frontPort},
		{"GET", "/v1x", nil, frontConsole},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		for k, v := range c.headers {
			r.Header.Set(k, v)
		}
		if got := classify(r); got != c.want {
			t.Errorf("%s %s: %v, want %v", c.method, c.target, got, c.want)
		}
	}
}

func TestHosts(t *testing.T) {
	home := arn.Place{Account: "000000000000", Region: "us-east-1"}
	other := arn.Place{Account: "111122223333", Region: "eu-west-1"}
	plain := Config{Account: home.Account, Region: home.Region}
	domain := plain
	domain.Domains, domain.Aliases = []string{"reg.test"}, []string{"alias.test=111122223333/eu-west-1", "ported.test:99=111122223333/us-east-1"}
	for _, c := range []struct {
		cfg  Config
		host string
		tok  identity.Token
		want arn.Place
	}{
		{plain, "localhost:5100", identity.Token{}, home},
		{plain, "localhost:5100", identity.Token{Registry: other.Account, Region: other.Region}, other},
		{plain, "111122223333.dkr.ecr.eu-west-1.amazonaws.com:5100", identity.Token{}, other},
		{plain, "111122223333.dkr.ecr.eu-west-1.reg.test", identity.Token{}, home},
		{domain, "111122223333.DKR.ECR.eu-west-1.reg.test:5100", identity.Token{}, other},
		{plain, "111122223333.DKR.ECR.eu-west-1.amazonaws.com:5100", identity.Token{}, other},
		{domain, "111122223333.dkr.ecr.eu-west-1.reg.test:5100", identity.Token{Registry: home.Account}, other},
		{domain, "alias.test:5100", identity.Token{}, other},
		{domain, "Alias.Test", identity.Token{}, other},
		{domain, "ported.test:99", identity.Token{}, arn.Place{Account: other.Account, Region: "us-east-1"}},
		{domain, "ported.test:98", identity.Token{}, home},
		{domain, "12.dkr.ecr.eu-west-1.reg.test", identity.Token{}, home},
		{domain, "[::1]:5100", identity.Token{}, home},
	} {
		h, err := newHosts(&c.cfg, "127.0.0.1:5100")
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/v2/", nil)
		r.Host = c.host
		if got := h.Locate(r, c.tok); got != c.want {
			t.Errorf("%s: %v, want %v", c.host, got, c.want)
		}
	}
	for _, c := range []struct {
		cfg    Config
		listen string
		p      arn.Place
		want   string
	}{
		{plain, "127.0.0.1:5100", home, "localhost:5100"},
		{plain, "0.0.0.0:5100", home, "localhost:5100"},
		{plain, "10.1.2.3:5100", home, "10.1.2.3:5100"},
		{Config{Advertise: "reg.example.com"}, "0.0.0.0:443", home, "reg.example.com"},
		{domain, "127.0.0.1:5100", other, "111122223333.dkr.ecr.eu-west-1.reg.test:5100"},
		{Config{Domains: []string{"reg.test"}, TLSAuto: true}, "127.0.0.1:443", home, "000000000000.dkr.ecr.us-east-1.reg.test"},
		{Config{Aliases: domain.Aliases}, "127.0.0.1:5100", other, "alias.test:5100"},
	} {
		h, err := newHosts(&c.cfg, c.listen)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := h.Registry(context.Background(), c.p); got != c.want {
			t.Errorf("%+v: %s, want %s", c.cfg.Domains, got, c.want)
		}
	}
	for _, bad := range []string{"x", "x=1/2", "=000000000000/us-east-1", "x=000000000000"} {
		if _, _, err := parseAlias(bad); err == nil {
			t.Errorf("alias %q is taken", bad)
		}
	}
}

// raw sends bytes as they are and reads one response.
func raw(t *testing.T, s *Server, text string) (status int, body string) {
	t.Helper()
	c, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// TestMalformedRequests: what no client sends gets a clean answer.
func TestMalformedRequests(t *testing.T) {
	var log lockedLog
	s := run(t, config(t), &log)
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"two hosts":           {"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		"no host":             {"GET /v2/ HTTP/1.1\r\n\r\n", 400},
		"two lengths":         {"POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400},
		"bad transfer":        {"POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		"space before colon":  {"GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		"NUL in a header":     {"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400},
		"long address":        {"GET /v2/" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		"large header":        {"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", 431},
		"TRACE":               {"TRACE /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", 405},
		"CONNECT":             {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405},
		"bad escape":          {"GET /v2/%zz/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"nothing here":        {"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404},
		"escaped slash":       {"GET /v2/aa%2f..%2f..%2fetc/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n", 401},
		"unsigned API call":   {"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: AmazonEC2ContainerRegistry_V20150921.ListImages\r\nContent-Length: 2\r\n\r\n{}", 400},
		"unknown access key":  {"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Date: 20261120T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIANOBODY/20261120/us-east-1/ecr/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64) + "\r\nContent-Length: 2\r\n\r\n{}", 400},
		"malformed signature": {"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: AWS4-HMAC-SHA256 nonsense\r\nContent-Length: 2\r\n\r\n{}", 400},
	} {
		if got, body := raw(t, s, c.text); got != c.want {
			t.Errorf("%s: status %d, want %d: %.200s", name, got, c.want, body)
		}
	}
	if strings.Contains(log.String(), "panic") {
		t.Errorf("something panicked: %s", log.String())
	}
}

// TestAPIErrors: the errors of all signed services, by the real client where it
// can make them.
func TestAPIErrors(t *testing.T) {
	s := run(t, config(t), io.Discard)
	cred, err := ReadCredentials(s.cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	client := func(id, secret, token, region string) *ecr.Client {
		return ecr.NewFromConfig(aws.Config{Region: region, BaseEndpoint: aws.String(s.Endpoint()), RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)})
	}
	master, err := secret.LoadOrCreate(filepath.Join(s.cfg.Data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	before := identity.New(s.db, master, identity.Options{Now: func() time.Time { return time.Now().Add(-2 * time.Hour) }})
	session, err1 := s.identity.SessionToken(t.Context(), arn.Root("000000000000"), time.Hour)
	old, err2 := before.SessionToken(t.Context(), arn.Root("000000000000"), time.Hour)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client *ecr.Client
		want   string
	}{
		"good":            {client(cred.AccessKeyID, cred.Secret.Reveal(), "", "us-east-1"), ""},
		"good session":    {client(session.AccessKeyID, session.Secret.Reveal(), session.SessionToken, "us-east-1"), ""},
		"wrong secret":    {client(cred.AccessKeyID, "wrong", "", "us-east-1"), "InvalidSignatureException"},
		"unknown key":     {client("AKIANOBODY", "x", "", "us-east-1"), "UnrecognizedClientException"},
		"foreign session": {client(session.AccessKeyID, session.Secret.Reveal(), "nonsense", "us-east-1"), "UnrecognizedClientException"},
		"no session":      {client(session.AccessKeyID, session.Secret.Reveal(), "", "us-east-1"), "UnrecognizedClientException"},
		"old session":     {client(old.AccessKeyID, old.Secret.Reveal(), old.SessionToken, "us-east-1"), "ExpiredTokenException"},
	} {
		_, err := c.client.DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
		var api smithy.APIError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &api) || api.ErrorCode() != c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	// What is not built answers so by name.
	_, err = client(cred.AccessKeyID, cred.Secret.Reveal(), "", "us-east-1").StartImageScan(t.Context(),
		&ecr.StartImageScanInput{RepositoryName: aws.String("aa"), ImageId: &types.ImageIdentifier{ImageTag: aws.String("x")}})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "UnknownOperationException" || !strings.Contains(api.ErrorMessage(), "StartImageScan") {
		t.Errorf("a scan by a server that has no scanner: %v", err)
	}
}

// TestSecretsStayOut: neither keys, tokens nor grants reach a log.
func TestSecretsStayOut(t *testing.T) {
	var log lockedLog
	cfg := config(t)
	s := run(t, cfg, &log)
	cred, _ := ReadCredentials(cfg.Data)
	token, _ := s.identity.IssueToken(arn.Root("000000000000"), "000000000000", "us-east-1")
	req := func(path, auth string) {
		r, _ := http.NewRequest("GET", s.Endpoint()+path, nil)
		r.Header.Set("Authorization", auth)
		if res, err := http.DefaultClient.Do(r); err == nil {
			res.Body.Close()
		}
	}
	req("/v2/aa/blobs/sha256:"+strings.Repeat("a", 64)+"?berth-grant=CANARY1", "Basic CANARY2")
	req("/v2/", "Bearer CANARY3")
	req("/v1/blueprints", "Bearer CANARY7")
	req("/v2/aa/tags/list?x=CANARY4", "AWS4-HMAC-SHA256 Credential=CANARY5/a/b/c/aws4_request, SignedHeaders=host, Signature=CANARY6")
	r, _ := http.NewRequest("GET", s.Endpoint()+"/v2/aa/tags/list", nil)
	r.SetBasicAuth("AWS", token)
	if res, err := http.DefaultClient.Do(r); err == nil {
		res.Body.Close()
	}
	time.Sleep(250 * time.Millisecond) // the access log gathers lines for a moment
	s.access.flush()
	for _, secret := range []string{"CANARY", cred.Secret.Reveal(), token} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%.10s… is in the log:\n%s", secret, log.String())
		}
	}
	if !strings.Contains(log.String(), `"path":"/v2/aa/tags/list"`) {
		t.Errorf("the access log lacks the requests: %s", log.String())
	}
}

func TestDataDirectory(t *testing.T) {
	cfg := config(t)
	s := run(t, cfg, io.Discard)
	if _, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second server: %v", err)
	}
	for _, f := range []string{"master.key", "credentials", "berth.db", "server.json"} {
		info, err := os.Stat(filepath.Join(cfg.Data, f))
		if f == "server.json" && errors.Is(err, os.ErrNotExist) {
			time.Sleep(200 * time.Millisecond)
			info, err = os.Stat(filepath.Join(cfg.Data, f))
		}
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info, err)
		}
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	loose := config(t)
	if err := os.MkdirAll(loose.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), loose, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory that others can read: %v", err)
	}
}

// TestTLS: the local CA covers the server's names, survives a restart, and a
// replaced certificate is taken up.
func TestTLS(t *testing.T) {
	cfg := config(t)
	cfg.TLSAuto = true
	s := run(t, cfg, io.Discard)
	pem, err := os.ReadFile(caFile(cfg.Data))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for _, name := range []string{"localhost", "127.0.0.1", "000000000000.dkr.ecr.us-east-1.amazonaws.com"} {
		c, err := tls.Dial("tcp", s.listener.Addr().String(), &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
	}
	again, err := openAuthority(cfg.Data, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := again.get()
	if second, _ := again.get(); first != second {
		t.Error("a new leaf for every connection")
	}
	again.until = time.Now().Add(leafRenew / 2)
	if renewed, _ := again.get(); renewed == first {
		t.Error("the leaf was not renewed in time")
	}
}

func TestFileCertificate(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) (cert, key string) {
		a, err := openAuthority(filepath.Join(dir, name), []string{name})
		if err != nil {
			t.Fatal(err)
		}
		_ = a
		return filepath.Join(dir, name, "tls", "ca.crt"), filepath.Join(dir, name, "tls", "ca.key")
	}
	cert1, key1 := write("one")
	cert2, key2 := write("two")
	copyFile := func(from, to string) {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	copyFile(cert1, cert)
	copyFile(key1, key)
	warned := 0
	f, err := newFileCertificate(cert, key, func(error) { warned++ })
	if err != nil {
		t.Fatal(err)
	}
	old, _ := f.get()
	// Half replaced: the old one stays in use.
	copyFile(cert2, cert)
	later := time.Now().Add(time.Second)
	_ = os.Chtimes(cert, later, later)
	f.checked = time.Time{}
	if got, err := f.get(); err != nil || got != old || warned != 1 {
		t.Errorf("a half replaced certificate: %v, warned %d times", err, warned)
	}
	copyFile(key2, key)
	_ = os.Chtimes(key, later, later)
	f.checked = time.Time{}
	if got, err := f.get(); err != nil || got == old {
		t.Errorf("the new certificate is not used: %v", err)
	}
}
