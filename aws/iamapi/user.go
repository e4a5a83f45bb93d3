package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
)

func toBoundary(policyARN string) *types.AttachedPermissionsBoundary {
	if policyARN == "" {
		return nil
	}
	return &types.AttachedPermissionsBoundary{PermissionsBoundaryArn: aws.String(policyARN), PermissionsBoundaryType: "PermissionsBoundaryPolicy"}
}

func toUser(e *identity.Entity, whole bool) *types.User {
	u := &types.User{Arn: aws.String(e.ARN()), CreateDate: aws.Time(e.CreatedAt), Path: aws.String(e.Path), UserId: aws.String(e.ID), UserName: aws.String(e.Name)}
	if whole { // lists leave these out
		u.Tags, u.PermissionsBoundary = tagList(e.Tags), toBoundary(e.Boundary)
	}
	if !e.UsedAt.IsZero() {
		u.PasswordLastUsed = aws.Time(e.UsedAt)
	}
	return u
}

// CreateUser implements the API operation of its name, as do the methods below and
// in this package's other files.
func (s *Service) CreateUser(ctx context.Context, in *iam.CreateUserInput, _ ...options) (*iam.CreateUserOutput, error) {
	if err := required("userName", in.UserName); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	out := &iam.CreateUserOutput{}
	keys := boundaryKey(gate.TagKeys(nil, tags), in.PermissionsBoundary)
	return out, s.do(ctx, "CreateUser", newARN(ctx, identity.User, in.Path, in.UserName), keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.CreateEntity(ctx, identity.NewEntity{Account: a, Kind: identity.User, Name: *in.UserName, Path: aws.ToString(in.Path),
			Boundary: aws.ToString(in.PermissionsBoundary), Tags: tags})
		if err == nil {
			out.User = toUser(e, true)
		}
		return err
	})
}

// newARN is the ARN of what is to be made.
func newARN(ctx context.Context, k identity.EntityKind, path, name *string) string {
	p := aws.ToString(path)
	if p == "" {
		p = "/"
	}
	return identity.EntityARN(account(ctx), k, p+*name)
}

func boundaryKey(keys map[string][]string, boundary *string) map[string][]string {
	if keys == nil {
		keys = map[string][]string{}
	}
	if boundary != nil {
		keys["iam:permissionsboundary"] = []string{*boundary}
	}
	return keys
}

// own is a user name, or the caller's own: "" for the root.
func (s *Service) own(ctx context.Context, name *string) (string, error) {
	if name != nil {
		return *name, nil
	}
	p := gate.CallerFrom(ctx).Principal
	switch p.Kind {
	case arn.KindRoot:
		return "", nil
	case arn.KindUser:
		e, err := s.identity.EntityByID(ctx, p.Account, p.ID)
		if err != nil {
			return "", exception(err)
		}
		return e.Name, nil
	}
	return "", invalid("userName", "Must specify userName when calling with non-User credentials")
}

// ownEntity is the ARN and keys of a user who may be the caller, or of the root.
func (s *Service) ownEntity(ctx context.Context, name *string) (user, resource string, keys map[string][]string, err error) {
	if user, err = s.own(ctx, name); err != nil {
		return "", "", nil, err
	}
	if user == "" {
		return "", arn.Root(account(ctx)).ARN, nil, nil
	}
	resource, keys, err = s.entity(ctx, identity.User, &user)
	return user, resource, keys, err
}

func (s *Service) GetUser(ctx context.Context, in *iam.GetUserInput, _ ...options) (*iam.GetUserOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &iam.GetUserOutput{}
	return out, s.do(ctx, "GetUser", resource, keys, func(ctx context.Context, a arn.Account) error {
		if user == "" {
			list, err := s.identity.Accounts(ctx)
			for _, info := range list {
				if info.ID == a {
					out.User = &types.User{Arn: aws.String(resource), UserId: aws.String(string(a)), CreateDate: aws.Time(info.CreatedAt), Path: aws.String("/"), UserName: aws.String("root")}
				}
			}
			return err
		}
		e, err := s.identity.Entity(ctx, a, identity.User, user)
		if err == nil {
			out.User = toUser(e, true)
		}
		return err
	})
}

func (s *Service) ListUsers(ctx context.Context, in *iam.ListUsersInput, _ ...options) (*iam.ListUsersOutput, error) {
	p, err := s.page("ListUsers "+prefix(in.PathPrefix), in.MaxItems, in.Marker)
	if err != nil {
		return nil, err
	}
	out := &iam.ListUsersOutput{Users: []types.User{}}
	return out, s.do(ctx, "ListUsers", identity.EntityARN(account(ctx), identity.User, "*"), nil, func(ctx context.Context, a arn.Account) error {
		list, err := s.identity.Entities(ctx, a, identity.User, prefix(in.PathPrefix), p.after, p.size+1)
		list, out.Marker, out.IsTruncated = cut(s, p, list, entityName)
		for _, e := range list {
			out.Users = append(out.Users, *toUser(e, false))
		}
		return err
	})
}

func (s *Service) UpdateUser(ctx context.Context, in *iam.UpdateUserInput, _ ...options) (*iam.UpdateUserOutput, error) {
	resource, keys, err := s.entity(ctx, identity.User, in.UserName)
	if err != nil {
		return nil, err
	}
	return &iam.UpdateUserOutput{}, s.do(ctx, "UpdateUser", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.RenameEntity(ctx, a, identity.User, *in.UserName, aws.ToString(in.NewUserName), aws.ToString(in.NewPath))
	})
}

func (s *Service) DeleteUser(ctx context.Context, in *iam.DeleteUserInput, _ ...options) (*iam.DeleteUserOutput, error) {
	resource, keys, err := s.entity(ctx, identity.User, in.UserName)
	if err != nil {
		return nil, err
	}
	return &iam.DeleteUserOutput{}, s.do(ctx, "DeleteUser", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeleteEntity(ctx, a, identity.User, *in.UserName)
	})
}

// tag, untag and tags serve users and roles.
func (s *Service) tag(ctx context.Context, op string, k identity.EntityKind, name *string, list []types.Tag) error {
	resource, keys, err := s.entity(ctx, k, name)
	if err != nil {
		return err
	}
	tags, err := tagMap(list)
	if err != nil {
		return err
	}
	return s.do(ctx, op, resource, gate.TagKeys(keys, tags), func(ctx context.Context, a arn.Account) error {
		return s.identity.TagEntity(ctx, a, k, *name, tags)
	})
}

func (s *Service) untag(ctx context.Context, op string, k identity.EntityKind, name *string, tags []string) error {
	resource, keys, err := s.entity(ctx, k, name)
	if err != nil {
		return err
	}
	return s.do(ctx, op, resource, gate.TagKeys(keys, nil, tags...), func(ctx context.Context, a arn.Account) error {
		return s.identity.UntagEntity(ctx, a, k, *name, tags)
	})
}

func (s *Service) tags(ctx context.Context, op string, k identity.EntityKind, name *string) (out []types.Tag, err error) {
	resource, keys, err := s.entity(ctx, k, name)
	if err != nil {
		return nil, err
	}
	err = s.do(ctx, op, resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.Entity(ctx, a, k, *name)
		if err == nil {
			out = tagList(e.Tags)
		}
		return err
	})
	return out, err
}

func (s *Service) TagUser(ctx context.Context, in *iam.TagUserInput, _ ...options) (*iam.TagUserOutput, error) {
	return &iam.TagUserOutput{}, s.tag(ctx, "TagUser", identity.User, in.UserName, in.Tags)
}

func (s *Service) UntagUser(ctx context.Context, in *iam.UntagUserInput, _ ...options) (*iam.UntagUserOutput, error) {
	return &iam.UntagUserOutput{}, s.untag(ctx, "UntagUser", identity.User, in.UserName, in.TagKeys)
}

func (s *Service) ListUserTags(ctx context.Context, in *iam.ListUserTagsInput, _ ...options) (*iam.ListUserTagsOutput, error) {
	out := &iam.ListUserTagsOutput{}
	var err error
	out.Tags, err = s.tags(ctx, "ListUserTags", identity.User, in.UserName)
	return out, err
}

func (s *Service) setBoundary(ctx context.Context, op string, k identity.EntityKind, name, boundary *string) error {
	resource, keys, err := s.entity(ctx, k, name)
	if err != nil {
		return err
	}
	return s.do(ctx, op, resource, boundaryKey(keys, boundary), func(ctx context.Context, a arn.Account) error {
		_, err := s.identity.ChangeEntity(ctx, a, k, *name, func(e *identity.Entity) error { e.Boundary = aws.ToString(boundary); return nil })
		return err
	})
}

func (s *Service) PutUserPermissionsBoundary(ctx context.Context, in *iam.PutUserPermissionsBoundaryInput, _ ...options) (*iam.PutUserPermissionsBoundaryOutput, error) {
	if err := required("permissionsBoundary", in.PermissionsBoundary); err != nil {
		return nil, err
	}
	return &iam.PutUserPermissionsBoundaryOutput{}, s.setBoundary(ctx, "PutUserPermissionsBoundary", identity.User, in.UserName, in.PermissionsBoundary)
}

func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, in *iam.DeleteUserPermissionsBoundaryInput, _ ...options) (*iam.DeleteUserPermissionsBoundaryOutput, error) {
	return &iam.DeleteUserPermissionsBoundaryOutput{}, s.setBoundary(ctx, "DeleteUserPermissionsBoundary", identity.User, in.UserName, nil)
}

// Access keys.

func status(active bool) types.StatusType {
	if active {
		return types.StatusTypeActive
	}
	return types.StatusTypeInactive
}

func (s *Service) CreateAccessKey(ctx context.Context, in *iam.CreateAccessKeyInput, _ ...options) (*iam.CreateAccessKeyOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &iam.CreateAccessKeyOutput{}
	return out, s.do(ctx, "CreateAccessKey", resource, keys, func(ctx context.Context, a arn.Account) error {
		c, k, err := s.identity.CreateKey(ctx, a, user)
		if err == nil {
			out.AccessKey = &types.AccessKey{AccessKeyId: aws.String(k.ID), SecretAccessKey: aws.String(c.Secret.Reveal()), Status: status(true),
				UserName: aws.String(user), CreateDate: aws.Time(k.CreatedAt)}
		}
		return err
	})
}

func (s *Service) ListAccessKeys(ctx context.Context, in *iam.ListAccessKeysInput, _ ...options) (*iam.ListAccessKeysOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &iam.ListAccessKeysOutput{AccessKeyMetadata: []types.AccessKeyMetadata{}}
	return out, s.do(ctx, "ListAccessKeys", resource, keys, func(ctx context.Context, a arn.Account) error {
		list, err := s.identity.Keys(ctx, a, user)
		for _, k := range list {
			out.AccessKeyMetadata = append(out.AccessKeyMetadata, types.AccessKeyMetadata{AccessKeyId: aws.String(k.ID), CreateDate: aws.Time(k.CreatedAt),
				Status: status(k.Active), UserName: aws.String(user)})
		}
		return err
	})
}

func (s *Service) UpdateAccessKey(ctx context.Context, in *iam.UpdateAccessKeyInput, _ ...options) (*iam.UpdateAccessKeyOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err == nil {
		err = required("accessKeyId", in.AccessKeyId)
	}
	if err == nil && in.Status != types.StatusTypeActive && in.Status != types.StatusTypeInactive {
		err = invalid("status", "Member must satisfy enum value set: [Active, Inactive]")
	}
	if err != nil {
		return nil, err
	}
	return &iam.UpdateAccessKeyOutput{}, s.do(ctx, "UpdateAccessKey", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.SetKeyActive(ctx, a, user, *in.AccessKeyId, in.Status == types.StatusTypeActive)
	})
}

func (s *Service) DeleteAccessKey(ctx context.Context, in *iam.DeleteAccessKeyInput, _ ...options) (*iam.DeleteAccessKeyOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err == nil {
		err = required("accessKeyId", in.AccessKeyId)
	}
	if err != nil {
		return nil, err
	}
	return &iam.DeleteAccessKeyOutput{}, s.do(ctx, "DeleteAccessKey", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeleteKey(ctx, a, user, *in.AccessKeyId)
	})
}

func (s *Service) GetAccessKeyLastUsed(ctx context.Context, in *iam.GetAccessKeyLastUsedInput, _ ...options) (*iam.GetAccessKeyLastUsedOutput, error) {
	if err := required("accessKeyId", in.AccessKeyId); err != nil {
		return nil, err
	}
	resource := identity.EntityARN(account(ctx), identity.User, "*")
	k, user, kerr := s.identity.KeyByID(ctx, account(ctx), *in.AccessKeyId)
	if kerr == nil {
		resource = identity.EntityARN(account(ctx), identity.User, user)
	}
	out := &iam.GetAccessKeyLastUsedOutput{}
	return out, s.do(ctx, "GetAccessKeyLastUsed", resource, nil, func(context.Context, arn.Account) error {
		if kerr != nil {
			return kerr
		}
		out.UserName = aws.String(user)
		out.AccessKeyLastUsed = &types.AccessKeyLastUsed{Region: aws.String("N/A"), ServiceName: aws.String("N/A")}
		if !k.UsedAt.IsZero() {
			out.AccessKeyLastUsed = &types.AccessKeyLastUsed{Region: aws.String(k.UsedRegion), ServiceName: aws.String(k.UsedService), LastUsedDate: aws.Time(k.UsedAt)}
		}
		return nil
	})
}

// Login profiles.

func toProfile(e *identity.Entity) *types.LoginProfile {
	return &types.LoginProfile{UserName: aws.String(e.Name), CreateDate: aws.Time(e.PasswordAt), PasswordResetRequired: e.PasswordReset}
}

func (s *Service) CreateLoginProfile(ctx context.Context, in *iam.CreateLoginProfileInput, _ ...options) (*iam.CreateLoginProfileOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err == nil {
		err = required("password", in.Password)
	}
	if err != nil {
		return nil, err
	}
	out := &iam.CreateLoginProfileOutput{}
	return out, s.do(ctx, "CreateLoginProfile", resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.SetPassword(ctx, a, user, secret.String(*in.Password), &in.PasswordResetRequired, true)
		if err == nil {
			out.LoginProfile = toProfile(e)
		}
		return err
	})
}

func (s *Service) GetLoginProfile(ctx context.Context, in *iam.GetLoginProfileInput, _ ...options) (*iam.GetLoginProfileOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &iam.GetLoginProfileOutput{}
	return out, s.do(ctx, "GetLoginProfile", resource, keys, func(ctx context.Context, a arn.Account) error {
		e, err := s.identity.LoginProfile(ctx, a, user)
		if err == nil {
			out.LoginProfile = toProfile(e)
		}
		return err
	})
}

func (s *Service) UpdateLoginProfile(ctx context.Context, in *iam.UpdateLoginProfileInput, _ ...options) (*iam.UpdateLoginProfileOutput, error) {
	resource, keys, err := s.entity(ctx, identity.User, in.UserName)
	if err != nil {
		return nil, err
	}
	return &iam.UpdateLoginProfileOutput{}, s.do(ctx, "UpdateLoginProfile", resource, keys, func(ctx context.Context, a arn.Account) error {
		_, err := s.identity.SetPassword(ctx, a, *in.UserName, secret.String(aws.ToString(in.Password)), in.PasswordResetRequired, false)
		return err
	})
}

func (s *Service) DeleteLoginProfile(ctx context.Context, in *iam.DeleteLoginProfileInput, _ ...options) (*iam.DeleteLoginProfileOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	return &iam.DeleteLoginProfileOutput{}, s.do(ctx, "DeleteLoginProfile", resource, keys, func(ctx context.Context, a arn.Account) error {
		return s.identity.DeletePassword(ctx, a, user)
	})
}

func (s *Service) ChangePassword(ctx context.Context, in *iam.ChangePasswordInput, _ ...options) (*iam.ChangePasswordOutput, error) {
	user, resource, keys, err := s.ownEntity(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &iam.ChangePasswordOutput{}, s.do(ctx, "ChangePassword", resource, keys, func(ctx context.Context, a arn.Account) error {
		if _, _, err := s.identity.CheckPassword(ctx, a, user, secret.String(aws.ToString(in.OldPassword))); err != nil {
			return err
		}
		off := false
		_, err := s.identity.SetPassword(ctx, a, user, secret.String(aws.ToString(in.NewPassword)), &off, false)
		return err
	})
}
