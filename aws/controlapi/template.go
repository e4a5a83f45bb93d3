package controlapi

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// template is the properties of AWS::ECR::RepositoryCreationTemplate.
type template struct {
	Prefix                             string
	Description                        *string
	AppliedFor                         []types.RCTAppliedFor
	ImageTagMutability                 types.ImageTagMutability
	ImageTagMutabilityExclusionFilters []exclusion
	RepositoryPolicy                   *string
	LifecyclePolicy                    *string
	EncryptionConfiguration            *encryption
	ResourceTags                       []tag
	CustomRoleArn                      *string
	CreatedAt, UpdatedAt               string
}

func (t *template) encryption() *types.EncryptionConfigurationForRepositoryCreationTemplate {
	if t.EncryptionConfiguration == nil {
		return nil
	}
	out := &types.EncryptionConfigurationForRepositoryCreationTemplate{EncryptionType: types.EncryptionType(t.EncryptionConfiguration.EncryptionType)}
	if t.EncryptionConfiguration.KmsKey != "" {
		out.KmsKey = &t.EncryptionConfiguration.KmsKey
	}
	return out
}

func (s *Service) templates() kind {
	return kind{key: []string{"Prefix"}, get: s.getTemplate,
		list: func(ctx context.Context, _ model, token *string, limit int32) ([]string, *string, error) {
			out, err := s.ecr.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{MaxResults: &limit, NextToken: token})
			if err != nil {
				return nil, nil, err
			}
			var ids []string
			for _, t := range out.RepositoryCreationTemplates {
				ids = append(ids, aws.ToString(t.Prefix))
			}
			return ids, out.NextToken, nil
		},
		create: func(ctx context.Context, m model) (string, error) {
			var t template
			if err := decode(m, &t); err != nil {
				return "", err
			}
			_, err := s.ecr.CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{Prefix: &t.Prefix, Description: t.Description, AppliedFor: t.AppliedFor,
				ImageTagMutability: t.ImageTagMutability, ImageTagMutabilityExclusionFilters: filters(t.ImageTagMutabilityExclusionFilters), RepositoryPolicy: t.RepositoryPolicy,
				LifecyclePolicy: t.LifecyclePolicy, EncryptionConfiguration: t.encryption(), ResourceTags: tags(t.ResourceTags), CustomRoleArn: t.CustomRoleArn})
			return t.Prefix, err
		},
		update: func(ctx context.Context, id string, _, m model) error {
			var t template
			if err := decode(m, &t); err != nil {
				return err
			}
			if t.Prefix != id {
				return fault("NotUpdatableException", "Prefix cannot be changed.")
			}
			labels := tags(t.ResourceTags)
			if labels == nil {
				labels = []types.Tag{}
			}
			_, err := s.ecr.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: &id, Description: orEmpty(t.Description), AppliedFor: t.AppliedFor,
				ImageTagMutability: t.ImageTagMutability, ImageTagMutabilityExclusionFilters: filters(t.ImageTagMutabilityExclusionFilters), RepositoryPolicy: orEmpty(t.RepositoryPolicy),
				LifecyclePolicy: orEmpty(t.LifecyclePolicy), EncryptionConfiguration: t.encryption(), ResourceTags: labels, CustomRoleArn: orEmpty(t.CustomRoleArn)})
			return err
		},
		remove: func(ctx context.Context, id string) error {
			_, err := s.ecr.DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: &id})
			return err
		}}
}

// orEmpty is how what is no longer there is taken away.
func orEmpty(s *string) *string {
	if s == nil {
		return aws.String("")
	}
	return s
}

func (s *Service) getTemplate(ctx context.Context, id string) (model, error) {
	out, err := s.ecr.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{Prefixes: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(out.RepositoryCreationTemplates) == 0 {
		return nil, missing("AWS::ECR::RepositoryCreationTemplate", id)
	}
	t := &out.RepositoryCreationTemplates[0]
	m := model{"Prefix": id, "AppliedFor": t.AppliedFor, "ImageTagMutability": string(t.ImageTagMutability)}
	for name, v := range map[string]*string{"Description": t.Description, "RepositoryPolicy": t.RepositoryPolicy, "LifecyclePolicy": t.LifecyclePolicy, "CustomRoleArn": t.CustomRoleArn} {
		if aws.ToString(v) != "" {
			m[name] = *v
		}
	}
	for name, at := range map[string]*time.Time{"CreatedAt": t.CreatedAt, "UpdatedAt": t.UpdatedAt} {
		if at != nil {
			m[name] = at.UTC().Format(time.RFC3339)
		}
	}
	if e := t.EncryptionConfiguration; e != nil {
		enc := model{"EncryptionType": string(e.EncryptionType)}
		if e.KmsKey != nil {
			enc["KmsKey"] = *e.KmsKey
		}
		m["EncryptionConfiguration"] = enc
	}
	labels := []any{}
	for _, l := range t.ResourceTags {
		labels = append(labels, model{"Key": aws.ToString(l.Key), "Value": aws.ToString(l.Value)})
	}
	m["ResourceTags"] = labels
	if len(t.ImageTagMutabilityExclusionFilters) > 0 {
		list := []any{}
		for _, f := range t.ImageTagMutabilityExclusionFilters {
			list = append(list, model{"ImageTagMutabilityExclusionFilterType": string(f.FilterType), "ImageTagMutabilityExclusionFilterValue": aws.ToString(f.Filter)})
		}
		m["ImageTagMutabilityExclusionFilters"] = list
	}
	return m, nil
}
