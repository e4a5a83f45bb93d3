package eventsapi

import (
	"context"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/gate"
)

// CreateEventBus implements the API operation of its name, as do the methods below.
func (s *Service) CreateEventBus(ctx context.Context, in *eventbridge.CreateEventBusInput, _ ...options) (*eventbridge.CreateEventBusOutput, error) {
	q := begin(ctx)
	if err := required("name", in.Name); err != nil {
		return nil, err
	}
	if in.EventSourceName != nil {
		return nil, invalid("This server has no partner event sources.")
	}
	tags, err := q.tags(in.Tags)
	if err != nil {
		return nil, err
	}
	n := &bus.EventBus{Place: q.place, Name: *in.Name, Description: aws.ToString(in.Description), Tags: tags}
	return &eventbridge.CreateEventBusOutput{EventBusArn: aws.String(n.ARN()), Description: in.Description},
		s.do(ctx, q, "CreateEventBus", n.ARN(), func(ctx context.Context) error { return s.bus.PutBus(ctx, n) })
}

func (s *Service) UpdateEventBus(ctx context.Context, in *eventbridge.UpdateEventBusInput, _ ...options) (*eventbridge.UpdateEventBusOutput, error) {
	q, name := begin(ctx), busName(in.Name)
	return &eventbridge.UpdateEventBusOutput{Arn: aws.String(q.busARN(name)), Name: aws.String(name), Description: in.Description},
		s.do(ctx, q, "UpdateEventBus", q.busARN(name), func(ctx context.Context) error {
			_, err := s.bus.UpdateBus(ctx, q.place, name, func(b *bus.EventBus) error {
				if in.Description != nil {
					b.Description = *in.Description
				}
				return nil
			})
			return err
		})
}

func (s *Service) DeleteEventBus(ctx context.Context, in *eventbridge.DeleteEventBusInput, _ ...options) (*eventbridge.DeleteEventBusOutput, error) {
	q := begin(ctx)
	if err := required("name", in.Name); err != nil {
		return nil, err
	}
	return &eventbridge.DeleteEventBusOutput{}, s.do(ctx, q, "DeleteEventBus", q.busARN(busName(in.Name)), func(ctx context.Context) error {
		return s.bus.DeleteBus(ctx, q.place, busName(in.Name))
	})
}

func (s *Service) DescribeEventBus(ctx context.Context, in *eventbridge.DescribeEventBusInput, _ ...options) (*eventbridge.DescribeEventBusOutput, error) {
	q, name := begin(ctx), busName(in.Name)
	out := &eventbridge.DescribeEventBusOutput{}
	return out, s.do(ctx, q, "DescribeEventBus", q.busARN(name), func(ctx context.Context) error {
		b, err := s.bus.Bus(ctx, q.place, name)
		if err != nil {
			return err
		}
		out.Arn, out.Name = aws.String(b.ARN()), aws.String(b.Name)
		if b.Description != "" {
			out.Description = aws.String(b.Description)
		}
		if !b.CreatedAt.IsZero() {
			out.CreationTime, out.LastModifiedTime = aws.Time(b.CreatedAt), aws.Time(b.UpdatedAt)
		}
		return nil
	})
}

func (s *Service) ListEventBuses(ctx context.Context, in *eventbridge.ListEventBusesInput, _ ...options) (*eventbridge.ListEventBusesOutput, error) {
	q := begin(ctx)
	query := "buses " + string(q.place.Account) + " " + string(q.place.Region) + " " + aws.ToString(in.NamePrefix)
	size, after, err := s.page(query, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &eventbridge.ListEventBusesOutput{EventBuses: []types.EventBus{}}
	return out, s.do(ctx, q, "ListEventBuses", q.any("event-bus"), func(ctx context.Context) error {
		list, err := s.bus.Buses(ctx, q.place, aws.ToString(in.NamePrefix), after, size+1)
		if err != nil {
			return err
		}
		if after == "" && strings.HasPrefix(event.DefaultBus, aws.ToString(in.NamePrefix)) {
			out.EventBuses = append(out.EventBuses, types.EventBus{Name: aws.String(event.DefaultBus), Arn: aws.String(q.busARN(event.DefaultBus))})
		}
		list, out.NextToken = cut(s, list, size, query, func(b *bus.EventBus) string { return b.Name })
		for _, b := range list {
			if b.Name != event.DefaultBus {
				out.EventBuses = append(out.EventBuses, types.EventBus{Name: aws.String(b.Name), Arn: aws.String(b.ARN()), CreationTime: aws.Time(b.CreatedAt),
					LastModifiedTime: aws.Time(b.UpdatedAt)})
			}
		}
		return nil
	})
}

// tagged finds what an ARN of a bus or rule names.
func (q *request) tagged(resource *string) (kind, busName, name string, err error) {
	a, perr := arn.Parse(aws.ToString(resource))
	kind, rest, _ := strings.Cut(a.Resource, "/")
	if perr != nil || a.Service != SigningName || a.Account != q.place.Account || a.Region != q.place.Region || rest == "" || kind != "rule" && kind != "event-bus" {
		return "", "", "", invalid("Parameter(s) ResourceARN are not valid: %.200q is not the ARN of a rule or event bus here.", aws.ToString(resource))
	}
	if kind == "event-bus" {
		return kind, rest, "", nil
	}
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		return kind, rest[:i], rest[i+1:], nil
	}
	return kind, event.DefaultBus, rest, nil
}

// retag changes the tags of what an ARN names.
func (s *Service) retag(ctx context.Context, q request, resource *string, fn func(map[string]string) error) error {
	kind, busName, name, err := q.tagged(resource)
	if err != nil {
		return err
	}
	if kind == "rule" {
		return s.bus.TagRule(ctx, q.place, busName, name, fn)
	}
	_, err = s.bus.UpdateBus(ctx, q.place, busName, func(b *bus.EventBus) error { return fn(b.Tags) })
	return err
}

func (s *Service) TagResource(ctx context.Context, in *eventbridge.TagResourceInput, _ ...options) (*eventbridge.TagResourceOutput, error) {
	q := begin(ctx)
	tags, err := q.tags(in.Tags)
	if err != nil {
		return nil, err
	}
	return &eventbridge.TagResourceOutput{}, s.do(ctx, q, "TagResource", aws.ToString(in.ResourceARN), func(ctx context.Context) error {
		return s.retag(ctx, q, in.ResourceARN, func(m map[string]string) error {
			maps.Copy(m, tags)
			if len(m) > maxTags {
				return invalid("A resource may have %d tags.", maxTags)
			}
			return nil
		})
	})
}

func (s *Service) UntagResource(ctx context.Context, in *eventbridge.UntagResourceInput, _ ...options) (*eventbridge.UntagResourceOutput, error) {
	q := begin(ctx)
	gate.TagKeys(q.keys, nil, in.TagKeys...)
	return &eventbridge.UntagResourceOutput{}, s.do(ctx, q, "UntagResource", aws.ToString(in.ResourceARN), func(ctx context.Context) error {
		return s.retag(ctx, q, in.ResourceARN, func(m map[string]string) error {
			for _, k := range in.TagKeys {
				delete(m, k)
			}
			return nil
		})
	})
}

func (s *Service) ListTagsForResource(ctx context.Context, in *eventbridge.ListTagsForResourceInput, _ ...options) (*eventbridge.ListTagsForResourceOutput, error) {
	q := begin(ctx)
	out := &eventbridge.ListTagsForResourceOutput{}
	return out, s.do(ctx, q, "ListTagsForResource", aws.ToString(in.ResourceARN), func(ctx context.Context) error {
		kind, busName, name, err := q.tagged(in.ResourceARN)
		if err != nil {
			return err
		}
		if kind == "rule" {
			r, err := s.bus.Rule(ctx, q.place, busName, name)
			if err != nil {
				return err
			}
			out.Tags = toTags(r.Tags)
			return nil
		}
		b, err := s.bus.Bus(ctx, q.place, busName)
		if err != nil {
			return err
		}
		out.Tags = toTags(b.Tags)
		return nil
	})
}
