// Package identity knows accounts, principals and their credentials: access keys,
// session credentials and the registry's authorization tokens; and it decides
// what a principal may do.
//
// It owns users, groups, roles, policies, identity providers and sessions, and
// joins what they say with the policies of resources, which others own
// (gate.PolicySource). The language of policies is package policy, the tokens of
// identity providers package webtoken. It does not parse HTTP or signatures.
package identity

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity/webtoken"
	"github.com/berth-registry/berth/internal/fresh"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// The ways credentials can be wrong.
var (
	// ErrUnknownKey is an access key id that does not exist or is not active.
	ErrUnknownKey = errors.New("the security token included in the request is invalid")
	// ErrBadToken is a session or authorization token that this deployment did
	// not issue, or not for this use.
	ErrBadToken = errors.New("the token is not valid here")
	// ErrExpired is a token past its end.
	ErrExpired = errors.New("the token has expired")
)

// staleFor is how long what another node revoked may go on working here.
const staleFor = 4 * time.Second

// maxCached bounds each cache.
const maxCached = 10_000

// Options configures an Identity.
type Options struct {
	// Guards knows the policies and tags of resources; nil knows none.
	Guards gate.PolicySource
	// Keys finds the keys of identity providers; nil knows none.
	Keys webtoken.Keys
	// Now is the clock, nil the real one.
	Now func() time.Time
	Log *slog.Logger
}

// Identity is the plane. It is safe for concurrent use.
type Identity struct {
	db     *sqldb.DB
	now    func() time.Time
	log    *slog.Logger
	guards gate.PolicySource
	issuer webtoken.Keys
	keys   *secret.Box // secrets at rest
	tokens *secret.Box // registry authorization tokens
	sealed *secret.Box // sessions at rest
	grants *secret.Box // download grants
	pages  *secret.Box // page tokens
	notes  *secret.Box // encoded authorisation messages

	known     *fresh.Cache[string, found]
	sessions  *fresh.Cache[string, *Session]
	standings *fresh.Cache[standingKey, *standing]
	open      *fresh.Cache[arn.Account, bool]

	mu       sync.Mutex
	verified map[[32]byte]Token
	used     map[string]keyUse
}

// found is the outcome of looking an access key up.
type found struct {
	Key
	err error
}

// keyUse is a use of an access key that is still to be stored.
type keyUse struct {
	at              time.Time
	service, region string
}

// New makes the plane on a migrated database.
func New(db *sqldb.DB, master *secret.Master, o Options) *Identity {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Identity{db: db, now: o.Now, log: o.Log, guards: o.Guards, issuer: o.Keys, keys: master.Box("access-keys"), tokens: master.Box("registry-token"),
		sealed: master.Box("sessions"), grants: master.Box("download-grant"), pages: master.Box("identity-pages"), notes: master.Box("authorization-message"),
		known: fresh.New[string, found](staleFor, maxCached, o.Now), sessions: fresh.New[string, *Session](staleFor, maxCached, o.Now),
		standings: fresh.New[standingKey, *standing](staleFor, maxCached, o.Now), open: fresh.New[arn.Account, bool](staleFor, maxCached, o.Now),
		verified: map[[32]byte]Token{}, used: map[string]keyUse{}}
}

// forget drops what is cached, after a change.
func (id *Identity) forget() {
	id.known.Forget()
	id.sessions.Forget()
	id.standings.Forget()
	id.open.Forget()
}

// Credentials are what a client signs with.
type Credentials struct {
	AccessKeyID  string
	Secret       secret.String
	SessionToken string    // "" for long-term keys
	Expires      time.Time // zero for long-term keys
}

// Key is an access key as a verifier needs it.
type Key struct {
	Principal arn.Principal
	Secret    secret.String
}

// newKeyID makes an id like AWS's: a prefix that tells the kind, and 16 further
// letters and digits.
func newKeyID(prefix string) string {
	b := make([]byte, 10)
	rand.Read(b)
	return prefix + base32.StdEncoding.EncodeToString(b)
}

func newSecret() secret.String {
	b := make([]byte, 30)
	rand.Read(b)
	return secret.String(base64.StdEncoding.EncodeToString(b))
}

// EnsureAccount makes the account, with a root access key, unless it exists, and
// returns the root's key either way. With offered, a fresh account takes that key
// instead of a new one.
func (id *Identity) EnsureAccount(ctx context.Context, account arn.Account, name string, offered *Credentials) (Credentials, error) {
	if !account.Valid() {
		return Credentials{}, fmt.Errorf("account %q: want 12 digits", account)
	}
	root := arn.Root(account)
	if c, err := id.rootKey(ctx, root); err == nil || !sqldb.IsNoRows(err) {
		return c, err
	}
	c := Credentials{AccessKeyID: newKeyID("AKIA"), Secret: newSecret()}
	if offered != nil {
		c = *offered
	}
	err := id.insertAccount(ctx, root, name, c)
	if errors.Is(err, sqldb.ErrUnique) { // another node was faster
		return id.rootKey(ctx, root)
	}
	return c, err
}

// LookupKey finds an access key: ErrUnknownKey; ErrBadToken or ErrExpired for the
// session token that temporary keys need.
func (id *Identity) LookupKey(ctx context.Context, accessKeyID, sessionToken string) (Key, error) {
	if sessionToken != "" || len(accessKeyID) > 4 && accessKeyID[:4] == "ASIA" {
		return id.openSession(ctx, accessKeyID, sessionToken)
	}
	f, err := id.known.Get(accessKeyID, func() (found, error) {
		k, err := id.readKey(ctx, accessKeyID)
		if err != nil && !errors.Is(err, ErrUnknownKey) {
			return found{}, err
		}
		return found{k, err}, nil
	})
	if err != nil {
		return Key{}, err
	}
	return f.Key, f.err
}

// Used notes that a key was used; it is stored within a minute.
func (id *Identity) Used(accessKeyID, service string, region arn.Region) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if len(id.used) < maxCached {
		id.used[accessKeyID] = keyUse{id.now(), service, string(region)}
	}
}

// Account reports whether this deployment hosts an account.
func (id *Identity) Account(ctx context.Context, a arn.Account) (bool, error) {
	return id.hasAccount(ctx, a)
}

// sessionsKept is how long the row of an ended session stays: registry tokens that
// it asked for live longer than it.
const sessionsKept = TokenLife + time.Hour

// denialsKept is how long explanations of denials stay.
const denialsKept = 90 * 24 * time.Hour

// denialsMost is how many explanations are kept in all.
const denialsMost = 100_000

// Run does the plane's background work until ctx ends: it stores when keys were
// used and removes ended sessions and old explanations.
func (id *Identity) Run(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := id.Sweep(ctx); err != nil && ctx.Err() == nil {
				id.log.Warn("identity sweep", "error", err) // the next round tries again
			}
		}
	}
}

// Sweep does one round of background work.
func (id *Identity) Sweep(ctx context.Context) error {
	id.mu.Lock()
	used := id.used
	id.used = map[string]keyUse{}
	id.mu.Unlock()
	return id.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		if err := touchKeys(tx, used); err != nil {
			return err
		}
		if err := sweepBrowsers(tx, id.now()); err != nil {
			return err
		}
		return sweep(tx, id.now().Add(-sessionsKept), id.now().Add(-denialsKept))
	})
}
