// Package registry is the core of Berth: repositories, images, tags, layers and
// uploads, creation templates and the registry's settings, with ECR's rules.
//
// It owns its tables and every rule about them, so that the OCI front end and the
// AWS front end cannot decide differently. It does not know HTTP, the AWS SDK or
// who may do what: callers come through gate. Bytes are package blob's.
//
// # What is atomic
//
// Every method that changes something does so in one transaction. A layer exists
// once its row is committed, after its bytes are safe; an image once its row, its
// references and its tag are committed together, after all that it needs was
// found in the same transaction. Nothing that a read shows refers to something
// missing.
package registry

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/internal/fresh"
	"github.com/berth-registry/berth/registry/manifest"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// Limits are ECR's quotas. The zero value of a field means its default.
type Limits struct {
	Repositories int64         // in one registry
	Images       int64         // in one repository
	TagsPerImage int64         //
	LayerSize    int64         // bytes
	Uploads      int           // open at once in one account
	UploadLife   time.Duration // without use
	Parts        int64         // of one upload by the API
	MinPart      int64         // bytes, of all parts but the last
	MaxPart      int64         // bytes
	Templates    int64         // in one registry
	LeftoverLife time.Duration // of a repository that a template made and nobody filled
	ResourceTags int           // on one repository
}

// DefaultLimits are those of ECR (service quotas).
func DefaultLimits() Limits {
	return Limits{Repositories: 100_000, Images: 100_000, TagsPerImage: 1000, LayerSize: 52_000 << 20, Uploads: 1000,
		UploadLife: 24 * time.Hour, Parts: 4200, MinPart: 5 << 20, MaxPart: 20_971_520, Templates: 50,
		LeftoverLife: 24 * time.Hour, ResourceTags: 50}
}

// Keys finds encryption keys (package keyring).
type Keys interface {
	// Resolve returns the ARN of the key that a user named, "" being the default.
	Resolve(p arn.Place, name string) (string, error)
}

// Options configures a Registry.
type Options struct {
	Limits Limits // zero: DefaultLimits
	Keys   Keys
	// Missing is told of a push to a repository that does not exist and that no
	// template makes. It may wait until something has made it; it returns nil when the
	// repository may exist now, else the push's error.
	Missing func(ctx context.Context, p arn.Place, name string) error
	// Origin tells who is making a repository: what CreatedBy returns later.
	Origin func(ctx context.Context, p arn.Place) map[string]string
	// Events takes what happens to images.
	Events *event.Outbox
	// Watcher is told of changes; nil for nobody.
	Watcher Watcher
	Now     func() time.Time
	Log     *slog.Logger
}

// Registry is the plane. It is safe for concurrent use.
type Registry struct {
	db      *sqldb.DB
	blobs   *blob.Blobs
	pages   *secret.Box
	keys    Keys
	limits  Limits
	missing func(ctx context.Context, p arn.Place, name string) error
	origin  func(ctx context.Context, p arn.Place) map[string]string
	events  *event.Outbox
	watcher Watcher
	// allowances are for repositories.
	allowances *allowances
	now        func() time.Time
	log        *slog.Logger
	node       string // this process
	ids        uploadIDs
	live       sessions
	pulls      pulls
	leases     leases
	cache      *cache
	recent     manifest.Recent
	guards     *fresh.Cache[guardKey, guard]
	usage      *fresh.Cache[arn.Account, []Usage]
}

// New makes the plane on a migrated database.
func New(db *sqldb.DB, blobs *blob.Blobs, master *secret.Master, o Options) *Registry {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var node [8]byte
	rand.Read(node[:])
	return &Registry{db: db, blobs: blobs, pages: master.Box("registry-pages"), keys: o.Keys, limits: o.Limits, missing: o.Missing, origin: o.Origin, events: o.Events, watcher: o.Watcher, allowances: &allowances{}, now: o.Now, log: o.Log,
		node: hex.EncodeToString(node[:]), ids: uploadIDs{master.Derive("upload-ids")}, live: newSessions(), pulls: newPulls(), leases: newLeases(),
		cache: newCache(db.SingleProcess()), guards: fresh.New[guardKey, guard](guardLife, maxGuards, o.Now),
		usage: fresh.New[arn.Account, []Usage](usageFor, maxGuards, o.Now)}
}

// newID makes a positive random id.
func newID() int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint64(b[:]) >> 1)
}

// Run does the plane's background work until ctx ends: it expires uploads,
// removes leftovers of templates and clears what deleted repositories left.
func (r *Registry) Run(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	flush := time.NewTicker(5 * time.Second)
	defer flush.Stop()
	for {
		if err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("registry sweep", "error", err)
		}
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				r.Close(last)
				return
			case <-flush.C:
				if err := r.flushPulls(ctx); err != nil && ctx.Err() == nil {
					r.log.Warn("recording pulls", "error", err)
				}
			case <-t.C:
				wait = false
			}
		}
	}
}
