package server

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/oci"
	"github.com/berth-registry/berth/registry"
)

// TestConditionKeys: each key that a policy can ask for reaches it, over the API
// and over the registry protocol.
func TestConditionKeys(t *testing.T) {
	p := newProber(t)
	ctx := t.Context()
	place := arn.Place{Account: homeAccount, Region: "us-east-1"}
	if _, err := p.s.registry.CreateRepository(ctx, registry.NewRepository{Place: place, Name: "tagged", Resource: map[string]string{"Team": "core"}}); err != nil {
		t.Fatal(err)
	}
	p.repositories()
	if err := p.s.identity.TagEntity(ctx, homeAccount, "user", "prober", map[string]string{"team": "core"}); err != nil {
		t.Fatal(err)
	}
	tags := oci.Route{Kind: oci.KindTags, Method: "GET", Action: "ListImages"}
	soon, past := time.Now().Add(time.Hour).UTC().Format(time.RFC3339), time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		condition       string
		tagged, present bool // whether listing that repository's images is allowed
	}{
		{`"StringEquals":{"ecr:ResourceTag/team":"core"}`, true, false},
		{`"StringEquals":{"aws:ResourceTag/Team":"core"}`, true, false},
		{`"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}`, true, false},
		{`"Null":{"aws:ResourceTag/team":"true"}`, false, true},
		{`"StringEquals":{"aws:PrincipalTag/Team":"core"}`, true, true},
		{`"StringEquals":{"aws:PrincipalTag/team":"web"}`, false, false},
		{`"StringEquals":{"aws:username":"prober"}`, true, true},
		{`"StringLike":{"aws:userid":"AIDA*"}`, true, true},
		{`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::000000000000:user/p*"}`, true, true},
		{`"StringEquals":{"aws:PrincipalAccount":"000000000000","aws:PrincipalType":"User"}`, true, true},
		{`"StringEquals":{"aws:ResourceAccount":"000000000000"}`, true, true},
		{`"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}`, true, true},
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, false, false},
		{`"Bool":{"aws:SecureTransport":"false"}`, true, true},
		{`"Bool":{"aws:SecureTransport":"true"}`, false, false},
		{`"StringEquals":{"aws:RequestedRegion":"us-east-1"}`, true, true},
		{`"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`, false, false},
		{`"StringLike":{"aws:UserAgent":"Go-http-client*"}`, true, true},
		{`"DateLessThan":{"aws:CurrentTime":"` + soon + `"}`, true, true},
		{`"DateLessThan":{"aws:CurrentTime":"` + past + `"}`, false, false},
		{`"NumericGreaterThan":{"aws:EpochTime":"1000000000"}`, true, true},
		{`"Bool":{"aws:ViaAWSService":"false"}`, true, true},
		{`"Null":{"aws:TokenIssueTime":"true","aws:MultiFactorAuthPresent":"true","aws:FederatedProvider":"true","aws:PrincipalOrgID":"true"}`, true, true},
	} {
		p.may(`{"Effect":"Allow","Action":"ecr:ListImages","Resource":"*","Condition":{` + c.condition + `}}`)
		for repo, want := range map[string]bool{"tagged": c.tagged, "present": c.present} {
			if status, body := p.ecr("ListImages", homeAccount, repo); denied(status, body) == want {
				t.Errorf("%s, API on %s: %d %s", c.condition, repo, status, body)
			}
			if status, body := p.oci(tags, homeAccount, repo); denied(status, body) == want {
				t.Errorf("%s, registry on %s: %d %s", c.condition, repo, status, body)
			}
		}
	}

	send := func(op, body string) bool {
		status, reply := p.signed("ecr", "application/x-amz-json-1.1", "AmazonEC2ContainerRegistry_V20150921."+op, []byte(body))
		return !denied(status, reply)
	}
	resource := arn.Repository(place, "tagged").String()
	for i, c := range []struct {
		op, condition, body string
		want                bool
	}{
		{"CreateRepository", `"StringEquals":{"aws:RequestTag/team":"core"}`, `{"repositoryName":"new%d","tags":[{"Key":"team","Value":"core"}]}`, true},
		{"CreateRepository", `"StringEquals":{"aws:RequestTag/team":"core"}`, `{"repositoryName":"new%d","tags":[{"Key":"team","Value":"web"}]}`, false},
		{"CreateRepository", `"StringEquals":{"aws:RequestTag/team":"core"}`, `{"repositoryName":"new%d"}`, false},
		{"CreateRepository", `"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`, `{"repositoryName":"new%d","tags":[{"Key":"other","Value":"x"}]}`, false},
		{"TagResource", `"ForAnyValue:StringEquals":{"aws:TagKeys":["team"]}`, `{"resourceArn":"` + resource + `","tags":[{"Key":"team","Value":"core"}]}`, true},
		{"UntagResource", `"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`, `{"resourceArn":"` + resource + `","tagKeys":["cost"]}`, false},
		{"PutAccountSetting", `"StringEquals":{"ecr:AccountSetting":"BLOB_MOUNTING"}`, `{"name":"BLOB_MOUNTING","value":"ENABLED"}`, true},
		{"PutAccountSetting", `"StringEquals":{"ecr:AccountSetting":"BLOB_MOUNTING"}`, `{"name":"REGISTRY_POLICY_SCOPE","value":"V2"}`, false},
	} {
		p.may(`{"Effect":"Allow","Action":"ecr:` + c.op + `","Resource":"*","Condition":{` + c.condition + `}}`)
		if got := send(c.op, strings.ReplaceAll(c.body, "%d", strconv.Itoa(i))); got != c.want {
			t.Errorf("%s with %s, %s: allowed %v", c.op, c.condition, c.body, got)
		}
	}
}
