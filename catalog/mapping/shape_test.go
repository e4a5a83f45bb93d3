package mapping_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/itchyny/gojq"

	"github.com/berth-registry/berth/catalog/mapping"
)

// TestShapes: mappings written for each of the public exporters find what they look for.
func TestShapes(t *testing.T) {
	for what, c := range map[string]struct{ identifier, region, scan, tag string }{
		"exporter": {".RepositoryName", `.Arn | split(\":\") | .[3]`, ".ImageScanningConfiguration.ScanOnPush", ".Tags[0].Key"},
		"ocean":    {".Identifier", ".__Region", ".Properties.ImageScanningConfiguration.ScanOnPush", ".Properties.Tags[0].Key"},
		"newer":    {`.Properties.RepositoryArn | split(\"/\") | .[1:] | join(\"/\")`, ".__ExtraContext.Region", ".Properties.ImageScanningConfiguration.scanOnPush", ".Properties.Tags[0].Key"},
	} {
		config, err := mapping.Read([]byte(`{"resources":[{"kind":"AWS::ECR::Repository","port":{"entity":{"mappings":[{"identifier":"` + c.identifier + `","blueprint":"b",
			"properties":{"region":"` + c.region + `","scan":"` + c.scan + `","tag":"` + c.tag + `"}}]}}}]}`))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := config.Map(t.Context(), "AWS::ECR::Repository", document(t, strings.Replace(repository, "%s", `[{"Key":"CamelCase","Value":""}]`, 1)))
		if len(got) != 1 || len(got[0].Entities) != 1 {
			t.Fatalf("%s: %+v", what, got)
		}
		e := got[0].Entities[0]
		if diff := cmp.Diff(map[string]any{"region": "eu-west-1", "scan": false, "tag": "CamelCase"}, e.Properties); diff != "" || e.Identifier != "team/app" {
			t.Errorf("%s: %q %s", what, e.Identifier, diff)
		}
	}
}

// TestGrammars: the older grammar makes no missing entities, the newer one does.
func TestGrammars(t *testing.T) {
	for blueprint, want := range map[string]bool{`service`: false, `\"service\"`: true} {
		c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":".a","blueprint":"` + blueprint + `"}]}}}]}`))
		if err != nil || c.CreateMissing != want {
			t.Errorf("blueprint %s: %v, create missing %v", blueprint, err, c.CreateMissing)
		}
	}
}

// TestPlainAgrees: what is evaluated without jq comes to what jq makes of it.
func TestPlainAgrees(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var value func(depth int) any
	value = func(depth int) any {
		switch n := rng.IntN(8); {
		case n < 2 && depth < 3:
			m := map[string]any{}
			for _, k := range []string{"a", "b", "c d"} {
				if rng.IntN(3) > 0 {
					m[k] = value(depth + 1)
				}
			}
			return m
		case n == 2:
			return nil
		case n == 3:
			return rng.IntN(2) == 0
		case n == 4:
			return float64(rng.IntN(5))
		case n == 5:
			return []any{"x"}
		}
		return []string{"", "x", "é"}[rng.IntN(3)]
	}
	var expression func(depth int) string
	expression = func(depth int) string {
		terms := []string{".", ".a", ".a.b", `."c d"`, `.a["c d"]`, `"lit"`, "null", "true", "false", ".b.a.b"}
		if depth == 3 || rng.IntN(3) == 0 {
			return terms[rng.IntN(len(terms))]
		}
		return expression(depth+1) + []string{" + ", " // ", " | "}[rng.IntN(3)] + expression(depth+1)
	}
	plain := 0
	for range 5000 {
		x, doc := expression(0), value(0)
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","strictJq":true,"port":{"entity":{"mappings":[{"identifier":"\"i\"","blueprint":"b","properties":{"x":` + string(text) + `}}]}}}]}`))
		if err != nil {
			t.Fatal(x, err)
		}
		if c.Bounded("k") {
			plain++
		}
		e := c.Map(t.Context(), "k", doc)[0].Entities[0]
		q, err := gojq.Parse(x)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := q.RunWithContext(context.Background(), doc).Next()
		got, there := e.Properties["x"]
		if err, failed := want.(error); failed {
			if there {
				t.Errorf("%s on %v: %v, jq says %v", x, doc, got, err)
			}
			continue
		}
		if !ok || cmp.Diff(want, got) != "" {
			t.Errorf("%s on %v: %v, jq says %v", x, doc, got, want)
		}
	}
	if plain < 2000 {
		t.Errorf("only %d expressions are plain", plain)
	}
}

// TestNotBounded: what could take long or much has limits.
func TestNotBounded(t *testing.T) {
	for _, x := range []string{"..", "{a:.b}", "def f: f; f", `"\\(.a)"`, "if .a then .b else .c end", "-.a", ".a - .b", ".a as $x | $x", ".a[] | .b[]", "(.a,.a)", ".a[] + .b[]", ".a * 1000000000", "[range(1e9)]",
		"recurse", "input", "env", ".a | test(\"x\")", "[limit(3; repeat(1))]", ".a | join(\"x\")", ".[.a]", "until(false; .)", "path(..)", "[.a[]] | .[]",
		".a+.a+.a+.a+.a+.a+.a+.a+.a+.a+.a", "reduce .a as $x (0; 1)", "try .a", "@json", "$__loc__", ".[\"a\", \"b\"]"} {
		text := strings.ReplaceAll(x, `"`, `\"`)
		c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":"\"i\"","blueprint":"b","properties":{"x":"` + text + `"}}]}}}]}`))
		if err == nil && c.Bounded("k") {
			t.Errorf("%s is taken for bounded", x)
		}
	}
}

// TestBounded: the guide's expressions, and their better forms, need no process.
func TestBounded(t *testing.T) {
	if !guide(t).Bounded("AWS::ECR::Repository") {
		t.Error("the guide's configuration is not")
	}
	for _, x := range []string{`[.Tags[]? | .Key | select(startswith("port-")) | ltrimstr("port-")]`, `.Tags | keys[] | select(startswith("port-")) | .[5:]`, `.Arn | split(":") | .[3]`,
		`[.Tags[]? | select(.Key == "port-service") | .Value] | sort | .[0]`} {
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		c, err := mapping.Read([]byte(`{"resources":[{"kind":"k","port":{"entity":{"mappings":[{"identifier":"\"i\"","blueprint":"b","properties":{"x":` + string(text) + `}}]}}}]}`))
		if err != nil || !c.Bounded("k") {
			t.Errorf("%s is not (%v)", x, err)
		}
	}
}
