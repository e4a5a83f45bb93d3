package logsapi

import (
	"context"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/logs"
)

// CreateLogGroup implements the API operation of its name, as do the methods below.
func (s *Service) CreateLogGroup(ctx context.Context, in *cwl.CreateLogGroupInput, _ ...options) (*cwl.CreateLogGroupOutput, error) {
	q := begin(ctx)
	name, err := q.group(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	if in.KmsKeyId != nil {
		return nil, invalid("This server does not encrypt log groups with keys of their own.")
	}
	tags := maps.Clone(in.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	gate.TagKeys(q.keys, tags)
	return &cwl.CreateLogGroupOutput{}, s.do(ctx, q, "CreateLogGroup", q.groupARN(name), func(ctx context.Context) error {
		return s.logs.CreateGroup(ctx, &logs.Group{Place: q.place, Name: name, Class: string(in.LogGroupClass), Tags: tags})
	})
}

func (s *Service) DeleteLogGroup(ctx context.Context, in *cwl.DeleteLogGroupInput, _ ...options) (*cwl.DeleteLogGroupOutput, error) {
	q := begin(ctx)
	name, err := q.group(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	return &cwl.DeleteLogGroupOutput{}, s.do(ctx, q, "DeleteLogGroup", q.groupARN(name), func(ctx context.Context) error {
		return s.logs.DeleteGroup(ctx, q.place, name)
	})
}

func (s *Service) DescribeLogGroups(ctx context.Context, in *cwl.DescribeLogGroupsInput, _ ...options) (*cwl.DescribeLogGroupsOutput, error) {
	q := begin(ctx)
	if in.LogGroupNamePattern != nil && in.LogGroupNamePrefix != nil {
		return nil, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	size, err := page(in.Limit, 50, 50)
	if err != nil {
		return nil, err
	}
	query := "groups " + string(q.place.Account) + " " + string(q.place.Region) + " " + aws.ToString(in.LogGroupNamePrefix) + " " + aws.ToString(in.LogGroupNamePattern)
	after := ""
	if err := s.logs.OpenPageToken(query, aws.ToString(in.NextToken), &after); err != nil {
		return nil, exception(err)
	}
	out := &cwl.DescribeLogGroupsOutput{LogGroups: []types.LogGroup{}}
	return out, s.do(ctx, q, "DescribeLogGroups", q.groupARN("*"), func(ctx context.Context) error {
		list, err := s.logs.Groups(ctx, q.place, aws.ToString(in.LogGroupNamePrefix), aws.ToString(in.LogGroupNamePattern), after, size+1)
		if err != nil {
			return err
		}
		if len(list) > size {
			list = list[:size]
			out.NextToken = aws.String(s.logs.PageToken(query, list[size-1].Name))
		}
		for _, g := range list {
			x := types.LogGroup{Arn: aws.String(g.ARN() + ":*"), LogGroupArn: aws.String(g.ARN()), LogGroupName: &g.Name, CreationTime: aws.Int64(g.CreatedAt.UnixMilli()),
				StoredBytes: &g.Bytes, MetricFilterCount: aws.Int32(0), LogGroupClass: types.LogGroupClass(g.Class)}
			if g.Retention > 0 {
				x.RetentionInDays = aws.Int32(int32(g.Retention))
			}
			out.LogGroups = append(out.LogGroups, x)
		}
		return nil
	})
}

// update changes a group.
func (s *Service) update(ctx context.Context, op string, q request, name string, fn func(*logs.Group)) error {
	return s.do(ctx, q, op, q.groupARN(name), func(ctx context.Context) error { return s.logs.UpdateGroup(ctx, q.place, name, fn) })
}

func (s *Service) PutRetentionPolicy(ctx context.Context, in *cwl.PutRetentionPolicyInput, _ ...options) (*cwl.PutRetentionPolicyOutput, error) {
	q := begin(ctx)
	name, err := q.group(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	if in.RetentionInDays == nil || *in.RetentionInDays < 1 {
		return nil, invalid("1 validation error detected: Value null at 'retentionInDays' failed to satisfy constraint: Member must not be null")
	}
	return &cwl.PutRetentionPolicyOutput{}, s.update(ctx, "PutRetentionPolicy", q, name, func(g *logs.Group) { g.Retention = int(*in.RetentionInDays) })
}

func (s *Service) DeleteRetentionPolicy(ctx context.Context, in *cwl.DeleteRetentionPolicyInput, _ ...options) (*cwl.DeleteRetentionPolicyOutput, error) {
	q := begin(ctx)
	name, err := q.group(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	return &cwl.DeleteRetentionPolicyOutput{}, s.update(ctx, "DeleteRetentionPolicy", q, name, func(g *logs.Group) { g.Retention = 0 })
}

func (s *Service) tag(ctx context.Context, op string, name, resource *string, tags map[string]string, remove []string) error {
	q := begin(ctx)
	group, err := q.group(name, resource)
	if err != nil {
		return err
	}
	gate.TagKeys(q.keys, tags, remove...)
	return s.update(ctx, op, q, group, func(g *logs.Group) {
		maps.Copy(g.Tags, tags)
		for _, k := range remove {
			delete(g.Tags, k)
		}
	})
}

func (s *Service) TagResource(ctx context.Context, in *cwl.TagResourceInput, _ ...options) (*cwl.TagResourceOutput, error) {
	return &cwl.TagResourceOutput{}, s.tag(ctx, "TagResource", nil, in.ResourceArn, in.Tags, nil)
}

func (s *Service) UntagResource(ctx context.Context, in *cwl.UntagResourceInput, _ ...options) (*cwl.UntagResourceOutput, error) {
	return &cwl.UntagResourceOutput{}, s.tag(ctx, "UntagResource", nil, in.ResourceArn, nil, in.TagKeys)
}

func (s *Service) TagLogGroup(ctx context.Context, in *cwl.TagLogGroupInput, _ ...options) (*cwl.TagLogGroupOutput, error) {
	return &cwl.TagLogGroupOutput{}, s.tag(ctx, "TagLogGroup", in.LogGroupName, nil, in.Tags, nil)
}

func (s *Service) UntagLogGroup(ctx context.Context, in *cwl.UntagLogGroupInput, _ ...options) (*cwl.UntagLogGroupOutput, error) {
	return &cwl.UntagLogGroupOutput{}, s.tag(ctx, "UntagLogGroup", in.LogGroupName, nil, nil, in.Tags)
}

func (s *Service) tagsOf(ctx context.Context, op string, name, resource *string) (map[string]string, error) {
	q := begin(ctx)
	group, err := q.group(name, resource)
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	return tags, s.do(ctx, q, op, q.groupARN(group), func(ctx context.Context) error {
		g, err := s.logs.Group(ctx, q.place, group)
		if err == nil {
			maps.Copy(tags, g.Tags)
		}
		return err
	})
}

func (s *Service) ListTagsForResource(ctx context.Context, in *cwl.ListTagsForResourceInput, _ ...options) (*cwl.ListTagsForResourceOutput, error) {
	tags, err := s.tagsOf(ctx, "ListTagsForResource", nil, in.ResourceArn)
	return &cwl.ListTagsForResourceOutput{Tags: tags}, err
}

func (s *Service) ListTagsLogGroup(ctx context.Context, in *cwl.ListTagsLogGroupInput, _ ...options) (*cwl.ListTagsLogGroupOutput, error) {
	tags, err := s.tagsOf(ctx, "ListTagsLogGroup", in.LogGroupName, nil)
	return &cwl.ListTagsLogGroupOutput{Tags: tags}, err
}
