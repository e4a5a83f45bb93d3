package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/sqldb"
)

// UploadRef names an upload as a request does. All of it must be that of the
// upload's beginning, or the upload does not exist for the caller.
type UploadRef struct {
	Place      arn.Place
	Repository string
	ID         string
	Principal  string // ARN
}

// Further does another action of a request on its repository, if the caller has the
// right to; without act it only asks.
type Further func(ctx context.Context, action string, act func(context.Context) error) error

// StartUpload opens an upload to a repository. A missing repository is made by
// the CREATE_ON_PUSH template that matches its name, if there is one and the caller
// has the right to create it; else Options.Missing may wait until something creates
// it. Errors: further's, RepositoryNotFound, LimitExceeded, StorageFull.
func (r *Registry) StartUpload(ctx context.Context, p arn.Place, name string, by arn.Principal, further Further) (UploadRef, error) {
	repo, err := r.home(ctx, p, name)
	if CodeOf(err) == RepositoryNotFound {
		if err := r.createOnPush(ctx, p, name, further); err != nil {
			return UploadRef{}, err
		}
		repo, err = r.home(ctx, p, name)
	}
	if err != nil {
		return UploadRef{}, err
	}
	now := r.now()
	ref := UploadRef{Place: p, Repository: name, Principal: by.ARN}
	ref.ID = r.ids.make(ref, repo.id, now)
	// Where the next request may reach another node, the id says enough; but not to a sweep
	// that looks for repositories that nobody uses.
	if !r.db.SingleProcess() && !repo.sweepable {
		return ref, r.roomForUpload(p.Account)
	}
	s, err := r.begin(ref, repo, now)
	if err == nil && !r.db.SingleProcess() {
		err = r.save(ctx, s)
	}
	if err != nil {
		return UploadRef{}, err
	}
	r.live.add(s)
	return ref, nil
}

// begin makes the session of an upload without bytes: LimitExceeded, StorageFull.
func (r *Registry) begin(ref UploadRef, repo home, now time.Time) (*session, error) {
	if err := r.roomForUpload(ref.Place.Account); err != nil {
		return nil, err
	}
	up, err := r.blobs.Begin(repo.kmsKey)
	if err != nil {
		return nil, storage(err)
	}
	return &session{ref: ref, repo: repo.id, started: now, used: now, up: up}, nil
}

// roomForUpload fails with LimitExceeded when an account has as many uploads open in this
// process as it may.
func (r *Registry) roomForUpload(a arn.Account) error {
	if r.live.count(a) < r.limits.Uploads {
		return nil
	}
	return fail(LimitExceeded, "The account has %d uploads open, %d are allowed. Finish or cancel some, or wait until they expire.",
		r.limits.Uploads, r.limits.Uploads)
}

// home is what an upload needs of its repository. Where it is cached, it never changes.
type home struct {
	id        int64
	kmsKey    string
	sweepable bool // a sweep would remove it unless it has an upload
}

func (r *Registry) home(ctx context.Context, p arn.Place, name string) (home, error) {
	key := cacheKey{place: p, repo: name, kind: 'h'}
	v, ticket := r.cache.get(key)
	if h, ok := v.(home); ok {
		return h, nil
	}
	repo, err := r.Repository(ctx, p, name)
	if err != nil {
		return home{}, err
	}
	h := home{repo.ID, repo.KMSKey, repo.Template != "" && repo.Images == 0}
	r.cache.put(key, ticket, h, len(name)+len(h.kmsKey))
	return h, nil
}

// take finds an upload and locks it for the caller: UploadNotFound, UploadBusy.
func (r *Registry) take(ctx context.Context, ref UploadRef) (*session, error) {
	s := r.live.get(ref.ID)
	if s != nil && !r.db.SingleProcess() {
		if s.mu.TryLock() {
			current, err := r.isCurrent(ctx, s)
			s.mu.Unlock()
			if err != nil {
				return nil, storage(err)
			}
			if !current { // another node wrote to it since
				r.live.remove(s)
				s = nil
			}
		}
	}
	if s == nil {
		var err error
		if s, err = r.load(ctx, ref); err != nil {
			return nil, err
		}
	}
	if s.ref != ref {
		return nil, errUploadNotFound(ref)
	}
	if !s.mu.TryLock() {
		return nil, fail(UploadBusy, "Another request is writing to the upload with id '%s'", ref.ID)
	}
	if s.ended {
		s.mu.Unlock()
		return nil, errUploadNotFound(ref)
	}
	return s, nil
}

func errUploadNotFound(ref UploadRef) error {
	return fail(UploadNotFound, "The upload with id '%.60s' does not exist in the repository with name '%s' in the registry with id '%s'",
		ref.ID, ref.Repository, ref.Place.Account)
}

// load brings an upload back that another process, or an earlier one, has begun.
func (r *Registry) load(ctx context.Context, ref UploadRef) (*session, error) {
	if _, err := uuid.Parse(ref.ID); err != nil || len(ref.ID) != 36 {
		return nil, errUploadNotFound(ref)
	}
	row, repo, err := r.readUpload(ctx, ref)
	if sqldb.IsNoRows(err) {
		return nil, errUploadNotFound(ref)
	}
	if err != nil {
		return nil, storage(err)
	}
	if row == nil {
		if r.db.SingleProcess() || !r.ids.begun(ref, repo.id, r.now()) {
			return nil, errUploadNotFound(ref)
		}
		n, err := r.begin(ref, repo, r.now())
		if err != nil {
			return nil, err
		}
		s := r.live.add(n)
		if s != n { // another request was faster
			n.up.Discard()
		}
		return s, nil
	}
	up, err := r.blobs.Resume(ctx, row.state, row.node != r.node)
	if err != nil {
		if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) {
			r.log.Warn("an upload cannot be resumed, its bytes did not survive", "upload", ref.ID, "error", err)
			return nil, errors.Join(errUploadNotFound(ref), storage(r.endUpload(ctx, ref, true)))
		}
		return nil, storage(err)
	}
	return r.live.add(&session{ref: ref, repo: row.repo, started: row.started, used: r.now(), up: up, parts: row.parts, short: row.short, lastShort: row.lastShort,
		persisted: true, saved: row.saved}), nil
}

// UploadSize returns how many bytes an upload holds: UploadNotFound.
func (r *Registry) UploadSize(ctx context.Context, ref UploadRef) (int64, error) {
	s, err := r.take(ctx, ref)
	if err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return s.up.Size(), nil
}

// Chunk is bytes for an upload.
type Chunk struct {
	Body io.Reader
	// From is where the bytes must begin, -1 for wherever the upload ends.
	From int64
	// Length is how many bytes there must be, -1 for as many as come.
	Length int64
	// Part applies the API's rules for parts.
	Part bool
}

// AppendUpload adds bytes to an upload and returns how many it holds then. They
// survive the death of the process. Errors: UploadNotFound, UploadBusy,
// RangeInvalid or InvalidLayerPart (with the offset), SizeInvalid, BodyInvalid,
// LimitExceeded, StorageFull.
func (r *Registry) AppendUpload(ctx context.Context, ref UploadRef, c Chunk) (int64, error) {
	s, err := r.take(ctx, ref)
	if err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if err := r.append(s, c); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Code == BodyInvalid {
			return 0, errors.Join(err, r.save(sqldb.Apart(ctx), s)) // what came before the break is kept
		}
		return 0, r.ended(ctx, s, err)
	}
	if err := r.save(ctx, s); err != nil {
		return 0, r.ended(ctx, s, err)
	}
	return s.up.Size(), nil
}

// ended forgets a session whose upload ended itself with a failure.
func (r *Registry) ended(ctx context.Context, s *session, err error) error {
	if _, stateErr := s.up.State(); stateErr != nil {
		s.ended = true
		r.live.remove(s)
		err = errors.Join(err, r.endUpload(sqldb.Apart(ctx), s.ref, s.persisted))
	}
	return storage(err)
}

func (r *Registry) append(s *session, c Chunk) error {
	have := s.up.Size()
	if c.From >= 0 && c.From != have {
		code := RangeInvalid
		if c.Part {
			code = InvalidLayerPart
		}
		return &Error{Code: code, Offset: have, Message: fmt.Sprintf("The part begins at byte %d, the upload with id '%s' holds %d bytes", c.From, s.ref.ID, have)}
	}
	if c.Part {
		if s.parts >= r.limits.Parts {
			return fail(LimitExceeded, "The upload has %d parts, no more are allowed", s.parts)
		}
		s.parts++
		s.short = s.short || s.lastShort // only the last part may be short
		s.lastShort = c.Length < r.limits.MinPart
	}
	room := r.limits.LayerSize - have
	if c.Length > room {
		return &Error{Code: SizeInvalid, Offset: have, Message: fmt.Sprintf("A layer may have %d bytes", r.limits.LayerSize)}
	}
	body := &meter{r: c.Body, left: room}
	n, err := s.up.ReadFrom(body)
	s.used = r.now()
	switch {
	case errors.Is(err, errTooLong):
		s.up.Discard()
		return &Error{Code: SizeInvalid, Offset: have, Message: fmt.Sprintf("A layer may have %d bytes", r.limits.LayerSize)}
	case err != nil && body.err != nil, err == nil && c.Length >= 0 && n != c.Length:
		return &Error{Code: BodyInvalid, Offset: have + n, Err: err, Message: fmt.Sprintf("The body ended after %d bytes of %d", n, c.Length)}
	}
	return err
}

// meter passes on a bounded number of bytes and remembers the reader's own error,
// to tell it from the store's.
type meter struct {
	r    io.Reader
	left int64
	err  error
}

var errTooLong = errors.New("the body is too long")

func (m *meter) Read(p []byte) (int, error) {
	if int64(len(p)) > m.left+1 {
		p = p[:m.left+1]
	}
	n, err := m.r.Read(p)
	if m.left -= int64(n); m.left < 0 {
		m.err = errTooLong
		return 0, errTooLong
	}
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// FinishUpload adds the rest of the bytes, if any, checks the whole against the
// digest and makes it a layer of the repository: UploadNotFound, UploadBusy,
// DigestInvalid (malformed, or not these bytes': the upload is gone then), and
// those of AppendUpload.
func (r *Registry) FinishUpload(ctx context.Context, ref UploadRef, dgst string, c Chunk) (*Layer, error) {
	if !digest.Valid(dgst) {
		return nil, fail(DigestInvalid, "'%.150s' is not a digest", dgst)
	}
	s, err := r.take(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if c.Body != nil {
		if err := r.append(s, c); err != nil {
			var e *Error
			if errors.As(err, &e) && e.Code == BodyInvalid {
				return nil, errors.Join(err, r.save(sqldb.Apart(ctx), s))
			}
			return nil, r.ended(ctx, s, err)
		}
	}
	return r.finish(ctx, s, dgst)
}

func (r *Registry) finish(ctx context.Context, s *session, dgst string) (*Layer, error) {
	enc, size := s.up.Encryption(), s.up.Size()
	var have *blob.Content
	var err error
	small := s.up.Small() // it costs less to store it than to look for it
	if !small {
		if have, err = r.readBlob(ctx, dgst, enc); err != nil {
			return nil, storage(err)
		}
	}
	intact := have != nil && have.Size == size && r.blobs.Healthy(ctx, *have)
	// A SHA-512 digest of much content can only be checked by storing it.
	stored := intact && !strings.HasPrefix(dgst, "sha512:")
	how := linkNew
	switch {
	case stored:
		how = linkStored
	case have != nil && !intact:
		how = linkRepair
	}
	s.ended = true // whatever comes: the bytes are used up
	r.live.remove(s)
	var content blob.Content
	if stored {
		// The bytes are stored already. They are checked, so that nobody gets a
		// layer by knowing its digest, and dropped.
		if err = s.up.Check(dgst); err == nil {
			content = *have
		}
		s.up.Discard()
	} else {
		content, err = s.up.Commit(ctx, dgst)
	}
	if err != nil {
		err = errors.Join(err, r.endUpload(sqldb.Apart(ctx), s.ref, s.persisted))
		if errors.Is(err, blob.ErrDigest) {
			return nil, &Error{Code: DigestInvalid, Message: fmt.Sprintf("The uploaded bytes do not have the digest %s", dgst), Err: err}
		}
		return nil, storage(err)
	}
	damaged := ""
	if how == linkRepair {
		damaged = have.Key
	}
	key := layerKey(s.ref.Place, s.ref.Repository, dgst)
	_, ticket := r.cache.get(key)
	unused, err := r.linkUpload(ctx, s, content, how, damaged)
	if small && unused && err == nil { // there was one already: are its bytes whole?
		if have, err = r.readBlob(ctx, dgst, enc); err == nil && have != nil && !r.blobs.Healthy(ctx, *have) {
			how = linkRepair
			unused, err = r.linkUpload(ctx, s, content, how, have.Key)
		}
	}
	unknown := errors.Is(err, sqldb.ErrUnavailable) || errors.Is(err, sqldb.ErrFailed)
	if !stored && content.Key != "" && (unused || err != nil && !unknown) {
		// Certainly without a row: the bytes are garbage now. After an unknown
		// outcome they may have one, and garbage is found later.
		if derr := r.blobs.Store().Delete(context.WithoutCancel(ctx), content.Key); derr != nil {
			r.log.Warn("removing the bytes of a failed upload", "key", content.Key, "error", derr)
		}
	}
	if err != nil {
		return nil, storage(err)
	}
	if how == linkRepair {
		r.cache.dropAll() // the blob's place changed, for every repository that has it
	}
	r.leased([2]string{dgst, enc}, r.now())
	if n := len(content.Inline); n > 0 && n <= freshLayer && !unused {
		content.Inline = bytes.Clone(content.Inline) // without the room around it
		r.cache.put(key, ticket, &Layer{Digest: dgst, Size: size, content: content}, n)
	}
	return &Layer{Digest: dgst, Size: size, content: content}, nil
}

// freshLayer is the most bytes that a layer may have to be at hand when it has just been
// pushed: an image's config is, whose manifest comes next.
const freshLayer = 8 << 10

// How a finished upload gets its blob's row.
const (
	linkNew    = iota // it brings one
	linkStored        // there is one, whose bytes are whole
	linkRepair        // there is one, whose bytes are damaged: it gets these
)

// linkUpload commits a finished upload: the blob's row, the repository's link,
// the end of the session. unused says that the row has other bytes than these,
// because another upload of the same content was faster.
func (r *Registry) linkUpload(ctx context.Context, s *session, c blob.Content, how int, damaged string) (unused bool, err error) {
	err = r.db.Write(ctx, func(tx *sqldb.Tx) error {
		now := r.now()
		at, lease := sqldb.Micros(now), sqldb.Micros(now.Add(leaseTime))
		var n int64 // of the blob's rows that change, once the repository has been read
		var err error
		switch how {
		case linkNew:
			err = insertBlob(tx, &n, c, at, lease)
		case linkRepair:
			err = replaceBlob(tx, &n, c, damaged, at, lease)
		}
		if err != nil {
			return err
		}
		rp, err := holdRepository(tx, s.ref.Place, s.ref.Repository)
		if err != nil {
			return err
		}
		if rp.ID != s.repo { // deleted and made again since the upload began
			return errUploadNotFound(s.ref)
		}
		if unused = n == 0; unused {
			if held, err := touchBlob(tx, c, at, lease); err != nil {
				return err
			} else if !held {
				return fail(Unavailable, "The layer was collected while it was uploaded again. Try again.")
			}
		}
		if err := linkLayer(tx, rp, c.Digest, c.Size, at); err != nil {
			return err
		}
		return r.txEndUpload(tx, s.ref, s.persisted)
	})
	return unused, err
}

// CompleteUpload is FinishUpload with the API's rules for parts: EmptyUpload,
// LayerPartTooSmall, LayerAlreadyExists, InvalidLayer.
func (r *Registry) CompleteUpload(ctx context.Context, ref UploadRef, dgst string) (*Layer, error) {
	s, err := r.take(ctx, ref)
	if err != nil {
		return nil, err
	}
	size, short := s.up.Size(), s.short
	s.mu.Unlock()
	if size == 0 {
		return nil, fail(EmptyUpload, "The upload with id '%s' holds no bytes", ref.ID)
	}
	if short {
		return nil, fail(LayerPartTooSmall, "A part of the upload with id '%s' has less than %d bytes; only the last may", ref.ID, r.limits.MinPart)
	}
	if _, err := r.Layer(ctx, ref.Place, ref.Repository, dgst); err == nil {
		if err := r.CancelUpload(ctx, ref); err != nil {
			return nil, err
		}
		return nil, fail(LayerAlreadyExists, "The layer with digest '%s' already exists in the repository with name '%s'", dgst, ref.Repository)
	}
	l, err := r.FinishUpload(ctx, ref, dgst, Chunk{})
	if CodeOf(err) == DigestInvalid {
		return nil, &Error{Code: InvalidLayer, Message: fmt.Sprintf("The uploaded bytes do not have the digest %s", dgst), Err: err}
	}
	return l, err
}

// CancelUpload ends an upload and removes its bytes: UploadNotFound, UploadBusy.
func (r *Registry) CancelUpload(ctx context.Context, ref UploadRef) error {
	s, err := r.take(ctx, ref)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.ended = true
	s.up.Discard()
	r.live.remove(s)
	return storage(r.endUpload(ctx, ref, s.persisted))
}
