package registry

import (
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
)

// allowances spares counting: who was found to have room for many may take a tenth of it
// before it is counted again. So a limit is exact where it is near, with up to ten processes,
// and costs nothing where it is far.
type allowances struct {
	mu   sync.Mutex
	left map[arn.Place]allowance
}

type allowance struct {
	n     int64
	until time.Time
}

const (
	allowanceShare = 10
	allowanceLife  = 10 * time.Second
	// maxAllowances bounds the memory; forgetting them costs a count each.
	maxAllowances = 1000
)

// take reports whether one more may be had without counting.
func (a *allowances) take(p arn.Place, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	had := a.left[p]
	if had.n <= 0 || now.After(had.until) {
		return false
	}
	had.n--
	a.left[p] = had
	return true
}

// counted notes how much room there was.
func (a *allowances) counted(p arn.Place, room int64, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left == nil || len(a.left) >= maxAllowances {
		a.left = map[arn.Place]allowance{}
	}
	a.left[p] = allowance{room / allowanceShare, now.Add(allowanceLife)}
}
