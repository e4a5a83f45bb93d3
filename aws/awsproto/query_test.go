package awsproto

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// echo is a service of a few operations.
type echo struct{}

func (echo) CreateUser(_ context.Context, in *iam.CreateUserInput, _ ...func(*iam.Options)) (*iam.CreateUserOutput, error) {
	if in.UserName == nil {
		return nil, fmt.Errorf("secret detail")
	}
	return &iam.CreateUserOutput{}, nil
}

func (echo) AssumeRole(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	return &sts.AssumeRoleOutput{}, nil
}

func queryService() *Service { return NewQuery("urn:x", "2010-05-08", AsIs, echo{}) }

func TestQueryRequests(t *testing.T) {
	s := queryService()
	many := strings.Repeat("a=1&", maxPairs+1)
	for name, c := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"good":               {"Action=CreateUser&Version=2010-05-08&UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v&Unknown=1", 200, "<CreateUserResult>"},
		"no version":         {"Action=CreateUser&UserName=a", 200, "<CreateUserResult>"},
		"another version":    {"Action=CreateUser&UserName=a&Version=2011-06-15", 400, "<Code>InvalidAction</Code>"},
		"unknown operation":  {"Action=Frob%3Cx%3E&Version=2010-05-08", 400, "Frob&lt;x&gt;"},
		"no operation":       {"Version=2010-05-08", 400, "<Code>MissingAction</Code>"},
		"twice":              {"Action=CreateUser&UserName=a&UserName=b", 400, "<Code>MissingAction</Code>"},
		"not a form":         {"%zz", 400, "<Code>MissingAction</Code>"},
		"too many":           {many + "Action=CreateUser", 400, "<Code>MissingAction</Code>"},
		"not a number":       {"Action=AssumeRole&DurationSeconds=x", 400, "<Code>MalformedInput</Code>"},
		"a number too large": {"Action=AssumeRole&DurationSeconds=99999999999", 400, "<Code>MalformedInput</Code>"},
		"too deep":           {"Action=CreateUser&UserName=a&" + strings.Repeat("a.", 100) + "b=1", 400, "<Code>MalformedInput</Code>"},
		"odd list numbers":   {"Action=CreateUser&UserName=a&Tags.member.01.Key=k&Tags.member.-1.Key=k&Tags.member.x.Key=k", 200, "<CreateUserResult>"},
		"not modelled":       {"Action=CreateUser", 500, "<Code>InternalFailure</Code>"},
	} {
		w := httptest.NewRecorder()
		w.Header().Set("X-Amzn-Requestid", "id-1")
		s.Serve(w, httptest.NewRequest(http.MethodPost, "/", nil), []byte(c.body))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) || !strings.Contains(w.Body.String(), "<RequestId>id-1</RequestId>") || strings.Contains(w.Body.String(), "secret detail") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("Action=CreateUser&Tags.member.1.Key=k&Tags.member.2.Value=v")
	f.Add("Action=AssumeRole&DurationSeconds=900&PolicyArns.member.1.arn=x")
	s := queryService()
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		s.Serve(w, httptest.NewRequest(http.MethodPost, "/", nil), []byte(body))
		v, _ := url.ParseQuery(body)
		if w.Code >= 500 && !(v.Get("Action") == "CreateUser" && !v.Has("UserName")) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
