package logsapi

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/berth-registry/berth/logs"
)

// maxEvents is the most events of a page, and maxScan the most that are looked at for
// one.
const (
	maxEvents = 10_000
	maxScan   = 20_000
)

// CreateLogStream implements the API operation of its name, as do the methods below.
func (s *Service) CreateLogStream(ctx context.Context, in *cwl.CreateLogStreamInput, _ ...options) (*cwl.CreateLogStreamOutput, error) {
	q := begin(ctx)
	group, err := q.group(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	stream := aws.ToString(in.LogStreamName)
	return &cwl.CreateLogStreamOutput{}, s.do(ctx, q, "CreateLogStream", q.groupARN(group), func(ctx context.Context) error {
		return s.logs.CreateStream(ctx, q.place, group, stream)
	})
}

func (s *Service) DeleteLogStream(ctx context.Context, in *cwl.DeleteLogStreamInput, _ ...options) (*cwl.DeleteLogStreamOutput, error) {
	q := begin(ctx)
	group, err := q.group(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	stream := aws.ToString(in.LogStreamName)
	return &cwl.DeleteLogStreamOutput{}, s.do(ctx, q, "DeleteLogStream", q.streamARN(group, stream), func(ctx context.Context) error {
		return s.logs.DeleteStream(ctx, q.place, group, stream)
	})
}

// streamKey is where a page of streams begins.
type streamKey struct {
	At   int64
	Name string
}

func (s *Service) DescribeLogStreams(ctx context.Context, in *cwl.DescribeLogStreamsInput, _ ...options) (*cwl.DescribeLogStreamsOutput, error) {
	q := begin(ctx)
	group, err := q.group(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	size, err := page(in.Limit, 50, 50)
	if err != nil {
		return nil, err
	}
	x := logs.StreamQuery{Prefix: aws.ToString(in.LogStreamNamePrefix), ByTime: in.OrderBy == types.OrderByLastEventTime, Descending: aws.ToBool(in.Descending),
		First: aws.ToString(in.NextToken) == "", Limit: size + 1}
	if x.ByTime && x.Prefix != "" {
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	query := "streams " + q.groupARN(group) + " " + x.Prefix + " " + string(in.OrderBy)
	if x.Descending {
		query += " descending"
	}
	var after streamKey
	if err := s.logs.OpenPageToken(query, aws.ToString(in.NextToken), &after); err != nil {
		return nil, exception(err)
	}
	x.AfterAt, x.AfterName = after.At, after.Name
	out := &cwl.DescribeLogStreamsOutput{LogStreams: []types.LogStream{}}
	return out, s.do(ctx, q, "DescribeLogStreams", q.groupARN(group), func(ctx context.Context) error {
		list, err := s.logs.Streams(ctx, q.place, group, x)
		if err != nil {
			return err
		}
		if len(list) > size {
			list = list[:size]
			last := list[size-1]
			out.NextToken = aws.String(s.logs.PageToken(query, streamKey{millis(last.Last), last.Name}))
		}
		for _, l := range list {
			e := types.LogStream{Arn: aws.String(l.ARN()), LogStreamName: &l.Name, CreationTime: aws.Int64(l.CreatedAt.UnixMilli()), UploadSequenceToken: aws.String("0")}
			if !l.Last.IsZero() {
				e.FirstEventTimestamp, e.LastEventTimestamp, e.LastIngestionTime = aws.Int64(millis(l.First)), aws.Int64(millis(l.Last)), aws.Int64(millis(l.IngestedAt))
			}
			out.LogStreams = append(out.LogStreams, e)
		}
		return nil
	})
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (s *Service) PutLogEvents(ctx context.Context, in *cwl.PutLogEventsInput, _ ...options) (*cwl.PutLogEventsOutput, error) {
	q := begin(ctx)
	group, err := q.group(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	stream := aws.ToString(in.LogStreamName)
	entries := make([]logs.Entry, len(in.LogEvents))
	for i, e := range in.LogEvents {
		if e.Timestamp == nil || *e.Timestamp < 0 {
			return nil, invalid("1 validation error detected: Value null at 'logEvents.%d.member.timestamp' failed to satisfy constraint: Member must not be null", i+1)
		}
		entries[i] = logs.Entry{At: time.UnixMilli(*e.Timestamp), Message: aws.ToString(e.Message)}
	}
	out := &cwl.PutLogEventsOutput{NextSequenceToken: aws.String("0")}
	return out, s.do(ctx, q, "PutLogEvents", q.streamARN(group, stream), func(ctx context.Context) error {
		rejected, err := s.logs.Put(ctx, q.place, group, stream, entries)
		if rejected.TooOld >= 0 || rejected.TooNew >= 0 {
			out.RejectedLogEventsInfo = &types.RejectedLogEventsInfo{}
			if rejected.TooOld >= 0 {
				out.RejectedLogEventsInfo.TooOldLogEventEndIndex = aws.Int32(int32(rejected.TooOld))
			}
			if rejected.TooNew >= 0 {
				out.RejectedLogEventsInfo.TooNewLogEventStartIndex = aws.Int32(int32(rejected.TooNew))
			}
		}
		return err
	})
}

// span is the time that a query asks for, in milliseconds, the end exclusive.
func span(start, end *int64) (from, to int64) {
	if to = math.MaxInt64; end != nil {
		to = *end
	}
	return aws.ToInt64(start), to
}

func (s *Service) GetLogEvents(ctx context.Context, in *cwl.GetLogEventsInput, _ ...options) (*cwl.GetLogEventsOutput, error) {
	q := begin(ctx)
	group, err := q.group(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	size, err := page(in.Limit, maxEvents, maxEvents)
	if err != nil {
		return nil, err
	}
	stream := aws.ToString(in.LogStreamName)
	if stream == "" {
		return nil, invalid("1 validation error detected: Value null at 'logStreamName' failed to satisfy constraint: Member must not be null")
	}
	x := logs.EventQuery{Streams: []string{stream}, Backward: !aws.ToBool(in.StartFromHead), Limit: size}
	x.Start, x.End = span(in.StartTime, in.EndTime)
	query := "events " + q.streamARN(group, stream)
	if token := aws.ToString(in.NextToken); token != "" {
		way, rest, _ := strings.Cut(token, "/")
		x.After, x.Backward = &logs.Key{}, way == "b"
		if err := s.logs.OpenPageToken(query, rest, x.After); err != nil || way != "f" && way != "b" {
			return nil, invalid("The specified nextToken is invalid.")
		}
	}
	out := &cwl.GetLogEventsOutput{Events: []types.OutputLogEvent{}}
	return out, s.do(ctx, q, "GetLogEvents", q.streamARN(group, stream), func(ctx context.Context) error {
		list, err := s.logs.Events(ctx, q.place, group, x)
		if err != nil {
			return err
		}
		if x.Backward {
			slices.Reverse(list)
		}
		first, last := logs.Key{}, logs.Key{}
		if x.After != nil {
			first, last = *x.After, *x.After
		}
		for i, e := range list {
			if last = e.Key; i == 0 {
				first = e.Key
			}
			out.Events = append(out.Events, types.OutputLogEvent{Message: &e.Message, Timestamp: &e.At, IngestionTime: aws.Int64(millis(e.Ingested))})
		}
		out.NextForwardToken = aws.String("f/" + s.logs.PageToken(query, last))
		out.NextBackwardToken = aws.String("b/" + s.logs.PageToken(query, first))
		if len(list) == 0 && in.NextToken != nil { // the end is reached when a token comes back
			if x.Backward {
				out.NextBackwardToken = in.NextToken
			} else {
				out.NextForwardToken = in.NextToken
			}
		}
		return nil
	})
}

func (s *Service) FilterLogEvents(ctx context.Context, in *cwl.FilterLogEventsInput, _ ...options) (*cwl.FilterLogEventsOutput, error) {
	q := begin(ctx)
	group, err := q.group(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	size, err := page(in.Limit, maxEvents, maxEvents)
	if err != nil {
		return nil, err
	}
	filter, err := logs.ParseFilter(aws.ToString(in.FilterPattern))
	if err != nil {
		return nil, exception(err)
	}
	prefix := aws.ToString(in.LogStreamNamePrefix)
	if len(in.LogStreamNames) > 0 && prefix != "" {
		return nil, invalid("Specify either logStreamNames or logStreamNamePrefix, not both.")
	}
	if len(in.LogStreamNames) > 100 {
		return nil, invalid("At most 100 log streams may be named.")
	}
	x := logs.EventQuery{Streams: in.LogStreamNames, Limit: 1000}
	x.Start, x.End = span(in.StartTime, in.EndTime)
	query := "filter " + q.groupARN(group) + " " + aws.ToString(in.FilterPattern) + " " + prefix + " " + strings.Join(in.LogStreamNames, " ")
	if token := aws.ToString(in.NextToken); token != "" {
		x.After = &logs.Key{}
		if err := s.logs.OpenPageToken(query, token, x.After); err != nil {
			return nil, exception(err)
		}
	}
	out := &cwl.FilterLogEventsOutput{Events: []types.FilteredLogEvent{}, SearchedLogStreams: []types.SearchedLogStream{}}
	return out, s.do(ctx, q, "FilterLogEvents", q.groupARN(group), func(ctx context.Context) error {
		for scanned := 0; ; {
			list, err := s.logs.Events(ctx, q.place, group, x)
			if err != nil {
				return err
			}
			for _, e := range list {
				scanned++
				x.After = &e.Key
				if strings.HasPrefix(e.Stream, prefix) && filter.Match(e.Message) {
					out.Events = append(out.Events, types.FilteredLogEvent{EventId: aws.String(e.ID()), LogStreamName: &e.Stream, Message: &e.Message, Timestamp: &e.At,
						IngestionTime: aws.Int64(millis(e.Ingested))})
				}
				if len(out.Events) == size || scanned == maxScan {
					out.NextToken = aws.String(s.logs.PageToken(query, x.After))
					return nil
				}
			}
			if len(list) < x.Limit {
				return nil
			}
		}
	})
}
