package input_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/event/input"
)

const envelope = `{"id":"e1","source":"aws.ecr","account":"000000000012","detail":{"repository-name":"team/app","tags":["a","b"],"n":5,"quote":"say \"hi\"","nested":{"x":null}}}`

func TestMake(t *testing.T) {
	about := input.About{RuleName: "r", RuleARN: "arn:aws:events:eu-west-1:000000000012:rule/r", Ingested: time.Unix(0, 0)}
	paths := map[string]string{"name": "$.detail.repository-name", "tags": "$.detail.tags", "n": "$.detail.n", "quote": "$.detail.quote", "none": "$.detail.missing", "null": "$.detail.nested.x"}
	for _, c := range []struct{ constant, path, template, want string }{
		{"", "", "", envelope},
		{`{"a":1}`, "", "", `{"a":1}`},
		{"", "$.detail.tags", "", `["a","b"]`},
		{"", "$.detail.tags[1]", "", `"b"`},
		{"", "$.detail['repository-name']", "", `"team/app"`},
		{"", "$.nothing", "", "null"},
		{"", "$", "", ""},
		{"", "", `{"repo":<name>,"tags":<tags>,"n":<n>}`, `{"repo":"team/app","tags":["a","b"],"n":5}`},
		{"", "", `"pushed <name> with <tags> and <n>"`, `"pushed team/app with [\"a\",\"b\"] and 5"`},
		{"", "", `"she <quote>"`, `"she say \"hi\""`},
		{"", "", `{"x":"<none>","y":<none>,"z":<null>}`, `{"x":"","y":null,"z":null}`},
		{"", "", `"<aws.events.rule-name> <aws.events.rule-arn> <aws.events.event.ingestion-time>"`, `"r arn:aws:events:eu-west-1:000000000012:rule/r 1970-01-01T00:00:00Z"`},
		{"", "", `{"all":<aws.events.event.json>}`, `{"all":` + envelope + `}`},
		{"", "", `{"less":<aws.events.event>}`, `{"less":{"account":"000000000012","id":"e1","source":"aws.ecr"}}`},
		{"", "", `"a \"<name>\" b"`, `"a \"team/app\" b"`},
	} {
		var tr *input.Transform
		if c.template != "" {
			tr = &input.Transform{Paths: paths, Template: c.template}
		}
		if err := input.Check(c.constant, c.path, tr); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		got, err := input.Make([]byte(envelope), c.constant, c.path, tr, about)
		if err != nil || c.want != "" && string(got) != c.want {
			t.Errorf("%+v: %s %v", c, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		constant, path string
		t              *input.Transform
		want           string
	}{
		{"{", "", nil, "JSON"},
		{"", "detail", nil, "begin with $"},
		{"", "$.a[", nil, "bracket"},
		{"", "$.a[x]", nil, "index"},
		{"", "$[']", nil, "bracket"},
		{"", "$..a", nil, "names"},
		{"", "$.a[*]", nil, "index"},
		{"", "", &input.Transform{Template: ""}, "template"},
		{"", "", &input.Transform{Template: "<x>"}, "no path"},
		{"", "", &input.Transform{Paths: map[string]string{"x": "y"}, Template: "<x>"}, "begin with $"},
		{"", "", &input.Transform{Template: strings.Repeat("x", 9000)}, "characters"},
	} {
		if err := input.Check(c.constant, c.path, c.t); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c, err, c.want)
		}
	}
}

func FuzzMake(f *testing.F) {
	f.Add("$.detail.tags[1]", `"<a> b"`, envelope)
	f.Add("$['x']", `{"y":<a>}`, `{"x":"y"}`)
	f.Fuzz(func(t *testing.T, path, template, event string) {
		tr := &input.Transform{Paths: map[string]string{"a": path}, Template: template}
		if input.Check("", path, tr) != nil {
			return
		}
		_, _ = input.Make([]byte(event), "", path, nil, input.About{})
		_, _ = input.Make([]byte(event), "", "", tr, input.About{})
	})
}
