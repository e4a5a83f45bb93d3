package fresh_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-registry/berth/internal/fresh"
)

func TestCache(t *testing.T) {
	now := time.Unix(1000, 0)
	c := fresh.New[string, int](4*time.Second, 2, func() time.Time { return now })
	loads := 0
	load := func() (int, error) { loads++; return loads, nil }
	get := func(k string, want int) {
		t.Helper()
		if v, err := c.Get(k, load); err != nil || v != want {
			t.Errorf("%s = %d, %v, want %d", k, v, err, want)
		}
	}
	get("a", 1)
	get("a", 1)
	now = now.Add(4 * time.Second)
	get("a", 2) // too old
	c.Forget()
	get("a", 3)
	if _, err := c.Get("bad", func() (int, error) { return 0, errors.New("x") }); err == nil {
		t.Error("the error was lost")
	}
	get("bad", 4) // errors are not kept
	get("c", 5)   // makes room
	get("c", 5)
	get("a", 6)
	// A change during a load: the value is not kept.
	if v, err := c.Get("d", func() (int, error) { c.Forget(); return 99, nil }); v != 99 || err != nil {
		t.Error(v, err)
	}
	get("d", 7)
}
