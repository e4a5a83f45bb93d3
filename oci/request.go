// Package oci is the OCI distribution API (version 1.1) under /v2/ in front of
// package registry, with ECR's authentication, errors and habits.
//
// A request is parsed once into a typed value, found in one table by its kind and
// method, passed through gate and answered; handlers return errors, and one place
// writes them. Rules about repositories and images are the registry's.
package oci

import (
	"net/http"
	"strings"

	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/registry"
)

// Kind is what a path addresses.
type Kind int

// The kinds, with the endpoint ids of the distribution specification.
const (
	KindUnknown   Kind = iota
	KindPing           // end-1
	KindCatalog        // not in the specification; Docker's
	KindBlob           // end-2, end-10
	KindManifest       // end-3, end-7, end-9
	KindUploads        // end-4a, end-4b, end-11
	KindUpload         // end-5, end-6, end-13
	KindTags           // end-8a, end-8b
	KindReferrers      // end-12a, end-12b
)

// Request is a parsed path.
type Request struct {
	Kind       Kind
	Repository string
	// Reference is a tag or a digest (manifests), a digest (blobs, referrers), or
	// the id of an upload.
	Reference string
}

// Parse reads a decoded path. It fails with the registry's NameInvalid or
// DigestInvalid for what cannot exist; paths of no known form are KindUnknown.
func Parse(path string) (Request, error) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case path == "/v2" || ok && rest == "":
		return Request{Kind: KindPing}, nil
	case !ok:
		return Request{}, nil
	case rest == "_catalog":
		return Request{Kind: KindCatalog}, nil
	}
	q := split(rest)
	if q.Kind == KindUnknown {
		return q, nil
	}
	if err := registry.CheckName(q.Repository); err != nil {
		return q, err
	}
	if q.Kind == KindBlob || q.Kind == KindReferrers || q.Kind == KindManifest && strings.Contains(q.Reference, ":") {
		if !digest.Valid(q.Reference) {
			return q, &registry.Error{Code: registry.DigestInvalid, Message: "the digest in the path is not one of sha256 or sha512 in lower case"}
		}
	}
	return q, nil
}

// split finds the last words that make a route; what is before them is the name.
func split(rest string) Request {
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		return Request{Kind: KindTags, Repository: name}
	}
	if name, ok := strings.CutSuffix(rest, "/blobs/uploads/"); ok {
		return Request{Kind: KindUploads, Repository: name}
	}
	if name, ok := strings.CutSuffix(rest, "/blobs/uploads"); ok {
		return Request{Kind: KindUploads, Repository: name}
	}
	i := strings.LastIndexByte(rest, '/')
	if i < 0 || i == len(rest)-1 {
		return Request{}
	}
	head, ref := rest[:i], rest[i+1:]
	for _, form := range []struct {
		suffix string
		kind   Kind
	}{{"/blobs/uploads", KindUpload}, {"/blobs", KindBlob}, {"/manifests", KindManifest}, {"/referrers", KindReferrers}} {
		if name, ok := strings.CutSuffix(head, form.suffix); ok {
			return Request{Kind: form.kind, Repository: name, Reference: ref}
		}
	}
	return Request{}
}

// endpoint is one row of the surface: what a kind and a method do.
type endpoint struct {
	action string // of ECR, "" for none
	reads  bool
	serve  func(*Handler, *exchange) error
}

// table is the whole surface.
var table = map[Kind]map[string]endpoint{
	KindPing:    {http.MethodGet: {"", true, (*Handler).ping}},
	KindCatalog: {http.MethodGet: {"DescribeRepositories", true, (*Handler).catalog}},
	KindBlob:    {http.MethodGet: {"GetDownloadUrlForLayer", true, (*Handler).getBlob}, http.MethodHead: {"BatchCheckLayerAvailability", true, (*Handler).headBlob}},
	KindManifest: {http.MethodGet: {"BatchGetImage", true, (*Handler).getManifest}, http.MethodPut: {"PutImage", false, (*Handler).putManifest},
		http.MethodDelete: {"BatchDeleteImage", false, (*Handler).deleteManifest}},
	KindUploads: {http.MethodPost: {"InitiateLayerUpload", false, (*Handler).startUpload}},
	KindUpload: {http.MethodGet: {"UploadLayerPart", true, (*Handler).uploadStatus}, http.MethodPatch: {"UploadLayerPart", false, (*Handler).patchUpload},
		http.MethodPut: {"CompleteLayerUpload", false, (*Handler).finishUpload}, http.MethodDelete: {"UploadLayerPart", false, (*Handler).cancelUpload}},
	KindTags:      {http.MethodGet: {"ListImages", true, (*Handler).tags}},
	KindReferrers: {http.MethodGet: {"BatchGetImage", true, (*Handler).referrers}},
}

// find returns the row for a method. HEAD is GET without a body unless it has a
// row of its own.
func find(k Kind, method string) (endpoint, bool) {
	e, ok := table[k][method]
	if !ok && method == http.MethodHead {
		e, ok = table[k][http.MethodGet]
	}
	return e, ok
}

// allow lists the methods of a kind for the Allow header.
func allow(k Kind) string {
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, ok := find(k, m); ok {
			out = append(out, m)
		}
	}
	return strings.Join(out, ", ")
}

// Route is a row of the surface, for tests and documentation.
type Route struct {
	Kind   Kind
	Method string
	Action string // of ECR, "" for none
}

// Routes lists the surface.
func Routes() []Route {
	var out []Route
	for k, methods := range table {
		for m, e := range methods {
			out = append(out, Route{k, m, e.action})
		}
	}
	return out
}
