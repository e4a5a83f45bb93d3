package ecrapi

import (
	"context"
	"encoding/base64"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/registry"
)

// GetAuthorizationToken answers with one token per registry asked for, without
// registryIds for the caller's own. Each stands for the caller and opens every
// registry where the caller has rights; the id says where requests go whose host
// names no registry.
func (s *Service) GetAuthorizationToken(ctx context.Context, in *ecr.GetAuthorizationTokenInput, _ ...options) (*ecr.GetAuthorizationTokenOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 deprecated, and in use by docker credential helpers and the official actions
	ids := in.RegistryIds
	if ids == nil {
		ids = []string{string(q.place.Account)}
	}
	if n := len(ids); n < 1 || n > 10 {
		return nil, invalid("registryIds", "Member must have length between 1 and 10")
	}
	for _, id := range ids {
		if !arn.Account(id).Valid() {
			return nil, invalid("registryIds", "must satisfy regular expression '[0-9]{12}'")
		}
	}
	out := &ecr.GetAuthorizationTokenOutput{}
	return out, s.do(ctx, "GetAuthorizationToken", q, func(ctx context.Context) error {
		caller := gate.CallerFrom(ctx)
		for _, id := range ids {
			p := arn.Place{Account: arn.Account(id), Region: q.place.Region}
			password, expires := s.identity.IssueToken(caller.Principal, p.Account, p.Region)
			out.AuthorizationData = append(out.AuthorizationData, types.AuthorizationData{
				AuthorizationToken: aws.String(base64.StdEncoding.EncodeToString([]byte(identity.Username + ":" + password))),
				ExpiresAt:          aws.Time(expires), ProxyEndpoint: aws.String(s.endpoint(ctx, p))})
		}
		return nil
	})
}

func (s *Service) endpoint(ctx context.Context, p arn.Place) string {
	host, secure := s.endpoints.Registry(ctx, p)
	if secure {
		return "https://" + host
	}
	return "http://" + host
}

func (s *Service) DescribeRegistry(ctx context.Context, _ *ecr.DescribeRegistryInput, _ ...options) (*ecr.DescribeRegistryOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &ecr.DescribeRegistryOutput{RegistryId: aws.String(string(q.place.Account)),
		ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{}}}, s.do(ctx, "DescribeRegistry", q, func(context.Context) error { return nil })
}

func (s *Service) GetAccountSetting(ctx context.Context, in *ecr.GetAccountSettingInput, _ ...options) (*ecr.GetAccountSettingOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	q.keys = map[string][]string{"ecr:accountsetting": {aws.ToString(in.Name)}}
	out := &ecr.GetAccountSettingOutput{Name: in.Name}
	return out, s.do(ctx, "GetAccountSetting", q, func(ctx context.Context) error {
		v, err := s.registry.AccountSetting(ctx, q.place, aws.ToString(in.Name))
		out.Value = aws.String(v)
		return err
	})
}

func (s *Service) PutAccountSetting(ctx context.Context, in *ecr.PutAccountSettingInput, _ ...options) (*ecr.PutAccountSettingOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	q.keys = map[string][]string{"ecr:accountsetting": {aws.ToString(in.Name)}}
	return &ecr.PutAccountSettingOutput{Name: in.Name, Value: in.Value}, s.do(ctx, "PutAccountSetting", q, func(ctx context.Context) error {
		return s.registry.PutAccountSetting(ctx, q.place, aws.ToString(in.Name), aws.ToString(in.Value))
	})
}

func toScanFilters(list []registry.ScanFilter) []types.ScanningRepositoryFilter {
	out := []types.ScanningRepositoryFilter{}
	for _, f := range list {
		out = append(out, types.ScanningRepositoryFilter{Filter: aws.String(f.Filter), FilterType: types.ScanningRepositoryFilterType(f.Type)})
	}
	return out
}

func toScanning(c registry.ScanConfig) *types.RegistryScanningConfiguration {
	out := &types.RegistryScanningConfiguration{ScanType: types.ScanType(c.Type), Rules: []types.RegistryScanningRule{}}
	for _, r := range c.Rules {
		out.Rules = append(out.Rules, types.RegistryScanningRule{ScanFrequency: types.ScanFrequency(r.Frequency), RepositoryFilters: toScanFilters(r.Filters)})
	}
	return out
}

func (s *Service) GetRegistryScanningConfiguration(ctx context.Context, _ *ecr.GetRegistryScanningConfigurationInput, _ ...options) (*ecr.GetRegistryScanningConfigurationOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := &ecr.GetRegistryScanningConfigurationOutput{RegistryId: aws.String(string(q.place.Account))}
	return out, s.do(ctx, "GetRegistryScanningConfiguration", q, func(ctx context.Context) error {
		c, err := s.registry.ScanConfiguration(ctx, q.place)
		out.ScanningConfiguration = toScanning(c)
		return err
	})
}

func (s *Service) PutRegistryScanningConfiguration(ctx context.Context, in *ecr.PutRegistryScanningConfigurationInput, _ ...options) (*ecr.PutRegistryScanningConfigurationOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	c := registry.ScanConfig{Type: string(in.ScanType), Rules: []registry.ScanRule{}}
	for _, r := range in.Rules {
		rule := registry.ScanRule{Frequency: string(r.ScanFrequency)}
		for _, f := range r.RepositoryFilters {
			rule.Filters = append(rule.Filters, registry.ScanFilter{Filter: aws.ToString(f.Filter), Type: string(f.FilterType)})
		}
		c.Rules = append(c.Rules, rule)
	}
	out := &ecr.PutRegistryScanningConfigurationOutput{}
	return out, s.do(ctx, "PutRegistryScanningConfiguration", q, func(ctx context.Context) error {
		if err := s.registry.PutScanConfiguration(ctx, q.place, c); err != nil {
			return err
		}
		stored, err := s.registry.ScanConfiguration(ctx, q.place)
		out.RegistryScanningConfiguration = toScanning(stored)
		return err
	})
}

func (s *Service) BatchGetRepositoryScanningConfiguration(ctx context.Context, in *ecr.BatchGetRepositoryScanningConfigurationInput, _ ...options) (*ecr.BatchGetRepositoryScanningConfigurationOutput, error) {
	q, err := s.place(ctx, nil)
	if err != nil {
		return nil, err
	}
	if n := len(in.RepositoryNames); n < 1 || n > 25 {
		return nil, invalid("repositoryNames", "Member must have length between 1 and 25")
	}
	for _, n := range in.RepositoryNames {
		if err := registry.CheckName(n); err != nil {
			return nil, exception(err, q)
		}
	}
	q.names = in.RepositoryNames
	out := &ecr.BatchGetRepositoryScanningConfigurationOutput{ScanningConfigurations: []types.RepositoryScanningConfiguration{},
		Failures: []types.RepositoryScanningConfigurationFailure{}}
	return out, s.do(ctx, "BatchGetRepositoryScanningConfiguration", q, func(ctx context.Context) error {
		c, err := s.registry.ScanConfiguration(ctx, q.place)
		if err != nil {
			return err
		}
		for _, n := range in.RepositoryNames {
			r, err := s.registry.Repository(ctx, q.place, n)
			if registry.CodeOf(err) == registry.RepositoryNotFound {
				out.Failures = append(out.Failures, types.RepositoryScanningConfigurationFailure{RepositoryName: aws.String(n),
					FailureCode: types.ScanningConfigurationFailureCodeRepositoryNotFound, FailureReason: aws.String("The repository was not found")})
				continue
			}
			if err != nil {
				return err
			}
			frequency, filters := c.Frequency(n)
			if frequency == registry.ManualScan && r.ScanOnPush {
				frequency = registry.ScanOnPush
			}
			out.ScanningConfigurations = append(out.ScanningConfigurations, types.RepositoryScanningConfiguration{RepositoryName: aws.String(n),
				RepositoryArn: aws.String(r.ARN()), ScanFrequency: types.ScanFrequency(frequency), ScanOnPush: frequency == registry.ScanOnPush,
				AppliedScanFilters: toScanFilters(filters)})
		}
		return nil
	})
}
