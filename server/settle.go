package server

import (
	"context"
	"os"
	"runtime/debug"
	gometrics "runtime/metrics"
	"time"
)

const (
	// settleAfter is how long after its start a server gives back what that took.
	settleAfter = time.Second
	// A heap with more in use than this, in bytes, may grow by half between collections
	// instead of doubling: when a thousand clients come at once, memory is what is short.
	largeHeap   = 32 << 20
	largeGrowth = 50
	growth      = 100
)

// settle gives the memory back that the start of the server needed and nothing else does, and
// then keeps a large heap from growing as a small one may. Who has set GOGC decides alone.
func (s *Server) settle(ctx context.Context) {
	select {
	case <-time.After(settleAfter):
	case <-ctx.Done():
		return
	}
	debug.FreeOSMemory()
	if err := dropProgram(); err != nil {
		s.log.Debug("the pages of the program stay in memory", "error", err)
	}
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []gometrics.Sample{{Name: "/gc/heap/live:bytes"}}
	now := growth
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		gometrics.Read(live)
		want := growth
		if live[0].Value.Kind() == gometrics.KindUint64 && live[0].Value.Uint64() > largeHeap {
			want = largeGrowth
		}
		if want != now {
			debug.SetGCPercent(want)
			now = want
		}
	}
}
