package server

import (
	"context"
	"runtime/debug"
	"time"
)

// settleAfter is how long after its start a server gives back what that took.
const settleAfter = time.Second

// settle gives the memory back that the start of the server needed and nothing else does.
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
}
