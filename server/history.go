package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/berthapi"
	"github.com/berth-registry/berth/logs"
	"github.com/berth-registry/berth/trail"
)

// history finds what led to a repository, in the planes that took part.
type history struct{ s *Server }

var _ berthapi.History = history{}

// logLines is how many lines of a run's log are shown.
const logLines = 20

// Steps implements berthapi.History. What is not kept any more is left out.
func (h history) Steps(ctx context.Context, p arn.Place, origin map[string]string) ([]berthapi.Step, error) {
	var out []berthapi.Step
	add := func(at time.Time, what, id, format string, args ...any) {
		out = append(out, berthapi.Step{At: at, What: what, ID: id, Text: fmt.Sprintf(format, args...)})
	}
	if id := origin["push"]; id != "" {
		r, err := h.s.trail.Find(ctx, p, id, func(r *trail.Record) bool { return r.RequestID == id && r.ErrorCode != "" })
		if err != nil {
			return nil, err
		}
		if r != nil {
			add(r.At, "push", id, "%s, from %s with %s, missed the repository", r.Who.ARN, r.SourceIP, r.UserAgent)
		}
	}
	if id := origin["delivery"]; id != "" {
		d, err := h.s.bus.Delivered(ctx, p, id)
		if err != nil {
			return nil, err
		}
		if d != nil {
			add(d.CreatedAt, "event", d.EventID, "matched %s", d.Rule)
			times := "1 attempt"
			if d.Attempts != 1 {
				times = fmt.Sprintf("%d attempts", d.Attempts)
			}
			text := fmt.Sprintf("to %s: %s after %s", d.Receiver, d.State, times)
			if d.Error != "" {
				text += ", the last one: " + d.Error
			}
			add(d.CreatedAt, "delivery", id, "%s", text)
		}
	}
	if id := origin["run"]; id != "" {
		r, err := h.s.functions.RunByID(ctx, p, id)
		if err != nil {
			return nil, err
		}
		if r != nil {
			add(r.Started, "run", id, "of %s, version %s: %s in %s", r.Function, r.Version, r.Outcome, r.Ended.Sub(r.Started).Round(time.Millisecond))
			if err := h.log(ctx, p, r.Group, r.Stream, id, add); err != nil {
				return nil, err
			}
		}
	}
	if id := origin["request"]; id != "" {
		r, err := h.s.trail.Find(ctx, p, id, func(r *trail.Record) bool { return r.RequestID == id && r.Action == "ecr:CreateRepository" })
		if err != nil {
			return nil, err
		}
		if r != nil {
			by := r.Who.ARN
			if t := origin["template"]; t != "" {
				by += ", by the template with the prefix " + t
			}
			add(r.At, "created", id, "by %s", by)
		}
	}
	return out, nil
}

// log adds what a run has printed.
func (h history) log(ctx context.Context, p arn.Place, group, stream, run string, add func(time.Time, string, string, string, ...any)) error {
	list, err := h.s.logs.Events(ctx, p, group, logs.EventQuery{Streams: []string{stream}, End: 1 << 62, Limit: 1000})
	if logs.CodeOf(err) == logs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	within, n := false, 0
	for _, e := range list {
		switch {
		case strings.HasPrefix(e.Message, "START RequestId: "+run):
			within = true
		case strings.HasPrefix(e.Message, "END RequestId: "+run):
			return nil
		case within && n < logLines:
			n++
			add(time.UnixMilli(e.At).UTC(), "log", group, "%s", e.Message)
		}
	}
	return nil
}
