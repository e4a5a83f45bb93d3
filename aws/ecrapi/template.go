package ecrapi

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/registry"
)

// toTemplate shows a template; a policy in it comes with names again.
func (s *Service) toTemplate(ctx context.Context, t *registry.Template) (*types.RepositoryCreationTemplate, error) {
	text, err := s.identity.Show(ctx, t.Policy, policy.Repository)
	if err != nil {
		return nil, err
	}
	out := &types.RepositoryCreationTemplate{Prefix: aws.String(t.Prefix), CreatedAt: aws.Time(t.CreatedAt), UpdatedAt: aws.Time(t.UpdatedAt),
		Description: awsproto.Text(t.Description), CustomRoleArn: awsproto.Text(t.CustomRole), RepositoryPolicy: awsproto.Text(text), LifecyclePolicy: awsproto.Text(t.Lifecycle),
		ImageTagMutability: types.ImageTagMutability(t.Tags.Mode), ImageTagMutabilityExclusionFilters: exclusionFilters(t.Tags),
		EncryptionConfiguration: &types.EncryptionConfigurationForRepositoryCreationTemplate{EncryptionType: types.EncryptionType(t.Encryption), KmsKey: awsproto.Text(t.KMSKey)}}
	for _, a := range t.AppliedFor {
		out.AppliedFor = append(out.AppliedFor, types.RCTAppliedFor(a))
	}
	if len(t.Resource) > 0 {
		out.ResourceTags = tagList(t.Resource)
	}
	return out, nil
}

func appliedFor(list []types.RCTAppliedFor) []string {
	var out []string
	for _, a := range list {
		out = append(out, string(a))
	}
	return out
}

func (s *Service) CreateRepositoryCreationTemplate(ctx context.Context, in *ecr.CreateRepositoryCreationTemplateInput, _ ...options) (*ecr.CreateRepositoryCreationTemplateOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	t := registry.Template{Place: q.place, Prefix: aws.ToString(in.Prefix), Description: aws.ToString(in.Description), AppliedFor: appliedFor(in.AppliedFor),
		Policy: aws.ToString(in.RepositoryPolicy), Lifecycle: aws.ToString(in.LifecyclePolicy), CustomRole: aws.ToString(in.CustomRoleArn)}
	if t.Tags, err = tagRule(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters); err != nil {
		return nil, err
	}
	if t.Resource, err = resourceTags(in.ResourceTags); err != nil {
		return nil, err
	}
	if c := in.EncryptionConfiguration; c != nil {
		t.Encryption, t.KMSKey = string(c.EncryptionType), aws.ToString(c.KmsKey)
	}
	out := &ecr.CreateRepositoryCreationTemplateOutput{RegistryId: aws.String(string(q.place.Account))}
	return out, s.do(ctx, "CreateRepositoryCreationTemplate", q, func(ctx context.Context) error {
		if t.Policy, err = s.bindTemplate(ctx, t.Policy); err != nil {
			return err
		}
		made, err := s.registry.CreateTemplate(ctx, t)
		if err == nil {
			out.RepositoryCreationTemplate, err = s.toTemplate(ctx, made)
		}
		return err
	})
}

// bindTemplate is bind for a template's policy, "" for none.
func (s *Service) bindTemplate(ctx context.Context, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return s.bind(ctx, "repositoryPolicy", text, policy.Repository)
}

// UpdateRepositoryCreationTemplate leaves what is not sent as it is.
func (s *Service) UpdateRepositoryCreationTemplate(ctx context.Context, in *ecr.UpdateRepositoryCreationTemplateInput, _ ...options) (*ecr.UpdateRepositoryCreationTemplateOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	rule, err := tagRule(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	tags, err := resourceTags(in.ResourceTags)
	if err != nil {
		return nil, err
	}
	out := &ecr.UpdateRepositoryCreationTemplateOutput{RegistryId: aws.String(string(q.place.Account))}
	return out, s.do(ctx, "UpdateRepositoryCreationTemplate", q, func(ctx context.Context) error {
		bound, err := s.bindTemplate(ctx, aws.ToString(in.RepositoryPolicy))
		if err != nil {
			return err
		}
		t, err := s.registry.UpdateTemplate(ctx, q.place, aws.ToString(in.Prefix), func(t *registry.Template) {
			set := func(to, from *string) {
				if from != nil {
					*to = *from
				}
			}
			set(&t.Description, in.Description)
			set(&t.CustomRole, in.CustomRoleArn)
			set(&t.Lifecycle, in.LifecyclePolicy)
			if in.RepositoryPolicy != nil {
				t.Policy = bound
			}
			if in.AppliedFor != nil {
				t.AppliedFor = appliedFor(in.AppliedFor)
			}
			if c := in.EncryptionConfiguration; c != nil {
				t.Encryption, t.KMSKey = string(c.EncryptionType), aws.ToString(c.KmsKey)
			}
			if rule.Mode != "" {
				t.Tags = rule
			} else if rule.Exclusions != nil {
				t.Tags.Exclusions = rule.Exclusions
			}
			if in.ResourceTags != nil {
				t.Resource = tags
			}
		})
		if err == nil {
			out.RepositoryCreationTemplate, err = s.toTemplate(ctx, t)
		}
		return err
	})
}

func (s *Service) DeleteRepositoryCreationTemplate(ctx context.Context, in *ecr.DeleteRepositoryCreationTemplateInput, _ ...options) (*ecr.DeleteRepositoryCreationTemplateOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := &ecr.DeleteRepositoryCreationTemplateOutput{RegistryId: aws.String(string(q.place.Account))}
	return out, s.do(ctx, "DeleteRepositoryCreationTemplate", q, func(ctx context.Context) error {
		t, err := s.registry.DeleteTemplate(ctx, q.place, aws.ToString(in.Prefix))
		if err == nil {
			out.RepositoryCreationTemplate, err = s.toTemplate(ctx, t)
		}
		return err
	})
}

// DescribeRepositoryCreationTemplates leaves out prefixes that have no template.
func (s *Service) DescribeRepositoryCreationTemplates(ctx context.Context, in *ecr.DescribeRepositoryCreationTemplatesInput, _ ...options) (*ecr.DescribeRepositoryCreationTemplatesOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxResults, maxPage)
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeRepositoryCreationTemplatesOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryCreationTemplates: []types.RepositoryCreationTemplate{}}
	return out, s.do(ctx, "DescribeRepositoryCreationTemplates", q, func(ctx context.Context) error {
		var after string
		query := "DescribeRepositoryCreationTemplates " + string(q.place.Account) + " " + string(q.place.Region)
		if err := s.registry.OpenPageToken(query, aws.ToString(in.NextToken), &after); err != nil {
			return err
		}
		limit := size + 1
		if in.Prefixes != nil {
			after, limit = "", maxPage
		}
		list, err := s.registry.Templates(ctx, q.place, after, limit)
		if err != nil {
			return err
		}
		if in.Prefixes == nil && len(list) > size {
			list = list[:size]
			out.NextToken = aws.String(s.registry.PageToken(query, list[size-1].Prefix))
		}
		for _, t := range list {
			if in.Prefixes == nil || slices.Contains(in.Prefixes, t.Prefix) {
				shown, err := s.toTemplate(ctx, t)
				if err != nil {
					return err
				}
				out.RepositoryCreationTemplates = append(out.RepositoryCreationTemplates, *shown)
			}
		}
		return nil
	})
}
