package console

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/base64"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// ruleLine is a rule with its targets.
type ruleLine struct {
	Region string
	eventtypes.Rule
	Targets []eventtypes.Target
}

type rulesBody struct {
	List      []ruleLine
	Rule      *ruleLine
	Part      *part
	Region    string
	Regions   []string
	Functions []types.FunctionConfiguration
	Sample    string
	Pattern   string
}

const missingPattern = `{
  "source": ["aws.ecr"],
  "detail-type": ["AWS API Call via CloudTrail"],
  "detail": {
    "eventName": ["InitiateLayerUpload"],
    "errorCode": ["RepositoryNotFoundException"]
  }
}`

// rules lists the rules of the default bus in all regions.
func (c *Console) rules(q *request) (*page, error) {
	b := &rulesBody{Regions: c.regions(q), Region: string(q.caller.Region), Sample: missingPattern}
	for _, region := range b.Regions {
		list, err := c.rulesOf(q, region)
		if err != nil {
			b.Part = c.part(q, err)
			break
		}
		b.List = append(b.List, list...)
	}
	b.Functions = c.functionsOf(q, b.Region)
	return &page{Title: "Rules", Section: "rules", view: "rules", Live: liveChanges, Body: b}, nil
}

func (c *Console) rulesOf(q *request, region string) ([]ruleLine, error) {
	var out []ruleLine
	for token := (*string)(nil); ; {
		got, err := ask[eventbridge.ListRulesOutput](q.at(region), c.api, &eventbridge.ListRulesInput{NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, r := range got.Rules {
			line := ruleLine{Region: region, Rule: r}
			targets, err := ask[eventbridge.ListTargetsByRuleOutput](q.at(region), c.api, &eventbridge.ListTargetsByRuleInput{Rule: r.Name})
			if err == nil {
				line.Targets = targets.Targets
			}
			out = append(out, line)
		}
		if token = got.NextToken; token == nil {
			return out, nil
		}
	}
}

// functionsOf are the functions of a region; who may not list them sees none.
func (c *Console) functionsOf(q *request, region string) []types.FunctionConfiguration {
	out, err := ask[lambda.ListFunctionsOutput](q.optional().at(region), c.api, &lambda.ListFunctionsInput{})
	if err != nil {
		return nil
	}
	return out.Functions
}

// rule shows one rule.
func (c *Console) rule(q *request) (*page, error) {
	name := q.PathValue("name")
	r, err := ask[eventbridge.DescribeRuleOutput](q.ctx, c.api, &eventbridge.DescribeRuleInput{Name: aws.String(name)})
	if err != nil {
		return nil, err
	}
	b := &rulesBody{Region: q.PathValue("region"), Functions: c.functionsOf(q, q.PathValue("region"))}
	b.Rule = &ruleLine{Region: b.Region, Rule: eventtypes.Rule{Name: r.Name, Arn: r.Arn, State: r.State, EventPattern: r.EventPattern, ScheduleExpression: r.ScheduleExpression, Description: r.Description}}
	targets, err := ask[eventbridge.ListTargetsByRuleOutput](q.ctx, c.api, &eventbridge.ListTargetsByRuleInput{Rule: aws.String(name)})
	if b.Part = c.part(q, err); err == nil {
		b.Rule.Targets = targets.Targets
	}
	b.Pattern = indented(aws.ToString(r.EventPattern))
	return &page{Title: name, Section: "rules", view: "rule", Live: liveChanges, Body: b}, nil
}

var ruleForms = forms{
	"create":  {text: "The rule {name} was made. It needs a target now.", to: "/rules/{region}/{name}", cli: "aws events put-rule --name {name} --event-pattern {pattern} --region {region}", in: call(putRule)},
	"pattern": {text: "The rule was changed.", to: "/rules/{region}/{name}", cli: "aws events put-rule --name {name} --event-pattern {pattern} --region {region}", in: call(putRule)},
	"target": {text: "The rule has the target now.", to: "/rules/{region}/{name}", cli: "aws events put-targets --rule {name} --targets Id={id},Arn={target} --region {region}",
		in: call(func(q *request) any {
			return &eventbridge.PutTargetsInput{Rule: field(q, "name"), Targets: []eventtypes.Target{{Id: field(q, "id"), Arn: field(q, "target")}}}
		}), result: targetPut},
	"remove-target": {text: "The target was removed.", to: "/rules/{region}/{name}", cli: "aws events remove-targets --rule {name} --ids {id} --region {region}",
		in: call(func(q *request) any {
			return &eventbridge.RemoveTargetsInput{Rule: field(q, "name"), Ids: []string{q.in("id")}}
		})},
	"enable":  {text: "The rule is on.", to: "/rules/{region}/{name}", cli: "aws events enable-rule --name {name} --region {region}", in: call(func(q *request) any { return &eventbridge.EnableRuleInput{Name: field(q, "name")} })},
	"disable": {text: "The rule is off.", to: "/rules/{region}/{name}", cli: "aws events disable-rule --name {name} --region {region}", in: call(func(q *request) any { return &eventbridge.DisableRuleInput{Name: field(q, "name")} })},
	"delete":  {lost: loses("the rule {name}", "Events that fit it go nowhere by it. It must have no targets left."), text: "The rule {name} was deleted.", to: "/rules", cli: "aws events delete-rule --name {name} --region {region}", in: call(func(q *request) any { return &eventbridge.DeleteRuleInput{Name: field(q, "name")} })},
}

func putRule(q *request) any {
	return &eventbridge.PutRuleInput{Name: field(q, "name"), EventPattern: field(q, "pattern"), State: eventtypes.RuleStateEnabled}
}

// targetPut lets the rule invoke its target, as the console of AWS does: a function's
// policy has to say so.
func targetPut(c *Console, q *request, out any) (*page, error) {
	for _, f := range out.(*eventbridge.PutTargetsOutput).FailedEntries {
		return nil, wrong("%s: %s", aws.ToString(f.ErrorCode), aws.ToString(f.ErrorMessage))
	}
	target := q.in("target")
	if !strings.Contains(target, ":function:") {
		return nil, nil
	}
	rule, err := ask[eventbridge.DescribeRuleOutput](q.ctx, c.api, &eventbridge.DescribeRuleInput{Name: field(q, "name")})
	if err != nil {
		return nil, err
	}
	_, err = ask[lambda.AddPermissionOutput](q.ctx, c.api, &lambda.AddPermissionInput{FunctionName: aws.String(target), StatementId: aws.String("rule-" + q.in("name")), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("events.amazonaws.com"), SourceArn: rule.Arn})
	return nil, absent(err, "ResourceConflictException") // it may already
}

func (c *Console) makeRule(q *request) (*page, error) {
	return c.submit(q, ruleForms, (*Console).rules)
}
func (c *Console) changeRule(q *request) (*page, error) {
	return c.submit(q, ruleForms, (*Console).rule)
}

type functionLine struct {
	Region string
	types.FunctionConfiguration
}

type functionsBody struct {
	List    []functionLine
	Part    *part
	Region  string
	Regions []string
	Roles   []string
	Code    string
	// F is the one that is shown, with what a call of it answered.
	F       *types.FunctionConfiguration
	Payload string
	Answer  *invocation
	Lines   []logLine
	LogPart *part
}

// invocation is what a call of a function answered.
type invocation struct {
	Payload, Log, Error string
}

const sampleFunction = `import json
import boto3

ecr = boto3.client("ecr")


def lambda_handler(event, context):
    name = event["detail"]["requestParameters"]["repositoryName"]
    ecr.create_repository(repositoryName=name)
    print("created", name, "repository")
`

// functionList lists the functions of all regions.
func (c *Console) functionList(q *request) (*page, error) {
	b := &functionsBody{Regions: c.regions(q), Region: string(q.caller.Region), Code: sampleFunction}
	for _, region := range b.Regions {
		out, err := ask[lambda.ListFunctionsOutput](q.at(region), c.api, &lambda.ListFunctionsInput{})
		if err != nil {
			b.Part = c.part(q, err)
			break
		}
		for _, f := range out.Functions {
			b.List = append(b.List, functionLine{region, f})
		}
	}
	if roles, err := ask[iam.ListRolesOutput](q.optional().ctx, c.api, &iam.ListRolesInput{MaxItems: aws.Int32(1000)}); err == nil {
		for _, r := range roles.Roles {
			b.Roles = append(b.Roles, aws.ToString(r.Arn))
		}
	}
	return &page{Title: "Functions", Section: "functions", view: "functions", Live: liveChanges, Body: b}, nil
}

// function shows one, with its log as it grows.
func (c *Console) function(q *request) (*page, error) {
	b := &functionsBody{Region: q.PathValue("region"), Payload: "{}"}
	out, err := ask[lambda.GetFunctionConfigurationOutput](q.ctx, c.api, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(q.PathValue("name"))})
	if err != nil {
		return nil, err
	}
	b.F = &types.FunctionConfiguration{FunctionName: out.FunctionName, FunctionArn: out.FunctionArn, Runtime: out.Runtime, Handler: out.Handler, Role: out.Role, Timeout: out.Timeout, MemorySize: out.MemorySize,
		LastModified: out.LastModified, Description: out.Description, State: out.State, CodeSize: out.CodeSize, LoggingConfig: out.LoggingConfig}
	group := logGroupOf(b.F)
	live := "logs/" + b.Region + "/" + group
	mark := c.mark(q, live)
	b.Lines, err = c.logLines(q, group, "")
	b.LogPart = c.part(q, absent(err, "ResourceNotFoundException"))
	return &page{Title: aws.ToString(out.FunctionName), Section: "functions", view: "function", Live: live, Mark: mark, Body: b}, nil
}

func logGroupOf(f *types.FunctionConfiguration) string {
	if f.LoggingConfig != nil && f.LoggingConfig.LogGroup != nil {
		return *f.LoggingConfig.LogGroup
	}
	return "/aws/lambda/" + aws.ToString(f.FunctionName)
}

var functionForms = forms{
	"create": {text: "The function {name} was made.", to: "/functions/{region}/{name}",
		cli: "aws lambda create-function --function-name {name} --runtime {runtime} --role {role} --handler {handler} --zip-file fileb://function.zip --region {region}",
		in: func(q *request) (any, error) {
			code, err := zipped(q.in("runtime"), q.in("handler"), q.PostFormValue("code"))
			return &lambda.CreateFunctionInput{FunctionName: field(q, "name"), Runtime: types.Runtime(q.in("runtime")), Role: field(q, "role"), Handler: field(q, "handler"), Timeout: aws.Int32(30), Code: &types.FunctionCode{ZipFile: code}}, err
		}},
	"code": {text: "The function runs this code now.", to: "/functions/{region}/{name}", cli: "aws lambda update-function-code --function-name {name} --zip-file fileb://function.zip --region {region}",
		in: func(q *request) (any, error) {
			code, err := zipped(q.in("runtime"), q.in("handler"), q.PostFormValue("code"))
			return &lambda.UpdateFunctionCodeInput{FunctionName: named(q), ZipFile: code}, err
		}},
	"invoke": {cli: "aws lambda invoke --function-name {name} --payload {payload} --region {region} answer.json", result: invoked,
		in: call(func(q *request) any {
			return &lambda.InvokeInput{FunctionName: named(q), Payload: []byte(q.in("payload")), LogType: types.LogTypeTail}
		})},
	"delete": {lost: functionLost, text: "The function {name} was deleted.", to: "/functions", cli: "aws lambda delete-function --function-name {name} --region {region}",
		in: call(func(q *request) any { return &lambda.DeleteFunctionInput{FunctionName: named(q)} })},
}

// functionLost names the rules that invoke a function.
func functionLost(c *Console, q *request) (*loss, error) {
	name := q.PathValue("name")
	l := &loss{What: "the function " + name}
	rules, err := c.rulesOf(q.optional(), q.PathValue("region"))
	if err != nil {
		return l, nil //nolint:nilerr // who may not see the rules may still delete
	}
	for _, r := range rules {
		for _, t := range r.Targets {
			if strings.HasSuffix(aws.ToString(t.Arn), ":function:"+name) {
				l.With = append(l.With, "The rule "+aws.ToString(r.Name)+" invokes it, and would fail.")
			}
		}
	}
	return l, nil
}

// zipped makes a function's package of one file, named by its handler.
func zipped(runtime, handler, code string) ([]byte, error) {
	file, _, ok := strings.Cut(handler, ".")
	if !ok || strings.Contains(file, "/") {
		return nil, wrong("The handler %q is not of the form file.function.", handler)
	}
	if strings.HasPrefix(runtime, "nodejs") {
		file += ".mjs"
	} else {
		file += ".py"
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: file, Method: zip.Deflate}
	h.SetMode(0o644)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(strings.ReplaceAll(code, "\r\n", "\n"))); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

// invoked shows a function's page with what the call answered.
func invoked(c *Console, q *request, out any) (*page, error) {
	o := out.(*lambda.InvokeOutput)
	p, err := c.function(q)
	if err != nil || p == nil {
		return p, err
	}
	b := p.Body.(*functionsBody)
	text, err := base64.StdEncoding.DecodeString(aws.ToString(o.LogResult))
	if err != nil {
		text = nil
	}
	b.Payload, b.Answer = q.in("payload"), &invocation{Payload: indented(string(o.Payload)), Log: string(text), Error: aws.ToString(o.FunctionError)}
	return p, nil
}

func (c *Console) makeFunction(q *request) (*page, error) {
	return c.submit(q, functionForms, (*Console).functionList)
}

func (c *Console) changeFunction(q *request) (*page, error) {
	return c.submit(q, functionForms, (*Console).function)
}

// logLine is a line of a log.
type logLine struct {
	At      int64 // milliseconds
	Stream  string
	Message string
}

// Time is when it was written.
func (l logLine) Time() unixTime { return unixTime(float64(l.At) / 1000) }

type groupLine struct {
	Region string
	logtypes.LogGroup
}

type logsBody struct {
	Groups []groupLine
	Region string
	Group  string
	Filter string
	Lines  []logLine
	Part   *part
}

// shownLines is how many of the last lines of a log are shown, and searchedBack how far is
// looked for them, in milliseconds.
const (
	shownLines   = 300
	searchedBack = 24 * 3600 * 1000
)

// logLines are the last lines of a group that fit a filter.
func (c *Console) logLines(q *request, group, filter string) ([]logLine, error) {
	in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String(group), Limit: aws.Int32(5000), StartTime: aws.Int64(c.now().UnixMilli() - searchedBack)}
	if filter != "" {
		in.FilterPattern = aws.String(filter)
	}
	var lines []logLine
	for pages := 0; pages < 10; pages++ {
		out, err := ask[cloudwatchlogs.FilterLogEventsOutput](q.ctx, c.api, in)
		if err != nil {
			return nil, err
		}
		for _, e := range out.Events {
			lines = append(lines, logLine{aws.ToInt64(e.Timestamp), aws.ToString(e.LogStreamName), strings.TrimRight(aws.ToString(e.Message), "\n")})
		}
		if n := len(lines); n > shownLines {
			lines = append([]logLine(nil), lines[n-shownLines:]...)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	return lines, nil
}

// logs lists the log groups, and shows the end of one as it grows.
func (c *Console) logs(q *request) (*page, error) {
	b := &logsBody{Region: cmp.Or(q.in("region"), string(q.caller.Region)), Group: q.in("group"), Filter: q.in("filter")}
	if b.Group != "" {
		r := *q
		r.ctx = q.at(b.Region)
		live := "logs/" + b.Region + "/" + b.Group
		mark := c.mark(q, live)
		var err error
		b.Lines, err = c.logLines(&r, b.Group, b.Filter)
		b.Part = c.part(q, err)
		return &page{Title: b.Group, Section: "logs", view: "log", Live: live, Mark: mark, Body: b}, nil
	}
	for _, region := range c.regions(q) {
		out, err := ask[cloudwatchlogs.DescribeLogGroupsOutput](q.at(region), c.api, &cloudwatchlogs.DescribeLogGroupsInput{})
		if err != nil {
			b.Part = c.part(q, err)
			break
		}
		for _, g := range out.LogGroups {
			b.Groups = append(b.Groups, groupLine{region, g})
		}
	}
	return &page{Title: "Logs", Section: "logs", view: "logs", Live: liveChanges, Body: b}, nil
}
