package server

import (
	"context"
	"errors"
	"log/slog"
)

// quiet leaves out errors that only say that a caller has gone: a browser that went on to
// another page, a client that was interrupted. Nothing is wrong then, and nobody can mend it.
type quiet struct{ slog.Handler }

// Handle implements slog.Handler.
func (h quiet) Handle(ctx context.Context, r slog.Record) error {
	gone := false
	if r.Level < slog.LevelWarn {
		return h.Handler.Handle(ctx, r)
	}
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		gone = gone || ok && errors.Is(err, context.Canceled)
		return !gone
	})
	if gone {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h quiet) WithAttrs(list []slog.Attr) slog.Handler { return quiet{h.Handler.WithAttrs(list)} }

// WithGroup implements slog.Handler.
func (h quiet) WithGroup(name string) slog.Handler { return quiet{h.Handler.WithGroup(name)} }
