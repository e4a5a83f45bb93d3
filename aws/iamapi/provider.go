package iamapi

import (
	"context"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
)

func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, in *iam.CreateOpenIDConnectProviderInput, _ ...options) (*iam.CreateOpenIDConnectProviderOutput, error) {
	if err := required("url", in.Url); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	out := &iam.CreateOpenIDConnectProviderOutput{}
	resource := identity.ProviderARN(account(ctx), strings.TrimPrefix(*in.Url, "https://"))
	return out, s.do(ctx, "CreateOpenIDConnectProvider", resource, gate.TagKeys(nil, tags), func(ctx context.Context, a arn.Account) error {
		p, err := s.identity.CreateProvider(ctx, a, *in.Url, in.ClientIDList, in.ThumbprintList, tags)
		if err == nil {
			out.OpenIDConnectProviderArn, out.Tags = aws.String(p.ARN()), tagList(p.Tags)
		}
		return err
	})
}

// onProvider passes an operation on a provider through the gate.
func (s *Service) onProvider(ctx context.Context, op string, providerARN *string, keys map[string][]string, act func(context.Context, arn.Account, string) error) error {
	if err := required("openIDConnectProviderArn", providerARN); err != nil {
		return err
	}
	p, err := arn.Parse(*providerARN)
	if err != nil || p.Service != "iam" || !strings.HasPrefix(p.Resource, "oidc-provider/") {
		return invalid("openIDConnectProviderArn", "must be the ARN of an OpenID Connect provider")
	}
	return s.do(ctx, op, *providerARN, keys, func(ctx context.Context, a arn.Account) error { return act(ctx, a, *providerARN) })
}

func (s *Service) GetOpenIDConnectProvider(ctx context.Context, in *iam.GetOpenIDConnectProviderInput, _ ...options) (*iam.GetOpenIDConnectProviderOutput, error) {
	out := &iam.GetOpenIDConnectProviderOutput{}
	return out, s.onProvider(ctx, "GetOpenIDConnectProvider", in.OpenIDConnectProviderArn, nil, func(ctx context.Context, a arn.Account, provider string) error {
		p, err := s.identity.Provider(ctx, a, provider)
		if err == nil {
			out.ClientIDList, out.ThumbprintList = append([]string{}, p.Clients...), append([]string{}, p.Thumbprints...)
			out.CreateDate, out.Url, out.Tags = aws.Time(p.CreatedAt), aws.String(p.URL), tagList(p.Tags)
		}
		return err
	})
}

func (s *Service) ListOpenIDConnectProviders(ctx context.Context, _ *iam.ListOpenIDConnectProvidersInput, _ ...options) (*iam.ListOpenIDConnectProvidersOutput, error) {
	out := &iam.ListOpenIDConnectProvidersOutput{OpenIDConnectProviderList: []types.OpenIDConnectProviderListEntry{}}
	return out, s.do(ctx, "ListOpenIDConnectProviders", identity.ProviderARN(account(ctx), "*"), nil, func(ctx context.Context, a arn.Account) error {
		list, err := s.identity.Providers(ctx, a)
		for _, p := range list {
			out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, types.OpenIDConnectProviderListEntry{Arn: aws.String(p.ARN())})
		}
		return err
	})
}

func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, in *iam.DeleteOpenIDConnectProviderInput, _ ...options) (*iam.DeleteOpenIDConnectProviderOutput, error) {
	return &iam.DeleteOpenIDConnectProviderOutput{}, s.onProvider(ctx, "DeleteOpenIDConnectProvider", in.OpenIDConnectProviderArn, nil, s.identity.DeleteProvider)
}

func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, in *iam.UpdateOpenIDConnectProviderThumbprintInput, _ ...options) (*iam.UpdateOpenIDConnectProviderThumbprintOutput, error) {
	return &iam.UpdateOpenIDConnectProviderThumbprintOutput{}, s.onProvider(ctx, "UpdateOpenIDConnectProviderThumbprint", in.OpenIDConnectProviderArn, nil,
		func(ctx context.Context, a arn.Account, provider string) error {
			return s.identity.ChangeProvider(ctx, a, provider, func(p *identity.Provider) error { p.Thumbprints = in.ThumbprintList; return nil })
		})
}

func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, in *iam.AddClientIDToOpenIDConnectProviderInput, _ ...options) (*iam.AddClientIDToOpenIDConnectProviderOutput, error) {
	return &iam.AddClientIDToOpenIDConnectProviderOutput{}, s.onProvider(ctx, "AddClientIDToOpenIDConnectProvider", in.OpenIDConnectProviderArn, nil,
		func(ctx context.Context, a arn.Account, provider string) error {
			return s.identity.AddClient(ctx, a, provider, aws.ToString(in.ClientID))
		})
}

func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, in *iam.RemoveClientIDFromOpenIDConnectProviderInput, _ ...options) (*iam.RemoveClientIDFromOpenIDConnectProviderOutput, error) {
	return &iam.RemoveClientIDFromOpenIDConnectProviderOutput{}, s.onProvider(ctx, "RemoveClientIDFromOpenIDConnectProvider", in.OpenIDConnectProviderArn, nil,
		func(ctx context.Context, a arn.Account, provider string) error {
			return s.identity.RemoveClient(ctx, a, provider, aws.ToString(in.ClientID))
		})
}

func (s *Service) TagOpenIDConnectProvider(ctx context.Context, in *iam.TagOpenIDConnectProviderInput, _ ...options) (*iam.TagOpenIDConnectProviderOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &iam.TagOpenIDConnectProviderOutput{}, s.onProvider(ctx, "TagOpenIDConnectProvider", in.OpenIDConnectProviderArn, gate.TagKeys(nil, tags),
		func(ctx context.Context, a arn.Account, provider string) error {
			return s.identity.ChangeProvider(ctx, a, provider, func(p *identity.Provider) error { maps.Copy(p.Tags, tags); return nil })
		})
}

func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, in *iam.UntagOpenIDConnectProviderInput, _ ...options) (*iam.UntagOpenIDConnectProviderOutput, error) {
	return &iam.UntagOpenIDConnectProviderOutput{}, s.onProvider(ctx, "UntagOpenIDConnectProvider", in.OpenIDConnectProviderArn, gate.TagKeys(nil, nil, in.TagKeys...),
		func(ctx context.Context, a arn.Account, provider string) error {
			return s.identity.ChangeProvider(ctx, a, provider, func(p *identity.Provider) error {
				for _, k := range in.TagKeys {
					delete(p.Tags, k)
				}
				return nil
			})
		})
}

func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, in *iam.ListOpenIDConnectProviderTagsInput, _ ...options) (*iam.ListOpenIDConnectProviderTagsOutput, error) {
	out := &iam.ListOpenIDConnectProviderTagsOutput{}
	return out, s.onProvider(ctx, "ListOpenIDConnectProviderTags", in.OpenIDConnectProviderArn, nil, func(ctx context.Context, a arn.Account, provider string) error {
		p, err := s.identity.Provider(ctx, a, provider)
		if err == nil {
			out.Tags = tagList(p.Tags)
		}
		return err
	})
}
