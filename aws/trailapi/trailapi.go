// Package trailapi is AWS CloudTrail's API in front of package trail: looking up the
// records of API calls.
//
// Service has the SDK client's method signatures, so that awsproto serves it. There
// are no trails to create: every account has its record, of all regions and without a
// bucket. Operations that are not here are answered as unknown by name.
package trailapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/trail"
)

// SigningName is the service's name in signatures and policies.
const SigningName = "cloudtrail"

// Target is the prefix of X-Amz-Target.
const Target = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101"

// maxPage is the most records of a page (API reference, LookupEvents).
const maxPage = 50

// Service serves the API.
type Service struct {
	trail *trail.Trail
	gate  *gate.Gate
}

// New makes the front end.
func New(t *trail.Trail, g *gate.Gate) *Service { return &Service{t, g} }

// Handler serves the API.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.New(Target, awsproto.JSON11, Naming, s)
}

// Naming is CloudTrail's: the Go name, but for the members of DescribeTrails.
func Naming(typeName, field string) string {
	switch {
	case typeName == "DescribeTrailsInput" && (field == "TrailNameList" || field == "IncludeShadowTrails"),
		typeName == "DescribeTrailsOutput" && field == "TrailList":
		return awsproto.LowerCamel(typeName, field)
	}
	return field
}

// Operations lists the operations, for tests and documentation.
func Operations() []string { return []string{"LookupEvents"} }

type options = func(*cloudtrail.Options)

func fault(code, format string, args ...any) error {
	return &smithy.GenericAPIError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// LookupEvents implements the API operation of its name.
func (s *Service) LookupEvents(ctx context.Context, in *cloudtrail.LookupEventsInput, _ ...options) (*cloudtrail.LookupEventsOutput, error) {
	caller := gate.CallerFrom(ctx)
	q := trail.Query{Place: caller.Place(), Limit: maxPage, Start: aws.ToTime(in.StartTime), End: aws.ToTime(in.EndTime)}
	if in.MaxResults != nil {
		if q.Limit = int(*in.MaxResults); q.Limit < 1 || q.Limit > maxPage {
			return nil, fault("InvalidMaxResultsException", "A value for MaxResults is not valid. Specify a value between 1 and %d.", maxPage)
		}
	}
	if !q.Start.IsZero() && !q.End.IsZero() && q.End.Before(q.Start) {
		return nil, fault("InvalidTimeRangeException", "The start time must be before the end time.")
	}
	switch len(in.LookupAttributes) {
	case 0:
	case 1:
		a := in.LookupAttributes[0]
		if a.AttributeKey == "" || a.AttributeValue == nil || *a.AttributeValue == "" {
			return nil, fault("InvalidLookupAttributesException", "A lookup attribute needs a key and a value.")
		}
		q.Attribute, q.Value = trail.Attribute(a.AttributeKey), *a.AttributeValue
		if !slices.Contains(trail.Attributes(), q.Attribute) {
			return nil, fault("InvalidLookupAttributesException", "%.60q is not one of %v.", q.Attribute, trail.Attributes())
		}
	default:
		return nil, fault("InvalidLookupAttributesException", "A lookup takes one attribute.")
	}
	out := &cloudtrail.LookupEventsOutput{Events: []types.Event{}}
	c := gate.Call{Principal: caller.Principal, Service: SigningName, Action: "LookupEvents", Place: q.Place, Resources: []string{arn.Any}, ReadOnly: true}
	err := s.gate.Do(ctx, c, func(ctx context.Context) error {
		list, next, err := s.trail.Lookup(ctx, q, aws.ToString(in.NextToken))
		if errors.Is(err, trail.ErrToken) {
			return fault("InvalidNextTokenException", "The token was not made for this request.")
		}
		if err != nil {
			return err
		}
		for _, r := range list {
			s.trail.Fill(ctx, r)
			out.Events = append(out.Events, toEvent(r))
		}
		if next != "" {
			out.NextToken = aws.String(next)
		}
		return nil
	})
	var denied *gate.Denied
	if errors.As(err, &denied) {
		err = fault("AccessDeniedException", "%s", denied.Error())
	}
	return out, err
}

func toEvent(r *trail.Record) types.Event {
	e := types.Event{EventId: aws.String(r.ID), EventName: aws.String(r.Name), EventSource: aws.String(r.Source), EventTime: aws.Time(r.At.Truncate(time.Second)),
		ReadOnly: aws.String(fmt.Sprint(r.ReadOnly)), Username: aws.String(r.Who.Username()), Resources: []types.Resource{},
		CloudTrailEvent: aws.String(string(r.JSON()))}
	if r.Who.AccessKeyID != "" {
		e.AccessKeyId = aws.String(r.Who.AccessKeyID)
	}
	for _, x := range r.Resources() {
		t := types.Resource{ResourceName: aws.String(x.Name)}
		if x.Type != "" {
			t.ResourceType = aws.String(x.Type)
		}
		e.Resources = append(e.Resources, t)
	}
	return e
}
