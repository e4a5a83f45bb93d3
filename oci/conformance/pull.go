package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func ping(t *testing.T, s *suite) {
	s.do(t, "GET", "/v2/", nil).want(t, 200)
	s.do(t, "HEAD", "/v2/", nil).want(t, 200)
}

func authentication(t *testing.T, s *suite) {
	if !s.Basic {
		t.Log("the target asks for no credentials")
		return
	}
	for _, path := range []string{"/v2/", "/v2/" + s.Repository + "/tags/list", "/v2/" + s.Repository + "/manifests/none", "/v2/_catalog"} {
		for _, auth := range []string{"", "Basic", "Basic QVdTOg==", "Basic QVdTOm5vcGU=", "Bearer xyz", "Basic ???"} {
			r := s.do(t, "GET", path, nil, "Authorization", auth).want(t, 401)
			if h := r.Header.Get("Www-Authenticate"); !strings.HasPrefix(h, "Basic realm=") {
				t.Errorf("%s: Www-Authenticate %q", path, h)
			}
			r.header(t, "Content-Type", "text/plain; charset=utf-8")
			if string(r.body) != "Not Authorized\n" {
				t.Errorf("%s: body %q", path, r.body)
			}
		}
	}
}

func pullBlob(t *testing.T, s *suite) {
	for _, n := range []int{0, 1, 70_000, 1 << 20} {
		b := random(n)
		d := s.putBlob(t, s.Repository, b)
		r := s.do(t, "GET", s.Repository+"/blobs/"+d, nil).want(t, 200).header(t, "Content-Length", strconv.Itoa(n)).header(t, "Docker-Content-Digest", d)
		if !bytes.Equal(r.body, b) {
			t.Errorf("%d bytes came back as %d others", n, len(r.body))
		}
		h := s.do(t, "HEAD", s.Repository+"/blobs/"+d, nil).want(t, 200).header(t, "Content-Length", strconv.Itoa(n)).header(t, "Docker-Content-Digest", d)
		if len(h.body) > 0 {
			t.Error("HEAD has a body")
		}
	}
	for _, m := range []string{"GET", "HEAD"} {
		r := s.do(t, m, s.Repository+"/blobs/"+sha(random(9)), nil).want(t, 404)
		if m == "GET" {
			r.code(t, "BLOB_UNKNOWN")
		}
	}
	s.do(t, "GET", s.Repository+"/blobs/sha256:xyz", nil).want(t, 400, 404).code(t, "DIGEST_INVALID", "BLOB_UNKNOWN")
}

func ranges(t *testing.T, s *suite) {
	b := random(100_000)
	path := s.Repository + "/blobs/" + s.putBlob(t, s.Repository, b)
	for _, c := range []struct {
		spec     string
		from, to int // to is exclusive
	}{
		{"bytes=0-0", 0, 1}, {"bytes=0-9", 0, 10}, {"bytes=5-", 5, 100_000}, {"bytes=-7", 99_993, 100_000},
		{"bytes=99999-99999", 99_999, 100_000}, {"bytes=10-200000", 10, 100_000}, {"bytes=-200000", 0, 100_000},
	} {
		r := s.do(t, "GET", path, nil, "Range", c.spec).want(t, 206)
		r.header(t, "Content-Range", fmt.Sprintf("bytes %d-%d/100000", c.from, c.to-1))
		if !bytes.Equal(r.body, b[c.from:c.to]) {
			t.Errorf("%s: %d bytes, want %d", c.spec, len(r.body), c.to-c.from)
		}
	}
	for _, spec := range []string{"bytes=100000-", "bytes=200000-300000"} {
		s.do(t, "GET", path, nil, "Range", spec).want(t, 416)
	}
}

func pullManifest(t *testing.T, s *suite) {
	for _, mediaType := range []string{ociManifest, dockerManifest} {
		doc := s.image(t, s.Repository)
		doc.MediaType = mediaType
		body := doc.bytes()
		s.putManifest(t, s.Repository, "pulled", mediaType, body).want(t, 201)
		for _, ref := range []string{"pulled", sha(body)} {
			for _, method := range []string{"GET", "HEAD"} {
				r := s.do(t, method, s.Repository+"/manifests/"+ref, nil, "Accept", mediaType).want(t, 200)
				r.header(t, "Content-Type", mediaType).header(t, "Docker-Content-Digest", sha(body)).header(t, "Content-Length", strconv.Itoa(len(body)))
				if method == "GET" && !bytes.Equal(r.body, body) {
					t.Errorf("the manifest came back changed: %s", r.body)
				}
			}
		}
	}
	for _, ref := range []string{"no-such-tag", sha(random(3))} {
		s.do(t, "GET", s.Repository+"/manifests/"+ref, nil).want(t, 404).code(t, "MANIFEST_UNKNOWN")
		s.do(t, "HEAD", s.Repository+"/manifests/"+ref, nil).want(t, 404)
	}
	s.do(t, "GET", s.Repository+"/manifests/.bad", nil).want(t, 400, 404)
	s.do(t, "GET", "no/such/repository/manifests/x", nil).want(t, 404).code(t, "NAME_UNKNOWN", "MANIFEST_UNKNOWN")
	s.do(t, "GET", "UPPER/manifests/x", nil).want(t, 400, 404).code(t, "NAME_INVALID", "NAME_UNKNOWN")
}

func tags(t *testing.T, s *suite) {
	body := s.image(t, s.Repository).bytes()
	want := []string{"Z", "_0", "a", "a.b", "b-1", "page10", "page2"}
	for _, tag := range want {
		s.putManifest(t, s.Repository, tag, ociManifest, body).want(t, 201)
	}
	list := func(query string) ([]string, string) {
		r := s.do(t, "GET", s.Repository+"/tags/list"+query, nil).want(t, 200)
		var doc struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(r.body, &doc); err != nil || doc.Name != s.Repository {
			t.Fatalf("%s: %v", r.body, err)
		}
		return doc.Tags, r.Header.Get("Link")
	}
	all, _ := list("")
	for _, tag := range want {
		if !slices.Contains(all, tag) {
			t.Errorf("tag %s is not listed", tag)
		}
	}
	if !slices.IsSorted(all) && !slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }) {
		t.Errorf("tags are in no lexical order: %q", all)
	}
	// Pages, by following the links (end-8b), give the same.
	var paged []string
	for query := "?n=2"; ; {
		page, link := list(query)
		if len(page) > 2 {
			t.Fatalf("n=2 gave %d tags", len(page))
		}
		paged = append(paged, page...)
		if link == "" {
			break
		}
		target, rel, _ := strings.Cut(link, ";")
		u, err := url.Parse(strings.Trim(target, "<> "))
		if err != nil || !strings.Contains(rel, `rel="next"`) {
			t.Fatalf("Link %q", link)
		}
		query = "?" + u.RawQuery
	}
	if !slices.Equal(paged, all) {
		t.Errorf("pages give %q, the whole list %q", paged, all)
	}
	if after, _ := list("?last=a.b"); slices.Contains(after, "a.b") || slices.Contains(after, "a") || !slices.Contains(after, "b-1") {
		t.Errorf("after a.b: %q", after)
	}
	if none, _ := list("?n=0"); len(none) != 0 {
		t.Errorf("n=0: %q", none)
	}
	for _, n := range []string{"-1", "x"} {
		s.do(t, "GET", s.Repository+"/tags/list?n="+n, nil).want(t, 400)
	}
	s.do(t, "GET", "no/such/repository/tags/list", nil).want(t, 404).code(t, "NAME_UNKNOWN")
}

func referrers(t *testing.T, s *suite) {
	subject := s.image(t, s.Repository).bytes()
	s.putManifest(t, s.Repository, "subject", ociManifest, subject).want(t, 201)
	absent := random(5)
	for _, of := range []descriptor{{MediaType: ociManifest, Digest: sha(subject), Size: len(subject)}, {MediaType: ociManifest, Digest: sha(absent), Size: 5}} {
		kinds := map[string]string{} // digest -> artifact type
		for i, kind := range []string{"test/sbom", "test/signature", "test/signature"} {
			empty := []byte("{}")
			s.putBlob(t, s.Repository, empty)
			doc := document{SchemaVersion: 2, MediaType: ociManifest, ArtifactType: kind, Subject: &of, Annotations: map[string]string{"n": strconv.Itoa(i)},
				Config: &descriptor{MediaType: emptyJSON, Digest: sha(empty), Size: 2}, Layers: []descriptor{{MediaType: emptyJSON, Digest: sha(empty), Size: 2}}}
			body := doc.bytes()
			kinds[sha(body)] = kind
			s.putManifest(t, s.Repository, sha(body), ociManifest, body).want(t, 201).header(t, "OCI-Subject", of.Digest)
		}
		// The artifact type of a manifest that names none is its config's.
		plain := s.image(t, s.Repository)
		plain.Subject = &of
		kinds[sha(plain.bytes())] = ociConfig
		s.putManifest(t, s.Repository, sha(plain.bytes()), ociManifest, plain.bytes()).want(t, 201)
		// An index can refer, too.
		index := document{SchemaVersion: 2, MediaType: ociIndex, ArtifactType: "test/index", Subject: &of, Manifests: []descriptor{}}
		raw := bytes.Replace(index.bytes(), []byte(`"subject"`), []byte(`"manifests":[],"subject"`), 1)
		kinds[sha(raw)] = "test/index"
		s.putManifest(t, s.Repository, sha(raw), ociIndex, raw).want(t, 201).header(t, "OCI-Subject", of.Digest)

		s.expectReferrers(t, of.Digest, "", kinds)
		some := map[string]string{}
		for d, k := range kinds {
			if k == "test/signature" {
				some[d] = k
			}
		}
		s.expectReferrers(t, of.Digest, "test/signature", some)
	}
	s.expectReferrers(t, sha(random(4)), "", nil)
	s.do(t, "GET", s.Repository+"/referrers/sha256:short", nil).want(t, 400, 404)
}

func (s *suite) expectReferrers(t *testing.T, subject, filter string, want map[string]string) {
	t.Helper()
	path := s.Repository + "/referrers/" + subject
	if filter != "" {
		path += "?artifactType=" + url.QueryEscape(filter)
	}
	r := s.do(t, "GET", path, nil).want(t, 200).header(t, "Content-Type", ociIndex)
	var got document
	if err := json.Unmarshal(r.body, &got); err != nil || got.SchemaVersion != 2 || got.MediaType != ociIndex || !bytes.Contains(r.body, []byte(`"manifests":[`)) {
		t.Fatalf("not an index: %s", r.body)
	}
	if filter != "" && r.Header.Get("OCI-Filters-Applied") != "artifactType" {
		t.Errorf("OCI-Filters-Applied is %q", r.Header.Get("OCI-Filters-Applied"))
	}
	if len(got.Manifests) != len(want) {
		t.Errorf("%d referrers, want %d: %s", len(got.Manifests), len(want), r.body)
	}
	for _, d := range got.Manifests {
		if d.ArtifactType != want[d.Digest] || d.Size == 0 || d.MediaType == "" {
			t.Errorf("%+v, want artifact type %q", d, want[d.Digest])
		}
		if strings.HasPrefix(d.ArtifactType, "test/s") && d.Annotations["n"] == "" {
			t.Errorf("%s lost its annotations", d.Digest)
		}
	}
}

func unknownRoutes(t *testing.T, s *suite) {
	for _, path := range []string{"/v2/x", "/v2/" + s.Repository + "/things/y", "/v2/" + s.Repository + "/blobs/", "/v2/" + s.Repository + "/tags/"} {
		s.do(t, "GET", path, nil).want(t, 404, 400)
	}
	for _, c := range [][2]string{{"POST", "/manifests/x"}, {"PUT", "/tags/list"}, {"PATCH", "/blobs/" + sha(nil)}} {
		s.do(t, c[0], s.Repository+c[1], nil).want(t, 405)
	}
}
