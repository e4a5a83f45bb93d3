package controlapi

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/aws/cloudshape"
	"github.com/berth-registry/berth/catalog/imagedoc"
	"github.com/berth-registry/berth/gate"
)

// table has the types of resources. Those that Berth has no API for are there and empty,
// as they are in an account that does not use them.
func (s *Service) table() map[string]kind {
	out := map[string]kind{cloudshape.Repository: s.repositories(), "AWS::ECR::RegistryPolicy": s.registryPolicy(),
		"AWS::ECR::RegistryScanningConfiguration": s.scanning(), "AWS::ECR::RepositoryCreationTemplate": s.templates(), imagedoc.Kind: s.images()}
	for name, key := range map[string]string{"AWS::ECR::PublicRepository": "RepositoryName", "AWS::ECR::ReplicationConfiguration": "RegistryId",
		"AWS::ECR::PullThroughCacheRule": "EcrRepositoryPrefix", "AWS::ECR::SigningConfiguration": "RegistryId", "AWS::ECR::PullTimeUpdateExclusion": "PrincipalArn"} {
		out[name] = kind{key: []string{key},
			list: func(context.Context, model, *string, int32) ([]string, *string, error) { return nil, nil, nil },
			get:  func(_ context.Context, id string) (model, error) { return nil, missing(name, id) }}
	}
	return out
}

func missing(typeName, id string) error {
	return fault("ResourceNotFoundException", "Resource of type '%s' with identifier '%s' was not found.", typeName, id)
}

// split takes an identifier apart into its key's parts.
func split(id string, parts int) []string { return strings.SplitN(id, "|", parts) }

// registryID is the only identifier of what a registry has one of.
func registryID(ctx context.Context) string { return string(gate.CallerFrom(ctx).Principal.Account) }

// single lists what a registry has at most one of.
func single(get func(context.Context, string) (model, error)) func(context.Context, model, *string, int32) ([]string, *string, error) {
	return func(ctx context.Context, _ model, _ *string, _ int32) ([]string, *string, error) {
		id := registryID(ctx)
		_, err := get(ctx, id)
		if code, _ := outcome(err); err != nil && code == "NotFound" {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		return []string{id}, nil, nil
	}
}

// own refuses the registries of others.
func own(ctx context.Context, typeName, id string) error {
	if id != registryID(ctx) {
		return missing(typeName, id)
	}
	return nil
}

func (s *Service) registryPolicy() kind {
	const name = "AWS::ECR::RegistryPolicy"
	get := func(ctx context.Context, id string) (model, error) {
		if err := own(ctx, name, id); err != nil {
			return nil, err
		}
		out, err := s.ecr.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
		if err != nil {
			return nil, err
		}
		var v any
		if json.Unmarshal([]byte(aws.ToString(out.PolicyText)), &v) != nil {
			v = aws.ToString(out.PolicyText)
		}
		return model{"RegistryId": id, "PolicyText": v}, nil
	}
	put := func(ctx context.Context, m model) error {
		var p struct {
			RegistryId string
			PolicyText any
		}
		if err := decode(m, &p); err != nil {
			return err
		}
		text, err := policyText(p.PolicyText)
		if err != nil {
			return err
		}
		_, err = s.ecr.PutRegistryPolicy(ctx, &ecr.PutRegistryPolicyInput{PolicyText: &text})
		return err
	}
	return kind{key: []string{"RegistryId"}, list: single(get), get: get,
		create: func(ctx context.Context, m model) (string, error) {
			if _, err := get(ctx, registryID(ctx)); err == nil {
				return "", fault("AlreadyExistsException", "The registry has a policy already.")
			}
			return registryID(ctx), put(ctx, m)
		},
		update: func(ctx context.Context, _ string, _, m model) error { return put(ctx, m) },
		remove: func(ctx context.Context, id string) error {
			if err := own(ctx, name, id); err != nil {
				return err
			}
			_, err := s.ecr.DeleteRegistryPolicy(ctx, &ecr.DeleteRegistryPolicyInput{})
			return err
		}}
}

// scanning is a registry's scanning configuration, which it always has.
type scanning struct {
	RegistryId string
	ScanType   string
	Rules      []struct {
		ScanFrequency     string
		RepositoryFilters []struct{ Filter, FilterType string }
	}
}

func (s *Service) scanning() kind {
	const name = "AWS::ECR::RegistryScanningConfiguration"
	get := func(ctx context.Context, id string) (model, error) {
		if err := own(ctx, name, id); err != nil {
			return nil, err
		}
		out, err := s.ecr.GetRegistryScanningConfiguration(ctx, &ecr.GetRegistryScanningConfigurationInput{})
		if err != nil {
			return nil, err
		}
		rules := []any{}
		for _, r := range out.ScanningConfiguration.Rules {
			list := []any{}
			for _, f := range r.RepositoryFilters {
				list = append(list, model{"Filter": aws.ToString(f.Filter), "FilterType": string(f.FilterType)})
			}
			rules = append(rules, model{"ScanFrequency": string(r.ScanFrequency), "RepositoryFilters": list})
		}
		return model{"RegistryId": id, "ScanType": string(out.ScanningConfiguration.ScanType), "Rules": rules}, nil
	}
	put := func(ctx context.Context, m model) error {
		var c scanning
		if err := decode(m, &c); err != nil {
			return err
		}
		in := &ecr.PutRegistryScanningConfigurationInput{ScanType: types.ScanType(c.ScanType)}
		for _, r := range c.Rules {
			rule := types.RegistryScanningRule{ScanFrequency: types.ScanFrequency(r.ScanFrequency)}
			for _, f := range r.RepositoryFilters {
				rule.RepositoryFilters = append(rule.RepositoryFilters, types.ScanningRepositoryFilter{Filter: aws.String(f.Filter), FilterType: types.ScanningRepositoryFilterType(f.FilterType)})
			}
			in.Rules = append(in.Rules, rule)
		}
		_, err := s.ecr.PutRegistryScanningConfiguration(ctx, in)
		return err
	}
	return kind{key: []string{"RegistryId"}, list: single(get), get: get,
		create: func(ctx context.Context, m model) (string, error) { return registryID(ctx), put(ctx, m) },
		update: func(ctx context.Context, _ string, _, m model) error { return put(ctx, m) },
		remove: func(ctx context.Context, id string) error { // back to the default
			if err := own(ctx, name, id); err != nil {
				return err
			}
			return put(ctx, model{"ScanType": "BASIC"})
		}}
}

// images is Berth's own type: CloudFormation has none for images.
func (s *Service) images() kind {
	get := func(ctx context.Context, id string) (model, error) {
		parts := split(id, 2)
		if len(parts) != 2 {
			return nil, missing(imagedoc.Kind, id)
		}
		out, err := s.ecr.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: &parts[0], ImageIds: []types.ImageIdentifier{{ImageDigest: &parts[1]}}})
		if err != nil {
			return nil, err
		}
		i := out.ImageDetails[0]
		tags := i.ImageTags
		if tags == nil {
			tags = []string{}
		}
		m := model{"registryId": aws.ToString(i.RegistryId), "repositoryName": parts[0], "imageDigest": parts[1], "imageTags": tags, "imageSizeInBytes": aws.ToInt64(i.ImageSizeInBytes),
			"imageManifestMediaType": aws.ToString(i.ImageManifestMediaType), "artifactMediaType": aws.ToString(i.ArtifactMediaType)}
		if i.ImagePushedAt != nil {
			m["imagePushedAt"] = i.ImagePushedAt.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		if i.LastRecordedPullTime != nil {
			m["lastRecordedPullTime"] = i.LastRecordedPullTime.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		if i.SubjectManifestDigest != nil {
			m["subjectManifestDigest"] = *i.SubjectManifestDigest
		}
		return m, nil
	}
	return kind{key: []string{"repositoryName", "imageDigest"}, get: get,
		list: func(ctx context.Context, given model, token *string, limit int32) ([]string, *string, error) {
			name, ok := given["repositoryName"].(string)
			if !ok {
				return nil, nil, fault("InvalidRequestException", `Missing or invalid ResourceModel property in %s list handler request input. Required property: [repositoryName]`, imagedoc.Kind)
			}
			out, err := s.ecr.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: &name, NextToken: token, MaxResults: &limit})
			if err != nil {
				return nil, nil, err
			}
			var ids []string
			for _, i := range out.ImageDetails {
				ids = append(ids, name+"|"+aws.ToString(i.ImageDigest))
			}
			return ids, out.NextToken, nil
		}}
}
