package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/registry"
)

// auditor is the gate's recorder: it keeps denials with their explanation before
// they are answered, logs them and, at debug level, changes, and remembers allowed
// calls for a while.
type auditor struct {
	log      *slog.Logger
	identity *identity.Identity
}

var _ gate.Recorder = auditor{}

// Prepare implements gate.Recorder.
func (auditor) Prepare(ctx context.Context, _ gate.Call) context.Context { return ctx }

// Record implements gate.Recorder.
func (a auditor) Record(ctx context.Context, c gate.Call, took time.Duration, err error) {
	var denied *gate.Denied
	if err == nil || !errors.As(err, &denied) {
		a.identity.Note(ctx, c)
	}
	level := slog.LevelDebug
	switch {
	case errors.As(err, &denied):
		level = slog.LevelWarn
		if rerr := a.identity.RecordDenial(context.WithoutCancel(ctx), c, denied); rerr != nil {
			a.log.Error("a denial could not be kept; it cannot be explained later", "request", gate.CallerFrom(ctx).RequestID, "error", rerr)
		}
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
