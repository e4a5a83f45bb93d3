// Package identity knows accounts, principals and their credentials: access keys,
// session credentials and the registry's authorization tokens; and it decides
// what a principal may do.
//
// It does not parse HTTP or signatures, and holds nothing of other planes. The
// only principals so far are the roots of accounts: they may do everything in
// their own account and nothing elsewhere.
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
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is embedded
	}
	return sub
}

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

// staleFor is how long a revoked key may go on working, on any node.
const staleFor = 5 * time.Second

// maxCached bounds each cache.
const maxCached = 10_000

// Identity is the plane. It is safe for concurrent use.
type Identity struct {
	db     *sqldb.DB
	now    func() time.Time
	keys   *secret.Box // secrets at rest
	tokens *secret.Box // registry authorization tokens
	sess   *secret.Box // session tokens
	grants *secret.Box // download grants

	mu       sync.Mutex
	keyCache map[string]cachedKey
	verified map[[32]byte]Token
}

type cachedKey struct {
	Key
	err   error
	until time.Time
}

// New makes the plane on a migrated database. now is the clock, nil the real one.
func New(db *sqldb.DB, master *secret.Master, now func() time.Time) *Identity {
	if now == nil {
		now = time.Now
	}
	return &Identity{db: db, now: now, keys: master.Box("access-keys"), tokens: master.Box("registry-token"),
		sess: master.Box("session"), grants: master.Box("download-grant"), keyCache: map[string]cachedKey{}, verified: map[[32]byte]Token{}}
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
	id.mu.Lock()
	c, ok := id.keyCache[accessKeyID]
	id.mu.Unlock()
	if ok && id.now().Before(c.until) {
		return c.Key, c.err
	}
	k, err := id.readKey(ctx, accessKeyID)
	if err != nil && !errors.Is(err, ErrUnknownKey) {
		return Key{}, err
	}
	id.mu.Lock()
	if len(id.keyCache) >= maxCached {
		clear(id.keyCache)
	}
	id.keyCache[accessKeyID] = cachedKey{k, err, id.now().Add(staleFor)}
	id.mu.Unlock()
	return k, err
}

// Account reports whether this deployment hosts an account.
func (id *Identity) Account(ctx context.Context, a arn.Account) (bool, error) {
	return id.hasAccount(ctx, a)
}

var _ gate.Authorizer = (*Identity)(nil)

// Authorize implements gate.Authorizer.
func (id *Identity) Authorize(_ context.Context, c gate.Call, action, resource string) (gate.Decision, error) {
	target := c.Place.Account
	if resource != arn.Any {
		a, err := arn.Parse(resource)
		if err != nil {
			return gate.Decision{}, err
		}
		target = a.Account
	}
	if c.Principal.Kind == arn.KindRoot && c.Principal.Account == target {
		return gate.Decision{Allowed: true}, nil
	}
	kind := "identity"
	if c.Principal.Account != target {
		kind = "resource"
	}
	return gate.Decision{Reason: "no " + kind + "-based policy allows the " + c.Service + ":" + action + " action"}, nil
}
