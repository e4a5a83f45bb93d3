// Package lambdaapi is AWS Lambda's API in front of package function.
//
// Service has the SDK client's method signatures, so that awsproto serves it over
// restJson1. Operations that are not here are answered as unknown by name.
package lambdaapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/aws/lambdaapi/model"
	"github.com/berth-registry/berth/function"
	"github.com/berth-registry/berth/gate"
)

// SigningName is the service's name in signatures and policies.
const SigningName = "lambda"

// MaxBody is how large a request may be, in bytes: an archive of 50 MiB in base64.
const MaxBody = 70 << 20

// Service serves the API.
type Service struct {
	functions *function.Functions
	gate      *gate.Gate
	limit     int
}

// New makes the front end. limit is how many invocations may run at once.
func New(f *function.Functions, g *gate.Gate, limit int) *Service { return &Service{f, g, limit} }

// Handler serves the API.
func (s *Service) Handler() *awsproto.Service { return awsproto.NewREST(s, model.Operations()...) }

type options = func(*lambda.Options)

// row says what an operation is to policies: its action, where it is not its name, and
// whether it changes nothing.
type row struct {
	action string
	reads  bool
}

var table = map[string]row{
	"CreateFunction": {}, "DeleteFunction": {}, "GetFunction": {"", true}, "GetFunctionConfiguration": {"", true}, "ListFunctions": {"", true},
	"UpdateFunctionCode": {}, "UpdateFunctionConfiguration": {}, "PublishVersion": {}, "ListVersionsByFunction": {"", true},
	"CreateAlias": {}, "UpdateAlias": {}, "GetAlias": {"", true}, "DeleteAlias": {}, "ListAliases": {"", true},
	"AddPermission": {}, "RemovePermission": {}, "GetPolicy": {"", true}, "Invoke": {"InvokeFunction", false},
	"PutFunctionEventInvokeConfig": {}, "UpdateFunctionEventInvokeConfig": {}, "GetFunctionEventInvokeConfig": {"", true},
	"DeleteFunctionEventInvokeConfig": {}, "ListFunctionEventInvokeConfigs": {"", true}, "TagResource": {}, "UntagResource": {}, "ListTags": {"", true},
	"PutFunctionConcurrency": {}, "GetFunctionConcurrency": {"", true}, "DeleteFunctionConcurrency": {}, "GetFunctionCodeSigningConfig": {"", true},
	"GetAccountSettings": {"", true}, "GetFunctionRecursionConfig": {"", true},
}

// Operations lists the operations, for tests and documentation.
func Operations() []string { return slices.Sorted(maps.Keys(table)) }

// request is a call on its way.
type request struct {
	caller          gate.Caller
	place           arn.Place
	name, qualifier string
	keys            map[string][]string
}

func begin(ctx context.Context) request {
	c := gate.CallerFrom(ctx)
	return request{caller: c, place: c.Place(), keys: map[string][]string{}}
}

// named begins a call about a function, which is given by its name, a part of its ARN or
// the whole of it, with a qualifier or without.
func named(ctx context.Context, name, qualifier *string) (request, error) {
	q := begin(ctx)
	text := aws.ToString(name)
	q.qualifier = aws.ToString(qualifier)
	if a, err := arn.Parse(text); err == nil {
		if a.Service != SigningName || a.Region != q.place.Region {
			return q, invalid("%.200q is not the ARN of a function here.", text)
		}
		q.place.Account = a.Account
		text = strings.TrimPrefix(a.Resource, "function:")
	} else if account, rest, ok := strings.Cut(text, ":function:"); ok {
		if !arn.Account(account).Valid() {
			return q, invalid("%.200q is not the name of a function.", text)
		}
		q.place.Account, text = arn.Account(account), rest
	}
	if bare, inline, ok := strings.Cut(text, ":"); ok {
		if q.qualifier != "" && q.qualifier != inline {
			return q, invalid("The derived qualifier from the function name does not match the specified qualifier.")
		}
		text, q.qualifier = bare, inline
	}
	if q.name = text; text == "" {
		return q, invalid("1 validation error detected: Value null at 'functionName' failed to satisfy constraint: Member must not be null")
	}
	return q, nil
}

// resource is what policies name.
func (q *request) resource() string {
	r := function.ARN(q.place, q.name)
	if q.qualifier != "" {
		r += ":" + q.qualifier
	}
	return r
}

func (s *Service) do(ctx context.Context, q request, op, resource string, act func(context.Context) error) error {
	t := table[op]
	c := gate.Call{Principal: q.caller.Principal, Service: SigningName, Action: op, Place: q.place, Resources: []string{resource}, ReadOnly: t.reads, Keys: q.keys}
	if t.action != "" {
		c.Action, c.Operation = t.action, op
	}
	return exception(s.gate.Do(ctx, c, act))
}

// pass asks whether the caller may hand a role to Lambda.
func (s *Service) pass(ctx context.Context, q request, role string) error {
	c := gate.Call{Principal: q.caller.Principal, Service: "iam", Action: "PassRole", Place: q.place, Resources: []string{role},
		Keys: map[string][]string{"iam:passedtoservice": {"lambda.amazonaws.com"}, "iam:associatedresourcearn": {q.resource()}}}
	if _, err := arn.Parse(role); err != nil {
		return nil //nolint:nilerr // the configuration's check says what is wrong with it
	}
	return s.gate.Check(ctx, c, c.Action)
}

// exceptions are the SDK's types of the plane's codes.
var exceptions = map[function.Code]func(m *string) error{
	function.NotFound:         func(m *string) error { return &types.ResourceNotFoundException{Message: m, Type: user} },
	function.Conflict:         func(m *string) error { return &types.ResourceConflictException{Message: m, Type: user} },
	function.InvalidParameter: func(m *string) error { return &types.InvalidParameterValueException{Message: m, Type: user} },
	function.Precondition:     func(m *string) error { return &types.PreconditionFailedException{Message: m, Type: user} },
	function.PolicyTooLong:    func(m *string) error { return &types.PolicyLengthExceededException{Message: m, Type: user} },
	function.TooManyRequests: func(m *string) error {
		return &types.TooManyRequestsException{Message: m, Type: user, Reason: types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded}
	},
	function.StorageExceeded: func(m *string) error { return &types.CodeStorageExceededException{Message: m, Type: user} },
	function.InvalidContent:  func(m *string) error { return &types.InvalidRequestContentException{Message: m, Type: user} },
	function.RequestTooLarge: func(m *string) error { return &types.RequestTooLargeException{Message: m, Type: user} },
	function.ServiceFailed:   func(m *string) error { return &types.ServiceException{Message: m, Type: user} },
}

// user says in an exception that it is about the request.
var user = aws.String("User")

func exception(err error) error {
	var e *function.Error
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
	return &types.InvalidParameterValueException{Message: aws.String(fmt.Sprintf(format, args...)), Type: user}
}

// page reads the size of a page and where it begins.
func page[K any](s *Service, query string, limit *int32, marker *string, after *K) (int, error) {
	size := 50
	if limit != nil {
		if size = int(*limit); size < 1 || size > 10_000 {
			return 0, invalid("MaxItems must be between 1 and 10000.")
		}
		size = min(size, 50)
	}
	return size, exception(s.functions.OpenPageToken(query, aws.ToString(marker), after))
}
