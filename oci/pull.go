package oci

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/registry/manifest"
)

func (h *Handler) ping(x *exchange) error {
	writeBody(x, "application/json", []byte("{}"))
	return nil
}

// writeBody answers 200; for HEAD only its headers.
func writeBody(x *exchange, contentType string, b []byte) {
	x.w.Header().Set("Content-Type", contentType)
	x.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	x.w.WriteHeader(http.StatusOK)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(b) // a client that left gets nothing more
	}
}

// getManifest is end-3. The stored bytes and type are answered as they are,
// whatever Accept says: an ECR client that cannot read them says so itself.
func (h *Handler) getManifest(x *exchange) error {
	id, ok := registry.ParseReference(x.Reference)
	if !ok { // no such tag can exist
		return &registry.Error{Code: registry.ImageNotFound}
	}
	img, err := h.registry.Image(x.ctx, x.place, x.Repository, id)
	if err != nil {
		return err
	}
	if x.r.Method == http.MethodGet {
		h.registry.Pulled(x.place, x.Repository, img.Digest)
	}
	x.w.Header().Set("Docker-Content-Digest", img.Digest)
	x.w.Header().Set("Etag", `"`+img.Digest+`"`)
	writeBody(x, img.MediaType, img.Body)
	return nil
}

// headBlob is end-2 without the bytes.
func (h *Handler) headBlob(x *exchange) error {
	l, err := h.registry.CheckLayer(x.ctx, x.place, x.Repository, x.Reference)
	if err != nil {
		return blobError(err)
	}
	blobHeaders(x, l)
	x.w.Header().Set("Content-Length", strconv.FormatInt(l.Size, 10))
	x.w.WriteHeader(http.StatusOK)
	return nil
}

// blobError gives a missing layer the code it has when it is asked for itself.
func blobError(err error) error {
	if registry.CodeOf(err) == registry.LayersNotFound {
		return &protocolError{answer: answer{http.StatusNotFound, "BLOB_UNKNOWN"}, message: "The blob is not known to the repository"}
	}
	return err
}

func blobHeaders(x *exchange, l *registry.Layer) {
	head := x.w.Header()
	head.Set("Docker-Content-Digest", l.Digest)
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Etag", `"`+l.Digest+`"`)
	head.Set("Accept-Ranges", "bytes")
	head.Set("Cache-Control", "private, max-age=31536000, immutable")
	head.Set("X-Content-Type-Options", "nosniff")
}

// getBlob is end-2.
func (h *Handler) getBlob(x *exchange) error {
	l, rd, err := h.registry.OpenLayer(x.ctx, x.place, x.Repository, x.Reference)
	if err != nil {
		return blobError(err)
	}
	defer rd.Close()
	rg, err := parseRange(x.r.Header.Get("Range"), l.Size)
	if err != nil {
		x.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(l.Size, 10))
		return err
	}
	status := http.StatusOK
	if rg.partial {
		status = http.StatusPartialContent
		x.w.Header().Set("Content-Range", rg.String(l.Size))
		if _, err := rd.Seek(rg.start, io.SeekStart); err != nil {
			return err
		}
	}
	blobHeaders(x, l)
	x.w.Header().Set("Content-Length", strconv.FormatInt(rg.length, 10))
	x.w.WriteHeader(status)
	h.send(x, rd, rg.length)
	return nil
}

// send copies a blob out; from a file without passing through this process. When
// the bytes end early or do not decrypt, the connection is cut, so that the
// client cannot take the part for the whole.
func (h *Handler) send(x *exchange, rd blob.Reader, n int64) {
	var src io.Reader = rd
	if f := blob.File(rd); f != nil {
		src = f
	}
	sent, err := io.CopyN(x.w, src, n)
	if err == nil || x.r.Context().Err() != nil {
		return
	}
	h.log.Warn("a download broke off", "repository", x.Repository, "digest", x.Reference, "sent", sent, "of", n, "error", err)
	panic(http.ErrAbortHandler)
}

// byteRange is the part of a blob to send.
type byteRange struct {
	start, length int64
	partial       bool
}

func (b byteRange) String(size int64) string {
	return "bytes " + strconv.FormatInt(b.start, 10) + "-" + strconv.FormatInt(b.start+b.length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// parseRange reads a Range header (RFC 9110, 14.2). One range is served; several
// at once are answered with the whole, which the RFC allows. A range that lies
// outside, or cannot be read, is 416.
func parseRange(header string, size int64) (byteRange, error) {
	whole := byteRange{0, size, false}
	spec, ok := strings.CutPrefix(header, "bytes=")
	if header == "" || !ok || strings.Contains(spec, ",") {
		return whole, nil
	}
	bad := &protocolError{answer: answer{http.StatusRequestedRangeNotSatisfiable, "SIZE_INVALID"}, message: "The requested range is not within the blob"}
	from, to, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return whole, bad
	}
	if from == "" { // the last bytes
		n, ok := number(to)
		if !ok || n == 0 || size == 0 {
			return whole, bad
		}
		n = min(n, size)
		return byteRange{size - n, n, true}, nil
	}
	start, ok := number(from)
	if !ok || start >= size {
		return whole, bad
	}
	end := size - 1
	if to != "" {
		if end, ok = number(to); !ok || end < start {
			return whole, bad
		}
		end = min(end, size-1)
	}
	return byteRange{start, end - start + 1, true}, nil
}

// number reads digits only: no sign, no space.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

const (
	// maxPage is the largest page of tags and repositories that can be asked for.
	maxPage = 1000
	// defaultPage is what a client gets that asks for no pages: it may not follow
	// links either.
	defaultPage = 10_000
)

// page reads n and last.
func page(q url.Values) (n int, last string, err error) {
	n, last = defaultPage, q.Get("last")
	if len(last) > 256 {
		return 0, "", &registry.Error{Code: registry.PageInvalid, Message: "last is longer than any name"}
	}
	if s := q.Get("n"); q.Has("n") {
		v, ok := number(s)
		if !ok {
			return 0, "", &registry.Error{Code: registry.PageInvalid, Message: "n must be a number that is not negative"}
		}
		n = int(min(v, maxPage))
	}
	return n, last, nil
}

// link tells where the next page is.
func (x *exchange) link(n int, last string, more url.Values) {
	q := url.Values{"n": {strconv.Itoa(n)}, "last": {last}}
	for k, v := range more {
		q[k] = v
	}
	x.w.Header().Set("Link", "<"+x.r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
}

// tags is end-8a and end-8b.
func (h *Handler) tags(x *exchange) error {
	n, last, err := page(x.r.URL.Query())
	if err != nil {
		return err
	}
	want := n
	if n > 0 {
		want++ // to see whether there is more
	}
	list, err := h.registry.Tags(x.ctx, x.place, x.Repository, last, want)
	if err != nil {
		return err
	}
	if len(list) > n {
		list = list[:n]
		x.link(n, list[n-1], nil)
	}
	return writeJSON(x, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{x.Repository, list})
}

func writeJSON(x *exchange, contentType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	writeBody(x, contentType, b)
	return nil
}

// catalog lists the repositories of the registry, for a caller who may describe
// all of them.
func (h *Handler) catalog(x *exchange) error {
	n, last, err := page(x.r.URL.Query())
	if err != nil {
		return err
	}
	names := []string{}
	if n > 0 {
		list, err := h.registry.Repositories(x.ctx, x.place, last, n+1)
		if err != nil {
			return err
		}
		for _, r := range list[:min(n, len(list))] {
			names = append(names, r.Name)
		}
		if len(list) > n {
			x.link(n, names[n-1], nil)
		}
	}
	return writeJSON(x, "application/json", map[string][]string{"repositories": names})
}

// maxReferrers is the page size of referrers: a page must stay under the size of
// a manifest.
const maxReferrers = 500

// referrers is end-12a and end-12b.
func (h *Handler) referrers(x *exchange) error {
	q := x.r.URL.Query()
	var filter []string
	if t := q.Get("artifactType"); t != "" {
		filter = []string{t}
		x.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	list, err := h.registry.Referrers(x.ctx, x.place, x.Repository, x.Reference, filter, q.Get("last"), maxReferrers+1)
	if err != nil {
		return err
	}
	if len(list) > maxReferrers {
		list = list[:maxReferrers]
		more := url.Values{}
		if filter != nil {
			more["artifactType"] = filter
		}
		x.link(maxReferrers, list[maxReferrers-1].Digest, more)
	}
	index := struct {
		SchemaVersion int                   `json:"schemaVersion"`
		MediaType     string                `json:"mediaType"`
		Manifests     []manifest.Descriptor `json:"manifests"`
	}{2, manifest.OCIIndex, []manifest.Descriptor{}}
	for _, r := range list {
		index.Manifests = append(index.Manifests, manifest.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: int64(len(r.Body)),
			ArtifactType: r.ArtifactType, Annotations: r.Annotations})
	}
	return writeJSON(x, manifest.OCIIndex, index)
}
