package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/internal/egress"
)

const envelope = `{"version":"0","id":"e1","detail-type":"ECR Image Action","source":"aws.ecr","account":"000000000012","time":"2026-11-21T10:00:00Z","region":"eu-west-1","resources":["arn:x"],"detail":{"a":1}}`

// receiverOf makes a receiver whose destination and connection are given.
func receiverOf(d *bus.Destination, c *bus.Connection, o egress.Options) *webhookReceiver {
	return newWebhookReceiver(func(context.Context, string) (*bus.Destination, *bus.Connection, error) { return d, c, nil }, egress.New(o))
}

func deliver(t *testing.T, w *webhookReceiver, h *bus.HTTP) error {
	t.Helper()
	_, err := w.Deliver(t.Context(), &bus.Delivery{ID: "d1", Place: arn.Place{Account: "000000000012", Region: "eu-west-1"}, Target: &bus.Target{HTTP: h}, Input: []byte(envelope)})
	return err
}

func TestWebhooks(t *testing.T) {
	var got *http.Request
	var body []byte
	status, tokens := http.StatusOK, atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			tokens.Add(1)
			if r.FormValue("client_id") != "id" || r.FormValue("client_secret") != "secret" || r.FormValue("grant_type") != "client_credentials" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, `{"access_token":"abc","expires_in":3600}`)
			return
		}
		got = r
		body, _ = io.ReadAll(r.Body)
		if status/100 == 3 {
			w.Header().Set("Location", "http://169.254.169.254/")
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	trusted := egress.Options{Trusted: []string{strings.TrimPrefix(s.URL, "http://")}}
	dest := &bus.Destination{Endpoint: s.URL + "/hook/*/x?a=1", Method: "POST", Rate: 300}
	http1 := &bus.HTTP{Path: []string{"p/q"}, Headers: map[string]string{"X-Target": "t"}, Query: map[string]string{"q": "1"}}

	w := receiverOf(dest, &bus.Connection{Auth: bus.APIKey, User: "X-Key", Secret: "k", Headers: []bus.Parameter{{Key: "X-Conn", Value: "c"}}, Query: []bus.Parameter{{Key: "s", Value: "2", Secret: true}},
		Body: []bus.Parameter{{Key: "more", Value: "m"}}}, trusted)
	if err := deliver(t, w, http1); err != nil {
		t.Fatal(err)
	}
	if got.RequestURI != "/hook/p%2Fq/x?a=1&q=1&s=2" || got.Header.Get("X-Key") != "k" || got.Header.Get("X-Target") != "t" || got.Header.Get("X-Conn") != "c" || !strings.Contains(string(body), `"more":"m"`) {
		t.Errorf("%s %v %s", got.RequestURI, got.Header, body)
	}
	if err := deliver(t, w, nil); !final(err) {
		t.Errorf("without path parameters: %v", err)
	}

	w = receiverOf(dest, &bus.Connection{Auth: bus.Basic, User: "u", Secret: "p"}, trusted)
	if err := deliver(t, w, http1); err != nil {
		t.Fatal(err)
	}
	if u, p, _ := got.BasicAuth(); u != "u" || p != "p" || string(body) != envelope {
		t.Errorf("%s %s %s", u, p, body)
	}

	oauth := &bus.Connection{Auth: bus.OAuth, User: "id", Secret: "secret", Endpoint: s.URL + "/token"}
	w = receiverOf(dest, oauth, trusted)
	for range 2 {
		if err := deliver(t, w, http1); err != nil {
			t.Fatal(err)
		}
	}
	if got.Header.Get("Authorization") != "Bearer abc" || tokens.Load() != 1 {
		t.Errorf("%s, asked for %d tokens", got.Header.Get("Authorization"), tokens.Load())
	}

	http1.Headers["Content-Type"] = cloudEvents
	if err := deliver(t, w, http1); err != nil {
		t.Fatal(err)
	}
	var ce map[string]any
	if err := json.Unmarshal(body, &ce); err != nil || ce["specversion"] != "1.0" || ce["type"] != "ECR Image Action" || ce["subject"] != "arn:x" || ce["data"].(map[string]any)["a"] != 1.0 {
		t.Errorf("%s", body)
	}

	for code, wantFinal := range map[int]bool{400: true, 403: true, 404: true, 301: true, 307: true, 408: false, 409: false, 429: false, 500: false, 503: false} {
		status = code
		err := deliver(t, receiverOf(dest, &bus.Connection{Auth: bus.Basic, User: "u", Secret: "p"}, trusted), http1)
		if err == nil || final(err) != wantFinal {
			t.Errorf("%d: %v, final should be %v", code, err, wantFinal)
		}
	}
}

func final(err error) bool {
	var f *bus.Final
	return errors.As(err, &f)
}

// TestSignature: the vector of the Standard Webhooks specification.
func TestSignature(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	if got := sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %s", got)
	}
	var header http.Header
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header = r.Header }))
	defer s.Close()
	w := receiverOf(&bus.Destination{Endpoint: s.URL, Method: "POST", Rate: 1}, &bus.Connection{Auth: bus.APIKey, User: bus.Signature, Secret: secret},
		egress.Options{Trusted: []string{strings.TrimPrefix(s.URL, "http://")}})
	if err := deliver(t, w, nil); err != nil {
		t.Fatal(err)
	}
	want := "v1," + sign(secret, "d1", header.Get("Webhook-Timestamp"), []byte(envelope))
	if header.Get("Webhook-Signature") != want || header.Get("Webhook-Id") != "d1" || strings.Contains(header.Get("Webhook-Signature"), base64.StdEncoding.EncodeToString([]byte(secret))) {
		t.Errorf("%v, want %s", header, want)
	}
}

// TestWebhookAddresses: destinations inside are refused for good, before anything is
// sent (RELIABILITY S17).
func TestWebhookAddresses(t *testing.T) {
	for _, address := range []string{"http://example.com/", "https://127.0.0.1/", "https://10.0.0.1/", "https://192.168.1.1/", "https://172.16.0.1/",
		"https://169.254.169.254/latest/meta-data/", "https://[::1]/", "https://[fd00::1]/", "https://[fe80::1]/", "https://[::ffff:127.0.0.1]/", "https://0.0.0.0/",
		"https://224.0.0.1/", "https://100.64.0.1/", "https://user:pass@example.com/", "https://example.com:22/", "file:///etc/passwd", "gopher://example.com/", "https:///x"} {
		w := receiverOf(&bus.Destination{Endpoint: address, Method: "POST", Rate: 300}, &bus.Connection{Auth: bus.Basic, User: "u", Secret: "p"}, egress.Options{})
		if err := deliver(t, w, nil); !final(err) || !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestSlowWebhook: one that does not answer is given up in time.
func TestSlowWebhook(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	w := receiverOf(&bus.Destination{Endpoint: s.URL, Method: "POST", Rate: 300}, &bus.Connection{Auth: bus.Basic, User: "u", Secret: "p"},
		egress.Options{Trusted: []string{strings.TrimPrefix(s.URL, "http://")}})
	start := time.Now()
	if err := deliver(t, w, nil); err == nil || final(err) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
}
