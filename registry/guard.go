package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

const (
	// guardLife is how long a policy or tag that another node changed may still
	// count here.
	guardLife = 4 * time.Second
	maxGuards = 10_000
)

// guardKey names a repository, or with no name the registry itself.
type guardKey struct {
	place arn.Place
	name  string
}

type guard struct {
	policies []policy.Attached
	tags     map[string]string
	v1       bool // of a registry: its policy is of scope V1
}

// scopeV1 are the actions that a registry policy of scope V1 has a say in.
var scopeV1 = []string{"CreateRepository", "ReplicateImage", "BatchImportUpstreamImage"}

var _ gate.PolicySource = (*Registry)(nil)

// Guard implements gate.PolicySource: a repository's policy and tags, and the
// registry's policy. A repository that is not there has the registry's alone.
func (r *Registry) Guard(ctx context.Context, resource arn.ARN, action string) (gate.Guard, error) {
	name, ok := resource.RepositoryName()
	if !ok {
		return gate.Guard{}, nil
	}
	place := arn.Place{Account: resource.Account, Region: resource.Region}
	whole, err := r.guards.Get(guardKey{place: place}, func() (guard, error) { return r.loadRegistryGuard(ctx, place) })
	if err != nil {
		return gate.Guard{}, err
	}
	var own guard
	if !strings.Contains(name, "*") {
		if own, err = r.guards.Get(guardKey{place, name}, func() (guard, error) { return r.loadGuard(ctx, place, name) }); err != nil {
			return gate.Guard{}, err
		}
	}
	g := gate.Guard{Policies: own.policies, Tags: own.tags}
	if len(whole.policies) > 0 && (!whole.v1 || slices.Contains(scopeV1, action)) {
		g.Policies = slices.Concat(own.policies, whole.policies)
	}
	return g, nil
}

func (r *Registry) loadGuard(ctx context.Context, p arn.Place, name string) (guard, error) {
	repo, err := r.readRepository(ctx, p, name)
	if sqldb.IsNoRows(err) {
		return guard{}, nil
	}
	if err != nil {
		return guard{}, storage(err)
	}
	g := guard{tags: repo.Resource}
	if repo.Policy != "" {
		d, err := policy.Parse(repo.Policy, policy.Repository)
		if err != nil {
			return guard{}, fmt.Errorf("policy of %s: %w", repo.ARN(), err)
		}
		g.policies = []policy.Attached{{Name: PolicyName(repo.ARN()), Doc: d}}
	}
	return g, nil
}

// PolicyName is what the policy of a repository is called in explanations.
func PolicyName(repositoryARN string) string { return "repository policy of " + repositoryARN }

func (r *Registry) loadRegistryGuard(ctx context.Context, p arn.Place) (guard, error) {
	text, err := r.readSetting(ctx, p, "policy")
	if err != nil || text == "" {
		return guard{}, storage(err)
	}
	d, err := policy.Parse(text, policy.Registry)
	if err != nil {
		return guard{}, fmt.Errorf("registry policy of %s in %s: %w", p.Account, p.Region, err)
	}
	scope, err := r.AccountSetting(ctx, p, "REGISTRY_POLICY_SCOPE")
	return guard{policies: []policy.Attached{{Name: "registry policy of " + string(p.Account) + " in " + string(p.Region), Doc: d}}, v1: scope == "V1"}, err
}
