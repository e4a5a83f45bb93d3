// Package catalog is the core of the software catalog: blueprints, entities and the
// relations between them, derived properties, search, scorecards and the log of what
// changed, by the model of Port's API.
//
// It owns its tables and every rule about them. It does not know the registry, HTTP or
// who may do what: what the registry's resources become, package mapping says, and server
// brings both together in the transaction that changes a resource (Ingest).
//
// Everything belongs to an account. An entity is named by its blueprint and identifier.
package catalog

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// Calculator evaluates calculation properties, within limits.
type Calculator interface {
	// Calculate evaluates jq texts by name on a document. What fails is missing.
	Calculate(ctx context.Context, texts map[string]string, document any) (map[string]any, error)
}

// Options configures a Catalog.
type Options struct {
	Calculator Calculator // nil: calculation properties are null
	// Retention is how long the log of changes is kept; 0 keeps it for 90 days.
	Retention time.Duration
	Now       func() time.Time
	Log       *slog.Logger
}

// Catalog is the plane. It is safe for concurrent use.
type Catalog struct {
	db        *sqldb.DB
	pages     *secret.Box
	calc      Calculator
	retention time.Duration
	now       func() time.Time
	log       *slog.Logger
	models    models
	results   results
	wake      chan struct{} // something is pending
	// sources are names that are in the table.
	sources     sync.Map
	sourceCount atomic.Int64
}

// New makes the plane on a migrated database.
func New(db *sqldb.DB, master *secret.Master, o Options) *Catalog {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Retention == 0 {
		o.Retention = 90 * 24 * time.Hour
	}
	return &Catalog{db: db, pages: master.Box("catalog-pages"), calc: o.Calculator, retention: o.Retention, now: o.Now, log: o.Log,
		models: newModels(), results: newResults(), wake: make(chan struct{}, 1)}
}

// Actor is who changes something, and by what.
type Actor struct {
	ID string // createdBy and updatedBy: a principal's ARN
	// Origin is what the change came through: API, or an integration's id.
	Origin string
	// Source is the client's own name, which $datasource is; "" leaves the entity's.
	Source string
	Run    string // Port's run_id
	quiet  bool   // what it does is recorded elsewhere
}

// moment is now, as precisely as the API tells times.
func (c *Catalog) moment() time.Time { return c.now().UTC().Truncate(time.Millisecond) }

// Moment writes a time as the API does.
func Moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func newIdentifier(prefix string) string {
	var b [8]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

// errModelRaced is a model that another transaction changed first.
var errModelRaced = errors.New("another transaction changed the model")

// maxRaces bounds how often a change that lost a race is made again.
const maxRaces = 10

// write runs fn in a transaction, with the account's model. It runs again when another
// node was faster.
func (c *Catalog) write(ctx context.Context, account arn.Account, fn func(*sqldb.Tx, *Model) error) error {
	for try := 0; ; try++ {
		err := c.db.Write(ctx, func(tx *sqldb.Tx) error {
			m, err := c.txModel(tx, account)
			if err != nil {
				return err
			}
			return fn(tx, m)
		})
		if raced := errors.Is(err, errModelRaced) || errors.Is(err, sqldb.ErrUnique); !raced {
			return storage(err)
		}
		if try == maxRaces {
			return &Error{Code: Unavailable, Message: "Too many changes were made at once. Try again.", Err: err}
		}
	}
}
