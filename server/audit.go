package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
)

// auditor is the gate's recorder: it logs denials and, at debug level, changes.
type auditor struct{ log *slog.Logger }

var _ gate.Recorder = auditor{}

// Prepare implements gate.Recorder.
func (auditor) Prepare(ctx context.Context, _ gate.Call) context.Context { return ctx }

// Record implements gate.Recorder.
func (a auditor) Record(ctx context.Context, c gate.Call, took time.Duration, err error) {
	var denied *gate.Denied
	level := slog.LevelDebug
	switch {
	case errors.As(err, &denied):
		level = slog.LevelWarn
	case c.ReadOnly:
		return
	}
	if !a.log.Enabled(ctx, level) {
		return
	}
	attrs := []any{"principal", c.Principal.ARN, "action", c.Service + ":" + c.Action, "resources", c.Resources, "request", gate.CallerFrom(ctx).RequestID, "took", took}
	if err != nil {
		attrs = append(attrs, "error", err, "code", string(registry.CodeOf(err)))
	}
	a.log.Log(ctx, level, "call", attrs...)
}
