package identity

import (
	"context"
	"fmt"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

// bindTrust checks a trust policy and puts unique ids in place of names:
// MalformedPolicyDocument.
func (id *Identity) bindTrust(ctx context.Context, text string) (string, error) {
	if len(text) > maxTrust {
		return "", fail(LimitExceeded, "Cannot exceed quota for ACLSizePerRole: %d", maxTrust)
	}
	d, err := policy.Parse(text, policy.Trust)
	if err != nil {
		return "", malformed(err)
	}
	if _, err := policy.ReviewTrust(d); err != nil {
		return "", malformed(err)
	}
	bound, unknown, err := id.Bind(ctx, d)
	if err != nil {
		return "", err
	}
	if unknown != "" {
		return "", fail(MalformedPolicyDocument, "Invalid principal in policy: \"AWS\":\"%s\"", unknown)
	}
	return bound, nil
}

// Bind returns a policy's text with unique ids in place of the users and roles it
// names, or the first name, in a hosted account, that nobody has. Names in other
// accounts stay.
func (id *Identity) Bind(ctx context.Context, d *policy.Document) (bound, unknown string, err error) {
	ids := map[string]string{}
	for _, name := range d.Named() {
		to, ok, err := id.uniqueID(ctx, name)
		if err != nil {
			return "", "", storage(err)
		}
		if !ok {
			return "", name, nil
		}
		ids[name] = to
	}
	return d.Bind(func(name string) string { return ids[name] }), "", nil
}

// uniqueID is what a principal's name is kept as.
func (id *Identity) uniqueID(ctx context.Context, name string) (string, bool, error) {
	if policy.UniqueID(name) {
		_, _, err := id.findID(ctx, name)
		if sqldb.IsNoRows(err) {
			return "", false, nil
		}
		return name, err == nil, err
	}
	a, err := arn.Parse(name)
	kind, rest, _ := strings.Cut(a.Resource, "/")
	if err != nil || a.Service != "iam" || rest == "" {
		return name, true, nil // an account, its root, or a session
	}
	if hosted, err := id.Account(ctx, a.Account); err != nil || !hosted {
		return name, err == nil, err
	}
	e, err := id.readEntity(ctx, a.Account, EntityKind(kind), rest[strings.LastIndexByte(rest, '/')+1:])
	if sqldb.IsNoRows(err) || err == nil && e.ARN() != name {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return e.ID, true, nil
}

// Show returns a policy's text as people see it: names in place of unique ids,
// but for those whose users and roles are gone.
func (id *Identity) Show(ctx context.Context, text string, kind policy.Kind) (string, error) {
	if text == "" || !strings.Contains(text, `"AIDA`) && !strings.Contains(text, `"AROA`) {
		return text, nil
	}
	d, err := policy.Parse(text, kind)
	if err != nil {
		return "", fmt.Errorf("a stored policy does not parse: %w", err)
	}
	names := map[string]string{}
	for _, name := range d.Named() {
		if !policy.UniqueID(name) {
			continue
		}
		a, e, err := id.findID(ctx, name)
		if err == nil {
			names[name] = EntityARN(a, e.Kind, e.Path+e.Name)
		} else if !sqldb.IsNoRows(err) {
			return "", storage(err)
		}
	}
	return d.Bind(func(name string) string {
		if to, ok := names[name]; ok {
			return to
		}
		return name
	}), nil
}
