// Package requests remembers the requests of the Cloud Control API for the week in which
// their callers may ask how they ended.
//
// It does nothing of what is requested: package aws/controlapi does, and says how it went.
package requests

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// life is how long a request is remembered (Cloud Control API user guide).
const life = 7 * 24 * time.Hour

// ErrNotFound is a token of no request.
var ErrNotFound = errors.New("no such request")

// Request is one, with how it ended.
type Request struct {
	Token      string    `json:"-"`
	Client     string    `json:"-"` // the caller's token, by which a request is made once
	At         time.Time `json:"-"`
	Type       string    `json:"type"`
	Identifier string    `json:"identifier"`
	Operation  string    `json:"operation"` // CREATE, UPDATE, DELETE
	Asked      string    `json:"asked"`     // a hash of what was asked
	Status     string    `json:"status"`    // IN_PROGRESS, SUCCESS, FAILED
	Code       string    `json:"code,omitempty"`
	Message    string    `json:"message,omitempty"`
	Model      string    `json:"model,omitempty"`
}

// Requests is the plane.
type Requests struct {
	db    *sqldb.DB
	pages *secret.Box
	now   func() time.Time
}

// New makes the plane. The clock is time.Now when nil.
func New(db *sqldb.DB, master *secret.Master, now func() time.Time) *Requests {
	if now == nil {
		now = time.Now
	}
	return &Requests{db, master.Box("control requests"), now}
}

// Begin remembers a request that is about to be done, and gives it its token; one whose
// Client has been here is returned as it was, with began false.
func (r *Requests) Begin(ctx context.Context, p arn.Place, q Request) (_ *Request, began bool, err error) {
	q.Token, q.At = uid.New(r.now()), r.now()
	if q.Client == "" {
		q.Client = q.Token
	}
	err = r.db.Write(sqldb.Apart(ctx), func(tx *sqldb.Tx) error {
		if err := forget(tx, r.now().Add(-life)); err != nil {
			return err
		}
		n, err := insert(tx, p, &q)
		began = n > 0
		return err
	})
	if err != nil || began {
		return &q, began, err
	}
	old, err := r.byClient(ctx, p, q.Client)
	return old, false, err
}

// End remembers how a request ended.
func (r *Requests) End(ctx context.Context, p arn.Place, q *Request) error {
	return r.db.Write(sqldb.Apart(ctx), func(tx *sqldb.Tx) error { return update(tx, p, q) })
}

// Find returns a request by its token: ErrNotFound.
func (r *Requests) Find(ctx context.Context, p arn.Place, token string) (*Request, error) {
	q, err := r.byToken(ctx, p, token)
	if sqldb.IsNoRows(err) {
		return nil, ErrNotFound
	}
	return q, err
}

// List returns requests, the newest first, from a page token on; next is "" at the end.
func (r *Requests) List(ctx context.Context, p arn.Place, page string, limit int) (list []*Request, next string, err error) {
	before, binding := "~", string(p.Account)+"/"+string(p.Region)
	if r.pages.Untoken(binding, page, &before) != nil {
		return nil, "", ErrNotFound
	}
	list, err = r.list(ctx, p, before, limit+1)
	if err != nil || len(list) <= limit {
		return list, "", err
	}
	list = list[:limit]
	return list, r.pages.Token(binding, list[limit-1].Token), nil
}
