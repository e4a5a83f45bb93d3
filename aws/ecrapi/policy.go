package ecrapi

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/registry"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func (s *Service) SetRepositoryPolicy(ctx context.Context, in *ecr.SetRepositoryPolicyInput, _ ...options) (*ecr.SetRepositoryPolicyOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.PolicyText == nil {
		return nil, missing("policyText")
	}
	out := &ecr.SetRepositoryPolicyOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName, PolicyText: in.PolicyText}
	return out, s.do(ctx, "SetRepositoryPolicy", q, func(ctx context.Context) error {
		bound, err := s.bind(ctx, "PolicyText", *in.PolicyText, policy.Repository)
		if err == nil && !in.Force {
			err = s.keepKey(ctx, q, bound)
		}
		if err == nil {
			_, err = s.registry.SetPolicy(ctx, q.place, *in.RepositoryName, bound)
		}
		return err
	})
}

// bind checks a policy and puts unique ids in place of the users and roles it
// names. terraform repeats a call that fails with this text for a while, for a
// principal that is still being made.
func (s *Service) bind(ctx context.Context, parameter, text string, kind policy.Kind) (string, error) {
	if err := registry.CheckPolicy(parameter, text, kind); err != nil {
		return "", err
	}
	d, err := policy.Parse(text, kind)
	if err != nil {
		return "", err
	}
	bound, unknown, err := s.identity.Bind(ctx, d)
	if err == nil && unknown != "" {
		err = invalid(parameter, "Invalid repository policy provided: the principal %s does not exist", unknown)
		if kind == policy.Repository && parameter == "PolicyText" {
			err = invalid(parameter, "Invalid repository policy provided")
		}
	}
	return bound, err
}

// keepKey refuses a policy that would keep its author from setting another.
func (s *Service) keepKey(ctx context.Context, q request, bound string) error {
	const action = "SetRepositoryPolicy"
	resource := arn.Repository(q.place, q.names[0])
	d, err := policy.Parse(bound, policy.Repository)
	if err != nil {
		return err
	}
	g, err := s.registry.Guard(ctx, resource, action)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(g.Policies), func(a policy.Attached) bool { return a.Name == registry.PolicyName(resource.String()) })
	ok, err := s.identity.WouldAllow(ctx, table[action].call(action, gate.CallerFrom(ctx), q), action, resource.String(),
		append(others, policy.Attached{Name: "the new policy", Doc: d}))
	if err == nil && !ok {
		err = invalid("PolicyText", "The policy would prevent you from setting another policy on this repository; set force to apply it all the same")
	}
	return err
}

// show is a stored policy as people see it.
func (s *Service) show(ctx context.Context, text string, kind policy.Kind) (*string, error) {
	text, err := s.identity.Show(ctx, text, kind)
	return aws.String(text), err
}

func (s *Service) GetRepositoryPolicy(ctx context.Context, in *ecr.GetRepositoryPolicyInput, _ ...options) (*ecr.GetRepositoryPolicyOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.GetRepositoryPolicyOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName}
	return out, s.do(ctx, "GetRepositoryPolicy", q, func(ctx context.Context) error {
		r, err := s.registry.Repository(ctx, q.place, *in.RepositoryName)
		if err == nil && r.Policy == "" {
			err = registry.NoPolicy(q.place, r.Name)
		}
		if err == nil {
			out.PolicyText, err = s.show(ctx, r.Policy, policy.Repository)
		}
		return err
	})
}

func (s *Service) DeleteRepositoryPolicy(ctx context.Context, in *ecr.DeleteRepositoryPolicyInput, _ ...options) (*ecr.DeleteRepositoryPolicyOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.DeleteRepositoryPolicyOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName}
	return out, s.do(ctx, "DeleteRepositoryPolicy", q, func(ctx context.Context) error {
		text, err := s.registry.DeletePolicy(ctx, q.place, *in.RepositoryName)
		if err == nil {
			out.PolicyText, err = s.show(ctx, text, policy.Repository)
		}
		return err
	})
}

func (s *Service) PutLifecyclePolicy(ctx context.Context, in *ecr.PutLifecyclePolicyInput, _ ...options) (*ecr.PutLifecyclePolicyOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.LifecyclePolicyText == nil {
		return nil, missing("lifecyclePolicyText")
	}
	out := &ecr.PutLifecyclePolicyOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName, LifecyclePolicyText: in.LifecyclePolicyText}
	return out, s.do(ctx, "PutLifecyclePolicy", q, func(ctx context.Context) error {
		_, err := s.registry.SetLifecycle(ctx, q.place, *in.RepositoryName, *in.LifecyclePolicyText)
		return err
	})
}

func (s *Service) GetLifecyclePolicy(ctx context.Context, in *ecr.GetLifecyclePolicyInput, _ ...options) (*ecr.GetLifecyclePolicyOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.GetLifecyclePolicyOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName}
	return out, s.do(ctx, "GetLifecyclePolicy", q, func(ctx context.Context) error {
		r, err := s.registry.Repository(ctx, q.place, *in.RepositoryName)
		if err == nil && r.Lifecycle == "" {
			err = registry.NoLifecycle(q.place, r.Name)
		}
		if err == nil {
			out.LifecyclePolicyText = aws.String(r.Lifecycle)
			if !r.EvaluatedAt.IsZero() {
				out.LastEvaluatedAt = aws.Time(r.EvaluatedAt)
			}
		}
		return err
	})
}

func (s *Service) DeleteLifecyclePolicy(ctx context.Context, in *ecr.DeleteLifecyclePolicyInput, _ ...options) (*ecr.DeleteLifecyclePolicyOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.DeleteLifecyclePolicyOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName}
	return out, s.do(ctx, "DeleteLifecyclePolicy", q, func(ctx context.Context) error {
		was, err := s.registry.DeleteLifecycle(ctx, q.place, *in.RepositoryName)
		if err == nil {
			out.LifecyclePolicyText = aws.String(was.Lifecycle)
			if !was.EvaluatedAt.IsZero() {
				out.LastEvaluatedAt = aws.Time(was.EvaluatedAt)
			}
		}
		return err
	})
}

func (s *Service) PutRegistryPolicy(ctx context.Context, in *ecr.PutRegistryPolicyInput, _ ...options) (*ecr.PutRegistryPolicyOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	if in.PolicyText == nil {
		return nil, missing("policyText")
	}
	out := &ecr.PutRegistryPolicyOutput{RegistryId: aws.String(string(q.place.Account)), PolicyText: in.PolicyText}
	return out, s.do(ctx, "PutRegistryPolicy", q, func(ctx context.Context) error {
		bound, err := s.bind(ctx, "policyText", *in.PolicyText, policy.Registry)
		if err != nil {
			return err
		}
		return s.registry.PutRegistryPolicy(ctx, q.place, bound)
	})
}

func (s *Service) GetRegistryPolicy(ctx context.Context, _ *ecr.GetRegistryPolicyInput, _ ...options) (*ecr.GetRegistryPolicyOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := &ecr.GetRegistryPolicyOutput{RegistryId: aws.String(string(q.place.Account))}
	return out, s.do(ctx, "GetRegistryPolicy", q, func(ctx context.Context) error {
		text, err := s.registry.RegistryPolicy(ctx, q.place)
		if err == nil {
			out.PolicyText, err = s.show(ctx, text, policy.Registry)
		}
		return err
	})
}

func (s *Service) DeleteRegistryPolicy(ctx context.Context, _ *ecr.DeleteRegistryPolicyInput, _ ...options) (*ecr.DeleteRegistryPolicyOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := &ecr.DeleteRegistryPolicyOutput{RegistryId: aws.String(string(q.place.Account))}
	return out, s.do(ctx, "DeleteRegistryPolicy", q, func(ctx context.Context) error {
		text, err := s.registry.DeleteRegistryPolicy(ctx, q.place)
		if err == nil {
			out.PolicyText, err = s.show(ctx, text, policy.Registry)
		}
		return err
	})
}
