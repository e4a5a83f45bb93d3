package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/identity/policy"
)

// ServiceSession makes a session of a role for a service that acts with it, such as
// lambda.amazonaws.com, on behalf of a resource: NoSuchEntity, AccessDenied when the
// role's trust policy does not let the service in.
func (id *Identity) ServiceSession(ctx context.Context, roleARN, service, source, name string, life time.Duration) (Credentials, error) {
	role, err := id.ServiceRole(ctx, roleARN, service, source)
	if err != nil {
		return Credentials{}, err
	}
	c, _, err := id.AssumeRole(ctx, role, Assume{Role: roleARN, Name: name, Duration: min(life, role.MaxSession)}, nil, nil)
	return c, err
}

// ServiceRole returns a role that a service may act with: NoSuchEntity, AccessDenied.
func (id *Identity) ServiceRole(ctx context.Context, roleARN, service, source string) (*Entity, error) {
	role, err := id.Role(ctx, roleARN)
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, fail(NoSuchEntity, "The role %s does not exist.", roleARN)
	}
	trust, err := policy.Parse(role.Trust, policy.Trust)
	if err != nil {
		return nil, fmt.Errorf("trust policy of %s: %w", roleARN, err)
	}
	values := map[string][]string{"aws:sourcearn": {source}, "aws:sourceaccount": {string(role.Account)}}
	d := policy.Decide(&policy.Request{Caller: policy.Caller{Service: service}, Action: "sts:AssumeRole", Resource: roleARN,
		Values: func(key string) []string { return values[key] }},
		&policy.Set{Resource: []policy.Attached{{Name: "trust policy of " + roleARN, Doc: trust}}, ResourceMust: true, SameAccount: true})
	if !d.Allowed {
		return nil, fail(AccessDenied, "The trust policy of %s does not let %s assume it.", roleARN, service)
	}
	return role, nil
}
