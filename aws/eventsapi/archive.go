package eventsapi

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/bus"
)

// CreateArchive implements the API operation of its name, as do the methods below.
func (s *Service) CreateArchive(ctx context.Context, in *eventbridge.CreateArchiveInput, _ ...options) (*eventbridge.CreateArchiveOutput, error) {
	q := begin(ctx)
	if in.KmsKeyIdentifier != nil {
		return nil, invalid("This server does not encrypt archives with keys of their own.")
	}
	a := &bus.Archive{Resource: q.resource(bus.ArchiveKind, in.ArchiveName), Description: aws.ToString(in.Description), Source: aws.ToString(in.EventSourceArn),
		Pattern: aws.ToString(in.EventPattern), Retention: int(aws.ToInt32(in.RetentionDays))}
	out := &eventbridge.CreateArchiveOutput{}
	return out, s.do(ctx, q, "CreateArchive", a.ARN(), func(ctx context.Context) error {
		err := s.bus.Create(ctx, a)
		out.ArchiveArn, out.State, out.CreationTime = aws.String(a.ARN()), types.ArchiveState(a.State), aws.Time(a.CreatedAt)
		return err
	})
}

func (s *Service) UpdateArchive(ctx context.Context, in *eventbridge.UpdateArchiveInput, _ ...options) (*eventbridge.UpdateArchiveOutput, error) {
	q := begin(ctx)
	a := &bus.Archive{Resource: q.resource(bus.ArchiveKind, in.ArchiveName)}
	out := &eventbridge.UpdateArchiveOutput{}
	return out, s.do(ctx, q, "UpdateArchive", a.ARN(), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, a); err != nil {
			return err
		}
		err := s.bus.Change(ctx, a, func() error {
			if in.Description != nil {
				a.Description = *in.Description
			}
			if in.EventPattern != nil {
				a.Pattern = *in.EventPattern
			}
			if in.RetentionDays != nil {
				a.Retention = int(*in.RetentionDays)
			}
			return nil
		})
		out.ArchiveArn, out.State, out.CreationTime = aws.String(a.ARN()), types.ArchiveState(a.State), aws.Time(a.CreatedAt)
		return err
	})
}

func (s *Service) DescribeArchive(ctx context.Context, in *eventbridge.DescribeArchiveInput, _ ...options) (*eventbridge.DescribeArchiveOutput, error) {
	q := begin(ctx)
	a := &bus.Archive{Resource: q.resource(bus.ArchiveKind, in.ArchiveName)}
	out := &eventbridge.DescribeArchiveOutput{}
	return out, s.do(ctx, q, "DescribeArchive", a.ARN(), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, a); err != nil {
			return err
		}
		events, bytes, err := s.bus.Archived(ctx, a)
		*out = eventbridge.DescribeArchiveOutput{ArchiveArn: aws.String(a.ARN()), ArchiveName: &a.Name, Description: awsproto.Text(a.Description), EventSourceArn: &a.Source,
			EventPattern: awsproto.Text(a.Pattern), RetentionDays: aws.Int32(int32(a.Retention)), State: types.ArchiveState(a.State), CreationTime: aws.Time(a.CreatedAt),
			EventCount: events, SizeBytes: bytes}
		return err
	})
}

func (s *Service) DeleteArchive(ctx context.Context, in *eventbridge.DeleteArchiveInput, _ ...options) (*eventbridge.DeleteArchiveOutput, error) {
	q := begin(ctx)
	r := q.resource(bus.ArchiveKind, in.ArchiveName)
	return &eventbridge.DeleteArchiveOutput{}, s.do(ctx, q, "DeleteArchive", r.ARN(), func(ctx context.Context) error { return s.bus.Remove(ctx, &r) })
}

func (s *Service) ListArchives(ctx context.Context, in *eventbridge.ListArchivesInput, _ ...options) (*eventbridge.ListArchivesOutput, error) {
	q := begin(ctx)
	out := &eventbridge.ListArchivesOutput{Archives: []types.Archive{}}
	list, next, err := listed(ctx, s, q, "ListArchives", bus.ArchiveKind, in.NamePrefix, in.Limit, in.NextToken, func() *bus.Archive { return &bus.Archive{} },
		func(a *bus.Archive) string { return a.Name })
	for _, a := range list {
		if asked(aws.ToString(in.EventSourceArn), a.Source) && asked(string(in.State), a.State) {
			out.Archives = append(out.Archives, types.Archive{ArchiveName: &a.Name, EventSourceArn: &a.Source, RetentionDays: aws.Int32(int32(a.Retention)),
				State: types.ArchiveState(a.State), CreationTime: aws.Time(a.CreatedAt)})
		}
	}
	out.NextToken = next
	return out, err
}

func (s *Service) StartReplay(ctx context.Context, in *eventbridge.StartReplayInput, _ ...options) (*eventbridge.StartReplayOutput, error) {
	q := begin(ctx)
	if in.Destination == nil || in.EventStartTime == nil || in.EventEndTime == nil {
		return nil, invalid("Destination, EventStartTime and EventEndTime must be given.")
	}
	r := &bus.Replay{Resource: q.resource(bus.ReplayKind, in.ReplayName), Description: aws.ToString(in.Description), Archive: aws.ToString(in.EventSourceArn),
		Bus: aws.ToString(in.Destination.Arn), Rules: in.Destination.FilterArns, From: in.EventStartTime.UnixMicro(), To: in.EventEndTime.UnixMicro()}
	out := &eventbridge.StartReplayOutput{}
	return out, s.do(ctx, q, "StartReplay", r.ARN(), func(ctx context.Context) error {
		err := s.bus.Create(ctx, r)
		out.ReplayArn, out.State, out.ReplayStartTime = aws.String(r.ARN()), types.ReplayStateStarting, aws.Time(r.CreatedAt)
		return err
	})
}

func (s *Service) DescribeReplay(ctx context.Context, in *eventbridge.DescribeReplayInput, _ ...options) (*eventbridge.DescribeReplayOutput, error) {
	q := begin(ctx)
	r := &bus.Replay{Resource: q.resource(bus.ReplayKind, in.ReplayName)}
	out := &eventbridge.DescribeReplayOutput{}
	return out, s.do(ctx, q, "DescribeReplay", r.ARN(), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, r); err != nil {
			return err
		}
		*out = eventbridge.DescribeReplayOutput{ReplayArn: aws.String(r.ARN()), ReplayName: &r.Name, Description: awsproto.Text(r.Description), EventSourceArn: &r.Archive,
			Destination: &types.ReplayDestination{Arn: &r.Bus, FilterArns: r.Rules}, EventStartTime: aws.Time(time.UnixMicro(r.From)), EventEndTime: aws.Time(time.UnixMicro(r.To)),
			State: types.ReplayState(r.State), ReplayStartTime: aws.Time(r.CreatedAt)}
		if r.LastAt > 0 {
			out.EventLastReplayedTime = aws.Time(time.UnixMicro(r.LastAt))
		}
		if r.EndedAt > 0 {
			out.ReplayEndTime = aws.Time(time.UnixMicro(r.EndedAt))
		}
		return nil
	})
}

func (s *Service) CancelReplay(ctx context.Context, in *eventbridge.CancelReplayInput, _ ...options) (*eventbridge.CancelReplayOutput, error) {
	q := begin(ctx)
	r := &bus.Replay{Resource: q.resource(bus.ReplayKind, in.ReplayName)}
	out := &eventbridge.CancelReplayOutput{}
	return out, s.do(ctx, q, "CancelReplay", r.ARN(), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, r); err != nil {
			return err
		}
		if r.State != bus.Running {
			return &bus.Error{Code: bus.IllegalStatus, Message: "Replay " + r.Name + " is not in a valid state for this operation."}
		}
		err := s.bus.Change(ctx, r, func() error { r.State = bus.Cancelled; return nil })
		out.ReplayArn, out.State = aws.String(r.ARN()), types.ReplayState(r.State)
		return err
	})
}

func (s *Service) ListReplays(ctx context.Context, in *eventbridge.ListReplaysInput, _ ...options) (*eventbridge.ListReplaysOutput, error) {
	q := begin(ctx)
	out := &eventbridge.ListReplaysOutput{Replays: []types.Replay{}}
	list, next, err := listed(ctx, s, q, "ListReplays", bus.ReplayKind, in.NamePrefix, in.Limit, in.NextToken, func() *bus.Replay { return &bus.Replay{} },
		func(r *bus.Replay) string { return r.Name })
	for _, r := range list {
		if asked(aws.ToString(in.EventSourceArn), r.Archive) && asked(string(in.State), r.State) {
			out.Replays = append(out.Replays, types.Replay{ReplayName: &r.Name, EventSourceArn: &r.Archive, State: types.ReplayState(r.State),
				EventStartTime: aws.Time(time.UnixMicro(r.From)), EventEndTime: aws.Time(time.UnixMicro(r.To)), ReplayStartTime: aws.Time(r.CreatedAt)})
		}
	}
	out.NextToken = next
	return out, err
}
