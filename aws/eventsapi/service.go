// Package eventsapi is Amazon EventBridge's API in front of package bus.
//
// Service has the SDK client's method signatures, so that awsproto serves it. It turns
// the SDK's types into the plane's and back; what a rule is, and what becomes of an
// event, is the plane's. Operations that are not here are answered as unknown by name.
package eventsapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/gate"
)

// SigningName is the service's name in signatures and policies.
const SigningName = "events"

// Target is the prefix of X-Amz-Target.
const Target = "AWSEvents"

// Service serves the API.
type Service struct {
	bus  *bus.Bus
	gate *gate.Gate
}

// New makes the front end.
func New(b *bus.Bus, g *gate.Gate) *Service { return &Service{b, g} }

// Handler serves the API.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.New(Target, awsproto.JSON11, awsproto.AsIs, s)
}

type options = func(*eventbridge.Options)

// table lists the operations, and whether they change nothing.
var table = map[string]bool{
	"CreateEventBus": false, "DeleteEventBus": false, "DescribeEventBus": true, "ListEventBuses": true, "UpdateEventBus": false,
	"PutRule": false, "DeleteRule": false, "DescribeRule": true, "EnableRule": false, "DisableRule": false, "ListRules": true,
	"ListRuleNamesByTarget": true, "PutTargets": false, "RemoveTargets": false, "ListTargetsByRule": true, "PutEvents": false, "TestEventPattern": true,
	"CreateConnection": false, "UpdateConnection": false, "DescribeConnection": true, "DeleteConnection": false, "ListConnections": true,
	"CreateApiDestination": false, "UpdateApiDestination": false, "DescribeApiDestination": true, "DeleteApiDestination": false, "ListApiDestinations": true,
	"CreateArchive": false, "UpdateArchive": false, "DescribeArchive": true, "DeleteArchive": false, "ListArchives": true,
	"StartReplay": false, "DescribeReplay": true, "CancelReplay": false, "ListReplays": true,
	"TagResource": false, "UntagResource": false, "ListTagsForResource": true,
}

// Operations lists the operations, for tests and documentation.
func Operations() []string { return slices.Sorted(maps.Keys(table)) }

// request is a call on its way.
type request struct {
	caller gate.Caller
	place  arn.Place
	keys   map[string][]string
}

func begin(ctx context.Context) request {
	c := gate.CallerFrom(ctx)
	return request{caller: c, place: c.Place(), keys: map[string][]string{}}
}

// do passes a call through the gate.
func (s *Service) do(ctx context.Context, q request, op, resource string, act func(context.Context) error) error {
	return exception(s.gate.Do(ctx, gate.Call{Principal: q.caller.Principal, Service: SigningName, Action: op, Place: q.place, Resources: []string{resource},
		ReadOnly: table[op], Keys: q.keys}, act))
}

// exceptions are the SDK's types of the plane's codes.
var exceptions = map[bus.Code]func(*string) error{
	bus.NotFound:       func(m *string) error { return &types.ResourceNotFoundException{Message: m} },
	bus.AlreadyExists:  func(m *string) error { return &types.ResourceAlreadyExistsException{Message: m} },
	bus.InvalidPattern: func(m *string) error { return &types.InvalidEventPatternException{Message: m} },
	bus.LimitExceeded:  func(m *string) error { return &types.LimitExceededException{Message: m} },
	bus.Concurrent:     func(m *string) error { return &types.ConcurrentModificationException{Message: m} },
	bus.InvalidState:   func(m *string) error { return &types.InvalidStateException{Message: m} },
	bus.IllegalStatus:  func(m *string) error { return &types.IllegalStatusException{Message: m} },
	bus.Validation: func(m *string) error {
		return &smithy.GenericAPIError{Code: string(bus.Validation), Message: aws.ToString(m)}
	},
}

func exception(err error) error {
	var e *bus.Error
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
	return &smithy.GenericAPIError{Code: string(bus.Validation), Message: fmt.Sprintf(format, args...)}
}

func required(member string, v *string) error {
	if v == nil || *v == "" {
		return invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", member)
	}
	return nil
}

// busName is the name in a name or ARN of a bus, the default one for none.
func busName(v *string) string {
	name := aws.ToString(v)
	if a, err := arn.Parse(name); err == nil {
		name = strings.TrimPrefix(a.Resource, "event-bus/")
	}
	if name == "" {
		return event.DefaultBus
	}
	return name
}

func (q *request) busARN(name string) string {
	return arn.ARN{Service: SigningName, Region: q.place.Region, Account: q.place.Account, Resource: "event-bus/" + name}.String()
}

func (q *request) ruleARN(busName, name string) string { return bus.RuleARN(q.place, busName, name) }

func (q *request) any(kind string) string {
	return arn.ARN{Service: SigningName, Region: q.place.Region, Account: q.place.Account, Resource: kind + "/*"}.String()
}

// tags reads tags of a request and sets the condition keys for them.
func (q *request) tags(list []types.Tag) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range list {
		k, v := aws.ToString(t.Key), aws.ToString(t.Value)
		if k == "" || len(k) > 128 || len(v) > 256 || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, invalid("The tag key %.140q is not valid: keys have 1 to 128 characters, values up to 256, and aws: is reserved.", k)
		}
		if _, twice := m[k]; twice {
			return nil, invalid("The tag key %.140q is given twice.", k)
		}
		m[k] = v
	}
	if len(m) > maxTags {
		return nil, invalid("A resource may have %d tags.", maxTags)
	}
	gate.TagKeys(q.keys, m)
	return m, nil
}

const maxTags = 50

func toTags(m map[string]string) []types.Tag {
	out := []types.Tag{}
	for k, v := range m {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	slices.SortFunc(out, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return out
}

// page reads the size and the key of a page.
func (s *Service) page(query string, limit *int32, token *string) (size int, after string, err error) {
	size = 100
	if limit != nil {
		if size = int(*limit); size < 1 || size > 100 {
			return 0, "", invalid("Limit must be between 1 and 100.")
		}
	}
	err = exception(s.bus.OpenPageToken(query, aws.ToString(token), &after))
	return size, after, err
}

// cut ends a list at its page and makes the token of the next.
func cut[T any](s *Service, list []T, size int, query string, key func(T) string) ([]T, *string) {
	if len(list) <= size {
		return list, nil
	}
	return list[:size], aws.String(s.bus.PageToken(query, key(list[size-1])))
}
