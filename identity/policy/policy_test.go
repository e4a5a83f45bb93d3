package policy_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/identity/policy"
)

var callers = map[string]policy.Caller{
	"alice":   {Account: "111111111111", ARN: alice, ID: "AIDAALICEALICEALICE1"},
	"builder": {Account: "111111111111", ARN: session, Role: role, ID: "AROABUILDERBUILDER01"},
	"root":    {Account: "111111111111", ARN: "arn:aws:iam::111111111111:root", ID: "111111111111"},
	"web":     {Federated: idp},
}

// TestCases decides the requests of testdata/cases.txt.
func TestCases(t *testing.T) {
	text, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, group := range strings.Split(string(text), "\n== ")[1:] {
		title, body, _ := strings.Cut(group, "\n")
		t.Run(strings.ReplaceAll(title, " ", "_"), func(t *testing.T) {
			var caller policy.Caller
			set := policy.Set{SameAccount: true}
			for line := range strings.Lines(body) {
				word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				switch word {
				case "", "#":
				case "caller":
					caller = callers[rest]
				case "flags":
					set.SameAccount = !strings.Contains(rest, "cross")
					set.ResourceMust = strings.Contains(rest, "must")
					set.Full = strings.Contains(rest, "full")
					set.HasBoundary = strings.Contains(rest, "boundary")
				case "identity", "boundary", "session", "resource", "registry":
					attach(t, &set, word, rest)
				default:
					n++
					checkCase(t, &set, caller, word, strings.Fields(rest))
				}
			}
		})
	}
	t.Logf("%d cases", n)
	if n < 400 {
		t.Errorf("only %d cases", n)
	}
}

func attach(t *testing.T, set *policy.Set, layer, text string) {
	t.Helper()
	kind := map[string]policy.Kind{"resource": policy.Repository, "registry": policy.Registry}[layer]
	doc, err := policy.Parse(text, kind)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	a := policy.Attached{Name: layer, Doc: doc}
	switch layer {
	case "identity":
		set.Identity = append(set.Identity, a)
	case "boundary":
		set.Boundary, set.HasBoundary = append(set.Boundary, a), true
	case "session":
		set.Session, set.HasSession = append(set.Session, a), true
	default:
		set.Resource = append(set.Resource, a)
	}
}

func checkCase(t *testing.T, set *policy.Set, caller policy.Caller, want string, fields []string) {
	t.Helper()
	values := map[string][]string{}
	for _, f := range fields[2:] {
		k, v, _ := strings.Cut(f, "=")
		values[strings.ToLower(k)] = strings.Split(v, "|")
		if v == "[]" {
			values[strings.ToLower(k)] = []string{}
		}
	}
	resource := fields[1]
	if name, ok := strings.CutPrefix(resource, "R:"); ok {
		resource = "arn:aws:ecr:eu-west-1:111111111111:repository/" + name
	}
	r := &policy.Request{Caller: caller, Action: fields[0], Resource: resource, Values: func(k string) []string { return values[k] }}
	d := policy.Decide(r, set)
	layers := map[policy.Layer]string{policy.LayerIdentity: "identity", policy.LayerBoundary: "boundary", policy.LayerSession: "session", policy.LayerResource: "resource"}
	got := "allow"
	switch {
	case d.Explicit:
		got = "deny-" + layers[d.Layer]
	case !d.Allowed:
		got = "no-" + layers[d.Layer]
	}
	if got != want {
		t.Errorf("%s: got %s, want %s", strings.Join(fields, " "), got, want)
	}
	if d.Allowed != (d.Reason(fields[0]) == "") {
		t.Errorf("%s: reason %q", strings.Join(fields, " "), d.Reason(fields[0]))
	}
}

func TestMalformed(t *testing.T) {
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	condition := func(s string) string {
		return statement(`{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":` + s + `}`)
	}
	for _, c := range []struct {
		kind      policy.Kind
		text, why string
	}{
		{policy.Identity, ``, "not a JSON object"},
		{policy.Identity, `null`, "not a JSON object"},
		{policy.Identity, `[]`, "not a JSON object"},
		{policy.Identity, `{}`, "Statement is missing"},
		{policy.Identity, `{"Statement":[]}`, "Statement is missing"},
		{policy.Identity, `{"Statement":[1]}`, "Statement must be"},
		{policy.Identity, `{"Statement":"x"}`, "Statement must be"},
		{policy.Identity, "\xef\xbb\xbf" + statement(`{"Effect":"Allow","Action":"*","Resource":"*"}`), "not a JSON object"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"*"}`) + `{}`, "something follows"},
		{policy.Identity, statement(`{"Effect":"Allow","Effect":"Deny","Action":"*","Resource":"*"}`), `"Effect" appears twice`},
		{policy.Identity, statement(`{"Effect":"Allow","\u0045ffect":"Deny","Action":"*","Resource":"*"}`), `"Effect" appears twice`},
		{policy.Identity, `{"Version":"2013-01-01","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "Version must be"},
		{policy.Identity, `{"Version":2012,"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "Version must be"},
		{policy.Identity, `{"Statements":{"Effect":"Allow","Action":"*","Resource":"*"}}`, `unknown element "Statements"`},
		{policy.Identity, `{"Id":1,"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "Id must be"},
		{policy.Identity, statement(`{"Effect":"allow","Action":"*","Resource":"*"}`), "Effect must be Allow or Deny"},
		{policy.Identity, statement(`{"Action":"*","Resource":"*"}`), "must have an Effect"},
		{policy.Identity, statement(`{"Effect":"Allow","Resource":"*"}`), "Action or NotAction"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","NotAction":"x:y","Resource":"*"}`), "both Action and NotAction"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*"}`), "Resource or NotResource"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"*","NotResource":"*"}`), "both Resource and NotResource"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":[],"Resource":"*"}`), "Action is empty"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":[]}`), "Resource is empty"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"PutImage","Resource":"*"}`), "service:Action"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"ecr:","Resource":"*"}`), "service:Action"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"ecr:Put Image","Resource":"*"}`), "characters that no action has"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":{"a":"b"},"Resource":"*"}`), "it holds an object"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":[1],"Resource":"*"}`), "it holds a number"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"repository/app"}`), "must be in ARN format"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:*"}`), "must be in ARN format"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:*:*:repository/${aws:username"}`), "does not end"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:*:*:repository/${}"}`), "is not a variable"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:*:*:repository/${a, b}"}`), "single quotes"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}`), "Principal belongs"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"*","NotPrincipal":"*"}`), "Principal belongs"},
		{policy.Identity, statement(`{"Effect":"Allow","Action":"*","Resource":"*","Conditions":{}}`), `unknown element "Conditions"`},
		{policy.Identity, statement(`{"Sid":"a b","Effect":"Allow","Action":"*","Resource":"*"}`), "letters and digits"},
		{policy.Identity, statement(`{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}`), "used by two"},
		{policy.Identity, condition(`[]`), "Condition must be an object"},
		{policy.Identity, condition(`{"StringMatches":{"k":"v"}}`), `unknown condition operator "StringMatches"`},
		{policy.Identity, condition(`{"stringequals":{"k":"v"}}`), "unknown condition operator"},
		{policy.Identity, condition(`{"NullIfExists":{"k":"true"}}`), "unknown condition operator"},
		{policy.Identity, condition(`{"ForSomeValues:StringEquals":{"k":"v"}}`), "unknown condition operator"},
		{policy.Identity, condition(`{"StringEquals":"k"}`), "must be an object of keys"},
		{policy.Identity, condition(`{"StringEquals":{"k":{"a":"b"}}}`), "holds an object"},
		{policy.Identity, condition(`{"StringEquals":{"k":null}}`), "holds null"},
		{policy.Identity, condition(`{"StringEquals":{"":"v"}}`), "a key that is none"},
		{policy.Identity, condition(`{"NumericEquals":{"k":"ten"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"NumericEquals":{"k":"NaN"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"DateLessThan":{"k":"tomorrow"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"Bool":{"k":"yes"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"Null":{"k":"maybe"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"Null":{"k":[]}}`), "has no value"},
		{policy.Identity, condition(`{"IpAddress":{"k":"10.0.0.0/33"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"IpAddress":{"k":"10.0.*"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"BinaryEquals":{"k":"%%"}}`), "cannot have the value"},
		{policy.Identity, condition(`{"ArnLike":{"k":"role/x"}}`), "neither an ARN"},
		{policy.Repository, statement(`{"Effect":"Allow","Action":"*"}`), "Principal or NotPrincipal"},
		{policy.Repository, statement(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), "has no Resource"},
		{policy.Registry, statement(`{"Effect":"Allow","Principal":"*","Action":"*"}`), "Resource or NotResource"},
		{policy.Registry, statement(`{"Effect":"Allow","Action":"*","Resource":"*"}`), "Principal or NotPrincipal"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), "has no Resource"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":"arn:aws:iam::111111111111:root","Action":"*"}`), "must be \"*\""},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{},"Action":"*"}`), "Principal must be"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{"AWS":[]},"Action":"*"}`), "is empty"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{"Aws":"*"},"Action":"*"}`), "unknown kind of principal"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:role/*"},"Action":"*"}`), "invalid principal"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1111:role/x"},"Action":"*"}`), "invalid principal"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:group/x"},"Action":"*"}`), "invalid principal"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111111111111:assumed-role/x"},"Action":"*"}`), "invalid principal"},
		{policy.Trust, statement(`{"Effect":"Allow","Principal":{"Federated":"*"},"Action":"*"}`), "wildcards"},
		{policy.Identity, strings.Repeat(" ", 30_000), "bytes"},
		{policy.Identity, statement(strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40)), "nests deeper"},
	} {
		_, err := policy.Parse(c.text, c.kind)
		if !errors.Is(err, policy.ErrMalformed) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%.120s: %v, want …%s…", c.text, err, c.why)
		}
	}
}

// TestBind: ids stand for names in Principal elements and nowhere else, and the
// way back gives the text that was written.
func TestBind(t *testing.T) {
	text := `{ "Statement": [ {"Effect":"Allow", "Principal": {"AWS": ["` + role + `", "111111111111", "*"]},
	"Action":"ecr:*", "Condition": {"ArnEquals": {"aws:PrincipalArn": "` + role + `"}}} ] }`
	d, err := policy.Parse(text, policy.Repository)
	if err != nil {
		t.Fatal(err)
	}
	swap := map[string]string{role: "AROABUILDERBUILDER01", "AROABUILDERBUILDER01": role}
	rename := func(n string) string {
		if to, ok := swap[n]; ok {
			return to
		}
		return n
	}
	bound := d.Bind(rename)
	if strings.Count(bound, role) != 1 || strings.Count(bound, "AROABUILDERBUILDER01") != 1 {
		t.Errorf("bound: %s", bound)
	}
	again, err := policy.Parse(bound, policy.Repository)
	if err != nil {
		t.Fatal(err)
	}
	if back := again.Bind(rename); back != text {
		t.Errorf("back: %s", back)
	}
}

// TestWildcardTime: no pattern makes matching slow (RELIABILITY S13). The bound is
// generous; the quadratic way takes minutes.
func TestWildcardTime(t *testing.T) {
	input := strings.Repeat("a", 1<<20)
	for _, pattern := range []string{"*a*a*a*b", strings.Repeat("a*", 60) + "b", "*" + strings.Repeat("a", 4000) + "b*", strings.Repeat("?", 2000) + "*b",
		"*" + strings.Repeat("a?", 1000) + "b*", strings.Repeat("*?", 60) + "b"} {
		doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"k":"`+pattern+`"}}}}`, policy.Identity)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		d := policy.Decide(&policy.Request{Action: "a:b", Resource: "*", Values: func(string) []string { return []string{input} }},
			&policy.Set{SameAccount: true, Identity: []policy.Attached{{Doc: doc}}})
		if took := time.Since(start); d.Allowed || took > 2*time.Second {
			t.Errorf("%.20s…: allowed %v, %v", pattern, d.Allowed, took)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["111111111111"]},"Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/${aws:username, 'x'}"}]}`, "x")
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":"*","NotAction":"*","Condition":{"ForAllValues:StringLikeIfExists":{"k":["a*","?"]},"Null":{"k":true}}}}`, "a")
	f.Fuzz(func(t *testing.T, text, have string) {
		for _, k := range []policy.Kind{policy.Identity, policy.Repository, policy.Registry, policy.Trust} {
			d, err := policy.Parse(text, k)
			if err != nil {
				if !errors.Is(err, policy.ErrMalformed) {
					t.Errorf("%v", err)
				}
				continue
			}
			if _, err := policy.Parse(d.Bind(func(n string) string { return n }), k); err != nil {
				t.Errorf("bound with the same names: %v", err)
			}
			_, _ = policy.ReviewTrust(d)
			set := &policy.Set{Identity: []policy.Attached{{Doc: d}}, Resource: []policy.Attached{{Doc: d}}}
			policy.Decide(&policy.Request{Action: "ecr:PutImage", Resource: "arn:aws:ecr:a:b:" + have, Values: func(string) []string { return []string{have} }}, set)
		}
	})
}
