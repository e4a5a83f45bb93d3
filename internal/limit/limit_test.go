package limit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/internal/limit"
)

func TestLimiter(t *testing.T) {
	now := time.Unix(0, 0)
	l := limit.New(10, time.Minute, 100, func() time.Time { return now })
	for i := range 10 {
		if ok, _ := l.Take("a"); !ok {
			t.Fatalf("event %d was refused", i)
		}
	}
	if ok, wait := l.Take("a"); ok || wait <= 0 || wait > 6*time.Second {
		t.Errorf("the eleventh: %v, wait %v", ok, wait)
	}
	if ok, _ := l.Take("b"); !ok {
		t.Error("another key was refused")
	}
	now = now.Add(6 * time.Second)
	if ok, _ := l.Take("a"); !ok {
		t.Error("after a tenth of the period one is due")
	}
	if ok, _ := l.Take("a"); ok {
		t.Error("and only one")
	}
	for i := range 1000 {
		l.Take(fmt.Sprint(i))
	}
	if n := l.Size(); n > 100 {
		t.Errorf("%d keys are kept", n)
	}
}
