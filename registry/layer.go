package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/sqldb"
)

// Layer is a blob that a repository may read.
type Layer struct {
	Digest  string
	Size    int64
	content blob.Content
}

// Layer finds a layer of a repository: RepositoryNotFound, LayersNotFound.
func (r *Registry) Layer(ctx context.Context, p arn.Place, repo, digest string) (*Layer, error) {
	key := layerKey(p, repo, digest)
	v, ticket := r.cache.get(key)
	if l, ok := v.(*Layer); ok {
		return l, nil
	}
	l, found, err := r.readLayer(ctx, p, repo, digest)
	if l, err = r.layer(l, found, err, p, repo, digest); err == nil {
		r.cache.put(key, ticket, l, len(l.content.Inline))
	}
	return l, err
}

func (r *Registry) layer(l *Layer, found bool, err error, p arn.Place, repo, digest string) (*Layer, error) {
	switch {
	case err != nil:
		return nil, storage(err)
	case !found:
		return nil, errRepositoryNotFound(p, repo)
	case l == nil:
		return nil, &Error{Code: LayersNotFound, Digests: []string{digest}, Message: "The layer with digest '" + digest +
			"' does not exist in the repository with name '" + repo + "' in the registry with id '" + string(p.Account) + "'"}
	}
	return l, nil
}

// CheckLayer is Layer for a client that will skip the upload when it gets an
// answer: the blob is kept from garbage collection until the client can have
// pushed its manifest.
func (r *Registry) CheckLayer(ctx context.Context, p arn.Place, repo, digest string) (*Layer, error) {
	l, err := r.Layer(ctx, p, repo, digest)
	if err != nil {
		return nil, err
	}
	return l, storage(r.lease(ctx, l.content))
}

// OpenLayer opens a layer's bytes: RepositoryNotFound, LayersNotFound, and
// LayerInaccessible when the bytes are missing or of another length.
func (r *Registry) OpenLayer(ctx context.Context, p arn.Place, repo, digest string) (*Layer, blob.Reader, error) {
	l, err := r.Layer(ctx, p, repo, digest)
	if err != nil {
		return nil, nil, err
	}
	rd, err := r.blobs.Open(ctx, l.content)
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) {
		r.log.Error("a stored layer is missing or damaged; pushing it again repairs it", "repository", repo, "digest", digest, "error", err)
		return nil, nil, &Error{Code: LayerInaccessible, Message: "The layer with digest '" + digest + "' is damaged in storage. Push it again to repair it.", Err: err}
	}
	return l, rd, storage(err)
}

// MountLayer links a layer of another repository of the same registry, without
// copying. ok is false when it cannot: the source or the layer is missing, the
// two are encrypted differently, or mounting is switched off; the client then
// uploads. RepositoryNotFound for the target.
func (r *Registry) MountLayer(ctx context.Context, p arn.Place, repo, from, digest string) (l *Layer, ok bool, err error) {
	if setting, err := r.AccountSetting(ctx, p, BlobMounting); err != nil || setting != "ENABLED" {
		return nil, false, err
	}
	src, err := r.Layer(ctx, p, from, digest)
	switch CodeOf(err) {
	case RepositoryNotFound, LayersNotFound:
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if !r.blobs.Healthy(ctx, src.content) {
		return nil, false, nil // an upload repairs it
	}
	if have, err := r.CheckLayer(ctx, p, repo, digest); err == nil { // linked and leased: nothing to do
		return have, true, nil
	}
	err = r.db.Write(ctx, func(tx *sqldb.Tx) error {
		rp, err := holdRepository(tx, p, repo)
		if err != nil {
			return err
		}
		if rp.KMSKey != src.content.Encryption {
			return nil
		}
		held, err := touchBlob(tx, src.content, sqldb.Micros(r.now()), sqldb.Micros(r.now().Add(leaseTime)))
		if err != nil || !held {
			return err
		}
		ok = true
		return linkLayer(tx, rp, digest, src.Size, sqldb.Micros(r.now()))
	})
	if err != nil {
		return nil, false, storage(err)
	}
	return src, ok, nil
}

// leaseTime is how long a blob that a client was told about is kept without any
// reference. It covers GC's default grace period of an hour.
const leaseTime = 2 * time.Hour

// leases remembers which blobs hold a lease, so that asking again and again
// writes at most every quarter of the lease.
type leases struct {
	mu    *sync.Mutex
	until map[[2]string]time.Time // digest and encryption -> when to write again
}

func newLeases() leases { return leases{&sync.Mutex{}, map[[2]string]time.Time{}} }

// maxLeases bounds the memory of leases; forgetting one costs a write.
const maxLeases = 20_000

func (r *Registry) lease(ctx context.Context, c blob.Content) error {
	key, now := [2]string{c.Digest, c.Encryption}, r.now()
	r.leases.mu.Lock()
	fresh := now.Before(r.leases.until[key])
	r.leases.mu.Unlock()
	if fresh {
		return nil
	}
	if err := r.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		_, err := touchBlob(tx, c, sqldb.Micros(now), sqldb.Micros(now.Add(leaseTime)))
		return err
	}); err != nil {
		return err
	}
	r.leased(key, now)
	return nil
}

func (r *Registry) leased(key [2]string, now time.Time) {
	r.leases.mu.Lock()
	defer r.leases.mu.Unlock()
	if len(r.leases.until) >= maxLeases {
		clear(r.leases.until)
	}
	r.leases.until[key] = now.Add(leaseTime / 4)
}

// pulls gathers which images were pulled, to be written together.
type pulls struct {
	mu   *sync.Mutex
	seen map[pull]time.Time // last written
	due  map[pull]time.Time
}

type pull struct {
	place  arn.Place
	repo   string
	digest string
}

func newPulls() pulls { return pulls{&sync.Mutex{}, map[pull]time.Time{}, map[pull]time.Time{}} }

// pullGranularity is how exact the time of an image's last pull is.
const pullGranularity = time.Hour

// Pulled notes that an image was pulled. It does not wait for anything.
func (r *Registry) Pulled(p arn.Place, repo, digest string) {
	key, now := pull{p, repo, digest}, r.now()
	r.pulls.mu.Lock()
	defer r.pulls.mu.Unlock()
	if last, ok := r.pulls.seen[key]; ok && now.Sub(last) < pullGranularity {
		return
	}
	if len(r.pulls.seen) >= maxLeases {
		clear(r.pulls.seen)
	}
	r.pulls.seen[key], r.pulls.due[key] = now, now
}

func (r *Registry) flushPulls(ctx context.Context) error {
	r.pulls.mu.Lock()
	due := r.pulls.due
	r.pulls.due = map[pull]time.Time{}
	r.pulls.mu.Unlock()
	for len(due) > 0 {
		batch := map[pull]time.Time{}
		for k, t := range due {
			if len(batch) == chunk {
				break
			}
			batch[k] = t
			delete(due, k)
		}
		if err := r.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
			for k, t := range batch {
				if err := setPulled(tx, k, sqldb.Micros(t)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
