package registry

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/sqldb"
)

// usageFor is how long Usage may be old: it reads all that an account has.
const usageFor = 3 * time.Second

// Usage is what an account's registry holds in a region. Bytes counts each layer once a
// repository.
type Usage struct {
	Region                      arn.Region
	Repositories, Images, Bytes int64
}

// Usage tells what an account's registries hold, as of at most three seconds ago.
func (r *Registry) Usage(ctx context.Context, a arn.Account) ([]Usage, error) {
	list, err := r.usage.Get(a, func() ([]Usage, error) { return r.readUsage(ctx, a) })
	return list, storage(err)
}

// FindKey is a place in the order of Find.
type FindKey struct {
	Name   string     `json:"n"`
	Region arn.Region `json:"r"`
}

// MaxNames is how many repositories Find takes by name.
const MaxNames = 200

// Find asks for repositories of an account in all regions, or one.
type Find struct {
	Account arn.Account
	Region  arn.Region // "" is all
	Names   []string   // at most MaxNames; none is any
	Text    string     // part of the name
	TagKey  string     // "" is any
	Tag     string     // the value of TagKey, "" is any
	After   FindKey
	Limit   int
}

// Found is a repository with what people ask of it first.
type Found struct {
	*Repository
	Bytes    int64     // of its layers, each once
	PushedAt time.Time // of the last push, zero without images
}

// Find returns a page of repositories in order of name and region.
func (r *Registry) Find(ctx context.Context, f Find) ([]*Found, error) {
	name, tag := "", ""
	if f.Text != "" {
		name = "%" + sqldb.Literal(strings.ToLower(f.Text)) + "%"
	}
	if f.TagKey != "" {
		key, err := json.Marshal(f.TagKey) // as the column has it
		if err != nil {
			return nil, err
		}
		tag = "%" + sqldb.Literal(string(key)) + ":%"
	}
	var out []*Found
	for after := f.After; ; {
		q := f
		q.After = after
		list, err := r.findRepositories(ctx, &q, name, tag, f.Limit)
		if err != nil {
			return nil, storage(err)
		}
		for _, one := range list {
			if v, ok := one.Resource[f.TagKey]; f.TagKey == "" || ok && (f.Tag == "" || v == f.Tag) {
				out = append(out, one)
			}
		}
		if len(list) < f.Limit || len(out) >= f.Limit {
			return slices.Clip(out[:min(len(out), f.Limit)]), nil
		}
		last := list[len(list)-1]
		after = FindKey{last.Name, last.Place.Region}
	}
}

// FoundImage is an image as people name it: one that may be for several platforms.
type FoundImage struct {
	*Image
	// Children are the parts of an index, with their sizes as images.
	Children []manifest.Descriptor
	// Total is the size of all that belongs to it, Attached how many images refer to it.
	Total, Attached int64
}

// FindImages returns a page of a repository's images, newest first, with their tags:
// without what has no tag and is part of an index or attached to another. text is part of a tag or of
// the digest. RepositoryNotFound.
func (r *Registry) FindImages(ctx context.Context, p arn.Place, repo, text string, after ImageKey, limit int) ([]*FoundImage, error) {
	rp, err := r.Repository(ctx, p, repo)
	if err != nil {
		return nil, err
	}
	if text != "" {
		text = "%" + sqldb.Literal(text) + "%"
	}
	list, err := r.findImages(ctx, rp, text, after, limit)
	if err == nil {
		err = r.fillTags(ctx, rp, list)
	}
	if err != nil {
		return nil, storage(err)
	}
	var digests, parts []string
	var out []*FoundImage
	for _, i := range list {
		f := &FoundImage{Image: i, Total: i.Size}
		if len(i.Body) > 0 {
			if m, err := r.ParseManifest(i); err == nil {
				f.Children = m.Children
			}
		}
		for _, c := range f.Children {
			parts = append(parts, c.Digest)
		}
		digests, out = append(digests, i.Digest), append(out, f)
	}
	attached, err := r.countAttached(ctx, rp, digests)
	if err != nil {
		return nil, storage(err)
	}
	sizes, err := r.imageSizes(ctx, rp, parts)
	for _, f := range out {
		f.Attached = attached[f.Digest]
		for i := range f.Children {
			f.Children[i].Size = sizes[f.Children[i].Digest]
			f.Total += f.Children[i].Size
		}
	}
	return out, storage(err)
}
