// Package limit counts what somebody may not do too often, such as failing to log
// in.
//
// It keeps a bounded number of counters and forgets the oldest. It decides nothing
// about whom to count.
package limit

import (
	"container/list"
	"sync"
	"time"
)

// Limiter lets Burst events of a key through at once and Burst more per Period. Use
// New.
type Limiter struct {
	burst  float64
	period time.Duration
	most   int
	now    func() time.Time

	mu   sync.Mutex
	keys map[string]*list.Element
	age  *list.List // least recently used first
}

type counter struct {
	key  string
	left float64
	at   time.Time
}

// New makes a limiter of burst events per period and key, for at most most keys.
func New(burst int, period time.Duration, most int, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{burst: float64(burst), period: period, most: most, now: now, keys: map[string]*list.Element{}, age: list.New()}
}

// Take counts one event of a key and reports whether it is within the limit, else
// after how long one will be.
func (l *Limiter) Take(key string) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	e := l.keys[key]
	if e == nil {
		if len(l.keys) >= l.most {
			oldest := l.age.Front()
			delete(l.keys, oldest.Value.(*counter).key)
			l.age.Remove(oldest)
		}
		e = l.age.PushBack(&counter{key, l.burst, now})
		l.keys[key] = e
	}
	l.age.MoveToBack(e)
	c := e.Value.(*counter)
	c.left = min(l.burst, c.left+now.Sub(c.at).Seconds()/l.period.Seconds()*l.burst)
	c.at = now
	if c.left < 1 {
		return false, time.Duration((1 - c.left) / l.burst * float64(l.period))
	}
	c.left--
	return true, 0
}

// Size is how many keys are counted.
func (l *Limiter) Size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}
