package manifest

import (
	"strings"
	"sync"

	"github.com/berth-registry/berth/internal/digest"
)

const (
	// recents is how many manifests a Recent remembers, recentSize the largest of them
	// in bytes, and recentType the longest content type.
	recents    = 128
	recentSize = 16 << 10
	recentType = 128
)

// Recent parses manifests and remembers the last ones that were good: an image gets
// its tags one push after the other. The zero value is ready, and safe for concurrent
// use; what it returns is shared and must not be changed.
type Recent struct {
	mu   sync.Mutex
	have map[recent]*Manifest
}

type recent struct{ contentType, digest string }

// Parse is the function Parse, and returns the body's SHA-256 digest, too.
func (r *Recent) Parse(contentType string, body []byte) (*Manifest, string, error) {
	k := recent{contentType, digest.SHA256(body)}
	if len(body) > recentSize || len(contentType) > recentType {
		m, err := Parse(contentType, body)
		return m, k.digest, err
	}
	r.mu.Lock()
	m := r.have[k]
	r.mu.Unlock()
	if m != nil {
		return m, k.digest, nil
	}
	m, err := Parse(contentType, body)
	if err != nil {
		return nil, k.digest, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have == nil || len(r.have) >= recents {
		r.have = make(map[recent]*Manifest, recents)
	}
	k.contentType = strings.Clone(contentType) // it may hold all of a request's header
	r.have[k] = m
	return m, k.digest, nil
}
