package lambdaapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/berth-registry/berth/function"
)

// PublishVersion implements the API operation of its name, as do the methods below.
func (s *Service) PublishVersion(ctx context.Context, in *lambda.PublishVersionInput, _ ...options) (*lambda.PublishVersionOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &lambda.PublishVersionOutput{}
	return out, s.do(ctx, q, "PublishVersion", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Publish(ctx, q.place, q.name, aws.ToString(in.CodeSha256), aws.ToString(in.RevisionId), aws.ToString(in.Description))
		if err == nil {
			*out = lambda.PublishVersionOutput(configuration(f, true))
		}
		return err
	})
}

func (s *Service) ListVersionsByFunction(ctx context.Context, in *lambda.ListVersionsByFunctionInput, _ ...options) (*lambda.ListVersionsByFunctionOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	query, after := "versions "+q.resource(), int64(-1) // $LATEST comes first
	size, err := page(s, query, in.MaxItems, in.Marker, &after)
	if err != nil {
		return nil, err
	}
	out := &lambda.ListVersionsByFunctionOutput{Versions: []types.FunctionConfiguration{}}
	return out, s.do(ctx, q, "ListVersionsByFunction", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Get(ctx, q.place, q.name, "")
		if err != nil {
			return err
		}
		list, err := s.functions.Versions(ctx, f, max(after, 0), size+1)
		if err != nil {
			return err
		}
		if after < 0 {
			out.Versions = append(out.Versions, listed(f, true))
		}
		for i, v := range list {
			if i == size {
				out.NextMarker = aws.String(s.functions.PageToken(query, list[size-1].Number()))
				break
			}
			out.Versions = append(out.Versions, listed(v, true))
		}
		return nil
	})
}

func aliasOutput(q *request, a *function.Alias) lambda.UpdateAliasOutput {
	out := lambda.UpdateAliasOutput{AliasArn: aws.String(function.ARN(q.place, q.name) + ":" + a.Name), Name: &a.Name, FunctionVersion: &a.Version, Description: &a.Description,
		RevisionId: &a.Revision}
	if len(a.Weights) > 0 {
		out.RoutingConfig = &types.AliasRoutingConfiguration{AdditionalVersionWeights: a.Weights}
	}
	return out
}

func weights(c *types.AliasRoutingConfiguration) map[string]float64 {
	if c == nil {
		return nil
	}
	return c.AdditionalVersionWeights
}

func (s *Service) CreateAlias(ctx context.Context, in *lambda.CreateAliasInput, _ ...options) (*lambda.CreateAliasOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	a := &function.Alias{Name: aws.ToString(in.Name), Version: aws.ToString(in.FunctionVersion), Description: aws.ToString(in.Description), Weights: weights(in.RoutingConfig)}
	out := &lambda.CreateAliasOutput{}
	return out, s.do(ctx, q, "CreateAlias", q.resource(), func(ctx context.Context) error {
		err := s.functions.CreateAlias(ctx, q.place, q.name, a)
		if err == nil {
			*out = lambda.CreateAliasOutput(aliasOutput(&q, a))
		}
		return err
	})
}

func (s *Service) UpdateAlias(ctx context.Context, in *lambda.UpdateAliasInput, _ ...options) (*lambda.UpdateAliasOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &lambda.UpdateAliasOutput{}
	return out, s.do(ctx, q, "UpdateAlias", q.resource(), func(ctx context.Context) error {
		a, err := s.functions.ChangeAlias(ctx, q.place, q.name, aws.ToString(in.Name), aws.ToString(in.RevisionId), func(a *function.Alias) {
			if in.FunctionVersion != nil {
				a.Version = *in.FunctionVersion
			}
			if in.Description != nil {
				a.Description = *in.Description
			}
			if in.RoutingConfig != nil {
				a.Weights = weights(in.RoutingConfig)
			}
		})
		if err == nil {
			*out = aliasOutput(&q, a)
		}
		return err
	})
}

func (s *Service) GetAlias(ctx context.Context, in *lambda.GetAliasInput, _ ...options) (*lambda.GetAliasOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetAliasOutput{}
	return out, s.do(ctx, q, "GetAlias", q.resource(), func(ctx context.Context) error {
		a, err := s.functions.Alias(ctx, q.place, q.name, aws.ToString(in.Name))
		if err == nil {
			*out = lambda.GetAliasOutput(aliasOutput(&q, a))
		}
		return err
	})
}

func (s *Service) DeleteAlias(ctx context.Context, in *lambda.DeleteAliasInput, _ ...options) (*lambda.DeleteAliasOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	return &lambda.DeleteAliasOutput{}, s.do(ctx, q, "DeleteAlias", q.resource(), func(ctx context.Context) error {
		return s.functions.DeleteAlias(ctx, q.place, q.name, aws.ToString(in.Name))
	})
}

func (s *Service) ListAliases(ctx context.Context, in *lambda.ListAliasesInput, _ ...options) (*lambda.ListAliasesOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	query, after := "aliases "+q.resource()+" "+aws.ToString(in.FunctionVersion), ""
	size, err := page(s, query, in.MaxItems, in.Marker, &after)
	if err != nil {
		return nil, err
	}
	out := &lambda.ListAliasesOutput{Aliases: []types.AliasConfiguration{}}
	return out, s.do(ctx, q, "ListAliases", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Get(ctx, q.place, q.name, "")
		if err != nil {
			return err
		}
		list, err := s.functions.Aliases(ctx, f, after, size+1)
		if err != nil {
			return err
		}
		if len(list) > size {
			list = list[:size]
			out.NextMarker = aws.String(s.functions.PageToken(query, list[size-1].Name))
		}
		for _, a := range list {
			if v := aws.ToString(in.FunctionVersion); v == "" || v == a.Version {
				x := aliasOutput(&q, a)
				out.Aliases = append(out.Aliases, types.AliasConfiguration{AliasArn: x.AliasArn, Name: x.Name, FunctionVersion: x.FunctionVersion, Description: x.Description,
					RevisionId: x.RevisionId, RoutingConfig: x.RoutingConfig})
			}
		}
		return nil
	})
}
