package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

// How long a browser's session lasts unused, and at most; how long a link that opens one
// is good; and how much time passes before another use is stored.
const (
	browserIdle  = time.Hour
	browserLife  = 12 * time.Hour
	linkLife     = 10 * time.Minute
	browserTouch = time.Minute
)

// Browser is the session of a browser at the console. It stands on an access key, of a
// user, a root or temporary credentials, and ends with it.
type Browser struct {
	Principal arn.Principal
	// Name is what the session is called on the screen.
	Name    string
	Started time.Time
	Ends    time.Time
}

// ErrNoBrowser is a cookie or link that opens nothing: it was never made, was used up,
// signed out, or its time or that of its access key is over.
var ErrNoBrowser = errors.New("the session has ended")

func browserHash(token secret.String) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// holder finds who an access key stands for, by its id alone: ErrNoBrowser for one that
// is not good any more.
func (id *Identity) holder(ctx context.Context, accessKeyID string) (p arn.Principal, end time.Time, err error) {
	if temporary(accessKeyID) {
		s, err := id.session(ctx, accessKeyID)
		switch {
		case errors.Is(err, ErrUnknownKey):
			return p, end, ErrNoBrowser
		case err != nil:
			return p, end, err
		case !id.now().Before(s.ExpiresAt):
			return p, end, ErrNoBrowser
		}
		return s.Principal, s.ExpiresAt, nil
	}
	k, err := id.LookupKey(ctx, accessKeyID, "")
	if errors.Is(err, ErrUnknownKey) {
		return p, end, ErrNoBrowser
	}
	return k.Principal, end, err
}

// OpenBrowser starts a session for the holder of an access key, who has proved to be it,
// and returns what the cookie holds.
func (id *Identity) OpenBrowser(ctx context.Context, accessKeyID, name string) (secret.String, error) {
	return id.insertBrowser(ctx, accessKeyID, name, "session", browserLife)
}

// PasswordBrowser starts a session for a user who has given the password.
func (id *Identity) PasswordBrowser(ctx context.Context, p arn.Principal, name string) (secret.String, error) {
	c, err := id.issue(ctx, &Session{Principal: p, EntityID: p.ID}, browserLife)
	if err != nil {
		return "", err
	}
	return id.OpenBrowser(ctx, c.AccessKeyID, name)
}

// CreateLink makes a code that opens one session for the caller, within ten minutes.
func (id *Identity) CreateLink(ctx context.Context, p arn.Principal) (secret.String, error) {
	return id.insertBrowser(ctx, p.AccessKeyID, "", "link", linkLife)
}

// RedeemLink uses a code up and starts its session: ErrNoBrowser.
func (id *Identity) RedeemLink(ctx context.Context, code secret.String) (secret.String, error) {
	hash := browserHash(code)
	w, err := id.readBrowser(ctx, hash, "link")
	if sqldb.IsNoRows(err) {
		return "", ErrNoBrowser
	}
	if err != nil {
		return "", storage(err)
	}
	if !id.now().Before(w.end) {
		return "", ErrNoBrowser
	}
	var used int64
	err = id.db.Write(ctx, func(tx *sqldb.Tx) error {
		used, err = deleteBrowser(tx, hash, "link")
		return err
	})
	if err != nil {
		return "", storage(err)
	}
	if used == 0 { // somebody else has
		return "", ErrNoBrowser
	}
	return id.OpenBrowser(ctx, w.key, "")
}

func (id *Identity) insertBrowser(ctx context.Context, accessKeyID, name, kind string, life time.Duration) (secret.String, error) {
	p, keyEnds, err := id.holder(ctx, accessKeyID)
	if err != nil {
		return "", err
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	token := secret.String(base64.RawURLEncoding.EncodeToString(raw))
	now := id.now()
	w := &browserRow{account: p.Account, hash: browserHash(token), kind: kind, key: accessKeyID, name: name, started: now, used: now, end: now.Add(life)}
	if !keyEnds.IsZero() && keyEnds.Before(w.end) {
		w.end = keyEnds
	}
	return token, storage(id.db.Write(ctx, func(tx *sqldb.Tx) error { return insertBrowser(tx, w) }))
}

// Browser finds the session of a cookie, and notes its use: ErrNoBrowser.
func (id *Identity) Browser(ctx context.Context, token secret.String) (*Browser, error) {
	hash := browserHash(token)
	w, err := id.readBrowser(ctx, hash, "session")
	if sqldb.IsNoRows(err) {
		return nil, ErrNoBrowser
	}
	if err != nil {
		return nil, storage(err)
	}
	now := id.now()
	if !now.Before(w.end) || now.Sub(w.used) > browserIdle {
		return nil, ErrNoBrowser
	}
	p, _, err := id.holder(ctx, w.key)
	if err != nil {
		return nil, err
	}
	if now.Sub(w.used) > browserTouch {
		if err := id.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error { return touchBrowser(tx, hash, now) }); err != nil {
			return nil, storage(err)
		}
	}
	p.AccessKeyID = w.key
	return &Browser{Principal: p, Name: w.name, Started: w.started, Ends: w.end}, nil
}

// CloseBrowser ends a session. It is no error when there is none.
func (id *Identity) CloseBrowser(ctx context.Context, token secret.String) error {
	return storage(id.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := deleteBrowser(tx, browserHash(token), "session")
		return err
	}))
}
