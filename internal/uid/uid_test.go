package uid_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/internal/uid"
)

func TestNew(t *testing.T) {
	at := time.UnixMilli(1_795_000_000_123)
	id := uid.New(at)
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
		t.Errorf("%s: %v", id, err)
	}
	if got, ok := uid.Time(id); !ok || !got.Equal(at) {
		t.Errorf("%s: %s", id, got)
	}
	if uid.New(at) == id {
		t.Error("the same id twice")
	}
	for _, bad := range []string{"", "x", uuid.NewString(), id[:35], "zzzzzzzz" + id[8:]} {
		if _, ok := uid.Time(bad); ok {
			t.Errorf("%q has a time", bad)
		}
	}
}
