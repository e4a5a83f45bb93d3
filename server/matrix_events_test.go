package server

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/berth-registry/berth/aws/controlapi"
	"github.com/berth-registry/berth/aws/eventsapi"
	"github.com/berth-registry/berth/aws/lambdaapi"
	"github.com/berth-registry/berth/aws/logsapi"
	"github.com/berth-registry/berth/aws/trailapi"
)

// TestEventsMatrix asks every operation of the services of events, logs and records under
// each policy that allows one action (RELIABILITY S14).
func TestEventsMatrix(t *testing.T) {
	p := newProber(t)
	rule := "arn:aws:events:us-east-1:000000000000:rule/none"
	group := "arn:aws:logs:us-east-1:000000000000:log-group:/none"
	for _, service := range []struct {
		name, target string
		ops          []string
		body         map[string]any
	}{
		{"events", eventsapi.Target, eventsapi.Operations(), map[string]any{"Name": "none", "Rule": "none", "EventPattern": `{"source":["x"]}`, "ResourceARN": rule,
			"Tags": []any{}, "TagKeys": []string{"k"}, "Ids": []string{"x"}, "TargetArn": rule, "Event": "{}",
			"Targets":     []any{map[string]any{"Id": "x", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:none"}},
			"ArchiveName": "none", "ReplayName": "none", "EventSourceArn": rule, "Destination": map[string]any{"Arn": rule}, "EventStartTime": 1, "EventEndTime": 2,
			"Entries": []any{map[string]any{"Source": "x", "DetailType": "x", "Detail": "{}"}}}},
		{"logs", logsapi.Target, logsapi.Operations(), map[string]any{"logGroupName": "/none", "logStreamName": "none", "resourceArn": group, "tags": map[string]string{"k": "v"},
			"tagKeys": []string{"k"}, "retentionInDays": 1, "logEvents": []any{map[string]any{"timestamp": 1, "message": "x"}}}},
		{"cloudtrail", trailapi.Target, trailapi.Operations(), map[string]any{}},
	} {
		for _, action := range append(service.ops, "Nothing") {
			p.may(`{"Effect":"Allow","Action":"` + service.name + `:` + action + `","Resource":"*"}`)
			for _, op := range service.ops {
				in := map[string]any{}
				for k, v := range service.body {
					in[k] = v
				}
				if strings.Contains(op, "LogGroup") && strings.HasPrefix(op, "Untag") { // one name, two forms
					in["tags"] = []string{"k"}
				}
				body, err := json.Marshal(in)
				if err != nil {
					t.Fatal(err)
				}
				if status, reply := p.signed(service.name, "application/x-amz-json-1.1", service.target+"."+op, body); denied(status, reply) == (op == action) {
					t.Errorf("with %s:%s alone, %s: %d %s", service.name, action, op, status, reply)
				}
			}
		}
	}
	t.Logf("%d requests", p.sent)
}

// TestControlMatrix does it for the Cloud Control API, which needs ECR's actions beside its
// own.
func TestControlMatrix(t *testing.T) {
	p := newProber(t)
	p.repositories()
	body := []byte(`{"TypeName":"AWS::ECR::Repository","Identifier":"present","DesiredState":"{\"RepositoryName\":\"made\"}","PatchDocument":"[]","RequestToken":"none"}`)
	for _, action := range append(controlapi.Operations(), "Nothing") {
		p.may(`{"Effect":"Allow","Action":"cloudformation:` + action + `","Resource":"*"}`)
		for _, op := range controlapi.Operations() {
			_, reply := p.signed(controlapi.SigningName, "application/x-amz-json-1.0", controlapi.Target+"."+op, body)
			if refused := strings.Contains(reply, "is not authorized to perform: cloudformation:"+op); refused == (op == action) {
				t.Errorf("with cloudformation:%s alone, %s: %s", action, op, reply)
			}
			if strings.Contains(op, "Request") || op != action {
				continue
			}
			if !strings.Contains(reply, "is not authorized to perform: ecr:") {
				t.Errorf("%s did something without a right of ECR: %s", op, reply)
			}
		}
	}
}

// TestLambdaMatrix does the same for Lambda, through the SDK's client, for functions of
// the own account and another's.
func TestLambdaMatrix(t *testing.T) {
	p := newProber(t)
	client := lambda.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(p.s.Endpoint()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(p.keys.AccessKeyID, p.keys.Secret.Reveal(), "")})
	ask := func(op, name string) string {
		call := reflect.ValueOf(client).MethodByName(op)
		in := reflect.New(call.Type().In(1).Elem())
		for field, value := range map[string]any{"FunctionName": &name, "Name": aws.String("none"), "StatementId": aws.String("none"), "Action": aws.String("lambda:InvokeFunction"),
			"Principal": aws.String("events.amazonaws.com"), "FunctionVersion": aws.String("1"), "TagKeys": []string{"k"}, "Tags": map[string]string{"k": "v"},
			"Resource": aws.String("arn:aws:lambda:us-east-1:000000000000:function:none"), "ReservedConcurrentExecutions": aws.Int32(1), "ZipFile": []byte("x"),
			"Role": aws.String("arn:aws:iam::000000000000:role/none"), "Code": &types.FunctionCode{ZipFile: []byte("x")}, "Handler": aws.String("x.y"), "Runtime": types.RuntimePython312} {
			if f := in.Elem().FieldByName(field); f.IsValid() && f.Type() == reflect.TypeOf(value) {
				f.Set(reflect.ValueOf(value))
			}
		}
		if name != "none" && in.Elem().FieldByName("Resource").IsValid() {
			in.Elem().FieldByName("Resource").Set(reflect.ValueOf(&name))
		}
		err, _ := call.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})[1].Interface().(error)
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for _, action := range append(lambdaapi.Operations(), "InvokeFunction", "Nothing") {
		p.may(`{"Effect":"Allow","Action":"lambda:` + action + `","Resource":"*"}`)
		for _, op := range lambdaapi.Operations() {
			needs := op
			if op == "Invoke" {
				needs = "InvokeFunction"
			}
			text := ask(op, "none")
			passes := needs == action && op != "CreateFunction" && op != "UpdateFunctionConfiguration" // they need iam:PassRole, too
			if denied(0, text) == passes {
				t.Errorf("with lambda:%s alone, %s: %s", action, op, text)
			}
			if op == "ListFunctions" || op == "GetAccountSettings" {
				continue // about the own account
			}
			if text := ask(op, "arn:aws:lambda:us-east-1:"+string(otherAccount)+":function:none"); !denied(0, text) {
				t.Errorf("with lambda:%s alone, %s of another account: %s", action, op, text)
			}
		}
	}
}
