package iamapi

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
)

func underPath(path string, prefix *string) bool {
	return prefix == nil || strings.HasPrefix(path, *prefix)
}

func toPolicy(p *identity.ManagedPolicy, whole bool) *types.Policy {
	out := &types.Policy{Arn: aws.String(p.ARN()), AttachmentCount: aws.Int32(int32(p.Attachments)), CreateDate: aws.Time(p.CreatedAt),
		DefaultVersionId: aws.String(identity.VersionID(p.Default)), IsAttachable: true, Path: aws.String(p.Path),
		PermissionsBoundaryUsageCount: aws.Int32(int32(p.Boundaries)), PolicyId: aws.String(p.ID), PolicyName: aws.String(p.Name), UpdateDate: aws.Time(p.UpdatedAt)}
	if whole {
		out.Tags = tagList(p.Tags)
		if p.Description != "" {
			out.Description = aws.String(p.Description)
		}
	}
	return out
}

func toVersion(p *identity.ManagedPolicy, v identity.Version, whole bool) types.PolicyVersion {
	out := types.PolicyVersion{CreateDate: aws.Time(v.CreatedAt), IsDefaultVersion: v.Number == p.Default, VersionId: aws.String(identity.VersionID(v.Number))}
	if whole {
		out.Document = escape(v.Document)
	}
	return out
}

func (s *Service) CreatePolicy(ctx context.Context, in *iam.CreatePolicyInput, _ ...options) (*iam.CreatePolicyOutput, error) {
	if err := required("policyName", in.PolicyName); err != nil {
		return nil, err
	}
	if err := required("policyDocument", in.PolicyDocument); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	path := aws.ToString(in.Path)
	if path == "" {
		path = "/"
	}
	out := &iam.CreatePolicyOutput{}
	return out, s.do(ctx, "CreatePolicy", identity.PolicyARN(account(ctx), path+*in.PolicyName), gate.TagKeys(nil, tags), func(ctx context.Context, a arn.Account) error {
		p, err := s.identity.CreatePolicy(ctx, identity.ManagedPolicy{Account: a, Name: *in.PolicyName, Path: path, Description: aws.ToString(in.Description), Tags: tags}, *in.PolicyDocument)
		if err == nil {
			out.Policy = toPolicy(p, true)
		}
		return err
	})
}

// onPolicy passes an operation on a managed policy through the gate.
func (s *Service) onPolicy(ctx context.Context, op string, policyARN *string, keys map[string][]string, act func(context.Context, arn.Account) error) error {
	if err := required("policyArn", policyARN); err != nil {
		return err
	}
	p, err := arn.Parse(*policyARN)
	ours := err == nil && p.Service == "iam" && strings.HasPrefix(p.Resource, "policy/") && p.Account == account(ctx)
	if !ours && !strings.HasPrefix(*policyARN, "arn:aws:iam::aws:policy/") {
		return exception(&identity.Error{Code: identity.InvalidInput, Message: "ARN " + *policyARN + " is not valid."})
	}
	return s.do(ctx, op, *policyARN, keys, act)
}

func (s *Service) GetPolicy(ctx context.Context, in *iam.GetPolicyInput, _ ...options) (*iam.GetPolicyOutput, error) {
	out := &iam.GetPolicyOutput{}
	return out, s.onPolicy(ctx, "GetPolicy", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		p, err := s.identity.Policy(ctx, a, *in.PolicyArn)
		if err == nil {
			out.Policy = toPolicy(p, true)
		}
		return err
	})
}

func (s *Service) ListPolicies(ctx context.Context, in *iam.ListPoliciesInput, _ ...options) (*iam.ListPoliciesOutput, error) {
	scope := in.Scope
	if scope == "" {
		scope = types.PolicyScopeTypeAll
	}
	p, err := s.page("ListPolicies "+string(scope)+prefix(in.PathPrefix), in.MaxItems, in.Marker)
	if err != nil {
		return nil, err
	}
	out := &iam.ListPoliciesOutput{Policies: []types.Policy{}}
	return out, s.do(ctx, "ListPolicies", identity.PolicyARN(account(ctx), "*"), nil, func(ctx context.Context, a arn.Account) error {
		// The account's own come first, then AWS's; the marker says which.
		aws1, after := strings.HasPrefix(p.after, "aws "), strings.TrimPrefix(strings.TrimPrefix(p.after, "aws "), "own ")
		var list []*identity.ManagedPolicy
		if scope != types.PolicyScopeTypeAws && !aws1 {
			own, err := s.identity.Policies(ctx, a, false, prefix(in.PathPrefix), after, p.size+1)
			if err != nil {
				return err
			}
			list, after = own, ""
		}
		if scope != types.PolicyScopeTypeLocal && len(list) <= p.size {
			managed, err := s.identity.Policies(ctx, a, true, prefix(in.PathPrefix), after, p.size+1-len(list))
			if err != nil {
				return err
			}
			list = append(list, managed...)
		}
		list, out.Marker, out.IsTruncated = cut(s, p, list, func(m *identity.ManagedPolicy) string {
			if m.AWS {
				return "aws " + m.Name
			}
			return "own " + m.Name
		})
		for _, m := range list {
			if !in.OnlyAttached || m.Attachments+m.Boundaries > 0 {
				out.Policies = append(out.Policies, *toPolicy(m, false))
			}
		}
		return nil
	})
}

func (s *Service) DeletePolicy(ctx context.Context, in *iam.DeletePolicyInput, _ ...options) (*iam.DeletePolicyOutput, error) {
	return &iam.DeletePolicyOutput{}, s.onPolicy(ctx, "DeletePolicy", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeletePolicy(ctx, a, *in.PolicyArn)
	})
}

func (s *Service) CreatePolicyVersion(ctx context.Context, in *iam.CreatePolicyVersionInput, _ ...options) (*iam.CreatePolicyVersionOutput, error) {
	if err := required("policyDocument", in.PolicyDocument); err != nil {
		return nil, err
	}
	out := &iam.CreatePolicyVersionOutput{}
	return out, s.onPolicy(ctx, "CreatePolicyVersion", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		v, err := s.identity.AddPolicyVersion(ctx, a, *in.PolicyArn, *in.PolicyDocument, in.SetAsDefault)
		if err == nil {
			out.PolicyVersion = &types.PolicyVersion{CreateDate: aws.Time(v.CreatedAt), IsDefaultVersion: in.SetAsDefault, VersionId: aws.String(identity.VersionID(v.Number))}
		}
		return err
	})
}

func (s *Service) GetPolicyVersion(ctx context.Context, in *iam.GetPolicyVersionInput, _ ...options) (*iam.GetPolicyVersionOutput, error) {
	if err := required("versionId", in.VersionId); err != nil {
		return nil, err
	}
	out := &iam.GetPolicyVersionOutput{}
	return out, s.onPolicy(ctx, "GetPolicyVersion", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		p, v, err := s.identity.PolicyVersion(ctx, a, *in.PolicyArn, *in.VersionId)
		if err == nil {
			pv := toVersion(p, v, true)
			out.PolicyVersion = &pv
		}
		return err
	})
}

func (s *Service) ListPolicyVersions(ctx context.Context, in *iam.ListPolicyVersionsInput, _ ...options) (*iam.ListPolicyVersionsOutput, error) {
	out := &iam.ListPolicyVersionsOutput{Versions: []types.PolicyVersion{}}
	return out, s.onPolicy(ctx, "ListPolicyVersions", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		p, err := s.identity.Policy(ctx, a, *in.PolicyArn)
		if err != nil {
			return err
		}
		list, err := s.identity.PolicyVersions(ctx, p)
		for _, v := range list {
			out.Versions = append(out.Versions, toVersion(p, v, false))
		}
		return err
	})
}

func (s *Service) DeletePolicyVersion(ctx context.Context, in *iam.DeletePolicyVersionInput, _ ...options) (*iam.DeletePolicyVersionOutput, error) {
	return &iam.DeletePolicyVersionOutput{}, s.onPolicy(ctx, "DeletePolicyVersion", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeletePolicyVersion(ctx, a, *in.PolicyArn, aws.ToString(in.VersionId))
	})
}

func (s *Service) SetDefaultPolicyVersion(ctx context.Context, in *iam.SetDefaultPolicyVersionInput, _ ...options) (*iam.SetDefaultPolicyVersionOutput, error) {
	return &iam.SetDefaultPolicyVersionOutput{}, s.onPolicy(ctx, "SetDefaultPolicyVersion", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		return s.identity.SetDefaultVersion(ctx, a, *in.PolicyArn, aws.ToString(in.VersionId))
	})
}

func (s *Service) ListEntitiesForPolicy(ctx context.Context, in *iam.ListEntitiesForPolicyInput, _ ...options) (*iam.ListEntitiesForPolicyOutput, error) {
	out := &iam.ListEntitiesForPolicyOutput{PolicyGroups: []types.PolicyGroup{}, PolicyRoles: []types.PolicyRole{}, PolicyUsers: []types.PolicyUser{}}
	return out, s.onPolicy(ctx, "ListEntitiesForPolicy", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		if _, err := s.identity.Policy(ctx, a, *in.PolicyArn); err != nil {
			return err
		}
		list, err := s.identity.PolicyEntities(ctx, a, *in.PolicyArn, in.PolicyUsageFilter == types.PolicyUsageTypePermissionsBoundary)
		for _, e := range list {
			kind := map[identity.EntityKind]types.EntityType{identity.User: types.EntityTypeUser, identity.Group: types.EntityTypeGroup, identity.Role: types.EntityTypeRole}[e.Kind]
			if in.EntityFilter != "" && in.EntityFilter != kind || !underPath(e.Path, in.PathPrefix) {
				continue
			}
			switch e.Kind {
			case identity.User:
				out.PolicyUsers = append(out.PolicyUsers, types.PolicyUser{UserId: aws.String(e.ID), UserName: aws.String(e.Name)})
			case identity.Group:
				out.PolicyGroups = append(out.PolicyGroups, types.PolicyGroup{GroupId: aws.String(e.ID), GroupName: aws.String(e.Name)})
			case identity.Role:
				out.PolicyRoles = append(out.PolicyRoles, types.PolicyRole{RoleId: aws.String(e.ID), RoleName: aws.String(e.Name)})
			}
		}
		return err
	})
}

func (s *Service) TagPolicy(ctx context.Context, in *iam.TagPolicyInput, _ ...options) (*iam.TagPolicyOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &iam.TagPolicyOutput{}, s.onPolicy(ctx, "TagPolicy", in.PolicyArn, gate.TagKeys(nil, tags), func(ctx context.Context, a arn.Account) error {
		return s.identity.TagPolicy(ctx, a, *in.PolicyArn, tags, nil)
	})
}

func (s *Service) UntagPolicy(ctx context.Context, in *iam.UntagPolicyInput, _ ...options) (*iam.UntagPolicyOutput, error) {
	return &iam.UntagPolicyOutput{}, s.onPolicy(ctx, "UntagPolicy", in.PolicyArn, gate.TagKeys(nil, nil, in.TagKeys...), func(ctx context.Context, a arn.Account) error {
		return s.identity.TagPolicy(ctx, a, *in.PolicyArn, nil, in.TagKeys)
	})
}

func (s *Service) ListPolicyTags(ctx context.Context, in *iam.ListPolicyTagsInput, _ ...options) (*iam.ListPolicyTagsOutput, error) {
	out := &iam.ListPolicyTagsOutput{}
	return out, s.onPolicy(ctx, "ListPolicyTags", in.PolicyArn, nil, func(ctx context.Context, a arn.Account) error {
		p, err := s.identity.Policy(ctx, a, *in.PolicyArn)
		if err == nil {
			out.Tags = tagList(p.Tags)
		}
		return err
	})
}
