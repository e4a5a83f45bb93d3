package ecrapi

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
)

// maxPage is the largest page of most lists, defaultPage that without maxResults.
const (
	maxPage     = 1000
	defaultPage = 100
)

func pageSize(n *int32, limit int32) (int, error) {
	if n == nil {
		return int(min(defaultPage, limit)), nil
	}
	if *n < 1 || *n > limit {
		return 0, invalid("maxResults", "Member must have value between 1 and %d", limit)
	}
	return int(*n), nil
}

func tagRule(mode types.ImageTagMutability, filters []types.ImageTagMutabilityExclusionFilter) (registry.TagRule, error) {
	r := registry.TagRule{Mode: registry.Mutability(mode)}
	for _, f := range filters {
		if f.FilterType != types.ImageTagMutabilityExclusionFilterTypeWildcard {
			return r, invalid("imageTagMutabilityExclusionFilters", "filterType must satisfy enum value set: [WILDCARD]")
		}
		r.Exclusions = append(r.Exclusions, aws.ToString(f.Filter))
	}
	return r, nil
}

func exclusionFilters(r registry.TagRule) []types.ImageTagMutabilityExclusionFilter {
	var out []types.ImageTagMutabilityExclusionFilter
	for _, f := range r.Exclusions {
		out = append(out, types.ImageTagMutabilityExclusionFilter{Filter: aws.String(f), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard})
	}
	return out
}

func resourceTags(tags []types.Tag) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range tags {
		if t.Key == nil {
			return nil, &types.InvalidTagParameterException{Message: aws.String("A tag has no Key")}
		}
		if _, twice := m[*t.Key]; twice {
			return nil, &types.InvalidTagParameterException{Message: aws.String("The tag key '" + *t.Key + "' is given more than once")}
		}
		m[*t.Key] = aws.ToString(t.Value)
	}
	return m, nil
}

func tagList(m map[string]string) []types.Tag {
	out := []types.Tag{}
	for _, k := range sortedKeys(m) {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(m[k])})
	}
	return out
}

func (s *Service) toRepository(ctx context.Context, r *registry.Repository) *types.Repository {
	host, _ := s.endpoints.Registry(ctx, r.Place)
	return Repository(host, r)
}

// Tags are resource tags as the API shows them, by key.
func Tags(m map[string]string) []types.Tag { return tagList(m) }

// Repository is a repository as the API shows it; host is its registry's.
func Repository(host string, r *registry.Repository) *types.Repository {
	enc := &types.EncryptionConfiguration{EncryptionType: types.EncryptionType(r.Encryption)}
	if r.KMSKey != "" {
		enc.KmsKey = aws.String(r.KMSKey)
	}
	return &types.Repository{RegistryId: aws.String(string(r.Place.Account)), RepositoryName: aws.String(r.Name), RepositoryArn: aws.String(r.ARN()),
		RepositoryUri: aws.String(host + "/" + r.Name), CreatedAt: aws.Time(r.CreatedAt), EncryptionConfiguration: enc,
		ImageTagMutability: types.ImageTagMutability(r.Tags.Mode), ImageTagMutabilityExclusionFilters: exclusionFilters(r.Tags),
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: r.ScanOnPush}}
}

// CreateRepository implements the API operation of its name, as do the methods
// below.
func (s *Service) CreateRepository(ctx context.Context, in *ecr.CreateRepositoryInput, _ ...options) (*ecr.CreateRepositoryOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	n := registry.NewRepository{Place: q.place, Name: *in.RepositoryName}
	if n.Tags, err = tagRule(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters); err != nil {
		return nil, err
	}
	if n.Resource, err = resourceTags(in.Tags); err != nil {
		return nil, err
	}
	q.keys = gate.TagKeys(nil, n.Resource)
	if c := in.ImageScanningConfiguration; c != nil {
		n.ScanOnPush = c.ScanOnPush
	}
	if c := in.EncryptionConfiguration; c != nil {
		n.Encryption, n.KMSKey = string(c.EncryptionType), aws.ToString(c.KmsKey)
	}
	var out *ecr.CreateRepositoryOutput
	err = s.do(ctx, "CreateRepository", q, func(ctx context.Context) error {
		r, err := s.registry.CreateRepository(ctx, n)
		if err == nil {
			out = &ecr.CreateRepositoryOutput{Repository: s.toRepository(ctx, r)}
		}
		return err
	})
	return out, err
}

func (s *Service) DeleteRepository(ctx context.Context, in *ecr.DeleteRepositoryInput, _ ...options) (*ecr.DeleteRepositoryOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	var out *ecr.DeleteRepositoryOutput
	err = s.do(ctx, "DeleteRepository", q, func(ctx context.Context) error {
		r, err := s.registry.DeleteRepository(ctx, q.place, *in.RepositoryName, in.Force)
		if err == nil {
			out = &ecr.DeleteRepositoryOutput{Repository: s.toRepository(ctx, r)}
		}
		return err
	})
	return out, err
}

func (s *Service) DescribeRepositories(ctx context.Context, in *ecr.DescribeRepositoriesInput, _ ...options) (*ecr.DescribeRepositoriesOutput, error) {
	q, err := s.place(ctx, in.RegistryId)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxResults, maxPage)
	if err != nil {
		return nil, err
	}
	if in.RepositoryNames != nil {
		if n := len(in.RepositoryNames); n < 1 || n > 100 {
			return nil, invalid("repositoryNames", "Member must have length between 1 and 100")
		}
		if in.MaxResults != nil || in.NextToken != nil {
			return nil, invalid("maxResults", "maxResults and nextToken cannot be given together with repositoryNames")
		}
		for _, n := range in.RepositoryNames {
			if err := registry.CheckName(n); err != nil {
				return nil, exception(err, q)
			}
		}
		q.names = in.RepositoryNames
	}
	out := &ecr.DescribeRepositoriesOutput{Repositories: []types.Repository{}}
	err = s.do(ctx, "DescribeRepositories", q, func(ctx context.Context) error {
		for _, n := range in.RepositoryNames {
			r, err := s.registry.Repository(ctx, q.place, n)
			if err != nil {
				return err
			}
			out.Repositories = append(out.Repositories, *s.toRepository(ctx, r))
		}
		if in.RepositoryNames != nil {
			return nil
		}
		var after string
		query := "DescribeRepositories " + string(q.place.Account) + " " + string(q.place.Region)
		if err := s.registry.OpenPageToken(query, aws.ToString(in.NextToken), &after); err != nil {
			return err
		}
		list, err := s.registry.Repositories(ctx, q.place, after, size+1)
		if err != nil {
			return err
		}
		if len(list) > size {
			list = list[:size]
			out.NextToken = aws.String(s.registry.PageToken(query, list[size-1].Name))
		}
		for _, r := range list {
			out.Repositories = append(out.Repositories, *s.toRepository(ctx, r))
		}
		return nil
	})
	return out, err
}

// byARN is the request of an operation that names a repository by ARN.
func (s *Service) byARN(ctx context.Context, resource *string) (request, string, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return q, "", err
	}
	if resource == nil {
		return q, "", missing("resourceArn")
	}
	a, err := arn.Parse(*resource)
	name, ok := a.RepositoryName()
	if err != nil || !ok || !registry.ValidName(name) || strings.Contains(name, "*") || !a.Account.Valid() || a.Region != q.place.Region {
		return q, "", invalid("resourceArn", "must be the ARN of a repository in this region")
	}
	q.place.Account, q.arn, q.names = a.Account, *resource, []string{name}
	return q, name, nil
}

func (s *Service) ListTagsForResource(ctx context.Context, in *ecr.ListTagsForResourceInput, _ ...options) (*ecr.ListTagsForResourceOutput, error) {
	q, name, err := s.byARN(ctx, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &ecr.ListTagsForResourceOutput{}
	err = s.do(ctx, "ListTagsForResource", q, func(ctx context.Context) error {
		r, err := s.registry.Repository(ctx, q.place, name)
		if err == nil {
			out.Tags = tagList(r.Resource)
		}
		return err
	})
	return out, err
}

func (s *Service) TagResource(ctx context.Context, in *ecr.TagResourceInput, _ ...options) (*ecr.TagResourceOutput, error) {
	q, name, err := s.byARN(ctx, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := resourceTags(in.Tags)
	if err != nil {
		return nil, err
	}
	q.keys = gate.TagKeys(nil, tags)
	return &ecr.TagResourceOutput{}, s.do(ctx, "TagResource", q, func(ctx context.Context) error {
		return s.registry.TagResource(ctx, q.place, name, tags)
	})
}

func (s *Service) UntagResource(ctx context.Context, in *ecr.UntagResourceInput, _ ...options) (*ecr.UntagResourceOutput, error) {
	q, name, err := s.byARN(ctx, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	q.keys = gate.TagKeys(nil, nil, in.TagKeys...)
	return &ecr.UntagResourceOutput{}, s.do(ctx, "UntagResource", q, func(ctx context.Context) error {
		return s.registry.UntagResource(ctx, q.place, name, in.TagKeys)
	})
}

func (s *Service) PutImageTagMutability(ctx context.Context, in *ecr.PutImageTagMutabilityInput, _ ...options) (*ecr.PutImageTagMutabilityOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.ImageTagMutability == "" {
		return nil, missing("imageTagMutability")
	}
	rule, err := tagRule(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	out := &ecr.PutImageTagMutabilityOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName}
	err = s.do(ctx, "PutImageTagMutability", q, func(ctx context.Context) error {
		r, err := s.registry.SetTagRule(ctx, q.place, *in.RepositoryName, rule)
		if err == nil {
			out.ImageTagMutability, out.ImageTagMutabilityExclusionFilters = types.ImageTagMutability(r.Tags.Mode), exclusionFilters(r.Tags)
		}
		return err
	})
	return out, err
}

func (s *Service) PutImageScanningConfiguration(ctx context.Context, in *ecr.PutImageScanningConfigurationInput, _ ...options) (*ecr.PutImageScanningConfigurationOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.ImageScanningConfiguration == nil {
		return nil, missing("imageScanningConfiguration")
	}
	return &ecr.PutImageScanningConfigurationOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName,
			ImageScanningConfiguration: in.ImageScanningConfiguration}, s.do(ctx, "PutImageScanningConfiguration", q, func(ctx context.Context) error {
			_, err := s.registry.SetScanOnPush(ctx, q.place, *in.RepositoryName, in.ImageScanningConfiguration.ScanOnPush)
			return err
		})
}
