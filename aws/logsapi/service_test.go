package logsapi

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/logs"
)

// TestOperations: what is listed is what is served.
func TestOperations(t *testing.T) {
	served := (&Service{}).Handler().Operations()
	slices.Sort(served)
	if !slices.Equal(served, Operations()) {
		t.Errorf("served %v\nlisted %v", served, Operations())
	}
}

// TestEveryCode: each of the plane's codes becomes the error of the API that has its name.
func TestEveryCode(t *testing.T) {
	for _, c := range logs.Codes() {
		var api smithy.APIError
		if exceptions[c] == nil || !errors.As(exception(&logs.Error{Code: c, Message: "x"}), &api) || api.ErrorCode() != string(c) || api.ErrorMessage() != "x" {
			t.Errorf("%s becomes %v", c, api)
		}
	}
}

// asked remembers the condition keys of what it is asked, and denies it.
type asked struct {
	keys map[string]map[string][]string
}

func (a asked) Authorize(_ context.Context, c gate.Call, action, _ string) (gate.Decision, error) {
	a.keys[action] = c.Keys
	return gate.Decision{}, nil
}

func (asked) Prepare(ctx context.Context, _ gate.Call) context.Context { return ctx }

func (asked) Record(context.Context, gate.Call, time.Duration, error) {}

// TestTagKeys: policies can be about the tags of a request.
func TestTagKeys(t *testing.T) {
	a := asked{map[string]map[string][]string{}}
	s := New(nil, gate.New(a, a))
	ctx := gate.WithCaller(t.Context(), gate.Caller{Principal: arn.Root("000000000012"), Region: "eu-west-1"})
	name, resource, tags := aws.String("/g"), aws.String("arn:aws:logs:eu-west-1:000000000012:log-group:/g"), map[string]string{"Team": "core"}
	for op, call := range map[string]func() error{
		"CreateLogGroup": func() error {
			_, err := s.CreateLogGroup(ctx, &cwl.CreateLogGroupInput{LogGroupName: name, Tags: tags})
			return err
		},
		"TagResource": func() error {
			_, err := s.TagResource(ctx, &cwl.TagResourceInput{ResourceArn: resource, Tags: tags})
			return err
		},
		"UntagResource": func() error {
			_, err := s.UntagResource(ctx, &cwl.UntagResourceInput{ResourceArn: resource, TagKeys: []string{"Team"}})
			return err
		},
	} {
		var api smithy.APIError
		if err := call(); !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
			t.Errorf("%s: %v", op, err)
		}
		want := map[string][]string{"aws:tagkeys": {"Team"}, "aws:requesttag/team": {"core"}}
		if op == "UntagResource" {
			delete(want, "aws:requesttag/team")
		}
		if diff := cmp.Diff(want, a.keys[op]); diff != "" {
			t.Errorf("%s: %s", op, diff)
		}
	}
}
