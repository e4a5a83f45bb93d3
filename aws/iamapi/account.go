package iamapi

import (
	"context"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity"
)

func (s *Service) GetAccountSummary(ctx context.Context, _ *iam.GetAccountSummaryInput, _ ...options) (*iam.GetAccountSummaryOutput, error) {
	out := &iam.GetAccountSummaryOutput{}
	return out, s.do(ctx, "GetAccountSummary", arn.Any, nil, func(ctx context.Context, a arn.Account) error {
		var err error
		out.SummaryMap, err = s.identity.Summary(ctx, a)
		return err
	})
}

var aliasPattern = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]+)*$`)

func (s *Service) CreateAccountAlias(ctx context.Context, in *iam.CreateAccountAliasInput, _ ...options) (*iam.CreateAccountAliasOutput, error) {
	alias := aws.ToString(in.AccountAlias)
	if len(alias) < 3 || len(alias) > 63 || !aliasPattern.MatchString(alias) {
		return nil, invalid("accountAlias", "Member must have 3 to 63 lower-case letters, digits and single hyphens")
	}
	return &iam.CreateAccountAliasOutput{}, s.do(ctx, "CreateAccountAlias", arn.Any, nil, func(ctx context.Context, a arn.Account) error {
		return s.identity.SetAlias(ctx, a, alias)
	})
}

func (s *Service) DeleteAccountAlias(ctx context.Context, in *iam.DeleteAccountAliasInput, _ ...options) (*iam.DeleteAccountAliasOutput, error) {
	return &iam.DeleteAccountAliasOutput{}, s.do(ctx, "DeleteAccountAlias", arn.Any, nil, func(ctx context.Context, a arn.Account) error {
		have, err := s.identity.Alias(ctx, a)
		if err != nil {
			return err
		}
		if have == "" || have != aws.ToString(in.AccountAlias) {
			return &identity.Error{Code: identity.NoSuchEntity, Message: "The account alias " + aws.ToString(in.AccountAlias) + " does not exist."}
		}
		return s.identity.SetAlias(ctx, a, "")
	})
}

func (s *Service) ListAccountAliases(ctx context.Context, _ *iam.ListAccountAliasesInput, _ ...options) (*iam.ListAccountAliasesOutput, error) {
	out := &iam.ListAccountAliasesOutput{AccountAliases: []string{}}
	return out, s.do(ctx, "ListAccountAliases", arn.Any, nil, func(ctx context.Context, a arn.Account) error {
		alias, err := s.identity.Alias(ctx, a)
		if alias != "" {
			out.AccountAliases = append(out.AccountAliases, alias)
		}
		return err
	})
}
