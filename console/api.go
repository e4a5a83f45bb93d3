package console

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/aws/smithy-go"
)

// API performs calls in the name of the caller in the context. Its errors that a caller
// caused are smithy.APIError.
type API interface {
	// Call performs an operation of an AWS service, by its signing name: in is the
	// operation's input as the SDK has it, out its output.
	Call(ctx context.Context, service string, in any) (out any, err error)
	// Berth performs an operation of Berth's own API, with JSON documents.
	Berth(ctx context.Context, operation string, in, out any) error
	// Catalog performs a request below /v1/, with JSON documents; path is encoded.
	Catalog(ctx context.Context, method, path string, in, out any) error
}

// signingNames are the services of the SDK's packages.
var signingNames = map[string]string{"ecr": "ecr", "iam": "iam", "sts": "sts", "lambda": "lambda", "cloudwatchlogs": "logs", "eventbridge": "events", "cloudtrail": "cloudtrail", "cloudcontrol": "cloudcontrolapi"}

// serviceOf is the service of an operation's input: its package names it.
func serviceOf(in any) string {
	path := reflect.TypeOf(in).Elem().PkgPath()
	return signingNames[path[strings.LastIndexByte(path, '/')+1:]]
}

// ask calls the operation whose input is given.
func ask[Out any](ctx context.Context, a API, in any) (*Out, error) {
	out, err := a.Call(ctx, serviceOf(in), in)
	if err != nil {
		return nil, err
	}
	return out.(*Out), nil
}

// codeOf is the code of an API's error, "" for others.
func codeOf(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// isDenied reports whether a call was refused for want of a right.
func isDenied(err error) bool {
	c := codeOf(err)
	return strings.HasPrefix(c, "AccessDenied") || c == "forbidden"
}

// isMissing reports whether a call found nothing there.
func isMissing(err error) bool {
	switch c := codeOf(err); c {
	case "NoSuchEntity", "not_found", "ResourceNotFoundException":
		return true
	default:
		return strings.HasSuffix(c, "NotFoundException")
	}
}
