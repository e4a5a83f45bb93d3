package registry

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
)

func TestAllowances(t *testing.T) {
	var a allowances
	p, at := arn.Place{Account: "1", Region: "r"}, time.Unix(100, 0)
	if a.take(p, at) {
		t.Error("nothing was counted")
	}
	a.counted(p, 9, at)
	if a.take(p, at) {
		t.Error("where the limit is near, each is counted")
	}
	a.counted(p, 25, at)
	for i, want := range []bool{true, true, false} {
		if got := a.take(p, at); got != want {
			t.Errorf("%d: %v", i, got)
		}
	}
	a.counted(p, 1000, at)
	if a.take(arn.Place{Account: "2", Region: "r"}, at) {
		t.Error("another account's")
	}
	if a.take(p, at.Add(time.Minute)) {
		t.Error("a count is of use for a while only")
	}
}
