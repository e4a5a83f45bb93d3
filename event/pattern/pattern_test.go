package pattern_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/event/pattern"
)

func lines(t *testing.T, file string) [][]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, strings.Split(line, " | "))
		}
	}
	return out
}

// TestCases: each case's answer was written by hand, from EventBridge's guide.
func TestCases(t *testing.T) {
	cases := lines(t, "testdata/cases.txt")
	if len(cases) < 80 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		p, err := pattern.Parse(c[1])
		if err != nil {
			t.Errorf("%s: %v", c[0], err)
			continue
		}
		e, err := pattern.Decode([]byte(c[2]))
		if err != nil {
			t.Fatalf("%s: %v", c[0], err)
		}
		if got := p.Match(e); got != (c[3] == "yes") {
			t.Errorf("%s: %s matches %s: %v", c[0], c[1], c[2], got)
		}
	}
}

func TestBad(t *testing.T) {
	for _, c := range lines(t, "testdata/bad.txt") {
		_, err := pattern.Parse(c[0])
		var e *pattern.Error
		if !errors.As(err, &e) || !strings.Contains(e.Reason, strings.TrimSpace(c[1])) || e.Line < 1 || e.Column < 1 {
			t.Errorf("%s: %v, want %q", c[0], err, c[1])
		}
	}
	if _, err := pattern.Parse(`{"a":["` + strings.Repeat("x", pattern.MaxSize) + `"]}`); err == nil {
		t.Error("a pattern over the limit was accepted")
	}
	if _, err := pattern.Parse(`{"a":[{"wildcard":"` + strings.Repeat("*a", 100) + `"}]}`); err == nil {
		t.Error("a pattern with too many wildcards was accepted")
	}
}

// TestSlow: no pattern takes long on a long text (RELIABILITY S13).
func TestSlow(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	event, err := pattern.Decode([]byte(`{"x":"` + long + `b"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{"x":[{"wildcard":"` + strings.Repeat("*a", 60) + `*c"}]}`,
		`{"x":[{"wildcard":"*` + strings.Repeat("a", 2000) + `c*"}]}`,
		`{"x":[{"anything-but":{"wildcard":["` + strings.Repeat(`*aaaaaaaac*","`, 30) + `z"]}}]}`,
		`{"x":[` + strings.Repeat(`{"equals-ignore-case":"A"},`, 120) + `"y"]}`,
		`{"$or":[` + strings.Repeat(`{"x":[{"suffix":"aaac"}]},`, 120) + `{"x":["y"]}]}`,
	} {
		p, err := pattern.Parse(text)
		if err != nil {
			t.Fatalf("%.60s: %v", text, err)
		}
		start := time.Now()
		p.Match(event)
		if took := time.Since(start); took > 500*time.Millisecond { // it takes about 20 ms; the rest is for a busy machine
			t.Errorf("%.60s took %s", text, took)
		}
	}
}

func TestCould(t *testing.T) {
	p, err := pattern.Parse(`{"source":["aws.ecr"],"detail":{"responseElements":{"repository":{"repositoryName":["x"]}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Could("aws.ecr", "anything", nil) || p.Could("aws.iam", "anything", nil) {
		t.Error("the source was not looked at, or more than it")
	}
	head := func(object, name string) (string, bool) {
		value, known := map[string]string{"eventName": "PutImage", "errorCode": "", "requestParameters.repositoryName": "team/app", "requestParameters.imageTag": ""}[strings.TrimPrefix(object+"."+name, ".")]
		return value, known
	}
	for text, want := range map[string]bool{
		`{"detail":{"eventName":["PutImage"]}}`:                                                    true,
		`{"detail":{"eventName":[{"prefix":"Put"}],"requestParameters":{"repositoryName":["x"]}}}`: false,
		`{"detail":{"eventName":["DeleteRepository"]}}`:                                            false,
		`{"detail":{"requestParameters":{"repositoryName":[{"prefix":"other/"}]}}}`:                false,
		`{"detail":{"requestParameters":{"repositoryName":[{"prefix":"team/"}]}}}`:                 true,
		`{"detail":{"requestParameters":{"imageTag":["a"]}}}`:                                      false,
		`{"detail":{"requestParameters":{"imageTag":[{"exists":false}]}}}`:                         true,
		`{"detail":{"responseElements":{"repositoryName":["x"]}}}`:                                 true,
		`{"detail":{"a":{"requestParameters":{"repositoryName":["x"]}}}}`:                          true,
		`{"detail":{"eventName":["PutImage"],"errorCode":["E"]}}`:                                  false,
		`{"detail":{"errorCode":[{"exists":false}]}}`:                                              true,
		`{"detail":{"errorCode":[{"exists":true}]}}`:                                               false,
		`{"detail":{"other":["x"]}}`:                                                               true,
		`{"detail":{"$or":[{"eventName":["x"]},{"eventName":["y"]}]}}`:                             true, // not looked at
		`{"detail-type":["other"],"detail":{"eventName":["PutImage"]}}`:                            false,
	} {
		p, err := pattern.Parse(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if p.Could("aws.ecr", "anything", head) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
	if !p.Mentions("detail", "responseElements") || p.Mentions("detail", "requestParameters") {
		t.Error("Mentions is wrong")
	}
}

func FuzzPattern(f *testing.F) {
	for _, c := range lines(&testing.T{}, "testdata/cases.txt") {
		f.Add(c[1], c[2])
	}
	f.Fuzz(func(t *testing.T, text, event string) {
		p, err := pattern.Parse(text)
		var bad *pattern.Error
		if err != nil {
			if !errors.As(err, &bad) {
				t.Errorf("%v", err)
			}
			return
		}
		if e, err := pattern.Decode([]byte(event)); err == nil {
			p.Match(e)
		}
		p.Could("aws.ecr", event, func(object, name string) (string, bool) { return event, len(object+name)%2 == 0 })
	})
}
