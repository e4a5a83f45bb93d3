package registry

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/sqldb"
)

// maxIndexDepth bounds how deep indexes may nest.
const maxIndexDepth = 8

// Image is a manifest in a repository. Body is filled where the method says so.
type Image struct {
	Digest       string
	MediaType    string
	ArtifactType string
	ConfigType   string
	Subject      string
	Size         int64 // config and layers; of an index its own bytes
	PushedAt     time.Time
	PulledAt     time.Time // zero before the first pull
	PushedBy     string
	Tags         []string
	Body         []byte
	origin       map[string]string // written, read by Origin alone
}

// NewImage is a manifest to be stored.
type NewImage struct {
	Place      arn.Place
	Repository string
	Tag        string // "" stores it without a tag
	Digest     string // what the caller claims, "" for no claim
	MediaType  string // "" lets the manifest say it
	Body       []byte
	Principal  arn.Principal
	// Origin is what the pusher's workload identity claims, nil for none.
	Origin map[string]string
}

// Put is what PutImage did.
type Put struct {
	Image
	// Created says that something changed: the image or the tag is new.
	Created bool
}

// PutImage stores a manifest and points the tag at it, once everything that it
// needs is in the repository. The same manifest under the same tag again is no
// error and changes nothing, immutable or not. Errors: RepositoryNotFound,
// ManifestInvalid, ManifestTooBig, DigestInvalid (malformed claim),
// ImageDigestDoesNotMatch, TagInvalid, LayersNotFound, ReferencedImagesNotFound,
// ImageTagAlreadyExists, LimitExceeded.
func (r *Registry) PutImage(ctx context.Context, n NewImage) (*Put, error) {
	if n.Tag != "" && !ValidTag(n.Tag) {
		return nil, fail(TagInvalid, "'%.150s' is not a tag", n.Tag)
	}
	if len(n.Body) > manifest.MaxSize {
		return nil, fail(ManifestTooBig, "The manifest has more than %d bytes", manifest.MaxSize)
	}
	if n.Digest != "" && !digest.Valid(n.Digest) {
		return nil, fail(DigestInvalid, "'%.150s' is not a digest", n.Digest)
	}
	m, sum, err := r.recent.Parse(n.MediaType, n.Body)
	if err != nil {
		return nil, &Error{Code: ManifestInvalid, Message: err.Error()}
	}
	dgst := n.Digest
	if dgst == "" {
		dgst = sum
	} else if dgst != sum && !digest.Matches(n.Body, dgst) {
		return nil, fail(ImageDigestDoesNotMatch, "The manifest has the digest %s, not %s", sum, dgst)
	}
	put := &Put{Image: Image{Digest: dgst, MediaType: m.MediaType, ArtifactType: m.ArtifactType, ConfigType: m.ConfigType, Size: m.Size,
		PushedAt: r.now().UTC().Truncate(time.Microsecond), PushedBy: n.Principal.ARN, Body: n.Body, origin: n.Origin}}
	if m.Subject != nil {
		put.Subject = m.Subject.Digest
	}
	if r.watcher != nil {
		r.watcher.Pushing(ctx, n.Place, n.Repository, &put.Image, m)
	}
	said := r.toldPush(&n, put)
	for try := 0; ; try++ {
		err = r.write(ctx, func(tx *sqldb.Tx) error { return r.putImage(tx, n, m, put, said) })
		if err == nil {
			return put, nil
		}
		// Another transaction set the tag or stored the image since this one
		// looked: what that means is for the rules to say, so it looks again.
		if raced := errors.Is(err, errRaced) || errors.Is(err, sqldb.ErrUnique); !raced {
			return nil, storage(err)
		}
		if try == maxRaces {
			return nil, &Error{Code: Unavailable, Message: "Too many pushes changed the same tag at once. Try again.", Err: err}
		}
	}
}

// errRaced is a row that another transaction changed first. Only PostgreSQL shows
// it: SQLite runs one writer at a time.
var errRaced = errors.New("another transaction was faster")

// maxRaces bounds how often a push that lost a race looks again.
const maxRaces = 10

func (r *Registry) putImage(tx *sqldb.Tx, n NewImage, m *manifest.Manifest, put *Put, said *event.Event) error {
	put.Created = false // the transaction may run again
	repo, err := holdRepository(tx, n.Place, n.Repository)
	if err != nil {
		return err
	}
	old, err := txTag(tx, repo, n.Tag)
	if err != nil {
		return err
	}
	existing, tags, err := txImageState(tx, repo, put.Digest)
	switch {
	case err != nil:
		return err
	case existing != "" && existing != put.MediaType:
		return fail(ManifestInvalid, "The image %s is stored with media type %s", put.Digest, existing)
	case existing != "" && (n.Tag == "" || old == put.Digest):
		return nil
	}
	if n.Tag != "" && old != "" && old != put.Digest && repo.Tags.Immutable(n.Tag) {
		return fail(ImageTagAlreadyExists, "The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.",
			n.Tag, n.Repository)
	}
	put.Created = true
	if existing == "" {
		depth, err := r.checkReferences(tx, repo, m)
		if err != nil {
			return err
		}
		if err := r.addImage(tx, repo, m, put, depth); err != nil {
			return err
		}
	}
	if n.Tag != "" {
		if err := r.moveTag(tx, repo, n.Tag, old, put.Digest); err != nil {
			return err
		}
	}
	if err := r.watchPut(tx, repo, put, n.Tag, old, existing == "", tags); err != nil {
		return err
	}
	return r.tell(tx, said)
}

// checkReferences finds everything a manifest needs, keeps it from being deleted
// until the transaction ends, and returns the depth of the new image.
func (r *Registry) checkReferences(tx *sqldb.Tx, repo *Repository, m *manifest.Manifest) (int64, error) {
	sizes, err := txLayerSizes(tx, repo, m.Blobs)
	if err != nil {
		return 0, err
	}
	var missing []string
	for _, b := range m.Blobs {
		size, ok := sizes[b.Digest]
		switch {
		case !ok:
			missing = append(missing, b.Digest)
		case size != b.Size:
			return 0, fail(ManifestInvalid, "The manifest gives %s a size of %d, it has %d", b.Digest, b.Size, size)
		}
	}
	if len(missing) > 0 {
		return 0, &Error{Code: LayersNotFound, Digests: missing, Message: "The layers with digests " + quoteList(missing) +
			" required for pushing the image do not exist in the repository '" + repo.Name + "'"}
	}
	children, err := txImageDepths(tx, repo, m.Children)
	if err != nil {
		return 0, err
	}
	depth := int64(0)
	if m.IsIndex() {
		depth = 1
	}
	for _, c := range m.Children {
		d, ok := children[c.Digest]
		if !ok {
			missing = append(missing, c.Digest)
		}
		depth = max(depth, d+1)
	}
	if len(missing) > 0 {
		return 0, &Error{Code: ReferencedImagesNotFound, Digests: missing, Message: "Images with digests " + quoteList(missing) +
			" required for pushing image into repository with name '" + repo.Name + "' in the registry with id '" + string(repo.Place.Account) + "' do not exist"}
	}
	if depth > maxIndexDepth {
		return 0, fail(ManifestInvalid, "Indexes nest %d deep, %d are allowed", depth, maxIndexDepth)
	}
	return depth, nil
}

func quoteList(list []string) string {
	s := "'["
	for i, d := range list[:min(len(list), 100)] {
		if i > 0 {
			s += ", "
		}
		s += d
	}
	return s + "]'"
}

func (r *Registry) addImage(tx *sqldb.Tx, repo *Repository, m *manifest.Manifest, put *Put, depth int64) error {
	if err := insertImage(tx, repo, &put.Image, depth); err != nil {
		return err
	}
	if err := insertReferences(tx, repo, put.Digest, m); err != nil {
		return err
	}
	tx.Last(func(tx *sqldb.Tx) error {
		n, err := addImageCount(tx, repo, 1, r.limits.Images)
		if err == nil && n == 0 {
			return fail(LimitExceeded, "The maximum number of images per repository (%d) has been reached in the repository with name '%s'", r.limits.Images, repo.Name)
		}
		return err
	})
	return nil
}

// moveTag points a tag at an image. Of pushers that race for an immutable tag
// the primary key lets one through.
func (r *Registry) moveTag(tx *sqldb.Tx, repo *Repository, tag, old, to string) error {
	now := sqldb.Micros(r.now())
	tx.AfterCommit(func() { r.cache.drop(imageKey(repo.Place, repo.Name, tag)) })
	var moved int64
	var err error
	if old == "" {
		err = insertTag(tx, &moved, repo, tag, to, now)
	} else if err = updateTag(tx, &moved, repo, tag, old, to, now); err == nil {
		err = countTags(tx, repo, old, -1)
	}
	if err != nil {
		return err
	}
	n, err := addTagCount(tx, repo, to, r.limits.TagsPerImage)
	switch {
	case err != nil:
		return err
	case moved == 0:
		return errRaced
	case n == 0:
		return fail(LimitExceeded, "The maximum number of tags per image (%d) has been reached for %s", r.limits.TagsPerImage, to)
	}
	return nil
}

// Image returns one image with its body and, of its tags, the one asked for:
// RepositoryNotFound, ImageNotFound (also when digest and tag do not agree). The
// caller must not change it.
func (r *Registry) Image(ctx context.Context, p arn.Place, repo string, id ImageID) (*Image, error) {
	key := imageKey(p, repo, id.Tag)
	if id.Tag == "" {
		key.ref = id.Digest
	}
	v, ticket := r.cache.get(key)
	if img, ok := v.(*Image); ok && (id.Digest == "" || id.Digest == img.Digest) {
		return img, nil
	}
	img, err := r.freshImage(ctx, p, repo, id)
	if err != nil {
		return nil, err
	}
	size := len(img.Body)
	if id.Tag != "" && r.cache.on {
		img, size = r.shared(imageKey(p, repo, img.Digest), ticket, img)
	}
	r.cache.put(key, ticket, img, size)
	return img, nil
}

// shared keeps an image that was found by a tag under its digest, too, and returns what is to
// be kept for the tag, with how much more that takes: an image may have many tags, and clients
// ask by digest for what they have found by a tag.
func (r *Registry) shared(key cacheKey, t ticket, img *Image) (*Image, int) {
	v, _ := r.cache.get(key)
	whole, ok := v.(*Image)
	if !ok {
		n := *img
		n.Tags = nil
		if whole = &n; !r.cache.putAlso(key, t, whole, len(n.Body)) {
			return img, len(img.Body)
		}
	}
	tagged := *whole // its texts are those of the other
	tagged.Tags = img.Tags
	return &tagged, 0
}

// freshImage is Image past the cache, for what changes with time (the last pull).
func (r *Registry) freshImage(ctx context.Context, p arn.Place, repo string, id ImageID) (*Image, error) {
	img, found, err := r.readImage(ctx, p, repo, id)
	switch {
	case err != nil:
		return nil, storage(err)
	case !found:
		return nil, errRepositoryNotFound(p, repo)
	case img == nil:
		return nil, errImageNotFound(p, repo, id)
	}
	return img, nil
}

// Deleted is one row of the answer to DeleteImage.
type Deleted = ImageRef

// DeleteImage removes by tag (the tag; with the last tag the image) or by digest
// (the image with all its tags), and says what went, one row per tag:
// RepositoryNotFound, ImageNotFound, ErrReferenced, ErrTagElsewhere.
func (r *Registry) DeleteImage(ctx context.Context, p arn.Place, repo string, id ImageID) ([]Deleted, error) {
	var out []Deleted
	err := r.write(ctx, func(tx *sqldb.Tx) error {
		out = nil
		rp, err := holdRepository(tx, p, repo)
		if err != nil {
			return err
		}
		dgst := id.Digest
		if id.Tag != "" {
			at, err := txTag(tx, rp, id.Tag)
			if err != nil {
				return err
			}
			if at == "" {
				return errImageNotFound(p, repo, id)
			}
			if dgst != "" && at != dgst {
				return ErrTagElsewhere
			}
			dgst = at
		}
		img, err := txImage(tx, rp, dgst)
		if err != nil {
			return err
		}
		if img == nil {
			return errImageNotFound(p, repo, id)
		}
		if out, err = r.deleteImage(tx, rp, img, id); err != nil {
			return err
		}
		return r.tellDelete(tx, rp, img, out)
	})
	return out, storage(err)
}

// ErrTagElsewhere is a delete by digest and tag whose tag is on another image.
var ErrTagElsewhere = errors.New("the tag does not belong to the digest")

// ErrReferenced is a delete of an image that an index needs.
var ErrReferenced = errors.New("the image is part of a manifest list")

func (r *Registry) deleteImage(tx *sqldb.Tx, rp *Repository, img *Image, id ImageID) ([]Deleted, error) {
	tags, err := txTagsOf(tx, rp, img.Digest)
	if err != nil {
		return nil, err
	}
	tx.AfterCommit(func() {
		keys := []cacheKey{imageKey(rp.Place, rp.Name, img.Digest)}
		for _, t := range tags {
			keys = append(keys, imageKey(rp.Place, rp.Name, t))
		}
		r.cache.drop(keys...)
	})
	if id.Tag != "" {
		if err := removeTag(tx, rp, id.Tag); err != nil {
			return nil, err
		}
		gone := []Deleted{{Digest: img.Digest, Tag: id.Tag}}
		referenced, err := txReferenced(tx, rp, img.Digest)
		if err != nil {
			return nil, err
		}
		if len(tags) > 1 || referenced {
			if err := countTags(tx, rp, img.Digest, -1); err != nil {
				return nil, err
			}
			r.watchImage(tx, rp, img.Digest)
			return gone, nil
		}
		return gone, r.dropImage(tx, rp, img)
	}
	if referenced, err := txReferenced(tx, rp, img.Digest); err != nil {
		return nil, err
	} else if referenced {
		return nil, ErrReferenced
	}
	if err := removeTagsOf(tx, rp, tags); err != nil {
		return nil, err
	}
	var gone []Deleted
	for _, t := range tags {
		gone = append(gone, Deleted{Digest: img.Digest, Tag: t})
	}
	if len(gone) == 0 {
		gone = []Deleted{{Digest: img.Digest}}
	}
	return gone, r.dropImage(tx, rp, img)
}

// dropImage removes an untagged image's row and references. Its layers stay
// linked: whether something still needs them is for garbage collection.
func (r *Registry) dropImage(tx *sqldb.Tx, rp *Repository, img *Image) error {
	m, err := manifest.Stored(img.MediaType, img.Body)
	if err != nil {
		return err
	}
	if err := removeReferences(tx, rp, img.Digest, m); err != nil {
		return err
	}
	if err := removeImage(tx, rp, img.Digest); err != nil {
		return err
	}
	tx.Last(func(tx *sqldb.Tx) error {
		_, err := addImageCount(tx, rp, -1, 0)
		return err
	})
	if r.watcher == nil {
		return nil
	}
	return r.watcher.ImageGone(tx, rp, img.Digest)
}
