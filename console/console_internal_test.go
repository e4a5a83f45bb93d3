package console

import (
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		text   string
		values map[string]string
		want   string
	}{
		{"aws x --name {name}", nil, "aws x --name NAME"},
		{"aws x --tag-key {tag_key}", nil, "aws x --tag-key TAG-KEY"},
		{"aws x --name {name}", map[string]string{"name": "team/app"}, "aws x --name team/app"},
		{"aws x --name {name}", map[string]string{"name": "it's"}, `aws x --name 'it'\''s'`},
		{"aws x --name {name}", map[string]string{"name": "$(rm -rf /)"}, `aws x --name '$(rm -rf /)'`},
		{"aws x [--a {a}] [--b {b}] end", map[string]string{"b": "1"}, "aws x --b 1 end"},
		{"aws x [--force{force=on}] end", map[string]string{"force": "on"}, "aws x --force end"},
		{"aws x [--force{force=on}] end", map[string]string{"force": "off"}, "aws x end"},
		{"aws x [--t Key={k},Value={v}] end", map[string]string{"k": "a"}, "aws x end"},
		{"aws x --m {m}[_WITH --f {f*filter=}] end", map[string]string{"m": "A", "f": "latest  dev-*"}, "aws x --m A_WITH --f filter=latest 'filter=dev-*' end"},
		{"aws x --m {m}[_WITH --f {f*filter=}] end", map[string]string{"m": "A"}, "aws x --m A end"},
		{"aws x --p {p}", map[string]string{"p": "{\"a\": [1]}"}, `aws x --p '{"a": [1]}'`},
	} {
		if got := command(c.text, c.values); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestPaths(t *testing.T) {
	for got, want := range map[string]string{
		pathOf("/repositories", "us-east-1", "team/app"):                           "/repositories/us-east-1/team/app",
		pathOf("/catalog", "b", "a b?c#d%"):                                        "/catalog/b/a%20b%3Fc%23d%25",
		query("/x", "a", "", "b", "1&2"):                                           "/x?b=1%262",
		query("/x", "a", ""):                                                       "/x",
		address("/roles/{name}", m("name", "a/b c")):                               "/roles/a/b%20c",
		address("/p?arn={arn}", m("arn", "arn:x:p/a+b&c")):                         "/p?arn=arn%3Ax%3Ap%2Fa%2Bb%26c",
		pageOf("arn:aws:ecr:eu-west-1:000000000000:repository/team/app"):           "/repositories/eu-west-1/team/app",
		pageOf("arn:aws:iam::000000000000:user/alice"):                             "/users/alice",
		pageOf("arn:aws:iam::000000000000:role/path/to/r"):                         "/roles/r",
		pageOf("arn:aws:iam::000000000000:policy/p"):                               "/policies/view?arn=arn%3Aaws%3Aiam%3A%3A000000000000%3Apolicy%2Fp",
		pageOf("arn:aws:lambda:us-east-1:000000000000:function:f:3"):               "/functions/us-east-1/f",
		pageOf("arn:aws:events:us-east-1:000000000000:rule/r"):                     "/rules/us-east-1/r",
		pageOf("arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f:*"):    "/logs?group=%2Faws%2Flambda%2Ff&region=us-east-1",
		pageOf("arn:aws:catalog::000000000000:entity/service/team/shop"):           "/catalog/service/team/shop",
		pageOf("arn:aws:s3:::bucket"):                                              "",
		pageOf("javascript:alert(1)"):                                              "",
		local("/users?next=a"):                                                     "/users?next=a",
		local("https://evil.example"):                                              "/",
		local("//evil.example"):                                                    "/",
		local("/\\evil.example"):                                                   "/",
		local("/signin?to=/x"):                                                     "/",
		local("users"):                                                             "/",
		local(""):                                                                  "/",
		webAddress("javascript:alert(1)"):                                          "",
		webAddress("https://example.com"):                                          "https://example.com",
		webAddress("https://console.aws.amazon.com/go/view?arn=arn:aws:ecr:x:y:z"): "/go/view?arn=arn:aws:ecr:x:y:z",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func m(k, v string) map[string]string { return map[string]string{k: v} }

// FuzzLocal: where somebody is sent after signing in is always this console.
func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/", "//x", "/\\x", "https://x", "/a?b#c", "\t/x", "/%5cx", "/..//x"} {
		f.Add(s)
	}
	base, err := url.Parse("http://console.example/signin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, to string) {
		got := local(to)
		u, err := base.Parse(got)
		if err != nil || u.Host != "console.example" || u.Scheme != "http" || strings.ContainsAny(got, "\\\r\n\t") || strings.HasPrefix(got, "//") {
			t.Errorf("%q leads to %q", to, got)
		}
	})
}

func TestSameOrigin(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string
		good   bool
	}{
		"nothing":         {nil, true},
		"same":            {map[string]string{"Origin": "http://console.example"}, true},
		"same, by fetch":  {map[string]string{"Sec-Fetch-Site": "same-origin"}, true},
		"typed":           {map[string]string{"Sec-Fetch-Site": "none"}, true},
		"another":         {map[string]string{"Origin": "http://evil.example"}, false},
		"another port":    {map[string]string{"Origin": "http://console.example:81"}, false},
		"hidden":          {map[string]string{"Origin": "null"}, false},
		"a site beside":   {map[string]string{"Sec-Fetch-Site": "same-site"}, false},
		"another, fetch":  {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://console.example"}, false},
		"no address":      {map[string]string{"Origin": "::"}, false},
		"as a substring":  {map[string]string{"Origin": "http://console.example.evil.example"}, false},
		"in another case": {map[string]string{"Origin": "http://CONSOLE.example"}, true},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://console.example/x", nil)
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		if err := sameOrigin(r); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTexts(t *testing.T) {
	for got, want := range map[string]string{
		bytesText(0): "0 B", bytesText(1023): "1023 B", bytesText(1024): "1.0 KiB", bytesText(int64(15 << 20)): "15 MiB", bytesText(int64(3) << 40): "3.0 TiB", bytesText((*int64)(nil)): "0 B",
		number(int64(1234567)): "1\u202f234\u202f567", number(12): "12", number(-1234): "-1\u202f234",
		short("sha256:0123456789abcdef"): "0123456789ab", short("v1"): "v1",
		distance(30 * time.Second): "just now", distance(-30 * time.Second): "in a moment", distance(90 * time.Minute): "1 h ago", distance(-72 * time.Hour): "in 3 days", distance(400 * 24 * time.Hour): "13 months ago",
		compact(950): "950", compact(20000): "20k", compact(2_500_000): "2.5M",
		cut("héllo wörld", 6): "héllo…", cut("short", 9): "short",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for n, want := range map[int64]int64{0: 2, 2: 2, 3: 4, 5: 10, 11: 20, 999: 1000, 1001: 2000} {
		if got := niceCeiling(n); got != want {
			t.Errorf("ceiling of %d: %d, want %d", n, got, want)
		}
	}
}

func TestSortEntities(t *testing.T) {
	list := []entity{{Identifier: "b", Properties: map[string]any{"n": 10.0, "t": "B"}}, {Identifier: "a", Title: "Z", Properties: map[string]any{"n": 9.0, "t": "a"}}, {Identifier: "c", Properties: map[string]any{}}}
	order := func() string {
		out := ""
		for _, e := range list {
			out += e.Identifier
		}
		return out
	}
	for by, want := range map[string]string{"n": "abc", "-n": "cba", "t": "abc", "$title": "bca"} {
		slices.SortFunc(list, func(a, b entity) int { return strings.Compare(a.Identifier, b.Identifier) })
		if sortEntities(list, by); order() != want {
			t.Errorf("by %s: %s, want %s", by, order(), want)
		}
	}
}

// TestPagesAreRouted: each form has a page, and each page that is named in the navigation
// is there.
func TestPagesAreRouted(t *testing.T) {
	for _, g := range navigation {
		for _, i := range g.Items {
			path := i.To
			if path == "/" {
				path = "/{$}"
			}
			if pages["GET "+path] == nil {
				t.Errorf("the navigation leads to %s, which is no page", i.To)
			}
			if icons[i.Icon] == "" {
				t.Errorf("there is no icon %s", i.Icon)
			}
		}
	}
	for pattern := range pages {
		if path, ok := strings.CutPrefix(pattern, "POST "); ok && pages["GET "+path] == nil {
			t.Errorf("%s has no page to come back to", pattern)
		}
	}
	v, err := parseViews()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"layout", "plain", "problem"} {
		if v.Lookup(name) == nil {
			t.Errorf("there is no template %s", name)
		}
	}
}

func TestGraphIsEscaped(t *testing.T) {
	p := newPicture()
	p.add(node{id: "a", text: `<script>"`, kind: `&`, to: `/x"y`})
	p.add(node{id: "b", text: "b", layer: 1})
	p.link("a", "b", "<i>")
	p.link("b", "a", "back")
	p.link("a", "a", "self")
	got := string(p.draw(`"label`))
	for _, bad := range []string{"<script>", `"label"`, "<i>", `/x"y`} {
		if strings.Contains(got, bad) {
			t.Errorf("%s stands in %s", bad, got)
		}
	}
	if n := strings.Count(got, "<rect"); n != 2 {
		t.Errorf("%d boxes", n)
	}
	if bars(time.Now(), time.Hour, nil) != template.HTML("") || strip(nil) != template.HTML("") {
		t.Error("nothing draws something")
	}
}
