package berthapi

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/entry"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/trail"
)

// maxEvents is how many records a page of ListEvents may have.
const maxEvents = 1000

// ListEventsInput asks for records of API calls, the newest first, in larger pages than
// CloudTrail's LookupEvents: for exports.
type ListEventsInput struct {
	StartTime *time.Time
	EndTime   *time.Time
	// AttributeKey and AttributeValue select, in LookupEvents' words.
	AttributeKey   *string
	AttributeValue *string
	MaxResults     *int32
	NextToken      *string
}

// ListEventsOutput holds the records, each a document in CloudTrail's shape.
type ListEventsOutput struct {
	Events    []string
	NextToken *string
}

// ListEvents lists records of API calls. Who may look up events may ask.
func (s *Service) ListEvents(ctx context.Context, in *ListEventsInput, _ ...options) (*ListEventsOutput, error) {
	caller := gate.CallerFrom(ctx)
	q := trail.Query{Place: caller.Place(), Limit: 100}
	for _, t := range []struct {
		dest *time.Time
		from *time.Time
	}{{&q.Start, in.StartTime}, {&q.End, in.EndTime}} {
		if t.from != nil {
			*t.dest = *t.from
		}
	}
	if in.AttributeKey != nil && in.AttributeValue != nil {
		q.Attribute, q.Value = trail.Attribute(*in.AttributeKey), *in.AttributeValue
	}
	if in.MaxResults != nil {
		if q.Limit = int(*in.MaxResults); q.Limit < 1 || q.Limit > maxEvents {
			return nil, invalid("maxResults must be between 1 and %d", maxEvents)
		}
	}
	token := ""
	if in.NextToken != nil {
		token = *in.NextToken
	}
	out := &ListEventsOutput{Events: []string{}}
	return out, s.do(ctx, "cloudtrail", "LookupEvents", arn.Any, true, func(ctx context.Context) error {
		list, next, err := s.trail.Lookup(ctx, q, token)
		if errors.Is(err, trail.ErrToken) {
			return invalid("nextToken: %v", err)
		}
		if err != nil {
			return err
		}
		for _, r := range list {
			s.trail.Fill(ctx, r)
			out.Events = append(out.Events, string(r.JSON()))
		}
		if next != "" {
			out.NextToken = &next
		}
		return nil
	})
}

// Step is one thing that led to a repository.
type Step struct {
	At   time.Time
	What string // push, event, delivery, run, log, created or declared
	Text string
	// ID names it: a request, an event, a delivery, a run, or a log stream.
	ID string
}

// History finds what led to something that was created by the means in origin.
type History interface {
	Steps(ctx context.Context, p arn.Place, origin map[string]string) ([]Step, error)
}

// DescribeRepositoryOriginInput names a repository.
type DescribeRepositoryOriginInput struct{ RepositoryName *string }

// DescribeRepositoryOriginOutput tells how the repository came to be: who made it, by
// which template, rule or function, and step by step what happened, as far as it is
// still known.
type DescribeRepositoryOriginOutput struct {
	RepositoryName *string
	CreatedAt      *time.Time
	Origin         map[string]string
	Steps          []Step
}

// DescribeRepositoryOrigin tells how a repository came to be. Who may describe it may
// ask.
func (s *Service) DescribeRepositoryOrigin(ctx context.Context, in *DescribeRepositoryOriginInput, _ ...options) (*DescribeRepositoryOriginOutput, error) {
	caller := gate.CallerFrom(ctx)
	place := caller.Place()
	if in.RepositoryName == nil || !registry.ValidName(*in.RepositoryName) {
		return nil, invalid("give the name of a repository")
	}
	out := &DescribeRepositoryOriginOutput{RepositoryName: in.RepositoryName, Steps: []Step{}}
	return out, s.do(ctx, "ecr", "DescribeRepositories", arn.Repository(place, *in.RepositoryName).String(), true, func(ctx context.Context) error {
		repo, err := s.registry.Repository(ctx, place, *in.RepositoryName)
		if err != nil {
			return err
		}
		out.CreatedAt = &repo.CreatedAt
		if out.Origin, err = s.registry.CreatedBy(ctx, place, *in.RepositoryName); err != nil {
			return err
		}
		steps, err := s.history.Steps(ctx, place, out.Origin)
		if err != nil {
			return err
		}
		out.Steps = append(out.Steps, steps...)
		declared, err := s.ledger.Find(ctx, place, entry.Key{Kind: entry.Repository, Name: *in.RepositoryName})
		for i := range declared {
			out.Steps = append(out.Steps, Step{At: declared[i].ChangedAt, What: "declared", Text: "by " + declared[i].Where()})
		}
		return err
	})
}
