package mapping_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/catalog/mapping"
)

func guide(t testing.TB) *mapping.Config {
	t.Helper()
	text, err := os.ReadFile("testdata/guide.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := mapping.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func document(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

const repository = `{"RepositoryName":"team/app","Arn":"arn:aws:ecr:eu-west-1:000000000000:repository/team/app","RepositoryUri":"localhost:5100/team/app",
	"ImageTagMutability":"MUTABLE","ImageScanningConfiguration":{"ScanOnPush":false},"EncryptionConfiguration":{"EncryptionType":"AES256"},"Tags":%s}`

// TestGuide: the guide's configuration as it stands links a repository to its services,
// by the names that its tags have after the prefix, and never loses a repository.
func TestGuide(t *testing.T) {
	c := guide(t)
	for _, want := range []struct {
		tags string
		link mapping.Link
	}{
		{`[]`, mapping.Link{Names: []string{}, Fixed: []string{}, Create: []string{}}},
		{`[{"Key":"owner","Value":"core"}]`, mapping.Link{Names: []string{}, Fixed: []string{}, Create: []string{}}},
		{`[{"Key":"port-auth-service","Value":""}]`, mapping.Link{Names: []string{"uth-service"}, Fixed: []string{"auth-service"}, Create: []string{"auth-service"}}},
		{`[{"Key":"port-billing","Value":"x"},{"Key":"port-auth-service","Value":""},{"Key":"a","Value":""}]`,
			mapping.Link{Names: []string{"uth-service", "illing"}, Fixed: []string{"auth-service", "billing"}, Create: []string{"auth-service", "billing"}}},
		{`{"port-auth-service":""}`, mapping.Link{Names: []string{"uth-service"}, Fixed: []string{"auth-service"}, Create: []string{"auth-service"}}},
	} {
		got := c.Resources[0].Map(t.Context(), document(t, strings.Replace(repository, "%s", want.tags, 1)))
		if !got.Selected || got.Failed || len(got.Entities) != 1 || got.Notices != nil {
			t.Fatalf("%s: %+v", want.tags, got)
		}
		e := got.Entities[0]
		if diff := cmp.Diff(want.link, e.Relations["service"]); diff != "" {
			t.Errorf("%s: %s", want.tags, diff)
		}
		if e.Identifier != "team/app" || e.Blueprint != "ecr_repository" || e.Properties["link"] != "https://console.aws.amazon.com/go/view?arn=arn:aws:ecr:eu-west-1:000000000000:repository/team/app" ||
			e.Properties["lifecyclePolicy"] != nil || e.Relations["region"].Names[0] != "eu-west-1" {
			t.Errorf("%+v", e)
		}
		if diff := cmp.Diff(document(t, want.tags), e.Properties["tags"]); diff != "" {
			t.Errorf("the property tags must stay as AWS has it: %s", diff)
		}
	}
	var codes []string
	for _, n := range c.Notices() {
		codes = append(codes, string(n.Code)+" "+n.Fix)
	}
	if diff := cmp.Diff([]string{"KEYS_OF_TAGS .Tags[]? | .Key", `PREFIX_SLICE_MISMATCH .Tags | keys[] | select(startswith("port-")) | .[5:]`}, codes); diff != "" {
		t.Error(diff)
	}
	if text := c.Notices()[1].Text; !strings.Contains(text, `"port-auth-service" becomes "uth-service"`) {
		t.Error(text)
	}
}

// one maps a document by one relation's or property's expression.
func one(t *testing.T, root, slot, expression, doc string) mapping.Result {
	t.Helper()
	x, err := json.Marshal(expression)
	if err != nil {
		t.Fatal(err)
	}
	c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":".RepositoryName","blueprint":"b","` + slot + `":{"x":` + string(x) + `}}]}}}]` + root + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return c.Resources[0].Map(t.Context(), document(t, doc))
}

// TestTreatment: what becomes of expressions that fail, or give nothing, or much.
func TestTreatment(t *testing.T) {
	const tagged = `{"RepositoryName":"r","Tags":[{"Key":"port-a","Value":"1"},{"Key":"port-b","Value":"2"}]}`
	for name, c := range map[string]struct {
		root, slot, expression, doc string
		property                    any
		names, create               []string
		missing                     bool
		codes                       string
	}{
		"a portable expression":               {"", "relations", `[.Tags[]? | .Key | select(startswith("port-")) | ltrimstr("port-")]`, tagged, nil, []string{"a", "b"}, []string{"a", "b"}, false, "MANY_VALUES"},
		"strict: as it is written, and fails": {`,"strictJq":true`, "relations", `.Tags | keys[] | select(startswith("port-")) | .[6:]`, tagged, nil, nil, nil, true, "EXPRESSION_FAILED KEYS_OF_TAGS PREFIX_SLICE_MISMATCH"},
		"the slice fits":                      {"", "relations", `.Tags | keys[] | select(startswith("port-")) | .[5:]`, tagged, nil, []string{"a", "b"}, []string{"a", "b"}, false, "KEYS_OF_TAGS MANY_VALUES TAGS_AS_MAP"},
		"a prefix without a separator":        {"", "relations", `.Tags | keys[] | select(startswith("port")) | .[5:]`, tagged, nil, []string{"a", "b"}, []string{"a", "b"}, false, "KEYS_OF_TAGS MANY_VALUES PREFIX_SLICE_MISMATCH TAGS_AS_MAP"},
		"an error that it raises itself":      {"", "relations", `.Tags | if type == "array" then error("no") else "x" end`, tagged, nil, nil, nil, true, "EXPRESSION_FAILED"},
		"a failing property costs itself":     {"", "properties", `.RepositoryName | keys`, tagged, nil, nil, nil, true, "EXPRESSION_FAILED"},
		"tags that are not read":              {"", "properties", `.RepositoryName.x`, tagged, nil, nil, nil, true, "EXPRESSION_FAILED"},
		"the first output counts":             {"", "properties", `1, 2`, tagged, 1, nil, nil, false, ""},
		"no output clears":                    {"", "properties", `empty`, tagged, nil, nil, nil, false, ""},
		"nothing to link":                     {"", "relations", `empty`, tagged, nil, []string{}, []string{}, false, ""},
		"nulls and twins":                     {"", "relations", `["a", null, "a", 7], "a"`, tagged, nil, []string{"a", "7"}, []string{"a", "7"}, false, "MANY_VALUES"},
		"a space names nothing":               {"", "relations", `"a b"`, tagged, nil, []string{"a b"}, []string{"a b"}, false, "NOT_AN_IDENTIFIER"},
		"halted":                              {"", "properties", `halt`, tagged, nil, nil, nil, false, ""},
		"halted with an error":                {"", "properties", `"x" | halt_error`, tagged, nil, nil, nil, true, "EXPRESSION_FAILED"},
		"no environment":                      {"", "properties", `[env, $ENV] | map(length)`, tagged, []any{0, 0}, nil, nil, false, ""},
		"keys_unsorted":                       {"", "properties", `keys_unsorted`, tagged, []any{"RepositoryName", "Tags"}, nil, nil, false, ""},
		"too many":                            {"", "properties", `range(10000)`, tagged, nil, nil, nil, true, "EXPRESSION_FAILED"},
		"wrapped by a newer exporter":         {"", "relations", `.Properties.Tags | keys[] | select(startswith("port-")) | .[5:]`, `{"RepositoryName":"r","Properties":{"Tags":[{"Key":"port-a","Value":""}]}}`, nil, []string{"a"}, []string{"a"}, false, "TAGS_AS_MAP"},
		"not for jq 1.6":                      {"", "properties", `if .x then 1 end`, tagged, document(t, tagged), nil, nil, false, "NOT_PORTABLE"},
	} {
		got := one(t, c.root, c.slot, c.expression, c.doc)
		if len(got.Entities) != 1 {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		e := got.Entities[0]
		property, hasProperty := e.Properties["x"]
		link, hasLink := e.Relations["x"]
		if (hasProperty || hasLink) == c.missing || !cmp.Equal(property, c.property) || hasLink && (!cmp.Equal(link.Names, c.names) || !cmp.Equal(link.Create, c.create)) {
			t.Errorf("%s: property %#v, link %+v", name, property, link)
		}
		codes := map[string]bool{}
		for _, s := range e.Steps {
			for _, n := range s.Notices {
				codes[string(n.Code)] = true
			}
		}
		for _, want := range strings.Fields(c.codes) {
			if !codes[want] {
				t.Errorf("%s: no notice %s among %v", name, want, codes)
			}
		}
		if len(codes) != len(strings.Fields(c.codes)) {
			t.Errorf("%s: notices %v, want %s", name, codes, c.codes)
		}
	}
}

// TestItems: selectors, and resources that are parsed into items.
func TestItems(t *testing.T) {
	c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","selector":{"query":".n > 1"},"port":{"itemsToParse":".list","itemsToParseName":"it","entity":{"mappings":
		{"identifier":".it.id","blueprint":"\"image\"","title":".n"}}}}]}`))
	if err != nil || !c.CreateMissing {
		t.Fatal(c, err)
	}
	got := c.Resources[0].Map(t.Context(), document(t, `{"n":2,"list":[{"id":"a"},{"id":null},{"id":"b"},{"id":{}}]}`))
	if len(got.Entities) != 2 || got.Entities[1].Identifier != "b" || got.Entities[0].Title != 2.0 || got.Failed || len(got.Notices) != 2 || got.Notices[0].Code != mapping.Empty {
		t.Errorf("%+v", got)
	}
	if got := c.Resources[0].Map(t.Context(), document(t, `{"n":1}`)); got.Selected || len(got.Entities) != 0 {
		t.Errorf("%+v", got)
	}
	if got := c.Resources[0].Map(t.Context(), document(t, `{"n":2,"list":"x"}`)); !got.Selected || len(got.Entities) != 0 || got.Failed {
		t.Errorf("%+v", got)
	}
	if got := c.Resources[0].Map(t.Context(), document(t, `{"n":2,"list":[{"id":1},7]}`)); len(got.Entities) != 1 || got.Entities[0].Identifier != "1" || !got.Failed {
		t.Errorf("an identifier that fails protects what there is: %+v", got)
	}
}

// TestTime: an evaluation ends when its time is up, and that is not taken for an error of
// types.
func TestTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":"\"i\"","blueprint":"b","properties":{"x":".Tags | last(range(infinite))"}}]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Resources[0].Map(ctx, document(t, `{"Tags":[]}`))
	if len(got.Entities) != 1 || !strings.Contains(got.Entities[0].Steps[2].Notices[0].Text, mapping.ErrLate.Error()) {
		t.Errorf("%+v", got)
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                            "config: unexpected EOF",
		"{\n\"resources\": [}":         "config, line 2: invalid character '}'",
		`{"resources":[]} {}`:          "config: something follows",
		`{}`:                           "resources: must be a list",
		`{"resources":[1]}`:            "resources[0]: must be an object",
		`{"resources":[{"port":{}}]}`:  "resources[0].kind: must be a kind",
		`{"resources":[{"kind":"k"}]}`: "resources[0].port: is missing",
		`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":".a |","blueprint":1,"properties":{"p":7,"q":"nope(1)"}}]}}}]}`: `resources[0].port.entity.mappings[0].identifier: column 5: unexpected EOF
resources[0].port.entity.mappings[0].blueprint: must be a blueprint's identifier, or an expression
resources[0].port.entity.mappings[0].properties.p: must be a jq expression in a string
resources[0].port.entity.mappings[0].properties.q: function not defined: nope/1`,
		`{"resources":[{"kind":"k","port":{"entity":{"mappings":[]}}}],"entityDeletionThreshold":2,"strictJq":1}`: `entityDeletionThreshold: must be between 0 and 1
strictJq: must be true or false
resources[0].port.entity.mappings: must be a mapping, or a list of 1 to 200`,
		`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":"` + strings.Repeat("1+", 5000) + `1","blueprint":"b"}]}}}]}`: "at most 8192 are allowed",
		`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":"input","blueprint":"b"}]}}}]}`:                               "input(s)/0 is not allowed",
	} {
		_, err := mapping.Read([]byte(text))
		var list mapping.Problems
		if !errors.As(err, &list) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, x := range []string{`.Tags | keys[] | select(startswith("port-")) | .[6:]`, `.Arn | split(":") | .[3]`, `"\(.a)"`, `def f: .; f`, `[.[] | select(startswith("é")) | .[2:]]`, `if . then 1 end`, `label $x | break $x`} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := json.Marshal(text)
		if err != nil || len(text) > 200 {
			return
		}
		c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":"\"i\"","blueprint":"b","relations":{"x":` + string(x) + `}}]}}}]}`))
		if err != nil {
			return
		}
		for _, n := range c.Notices() {
			if n.Code == mapping.PrefixSlice && n.Fix == "" {
				t.Errorf("%q: no fix", text)
			}
		}
	})
}
