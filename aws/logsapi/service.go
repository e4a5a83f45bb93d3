// Package logsapi is Amazon CloudWatch Logs' API in front of package logs.
//
// Service has the SDK client's method signatures, so that awsproto serves it.
// Operations that are not here are answered as unknown by name.
package logsapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/logs"
)

// SigningName is the service's name in signatures and policies.
const SigningName = "logs"

// Target is the prefix of X-Amz-Target.
const Target = "Logs_20140328"

// Service serves the API.
type Service struct {
	logs *logs.Logs
	gate *gate.Gate
}

// New makes the front end.
func New(l *logs.Logs, g *gate.Gate) *Service { return &Service{l, g} }

// Handler serves the API.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.New(Target, awsproto.JSON11, Naming, s)
}

// Naming is lowerCamel with one exception.
func Naming(typeName, field string) string {
	if typeName == "DescribeDestinationsInput" && field == "DestinationNamePrefix" {
		return field
	}
	return awsproto.LowerCamel(typeName, field)
}

type options = func(*cwl.Options)

// table lists the operations, and whether they change nothing.
var table = map[string]bool{
	"CreateLogGroup": false, "DeleteLogGroup": false, "DescribeLogGroups": true, "PutRetentionPolicy": false, "DeleteRetentionPolicy": false,
	"CreateLogStream": false, "DeleteLogStream": false, "DescribeLogStreams": true, "PutLogEvents": false, "GetLogEvents": true, "FilterLogEvents": true,
	"TagResource": false, "UntagResource": false, "ListTagsForResource": true, "TagLogGroup": false, "UntagLogGroup": false, "ListTagsLogGroup": true,
}

// Operations lists the operations, for tests and documentation.
func Operations() []string { return slices.Sorted(maps.Keys(table)) }

type request struct {
	caller gate.Caller
	place  arn.Place
	keys   map[string][]string
}

func begin(ctx context.Context) request {
	c := gate.CallerFrom(ctx)
	return request{caller: c, place: c.Place(), keys: map[string][]string{}}
}

func (s *Service) do(ctx context.Context, q request, op, resource string, act func(context.Context) error) error {
	return exception(s.gate.Do(ctx, gate.Call{Principal: q.caller.Principal, Service: SigningName, Action: op, Place: q.place, Resources: []string{resource},
		ReadOnly: table[op], Keys: q.keys}, act))
}

// exceptions are the SDK's types of the plane's codes.
var exceptions = map[logs.Code]func(*string) error{
	logs.NotFound:         func(m *string) error { return &types.ResourceNotFoundException{Message: m} },
	logs.AlreadyExists:    func(m *string) error { return &types.ResourceAlreadyExistsException{Message: m} },
	logs.InvalidParameter: func(m *string) error { return &types.InvalidParameterException{Message: m} },
	logs.LimitExceeded:    func(m *string) error { return &types.LimitExceededException{Message: m} },
	logs.TooManyTags:      func(m *string) error { return &types.TooManyTagsException{Message: m} },
}

func exception(err error) error {
	var e *logs.Error
	var denied *gate.Denied
	switch {
	case errors.As(err, &denied):
		return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: denied.Error()}
	case errors.As(err, &e):
		return exceptions[e.Code](aws.String(e.Message))
	}
	return err
}

func invalid(format string, args ...any) error {
	return &types.InvalidParameterException{Message: aws.String(fmt.Sprintf(format, args...))}
}

// group is the name in a name or in an ARN, one of which must be given.
func (q *request) group(name, identifier *string) (string, error) {
	n := aws.ToString(name)
	if n == "" {
		n = aws.ToString(identifier)
	}
	if a, err := arn.Parse(n); err == nil {
		if a.Service != SigningName || a.Account != q.place.Account || a.Region != q.place.Region {
			return "", &types.ResourceNotFoundException{Message: aws.String("The specified log group does not exist.")}
		}
		n = strings.TrimSuffix(strings.TrimPrefix(a.Resource, "log-group:"), ":*")
	}
	if n == "" {
		return "", invalid("1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: Member must not be null")
	}
	return n, nil
}

// groupARN is what policies name: everything of the group.
func (q *request) groupARN(name string) string { return logs.GroupARN(q.place, name) + ":*" }

func (q *request) streamARN(group, stream string) string {
	return logs.GroupARN(q.place, group) + ":log-stream:" + stream
}

// page is the size of a page, of at most most.
func page(limit *int32, normal, most int) (int, error) {
	if limit == nil {
		return normal, nil
	}
	if *limit < 1 || int(*limit) > most {
		return 0, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and %d", *limit, most)
	}
	return int(*limit), nil
}
