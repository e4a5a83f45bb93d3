package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
)

// planes answers for the authoriser and the recorder.
type planes struct {
	allow    map[string]bool
	prepared []string
	recorded []string
}

func (p *planes) Authorize(_ context.Context, _ gate.Call, action, _ string) (gate.Decision, error) {
	return gate.Decision{Allowed: p.allow[action], Reason: "because"}, nil
}

func (p *planes) Prepare(ctx context.Context, c gate.Call) context.Context {
	p.prepared = append(p.prepared, c.Action)
	return context.WithValue(ctx, p, c.Action)
}

func (p *planes) Record(ctx context.Context, c gate.Call, _ time.Duration, err error) {
	text := c.Name()
	if err != nil {
		text += " failed"
	}
	if v, _ := ctx.Value(p).(string); v != "" {
		text += " in " + v
	}
	p.recorded = append(p.recorded, text)
}

func TestDo(t *testing.T) {
	root := arn.Root("000000000012")
	for name, c := range map[string]struct {
		call     gate.Call
		result   error
		wantErr  bool
		recorded string
	}{
		"a change":             {gate.Call{Principal: root, Action: "Change", Resources: []string{"*"}}, nil, false, "Change in Change"},
		"a failed change":      {gate.Call{Principal: root, Action: "Change", Resources: []string{"*"}}, errors.New("x"), true, "Change failed in Change"},
		"a read":               {gate.Call{Principal: root, Action: "Read", Resources: []string{"*"}, ReadOnly: true}, nil, false, "Read"},
		"another name":         {gate.Call{Principal: root, Action: "Read", Operation: "Look", Resources: []string{"*"}, ReadOnly: true}, nil, false, "Look"},
		"denied":               {gate.Call{Principal: root, Action: "Other", Resources: []string{"*"}}, nil, true, "Other failed"},
		"nobody":               {gate.Call{Action: "Read", Resources: []string{"*"}}, nil, true, ""},
		"not worth a record":   {gate.Call{Principal: root, Action: "Change", Resources: []string{"*"}}, errors.Join(gate.ErrUnrecorded, errors.New("x")), true, ""},
		"one of two is denied": {gate.Call{Principal: root, Action: "Other", Resources: []string{"a", "b"}, ReadOnly: true}, nil, true, "Other failed"},
	} {
		p := &planes{allow: map[string]bool{"Change": true, "Read": true}}
		err := gate.New(p, p).Do(t.Context(), c.call, func(context.Context) error { return c.result })
		got := ""
		if len(p.recorded) > 0 {
			got = p.recorded[0]
		}
		if (err != nil) != c.wantErr || got != c.recorded {
			t.Errorf("%s: %v, recorded %q, want %q", name, err, p.recorded, c.recorded)
		}
	}
}

// TestOptional: only a read that was denied leaves no record, and the exchange does not
// make one either.
func TestOptional(t *testing.T) {
	root := arn.Root("000000000012")
	for name, c := range map[string]struct {
		call     gate.Call
		recorded int
	}{
		"a denied read":   {gate.Call{Principal: root, Action: "Other", Resources: []string{"*"}, ReadOnly: true}, 0},
		"a denied change": {gate.Call{Principal: root, Action: "Other", Resources: []string{"*"}}, 1},
		"a read":          {gate.Call{Principal: root, Action: "Read", Resources: []string{"*"}, ReadOnly: true}, 1},
	} {
		p := &planes{allow: map[string]bool{"Read": true}}
		x := &gate.Exchange{}
		_ = gate.New(p, p).Do(gate.WithExchange(gate.WithOptional(t.Context()), x), c.call, func(context.Context) error { return nil })
		if len(p.recorded) != c.recorded {
			t.Errorf("%s: recorded %q", name, p.recorded)
		}
		if quiet := x.Done(nil); quiet != (c.recorded == 0) { // the planes here mark nothing themselves
			t.Errorf("%s: the exchange counts as recorded: %v", name, quiet)
		}
	}
}

// TestFurther: a further action is asked for, done and recorded on its own.
func TestFurther(t *testing.T) {
	p := &planes{allow: map[string]bool{"Push": true, "Create": true}}
	g := gate.New(p, p)
	c := gate.Call{Principal: arn.Root("000000000012"), Action: "Push", Resources: []string{"*"}}
	err := g.Do(t.Context(), c, func(ctx context.Context) error {
		if err := g.Further(ctx, c, "Tag", nil); err == nil {
			t.Error("a further right was granted that nobody has")
		}
		return g.Further(ctx, c, "Create", func(ctx context.Context) error {
			x := gate.ExchangeFrom(ctx)
			x.WhenDone(func(json.RawMessage) { p.recorded = append(p.recorded, "answered") })
			return nil
		})
	})
	if err != nil || len(p.recorded) != 3 || p.recorded[0] != "Create in Create" || p.recorded[1] != "answered" || p.recorded[2] != "Push in Push" {
		t.Errorf("%v %q", err, p.recorded)
	}
}

func TestExchange(t *testing.T) {
	x := &gate.Exchange{}
	var got []string
	x.WhenDone(func(r json.RawMessage) { got = append(got, "first "+string(r)) })
	if !x.Done(func() json.RawMessage { return json.RawMessage(`1`) }) {
		t.Error("it was recorded")
	}
	x.WhenDone(func(r json.RawMessage) { got = append(got, "late "+string(r)) })
	if len(got) != 2 || got[0] != "first 1" || got[1] != "late 1" {
		t.Errorf("%q", got)
	}
	if (&gate.Exchange{}).Done(func() json.RawMessage { t.Error("nobody waits for it"); return nil }) {
		t.Error("it was not recorded")
	}
}
