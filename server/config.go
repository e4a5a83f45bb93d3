package server

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/console"
	"github.com/berth-registry/berth/internal/egress"
	"github.com/berth-registry/berth/secret"
)

// Config is everything a server is told. Only this package reads it; the planes
// get the values they need.
type Config struct {
	Listen    string // host:port of the registry and the APIs
	Admin     string // host:port of metrics, health and profiles, "" for none
	Data      string // directory
	DB        string // PostgreSQL URL, "" for SQLite in the data directory
	MasterKey string // file, "" for master.key in the data directory
	Account   arn.Account
	Region    arn.Region
	// Advertise is the host[:port] under which clients reach the server when
	// neither a domain nor an alias says otherwise; "" derives it from Listen.
	Advertise string
	// Domains make registry hosts of the form ACCOUNT.dkr.ecr.REGION.DOMAIN.
	Domains []string
	// Aliases are HOST[:PORT]=ACCOUNT/REGION.
	Aliases []string
	TLSCert string
	TLSKey  string
	TLSAuto bool
	KMSKeys []string // ARNs of further keys of the key ring
	// OIDCKeys are ISSUER=FILE or ISSUER=URL: where the keys of identity providers
	// are that cannot be asked themselves.
	OIDCKeys []string
	// Functions says how functions run: FunctionsOn, FunctionsUnsandboxed or FunctionsOff.
	Functions string
	// WebhookHosts are HOST:PORT of receivers of events that are not on the public
	// internet, or speak plain HTTP.
	WebhookHosts []string
	// HoldTime is how long a push waits for a function to make its repository; 0 is ten
	// seconds.
	HoldTime time.Duration
	// Retention is how long records of API calls are kept; 0 is 90 days.
	Retention time.Duration
	// ConfigDir holds files that declare repositories, which the server keeps true; "" for
	// none. ConfigInterval is how often it looks at what is there; 0 is 30 seconds.
	ConfigDir      string
	ConfigInterval time.Duration
	// SSO is single sign-on to the console, nil for none.
	SSO *SSO
	// Version is shown by the health endpoint and in the server's runtime file.
	Version string
}

// SSO is an OpenID Connect provider whose users sign in to the console as sessions of a
// role. The role's account must have the provider, and its trust policy decides.
type SSO struct {
	Name       string // on the button, "" for the issuer's host
	Issuer     string // address, https://…
	ClientID   string
	SecretFile string // "" for public clients
	Role       string // ARN
	Session    time.Duration
}

func (s *SSO) check() error {
	u, err := url.Parse(s.Issuer)
	role, rerr := arn.Parse(s.Role)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("--sso-issuer %q: want an address that begins with https://", s.Issuer)
	case s.ClientID == "":
		return errors.New("--sso-client-id: say under which id the provider knows this console")
	case rerr != nil || role.Service != "iam" || !strings.HasPrefix(role.Resource, "role/"):
		return fmt.Errorf("--sso-role %q: want the ARN of a role, such as arn:aws:iam::000000000000:role/console", s.Role)
	case s.Session != 0 && (s.Session < 15*time.Minute || s.Session > 12*time.Hour):
		return errors.New("--sso-session: want 15m to 12h, and no more than the role's MaxSessionDuration")
	}
	return nil
}

// client makes what signs people in with it.
func (s *SSO) client() (*console.OIDC, error) {
	u, err := url.Parse(s.Issuer)
	if err != nil {
		return nil, err
	}
	host := u.Host
	if u.Port() == "" {
		host += ":443"
	}
	o := &console.OIDC{Name: cmp.Or(s.Name, u.Hostname()), Issuer: s.Issuer, ClientID: s.ClientID, Role: s.Role, Session: s.Session, HTTP: egress.New(egress.Options{Trusted: []string{host}})}
	if s.SecretFile != "" {
		b, err := os.ReadFile(s.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("--sso-client-secret-file: %w", err)
		}
		o.Secret = secret.String(strings.TrimSpace(string(b)))
	}
	return o, nil
}

// How functions run.
const (
	FunctionsOn          = "on" // in a sandbox; where there is none, not
	FunctionsUnsandboxed = "unsandboxed"
	FunctionsOff         = "off"
)

func (c *Config) check() error {
	switch {
	case c.Functions != "" && c.Functions != FunctionsOn && c.Functions != FunctionsUnsandboxed && c.Functions != FunctionsOff:
		return fmt.Errorf("--functions %q: want on, unsandboxed or off", c.Functions)
	case c.HoldTime < 0 || c.HoldTime > time.Minute:
		return errors.New("--hold-time: want at most a minute")
	case c.Retention < 0:
		return errors.New("--trail-retention: want a time such as 2160h")
	case c.ConfigInterval < 0 || c.ConfigInterval > 0 && c.ConfigInterval < time.Second:
		return errors.New("--config-interval: want at least a second")
	case !c.Account.Valid():
		return fmt.Errorf("--account %q: want 12 digits", c.Account)
	case !c.Region.Valid():
		return fmt.Errorf("--region %q: want a region name such as us-east-1", c.Region)
	case c.Data == "":
		return errors.New("--data is empty: name the directory that holds everything")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case c.TLSAuto && c.TLSCert != "":
		return errors.New("--tls auto makes its own certificate; leave out --tls-cert and --tls-key")
	}
	if c.SSO != nil {
		if err := c.SSO.check(); err != nil {
			return err
		}
	}
	for _, h := range c.WebhookHosts {
		if _, _, err := net.SplitHostPort(h); err != nil {
			return fmt.Errorf("--webhook-host %q: want host:port: %w", h, err)
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("--listen %q: want host:port: %w", c.Listen, err)
	}
	return nil
}

// issuers reads OIDCKeys: where each issuer's keys are, and which hosts may be
// called for them although they are not on the public internet.
func (c *Config) issuers() (where map[string]string, trusted []string, err error) {
	where = map[string]string{}
	for _, s := range c.OIDCKeys {
		issuer, place, ok := strings.Cut(s, "=")
		issuer = strings.TrimSuffix(strings.TrimPrefix(issuer, "https://"), "/")
		if !ok || issuer == "" || place == "" || strings.Contains(issuer, "://") {
			return nil, nil, fmt.Errorf("--oidc-jwks %q: want ISSUER=FILE or ISSUER=URL, with an issuer that begins with https://", s)
		}
		if strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://") {
			u, err := url.Parse(place)
			if err != nil || u.Host == "" {
				return nil, nil, fmt.Errorf("--oidc-jwks %q: the URL does not parse", s)
			}
			host := u.Host
			if u.Port() == "" {
				host += map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
			}
			trusted = append(trusted, host)
		} else if _, err := os.Stat(place); err != nil {
			return nil, nil, fmt.Errorf("--oidc-jwks: %w", err)
		}
		where[issuer] = place
	}
	return where, trusted, nil
}

func (c *Config) secure() bool { return c.TLSAuto || c.TLSCert != "" }

// parseAlias reads HOST[:PORT]=ACCOUNT/REGION.
func parseAlias(s string) (host string, p arn.Place, err error) {
	host, rest, ok := strings.Cut(s, "=")
	account, region, ok2 := strings.Cut(rest, "/")
	p = arn.Place{Account: arn.Account(account), Region: arn.Region(region)}
	if !ok || !ok2 || host == "" || !p.Account.Valid() || !p.Region.Valid() {
		return "", p, fmt.Errorf("--host-alias %q: want HOST[:PORT]=ACCOUNT/REGION", s)
	}
	return strings.ToLower(host), p, nil
}
