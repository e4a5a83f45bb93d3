package registry

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/sqldb"
)

// Watcher is told of what happens to repositories and images within the transactions in
// which it happens, so that what it makes of that is committed with it or not at all. An
// error of a Watcher rolls the change back.
type Watcher interface {
	// Repository is told of one that was made or changed.
	Repository(tx *sqldb.Tx, r *Repository) error
	// RepositoryGone is told of one that goes with all its images.
	RepositoryGone(tx *sqldb.Tx, r *Repository) error
	// Image is told of one that was pushed or has other tags than before. It has its claims
	// and the first WatchedTags of its tags, and need not have its body. isNew says that there was none of its digest in the repository.
	Image(tx *sqldb.Tx, r *Repository, i *Image, isNew bool) error
	// ImageGone is told of one that was deleted by itself.
	ImageGone(tx *sqldb.Tx, r *Repository, digest string) error
	// Pushing is told of a push ahead of its transaction, for what takes time.
	Pushing(ctx context.Context, p arn.Place, repository string, i *Image, m *manifest.Manifest)
}

// WatchedTags is how many of an image's tags a Watcher is told, by name: who tags an image
// a thousand times is not to pay for all of them each time.
const WatchedTags = 100

// Again is an error of a Watcher that has the transaction run again, once Prepare, unless
// it is nil, has been done outside of it.
type Again struct{ Prepare func(context.Context) }

func (*Again) Error() string { return "the transaction is to be run again" }

// maxAgain bounds how often a transaction runs again for its watcher.
const maxAgain = 10

// write runs a transaction that the watcher may want to run again.
func (r *Registry) write(ctx context.Context, fn func(*sqldb.Tx) error) error {
	for try := 0; ; try++ {
		err := r.db.Write(ctx, fn)
		var again *Again
		if !errors.As(err, &again) {
			return err
		}
		if try == maxAgain {
			return &Error{Code: Unavailable, Message: "Too many changes met the same repository at once. Try again.", Err: err}
		}
		if again.Prepare != nil {
			again.Prepare(ctx)
		}
	}
}

// Claims are what the pusher's workload identity claimed, nil for none.
func (i *Image) Claims() map[string]string { return i.origin }

// imageState is the key of what follows from an image and its tags.
type imageState struct {
	repo   int64
	digest string
}

// watchImage tells the watcher of an image that exists, once the transaction's other work is
// done: of many tags that it gets at once, it is told together.
func (r *Registry) watchImage(tx *sqldb.Tx, rp *Repository, digest string) {
	if r.watcher == nil {
		return
	}
	tx.Once(imageState{rp.ID, digest}, func(tx *sqldb.Tx) error {
		if r.db.SingleProcess() { // the repository may have been changed or deleted in the same commit
			now, err := txRepository(tx, rp.Place, rp.Name, "")
			switch {
			case CodeOf(err) == RepositoryNotFound, err == nil && now.ID != rp.ID:
				return nil
			case err != nil:
				return err
			}
			rp = now
		}
		i, err := txWatched(tx, rp, digest)
		if err != nil || i == nil {
			return err
		}
		return r.watcher.Image(tx, rp, i, false)
	})
}

// watchPut tells the watcher what a push did: to its image, which had so many tags, and to
// the one that had the tag.
func (r *Registry) watchPut(tx *sqldb.Tx, rp *Repository, put *Put, tag, old string, isNew bool, had int64) error {
	if r.watcher == nil {
		return nil
	}
	if old != "" && old != put.Digest {
		r.watchImage(tx, rp, old)
	}
	if !isNew {
		if had >= WatchedTags {
			switch last, err := txLastWatched(tx, rp, put.Digest); {
			case err == nil && tag > last:
				return nil // of the tags that the watcher is told none is new
			case err != nil && !sqldb.IsNoRows(err):
				return err
			}
		}
		r.watchImage(tx, rp, put.Digest)
		return nil
	}
	i := put.Image
	if tag != "" {
		i.Tags = []string{tag}
	}
	return r.watcher.Image(tx, rp, &i, true)
}

// Visit runs fn on a repository in a transaction in which nobody changes it:
// RepositoryNotFound.
func (r *Registry) Visit(ctx context.Context, p arn.Place, name string, fn func(*sqldb.Tx, *Repository) error) error {
	return storage(r.write(ctx, func(tx *sqldb.Tx) error {
		rp, err := lockRepository(tx, p, name)
		if err != nil {
			return err
		}
		return fn(tx, rp)
	}))
}

// VisitImage is Visit for one image, as a Watcher is told it: ImageNotFound.
func (r *Registry) VisitImage(ctx context.Context, p arn.Place, name, digest string, fn func(*sqldb.Tx, *Repository, *Image) error) error {
	return r.Visit(ctx, p, name, func(tx *sqldb.Tx, rp *Repository) error {
		i, err := txWatched(tx, rp, digest)
		if err != nil {
			return err
		}
		if i == nil {
			return errImageNotFound(p, name, ImageID{Digest: digest})
		}
		return fn(tx, rp, i)
	})
}

// Digests returns those of a repository's images in order, after one given.
func (r *Registry) Digests(ctx context.Context, repo *Repository, after string, limit int) ([]string, error) {
	list, err := r.listDigests(ctx, repo, after, limit)
	return list, storage(err)
}

// VisitImages is Visit for several images of a repository; those that are gone are left
// out.
func (r *Registry) VisitImages(ctx context.Context, p arn.Place, name string, digests []string, fn func(*sqldb.Tx, *Repository, []*Image) error) error {
	return r.Visit(ctx, p, name, func(tx *sqldb.Tx, rp *Repository) error {
		var list []*Image
		for _, d := range digests {
			i, err := txWatched(tx, rp, d)
			if err != nil {
				return err
			}
			if i != nil {
				list = append(list, i)
			}
		}
		return fn(tx, rp, list)
	})
}

// Regions are those in which an account has repositories.
func (r *Registry) Regions(ctx context.Context, a arn.Account) ([]arn.Region, error) {
	list, err := r.listRegions(ctx, a)
	return list, storage(err)
}

// ParseManifest parses what was checked when it was pushed, or lately.
func (r *Registry) ParseManifest(i *Image) (*manifest.Manifest, error) {
	m, _, err := r.recent.Parse(i.MediaType, i.Body)
	return m, err
}

func claimsOf(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	var out map[string]string
	return out, json.Unmarshal([]byte(text), &out)
}
