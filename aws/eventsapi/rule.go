package eventsapi

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/event/input"
)

// PutRule implements the API operation of its name, as do the methods below.
func (s *Service) PutRule(ctx context.Context, in *eventbridge.PutRuleInput, _ ...options) (*eventbridge.PutRuleOutput, error) {
	q := begin(ctx)
	if err := required("name", in.Name); err != nil {
		return nil, err
	}
	tags, err := q.tags(in.Tags)
	if err != nil {
		return nil, err
	}
	r := &bus.Rule{Place: q.place, Bus: busName(in.EventBusName), Name: *in.Name, Pattern: aws.ToString(in.EventPattern), Schedule: aws.ToString(in.ScheduleExpression),
		State: string(in.State), Description: aws.ToString(in.Description), Role: aws.ToString(in.RoleArn), Tags: tags}
	return &eventbridge.PutRuleOutput{RuleArn: aws.String(r.ARN())}, s.do(ctx, q, "PutRule", r.ARN(), func(ctx context.Context) error { return s.bus.PutRule(ctx, r) })
}

func (s *Service) DeleteRule(ctx context.Context, in *eventbridge.DeleteRuleInput, _ ...options) (*eventbridge.DeleteRuleOutput, error) {
	q := begin(ctx)
	if err := required("name", in.Name); err != nil {
		return nil, err
	}
	on := busName(in.EventBusName)
	return &eventbridge.DeleteRuleOutput{}, s.do(ctx, q, "DeleteRule", q.ruleARN(on, *in.Name), func(ctx context.Context) error {
		return s.bus.DeleteRule(ctx, q.place, on, *in.Name)
	})
}

func (s *Service) DescribeRule(ctx context.Context, in *eventbridge.DescribeRuleInput, _ ...options) (*eventbridge.DescribeRuleOutput, error) {
	q := begin(ctx)
	if err := required("name", in.Name); err != nil {
		return nil, err
	}
	on := busName(in.EventBusName)
	out := &eventbridge.DescribeRuleOutput{}
	return out, s.do(ctx, q, "DescribeRule", q.ruleARN(on, *in.Name), func(ctx context.Context) error {
		r, err := s.bus.Rule(ctx, q.place, on, *in.Name)
		if err != nil {
			return err
		}
		out.Arn, out.Name, out.EventBusName, out.EventPattern, out.ScheduleExpression = aws.String(r.ARN()), &r.Name, &r.Bus, awsproto.Text(r.Pattern), awsproto.Text(r.Schedule)
		out.State, out.Description, out.RoleArn, out.CreatedBy = types.RuleState(r.State), awsproto.Text(r.Description), awsproto.Text(r.Role), aws.String(string(q.place.Account))
		return nil
	})
}

func (s *Service) setState(ctx context.Context, op string, name, on *string, state string) error {
	q := begin(ctx)
	if err := required("name", name); err != nil {
		return err
	}
	b := busName(on)
	return s.do(ctx, q, op, q.ruleARN(b, *name), func(ctx context.Context) error { return s.bus.SetState(ctx, q.place, b, *name, state) })
}

func (s *Service) EnableRule(ctx context.Context, in *eventbridge.EnableRuleInput, _ ...options) (*eventbridge.EnableRuleOutput, error) {
	return &eventbridge.EnableRuleOutput{}, s.setState(ctx, "EnableRule", in.Name, in.EventBusName, bus.Enabled)
}

func (s *Service) DisableRule(ctx context.Context, in *eventbridge.DisableRuleInput, _ ...options) (*eventbridge.DisableRuleOutput, error) {
	return &eventbridge.DisableRuleOutput{}, s.setState(ctx, "DisableRule", in.Name, in.EventBusName, bus.Disabled)
}

func (s *Service) ListRules(ctx context.Context, in *eventbridge.ListRulesInput, _ ...options) (*eventbridge.ListRulesOutput, error) {
	q, on := begin(ctx), busName(in.EventBusName)
	query := "rules " + string(q.place.Account) + " " + string(q.place.Region) + " " + on + " " + aws.ToString(in.NamePrefix)
	size, after, err := s.page(query, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &eventbridge.ListRulesOutput{Rules: []types.Rule{}}
	return out, s.do(ctx, q, "ListRules", q.any("rule"), func(ctx context.Context) error {
		list, err := s.bus.Rules(ctx, q.place, on, aws.ToString(in.NamePrefix), after, size+1)
		if err != nil {
			return err
		}
		list, out.NextToken = cut(s, list, size, query, func(r *bus.Rule) string { return r.Name })
		for _, r := range list {
			out.Rules = append(out.Rules, types.Rule{Arn: aws.String(r.ARN()), Name: &r.Name, EventBusName: &r.Bus, EventPattern: awsproto.Text(r.Pattern),
				ScheduleExpression: awsproto.Text(r.Schedule), State: types.RuleState(r.State), Description: awsproto.Text(r.Description), RoleArn: awsproto.Text(r.Role)})
		}
		return nil
	})
}

func (s *Service) ListRuleNamesByTarget(ctx context.Context, in *eventbridge.ListRuleNamesByTargetInput, _ ...options) (*eventbridge.ListRuleNamesByTargetOutput, error) {
	q, on := begin(ctx), busName(in.EventBusName)
	if err := required("targetArn", in.TargetArn); err != nil {
		return nil, err
	}
	query := "rules of " + string(q.place.Account) + " " + string(q.place.Region) + " " + on + " " + *in.TargetArn
	size, after, err := s.page(query, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &eventbridge.ListRuleNamesByTargetOutput{RuleNames: []string{}}
	return out, s.do(ctx, q, "ListRuleNamesByTarget", q.any("rule"), func(ctx context.Context) error {
		list, err := s.bus.RulesOf(ctx, q.place, on, *in.TargetArn, after, size+1)
		if err != nil {
			return err
		}
		list, out.NextToken = cut(s, list, size, query, func(name string) string { return name })
		out.RuleNames = append(out.RuleNames, list...)
		return nil
	})
}

// PutTargets refuses targets one by one, as AWS does: the answer lists those.
func (s *Service) PutTargets(ctx context.Context, in *eventbridge.PutTargetsInput, _ ...options) (*eventbridge.PutTargetsOutput, error) {
	q, on := begin(ctx), busName(in.EventBusName)
	if err := required("rule", in.Rule); err != nil {
		return nil, err
	}
	if len(in.Targets) == 0 || len(in.Targets) > 100 {
		return nil, invalid("1 to 100 targets must be given.")
	}
	var list []*bus.Target
	ids := map[string]bool{}
	for i := range in.Targets {
		t, err := toTarget(&in.Targets[i])
		if err != nil {
			return nil, err
		}
		if ids[t.ID] {
			return nil, invalid("The target id %.80s is given twice.", t.ID)
		}
		ids[t.ID] = true
		list = append(list, t)
		q.keys["events:targetarn"] = append(q.keys["events:targetarn"], t.ARN)
	}
	out := &eventbridge.PutTargetsOutput{FailedEntries: []types.PutTargetsResultEntry{}}
	return out, s.do(ctx, q, "PutTargets", q.ruleARN(on, *in.Rule), func(ctx context.Context) error {
		return s.bus.PutTargets(ctx, q.place, on, *in.Rule, list)
	})
}

// others are the parameters of targets that Berth has no receiver for.
func others(t *types.Target) string {
	for name, set := range map[string]bool{"AppSyncParameters": t.AppSyncParameters != nil, "BatchParameters": t.BatchParameters != nil,
		"EcsParameters": t.EcsParameters != nil, "KinesisParameters": t.KinesisParameters != nil, "RedshiftDataParameters": t.RedshiftDataParameters != nil,
		"RunCommandParameters": t.RunCommandParameters != nil, "SageMakerPipelineParameters": t.SageMakerPipelineParameters != nil, "SqsParameters": t.SqsParameters != nil} {
		if set {
			return name
		}
	}
	return ""
}

func toTarget(in *types.Target) (*bus.Target, error) {
	if err := required("targets.member.id", in.Id); err != nil {
		return nil, err
	}
	if err := required("targets.member.arn", in.Arn); err != nil {
		return nil, err
	}
	if name := others(in); name != "" {
		return nil, invalid("Target %s has %s, for which this server has no receiver.", *in.Id, name)
	}
	t := &bus.Target{ID: *in.Id, ARN: *in.Arn, Role: aws.ToString(in.RoleArn), Input: aws.ToString(in.Input), InputPath: aws.ToString(in.InputPath), Retries: -1, Age: -1}
	if x := in.InputTransformer; x != nil {
		t.Transform = &input.Transform{Paths: x.InputPathsMap, Template: aws.ToString(x.InputTemplate)}
	}
	if in.DeadLetterConfig != nil {
		t.DeadLetter = aws.ToString(in.DeadLetterConfig.Arn)
	}
	if r := in.RetryPolicy; r != nil {
		if r.MaximumRetryAttempts != nil {
			t.Retries = int(*r.MaximumRetryAttempts)
		}
		if r.MaximumEventAgeInSeconds != nil {
			t.Age = int(*r.MaximumEventAgeInSeconds)
		}
	}
	if h := in.HttpParameters; h != nil {
		t.HTTP = &bus.HTTP{Path: h.PathParameterValues, Headers: h.HeaderParameters, Query: h.QueryStringParameters}
	}
	return t, nil
}

func fromTarget(t *bus.Target) types.Target {
	out := types.Target{Id: &t.ID, Arn: &t.ARN, RoleArn: awsproto.Text(t.Role), Input: awsproto.Text(t.Input), InputPath: awsproto.Text(t.InputPath)}
	if t.Transform != nil {
		out.InputTransformer = &types.InputTransformer{InputPathsMap: t.Transform.Paths, InputTemplate: &t.Transform.Template}
	}
	if t.DeadLetter != "" {
		out.DeadLetterConfig = &types.DeadLetterConfig{Arn: &t.DeadLetter}
	}
	if t.Retries >= 0 || t.Age >= 0 {
		out.RetryPolicy = &types.RetryPolicy{}
		if t.Retries >= 0 {
			out.RetryPolicy.MaximumRetryAttempts = aws.Int32(int32(t.Retries))
		}
		if t.Age >= 0 {
			out.RetryPolicy.MaximumEventAgeInSeconds = aws.Int32(int32(t.Age))
		}
	}
	if h := t.HTTP; h != nil {
		out.HttpParameters = &types.HttpParameters{PathParameterValues: h.Path, HeaderParameters: h.Headers, QueryStringParameters: h.Query}
	}
	return out
}

func (s *Service) RemoveTargets(ctx context.Context, in *eventbridge.RemoveTargetsInput, _ ...options) (*eventbridge.RemoveTargetsOutput, error) {
	q, on := begin(ctx), busName(in.EventBusName)
	if err := required("rule", in.Rule); err != nil {
		return nil, err
	}
	if len(in.Ids) == 0 || len(in.Ids) > 100 {
		return nil, invalid("1 to 100 ids must be given.")
	}
	out := &eventbridge.RemoveTargetsOutput{FailedEntries: []types.RemoveTargetsResultEntry{}}
	return out, s.do(ctx, q, "RemoveTargets", q.ruleARN(on, *in.Rule), func(ctx context.Context) error {
		missing, err := s.bus.RemoveTargets(ctx, q.place, on, *in.Rule, in.Ids)
		for _, id := range missing {
			out.FailedEntries = append(out.FailedEntries, types.RemoveTargetsResultEntry{TargetId: aws.String(id), ErrorCode: aws.String(string(bus.NotFound)),
				ErrorMessage: aws.String("The rule has no target with this id.")})
		}
		out.FailedEntryCount = int32(len(missing))
		return err
	})
}

func (s *Service) ListTargetsByRule(ctx context.Context, in *eventbridge.ListTargetsByRuleInput, _ ...options) (*eventbridge.ListTargetsByRuleOutput, error) {
	q, on := begin(ctx), busName(in.EventBusName)
	if err := required("rule", in.Rule); err != nil {
		return nil, err
	}
	out := &eventbridge.ListTargetsByRuleOutput{Targets: []types.Target{}}
	return out, s.do(ctx, q, "ListTargetsByRule", q.ruleARN(on, *in.Rule), func(ctx context.Context) error {
		list, err := s.bus.Targets(ctx, q.place, on, *in.Rule) // a rule has five: one page
		for _, t := range list {
			out.Targets = append(out.Targets, fromTarget(t))
		}
		return err
	})
}

func (s *Service) PutEvents(ctx context.Context, in *eventbridge.PutEventsInput, _ ...options) (*eventbridge.PutEventsOutput, error) {
	q := begin(ctx)
	if len(in.Entries) == 0 || len(in.Entries) > bus.MaxEntries {
		return nil, invalid("1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length between 1 and %d", bus.MaxEntries)
	}
	out := &eventbridge.PutEventsOutput{Entries: make([]types.PutEventsResultEntry, len(in.Entries))}
	buses := map[string][]*event.Event{}
	var all []*event.Event
	var order []string
	for i := range in.Entries {
		x := &in.Entries[i]
		e := &event.Event{ID: event.NewID(), Place: q.place, Bus: busName(x.EventBusName), Source: aws.ToString(x.Source), DetailType: aws.ToString(x.DetailType),
			Time: aws.ToTime(x.Time).UTC(), Resources: x.Resources, Detail: json.RawMessage(aws.ToString(x.Detail))}
		if x.Time == nil {
			e.Time = s.bus.Now()
		}
		if len(e.Resources) > 0 {
			e.Key = e.Resources[0]
		}
		if code, message := bus.CheckEntry(e); code != "" {
			out.Entries[i] = types.PutEventsResultEntry{ErrorCode: aws.String(code), ErrorMessage: aws.String(message)}
			out.FailedEntryCount++
			continue
		}
		out.Entries[i].EventId = aws.String(e.ID)
		if buses[e.Bus] == nil {
			order = append(order, e.Bus)
		}
		buses[e.Bus], all = append(buses[e.Bus], e), append(all, e)
	}
	if bus.TooLarge(all) {
		return nil, invalid("Total size of the entries in the request is over the limit.")
	}
	for _, name := range order { // each bus is a resource of its own
		if err := s.do(ctx, q, "PutEvents", q.busARN(name), func(ctx context.Context) error { return s.bus.Put(ctx, buses[name]) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) TestEventPattern(ctx context.Context, in *eventbridge.TestEventPatternInput, _ ...options) (*eventbridge.TestEventPatternOutput, error) {
	q := begin(ctx)
	if in.Event == nil || in.EventPattern == nil {
		return nil, invalid("Event and EventPattern must be given.")
	}
	out := &eventbridge.TestEventPatternOutput{}
	return out, s.do(ctx, q, "TestEventPattern", "*", func(context.Context) error {
		var err error
		out.Result, err = bus.TestPattern(*in.EventPattern, *in.Event)
		return err
	})
}
