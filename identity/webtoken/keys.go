package webtoken

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysLife is how long a key set is used without asking again.
	keysLife = time.Hour
	// keysPause is the least time between two questions to an issuer, so that
	// tokens with made-up key ids do not make it ask all the time.
	keysPause = time.Minute
	// maxDocument bounds what an issuer may answer, in bytes.
	maxDocument = 1 << 20
	maxIssuers  = 1000
	maxJWKS     = 200
)

// Getter fetches a document of at most limit bytes (package egress).
type Getter interface {
	Get(ctx context.Context, url string, limit int64) ([]byte, error)
}

// KeySets finds issuers' keys: by discovery, or where the operator said.
type KeySets struct {
	get Getter
	now func() time.Time
	// where is a file or URL by issuer, without https://.
	where map[string]string

	mu   sync.Mutex
	sets map[string]*keySet
}

type keySet struct {
	mu    sync.Mutex
	keys  []jose.JSONWebKey
	read  time.Time // when keys were read
	tried time.Time // when they were last asked for
	err   error
}

// NewKeySets makes the source. where gives, by issuer without https://, a file or
// a URL that holds its key set, for those that discovery cannot reach.
func NewKeySets(get Getter, where map[string]string, now func() time.Time) *KeySets {
	if now == nil {
		now = time.Now
	}
	return &KeySets{get: get, now: now, where: where, sets: map[string]*keySet{}}
}

// Keys implements Keys.
func (s *KeySets) Keys(ctx context.Context, issuer, kid string) ([]jose.JSONWebKey, error) {
	s.mu.Lock()
	set := s.sets[issuer]
	if set == nil {
		if len(s.sets) >= maxIssuers {
			clear(s.sets)
		}
		set = &keySet{}
		s.sets[issuer] = set
	}
	s.mu.Unlock()
	set.mu.Lock()
	defer set.mu.Unlock()
	now := s.now()
	stale := now.Sub(set.read) >= keysLife
	found := set.find(kid)
	if (stale || len(found) == 0) && (set.tried.IsZero() || now.Sub(set.tried) >= keysPause) {
		set.tried = now
		keys, err := s.fetch(ctx, issuer)
		if set.err = err; err == nil {
			set.keys, set.read = keys, now
		}
		found = set.find(kid)
		stale = err != nil && now.Sub(set.read) >= keysLife
	}
	if set.err != nil && (len(found) == 0 || stale) {
		return nil, fmt.Errorf("%w: https://%s: %w", ErrUnreachable, issuer, set.err)
	}
	return found, nil
}

func (s *keySet) find(kid string) []jose.JSONWebKey {
	if kid == "" {
		return s.keys
	}
	return slices.DeleteFunc(slices.Clone(s.keys), func(k jose.JSONWebKey) bool { return k.KeyID != kid })
}

// fetch reads a key set from where the operator said, or through the issuer's
// discovery document (OpenID Connect Discovery 1.0).
func (s *KeySets) fetch(ctx context.Context, issuer string) ([]jose.JSONWebKey, error) {
	where, given := s.where[issuer]
	if given && !strings.HasPrefix(where, "http://") && !strings.HasPrefix(where, "https://") {
		b, err := os.ReadFile(where)
		if err != nil {
			return nil, err
		}
		return parseJWKS(b)
	}
	if !given {
		b, err := s.get.Get(ctx, "https://"+issuer+"/.well-known/openid-configuration", maxDocument)
		if err != nil {
			return nil, err
		}
		var doc struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			return nil, fmt.Errorf("its discovery document: %w", err)
		}
		if strings.TrimSuffix(doc.Issuer, "/") != "https://"+issuer {
			return nil, fmt.Errorf("its discovery document is of another issuer, %.200q", doc.Issuer)
		}
		where = doc.Keys
	}
	b, err := s.get.Get(ctx, where, maxDocument)
	if err != nil {
		return nil, err
	}
	return parseJWKS(b)
}

// parseJWKS reads a key set. Keys of kinds that nobody here uses are skipped.
func parseJWKS(b []byte) ([]jose.JSONWebKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("its key set: %w", err)
	}
	if len(doc.Keys) > maxJWKS {
		return nil, fmt.Errorf("its key set has %d keys, at most %d are read", len(doc.Keys), maxJWKS)
	}
	var out []jose.JSONWebKey
	for _, raw := range doc.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.IsPublic() {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("its key set holds no public key")
	}
	return out, nil
}
