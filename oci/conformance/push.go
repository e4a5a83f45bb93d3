package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

func (s *suite) stored(t *testing.T, repo string, b []byte) {
	t.Helper()
	if r := s.do(t, "GET", repo+"/blobs/"+sha(b), nil).want(t, 200); !bytes.Equal(r.body, b) {
		t.Errorf("%d bytes pushed, %d others pulled", len(b), len(r.body))
	}
}

func pushTwo(t *testing.T, s *suite) {
	b := random(80_000)
	r := s.do(t, "POST", s.Repository+"/blobs/uploads/", nil).want(t, 202)
	done := s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), b, "Content-Type", "application/octet-stream").want(t, 201)
	if l := s.location(t, done); !strings.HasSuffix(l, "/blobs/"+sha(b)) {
		t.Errorf("Location %s", l)
	}
	s.stored(t, s.Repository, b)
	// The same once more is no error.
	s.putBlob(t, s.Repository, b)
	// The empty blob.
	s.putBlob(t, s.Repository, nil)
	s.stored(t, s.Repository, nil)
}

func pushOne(t *testing.T, s *suite) {
	b := random(90_000)
	r := s.do(t, "POST", withDigest(s.Repository+"/blobs/uploads/", sha(b)), b, "Content-Type", "application/octet-stream").want(t, 201, 202)
	if r.StatusCode == 202 { // a registry may not support it, and then starts an upload
		s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), b).want(t, 201)
	}
	s.stored(t, s.Repository, b)
	s.do(t, "POST", withDigest(s.Repository+"/blobs/uploads/", sha(random(2))), b, "Content-Type", "application/octet-stream").want(t, 400, 202)
}

func pushStream(t *testing.T, s *suite) {
	b := random(1_500_000)
	r := s.do(t, "POST", s.Repository+"/blobs/uploads/", nil).want(t, 202)
	// No length known: chunked transfer encoding.
	r = s.send(t, "PATCH", s.location(t, r), io.MultiReader(bytes.NewReader(b)), -1, "Content-Type", "application/octet-stream").want(t, 202)
	r.header(t, "Range", fmt.Sprintf("0-%d", len(b)-1))
	s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), nil).want(t, 201)
	s.stored(t, s.Repository, b)
}

func contentRange(from, to int) string { return fmt.Sprintf("%d-%d", from, to-1) }

func pushChunks(t *testing.T, s *suite) {
	for _, lastInPut := range []bool{false, true} {
		b := random(300_000)
		r := s.do(t, "POST", s.Repository+"/blobs/uploads/", nil, "Content-Length", "0").want(t, 202)
		for from := 0; from < len(b); from += 100_000 {
			chunk := b[from : from+100_000]
			if lastInPut && from == 200_000 {
				s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), chunk, "Content-Type", "application/octet-stream", "Content-Range", contentRange(from, from+len(chunk))).want(t, 201)
				break
			}
			r = s.do(t, "PATCH", s.location(t, r), chunk, "Content-Type", "application/octet-stream", "Content-Range", contentRange(from, from+len(chunk))).want(t, 202)
			r.header(t, "Range", fmt.Sprintf("0-%d", from+len(chunk)-1))
			st := s.do(t, "GET", s.location(t, r), nil).want(t, 204).header(t, "Range", fmt.Sprintf("0-%d", from+len(chunk)-1))
			_ = s.location(t, st)
		}
		if !lastInPut {
			s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), nil).want(t, 201)
		}
		s.stored(t, s.Repository, b)
	}
}

func chunkErrors(t *testing.T, s *suite) {
	b := random(20_000)
	r := s.do(t, "POST", s.Repository+"/blobs/uploads/", nil).want(t, 202)
	where := s.location(t, r)
	// The first chunk must begin at 0.
	s.do(t, "PATCH", where, b[10_000:], "Content-Type", "application/octet-stream", "Content-Range", contentRange(10_000, 20_000)).want(t, 416)
	r = s.do(t, "PATCH", where, b[:10_000], "Content-Type", "application/octet-stream", "Content-Range", contentRange(0, 10_000)).want(t, 202)
	where = s.location(t, r)
	for _, bad := range []string{contentRange(0, 10_000), contentRange(5_000, 15_000), contentRange(11_000, 21_000), "x-y", "20000-10000", "10000-99999"} {
		s.do(t, "PATCH", where, b[10_000:], "Content-Type", "application/octet-stream", "Content-Range", bad).want(t, 416)
	}
	// Nothing of it was taken.
	st := s.do(t, "GET", where, nil).want(t, 204).header(t, "Range", "0-9999")
	r = s.do(t, "PATCH", s.location(t, st), b[10_000:], "Content-Type", "application/octet-stream", "Content-Range", contentRange(10_000, 20_000)).want(t, 202)
	s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), nil).want(t, 201)
	s.stored(t, s.Repository, b)
}

func uploadErrors(t *testing.T, s *suite) {
	start := func() string { return s.location(t, s.do(t, "POST", s.Repository+"/blobs/uploads/", nil).want(t, 202)) }
	b := random(1000)
	s.do(t, "PUT", withDigest(start(), sha(random(5))), b).want(t, 400).code(t, "DIGEST_INVALID")
	s.do(t, "GET", s.Repository+"/blobs/"+sha(b), nil).want(t, 404)
	for _, d := range []string{"", "sha256:", "sha256:zz", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + strings.Repeat("A", 64)} {
		s.do(t, "PUT", withDigest(start(), d), b).want(t, 400).code(t, "DIGEST_INVALID")
	}
	s.do(t, "PUT", start(), b).want(t, 400) // no digest at all
	s.do(t, "PUT", withDigest(s.Repository+"/blobs/uploads/00000000-0000-4000-8000-000000000000", sha(b)), b).want(t, 404).code(t, "BLOB_UPLOAD_UNKNOWN")
	s.do(t, "POST", "UPPER/blobs/uploads/", nil).want(t, 400, 404)
	// SHA-512 is a registered algorithm.
	for _, n := range []int{1000, 200_000} {
		b = random(n)
		if r := s.do(t, "PUT", withDigest(start(), sha5(b)), b).want(t, 201, 400); r.StatusCode == 201 {
			if g := s.do(t, "GET", s.Repository+"/blobs/"+sha5(b), nil).want(t, 200); !bytes.Equal(g.body, b) {
				t.Error("a blob by SHA-512 came back changed")
			}
		}
		s.do(t, "PUT", withDigest(start(), sha5(random(3))), b).want(t, 400)
	}
}

func pushManifest(t *testing.T, s *suite) {
	body := s.image(t, s.Repository).bytes()
	for _, ref := range []string{"pushed", sha(body), "pushed"} { // the last again: idempotent
		r := s.putManifest(t, s.Repository, ref, ociManifest, body).want(t, 201)
		if l := s.location(t, r); !strings.Contains(l, "/manifests/") {
			t.Errorf("Location %s", l)
		}
		r.header(t, "Docker-Content-Digest", sha(body))
	}
	// A tag moves to another image.
	other := s.image(t, s.Repository).bytes()
	s.putManifest(t, s.Repository, "pushed", ociManifest, other).want(t, 201)
	s.do(t, "HEAD", s.Repository+"/manifests/pushed", nil).want(t, 200).header(t, "Docker-Content-Digest", sha(other))
	s.do(t, "GET", s.Repository+"/manifests/"+sha(body), nil).want(t, 200)
}

func manifestErrors(t *testing.T, s *suite) {
	doc := s.image(t, s.Repository)
	body := doc.bytes()
	put := func(ref, mediaType string, body []byte) reply {
		return s.putManifest(t, s.Repository, ref, mediaType, body)
	}
	for _, bad := range []string{"", "null", "[]", "{", "nonsense", `{"schemaVersion":1}`} {
		put("bad", ociManifest, []byte(bad)).want(t, 400).code(t, "MANIFEST_INVALID")
	}
	put(".bad", ociManifest, body).want(t, 400, 404)
	put(strings.Repeat("x", 129), ociManifest, body).want(t, 400, 404)
	put(sha(random(3)), ociManifest, body).want(t, 400).code(t, "DIGEST_INVALID", "MANIFEST_INVALID")
	missing := doc
	missing.Layers = []descriptor{{MediaType: ociLayer, Digest: sha(random(6)), Size: 6}}
	put("bad", ociManifest, missing.bytes()).want(t, 400, 404).code(t, "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_INVALID")
	index := document{SchemaVersion: 2, MediaType: ociIndex, Manifests: []descriptor{{MediaType: ociManifest, Digest: sha(random(6)), Size: 6}}}
	put("bad", ociIndex, index.bytes()).want(t, 400, 404).code(t, "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "MANIFEST_INVALID")
	s.do(t, "GET", s.Repository+"/manifests/bad", nil).want(t, 404)
}

func pushIndex(t *testing.T, s *suite) {
	index := document{SchemaVersion: 2, MediaType: ociIndex}
	for range 2 {
		child := s.image(t, s.Repository).bytes()
		s.putManifest(t, s.Repository, sha(child), ociManifest, child).want(t, 201)
		index.Manifests = append(index.Manifests, descriptor{MediaType: ociManifest, Digest: sha(child), Size: len(child)})
	}
	body := index.bytes()
	s.putManifest(t, s.Repository, "multi", ociIndex, body).want(t, 201)
	r := s.do(t, "GET", s.Repository+"/manifests/multi", nil, "Accept", ociIndex).want(t, 200).header(t, "Content-Type", ociIndex)
	if !bytes.Equal(r.body, body) {
		t.Error("the index came back changed")
	}
	nested := document{SchemaVersion: 2, MediaType: ociIndex, Manifests: []descriptor{{MediaType: ociIndex, Digest: sha(body), Size: len(body)}}}
	s.putManifest(t, s.Repository, "nested", ociIndex, nested.bytes()).want(t, 201)
}

func deleteManifest(t *testing.T, s *suite) {
	if s.NoDelete {
		return
	}
	body := s.image(t, s.Repository).bytes()
	for _, tag := range []string{"gone1", "gone2"} {
		s.putManifest(t, s.Repository, tag, ociManifest, body).want(t, 201)
	}
	// By tag: the tag is gone, the image stays while another tag has it.
	if r := s.do(t, "DELETE", s.Repository+"/manifests/gone1", nil).want(t, 202, 400, 405); r.StatusCode == 202 {
		s.do(t, "GET", s.Repository+"/manifests/gone1", nil).want(t, 404)
		s.do(t, "GET", s.Repository+"/manifests/gone2", nil).want(t, 200)
	}
	// By digest: all is gone.
	s.do(t, "DELETE", s.Repository+"/manifests/"+sha(body), nil).want(t, 202)
	for _, ref := range []string{"gone2", sha(body)} {
		s.do(t, "GET", s.Repository+"/manifests/"+ref, nil).want(t, 404).code(t, "MANIFEST_UNKNOWN")
	}
	r := s.do(t, "GET", s.Repository+"/tags/list", nil).want(t, 200)
	var doc struct{ Tags []string }
	if err := json.Unmarshal(r.body, &doc); err != nil || strings.Contains(fmt.Sprint(doc.Tags), "gone2") {
		t.Errorf("deleted tags are listed: %v %v", doc.Tags, err)
	}
	s.do(t, "DELETE", s.Repository+"/manifests/"+sha(body), nil).want(t, 404).code(t, "MANIFEST_UNKNOWN")
	// The same image can be pushed again.
	s.putManifest(t, s.Repository, "gone1", ociManifest, body).want(t, 201)
	s.do(t, "GET", s.Repository+"/manifests/gone1", nil).want(t, 200)
}

func deleteBlob(t *testing.T, s *suite) {
	if s.NoDelete {
		return
	}
	b := random(100)
	d := s.putBlob(t, s.Repository, b)
	// A registry may refuse (405); one that accepts must mean it.
	if r := s.do(t, "DELETE", s.Repository+"/blobs/"+d, nil).want(t, 202, 405); r.StatusCode == 202 {
		s.do(t, "GET", s.Repository+"/blobs/"+d, nil).want(t, 404)
	}
}

func mount(t *testing.T, s *suite) {
	b := random(50_000)
	s.putBlob(t, s.Other, b)
	r := s.do(t, "POST", s.Repository+"/blobs/uploads/?mount="+sha(b)+"&from="+s.Other, nil).want(t, 201, 202)
	if r.StatusCode == 201 {
		if l := s.location(t, r); !strings.HasSuffix(l, "/blobs/"+sha(b)) {
			t.Errorf("Location %s", l)
		}
	} else {
		s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), b).want(t, 201)
	}
	s.stored(t, s.Repository, b)
	// What cannot be mounted becomes an ordinary upload.
	other := random(300)
	for _, from := range []string{"&from=" + s.Other, "&from=no/such/repository", ""} {
		r := s.do(t, "POST", s.Repository+"/blobs/uploads/?mount="+sha(other)+from, nil).want(t, 202)
		_ = s.location(t, r)
	}
	s.do(t, "PUT", withDigest(s.location(t, s.do(t, "POST", s.Repository+"/blobs/uploads/?mount="+sha(other), nil)), sha(other)), other).want(t, 201)
	s.stored(t, s.Repository, other)
}

func cancelUpload(t *testing.T, s *suite) {
	where := s.location(t, s.do(t, "POST", s.Repository+"/blobs/uploads/", nil).want(t, 202))
	if r := s.do(t, "DELETE", where, nil).want(t, 204, 202, 405); r.StatusCode != 405 {
		s.do(t, "GET", where, nil).want(t, 404).code(t, "BLOB_UPLOAD_UNKNOWN")
	}
}
