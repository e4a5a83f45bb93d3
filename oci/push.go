package oci

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/sqldb"
)

// startUpload is end-4a; with a digest it is end-4b (the whole blob in one
// request), with mount end-11.
func (h *Handler) startUpload(x *exchange) error {
	q := x.r.URL.Query()
	if d := q.Get("mount"); d != "" {
		done, err := h.mount(x, d, q.Get("from"))
		if done || err != nil {
			return err
		}
	}
	want := q.Get("digest")
	if q.Has("digest") && !digest.Valid(want) {
		return &registry.Error{Code: registry.DigestInvalid, Message: "the query's digest is not one of sha256 or sha512 in lower case"}
	}
	further := func(ctx context.Context, action string, act func(context.Context) error) error {
		return h.gate.Further(ctx, x.call, action, act)
	}
	ref, err := h.registry.StartUpload(x.ctx, x.place, x.Repository, x.who, further)
	if err != nil {
		return err
	}
	if want == "" {
		x.progress(ref, 0, http.StatusAccepted)
		return nil
	}
	// Two further actions of one request: their rights are asked for, too.
	err = further(x.ctx, "UploadLayerPart", nil)
	var l *registry.Layer
	if err == nil {
		err = further(x.ctx, "CompleteLayerUpload", func(ctx context.Context) error {
			l, err = h.registry.FinishUpload(ctx, ref, want, x.chunk(-1))
			return err
		})
	}
	if err != nil {
		if cerr := h.registry.CancelUpload(sqldb.Apart(x.ctx), ref); registry.CodeOf(cerr) != registry.UploadNotFound {
			err = errors.Join(err, cerr)
		}
		return err
	}
	x.created(l)
	return nil
}

// mount links a layer of another repository. Whatever stands in the way, the
// answer is that of an ordinary upload, so that it tells nothing about
// repositories that the caller may not read.
func (h *Handler) mount(x *exchange, d, from string) (done bool, err error) {
	if !digest.Valid(d) {
		return false, &registry.Error{Code: registry.DigestInvalid, Message: "the digest to mount is not one of sha256 or sha512 in lower case"}
	}
	if from == "" {
		return false, nil
	}
	if err := registry.CheckName(from); err != nil {
		return false, err
	}
	source := x.call
	source.Resources = []string{arn.Repository(x.place, from).String()}
	if h.gate.Check(x.ctx, source, "GetDownloadUrlForLayer") != nil {
		return false, nil
	}
	l, ok, err := h.registry.MountLayer(x.ctx, x.place, x.Repository, from, d)
	if registry.CodeOf(err) == registry.RepositoryNotFound {
		return false, nil // starting the upload creates it, or says so
	}
	if err != nil || !ok {
		return false, err
	}
	x.created(l)
	return true, nil
}

// progress answers with where an upload stands.
func (x *exchange) progress(ref registry.UploadRef, size int64, status int) {
	x.position(ref, size)
	x.w.Header().Set("Content-Length", "0")
	x.w.WriteHeader(status)
}

func (x *exchange) position(ref registry.UploadRef, size int64) {
	head := x.w.Header()
	head.Set("Location", "/v2/"+x.Repository+"/blobs/uploads/"+ref.ID)
	head.Set("Docker-Upload-Uuid", ref.ID)
	head.Set("Range", "0-"+strconv.FormatInt(max(size-1, 0), 10))
}

// created answers 201 for a layer.
func (x *exchange) created(l *registry.Layer) {
	head := x.w.Header()
	head.Set("Location", "/v2/"+x.Repository+"/blobs/"+l.Digest)
	head.Set("Docker-Content-Digest", l.Digest)
	head.Set("Content-Length", "0")
	x.w.WriteHeader(http.StatusCreated)
}

func (x *exchange) upload() registry.UploadRef {
	return registry.UploadRef{Place: x.place, Repository: x.Repository, ID: x.Reference, Principal: x.who.ARN}
}

// uploadStatus is end-13.
func (h *Handler) uploadStatus(x *exchange) error {
	ref := x.upload()
	size, err := h.registry.UploadSize(x.ctx, ref)
	if err != nil {
		return err
	}
	x.progress(ref, size, http.StatusNoContent)
	return nil
}

// chunk is the request's body as a chunk that begins at from.
func (x *exchange) chunk(from int64) registry.Chunk {
	return registry.Chunk{Body: &patient{x.r.Body, http.NewResponseController(x.w), time.Time{}}, From: from, Length: x.r.ContentLength}
}

// patient is a body that may be slow, but not silent: each read gets a new term.
type patient struct {
	r    io.Reader
	ctl  *http.ResponseController
	last time.Time
}

// silence is how long a body may stay without a byte.
const silence = 30 * time.Second

func (p *patient) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.last) > time.Second {
		p.last = now
		_ = p.ctl.SetReadDeadline(now.Add(silence)) // not every connection can
	}
	n, err := p.r.Read(b)
	if err != nil { // what follows, such as a long flush, has all the time it needs
		_ = p.ctl.SetReadDeadline(time.Time{})
	}
	return n, err
}

// patchUpload is end-5.
func (h *Handler) patchUpload(x *exchange) error {
	ref := x.upload()
	from, err := x.contentRange()
	if err == nil {
		var size int64
		if size, err = h.registry.AppendUpload(x.ctx, ref, x.chunk(from)); err == nil {
			x.progress(ref, size, http.StatusAccepted)
			return nil
		}
	}
	return h.outOfRange(x, ref, err)
}

// outOfRange tells a client that sent the wrong chunk where to go on.
func (h *Handler) outOfRange(x *exchange, ref registry.UploadRef, err error) error {
	if registry.CodeOf(err) == registry.RangeInvalid {
		size, serr := h.registry.UploadSize(x.ctx, ref)
		if serr != nil {
			return serr
		}
		x.position(ref, size)
	}
	return err
}

// contentRange reads where a chunk begins: -1 without a Content-Range, which has
// the specification's own form start-end.
func (x *exchange) contentRange() (int64, error) {
	v := x.r.Header.Get("Content-Range")
	if v == "" {
		return -1, nil
	}
	start, length, ok := parseContentRange(v)
	if !ok || x.r.ContentLength >= 0 && x.r.ContentLength != length {
		return 0, &registry.Error{Code: registry.RangeInvalid, Message: "Content-Range must be START-END and agree with Content-Length"}
	}
	return start, nil
}

func parseContentRange(v string) (start, length int64, ok bool) {
	v = strings.TrimPrefix(v, "bytes ")
	v, _, _ = strings.Cut(v, "/")
	from, to, ok := strings.Cut(v, "-")
	if !ok {
		return 0, 0, false
	}
	start, ok1 := number(from)
	end, ok2 := number(to)
	if !ok1 || !ok2 || end < start || end-start+1 < 1 {
		return 0, 0, false
	}
	return start, end - start + 1, true
}

// finishUpload is end-6.
func (h *Handler) finishUpload(x *exchange) error {
	d := x.r.URL.Query().Get("digest")
	if !digest.Valid(d) {
		return &registry.Error{Code: registry.DigestInvalid, Message: "finish an upload with ?digest=, one of sha256 or sha512 in lower case"}
	}
	ref := x.upload()
	x.digest = d
	from, err := x.contentRange()
	if err != nil {
		return h.outOfRange(x, ref, err)
	}
	chunk := x.chunk(from)
	if x.r.ContentLength == 0 && from < 0 {
		chunk = registry.Chunk{}
	}
	l, err := h.registry.FinishUpload(x.ctx, ref, d, chunk)
	if err != nil {
		return h.outOfRange(x, ref, err)
	}
	x.created(l)
	return nil
}

// cancelUpload ends an upload; the next version of the specification has it.
func (h *Handler) cancelUpload(x *exchange) error {
	if err := h.registry.CancelUpload(x.ctx, x.upload()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// putManifest is end-7.
func (h *Handler) putManifest(x *exchange) error {
	id, ok := registry.ParseReference(x.Reference)
	if !ok {
		return &registry.Error{Code: registry.TagInvalid, Message: "the tag must satisfy [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"}
	}
	contentType := x.r.Header.Get("Content-Type")
	if contentType == "" {
		return &registry.Error{Code: registry.ManifestInvalid, Message: "Content-Type is missing; it must be the manifest's media type"}
	}
	if x.r.ContentLength > manifest.MaxSize {
		return &registry.Error{Code: registry.ManifestTooBig, Message: "A manifest may have 4 MiB"}
	}
	chunk := x.chunk(-1)
	body, err := io.ReadAll(io.LimitReader(chunk.Body, manifest.MaxSize+1))
	if err != nil {
		return &registry.Error{Code: registry.ManifestInvalid, Message: "the body broke off", Err: err}
	}
	session, err := h.identity.SessionOf(x.ctx, x.who)
	if err != nil {
		return err
	}
	x.digest = digest.SHA256(body)
	put, err := h.registry.PutImage(x.ctx, registry.NewImage{Place: x.place, Repository: x.Repository, Tag: id.Tag, Digest: id.Digest,
		MediaType: contentType, Body: body, Principal: x.who, Origin: session.Origin()})
	if err != nil {
		return err
	}
	head := x.w.Header()
	head.Set("Location", "/v2/"+x.Repository+"/manifests/"+put.Digest)
	head.Set("Docker-Content-Digest", put.Digest)
	if put.Subject != "" {
		head.Set("OCI-Subject", put.Subject)
	}
	head.Set("Content-Length", "0")
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

// deleteManifest is end-9.
func (h *Handler) deleteManifest(x *exchange) error {
	id, ok := registry.ParseReference(x.Reference)
	if !ok {
		return &registry.Error{Code: registry.ImageNotFound}
	}
	_, err := h.registry.DeleteImage(x.ctx, x.place, x.Repository, id)
	if errors.Is(err, registry.ErrReferenced) {
		return &protocolError{answer: answer{http.StatusConflict, "DENIED"}, message: "The image is part of an index that is still in the repository; delete the index first"}
	}
	if err != nil {
		return err
	}
	x.w.Header().Set("Content-Length", "0")
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}
