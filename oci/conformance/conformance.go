// Package conformance is the OCI distribution specification 1.1 as a test suite
// against a running registry, over HTTP only.
//
// Each case names the endpoint of the specification that it exercises (end-1 to
// end-13). Its package's own test runs it against the berth binary with
// authentication on; with -url it runs against any registry:
//
//	go test ./oci/conformance -url http://localhost:5000 -repository test/one
//
// It is not the specification's official suite; it covers the same endpoints and
// the errors beside them.
package conformance

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Target is a registry under test.
type Target struct {
	URL string // scheme://host:port
	// Authorization is the header's value, "" for none.
	Authorization string
	// Repository is pushed to; Other is a second one, to mount from.
	Repository, Other string
	// Basic says that the registry asks for Basic credentials as ECR does.
	Basic bool
	// NoDelete says that the registry was started without deletes.
	NoDelete bool
}

// Media types.
const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociLayer       = "application/vnd.oci.image.layer.v1.tar"
	emptyJSON      = "application/vnd.oci.empty.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// suite is one run against a target.
type suite struct {
	Target
	client *http.Client
}

// Run runs every case.
func Run(t *testing.T, target Target) {
	s := &suite{Target: target, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"end-1 ping", ping},
		{"end-1 authentication", authentication},
		{"end-2 pull blob", pullBlob},
		{"end-2 ranges", ranges},
		{"end-3 pull manifest", pullManifest},
		{"end-4a end-6 push in two requests", pushTwo},
		{"end-4b push in one request", pushOne},
		{"end-5 end-6 push streamed", pushStream},
		{"end-5 end-13 push in chunks", pushChunks},
		{"end-5 chunks out of order", chunkErrors},
		{"end-6 digests", uploadErrors},
		{"end-7 push manifest", pushManifest},
		{"end-7 manifest errors", manifestErrors},
		{"end-7 index", pushIndex},
		{"end-8 tags", tags},
		{"end-9 delete manifest", deleteManifest},
		{"end-10 delete blob", deleteBlob},
		{"end-11 mount", mount},
		{"end-12 referrers", referrers},
		{"cancel upload", cancelUpload},
		{"unknown routes", unknownRoutes},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

// reply is a response with its body read.
type reply struct {
	*http.Response
	body []byte
}

// do sends one request. path is below /v2/ unless it is a whole path or URL.
func (s *suite) do(t *testing.T, method, path string, body []byte, headers ...string) reply {
	t.Helper()
	return s.send(t, method, path, bytes.NewReader(body), int64(len(body)), headers...)
}

func (s *suite) send(t *testing.T, method, path string, body io.Reader, length int64, headers ...string) reply {
	t.Helper()
	address := s.URL + "/v2/" + path
	switch {
	case strings.HasPrefix(path, "http"):
		address = path
	case strings.HasPrefix(path, "/"):
		address = s.URL + path
	}
	r, err := http.NewRequest(method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = length
	if s.Authorization != "" {
		r.Header.Set("Authorization", s.Authorization)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	res, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res, b}
}

// want checks the status; several may be allowed by the specification.
func (r reply) want(t *testing.T, statuses ...int) reply {
	t.Helper()
	for _, s := range statuses {
		if r.StatusCode == s {
			return r
		}
	}
	t.Errorf("%s %s: status %d, want %v; %.300s", r.Request.Method, r.Request.URL, r.StatusCode, statuses, r.body)
	return r
}

// code checks the first error code of the body, among those the specification
// allows.
func (r reply) code(t *testing.T, codes ...string) {
	t.Helper()
	var doc struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(r.body, &doc); err != nil || len(doc.Errors) == 0 {
		t.Errorf("%s %s: no error document: %.300q", r.Request.Method, r.Request.URL, r.body)
		return
	}
	for _, c := range codes {
		if doc.Errors[0].Code == c {
			return
		}
	}
	t.Errorf("%s %s: code %s, want %v", r.Request.Method, r.Request.URL, doc.Errors[0].Code, codes)
}

// header checks a header's value.
func (r reply) header(t *testing.T, name, want string) reply {
	t.Helper()
	if got := r.Header.Get(name); got != want {
		t.Errorf("%s %s: %s is %q, want %q", r.Request.Method, r.Request.URL, name, got, want)
	}
	return r
}

// location is the Location header as a URL to go on with.
func (s *suite) location(t *testing.T, r reply) string {
	t.Helper()
	l := r.Header.Get("Location")
	if l == "" {
		t.Fatalf("%s %s: no Location", r.Request.Method, r.Request.URL)
	}
	base, _ := url.Parse(s.URL)
	ref, err := base.Parse(l)
	if err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func withDigest(location, digest string) string {
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	return location + sep + "digest=" + url.QueryEscape(digest)
}

func sha(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func sha5(b []byte) string { return fmt.Sprintf("sha512:%x", sha512.Sum512(b)) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// putBlob pushes a blob the short way.
func (s *suite) putBlob(t *testing.T, repo string, b []byte) string {
	t.Helper()
	r := s.do(t, "POST", repo+"/blobs/uploads/", nil).want(t, 202)
	s.do(t, "PUT", withDigest(s.location(t, r), sha(b)), b, "Content-Type", "application/octet-stream").want(t, 201)
	return sha(b)
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int               `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *descriptor       `json:"config,omitempty"`
	Layers        []descriptor      `json:"layers,omitempty"`
	Manifests     []descriptor      `json:"manifests,omitempty"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func (d document) bytes() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return b
}

// image pushes a config and a layer and returns a manifest over them.
func (s *suite) image(t *testing.T, repo string) document {
	t.Helper()
	cfg, layer := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"x":"`+fmt.Sprintf("%x", random(8))+`"}`), random(3000)
	return document{SchemaVersion: 2, MediaType: ociManifest, Config: &descriptor{MediaType: ociConfig, Digest: s.putBlob(t, repo, cfg), Size: len(cfg)},
		Layers: []descriptor{{MediaType: ociLayer, Digest: s.putBlob(t, repo, layer), Size: len(layer)}}}
}

func (s *suite) putManifest(t *testing.T, repo, ref, mediaType string, body []byte) reply {
	t.Helper()
	return s.do(t, "PUT", repo+"/manifests/"+ref, body, "Content-Type", mediaType)
}
