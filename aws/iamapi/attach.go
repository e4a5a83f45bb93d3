package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity"
)

func (s *Service) putInline(ctx context.Context, op string, k identity.EntityKind, name, policyName, document *string) error {
	resource, keys, err := s.entity(ctx, k, name)
	if err == nil {
		err = required("policyName", policyName)
	}
	if err == nil {
		err = required("policyDocument", document)
	}
	if err != nil {
		return err
	}
	return s.do(ctx, op, resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.PutInline(ctx, a, k, *name, *policyName, *document)
	})
}

func (s *Service) getInline(ctx context.Context, op string, k identity.EntityKind, name, policyName *string) (document *string, err error) {
	resource, keys, err := s.entity(ctx, k, name)
	if err == nil {
		err = required("policyName", policyName)
	}
	if err != nil {
		return nil, err
	}
	err = s.do(ctx, op, resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.Entity(ctx, a, k, *name)
		if err != nil {
			return err
		}
		text, err := s.identity.Inline(ctx, e, *policyName)
		document = escape(text)
		return err
	})
	return document, err
}

func (s *Service) deleteInline(ctx context.Context, op string, k identity.EntityKind, name, policyName *string) error {
	resource, keys, err := s.entity(ctx, k, name)
	if err == nil {
		err = required("policyName", policyName)
	}
	if err != nil {
		return err
	}
	return s.do(ctx, op, resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeleteInline(ctx, a, k, *name, *policyName)
	})
}

func (s *Service) listInline(ctx context.Context, op string, k identity.EntityKind, name *string) (names []string, err error) {
	resource, keys, err := s.entity(ctx, k, name)
	if err != nil {
		return nil, err
	}
	names = []string{}
	err = s.do(ctx, op, resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.Entity(ctx, a, k, *name)
		if err != nil {
			return err
		}
		list, err := s.identity.InlineNames(ctx, e)
		names = append(names, list...)
		return err
	})
	return names, err
}

func (s *Service) attach(ctx context.Context, op string, k identity.EntityKind, name, policyARN *string, do func(context.Context, arn.Account, identity.EntityKind, string, string) error) error {
	resource, keys, err := s.entity(ctx, k, name)
	if err == nil {
		err = required("policyArn", policyARN)
	}
	if err != nil {
		return err
	}
	if keys == nil {
		keys = map[string][]string{}
	}
	keys["iam:policyarn"] = []string{*policyARN}
	return s.do(ctx, op, resource, keys, func(ctx context.Context, a arn.Account) error { return do(ctx, a, k, *name, *policyARN) })
}

func (s *Service) attached(ctx context.Context, op string, k identity.EntityKind, name, pathPrefix *string) (out []types.AttachedPolicy, err error) {
	resource, keys, err := s.entity(ctx, k, name)
	if err != nil {
		return nil, err
	}
	out = []types.AttachedPolicy{}
	err = s.do(ctx, op, resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.Entity(ctx, a, k, *name)
		if err != nil {
			return err
		}
		list, err := s.identity.Attached(ctx, e)
		if err != nil {
			return err
		}
		for _, policyARN := range list {
			p, err := s.identity.Policy(ctx, a, policyARN)
			if err != nil {
				return err
			}
			if underPath(p.Path, pathPrefix) {
				out = append(out, types.AttachedPolicy{PolicyArn: aws.String(policyARN), PolicyName: aws.String(p.Name)})
			}
		}
		return nil
	})
	return out, err
}

func (s *Service) PutUserPolicy(ctx context.Context, in *iam.PutUserPolicyInput, _ ...options) (*iam.PutUserPolicyOutput, error) {
	return &iam.PutUserPolicyOutput{}, s.putInline(ctx, "PutUserPolicy", identity.User, in.UserName, in.PolicyName, in.PolicyDocument)
}

func (s *Service) GetUserPolicy(ctx context.Context, in *iam.GetUserPolicyInput, _ ...options) (*iam.GetUserPolicyOutput, error) {
	document, err := s.getInline(ctx, "GetUserPolicy", identity.User, in.UserName, in.PolicyName)
	return &iam.GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

func (s *Service) DeleteUserPolicy(ctx context.Context, in *iam.DeleteUserPolicyInput, _ ...options) (*iam.DeleteUserPolicyOutput, error) {
	return &iam.DeleteUserPolicyOutput{}, s.deleteInline(ctx, "DeleteUserPolicy", identity.User, in.UserName, in.PolicyName)
}

func (s *Service) ListUserPolicies(ctx context.Context, in *iam.ListUserPoliciesInput, _ ...options) (*iam.ListUserPoliciesOutput, error) {
	names, err := s.listInline(ctx, "ListUserPolicies", identity.User, in.UserName)
	return &iam.ListUserPoliciesOutput{PolicyNames: names}, err
}

func (s *Service) AttachUserPolicy(ctx context.Context, in *iam.AttachUserPolicyInput, _ ...options) (*iam.AttachUserPolicyOutput, error) {
	return &iam.AttachUserPolicyOutput{}, s.attach(ctx, "AttachUserPolicy", identity.User, in.UserName, in.PolicyArn, s.identity.Attach)
}

func (s *Service) DetachUserPolicy(ctx context.Context, in *iam.DetachUserPolicyInput, _ ...options) (*iam.DetachUserPolicyOutput, error) {
	return &iam.DetachUserPolicyOutput{}, s.attach(ctx, "DetachUserPolicy", identity.User, in.UserName, in.PolicyArn, s.identity.Detach)
}

func (s *Service) ListAttachedUserPolicies(ctx context.Context, in *iam.ListAttachedUserPoliciesInput, _ ...options) (*iam.ListAttachedUserPoliciesOutput, error) {
	list, err := s.attached(ctx, "ListAttachedUserPolicies", identity.User, in.UserName, in.PathPrefix)
	return &iam.ListAttachedUserPoliciesOutput{AttachedPolicies: list}, err
}

func (s *Service) PutGroupPolicy(ctx context.Context, in *iam.PutGroupPolicyInput, _ ...options) (*iam.PutGroupPolicyOutput, error) {
	return &iam.PutGroupPolicyOutput{}, s.putInline(ctx, "PutGroupPolicy", identity.Group, in.GroupName, in.PolicyName, in.PolicyDocument)
}

func (s *Service) GetGroupPolicy(ctx context.Context, in *iam.GetGroupPolicyInput, _ ...options) (*iam.GetGroupPolicyOutput, error) {
	document, err := s.getInline(ctx, "GetGroupPolicy", identity.Group, in.GroupName, in.PolicyName)
	return &iam.GetGroupPolicyOutput{GroupName: in.GroupName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

func (s *Service) DeleteGroupPolicy(ctx context.Context, in *iam.DeleteGroupPolicyInput, _ ...options) (*iam.DeleteGroupPolicyOutput, error) {
	return &iam.DeleteGroupPolicyOutput{}, s.deleteInline(ctx, "DeleteGroupPolicy", identity.Group, in.GroupName, in.PolicyName)
}

func (s *Service) ListGroupPolicies(ctx context.Context, in *iam.ListGroupPoliciesInput, _ ...options) (*iam.ListGroupPoliciesOutput, error) {
	names, err := s.listInline(ctx, "ListGroupPolicies", identity.Group, in.GroupName)
	return &iam.ListGroupPoliciesOutput{PolicyNames: names}, err
}

func (s *Service) AttachGroupPolicy(ctx context.Context, in *iam.AttachGroupPolicyInput, _ ...options) (*iam.AttachGroupPolicyOutput, error) {
	return &iam.AttachGroupPolicyOutput{}, s.attach(ctx, "AttachGroupPolicy", identity.Group, in.GroupName, in.PolicyArn, s.identity.Attach)
}

func (s *Service) DetachGroupPolicy(ctx context.Context, in *iam.DetachGroupPolicyInput, _ ...options) (*iam.DetachGroupPolicyOutput, error) {
	return &iam.DetachGroupPolicyOutput{}, s.attach(ctx, "DetachGroupPolicy", identity.Group, in.GroupName, in.PolicyArn, s.identity.Detach)
}

func (s *Service) ListAttachedGroupPolicies(ctx context.Context, in *iam.ListAttachedGroupPoliciesInput, _ ...options) (*iam.ListAttachedGroupPoliciesOutput, error) {
	list, err := s.attached(ctx, "ListAttachedGroupPolicies", identity.Group, in.GroupName, in.PathPrefix)
	return &iam.ListAttachedGroupPoliciesOutput{AttachedPolicies: list}, err
}

func (s *Service) PutRolePolicy(ctx context.Context, in *iam.PutRolePolicyInput, _ ...options) (*iam.PutRolePolicyOutput, error) {
	return &iam.PutRolePolicyOutput{}, s.putInline(ctx, "PutRolePolicy", identity.Role, in.RoleName, in.PolicyName, in.PolicyDocument)
}

func (s *Service) GetRolePolicy(ctx context.Context, in *iam.GetRolePolicyInput, _ ...options) (*iam.GetRolePolicyOutput, error) {
	document, err := s.getInline(ctx, "GetRolePolicy", identity.Role, in.RoleName, in.PolicyName)
	return &iam.GetRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

func (s *Service) DeleteRolePolicy(ctx context.Context, in *iam.DeleteRolePolicyInput, _ ...options) (*iam.DeleteRolePolicyOutput, error) {
	return &iam.DeleteRolePolicyOutput{}, s.deleteInline(ctx, "DeleteRolePolicy", identity.Role, in.RoleName, in.PolicyName)
}

func (s *Service) ListRolePolicies(ctx context.Context, in *iam.ListRolePoliciesInput, _ ...options) (*iam.ListRolePoliciesOutput, error) {
	names, err := s.listInline(ctx, "ListRolePolicies", identity.Role, in.RoleName)
	return &iam.ListRolePoliciesOutput{PolicyNames: names}, err
}

func (s *Service) AttachRolePolicy(ctx context.Context, in *iam.AttachRolePolicyInput, _ ...options) (*iam.AttachRolePolicyOutput, error) {
	return &iam.AttachRolePolicyOutput{}, s.attach(ctx, "AttachRolePolicy", identity.Role, in.RoleName, in.PolicyArn, s.identity.Attach)
}

func (s *Service) DetachRolePolicy(ctx context.Context, in *iam.DetachRolePolicyInput, _ ...options) (*iam.DetachRolePolicyOutput, error) {
	return &iam.DetachRolePolicyOutput{}, s.attach(ctx, "DetachRolePolicy", identity.Role, in.RoleName, in.PolicyArn, s.identity.Detach)
}

func (s *Service) ListAttachedRolePolicies(ctx context.Context, in *iam.ListAttachedRolePoliciesInput, _ ...options) (*iam.ListAttachedRolePoliciesOutput, error) {
	list, err := s.attached(ctx, "ListAttachedRolePolicies", identity.Role, in.RoleName, in.PathPrefix)
	return &iam.ListAttachedRolePoliciesOutput{AttachedPolicies: list}, err
}
