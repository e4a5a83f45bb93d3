package server

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity"
)

// hosts knows which names lead to which registry, both ways.
type hosts struct {
	port      string
	advertise string
	domains   []string
	aliases   map[string]arn.Place // lower case, with and without port as given
	names     []string             // the aliases in order
	home      arn.Place
	secure    bool
}

// awsDomain is recognised always, for clients that insist on AWS's names.
const awsDomain = "amazonaws.com"

func newHosts(c *Config, listen string) (*hosts, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	h := &hosts{port: port, advertise: c.Advertise, aliases: map[string]arn.Place{}, home: arn.Place{Account: c.Account, Region: c.Region}, secure: c.secure()}
	for _, d := range c.Domains {
		h.domains = append(h.domains, strings.ToLower(strings.Trim(d, ".")))
	}
	for _, a := range c.Aliases {
		name, p, err := parseAlias(a)
		if err != nil {
			return nil, err
		}
		h.aliases[name] = p
		h.names = append(h.names, name)
	}
	if h.advertise == "" {
		if ip := net.ParseIP(host); host == "" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
			host = "localhost"
		}
		h.advertise = net.JoinHostPort(host, port)
	}
	return h, nil
}

// Registry implements ecrapi.Endpoints: the name under which a registry is
// reached. Names come from configuration, never from a request.
func (h *hosts) Registry(_ context.Context, p arn.Place) (string, bool) {
	if len(h.domains) > 0 {
		return h.withPort(string(p.Account) + ".dkr.ecr." + string(p.Region) + "." + h.domains[0]), h.secure
	}
	for _, name := range h.names {
		if h.aliases[name] == p {
			if !strings.Contains(name, ":") {
				name = h.withPort(name)
			}
			return name, h.secure
		}
	}
	return h.advertise, h.secure
}

func (h *hosts) withPort(host string) string {
	if h.secure && h.port == "443" || !h.secure && h.port == "80" {
		return host
	}
	return host + ":" + h.port
}

// Locate implements oci.Locator: the host decides, then an alias, then the token.
func (h *hosts) Locate(r *http.Request, t identity.Token) arn.Place {
	full := strings.ToLower(r.Host)
	if len(h.aliases) == 0 && !strings.Contains(full, ".dkr.ecr.") {
		return h.fromToken(t)
	}
	host := full
	if i := strings.LastIndexByte(full, ':'); i >= 0 && !strings.HasSuffix(full, "]") {
		host = full[:i]
	}
	if p, ok := h.parse(host); ok {
		return p
	}
	for _, name := range []string{full, host} {
		if p, ok := h.aliases[name]; ok {
			return p
		}
	}
	return h.fromToken(t)
}

func (h *hosts) fromToken(t identity.Token) arn.Place {
	p := arn.Place{Account: t.Registry, Region: t.Region}
	if p.Account == "" {
		p.Account = h.home.Account
	}
	if p.Region == "" {
		p.Region = h.home.Region
	}
	return p
}

// parse reads ACCOUNT.dkr.ecr.REGION.DOMAIN.
func (h *hosts) parse(host string) (arn.Place, bool) {
	account, rest, ok := strings.Cut(host, ".dkr.ecr.")
	if !ok {
		return arn.Place{}, false
	}
	region, domain, ok := strings.Cut(rest, ".")
	p := arn.Place{Account: arn.Account(account), Region: arn.Region(region)}
	if !ok || !p.Account.Valid() || !p.Region.Valid() {
		return arn.Place{}, false
	}
	for _, d := range append(h.domains, awsDomain) {
		if domain == d {
			return p, true
		}
	}
	return arn.Place{}, false
}

// certificateNames are those that a certificate of our own must cover.
func (h *hosts) certificateNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	add := func(s string) {
		if host, _, err := net.SplitHostPort(s); err == nil {
			s = host
		}
		if s != "" {
			names = append(names, s)
		}
	}
	add(h.advertise)
	for _, n := range h.names {
		add(n)
	}
	for _, d := range append(h.domains, awsDomain) {
		add("*.dkr.ecr." + string(h.home.Region) + "." + d)
	}
	return names
}
