package lambdaapi

import (
	"context"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/function"
	"github.com/berth-registry/berth/gate"
)

// refuse names what a request asks for and this server does not have.
func refuse(asked map[string]bool) error {
	for _, name := range []string{"VpcConfig", "FileSystemConfigs", "Layers", "ImageConfig", "KMSKeyArn", "CodeSigningConfigArn", "SnapStart", "CapacityProviderConfig", "DurableConfig"} {
		if asked[name] {
			return invalid("%s is not supported by this server.", name)
		}
	}
	return nil
}

// archive is the code in a request.
func archive(c *types.FunctionCode) ([]byte, error) {
	switch {
	case c == nil || c.ZipFile == nil && c.S3Bucket == nil && c.ImageUri == nil:
		return nil, invalid("Please provide a source for function code: ZipFile.")
	case c.S3Bucket != nil:
		return nil, invalid("This server has no S3 buckets: give the code in ZipFile.")
	case c.ImageUri != nil:
		return nil, invalid("This server does not run container images as functions: give the code in ZipFile.")
	}
	return c.ZipFile, nil
}

// CreateFunction implements the API operation of its name, as do the methods below.
func (s *Service) CreateFunction(ctx context.Context, in *lambda.CreateFunctionInput, _ ...options) (*lambda.CreateFunctionOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	if in.PackageType == types.PackageTypeImage {
		return nil, invalid("This server does not run container images as functions: use the package type Zip.")
	}
	if err := refuse(map[string]bool{"VpcConfig": in.VpcConfig != nil && len(in.VpcConfig.SubnetIds) > 0, "FileSystemConfigs": len(in.FileSystemConfigs) > 0,
		"Layers": len(in.Layers) > 0, "ImageConfig": in.ImageConfig != nil, "KMSKeyArn": aws.ToString(in.KMSKeyArn) != "", "CodeSigningConfigArn": aws.ToString(in.CodeSigningConfigArn) != "",
		"SnapStart": in.SnapStart != nil && in.SnapStart.ApplyOn == types.SnapStartApplyOnPublishedVersions}); err != nil {
		return nil, err
	}
	zip, err := archive(in.Code)
	if err != nil {
		return nil, err
	}
	f := &function.Function{Place: q.place, Name: q.name, Runtime: string(in.Runtime), Handler: aws.ToString(in.Handler), Role: aws.ToString(in.Role),
		Description: aws.ToString(in.Description), Timeout: int(aws.ToInt32(in.Timeout)), Memory: int(aws.ToInt32(in.MemorySize)), Tags: maps.Clone(in.Tags)}
	if in.Environment != nil {
		f.Env = in.Environment.Variables
		if f.Env == nil {
			f.Env = map[string]string{}
		}
	}
	if in.EphemeralStorage != nil {
		f.Scratch = int(aws.ToInt32(in.EphemeralStorage.Size))
	}
	if len(in.Architectures) > 0 {
		f.Arch = string(in.Architectures[0])
	}
	settings(f, in.LoggingConfig, in.DeadLetterConfig, in.TracingConfig)
	gate.TagKeys(q.keys, in.Tags)
	out := &lambda.CreateFunctionOutput{}
	return out, s.do(ctx, q, "CreateFunction", q.resource(), func(ctx context.Context) error {
		if err := s.pass(ctx, q, f.Role); err != nil {
			return err
		}
		made, err := s.functions.Create(ctx, f, zip, in.Publish)
		if err == nil {
			*out = lambda.CreateFunctionOutput(configuration(made, in.Publish))
		}
		return err
	})
}

func settings(f *function.Function, l *types.LoggingConfig, d *types.DeadLetterConfig, t *types.TracingConfig) {
	if l != nil {
		f.LogGroup, f.LogFormat = aws.ToString(l.LogGroup), string(l.LogFormat)
	}
	if d != nil {
		f.DeadLetter = aws.ToString(d.TargetArn)
	}
	if t != nil {
		f.Tracing = string(t.Mode)
	}
}

// configuration is a function as the API shows it. All outputs that show one have the
// same members. qualified adds the version to the ARN.
func configuration(f *function.Function, qualified bool) lambda.UpdateFunctionConfigurationOutput {
	a := f.ARN()
	if qualified {
		a += ":" + f.Version
	}
	group, format, tracing := f.Group(), types.LogFormat(f.LogFormat), types.TracingMode(f.Tracing)
	if format == "" {
		format = types.LogFormatText
	}
	if tracing == "" {
		tracing = types.TracingModePassThrough
	}
	out := lambda.UpdateFunctionConfigurationOutput{FunctionArn: &a, FunctionName: &f.Name, Version: &f.Version, Runtime: types.Runtime(f.Runtime), Role: &f.Role,
		Handler: awsproto.Text(f.Handler), Description: &f.Description, Timeout: aws.Int32(int32(f.Timeout)), MemorySize: aws.Int32(int32(f.Memory)), CodeSha256: &f.CodeSHA,
		CodeSize: f.CodeSize, RevisionId: &f.Revision, LastModified: aws.String(f.LastModified.Format("2006-01-02T15:04:05.000+0000")), PackageType: types.PackageTypeZip,
		Architectures: []types.Architecture{types.Architecture(f.Arch)}, EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(int32(f.Scratch))},
		State: types.StateActive, LastUpdateStatus: types.LastUpdateStatusSuccessful, TracingConfig: &types.TracingConfigResponse{Mode: tracing},
		LoggingConfig: &types.LoggingConfig{LogGroup: &group, LogFormat: format}, SnapStart: &types.SnapStartResponse{ApplyOn: types.SnapStartApplyOnNone,
			OptimizationStatus: types.SnapStartOptimizationStatusOff}}
	if f.Env != nil {
		out.Environment = &types.EnvironmentResponse{Variables: f.Env}
	}
	if f.DeadLetter != "" {
		out.DeadLetterConfig = &types.DeadLetterConfig{TargetArn: &f.DeadLetter}
	}
	return out
}

// listed is a function in lists and in GetFunction.
func listed(f *function.Function, qualified bool) types.FunctionConfiguration {
	c := configuration(f, qualified)
	return types.FunctionConfiguration{FunctionArn: c.FunctionArn, FunctionName: c.FunctionName, Version: c.Version, Runtime: c.Runtime, Role: c.Role, Handler: c.Handler,
		Description: c.Description, Timeout: c.Timeout, MemorySize: c.MemorySize, CodeSha256: c.CodeSha256, CodeSize: c.CodeSize, RevisionId: c.RevisionId,
		LastModified: c.LastModified, PackageType: c.PackageType, Architectures: c.Architectures, EphemeralStorage: c.EphemeralStorage, State: c.State,
		LastUpdateStatus: c.LastUpdateStatus, TracingConfig: c.TracingConfig, LoggingConfig: c.LoggingConfig, SnapStart: c.SnapStart, Environment: c.Environment,
		DeadLetterConfig: c.DeadLetterConfig}
}

func (s *Service) GetFunction(ctx context.Context, in *lambda.GetFunctionInput, _ ...options) (*lambda.GetFunctionOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetFunctionOutput{}
	return out, s.do(ctx, q, "GetFunction", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Get(ctx, q.place, q.name, q.qualifier)
		if err != nil {
			return err
		}
		c := listed(f, q.qualifier != "")
		out.Configuration, out.Tags = &c, f.Tags
		if len(f.Tags) == 0 {
			out.Tags = nil
		}
		out.Code = &types.FunctionCodeLocation{RepositoryType: aws.String("Berth")}
		if f.Reserved >= 0 {
			out.Concurrency = &types.Concurrency{ReservedConcurrentExecutions: aws.Int32(int32(f.Reserved))}
		}
		return nil
	})
}

func (s *Service) GetFunctionConfiguration(ctx context.Context, in *lambda.GetFunctionConfigurationInput, _ ...options) (*lambda.GetFunctionConfigurationOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &lambda.GetFunctionConfigurationOutput{}
	return out, s.do(ctx, q, "GetFunctionConfiguration", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Get(ctx, q.place, q.name, q.qualifier)
		if err == nil {
			*out = lambda.GetFunctionConfigurationOutput(configuration(f, q.qualifier != ""))
		}
		return err
	})
}

func (s *Service) ListFunctions(ctx context.Context, in *lambda.ListFunctionsInput, _ ...options) (*lambda.ListFunctionsOutput, error) {
	q := begin(ctx)
	query, after := "functions "+string(q.place.Account)+" "+string(q.place.Region), ""
	size, err := page(s, query, in.MaxItems, in.Marker, &after)
	if err != nil {
		return nil, err
	}
	out := &lambda.ListFunctionsOutput{Functions: []types.FunctionConfiguration{}}
	return out, s.do(ctx, q, "ListFunctions", arn.Any, func(ctx context.Context) error {
		list, err := s.functions.List(ctx, q.place, after, size+1)
		if err != nil {
			return err
		}
		if len(list) > size {
			list = list[:size]
			out.NextMarker = aws.String(s.functions.PageToken(query, list[size-1].Name))
		}
		for _, f := range list {
			out.Functions = append(out.Functions, listed(f, in.FunctionVersion == types.FunctionVersionAll))
		}
		return nil
	})
}

func (s *Service) UpdateFunctionCode(ctx context.Context, in *lambda.UpdateFunctionCodeInput, _ ...options) (*lambda.UpdateFunctionCodeOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	zip, err := archive(&types.FunctionCode{ZipFile: in.ZipFile, S3Bucket: in.S3Bucket, ImageUri: in.ImageUri})
	if err != nil {
		return nil, err
	}
	out := &lambda.UpdateFunctionCodeOutput{}
	return out, s.do(ctx, q, "UpdateFunctionCode", q.resource(), func(ctx context.Context) error {
		if in.DryRun {
			_, err := s.functions.Get(ctx, q.place, q.name, "")
			if err == nil {
				_, err = function.Archive(zip)
			}
			return err
		}
		f, err := s.functions.Update(ctx, q.place, q.name, aws.ToString(in.RevisionId), zip, func(f *function.Function) {
			if len(in.Architectures) > 0 {
				f.Arch = string(in.Architectures[0])
			}
		})
		if err == nil && in.Publish {
			f, err = s.functions.Publish(ctx, q.place, q.name, "", "", "")
		}
		if err == nil {
			*out = lambda.UpdateFunctionCodeOutput(configuration(f, in.Publish))
		}
		return err
	})
}

func (s *Service) UpdateFunctionConfiguration(ctx context.Context, in *lambda.UpdateFunctionConfigurationInput, _ ...options) (*lambda.UpdateFunctionConfigurationOutput, error) {
	q, err := named(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	if err := refuse(map[string]bool{"VpcConfig": in.VpcConfig != nil && len(in.VpcConfig.SubnetIds) > 0, "FileSystemConfigs": len(in.FileSystemConfigs) > 0,
		"Layers": len(in.Layers) > 0, "ImageConfig": in.ImageConfig != nil, "KMSKeyArn": aws.ToString(in.KMSKeyArn) != "",
		"SnapStart": in.SnapStart != nil && in.SnapStart.ApplyOn == types.SnapStartApplyOnPublishedVersions}); err != nil {
		return nil, err
	}
	out := &lambda.UpdateFunctionConfigurationOutput{}
	return out, s.do(ctx, q, "UpdateFunctionConfiguration", q.resource(), func(ctx context.Context) error {
		if in.Role != nil {
			if err := s.pass(ctx, q, *in.Role); err != nil {
				return err
			}
		}
		f, err := s.functions.Update(ctx, q.place, q.name, aws.ToString(in.RevisionId), nil, func(f *function.Function) { change(f, in) })
		if err == nil {
			*out = configuration(f, false)
		}
		return err
	})
}

// change applies what an update says.
func change(f *function.Function, in *lambda.UpdateFunctionConfigurationInput) {
	for _, x := range []struct {
		dest *string
		from *string
	}{{&f.Handler, in.Handler}, {&f.Role, in.Role}, {&f.Description, in.Description}} {
		if x.from != nil {
			*x.dest = *x.from
		}
	}
	for _, x := range []struct {
		dest *int
		from *int32
	}{{&f.Timeout, in.Timeout}, {&f.Memory, in.MemorySize}} {
		if x.from != nil {
			*x.dest = int(*x.from)
		}
	}
	if in.Runtime != "" {
		f.Runtime = string(in.Runtime)
	}
	if in.Environment != nil {
		f.Env = in.Environment.Variables
	}
	if in.EphemeralStorage != nil {
		f.Scratch = int(aws.ToInt32(in.EphemeralStorage.Size))
	}
	settings(f, in.LoggingConfig, in.DeadLetterConfig, in.TracingConfig)
}

func (s *Service) DeleteFunction(ctx context.Context, in *lambda.DeleteFunctionInput, _ ...options) (*lambda.DeleteFunctionOutput, error) {
	q, err := named(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return &lambda.DeleteFunctionOutput{}, s.do(ctx, q, "DeleteFunction", q.resource(), func(ctx context.Context) error {
		return s.functions.Delete(ctx, q.place, q.name, q.qualifier)
	})
}

// tagged finds the function in an ARN.
func tagged(ctx context.Context, resource *string) (request, error) {
	a, err := arn.Parse(aws.ToString(resource))
	if err != nil || a.Service != SigningName || !strings.HasPrefix(a.Resource, "function:") {
		return request{}, invalid("%.200q is not the ARN of a function.", aws.ToString(resource))
	}
	return named(ctx, resource, nil)
}

func (s *Service) TagResource(ctx context.Context, in *lambda.TagResourceInput, _ ...options) (*lambda.TagResourceOutput, error) {
	q, err := tagged(ctx, in.Resource)
	if err != nil {
		return nil, err
	}
	gate.TagKeys(q.keys, in.Tags)
	return &lambda.TagResourceOutput{}, s.do(ctx, q, "TagResource", q.resource(), func(ctx context.Context) error {
		return s.functions.Tag(ctx, q.place, q.name, in.Tags, nil)
	})
}

func (s *Service) UntagResource(ctx context.Context, in *lambda.UntagResourceInput, _ ...options) (*lambda.UntagResourceOutput, error) {
	q, err := tagged(ctx, in.Resource)
	if err != nil {
		return nil, err
	}
	gate.TagKeys(q.keys, nil, in.TagKeys...)
	return &lambda.UntagResourceOutput{}, s.do(ctx, q, "UntagResource", q.resource(), func(ctx context.Context) error {
		return s.functions.Tag(ctx, q.place, q.name, nil, in.TagKeys)
	})
}

func (s *Service) ListTags(ctx context.Context, in *lambda.ListTagsInput, _ ...options) (*lambda.ListTagsOutput, error) {
	q, err := tagged(ctx, in.Resource)
	if err != nil {
		return nil, err
	}
	out := &lambda.ListTagsOutput{}
	return out, s.do(ctx, q, "ListTags", q.resource(), func(ctx context.Context) error {
		f, err := s.functions.Get(ctx, q.place, q.name, "")
		if err == nil {
			out.Tags = f.Tags
		}
		return err
	})
}
