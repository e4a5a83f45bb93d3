package manifest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-registry/berth/internal/digest"
)

// TestRecent: what is remembered is what was parsed, under its content type only.
func TestRecent(t *testing.T) {
	body := []byte(`{"schemaVersion":2,"config":` + cfg(3) + `,"layers":[` + layer("") + `]}`)
	var r Recent
	first, sum, err := r.Parse(OCIManifest, body)
	if err != nil || sum != digest.SHA256(body) {
		t.Fatal(sum, err)
	}
	if again, s, err := r.Parse(OCIManifest, body); err != nil || s != sum || again != first {
		t.Errorf("parsed again: %v %v", s, err)
	}
	for range 2 {
		if _, s, err := r.Parse(DockerList, body); !errors.Is(err, ErrInvalid) || s != sum {
			t.Errorf("as another type: %v %v", s, err)
		}
	}
	for i := range 3 * recents {
		if m, _, err := r.Parse(OCIManifest, fmt.Append(nil, `{"schemaVersion":2,"config":`, cfg(i), `,"layers":[]}`)); err != nil || m.Size != int64(i) {
			t.Fatal(i, m, err)
		}
	}
	if len(r.have) > recents {
		t.Errorf("%d are remembered", len(r.have))
	}
}
