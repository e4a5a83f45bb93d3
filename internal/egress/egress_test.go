package egress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-registry/berth/internal/egress"
)

// TestRefused tries addresses that must not be called; the dialler fails the test
// if one gets so far.
func TestRefused(t *testing.T) {
	names := map[string]string{"inside.example": "10.0.0.1", "meta.example": "169.254.169.254", "mapped.example": "::ffff:127.0.0.1", "six.example": "fd00::1",
		"nat64.example": "64:ff9b::7f00:1", "both.example": "127.0.0.1"}
	c := egress.New(egress.Options{
		Trusted: []string{"127.0.0.1:9999"},
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if a, ok := names[host]; ok {
				return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr(a)}, nil
			}
			return nil, errors.New("no such host")
		},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			t.Errorf("dialled %s", address)
			return nil, errors.New("refused by the test")
		}})
	for _, u := range []string{
		"http://example.com/", "file:///etc/passwd", "gopher://example.com/", "ftp://example.com", "//example.com", "example.com", "", "https://", "https:///x",
		"https://user:pass@example.com/", "https://user@example.com/", "https://example.com:22/", "https://example.com:80/", "https://example.com:5432/",
		"https://127.0.0.1/", "https://127.1/", "https://127.0.0.1:443/", "https://[::1]/", "https://[::]/", "https://0.0.0.0/", "https://10.1.2.3/",
		"https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.0.1/", "https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/",
		"https://[fe80::1]/", "https://[fd00::1]/", "https://[fc00::1]/", "https://[ff02::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:10.0.0.1]/",
		"https://[::ffff:7f00:1]/", "https://[64:ff9b::10.0.0.1]/", "https://[2002:7f00:1::]/", "https://[2001:db8::1]/", "https://[100::1]/", "https://224.0.0.1/",
		"https://239.255.255.250/", "https://255.255.255.255/", "https://240.0.0.1/", "https://100.64.0.1/", "https://192.0.2.1/", "https://198.51.100.1/",
		"https://203.0.113.1/", "https://198.18.0.1/", "https://192.0.0.1/", "https://0.1.2.3/", "https://inside.example/", "https://meta.example/",
		"https://mapped.example/", "https://six.example/", "https://nat64.example/", "https://both.example/", "https://inside.example:8443/",
		"http://127.0.0.1:9998/", "https://127.0.0.1:9998/", "http://127.0.0.1/", "ftp://127.0.0.1:9999/", "https://2130706433/", "https://0x7f000001/", "https://localhost/",
	} {
		if _, err := c.Get(t.Context(), u, 100); err == nil {
			t.Errorf("%q was fetched", u)
		}
	}
}

// TestTrusted: what the operator names may be anywhere, and nothing else through
// its redirects.
func TestTrusted(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	mux.HandleFunc("/doc", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat("x", 100))) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/inside", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	})
	mux.HandleFunc("/meta", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://169.254.169.254/", http.StatusFound)
	})
	host := strings.TrimPrefix(srv.URL, "http://")
	c := egress.New(egress.Options{Trusted: []string{host}})
	if b, err := c.Get(t.Context(), srv.URL+"/doc", 100); err != nil || len(b) != 100 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := c.Get(t.Context(), srv.URL+"/doc", 99); err == nil {
		t.Error("a document over the limit was read")
	}
	for _, path := range []string{"/loop", "/inside", "/meta", "/missing"} {
		if _, err := c.Get(t.Context(), srv.URL+path, 100); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

// TestRebinding: the address that was looked at is the one that is dialled.
func TestRebinding(t *testing.T) {
	turn := 0
	c := egress.New(egress.Options{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			turn++
			return []netip.Addr{netip.MustParseAddr([]string{"93.184.216.34", "127.0.0.1"}[min(turn-1, 1)])}, nil
		},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			if address != "93.184.216.34:443" {
				t.Errorf("dialled %s", address)
			}
			return nil, errors.New("enough")
		}})
	_, _ = c.Get(t.Context(), "https://flip.example/", 10)
	if turn != 1 {
		t.Errorf("looked up %d times", turn)
	}
}
