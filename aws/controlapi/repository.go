package controlapi

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/aws/cloudshape"
)

// repository is the properties of AWS::ECR::Repository that can be set.
type repository struct {
	RepositoryName                     string
	ImageTagMutability                 string
	ImageTagMutabilityExclusionFilters []exclusion
	ImageScanningConfiguration         struct{ ScanOnPush bool }
	EncryptionConfiguration            *encryption
	LifecyclePolicy                    *struct{ LifecyclePolicyText, RegistryId string }
	RepositoryPolicyText               any
	Tags                               []tag
	EmptyOnDelete                      bool
	Arn, RepositoryUri                 string
}

type exclusion struct{ ImageTagMutabilityExclusionFilterType, ImageTagMutabilityExclusionFilterValue string }

type encryption struct{ EncryptionType, KmsKey string }

type tag struct{ Key, Value string }

// decode reads properties into a struct that has them all.
func decode(m model, into any) error {
	known := reflect.Indirect(reflect.ValueOf(into)).Type()
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if _, ok := known.FieldByName(name); !ok {
			return fault("InvalidRequestException", "Model validation failed (#: extraneous key [%s] is not permitted)", name)
		}
	}
	text, err := write(m)
	if err == nil {
		err = json.Unmarshal([]byte(text), into)
	}
	if err != nil {
		return fault("InvalidRequestException", "Model validation failed (%v)", err)
	}
	return nil
}

// policyText is a policy that may be given as an object.
func policyText(v any) (string, error) {
	if s, ok := v.(string); ok || v == nil {
		return s, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func filters(list []exclusion) []types.ImageTagMutabilityExclusionFilter {
	var out []types.ImageTagMutabilityExclusionFilter
	for _, f := range list {
		out = append(out, types.ImageTagMutabilityExclusionFilter{Filter: aws.String(f.ImageTagMutabilityExclusionFilterValue),
			FilterType: types.ImageTagMutabilityExclusionFilterType(f.ImageTagMutabilityExclusionFilterType)})
	}
	return out
}

func tags(list []tag) []types.Tag {
	var out []types.Tag
	for _, t := range list {
		out = append(out, types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
	}
	return out
}

func (s *Service) repositories() kind {
	return kind{key: []string{"RepositoryName"}, get: s.getRepository, create: s.createRepository, update: s.updateRepository,
		list: func(ctx context.Context, _ model, token *string, limit int32) ([]string, *string, error) {
			out, err := s.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{MaxResults: &limit, NextToken: token})
			if err != nil {
				return nil, nil, err
			}
			var ids []string
			for _, r := range out.Repositories {
				ids = append(ids, aws.ToString(r.RepositoryName))
			}
			return ids, out.NextToken, nil
		},
		remove: func(ctx context.Context, id string) error {
			_, err := s.ecr.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &id})
			return err
		}}
}

func (s *Service) getRepository(ctx context.Context, id string) (model, error) {
	out, err := s.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{id}})
	if err != nil {
		return nil, err
	}
	return cloudshape.Read(ctx, s.ecr, &out.Repositories[0])
}

func (s *Service) createRepository(ctx context.Context, m model) (string, error) {
	var r repository
	if err := decode(m, &r); err != nil {
		return "", err
	}
	if r.RepositoryName == "" {
		return "", fault("InvalidRequestException", "RepositoryName must be given: Berth makes no names up.")
	}
	policy, err := policyText(r.RepositoryPolicyText)
	if err != nil {
		return "", err
	}
	in := &ecr.CreateRepositoryInput{RepositoryName: &r.RepositoryName, ImageTagMutability: types.ImageTagMutability(r.ImageTagMutability),
		ImageTagMutabilityExclusionFilters: filters(r.ImageTagMutabilityExclusionFilters),
		ImageScanningConfiguration:         &types.ImageScanningConfiguration{ScanOnPush: r.ImageScanningConfiguration.ScanOnPush}, Tags: tags(r.Tags)}
	if e := r.EncryptionConfiguration; e != nil {
		in.EncryptionConfiguration = &types.EncryptionConfiguration{EncryptionType: types.EncryptionType(e.EncryptionType)}
		if e.KmsKey != "" {
			in.EncryptionConfiguration.KmsKey = &e.KmsKey
		}
	}
	if _, err := s.ecr.CreateRepository(ctx, in); err != nil {
		return "", err
	}
	err = s.setTexts(ctx, r.RepositoryName, policy, lifecycleText(&r))
	if err != nil { // half of it is not to stay
		_, _ = s.ecr.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &r.RepositoryName})
	}
	return r.RepositoryName, err
}

func lifecycleText(r *repository) string {
	if r.LifecyclePolicy == nil {
		return ""
	}
	return r.LifecyclePolicy.LifecyclePolicyText
}

// setTexts sets what is not empty.
func (s *Service) setTexts(ctx context.Context, name, policy, lifecycle string) error {
	if policy != "" {
		if _, err := s.ecr.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: &name, PolicyText: &policy}); err != nil {
			return err
		}
	}
	if lifecycle != "" {
		if _, err := s.ecr.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: &name, LifecyclePolicyText: &lifecycle}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) updateRepository(ctx context.Context, id string, before, after model) error {
	var was, r repository
	if err := decode(before, &was); err != nil {
		return err
	}
	if err := decode(after, &r); err != nil {
		return err
	}
	if r.RepositoryName != was.RepositoryName || !reflect.DeepEqual(r.EncryptionConfiguration, was.EncryptionConfiguration) || r.Arn != was.Arn || r.RepositoryUri != was.RepositoryUri {
		return fault("NotUpdatableException", "RepositoryName, EncryptionConfiguration, Arn and RepositoryUri cannot be changed.")
	}
	if r.ImageTagMutability != was.ImageTagMutability || !reflect.DeepEqual(r.ImageTagMutabilityExclusionFilters, was.ImageTagMutabilityExclusionFilters) {
		if r.ImageTagMutability == "" {
			r.ImageTagMutability = string(types.ImageTagMutabilityMutable)
		}
		if _, err := s.ecr.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: &id, ImageTagMutability: types.ImageTagMutability(r.ImageTagMutability),
			ImageTagMutabilityExclusionFilters: filters(r.ImageTagMutabilityExclusionFilters)}); err != nil {
			return err
		}
	}
	if r.ImageScanningConfiguration != was.ImageScanningConfiguration {
		if _, err := s.ecr.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{RepositoryName: &id,
			ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: r.ImageScanningConfiguration.ScanOnPush}}); err != nil {
			return err
		}
	}
	if err := s.updateTexts(ctx, id, &was, &r); err != nil {
		return err
	}
	return s.updateTags(ctx, was.Arn, was.Tags, r.Tags)
}

func (s *Service) updateTexts(ctx context.Context, id string, was, r *repository) error {
	policy, err := policyText(r.RepositoryPolicyText)
	if err != nil {
		return err
	}
	lifecycle := lifecycleText(r)
	if reflect.DeepEqual(was.RepositoryPolicyText, r.RepositoryPolicyText) {
		policy = ""
	} else if r.RepositoryPolicyText == nil {
		if _, err := s.ecr.DeleteRepositoryPolicy(ctx, &ecr.DeleteRepositoryPolicyInput{RepositoryName: &id}); err != nil {
			return err
		}
	}
	if lifecycle == lifecycleText(was) {
		lifecycle = ""
	} else if lifecycle == "" {
		if _, err := s.ecr.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: &id}); err != nil {
			return err
		}
	}
	return s.setTexts(ctx, id, policy, lifecycle)
}

func (s *Service) updateTags(ctx context.Context, arn string, was, want []tag) error {
	var gone []string
	for _, t := range was {
		if !slices.ContainsFunc(want, func(o tag) bool { return o.Key == t.Key }) {
			gone = append(gone, t.Key)
		}
	}
	added := slices.DeleteFunc(slices.Clone(want), func(t tag) bool { return slices.Contains(was, t) })
	if len(gone) > 0 {
		if _, err := s.ecr.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: &arn, TagKeys: gone}); err != nil {
			return err
		}
	}
	if len(added) == 0 {
		return nil
	}
	_, err := s.ecr.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: &arn, Tags: tags(added)})
	return err
}
