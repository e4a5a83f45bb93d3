package iamapi

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/identity/policy"
)

func (s *Service) toRole(ctx context.Context, e *identity.Entity, whole bool) (*types.Role, error) {
	trust, err := s.identity.Show(ctx, e.Trust, policy.Trust)
	if err != nil {
		return nil, err
	}
	r := &types.Role{Arn: aws.String(e.ARN()), AssumeRolePolicyDocument: escape(trust), CreateDate: aws.Time(e.CreatedAt), Path: aws.String(e.Path),
		RoleId: aws.String(e.ID), RoleName: aws.String(e.Name), MaxSessionDuration: aws.Int32(int32(e.MaxSession / time.Second))}
	if e.Description != "" {
		r.Description = aws.String(e.Description)
	}
	if whole {
		r.Tags, r.PermissionsBoundary, r.RoleLastUsed = tagList(e.Tags), toBoundary(e.Boundary), &types.RoleLastUsed{}
		if !e.UsedAt.IsZero() {
			r.RoleLastUsed.LastUsedDate = aws.Time(e.UsedAt)
		}
	}
	return r, nil
}

// review tells of trust policies that are allowed and wider than they look.
func (s *Service) review(ctx context.Context, role, trust string) {
	d, err := policy.Parse(trust, policy.Trust)
	if err != nil || s.warn == nil {
		return
	}
	warnings, _ := policy.ReviewTrust(d)
	for _, w := range warnings {
		s.warn(ctx, role, w)
	}
}

func (s *Service) CreateRole(ctx context.Context, in *iam.CreateRoleInput, _ ...options) (*iam.CreateRoleOutput, error) {
	if err := required("roleName", in.RoleName); err != nil {
		return nil, err
	}
	if err := required("assumeRolePolicyDocument", in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	out := &iam.CreateRoleOutput{}
	resource := newARN(ctx, identity.Role, in.Path, in.RoleName)
	return out, s.do(ctx, "CreateRole", resource, boundaryKey(gate.TagKeys(nil, tags), in.PermissionsBoundary), func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.CreateEntity(ctx, identity.NewEntity{Account: a, Kind: identity.Role, Name: *in.RoleName, Path: aws.ToString(in.Path),
			Description: aws.ToString(in.Description), Trust: *in.AssumeRolePolicyDocument, Boundary: aws.ToString(in.PermissionsBoundary), Tags: tags,
			MaxSession: time.Duration(aws.ToInt32(in.MaxSessionDuration)) * time.Second})
		if err != nil {
			return err
		}
		s.review(ctx, e.ARN(), *in.AssumeRolePolicyDocument)
		out.Role, err = s.toRole(ctx, e, true)
		return err
	})
}

func (s *Service) GetRole(ctx context.Context, in *iam.GetRoleInput, _ ...options) (*iam.GetRoleOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Role, in.RoleName)
	if err != nil {
		return nil, err
	}
	out := &iam.GetRoleOutput{}
	return out, s.do(ctx, "GetRole", resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.Entity(ctx, a, identity.Role, *in.RoleName)
		if err != nil {
			return err
		}
		out.Role, err = s.toRole(ctx, e, true)
		return err
	})
}

func (s *Service) ListRoles(ctx context.Context, in *iam.ListRolesInput, _ ...options) (*iam.ListRolesOutput, error) {
	p, err := s.page("ListRoles "+prefix(in.PathPrefix), in.MaxItems, in.Marker)
	if err != nil {
		return nil, err
	}
	out := &iam.ListRolesOutput{Roles: []types.Role{}}
	return out, s.do(ctx, "ListRoles", identity.EntityARN(account(ctx), identity.Role, "*"), nil, func(ctx context.Context, a arn.Account) error {
		list, err := s.identity.Entities(ctx, a, identity.Role, prefix(in.PathPrefix), p.after, p.size+1)
		if err != nil {
			return err
		}
		list, out.Marker, out.IsTruncated = cut(s, p, list, entityName)
		for _, e := range list {
			r, err := s.toRole(ctx, e, false)
			if err != nil {
				return err
			}
			out.Roles = append(out.Roles, *r)
		}
		return nil
	})
}

func (s *Service) UpdateRole(ctx context.Context, in *iam.UpdateRoleInput, _ ...options) (*iam.UpdateRoleOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Role, in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.UpdateRoleOutput{}, s.do(ctx, "UpdateRole", resource, keys, func(ctx context.Context, a arn.Account) error {
		_, err := s.identity.ChangeEntity(ctx, a, identity.Role, *in.RoleName, func(e *identity.Entity) error {
			if in.Description != nil {
				e.Description = *in.Description
			}
			if in.MaxSessionDuration != nil {
				e.MaxSession = time.Duration(*in.MaxSessionDuration) * time.Second
			}
			return nil
		})
		return err
	})
}

func (s *Service) UpdateRoleDescription(ctx context.Context, in *iam.UpdateRoleDescriptionInput, _ ...options) (*iam.UpdateRoleDescriptionOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Role, in.RoleName)
	if err != nil {
		return nil, err
	}
	out := &iam.UpdateRoleDescriptionOutput{}
	return out, s.do(ctx, "UpdateRoleDescription", resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.ChangeEntity(ctx, a, identity.Role, *in.RoleName, func(e *identity.Entity) error {
			e.Description = aws.ToString(in.Description)
			return nil
		})
		if err != nil {
			return err
		}
		out.Role, err = s.toRole(ctx, e, true)
		return err
	})
}

func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *iam.UpdateAssumeRolePolicyInput, _ ...options) (*iam.UpdateAssumeRolePolicyOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Role, in.RoleName)
	if err == nil {
		err = required("policyDocument", in.PolicyDocument)
	}
	if err != nil {
		return nil, err
	}
	return &iam.UpdateAssumeRolePolicyOutput{}, s.do(ctx, "UpdateAssumeRolePolicy", resource, keys, func(ctx context.Context, a arn.Account) error {
		err := s.identity.SetTrust(ctx, a, *in.RoleName, *in.PolicyDocument)
		if err == nil {
			s.review(ctx, resource, *in.PolicyDocument)
		}
		return err
	})
}

func (s *Service) DeleteRole(ctx context.Context, in *iam.DeleteRoleInput, _ ...options) (*iam.DeleteRoleOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Role, in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.DeleteRoleOutput{}, s.do(ctx, "DeleteRole", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeleteEntity(ctx, a, identity.Role, *in.RoleName)
	})
}

func (s *Service) TagRole(ctx context.Context, in *iam.TagRoleInput, _ ...options) (*iam.TagRoleOutput, error) {
	return &iam.TagRoleOutput{}, s.tag(ctx, "TagRole", identity.Role, in.RoleName, in.Tags)
}

func (s *Service) UntagRole(ctx context.Context, in *iam.UntagRoleInput, _ ...options) (*iam.UntagRoleOutput, error) {
	return &iam.UntagRoleOutput{}, s.untag(ctx, "UntagRole", identity.Role, in.RoleName, in.TagKeys)
}

func (s *Service) ListRoleTags(ctx context.Context, in *iam.ListRoleTagsInput, _ ...options) (*iam.ListRoleTagsOutput, error) {
	out := &iam.ListRoleTagsOutput{}
	var err error
	out.Tags, err = s.tags(ctx, "ListRoleTags", identity.Role, in.RoleName)
	return out, err
}

func (s *Service) PutRolePermissionsBoundary(ctx context.Context, in *iam.PutRolePermissionsBoundaryInput, _ ...options) (*iam.PutRolePermissionsBoundaryOutput, error) {
	if err := required("permissionsBoundary", in.PermissionsBoundary); err != nil {
		return nil, err
	}
	return &iam.PutRolePermissionsBoundaryOutput{}, s.setBoundary(ctx, "PutRolePermissionsBoundary", identity.Role, in.RoleName, in.PermissionsBoundary)
}

func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, in *iam.DeleteRolePermissionsBoundaryInput, _ ...options) (*iam.DeleteRolePermissionsBoundaryOutput, error) {
	return &iam.DeleteRolePermissionsBoundaryOutput{}, s.setBoundary(ctx, "DeleteRolePermissionsBoundary", identity.Role, in.RoleName, nil)
}

// ListInstanceProfilesForRole answers with none: Berth has no instances. terraform
// asks before it deletes a role.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, in *iam.ListInstanceProfilesForRoleInput, _ ...options) (*iam.ListInstanceProfilesForRoleOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Role, in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.ListInstanceProfilesForRoleOutput{InstanceProfiles: []types.InstanceProfile{}}, s.do(ctx, "ListInstanceProfilesForRole", resource, keys,
		func(ctx context.Context, a arn.Account) error {
			_, err := s.identity.Entity(ctx, a, identity.Role, *in.RoleName)
			return err
		})
}
