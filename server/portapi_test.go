package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/portapi"
)

// portClient is a client of the catalog's API.
type portClient struct {
	t     *testing.T
	base  string
	token string
	agent string
}

func (c *portClient) do(method, path, body string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequest(method, c.base+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "bearer "+c.token)
	}
	r.Header.Set("User-Agent", c.agent)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var doc struct{ OK *bool }
	if err := json.Unmarshal(b, &doc); err != nil || doc.OK == nil || *doc.OK != (resp.StatusCode < 300) || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		c.t.Errorf("%s %s: %d %s: %s is no answer of the API", method, path, resp.StatusCode, resp.Header.Get("Content-Type"), b)
	}
	return resp.StatusCode, string(b)
}

// login makes a client of an access key.
func login(t *testing.T, s *Server, key identity.Credentials) *portClient {
	t.Helper()
	c := &portClient{t: t, base: s.Endpoint(), agent: "test/1"}
	status, body := c.do("POST", "auth/access_token", fmt.Sprintf(`{"clientId":%q,"clientSecret":%q}`, key.AccessKeyID, key.Secret.Reveal()))
	var out struct {
		AccessToken, TokenType string
		ExpiresIn              int
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || status != 200 || out.TokenType != "Bearer" || out.ExpiresIn != 10800 {
		t.Fatalf("%d %s", status, body)
	}
	c.token = out.AccessToken
	return c
}

// TestPortAPI is what clients of Port's API rely on, request by request.
func TestPortAPI(t *testing.T) {
	s := run(t, config(t), io.Discard)
	root, err := ReadCredentials(s.cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	c := login(t, s, *root)
	const blueprint = `{"identifier":"app","title":"App","schema":{"properties":{"n":{"type":"number"},"u":{"type":"string","format":"url"},"s":{"type":"string","x":1}},"required":[]},
		"relations":{"up":{"target":"app","title":"Up"}}}`
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string // of the answer; "!x" must not be there
	}{
		{"GET", "organization", "", 200, `"featureFlags":[]`},
		{"GET", "nothing/here", "", 404, `"error":"not_found"`},
		{"DELETE", "blueprints", "", 405, `"error":"method_not_allowed"`},
		{"GET", "blueprints", "", 200, `"identifier":"ecr_repository"`},
		{"POST", "blueprints?create_catalog_page=true", blueprint, 201, `"relations":{"up":{"many":false,"required":false,"target":"app","title":"Up"}}`},
		{"POST", "blueprints", blueprint, 409, `"error":"identifier_taken"`},
		{"POST", "blueprints", `[]`, 422, `must be a JSON object`},
		{"POST", "blueprints", `{"identifier":"x"`, 422, `invalid_request`},
		{"GET", "blueprints/app?exclude_calculated_properties=0xc000", "", 200, `"x":1`},
		{"GET", "blueprints/none", "", 404, `There is no blueprint`},
		{"POST", "blueprints/app/entities", `{"identifier":"a/b@c:d","properties":{"n":1}}`, 201, `"identifier":"a/b@c:d"`},
		{"POST", "blueprints/app/entities", `{"identifier":"a/b@c:d","properties":{"n":2}}`, 409, `identifier_taken`},
		{"POST", "blueprints/app/entities/?upsert=true&merge=true&run_id=", `{"identifier":"a/b@c:d","properties":{"s":"x"},"blueprint":"other"}`, 201, `"n":1`},
		{"POST", "blueprints/app/entities?upsert=true", `{"identifier":"a/b@c:d","properties":{"s":"y"}}`, 201, `"n":null`},
		{"POST", "blueprints/app/entities?upsert=true", `{"identifier":"q","properties":{"zz":1}}`, 422, `properties.zz`},
		{"POST", "blueprints/app/entities?upsert=true", `{"identifier":"q","properties":{"u":"no"}}`, 422, `properties.u`},
		{"POST", "blueprints/app/entities?upsert=true", `{"identifier":"q","relations":{"up":"none"}}`, 404, `"error":"not_found"`},
		{"POST", "blueprints/app/entities?upsert=true&create_missing_related_entities=true", `{"identifier":"q","relations":{"up":"made"}}`, 201, `"up":"made"`},
		{"POST", "blueprints/app/entities?validation_only=true", `{"identifier":"v"}`, 201, `"ok":true`},
		{"GET", "blueprints/app/entities/v", "", 404, `not_found`},
		{"GET", "blueprints/app/entities/a%2Fb@c:d", "", 200, `"s":"y"`},
		{"GET", "blueprints/app/entities/a/b@c:d?include=identifier,properties.s", "", 200, `{"entity":{"identifier":"a/b@c:d","properties":{"s":"y"}},"ok":true}`},
		{"GET", "blueprints/app/entities/q?exclude=properties&exclude=createdAt", "", 200, `!properties`},
		{"PATCH", "blueprints/app/entities/q", `{"title":null,"icon":"Box","createdAt":"x","properties":{"n":5}}`, 200, `"icon":"Box"`},
		{"PUT", "blueprints/app/entities/q", `{"identifier":"q/2","title":"Q","properties":{"n":6}}`, 200, `"identifier":"q/2"`},
		{"GET", "blueprints/app/entities/q", "", 404, `not_found`},
		{"PUT", "blueprints/app/entities/none", `{"identifier":"none"}`, 404, `not_found`},
		{"GET", "blueprints/app/entities-count", "", 200, `"count":3`},
		{"GET", "blueprints/app/entities/", "", 200, `"identifier":"made"`},
		{"POST", "entities/search", `{"combinator":"and","rules":[{"property":"$datasource","operator":"contains","value":"test/1"},{"property":"$blueprint","operator":"=","value":"app"}]}`, 200, `"matchingBlueprints":["app"]`},
		{"POST", "entities/search", `{"combinator":"and","rules":[{"property":"n","operator":"almost","value":1}]}`, 422, `is no operator`},
		{"POST", "blueprints/app/entities/search", `{"limit":1}`, 200, `"next":"`},
		{"POST", "blueprints/app/entities/search", `{"limit":0}`, 422, `limit must be`},
		{"POST", "blueprints/app/entities/search", `{"from":"forged"}`, 422, `page token`},
		{"POST", "blueprints/app/entities/bulk?upsert=true", `{"entities":[{"identifier":"b1","relations":{"up":"b2"}},{"identifier":"b2"},{"identifier":"b 3"}]}`, 207, `"errors":[{"error":"invalid_request","identifier":"b 3","index":2`},
		{"POST", "blueprints/app/entities/bulk?upsert=true", `{"entities":[{"identifier":"b1","properties":{"n":9}}]}`, 200, `"errors":[]`},
		{"POST", "blueprints/app/entities/bulk?upsert=true", `{"entities":[]}`, 422, `1 to 20`},
		{"POST", "blueprints/entities/datasource-entities", `{"datasource_prefix":"test","datasource_suffix":"/1","limit":2}`, 200, `"next":"`},
		{"POST", "blueprints/app/bulk/entities/delete", `{"entities":["b1","none"]}`, 200, `"deletedEntities":["b1"]`},
		{"DELETE", "blueprints/app/entities/b2?delete_dependents=true", "", 200, `"ok":true`},
		{"DELETE", "blueprints/app/entities/b2", "", 404, `not_found`},
		{"POST", "integration?upsert=true", `{"installationId":"eu-west-1:123456789012","installationAppType":"AWS EXPORTER","title":"t","version":"0.1"}`, 201, `"installationId":"eu-west-1:123456789012"`},
		{"POST", "integration?upsert=true", `{"installationId":"eu-west-1:123456789012","version":"0.2"}`, 200, `"version":"0.2"`},
		{"POST", "integration", `{"installationId":"eu-west-1:123456789012"}`, 409, `identifier_taken`},
		{"PATCH", "integration/eu-west-1:123456789012/config", `{"config":{"b":1,"a":{"z":[1]}}}`, 200, `"config":{"a":{"z":[1]},"b":1}`},
		{"PATCH", "integration/eu-west-1:123456789012/resync-state", `{"status":"running"}`, 200, `"resyncState":{"status":"running","updatedAt":"`},
		{"GET", "integration/eu-west-1:123456789012?byField=installationId", "", 200, `"status":"running"`},
		{"GET", "integration/provision-enabled", "", 200, `"integrations":[]`},
		{"GET", "integration/berth", "", 200, `"integrationType":"BERTH"`},
		{"PATCH", "integration/berth", `{"config":{"resources":[{"kind":"x"}]}}`, 422, `resources[0].port`},
		{"DELETE", "integration/eu-west-1:123456789012", "", 200, `"ok":true`},
		{"GET", "integration/eu-west-1:123456789012", "", 404, `not_found`},
		{"POST", "blueprints/app/scorecards", `{"identifier":"ready","title":"Ready","rules":[{"identifier":"r","title":"r","level":"Gold","query":{"combinator":"and","conditions":[{"property":"n","operator":">","value":5}]}}]}`, 201,
			`"levels":[{"color":"paleBlue","title":"Basic"},{"color":"bronze","title":"Bronze"},{"color":"silver","title":"Silver"},{"color":"gold","title":"Gold"}]`},
		{"POST", "blueprints/app/scorecards", `{"identifier":"ready","title":"Ready","rules":[]}`, 409, `identifier_taken`},
		{"GET", "blueprints/app/entities/q%2F2", "", 200, `"scorecards":{"ready":{"level":"Gold","rules":[{"identifier":"r","level":"Gold","status":"SUCCESS"}]}}`},
		{"GET", "blueprints/app/entities/made", "", 200, `{"ready":{"level":"Silver"`},
		{"GET", "scorecards", "", 200, `"blueprint":"app"`},
		{"DELETE", "blueprints/app/scorecards/ready", "", 200, `"ok":true`},
		{"DELETE", "blueprints/app", "", 409, `has_dependents`},
		{"PATCH", "blueprints/app/properties/s/rename", `{"newPropertyName":"text"}`, 200, `"text":{`},
		{"GET", "blueprints/app/entities/a%2Fb@c:d", "", 200, `"text":"y"`},
		{"DELETE", "blueprints/app/all-entities?delete_blueprint=true", "", 200, `"migrationId":"`},
		{"GET", "blueprints/app", "", 404, `not_found`},
		{"GET", "audit-log?blueprint=app&action=CREATE&status=SUCCESS&limit=3", "", 200, `"resourceType":"entity"`},
		{"GET", "audit-log?status=FAILURE", "", 200, `properties.zz`},
		{"POST", "blueprints/service/entities", `{"identifier":"big","properties":{"readme":"` + strings.Repeat("x", 1<<20) + `"}}`, 413, `payload_too_large`},
	} {
		status, body := c.do(step.method, step.path, step.body)
		want, not := strings.CutPrefix(step.want, "!")
		if status != step.status || strings.Contains(body, want) == not {
			t.Errorf("%s %s %.200s\n  got  %d %.600s\n  want %d %s", step.method, step.path, step.body, status, body, step.status, step.want)
		}
	}
}

// TestPortMatrix asks every operation under every policy that allows one action.
func TestPortMatrix(t *testing.T) {
	p := newProber(t)
	c := login(t, p.s, p.keys)
	asked, actions := 0, map[string]bool{"Nothing": true}
	for _, op := range portapi.Operations() {
		if op.Action != "" {
			actions[op.Action] = true
		}
	}
	path := strings.NewReplacer("{bp}", "none", "{id...}", "none", "{id}", "none", "{migration}", "none", "{installation}", "none", "{part}", "properties", "{name}", "none")
	for action := range actions {
		p.may(`{"Effect":"Allow","Action":"catalog:` + action + `","Resource":"*"}`)
		for _, op := range portapi.Operations() {
			if op.Action == "" {
				continue
			}
			asked++
			status, body := c.do(op.Method, strings.TrimPrefix(path.Replace(op.Path), "/v1/"), `{}`)
			if allowed := op.Action == action; allowed == (status == http.StatusForbidden) || !allowed && !strings.Contains(body, "is not authorized to perform: catalog:"+op.Action) {
				t.Errorf("with catalog:%s alone, %s %s: %d %s", action, op.Method, op.Path, status, body)
			}
		}
	}
	t.Logf("%d requests", asked)
}

// TestPortTokens: only tokens of this deployment let in, for as long as their keys do, and
// an account sees its own catalog alone.
func TestPortTokens(t *testing.T) {
	p := newProber(t)
	p.may(`{"Effect":"Allow","Action":"catalog:*","Resource":"*"}`)
	c := login(t, p.s, p.keys)
	if status, body := c.do("POST", "blueprints/service/entities", `{"identifier":"mine"}`); status != 201 {
		t.Fatal(body)
	}
	good := c.token
	for what, token := range map[string]string{"none": "", "garbage": "x", "cut": good[:len(good)-2], "unsigned": unsigned(t, p.keys.AccessKeyID), "of another key": forged(t, p.keys.AccessKeyID)} {
		c.token = token
		if status, body := c.do("GET", "blueprints", ""); status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			t.Errorf("a token that is %s: %d %s", what, status, body)
		}
	}
	c.token = ""
	if status, _ := c.do("POST", "auth/access_token", fmt.Sprintf(`{"clientId":%q,"clientSecret":"wrong"}`, p.keys.AccessKeyID)); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d", status)
	}
	_, theirs, err := p.s.identity.CreateAccount(t.Context(), "333333333333", "third")
	if err != nil {
		t.Fatal(err)
	}
	o := login(t, p.s, theirs)
	for _, path := range []string{"blueprints/service/entities/mine", "audit-log?entity=mine"} {
		if _, body := o.do("GET", path, ""); strings.Contains(body, `"identifier":"mine"`) {
			t.Errorf("another account sees %s: %s", path, body)
		}
	}
	// What a policy denies of one entity holds for every way to write it.
	p.may(`{"Effect":"Allow","Action":"catalog:*","Resource":"*"},{"Effect":"Deny","Action":["catalog:WriteEntities","catalog:DeleteEntities"],"Resource":"arn:aws:catalog::000000000000:entity/service/secret*"}`)
	c.token = good
	for _, step := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "blueprints/service/entities?upsert=true", `{"identifier":"open"}`, 201}, {"POST", "blueprints/service/entities?upsert=true", `{"identifier":"secret"}`, 403},
		{"POST", "blueprints/service/entities?upsert=true", `{"identifier":"secret","IDENTIFIER":"open"}`, 403}, {"PUT", "blueprints/service/entities/secret", `{}`, 403},
		{"POST", "blueprints/service/entities/bulk?upsert=true", `{"entities":[{"identifier":"open"},{"identifier":"secret"}]}`, 403},
		{"POST", "blueprints/service/entities/bulk?upsert=true", `{"Entities":[{"identifier":"secret"}]}`, 422}, {"POST", "blueprints/service/bulk/entities/delete", `{"entities":["secret1"]}`, 403},
		{"DELETE", "blueprints/service/entities/secret%2Fx", "", 403}, {"DELETE", "blueprints/service/entities/open", "", 200},
		{"PATCH", "blueprints/service/entities/mine", `{"identifier":"secret"}`, 403},
	} {
		if status, body := c.do(step.method, step.path, step.body); status != step.want {
			t.Errorf("%s %s %s: %d %s, want %d", step.method, step.path, step.body, status, body, step.want)
		}
	}
	if err := p.s.identity.DeleteKey(t.Context(), homeAccount, "prober", p.keys.AccessKeyID); err != nil {
		t.Fatal(err)
	}
	c.token = good
	if status, _ := c.do("GET", "blueprints", ""); status != http.StatusUnauthorized {
		t.Errorf("a token of a key that is gone: %d", status)
	}
}

func unsigned(t *testing.T, key string) string {
	t.Helper()
	enc := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return enc(`{"alg":"none","typ":"JWT"}`) + "." + enc(fmt.Sprintf(`{"iss":"berth","sub":%q,"exp":%d}`, key, time.Now().Add(time.Hour).Unix())) + "."
}

func forged(t *testing.T, key string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: bytes.Repeat([]byte{1}, 32)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{Issuer: "berth", Subject: key, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour))}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
