package server

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/go-jose/go-jose/v4"
)

func rootConfig(t *testing.T, s *Server) aws.Config {
	t.Helper()
	cred, err := ReadCredentials(s.cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	return aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(s.Endpoint()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(cred.AccessKeyID, cred.Secret.Reveal(), "")}
}

// TestKeysFromURL: an issuer whose keys are served elsewhere, and rotated.
func TestKeysFromURL(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	up := true
	jwks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up {
			http.Error(w, "gone", http.StatusBadGateway)
			return
		}
		_, _ = w.Write(set)
	}))
	defer jwks.Close()
	cfg := config(t)
	cfg.OIDCKeys = []string{"https://gitlab.internal=" + jwks.URL, "https://down.internal=http://127.0.0.1:1/keys"}
	s := run(t, cfg, io.Discard)
	root := rootConfig(t, s)
	api := iam.NewFromConfig(root)
	for _, issuer := range []string{"gitlab.internal", "down.internal", "inside.localhost"} {
		if _, err := api.CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://" + issuer), ClientIDList: []string{"berth"}}); err != nil {
			t.Fatal(err)
		}
	}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":["arn:aws:iam::000000000000:oidc-provider/gitlab.internal"]},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"gitlab.internal:aud":"berth","gitlab.internal:project_path":"team/app"}}}]}`
	if _, err := api.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("push"), AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token := func(issuer, project string) string {
		body, _ := json.Marshal(map[string]any{"iss": "https://" + issuer, "sub": "project_path:" + project, "aud": "berth", "project_path": project, "exp": time.Now().Add(time.Minute).Unix()})
		signed, err := signer.Sign(body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	anonymous := root
	anonymous.Credentials = aws.AnonymousCredentials{}
	for _, c := range []struct{ issuer, project, want string }{
		{"gitlab.internal", "team/app", ""}, {"gitlab.internal", "team/other", "AccessDenied"},
		{"down.internal", "team/app", "IDPCommunicationError"}, {"inside.localhost", "team/app", "IDPCommunicationError"}, {"unknown.internal", "team/app", "InvalidIdentityToken"}} {
		out, err := sts.NewFromConfig(anonymous).AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("arn:aws:iam::000000000000:role/push"),
			RoleSessionName: aws.String("job"), WebIdentityToken: aws.String(token(c.issuer, c.project))})
		if got := errorCode(err); got != c.want {
			t.Errorf("%s %s: %v", c.issuer, c.project, err)
		} else if err == nil && (*out.Audience != "berth" || !strings.HasSuffix(*out.AssumedRoleUser.Arn, "assumed-role/push/job")) {
			t.Errorf("%+v", out)
		}
	}
	up = false // the keys that are known go on working
	if _, err := sts.NewFromConfig(anonymous).AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("arn:aws:iam::000000000000:role/push"),
		RoleSessionName: aws.String("job"), WebIdentityToken: aws.String(token("gitlab.internal", "team/app"))}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"x", "https://a=", "=f", "http://a=f", "https://a=/no/such/file", "https://a=http://"} {
		cfg := config(t)
		cfg.OIDCKeys = []string{bad}
		if _, _, err := cfg.issuers(); err == nil {
			t.Errorf("--oidc-jwks %q is taken", bad)
		}
	}
}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// TestQueryErrors: what fails before a service has a request is worded as the
// service's protocol has it.
func TestQueryErrors(t *testing.T) {
	s := run(t, config(t), io.Discard)
	root := rootConfig(t, s)
	with := func(id, secret, token string) *sts.Client {
		c := root
		c.Credentials = credentials.NewStaticCredentialsProvider(id, secret, token)
		return sts.NewFromConfig(c)
	}
	cred, err := ReadCredentials(s.cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]*sts.Client{"InvalidClientTokenId": with("AKIANOBODY", "x", ""), "SignatureDoesNotMatch": with(cred.AccessKeyID, "wrong", "")} {
		_, err := c.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		var status interface{ HTTPStatusCode() int }
		if errorCode(err) != want || !errors.As(err, &status) || status.HTTPStatusCode() != http.StatusForbidden {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for name, c := range map[string]struct{ body, want string }{
		"unsigned":           {"Action=GetCallerIdentity&Version=2011-06-15", "MissingAuthenticationToken"},
		"no action":          {"Version=2011-06-15", "MissingAuthenticationToken"},
		"action twice":       {"Action=AssumeRoleWithWebIdentity&Action=GetCallerIdentity", "MissingAuthenticationToken"},
		"web identity empty": {"Action=AssumeRoleWithWebIdentity&Version=2011-06-15", "ValidationError"},
		"no token at all":    {"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/x&RoleSessionName=xx&WebIdentityToken=abcd", "InvalidIdentityToken"},
		"odd role":           {"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=x&RoleSessionName=xx&WebIdentityToken=a.b.c", "ValidationError"},
		"not a form":         {"%zz", "MissingAuthenticationToken"},
	} {
		resp, err := http.Post(s.Endpoint()+"/", "application/x-www-form-urlencoded", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(b), "<Code>"+c.want+"</Code>") || resp.StatusCode/100 != 4 {
			t.Errorf("%s: %s %s", name, resp.Status, b)
		}
	}
}

// TestFailedLoginsAreLimited: after ten failures in a minute the answer is to wait,
// and who has good credentials does not notice.
func TestFailedLoginsAreLimited(t *testing.T) {
	s := run(t, config(t), io.Discard)
	root := rootConfig(t, s)
	wrong := root
	wrong.Credentials = credentials.NewStaticCredentialsProvider("AKIANOBODY", "x", "")
	codes := map[string]int{}
	for range 15 {
		_, err := ecr.NewFromConfig(wrong).DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
		codes[errorCode(err)]++
	}
	if codes["UnrecognizedClientException"] != 10 || codes["ThrottlingException"] != 5 {
		t.Errorf("%v", codes)
	}
	if _, err := ecr.NewFromConfig(root).DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{}); err != nil {
		t.Errorf("good credentials from the same address: %v", err)
	}
	statuses := map[int]int{}
	for range 15 {
		r, _ := http.NewRequest(http.MethodGet, s.Endpoint()+"/v2/", nil)
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("AWS:wrong")))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		statuses[resp.StatusCode]++
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if statuses[401] != 10 || statuses[429] != 5 {
		t.Errorf("%v", statuses)
	}
}

// TestIdentitySecretsStaySecret: keys, passwords and tokens are in no log and, but
// sealed or hashed, in no file.
func TestIdentitySecretsStaySecret(t *testing.T) {
	var log lockedLog
	s := run(t, config(t), &log)
	root := rootConfig(t, s)
	api := iam.NewFromConfig(root)
	const password = "Canary-Password-1"
	if _, err := api.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("alice")}); err != nil {
		t.Fatal(err)
	}
	key, err := api.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateLoginProfile(t.Context(), &iam.CreateLoginProfileInput{UserName: aws.String("alice"), Password: aws.String(password)}); err != nil {
		t.Fatal(err)
	}
	session, err := sts.NewFromConfig(root).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	user := root
	user.Credentials = credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	if _, err := ecr.NewFromConfig(user).DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{}); errorCode(err) != "AccessDeniedException" {
		t.Fatal(err)
	}
	canaries := []string{password, *key.AccessKey.SecretAccessKey, *session.Credentials.SecretAccessKey, *session.Credentials.SessionToken}
	texts := map[string]string{"the log": log.String()}
	files, err := filepath.Glob(filepath.Join(s.cfg.Data, "berth.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = string(b)
	}
	if !strings.Contains(texts["the log"], "is not authorized") || !strings.Contains(strings.Join([]string{texts[files[0]], texts[files[len(files)-1]]}, ""), "alice") {
		t.Error("the search would find nothing")
	}
	for where, text := range texts {
		for _, c := range canaries {
			if strings.Contains(text, c) {
				t.Errorf("%s holds %.6s…", where, c)
			}
		}
	}
}

// lockedLog is a buffer that many may write to.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
