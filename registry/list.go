package registry

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/sqldb"
)

// TagStatus filters images.
type TagStatus string

// The filters; Any is everything.
const (
	Any      TagStatus = "ANY"
	Tagged   TagStatus = "TAGGED"
	Untagged TagStatus = "UNTAGGED"
)

// ImageKey is a place in the order of Images: newest first, then by digest.
type ImageKey struct {
	PushedAt int64 // microseconds; the zero key is before everything
	Digest   string
}

// Key is the image's place in the order of Images.
func (i *Image) Key() ImageKey { return ImageKey{sqldb.Micros(i.PushedAt), i.Digest} }

// Images returns a page of a repository's images with their tags, newest first:
// RepositoryNotFound.
func (r *Registry) Images(ctx context.Context, p arn.Place, repo string, status TagStatus, after ImageKey, limit int) ([]*Image, error) {
	rp, err := r.Repository(ctx, p, repo)
	if err != nil {
		return nil, err
	}
	list, err := r.listImages(ctx, rp, status, after, limit)
	if err == nil {
		err = r.fillTags(ctx, rp, list)
	}
	return list, storage(err)
}

// DescribeImage returns one image with all its tags, without body.
func (r *Registry) DescribeImage(ctx context.Context, p arn.Place, repo string, id ImageID) (*Image, error) {
	img, err := r.freshImage(ctx, p, repo, id)
	if err != nil {
		return nil, err
	}
	rp, err := r.Repository(ctx, p, repo)
	if err != nil {
		return nil, err
	}
	img.Tags, img.Body = nil, nil
	return img, storage(r.fillTags(ctx, rp, []*Image{img}))
}

// ImageRef is one row of ListImages: a tag with its image, or an image without
// tags.
type ImageRef struct {
	Digest string
	Tag    string
}

// ImageRefs returns a page of tags in order, then of untagged images in order of
// digest, after the row given (the zero row begins): RepositoryNotFound.
func (r *Registry) ImageRefs(ctx context.Context, p arn.Place, repo string, status TagStatus, after ImageRef, limit int) ([]ImageRef, error) {
	rp, err := r.Repository(ctx, p, repo)
	if err != nil {
		return nil, err
	}
	var out []ImageRef
	untaggedFrom := ""
	if after.Tag == "" {
		untaggedFrom = after.Digest
	}
	if status != Untagged && untaggedFrom == "" {
		if out, err = r.listTags(ctx, rp, after.Tag, limit); err != nil {
			return nil, storage(err)
		}
	}
	if status != Tagged && len(out) < limit {
		more, err := r.listUntagged(ctx, rp, untaggedFrom, limit-len(out))
		if err != nil {
			return nil, storage(err)
		}
		out = append(out, more...)
	}
	return out, nil
}

// Tags returns a page of a repository's tags in order, after the tag given:
// RepositoryNotFound.
func (r *Registry) Tags(ctx context.Context, p arn.Place, repo, after string, limit int) ([]string, error) {
	if limit == 0 {
		_, err := r.Repository(ctx, p, repo)
		return []string{}, err
	}
	tags, found, err := r.listTagNames(ctx, p, repo, after, limit)
	if err == nil && !found {
		return nil, errRepositoryNotFound(p, repo)
	}
	return tags, storage(err)
}

// Referrer is an image whose subject was asked for, as a descriptor.
type Referrer struct {
	Image
	Annotations map[string]string
}

// Referrers returns a page of the images whose subject is the digest, in order
// of digest, after the one given; artifactTypes, if any, filter. The subject
// itself need not exist: RepositoryNotFound.
func (r *Registry) Referrers(ctx context.Context, p arn.Place, repo, subject string, artifactTypes []string, after string, limit int) ([]Referrer, error) {
	rp, err := r.Repository(ctx, p, repo)
	if err != nil {
		return nil, err
	}
	list, err := r.listReferrers(ctx, rp, subject, artifactTypes, after, limit)
	if err != nil {
		return nil, storage(err)
	}
	out := make([]Referrer, 0, len(list))
	for _, img := range list {
		m, err := manifest.Stored(img.MediaType, img.Body)
		if err != nil {
			return nil, err
		}
		out = append(out, Referrer{*img, m.Annotations})
	}
	return out, nil
}

// Origin tells who pushed an image and what their workload identity claimed.
type Origin struct {
	Digest   string
	Tags     []string
	PushedAt time.Time
	PushedBy string // ARN
	Claims   map[string]string
}

// Origin returns where an image came from: RepositoryNotFound, ImageNotFound.
func (r *Registry) Origin(ctx context.Context, p arn.Place, repo string, id ImageID) (*Origin, error) {
	img, err := r.DescribeImage(ctx, p, repo, id)
	if err != nil {
		return nil, err
	}
	rp, err := r.Repository(ctx, p, repo)
	if err != nil {
		return nil, err
	}
	o := &Origin{Digest: img.Digest, Tags: img.Tags, PushedAt: img.PushedAt, PushedBy: img.PushedBy, Claims: map[string]string{}}
	text, err := r.readOrigin(ctx, rp, img.Digest)
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &o.Claims)
	}
	return o, storage(err)
}
