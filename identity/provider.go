package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// Provider is an OpenID Connect identity provider that an account trusts.
type Provider struct {
	Account     arn.Account
	URL         string // the issuer without https://
	Clients     []string
	Thumbprints []string
	Tags        map[string]string
	CreatedAt   time.Time
}

// ARN is the provider's ARN.
func (p *Provider) ARN() string { return ProviderARN(p.Account, p.URL) }

// ProviderARN is the ARN of the provider of an issuer, without https://.
func ProviderARN(a arn.Account, issuer string) string {
	return arn.ARN{Service: "iam", Account: a, Resource: "oidc-provider/" + issuer}.String()
}

func providerURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(raw) > 255 || strings.ContainsAny(raw, "*?$ ") {
		return "", fail(ValidationError, "Invalid Open ID Connect Provider URL: it must begin with https:// and have neither query nor user")
	}
	return strings.TrimSuffix(strings.TrimPrefix(raw, "https://"), "/"), nil
}

func checkClients(list []string) error {
	if len(list) > maxClients {
		return fail(LimitExceeded, "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClients)
	}
	for _, c := range list {
		if c == "" || len(c) > 255 {
			return fail(ValidationError, "1 validation error detected: Value at 'clientIDList' failed to satisfy constraint: Member must have length between 1 and 255")
		}
	}
	return nil
}

func checkThumbprints(list []string) error {
	for _, t := range list {
		if b, err := hex.DecodeString(t); err != nil || len(b) != 20 {
			return fail(InvalidInput, "Thumbprints must have 40 hexadecimal digits")
		}
	}
	if len(list) > 5 {
		return fail(InvalidInput, "Thumbprint list must contain fewer than 5 entries.")
	}
	return nil
}

// CreateProvider adds a provider: ValidationError, InvalidInput,
// EntityAlreadyExists.
func (id *Identity) CreateProvider(ctx context.Context, a arn.Account, rawURL string, clients, thumbprints []string, tags map[string]string) (*Provider, error) {
	issuer, err := providerURL(rawURL)
	if err == nil {
		err = errors.Join(checkClients(clients), checkThumbprints(thumbprints), checkTags(nil, tags))
	}
	if err != nil {
		return nil, err
	}
	p := &Provider{Account: a, URL: issuer, Clients: clients, Thumbprints: thumbprints, Tags: tags, CreatedAt: id.now().UTC().Truncate(time.Second)}
	err = id.write(ctx, func(tx *sqldb.Tx) error {
		n, err := countProviders(tx, a)
		if err != nil {
			return err
		}
		if n >= maxProviders {
			return fail(LimitExceeded, "Cannot exceed quota for OpenIdConnectProvidersPerAccount: %d", maxProviders)
		}
		return insertProvider(tx, p)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return nil, fail(EntityAlreadyExists, "Provider with url https://%s already exists.", issuer)
	}
	return p, err
}

// providerOf returns the issuer in a provider's ARN.
func providerOf(a arn.Account, providerARN string) (string, error) {
	p, err := arn.Parse(providerARN)
	issuer, ok := strings.CutPrefix(p.Resource, "oidc-provider/")
	if err != nil || p.Service != "iam" || !ok {
		return "", fail(ValidationError, "Invalid ARN: %.200s is not the ARN of an OpenID Connect provider", providerARN)
	}
	if p.Account != a {
		return "", noProvider(providerARN)
	}
	return issuer, nil
}

func noProvider(providerARN string) error {
	return fail(NoSuchEntity, "OpenIDConnect Provider not found for arn %s", providerARN)
}

// Provider returns one by ARN: NoSuchEntity.
func (id *Identity) Provider(ctx context.Context, a arn.Account, providerARN string) (*Provider, error) {
	issuer, err := providerOf(a, providerARN)
	if err != nil {
		return nil, err
	}
	p, err := id.readProvider(ctx, a, issuer)
	if sqldb.IsNoRows(err) {
		return nil, noProvider(providerARN)
	}
	return p, storage(err)
}

// Providers lists an account's providers.
func (id *Identity) Providers(ctx context.Context, a arn.Account) ([]*Provider, error) {
	list, err := id.listProviders(ctx, a)
	return list, storage(err)
}

// ChangeProvider runs fn on a provider and stores what it changed: NoSuchEntity.
func (id *Identity) ChangeProvider(ctx context.Context, a arn.Account, providerARN string, fn func(*Provider) error) error {
	issuer, err := providerOf(a, providerARN)
	if err != nil {
		return err
	}
	return id.write(ctx, func(tx *sqldb.Tx) error {
		p, err := lockProvider(tx, a, issuer)
		if sqldb.IsNoRows(err) {
			return noProvider(providerARN)
		}
		if err != nil {
			return err
		}
		have := p.Tags
		p.Tags = map[string]string{}
		for k, v := range have {
			p.Tags[k] = v
		}
		if err := fn(p); err != nil {
			return err
		}
		if err := errors.Join(checkClients(p.Clients), checkThumbprints(p.Thumbprints), checkTags(nil, p.Tags)); err != nil {
			return err
		}
		return updateProvider(tx, p)
	})
}

// DeleteProvider removes a provider: NoSuchEntity.
func (id *Identity) DeleteProvider(ctx context.Context, a arn.Account, providerARN string) error {
	issuer, err := providerOf(a, providerARN)
	if err != nil {
		return err
	}
	return id.write(ctx, func(tx *sqldb.Tx) error {
		n, err := deleteProvider(tx, a, issuer)
		if err == nil && n == 0 {
			err = noProvider(providerARN)
		}
		return err
	})
}

// AddClient and RemoveClient change a provider's list of audiences.
func (id *Identity) AddClient(ctx context.Context, a arn.Account, providerARN, client string) error {
	return id.ChangeProvider(ctx, a, providerARN, func(p *Provider) error {
		if !slices.Contains(p.Clients, client) {
			p.Clients = append(p.Clients, client)
		}
		return nil
	})
}

// RemoveClient removes an audience; one that is not there is no error.
func (id *Identity) RemoveClient(ctx context.Context, a arn.Account, providerARN, client string) error {
	return id.ChangeProvider(ctx, a, providerARN, func(p *Provider) error {
		p.Clients = slices.DeleteFunc(p.Clients, func(c string) bool { return c == client })
		return nil
	})
}
