package oci

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/registry"
)

var dg = "sha256:" + strings.Repeat("a", 64)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		path string
		want Request
		code registry.Code
	}{
		{"/v2", Request{Kind: KindPing}, ""},
		{"/v2/", Request{Kind: KindPing}, ""},
		{"/v2/_catalog", Request{Kind: KindCatalog}, ""},
		{"/v2/team/app/tags/list", Request{KindTags, "team/app", ""}, ""},
		{"/v2/team/app/manifests/1.0", Request{KindManifest, "team/app", "1.0"}, ""},
		{"/v2/team/app/manifests/" + dg, Request{KindManifest, "team/app", dg}, ""},
		{"/v2/team/app/blobs/" + dg, Request{KindBlob, "team/app", dg}, ""},
		{"/v2/team/app/blobs/uploads/", Request{KindUploads, "team/app", ""}, ""},
		{"/v2/team/app/blobs/uploads", Request{KindUploads, "team/app", ""}, ""},
		{"/v2/team/app/blobs/uploads/123", Request{KindUpload, "team/app", "123"}, ""},
		{"/v2/team/app/referrers/" + dg, Request{KindReferrers, "team/app", dg}, ""},
		// Words of routes may be names.
		{"/v2/blobs/manifests/tags/list", Request{KindTags, "blobs/manifests", ""}, ""},
		{"/v2/tags/list/manifests/x", Request{KindManifest, "tags/list", "x"}, ""},
		{"/v2/ab", Request{}, ""},
		{"/v2/team/app/blobs/", Request{}, ""},
		{"/other", Request{}, ""},
		{"/v2/UPPER/tags/list", Request{KindTags, "UPPER", ""}, registry.NameInvalid},
		{"/v2//tags/list", Request{KindTags, "", ""}, registry.NameInvalid},
		{"/v2/../../etc/manifests/passwd", Request{KindManifest, "../../etc", "passwd"}, registry.NameInvalid},
		{"/v2/a\x00b/manifests/x", Request{KindManifest, "a\x00b", "x"}, registry.NameInvalid},
		{"/v2/a b/manifests/x", Request{KindManifest, "a b", "x"}, registry.NameInvalid},
		{"/v2/aa%2fb/manifests/x", Request{KindManifest, "aa%2fb", "x"}, registry.NameInvalid}, // decoded once already
		{"/v2/team/app/blobs/sha256:xyz", Request{KindBlob, "team/app", "sha256:xyz"}, registry.DigestInvalid},
		{"/v2/team/app/manifests/md5:00", Request{KindManifest, "team/app", "md5:00"}, registry.DigestInvalid},
	} {
		got, err := Parse(c.path)
		if got != c.want || registry.CodeOf(err) != c.code {
			t.Errorf("%q: %+v, %v", c.path, got, err)
		}
	}
}

// FuzzParse: whatever the path, a route has a valid name, and a digest where it
// needs one.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/v2/", "/v2/a/b/manifests/x", "/v2/a/blobs/uploads/1", "/v2/a/referrers/" + dg, "/v2/a/tags/list"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		q, err := Parse(path)
		if err != nil || q.Kind == KindUnknown || q.Kind == KindPing || q.Kind == KindCatalog {
			return
		}
		if !registry.ValidName(q.Repository) || strings.Contains(q.Repository, "..") {
			t.Errorf("%q has the repository %q", path, q.Repository)
		}
		if (q.Kind == KindBlob || q.Kind == KindReferrers) && !strings.HasPrefix(q.Reference, "sha") {
			t.Errorf("%q has the digest %q", path, q.Reference)
		}
	})
}

// FuzzReference: a reference is a digest or a tag, never both or neither.
func FuzzReference(f *testing.F) {
	f.Add("latest")
	f.Add(dg)
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := registry.ParseReference(s)
		if ok && (id.Digest == "") == (id.Tag == "") {
			t.Errorf("%q: %+v", s, id)
		}
		if ok && id.Tag != "" && (len(id.Tag) > 128 || strings.ContainsAny(id.Tag, "/:@ ")) {
			t.Errorf("%q is taken for a tag", s)
		}
	})
}

// FuzzRange: a range that is accepted lies within the blob.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=-5", "bytes=5-", "bytes=9-3", "bytes=0-99999999999999999999", "bytes=1-2,3-4"} {
		f.Add(s, int64(100))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		r, err := parseRange(header, size)
		if err == nil && (r.start < 0 || r.length < 0 || r.start+r.length > size || r.partial && r.length == 0) {
			t.Errorf("%q of %d: %+v", header, size, r)
		}
	})
}

// FuzzContentRange: what is accepted has a length.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"0-9", "bytes 0-9/10", "9-0", "-", "9223372036854775807-9223372036854775807", "0-9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		start, length, ok := parseContentRange(v)
		if ok && (start < 0 || length < 1) {
			t.Errorf("%q: %d+%d", v, start, length)
		}
	})
}

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		header  string
		start   int64
		length  int64
		partial bool
		bad     bool
	}{
		{"", 0, 100, false, false}, {"bytes=0-9", 0, 10, true, false}, {"bytes=90-", 90, 10, true, false}, {"bytes=-10", 90, 10, true, false},
		{"bytes=50-1000", 50, 50, true, false}, {"bytes=-1000", 0, 100, true, false}, {"bytes=0-1,5-6", 0, 100, false, false}, {"items=0-1", 0, 100, false, false},
		{"bytes=100-", 0, 0, false, true}, {"bytes=5-4", 0, 0, false, true}, {"bytes=-0", 0, 0, false, true}, {"bytes=a-b", 0, 0, false, true},
		{"bytes=+1-2", 0, 0, false, true}, {"bytes=-", 0, 0, false, true}, {"bytes=5", 0, 0, false, true}, {"bytes=99999999999999999999-", 0, 0, false, true},
	} {
		r, err := parseRange(c.header, 100)
		if (err != nil) != c.bad || err == nil && (r != byteRange{c.start, c.length, c.partial}) {
			t.Errorf("%q: %+v, %v", c.header, r, err)
		}
	}
	if _, err := parseRange("bytes=0-", 0); err == nil {
		t.Error("an empty blob has no first byte")
	}
}

// TestEveryCodeHasAnAnswer: the table has no gap, and no client error is a 5xx.
func TestEveryCodeHasAnAnswer(t *testing.T) {
	for _, c := range registry.Codes() {
		a, ok := answers[c]
		if !ok || a.status < 400 || a.code == "" {
			t.Errorf("%s: %+v", c, a)
		}
		if a.status >= 500 && !slices.Contains([]registry.Code{registry.StorageFull, registry.Unavailable, registry.LayerInaccessible}, c) {
			t.Errorf("%s answers %d", c, a.status)
		}
	}
	if len(answers) != len(registry.Codes()) {
		t.Errorf("%d answers for %d codes", len(answers), len(registry.Codes()))
	}
}

// TestTable: every row that touches a repository names its action, and what
// changes something is not called a read.
func TestTable(t *testing.T) {
	for kind, methods := range table {
		for method, e := range methods {
			if e.serve == nil || (e.action == "" && kind != KindPing) {
				t.Errorf("kind %d %s: %+v", kind, method, e)
			}
			if e.reads != (method == http.MethodGet || method == http.MethodHead) {
				t.Errorf("kind %d %s: reads is %v", kind, method, e.reads)
			}
		}
	}
}
