package lambdaapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/function"
)

// Invoke implements the API operation of its name, as do the methods below.
func (s *Service) Invoke(ctx context.Context, in *lambda.InvokeInput, _ ...options) (*lambda.InvokeOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	x := function.Invocation{Place: q.place, Name: q.name, Qualifier: q.qualifier, Payload: in.Payload, ID: q.caller.RequestID}
	out := &lambda.InvokeOutput{}
	return out, s.do(ctx, q, "Invoke", q.resource(), func(ctx context.Context) error {
		switch in.InvocationType {
		case types.InvocationTypeDryRun:
			out.StatusCode = http.StatusNoContent
			_, err := s.functions.Check(ctx, &x, false)
			return err
		case types.InvocationTypeEvent:
			out.StatusCode = http.StatusAccepted
			return s.functions.Later(ctx, &x)
		}
		o, err := s.functions.Invoke(ctx, x)
		if err != nil {
			return err
		}
		out.StatusCode, out.Payload, out.ExecutedVersion = http.StatusOK, o.Payload, aws.String(o.Version)
		out.FunctionError = awsproto.Text(o.FunctionError)
		if in.LogType == types.LogTypeTail {
			out.LogResult = aws.String(base64.StdEncoding.EncodeToString([]byte(o.Tail)))
		}
		return nil
	})
}

// statement makes the statement of a permission.
func statement(q *request, in *lambda.AddPermissionInput) (json.RawMessage, error) {
	if in.StatementId == nil || in.Action == nil || in.Principal == nil {
		return nil, invalid("StatementId, Action and Principal must be given.")
	}
	principal := map[string]string{"AWS": *in.Principal}
	switch p := *in.Principal; {
	case strings.HasSuffix(p, ".amazonaws.com"):
		principal = map[string]string{"Service": p}
	case arn.Account(p).Valid():
		principal = map[string]string{"AWS": "arn:aws:iam::" + p + ":root"}
	}
	m := map[string]any{"Sid": *in.StatementId, "Effect": "Allow", "Principal": principal, "Action": *in.Action, "Resource": q.resource()}
	if *in.Principal == "*" {
		m["Principal"] = "*"
	}
	conditions := map[string]map[string]string{}
	if in.SourceArn != nil {
		conditions["ArnLike"] = map[string]string{"AWS:SourceArn": *in.SourceArn}
	}
	equals := map[string]string{}
	for k, v := range map[string]*string{"AWS:SourceAccount": in.SourceAccount, "aws:PrincipalOrgID": in.PrincipalOrgID, "lambda:EventSourceToken": in.EventSourceToken} {
		if v != nil {
			equals[k] = *v
		}
	}
	if len(equals) > 0 {
		conditions["StringEquals"] = equals
	}
	if len(conditions) > 0 {
		m["Condition"] = conditions
	}
	return json.Marshal(m)
}

func (s *Service) AddPermission(ctx context.Context, in *lambda.AddPermissionInput, _ ...options) (*lambda.AddPermissionOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	st, err := statement(&q, in)
	if err != nil {
		return nil, err
	}
	q.keys["lambda:principal"] = []string{*in.Principal}
	return &lambda.AddPermissionOutput{Statement: aws.String(string(st))}, s.do(ctx, q, "AddPermission", q.resource(), func(ctx context.Context) error {
		return s.functions.AddPermission(ctx, q.place, q.name, &function.Permission{ID: *in.StatementId, Qualifier: q.qualifier, Statement: st})
	})
}

func (s *Service) RemovePermission(ctx context.Context, in *lambda.RemovePermissionInput, _ ...options) (*lambda.RemovePermissionOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return &lambda.RemovePermissionOutput{}, s.do(ctx, q, "RemovePermission", q.resource(), func(ctx context.Context) error {
		return s.functions.RemovePermission(ctx, q.place, q.name, q.qualifier, aws.ToString(in.StatementId))
	})
}

func (s *Service) GetPolicy(ctx context.Context, in *lambda.GetPolicyInput, _ ...options) (*lambda.GetPolicyOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetPolicyOutput{}
	return out, s.do(ctx, q, "GetPolicy", q.resource(), func(ctx context.Context) error {
		p, err := s.functions.Policy(ctx, q.place, q.name, q.qualifier)
		if err != nil {
			return err
		}
		f, err := s.functions.Get(ctx, q.place, q.name, "")
		if err == nil {
			out.Policy, out.RevisionId = &p, &f.Revision
		}
		return err
	})
}

// eventConfig is how asynchronous invocations are tried again, as the API shows it. All
// outputs that show it have the same members.
func eventConfig(q *request, qualifier string, c *function.EventConfig) lambda.GetFunctionEventInvokeConfigOutput {
	if qualifier == "" {
		qualifier = function.Latest
	}
	out := lambda.GetFunctionEventInvokeConfigOutput{FunctionArn: aws.String(function.ARN(q.place, q.name) + ":" + qualifier), LastModified: aws.Time(time.UnixMilli(c.Modified)),
		DestinationConfig: &types.DestinationConfig{OnSuccess: &types.OnSuccess{Destination: awsproto.Text(c.OnSuccess)}, OnFailure: &types.OnFailure{Destination: awsproto.Text(c.OnFailure)}}}
	if c.Retries >= 0 {
		out.MaximumRetryAttempts = aws.Int32(int32(c.Retries))
	}
	if c.Age >= 0 {
		out.MaximumEventAgeInSeconds = aws.Int32(int32(c.Age))
	}
	return out
}

func applyConfig(c *function.EventConfig, retries, age *int32, d *types.DestinationConfig) {
	if retries != nil {
		c.Retries = int(*retries)
	}
	if age != nil {
		c.Age = int(*age)
	}
	if d != nil && d.OnSuccess != nil {
		c.OnSuccess = aws.ToString(d.OnSuccess.Destination)
	}
	if d != nil && d.OnFailure != nil {
		c.OnFailure = aws.ToString(d.OnFailure.Destination)
	}
}

func (s *Service) PutFunctionEventInvokeConfig(ctx context.Context, in *lambda.PutFunctionEventInvokeConfigInput, _ ...options) (*lambda.PutFunctionEventInvokeConfigOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &lambda.PutFunctionEventInvokeConfigOutput{}
	return out, s.do(ctx, q, "PutFunctionEventInvokeConfig", q.resource(), func(ctx context.Context) error {
		c, err := s.functions.PutEventConfig(ctx, q.place, q.name, q.qualifier, true, func(c *function.EventConfig) {
			applyConfig(c, in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig)
		})
		if err == nil {
			*out = lambda.PutFunctionEventInvokeConfigOutput(eventConfig(&q, q.qualifier, c))
		}
		return err
	})
}

func (s *Service) UpdateFunctionEventInvokeConfig(ctx context.Context, in *lambda.UpdateFunctionEventInvokeConfigInput, _ ...options) (*lambda.UpdateFunctionEventInvokeConfigOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &lambda.UpdateFunctionEventInvokeConfigOutput{}
	return out, s.do(ctx, q, "UpdateFunctionEventInvokeConfig", q.resource(), func(ctx context.Context) error {
		c, err := s.functions.PutEventConfig(ctx, q.place, q.name, q.qualifier, false, func(c *function.EventConfig) {
			applyConfig(c, in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig)
		})
		if err == nil {
			*out = lambda.UpdateFunctionEventInvokeConfigOutput(eventConfig(&q, q.qualifier, c))
		}
		return err
	})
}

func (s *Service) GetFunctionEventInvokeConfig(ctx context.Context, in *lambda.GetFunctionEventInvokeConfigInput, _ ...options) (*lambda.GetFunctionEventInvokeConfigOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetFunctionEventInvokeConfigOutput{}
	return out, s.do(ctx, q, "GetFunctionEventInvokeConfig", q.resource(), func(ctx context.Context) error {
		c, err := s.functions.EventConfigOf(ctx, q.place, q.name, q.qualifier)
		if err == nil {
			*out = eventConfig(&q, q.qualifier, c)
		}
		return err
	})
}

func (s *Service) DeleteFunctionEventInvokeConfig(ctx context.Context, in *lambda.DeleteFunctionEventInvokeConfigInput, _ ...options) (*lambda.DeleteFunctionEventInvokeConfigOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return &lambda.DeleteFunctionEventInvokeConfigOutput{}, s.do(ctx, q, "DeleteFunctionEventInvokeConfig", q.resource(), func(ctx context.Context) error {
		return s.functions.DeleteEventConfig(ctx, q.place, q.name, q.qualifier)
	})
}

func (s *Service) ListFunctionEventInvokeConfigs(ctx context.Context, in *lambda.ListFunctionEventInvokeConfigsInput, _ ...options) (*lambda.ListFunctionEventInvokeConfigsOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &lambda.ListFunctionEventInvokeConfigsOutput{FunctionEventInvokeConfigs: []types.FunctionEventInvokeConfig{}}
	return out, s.do(ctx, q, "ListFunctionEventInvokeConfigs", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Get(ctx, q.place, q.name, "")
		if err != nil {
			return err
		}
		list, err := s.functions.EventConfigs(ctx, f)
		for qualifier, c := range list {
			x := eventConfig(&q, qualifier, c)
			out.FunctionEventInvokeConfigs = append(out.FunctionEventInvokeConfigs, types.FunctionEventInvokeConfig{FunctionArn: x.FunctionArn, LastModified: x.LastModified,
				DestinationConfig: x.DestinationConfig, MaximumRetryAttempts: x.MaximumRetryAttempts, MaximumEventAgeInSeconds: x.MaximumEventAgeInSeconds})
		}
		return err
	})
}

func (s *Service) PutFunctionConcurrency(ctx context.Context, in *lambda.PutFunctionConcurrencyInput, _ ...options) (*lambda.PutFunctionConcurrencyOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	if in.ReservedConcurrentExecutions == nil || *in.ReservedConcurrentExecutions < 0 {
		return nil, invalid("ReservedConcurrentExecutions must be given and not be negative.")
	}
	return &lambda.PutFunctionConcurrencyOutput{ReservedConcurrentExecutions: in.ReservedConcurrentExecutions}, s.do(ctx, q, "PutFunctionConcurrency", q.resource(), func(ctx context.Context) error {
		return s.functions.Reserve(ctx, q.place, q.name, int(*in.ReservedConcurrentExecutions))
	})
}

func (s *Service) GetFunctionConcurrency(ctx context.Context, in *lambda.GetFunctionConcurrencyInput, _ ...options) (*lambda.GetFunctionConcurrencyOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetFunctionConcurrencyOutput{}
	return out, s.do(ctx, q, "GetFunctionConcurrency", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Get(ctx, q.place, q.name, "")
		if err == nil && f.Reserved >= 0 {
			out.ReservedConcurrentExecutions = aws.Int32(int32(f.Reserved))
		}
		return err
	})
}

func (s *Service) DeleteFunctionConcurrency(ctx context.Context, in *lambda.DeleteFunctionConcurrencyInput, _ ...options) (*lambda.DeleteFunctionConcurrencyOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	return &lambda.DeleteFunctionConcurrencyOutput{}, s.do(ctx, q, "DeleteFunctionConcurrency", q.resource(), func(ctx context.Context) error {
		return s.functions.Reserve(ctx, q.place, q.name, -1)
	})
}

// GetFunctionCodeSigningConfig tells what is so: no function has one.
func (s *Service) GetFunctionCodeSigningConfig(ctx context.Context, in *lambda.GetFunctionCodeSigningConfigInput, _ ...options) (*lambda.GetFunctionCodeSigningConfigOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetFunctionCodeSigningConfigOutput{FunctionName: &q.name}
	return out, s.do(ctx, q, "GetFunctionCodeSigningConfig", q.resource(), func(ctx context.Context) error {
		_, err := s.functions.Get(ctx, q.place, q.name, "")
		return err
	})
}

// GetFunctionRecursionConfig tells what is so: a function that calls itself is let go on.
func (s *Service) GetFunctionRecursionConfig(ctx context.Context, in *lambda.GetFunctionRecursionConfigInput, _ ...options) (*lambda.GetFunctionRecursionConfigOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetFunctionRecursionConfigOutput{RecursiveLoop: types.RecursiveLoopAllow}
	return out, s.do(ctx, q, "GetFunctionRecursionConfig", q.resource(), func(ctx context.Context) error {
		_, err := s.functions.Get(ctx, q.place, q.name, "")
		return err
	})
}

func (s *Service) GetAccountSettings(ctx context.Context, _ *lambda.GetAccountSettingsInput, _ ...options) (*lambda.GetAccountSettingsOutput, error) {
	out := &lambda.GetAccountSettingsOutput{}
	return out, s.do(ctx, begin(ctx), "GetAccountSettings", arn.Any, func(context.Context) error {
		n := int32(s.limit)
		out.AccountLimit = &types.AccountLimit{ConcurrentExecutions: n, UnreservedConcurrentExecutions: aws.Int32(n), CodeSizeUnzipped: 250 << 20, CodeSizeZipped: 50 << 20,
			TotalCodeSize: 75 << 30}
		return nil
	})
}
