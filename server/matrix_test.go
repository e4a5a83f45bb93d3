package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/ecrapi"
	"github.com/berth-registry/berth/aws/iamapi"
	"github.com/berth-registry/berth/aws/stsapi"
	"github.com/berth-registry/berth/berthapi"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/oci"
	"github.com/berth-registry/berth/registry"
)

const (
	homeAccount  = arn.Account("000000000000")
	otherAccount = arn.Account("222222222222")
	anyDigest    = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// prober sends requests as one user whose policy it changes.
type prober struct {
	t    *testing.T
	s    *Server
	keys identity.Credentials
	who  arn.Principal
	http *http.Client
	sent int
}

func newProber(t *testing.T) *prober {
	s := run(t, config(t), io.Discard)
	p := &prober{t: t, s: s, http: &http.Client{Timeout: 20 * time.Second}}
	ctx := t.Context()
	if _, _, err := s.identity.CreateAccount(ctx, otherAccount, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.identity.CreateEntity(ctx, identity.NewEntity{Account: homeAccount, Kind: identity.User, Name: "prober"}); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.keys, _, err = s.identity.CreateKey(ctx, homeAccount, "prober"); err != nil {
		t.Fatal(err)
	}
	k, err := s.identity.LookupKey(ctx, p.keys.AccessKeyID, "")
	if err != nil {
		t.Fatal(err)
	}
	p.who = k.Principal
	return p
}

// may gives the user exactly one policy.
func (p *prober) may(statement string) {
	p.t.Helper()
	if err := p.s.identity.PutInline(p.t.Context(), homeAccount, identity.User, "prober", "only", `{"Version":"2012-10-17","Statement":[`+statement+`]}`); err != nil {
		p.t.Fatal(err)
	}
}

// repositories makes those that the requests are about, where they are missing.
func (p *prober) repositories() {
	for _, a := range []arn.Account{homeAccount, otherAccount} {
		_, err := p.s.registry.CreateRepository(p.t.Context(), registry.NewRepository{Place: arn.Place{Account: a, Region: "us-east-1"}, Name: "present"})
		if err != nil && registry.CodeOf(err) != registry.RepositoryAlreadyExists {
			p.t.Fatal(err)
		}
	}
}

func (p *prober) do(r *http.Request) (int, string) {
	p.t.Helper()
	p.sent++
	resp, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode >= 500 {
		p.t.Errorf("%s %s %s: %s %s", r.Method, r.URL, r.Header.Get("X-Amz-Target"), resp.Status, b)
	}
	return resp.StatusCode, string(b)
}

func (p *prober) signed(service, contentType, target string, body []byte) (int, string) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.s.Endpoint()+"/", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	}
	sum := sha256.Sum256(body)
	cred := aws.Credentials{AccessKeyID: p.keys.AccessKeyID, SecretAccessKey: p.keys.Secret.Reveal()}
	if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, hex.EncodeToString(sum[:]), service, "us-east-1", time.Now()); err != nil {
		p.t.Fatal(err)
	}
	return p.do(r)
}

// denied reports whether an answer is an access denial.
func denied(status int, body string) bool {
	return status != http.StatusOK && strings.Contains(body, "is not authorized to perform")
}

// ecrInputs are the members that an operation needs beside registry and
// repository. Each operation of the service has a row.
func ecrInputs(a arn.Account, repo string) map[string]map[string]any {
	type m = map[string]any
	ids := []m{{"imageTag": "none"}}
	resource := arn.Repository(arn.Place{Account: a, Region: "us-east-1"}, repo).String()
	resourcePolicy := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"ecr:ListImages"%s}]}`
	template := m{"prefix": "matrix", "appliedFor": []string{"PULL_THROUGH_CACHE"}}
	return map[string]map[string]any{
		"BatchCheckLayerAvailability": {"layerDigests": []string{anyDigest}}, "BatchDeleteImage": {"imageIds": ids}, "BatchGetImage": {"imageIds": ids},
		"BatchGetRepositoryScanningConfiguration": {"repositoryNames": []string{repo}}, "CompleteLayerUpload": {"uploadId": "x", "layerDigests": []string{anyDigest}},
		"CreateRepository": {}, "CreateRepositoryCreationTemplate": template, "DeleteLifecyclePolicy": {}, "DeleteRegistryPolicy": {}, "DeleteRepository": {},
		"DeleteRepositoryCreationTemplate": template, "DeleteRepositoryPolicy": {}, "DescribeImageScanFindings": {"imageId": ids[0]}, "DescribeImages": {},
		"DescribeRegistry": {}, "DescribeRepositories": {"repositoryNames": []string{repo}}, "DescribeRepositoryCreationTemplates": {},
		"GetAccountSetting": {"name": "BLOB_MOUNTING"}, "GetAuthorizationToken": {}, "GetDownloadUrlForLayer": {"layerDigest": anyDigest}, "GetLifecyclePolicy": {},
		"GetRegistryPolicy": {}, "GetRegistryScanningConfiguration": {}, "GetRepositoryPolicy": {}, "InitiateLayerUpload": {},
		"ListImageReferrers": {"subjectId": m{"imageDigest": anyDigest}}, "ListImages": {}, "ListTagsForResource": {"resourceArn": resource},
		"PutAccountSetting": {"name": "BLOB_MOUNTING", "value": "ENABLED"}, "PutImage": {"imageManifest": "{}"},
		"PutImageScanningConfiguration": {"imageScanningConfiguration": m{"scanOnPush": false}}, "PutImageTagMutability": {"imageTagMutability": "MUTABLE"},
		"PutLifecyclePolicy": {"lifecyclePolicyText": "{}"}, "PutRegistryPolicy": {"policyText": fmt.Sprintf(resourcePolicy, `,"Resource":"*"`)},
		"PutRegistryScanningConfiguration": {"scanType": "BASIC"}, "SetRepositoryPolicy": {"policyText": fmt.Sprintf(resourcePolicy, ""), "force": true},
		"TagResource": {"resourceArn": resource, "tags": []m{{"Key": "k", "Value": "v"}}}, "UntagResource": {"resourceArn": resource, "tagKeys": []string{"k"}},
		"UpdateRepositoryCreationTemplate": template, "UploadLayerPart": {"uploadId": "x", "partFirstByte": 0, "partLastByte": 0, "layerPartBlob": "YQ=="},
	}
}

// registryWide are the operations that are about the caller's own registry,
// whatever repository the request may name.
var registryWide = []string{"CreateRepositoryCreationTemplate", "DeleteRegistryPolicy", "DeleteRepositoryCreationTemplate", "DescribeRegistry",
	"DescribeRepositoryCreationTemplates", "GetAccountSetting", "GetAuthorizationToken", "GetRegistryPolicy", "GetRegistryScanningConfiguration",
	"PutAccountSetting", "PutRegistryPolicy", "PutRegistryScanningConfiguration", "UpdateRepositoryCreationTemplate", "BatchGetRepositoryScanningConfiguration"}

// several need more actions than their own name.
var several = []string{"CreateRepositoryCreationTemplate", "UpdateRepositoryCreationTemplate"}

func (p *prober) ecr(op string, a arn.Account, repo string) (int, string) {
	in := map[string]any{"registryId": string(a), "repositoryName": repo}
	for k, v := range ecrInputs(a, repo)[op] {
		in[k] = v
	}
	body, err := json.Marshal(in)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.signed("ecr", "application/x-amz-json-1.1", ecrapi.Target+"."+op, body)
}

var paths = map[oci.Kind]string{oci.KindPing: "/v2/", oci.KindCatalog: "/v2/_catalog", oci.KindBlob: "/v2/NAME/blobs/" + anyDigest, oci.KindManifest: "/v2/NAME/manifests/none",
	oci.KindUploads: "/v2/NAME/blobs/uploads/", oci.KindUpload: "/v2/NAME/blobs/uploads/0123", oci.KindTags: "/v2/NAME/tags/list", oci.KindReferrers: "/v2/NAME/referrers/" + anyDigest}

func (p *prober) oci(route oci.Route, a arn.Account, repo string) (int, string) {
	token, _ := p.s.identity.IssueToken(p.who, a, "us-east-1")
	r, err := http.NewRequest(route.Method, p.s.Endpoint()+strings.ReplaceAll(paths[route.Kind], "NAME", repo), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("AWS:"+token)))
	status, body := p.do(r)
	if route.Method == http.MethodHead && status == http.StatusForbidden {
		body = "is not authorized to perform" // an answer to HEAD has no text
	}
	return status, body
}

// routeActions is the mapping of ECR's data plane, written down once more.
var routeActions = map[string]string{
	"GET /v2/": "", "GET /v2/_catalog": "DescribeRepositories",
	"HEAD /v2/NAME/blobs/" + anyDigest: "BatchCheckLayerAvailability", "GET /v2/NAME/blobs/" + anyDigest: "GetDownloadUrlForLayer",
	"GET /v2/NAME/manifests/none": "BatchGetImage", "PUT /v2/NAME/manifests/none": "PutImage", "DELETE /v2/NAME/manifests/none": "BatchDeleteImage",
	"POST /v2/NAME/blobs/uploads/": "InitiateLayerUpload", "PATCH /v2/NAME/blobs/uploads/0123": "UploadLayerPart", "GET /v2/NAME/blobs/uploads/0123": "UploadLayerPart",
	"PUT /v2/NAME/blobs/uploads/0123": "CompleteLayerUpload", "DELETE /v2/NAME/blobs/uploads/0123": "UploadLayerPart",
	"GET /v2/NAME/tags/list": "ListImages", "GET /v2/NAME/referrers/" + anyDigest: "BatchGetImage",
}

var unstable = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|present|missing`)

// TestMatrix asks every operation and route of the registry under every policy
// that allows a single action, for repositories of the own account and another's,
// that exist and do not (RELIABILITY S14, S35).
func TestMatrix(t *testing.T) {
	p := newProber(t)
	ops := ecrapi.Operations()
	inputs := ecrInputs(homeAccount, "present")
	var actions []string
	for _, op := range ops {
		if _, ok := inputs[op]; !ok {
			t.Errorf("operation %s has no row in this test", op)
		}
		if op != "ListImageReferrers" {
			actions = append(actions, op)
		}
	}
	actions = append(actions, "Nothing")
	routes := oci.Routes()
	for _, r := range routes {
		if want, ok := routeActions[r.Method+" "+paths[r.Kind]]; !ok || want != r.Action {
			t.Errorf("%s %s asks for %q, want %q", r.Method, paths[r.Kind], r.Action, want)
		}
	}
	for _, action := range actions {
		p.may(`{"Effect":"Allow","Action":"ecr:` + action + `","Resource":"*"}`)
		for _, op := range ops {
			needs := op
			if op == "ListImageReferrers" {
				needs = "BatchGetImage"
			}
			p.repositories()
			own := needs == action && !slices.Contains(several, op)
			for _, repo := range []string{"present", "missing"} {
				p.expect(action, op+" of an own repository that is "+repo, own)(p.ecr(op, homeAccount, repo))
			}
			if slices.Contains(registryWide, op) {
				continue
			}
			p.foreign(action, op, func(repo string) (int, string) { return p.ecr(op, otherAccount, repo) })
		}
		for _, route := range routes {
			if route.Action == "" {
				continue
			}
			p.repositories()
			name := fmt.Sprintf("%s %s", route.Method, paths[route.Kind])
			for _, repo := range []string{"present", "missing"} {
				p.expect(action, name+" of an own repository that is "+repo, route.Action == action)(p.oci(route, homeAccount, repo))
			}
			p.foreign(action, name, func(repo string) (int, string) { return p.oci(route, otherAccount, repo) })
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d actions, %d operations, %d routes, %d requests", len(actions), len(ops), len(routes), p.sent)
}

func (p *prober) expect(action, what string, allowed bool) func(int, string) {
	return func(status int, body string) {
		p.t.Helper()
		if denied(status, body) == allowed {
			p.t.Errorf("with ecr:%s alone, %s: allowed should be %v: %d %s", action, what, allowed, status, body)
		}
	}
}

// foreign asks about another account's repositories: always denied, and the same
// whether they exist.
func (p *prober) foreign(action, what string, ask func(repo string) (int, string)) {
	p.t.Helper()
	presentStatus, present := ask("present")
	missingStatus, missing := ask("missing")
	if !denied(presentStatus, present) {
		p.t.Errorf("with ecr:%s alone, %s of another account: %d %s", action, what, presentStatus, present)
	}
	if presentStatus != missingStatus || unstable.ReplaceAllString(present, "") != unstable.ReplaceAllString(missing, "") {
		p.t.Errorf("%s tells whether another account's repository exists:\n%d %s\n%d %s", what, presentStatus, present, missingStatus, missing)
	}
}

// TestIdentityMatrix does the same for IAM, STS and Berth's own API: all operations
// under each policy that allows one.
func TestIdentityMatrix(t *testing.T) {
	p := newProber(t)
	form := url.Values{"Version": {"2010-05-08"}, "UserName": {"nobody"}, "GroupName": {"nobody"}, "RoleName": {"nobody"}, "PolicyName": {"none"},
		"PolicyArn": {"arn:aws:iam::000000000000:policy/none"}, "PolicyDocument": {"{}"}, "AssumeRolePolicyDocument": {"{}"}, "AccessKeyId": {"AKIANONE"},
		"Status": {"Active"}, "Password": {"short"}, "VersionId": {"v1"}, "PermissionsBoundary": {"arn:aws:iam::000000000000:policy/none"},
		"OpenIDConnectProviderArn": {"arn:aws:iam::000000000000:oidc-provider/none"}, "Url": {"none"}, "ClientID": {"c"}, "AccountAlias": {"none"},
		"OldPassword": {"x"}, "NewPassword": {"y"}, "Tags.member.1.Key": {"k"}, "Tags.member.1.Value": {"v"}, "TagKeys.member.1": {"k"}}
	ask := func(op string) (int, string) {
		form.Set("Action", op)
		return p.signed("iam", "application/x-www-form-urlencoded", "", []byte(form.Encode()))
	}
	for _, action := range append(iamapi.Operations(), "Nothing") {
		p.may(`{"Effect":"Allow","Action":"iam:` + action + `","Resource":"*"}`)
		for _, op := range iamapi.Operations() {
			if status, body := ask(op); denied(status, body) == (op == action) {
				t.Fatalf("with iam:%s alone, %s: %d %s", action, op, status, body)
			}
		}
	}
	for _, action := range append(berthapi.Operations(), "Nothing") {
		p.may(`{"Effect":"Allow","Action":"berth:` + action + `","Resource":"*"}`)
		for _, op := range berthapi.Operations() {
			body := `{"name":"x","id":"999999999999","requestId":"none","repositoryName":"present","reference":"none","source":"none"}`
			needs := "berth:" + op
			switch op {
			case "ListDenials":
				needs = "berth:Explain"
			case "DescribeImageOrigin", "FindImages":
				needs = "ecr:DescribeImages"
			case "DescribeImageContents":
				needs = "ecr:BatchGetImage"
			case "DescribeRepositoryOrigin", "DescribeUsage", "FindRepositories":
				needs = "ecr:DescribeRepositories"
			case "ListEvents", "ListActivity":
				needs = "cloudtrail:LookupEvents"
			}
			if status, reply := p.signed("berth", "application/x-amz-json-1.1", berthapi.Target+"."+op, []byte(body)); denied(status, reply) == (needs == "berth:"+action) {
				t.Errorf("with berth:%s alone, %s: %d %s", action, op, status, reply)
			}
		}
	}
	sts := url.Values{"Version": {"2011-06-15"}, "AccessKeyId": {"AKIANONE"}, "EncodedMessage": {"x"}, "RoleArn": {"arn:aws:iam::000000000000:role/nobody"}, "RoleSessionName": {"xx"},
		"WebIdentityToken": {"a.b.c"}}
	free := []string{"GetCallerIdentity", "GetSessionToken", stsapi.Unsigned} // the last is not decided by who signed
	for _, action := range append(stsapi.Operations(), "Nothing") {
		p.may(`{"Effect":"Allow","Action":"sts:` + action + `","Resource":"*"}`)
		for _, op := range stsapi.Operations() {
			sts.Set("Action", op)
			allowed := slices.Contains(free, op) || op == action && op != "AssumeRole" // no role lets the user in
			if status, body := p.signed("sts", "application/x-www-form-urlencoded", "", []byte(sts.Encode())); denied(status, body) == allowed {
				t.Errorf("with sts:%s alone, %s: %d %s", action, op, status, body)
			}
		}
	}
	t.Logf("%d requests", p.sent)
}
