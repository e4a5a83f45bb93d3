package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// firstPush measures how much longer the push of a small image takes when its repository has
// to be created, by the template or by a function that a rule runs.
func firstPush(function string) func(context.Context, *bench, *target) (measure, error) {
	return func(ctx context.Context, _ *bench, t *target) (measure, error) {
		if function != "" {
			if err := t.createByFunction(ctx, function); err != nil {
				return measure{}, err
			}
		}
		const pushes = 40
		var first, later []time.Duration
		for i := range pushes {
			repo := fmt.Sprint("team/new-", i)
			for n, took := range []*[]time.Duration{&first, &later} {
				at := time.Now()
				if _, err := t.smallImage(rand.New(rand.NewPCG(uint64(n+7), uint64(i))), repo, fmt.Sprint("t", n)); err != nil {
					return measure{}, err
				}
				if i >= pushes/4 { // the first ones warm everything up
					*took = append(*took, time.Since(at))
				}
			}
		}
		slices.Sort(first)
		slices.Sort(later)
		p50 := first[len(first)/2]
		return measure{value: float64((p50 - later[len(later)/2]).Microseconds()) / 1000, p50: p50}, nil
	}
}

// createByFunction has a function create repositories instead of the template.
func (t *target) createByFunction(ctx context.Context, language string) error {
	cfg := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(t.url), HTTPClient: t.client, Credentials: credentials.StaticCredentialsProvider{Value: t.keys}}
	name, role := aws.String("create"), aws.String("arn:aws:iam::000000000000:role/create")
	access, events, functions := iam.NewFromConfig(cfg), eventbridge.NewFromConfig(cfg), lambda.NewFromConfig(cfg)
	in := &lambda.CreateFunctionInput{FunctionName: name, Role: role, Timeout: aws.Int32(10), Code: &types.FunctionCode{}}
	var err error
	switch language {
	case "go":
		in.Runtime, in.Handler = types.RuntimeProvidedal2023, aws.String("bootstrap")
		in.Code.ZipFile, err = goFunction(t.dir)
	default:
		in.Runtime, in.Handler = types.RuntimePython312, aws.String("index.handler")
		in.Environment = &types.Environment{Variables: map[string]string{"PREFIXES": `["team/"]`}}
		in.Code.ZipFile, err = os.ReadFile("deploy/terraform/create-on-push/function.zip")
	}
	rule := aws.String("arn:aws:events:us-east-1:000000000000:rule/create")
	for _, step := range []func() error{
		func() error {
			_, err := ecr.NewFromConfig(cfg).DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("ROOT")})
			return err
		},
		func() error {
			_, err := access.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
			return err
		},
		func() error {
			_, err := access.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: name, PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:CreateRepository","ecr:PutLifecyclePolicy","ecr:TagResource"],"Resource":"*"}]}`)})
			return err
		},
		func() error { _, err := functions.CreateFunction(ctx, in); return err },
		func() error {
			_, err := functions.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, StatementId: name, Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("events.amazonaws.com"), SourceArn: rule})
			return err
		},
		func() error {
			_, err := events.PutRule(ctx, &eventbridge.PutRuleInput{Name: name, EventPattern: aws.String(`{"source":["aws.ecr"],"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventName":["InitiateLayerUpload"],"errorCode":["RepositoryNotFoundException"]}}`)})
			return err
		},
		func() error {
			_, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: name, Targets: []eventtypes.Target{{Id: name, Arn: aws.String("arn:aws:lambda:us-east-1:000000000000:function:create")}}})
			return err
		},
	} {
		if err == nil {
			err = step()
		}
	}
	return err
}

// goFunction builds the function of testdata and packs it.
func goFunction(dir string) ([]byte, error) {
	program := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./testdata/functions/create")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the function: %w\n%s", err, msg)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = w.Write(b)
	}
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}
