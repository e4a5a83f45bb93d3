package console_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/internal/berthtest"
)

// payloads are texts that would run a script, or make an element, where a page does not
// escape them.
func payloads() []string {
	cores := []string{`<script>window.pwned=1</script>`, `<img src=x onerror=window.pwned=1>`, `<svg onload=window.pwned=1>`, `<iframe srcdoc="<script>parent.pwned=1</script>">`, `<a href="javascript:window.pwned=1">x</a>`,
		`<details open ontoggle=window.pwned=1>`, `<body onload=window.pwned=1>`, `<input autofocus onfocus=window.pwned=1>`, `<style>*{background:url(javascript:window.pwned=1)}</style>`, `<base href="//evil.example/">`,
		`<form action="//evil.example/"><button>x`, `<meta http-equiv=refresh content="0;url=//evil.example/">`, `<object data="javascript:window.pwned=1">`, `<math><mtext><img src=x onerror=window.pwned=1></math>`,
		`javascript:window.pwned=1`, `data:text/html,<script>window.pwned=1</script>`, `${window.pwned=1}`, `{{constructor.constructor('window.pwned=1')()}}`, `';window.pwned=1;//`, `" onmouseover="window.pwned=1" autofocus onfocus="window.pwned=1`}
	wraps := []string{"%s", `">%s`, `'>%s`, `</textarea>%s`, `</title>%s`, `--></pre></code>%s`, `</script>%s`, `]]>%s`, "\u2028%s", `&lt;%s&#x3c;`}
	var out []string
	for _, w := range wraps {
		for _, c := range cores {
			out = append(out, fmt.Sprintf(w, c))
		}
	}
	return out
}

// clean reports what on the page somebody else made: scripts in it, handlers, addresses
// that run something, elements that no page of ours has.
const clean = `(() => {
	const bad = [];
	if (window.pwned) bad.push("a script ran");
	for (const e of document.querySelectorAll("*")) {
		for (const a of e.attributes) {
			if (/^on/i.test(a.name)) bad.push(e.outerHTML.slice(0, 200));
			if (["href", "src", "action", "formaction", "data", "srcdoc", "xlink:href"].includes(a.name) && /^\s*(javascript|data|vbscript):/i.test(a.value)) bad.push(e.outerHTML.slice(0, 200));
		}
		if (["IFRAME", "OBJECT", "EMBED", "BASE", "MATH", "STYLE", "MARQUEE"].includes(e.tagName.toUpperCase())) bad.push(e.outerHTML.slice(0, 200));
		if (e.tagName === "SCRIPT" && !(e.getAttribute("src") ?? "").startsWith("/static/")) bad.push(e.outerHTML.slice(0, 200));
		if (e.tagName === "META" && e.httpEquiv) bad.push(e.outerHTML);
		if (e.tagName === "IMG" && !(e.getAttribute("src") ?? "").startsWith("/static/")) bad.push(e.outerHTML.slice(0, 200));
	}
	return bad;
})()`

// TestHostileTexts puts 200 payloads through every field that takes them, and looks at
// every page that shows them: no script runs, no element appears.
func TestHostileTexts(t *testing.T) {
	s := newSite(t)
	list := payloads()
	if len(list) < 200 {
		t.Fatal(len(list))
	}
	s.repository("hostile")
	labels, history := map[string]string{}, []any{}
	for i, p := range list {
		labels[fmt.Sprint("k", i, p)] = p
		history = append(history, map[string]any{"created_by": p})
	}
	sizes := make([]int, 40)
	for i := range sizes {
		sizes[i] = i + 1
	}
	digest := s.push("hostile", "v1", map[string]any{"architecture": list[0], "os": list[1], "config": map[string]any{"Labels": labels, "Env": list, "Cmd": list, "Entrypoint": list, "User": list[2], "WorkingDir": list[3]}, "history": history[:40]}, sizes...)
	registry := ecr.NewFromConfig(s.aws)
	refused := 0
	try := func(err error) {
		if err != nil {
			refused++
		}
	}
	logs := cloudwatchlogs.NewFromConfig(s.aws)
	if err := second(logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: ptr("hostile")})); err != nil {
		t.Fatal(err)
	}
	if err := second(logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: ptr("hostile"), LogStreamName: ptr("s")})); err != nil {
		t.Fatal(err)
	}
	var lines []logtypes.InputLogEvent
	s.catalog("POST", "blueprints", map[string]any{"identifier": "hostile", "title": list[5], "description": list[6], "schema": map[string]any{"properties": map[string]any{
		"text": map[string]any{"title": list[7], "type": "string"}, "link": map[string]any{"title": list[8], "type": "string", "format": "url"}, "readme": map[string]any{"type": "string", "format": "markdown"},
		"list": map[string]any{"type": "array"}, "object": map[string]any{"type": "object"}}}, "relations": map[string]any{"self": map[string]any{"title": list[9], "target": "hostile", "many": true}}})
	for i, p := range list {
		lines = append(lines, logtypes.InputLogEvent{Timestamp: aws.Int64(time.Now().UnixMilli()), Message: &p})
		e := map[string]any{"identifier": fmt.Sprint("e", i), "title": p, "properties": map[string]any{"text": p, "readme": p, "list": []string{p}, "object": map[string]string{p: p}}}
		if i > 0 {
			e["relations"] = map[string]any{"self": []string{"e0"}}
		}
		s.catalog("POST", "blueprints/hostile/entities", e)
		if i%10 == 0 {
			try(second(registry.TagResource(t.Context(), &ecr.TagResourceInput{ResourceArn: ptr("arn:aws:ecr:us-east-1:000000000000:repository/hostile"), Tags: []types.Tag{{Key: ptr(fmt.Sprint("k", i, p)), Value: &p}}})))
			try(second(registry.CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{Prefix: ptr(fmt.Sprint("p", i)), Description: &p, AppliedFor: []types.RCTAppliedFor{"CREATE_ON_PUSH"}})))
			try(second(iam.NewFromConfig(s.aws).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: ptr(fmt.Sprint("r", i)), Description: &p, AssumeRolePolicyDocument: ptr(`{"Statement":[{"Sid":"x","Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}]}`)})))
			try(second(eventbridge.NewFromConfig(s.aws).PutRule(t.Context(), &eventbridge.PutRuleInput{Name: ptr(fmt.Sprint("rule", i)), Description: &p, EventPattern: ptr(`{"source":[` + quote(p) + `]}`)})))
			try(second(registry.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{p}}))) // for the audit log
		}
	}
	if err := second(logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: ptr("hostile"), LogStreamName: ptr("s"), LogEvents: lines})); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d payloads; %d calls refused theirs", len(list), refused)
	b := s.signedIn()
	paths := []string{"/", "/repositories/us-east-1/hostile?tab=settings", "/repositories/us-east-1/hostile?tab=events", "/repositories/us-east-1/hostile?tab=tags&tag=v1", "/images/us-east-1/hostile?ref=" + digest, "/templates", "/templates/us-east-1?prefix=p10",
		"/roles", "/roles/r10", "/rules", "/rules/us-east-1/rule10", "/logs?group=hostile", "/audit?all=1", "/catalog", "/catalog/hostile", "/catalog/hostile?sort=text&col=text&col=link&col=readme&col=list&col=object", "/catalog/hostile/e0", "/catalog/hostile/e0?tab=graph&depth=2",
		"/catalog/hostile/e7?tab=changes", "/catalog/hostile/e7?tab=document", "/builder", "/builder/hostile", "/mapping", "/search?q=e"}
	for i, p := range list { // what the address brings
		v := url.QueryEscape(p)
		paths = append(paths, []string{"/search?q=" + v, "/repositories?q=" + v + "&tag=" + v + "&service=" + v + "&region=us-east-1", "/explain?principal=" + v + "&actions=" + v + "&resource=" + v, "/audit?value=" + v + "&key=EventName",
			"/catalog/hostile?q=" + v + "&property=text&operator=contains&value=" + v, "/logs?group=hostile&filter=" + v, "/go/view?arn=" + v, "/repositories/us-east-1/hostile?q=" + v + "&tab=" + v, "/policies/view?arn=" + v, "/" + url.PathEscape(p)}[i%10])
	}
	for _, path := range paths {
		b.open(path)
		if bad := value[[]string](b, clean); len(bad) > 0 {
			t.Errorf("%s: %q", path, bad)
		}
	}
	t.Logf("%d pages", len(paths))
}

// TestSessions holds RELIABILITY's S21 and S22: cookies, foreign forms, fixation, ends,
// redirects.
func TestSessions(t *testing.T) {
	s := newSite(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	do := func(method, path string, form url.Values, header map[string]string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.base+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for k, v := range header {
			r.Header.Set(k, v)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	keys, err := s.aws.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good := url.Values{"with": {"key"}, "key": {keys.AccessKeyID}, "secret": {keys.SecretAccessKey}, "to": {"/users"}}
	in := do("POST", "/signin", good, map[string]string{"Cookie": "berth-session=chosen-by-somebody-else"})
	if in.StatusCode != http.StatusSeeOther || in.Header.Get("Location") != "/users" || len(in.Cookies()) != 1 {
		t.Fatalf("%s %v %v", in.Status, in.Header, in.Cookies())
	}
	c := in.Cookies()[0]
	if c.Name != "berth-session" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Value == "chosen-by-somebody-else" || len(c.Value) < 40 {
		t.Errorf("%+v", c)
	}
	mine := map[string]string{"Cookie": c.Name + "=" + c.Value}
	with := func(more ...string) map[string]string {
		h := map[string]string{"Cookie": mine["Cookie"]}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	page := do("GET", "/repositories/new", nil, mine)
	for k, want := range map[string]string{"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "same-origin"} {
		if !strings.Contains(page.Header.Get(k), want) {
			t.Errorf("%s: %q", k, page.Header.Get(k))
		}
	}
	if page.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS is allowed")
	}
	create := url.Values{"name": {"forged"}, "region": {"us-east-1"}, "mutability": {"MUTABLE"}, "encryption": {"AES256"}}
	for name, h := range map[string]map[string]string{"no token": mine, "another site": with("Origin", "https://evil.example"), "a site beside": with("Sec-Fetch-Site", "same-site"), "cross site": with("Sec-Fetch-Site", "cross-site"), "no session": {}} {
		if got := do("POST", "/repositories/new", create, h); got.StatusCode != http.StatusForbidden && name != "no session" || name == "no session" && got.Header.Get("Location") != "/signin" {
			t.Errorf("%s: %s %s", name, got.Status, got.Header.Get("Location"))
		}
	}
	forged := url.Values{"csrf": {"AAAA"}, "name": {"forged"}}
	if got := do("POST", "/repositories/new", forged, mine); got.StatusCode != http.StatusForbidden {
		t.Errorf("a wrong token: %s", got.Status)
	}
	if got := do("POST", "/signin", good, map[string]string{"Origin": "https://evil.example"}); got.StatusCode != http.StatusUnauthorized || len(got.Cookies()) > 0 {
		t.Errorf("signing in from elsewhere: %s", got.Status)
	}
	for _, to := range []string{"//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/signin?to=/x", "\t//evil.example", "/%0d%0aX: y"} {
		good.Set("to", to)
		if got := do("POST", "/signin", good, nil).Header.Get("Location"); got != "/" && !strings.HasPrefix(got, "/%0d") {
			t.Errorf("%q leads to %q", to, got)
		}
	}
	for name, wrong := range map[string]url.Values{"secret": {"with": {"key"}, "key": {keys.AccessKeyID}, "secret": {"wrong"}}, "key": {"with": {"key"}, "key": {"AKIANOBODY"}, "secret": {keys.SecretAccessKey}}, "nothing": {"with": {"key"}},
		"password": {"with": {"password"}, "account": {"000000000000"}, "user": {"nobody"}, "password": {"x"}}} {
		if got := do("POST", "/signin", wrong, nil); got.StatusCode != http.StatusUnauthorized || len(got.Cookies()) > 0 {
			t.Errorf("a wrong %s: %s", name, got.Status)
		}
	}
	// The APIs take no cookies.
	for _, path := range []string{"/v2/_catalog", "/v1/blueprints"} {
		if got := do("GET", path, nil, mine); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with a cookie: %s", path, got.Status)
		}
	}
	if got := do("POST", "/", url.Values{"Action": {"ListUsers"}, "Version": {"2010-05-08"}}, mine); got.StatusCode != http.StatusForbidden {
		t.Errorf("IAM with a cookie: %s", got.Status)
	}
	s.sessionsEnd(do, mine)
}

// sessionsEnd: links are good once; a session ends by signing out, and with its key.
func (s *site) sessionsEnd(do func(string, string, url.Values, map[string]string) *http.Response, mine map[string]string) {
	t := s.t
	code := strings.TrimPrefix(s.link(), s.base+"/signin/link?code=")
	if got := do("GET", "/signin/link?code="+code, nil, nil); got.StatusCode != http.StatusOK || len(got.Cookies()) > 0 {
		t.Errorf("looking at a link: %s", got.Status)
	}
	link := url.Values{"code": {code}}
	if got := do("POST", "/signin/link", link, nil); got.StatusCode != http.StatusSeeOther || len(got.Cookies()) != 1 {
		t.Errorf("a link: %s", got.Status)
	}
	if got := do("POST", "/signin/link", link, nil); got.StatusCode != http.StatusUnauthorized || len(got.Cookies()) > 0 {
		t.Errorf("a link again: %s", got.Status)
	}
	users := iam.NewFromConfig(s.aws)
	if err := second(users.CreateUser(t.Context(), &iam.CreateUserInput{UserName: ptr("carol")})); err != nil {
		t.Fatal(err)
	}
	key, err := users.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: ptr("carol")})
	if err != nil {
		t.Fatal(err)
	}
	in := do("POST", "/signin", url.Values{"with": {"key"}, "key": {*key.AccessKey.AccessKeyId}, "secret": {*key.AccessKey.SecretAccessKey}}, nil)
	carol := map[string]string{"Cookie": in.Cookies()[0].Name + "=" + in.Cookies()[0].Value}
	if got := do("GET", "/explain", nil, carol); got.StatusCode != http.StatusOK {
		t.Errorf("carol: %s", got.Status)
	}
	// What a page shows beside is no attempt of hers; what she opens is.
	if out := s.shell(berthtest.Binary(t)+" explain --data "+s.data, "", ""); strings.Contains(out, "carol") {
		t.Errorf("her page left denials:\n%s", out)
	}
	if got := do("GET", "/users", nil, carol); got.StatusCode != http.StatusOK {
		t.Errorf("a page that she may not see: %s", got.Status)
	}
	if out := s.shell(berthtest.Binary(t)+" explain --data "+s.data, "", ""); strings.Count(out, "carol") != 1 || !strings.Contains(out, "iam:ListUsers") {
		t.Errorf("her attempt is not told:\n%s", out)
	}
	if got := do("POST", "/signout", nil, carol); got.StatusCode != http.StatusForbidden {
		t.Errorf("signed out by another site: %s", got.Status)
	}
	if err := second(users.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{UserName: ptr("carol"), AccessKeyId: key.AccessKey.AccessKeyId, Status: "Inactive"})); err != nil {
		t.Fatal(err)
	}
	if got := do("GET", "/explain", nil, carol); got.StatusCode != http.StatusSeeOther {
		t.Errorf("after the key was deactivated: %s", got.Status)
	}
	if got := do("GET", "/live", nil, map[string]string{"Sec-Fetch-Dest": "empty"}); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a script without a session: %s", got.Status)
	}
	if got := do("GET", "/repositories", nil, mine); got.StatusCode != http.StatusOK {
		t.Errorf("the other session: %s", got.Status)
	}
	if strings.Contains(s.s.Log(), code) || strings.Contains(s.s.Log(), *key.AccessKey.SecretAccessKey) {
		t.Error("the log has a secret")
	}
}

// TestSecureCookies: over TLS the session's cookie is bound to the host, and a cookie of
// the other name is none.
func TestSecureCookies(t *testing.T) {
	s := newSite(t, "--tls", "auto")
	pem, err := os.ReadFile(s.s.Env["AWS_CA_BUNDLE"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the CA does not parse")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.PostForm(s.base+"/signin", url.Values{"with": {"key"}, "key": {s.s.Env["AWS_ACCESS_KEY_ID"]}, "secret": {s.s.Env["AWS_SECRET_ACCESS_KEY"]}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if len(resp.Cookies()) != 1 {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	c := resp.Cookies()[0]
	if c.Name != "__Host-berth-session" || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("%+v", c)
	}
	for name, want := range map[string]int{c.Name: http.StatusOK, "berth-session": http.StatusSeeOther} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/repositories", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(&http.Cookie{Name: name, Value: c.Value})
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("with %s: %s", name, resp.Status)
		}
	}
}
