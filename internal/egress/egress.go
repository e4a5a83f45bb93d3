// Package egress makes the one kind of HTTP client that Berth uses for addresses
// that somebody else chose: of identity providers, webhooks, upstream registries.
//
// It refuses everything that is not on the public internet, checks the address
// that it dials and not the name, follows few redirects and forwards no
// credentials on them, and bounds time and size. What an operator names in the
// configuration may be let through by host.
package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ErrRefused is wrapped by every refusal.
var ErrRefused = errors.New("this server does not call that address")

const (
	timeout      = 10 * time.Second
	maxRedirects = 3
)

// Options configures a client. The zero value lets through nothing but https on
// the public internet.
type Options struct {
	// Trusted are host:port pairs that may be anywhere, and plain HTTP: those an
	// operator wrote down.
	Trusted []string
	// Lookup resolves names; nil asks the system. For tests.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address that passed; nil is the network. For tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client fetches documents.
type Client struct {
	http    *http.Client
	options Options
}

// New makes a client.
func New(o Options) *Client {
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: timeout}).DialContext
	}
	c := &Client{options: o}
	transport := &http.Transport{DialContext: c.dial, ForceAttemptHTTP2: true, TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10} // no proxy: it would dial in our place
	c.http = &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("%w: more than %d redirects", ErrRefused, maxRedirects)
		}
		if r.URL.Host != via[0].URL.Host {
			r.Header.Del("Authorization")
			r.Header.Del("Cookie")
		}
		return c.check(r.URL)
	}}
	return c
}

// Get fetches a document of at most limit bytes.
func (c *Client) Get(ctx context.Context, address string, limit int64) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", ErrRefused)
	}
	if err := c.check(u); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", u.Host, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("the document at %s is larger than %d bytes", u.Host, limit)
	}
	return b, err
}

// check looks at a URL before anything is sent.
func (c *Client) check(u *url.URL) error {
	switch {
	case u.User != nil:
		return fmt.Errorf("%w: a URL must not hold a password", ErrRefused)
	case u.Hostname() == "":
		return fmt.Errorf("%w: the URL has no host", ErrRefused)
	case c.trusted(u.Host, u.Scheme):
		return nil
	case u.Scheme != "https":
		return fmt.Errorf("%w: the URL must begin with https://", ErrRefused)
	case u.Port() != "" && u.Port() != "443" && u.Port() != "8443":
		return fmt.Errorf("%w: port %s is not for HTTPS", ErrRefused, u.Port())
	}
	if a, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]")); err == nil && !Public(a) {
		return fmt.Errorf("%w: %s is not a public address", ErrRefused, a)
	}
	return nil
}

func (c *Client) trusted(host, scheme string) bool {
	if !strings.Contains(host, ":") || strings.HasSuffix(host, "]") {
		port := ":443"
		if scheme == "http" {
			port = ":80"
		}
		host += port
	}
	return slices.Contains(c.options.Trusted, host) && (scheme == "http" || scheme == "https")
}

// dial resolves the name, refuses addresses that are not public, and connects to
// one that it looked at: a name that changes its address in between gains nothing.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if slices.Contains(c.options.Trusted, address) {
		return c.options.Dial(ctx, network, address)
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = c.options.Lookup(ctx, host); err != nil {
		return nil, err
	}
	err = fmt.Errorf("%w: %s has no address", ErrRefused, host)
	for _, a := range addrs {
		if !Public(a) {
			return nil, fmt.Errorf("%w: %s has the address %s, which is not public", ErrRefused, host, a)
		}
	}
	for _, a := range addrs {
		var conn net.Conn
		if conn, err = c.options.Dial(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// refused are the ranges that are not the public internet, beside those that
// netip knows: IANA's special-purpose registries.
var refused = func() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fec0::/10"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

// Public reports whether an address is one of the public internet.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		a.IsInterfaceLocalMulticast() || a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
		return false
	}
	return !slices.ContainsFunc(refused, func(p netip.Prefix) bool { return p.Contains(a) })
}
