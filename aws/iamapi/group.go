package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity"
)

func toGroup(e *identity.Entity) types.Group {
	return types.Group{Arn: aws.String(e.ARN()), CreateDate: aws.Time(e.CreatedAt), GroupId: aws.String(e.ID), GroupName: aws.String(e.Name), Path: aws.String(e.Path)}
}

func (s *Service) CreateGroup(ctx context.Context, in *iam.CreateGroupInput, _ ...options) (*iam.CreateGroupOutput, error) {
	if err := required("groupName", in.GroupName); err != nil {
		return nil, err
	}
	out := &iam.CreateGroupOutput{}
	return out, s.do(ctx, "CreateGroup", newARN(ctx, identity.Group, in.Path, in.GroupName), nil, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.CreateEntity(ctx, identity.NewEntity{Account: a, Kind: identity.Group, Name: *in.GroupName, Path: aws.ToString(in.Path)})
		if err == nil {
			g := toGroup(e)
			out.Group = &g
		}
		return err
	})
}

func (s *Service) GetGroup(ctx context.Context, in *iam.GetGroupInput, _ ...options) (*iam.GetGroupOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Group, in.GroupName)
	if err != nil {
		return nil, err
	}
	p, err := s.page("GetGroup "+*in.GroupName, in.MaxItems, in.Marker)
	if err != nil {
		return nil, err
	}
	out := &iam.GetGroupOutput{Users: []types.User{}}
	return out, s.do(ctx, "GetGroup", resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.Entity(ctx, a, identity.Group, *in.GroupName)
		if err != nil {
			return err
		}
		g := toGroup(e)
		out.Group = &g
		list, err := s.identity.Members(ctx, e, p.after, p.size+1)
		list, out.Marker, out.IsTruncated = cut(s, p, list, entityName)
		for _, u := range list {
			out.Users = append(out.Users, *toUser(u, false))
		}
		return err
	})
}

func (s *Service) ListGroups(ctx context.Context, in *iam.ListGroupsInput, _ ...options) (*iam.ListGroupsOutput, error) {
	p, err := s.page("ListGroups "+prefix(in.PathPrefix), in.MaxItems, in.Marker)
	if err != nil {
		return nil, err
	}
	out := &iam.ListGroupsOutput{Groups: []types.Group{}}
	return out, s.do(ctx, "ListGroups", identity.EntityARN(account(ctx), identity.Group, "*"), nil, func(ctx context.Context, a arn.Account) error {
		list, err := s.identity.Entities(ctx, a, identity.Group, prefix(in.PathPrefix), p.after, p.size+1)
		list, out.Marker, out.IsTruncated = cut(s, p, list, entityName)
		for _, e := range list {
			out.Groups = append(out.Groups, toGroup(e))
		}
		return err
	})
}

func (s *Service) UpdateGroup(ctx context.Context, in *iam.UpdateGroupInput, _ ...options) (*iam.UpdateGroupOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Group, in.GroupName)
	if err != nil {
		return nil, err
	}
	return &iam.UpdateGroupOutput{}, s.do(ctx, "UpdateGroup", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.RenameEntity(ctx, a, identity.Group, *in.GroupName, aws.ToString(in.NewGroupName), aws.ToString(in.NewPath))
	})
}

func (s *Service) DeleteGroup(ctx context.Context, in *iam.DeleteGroupInput, _ ...options) (*iam.DeleteGroupOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Group, in.GroupName)
	if err != nil {
		return nil, err
	}
	return &iam.DeleteGroupOutput{}, s.do(ctx, "DeleteGroup", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeleteEntity(ctx, a, identity.Group, *in.GroupName)
	})
}

func (s *Service) AddUserToGroup(ctx context.Context, in *iam.AddUserToGroupInput, _ ...options) (*iam.AddUserToGroupOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Group, in.GroupName)
	if err == nil {
		err = required("userName", in.UserName)
	}
	if err != nil {
		return nil, err
	}
	return &iam.AddUserToGroupOutput{}, s.do(ctx, "AddUserToGroup", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.AddToGroup(ctx, a, *in.GroupName, *in.UserName)
	})
}

func (s *Service) RemoveUserFromGroup(ctx context.Context, in *iam.RemoveUserFromGroupInput, _ ...options) (*iam.RemoveUserFromGroupOutput, error) {
	resource, keys, err := s.entity(ctx, identity.Group, in.GroupName)
	if err == nil {
		err = required("userName", in.UserName)
	}
	if err != nil {
		return nil, err
	}
	return &iam.RemoveUserFromGroupOutput{}, s.do(ctx, "RemoveUserFromGroup", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.RemoveFromGroup(ctx, a, *in.GroupName, *in.UserName)
	})
}

func (s *Service) ListGroupsForUser(ctx context.Context, in *iam.ListGroupsForUserInput, _ ...options) (*iam.ListGroupsForUserOutput, error) {
	resource, keys, err := s.entity(ctx, identity.User, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &iam.ListGroupsForUserOutput{Groups: []types.Group{}}
	return out, s.do(ctx, "ListGroupsForUser", resource, keys, func(ctx context.Context, a arn.Account) error {
		u, err := s.identity.Entity(ctx, a, identity.User, *in.UserName)
		if err != nil {
			return err
		}
		list, err := s.identity.GroupsOf(ctx, u)
		for _, g := range list {
			out.Groups = append(out.Groups, toGroup(g))
		}
		return err
	})
}
