package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// crowd is a receiver that takes deliveries together, and fails as it is told.
type crowd struct {
	mu      sync.Mutex
	taken   []string // in order
	largest int
	calls   int
	gate    chan struct{} // unless nil, a call waits for it
	fail    func(call int, alone bool) error
}

func number(d *bus.Delivery) string {
	var e struct {
		Detail struct {
			Key string
			N   int
		}
	}
	if err := json.Unmarshal(d.Input, &e); err != nil {
		return err.Error()
	}
	return fmt.Sprint(e.Detail.Key, e.Detail.N)
}

func (c *crowd) Deliver(ctx context.Context, d *bus.Delivery) (string, error) {
	_, err := c.take(ctx, []*bus.Delivery{d}, true)
	return d.EventID, err
}

func (c *crowd) DeliverAll(ctx context.Context, list []*bus.Delivery) ([]string, error) {
	return c.take(ctx, list, false)
}

func (c *crowd) take(ctx context.Context, list []*bus.Delivery, alone bool) ([]string, error) {
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.fail != nil {
		if err := c.fail(c.calls, alone); err != nil {
			return nil, err
		}
	}
	c.largest = max(c.largest, len(list))
	runs := make([]string, len(list))
	for i, d := range list {
		c.taken = append(c.taken, number(d))
		runs[i] = "run of " + d.EventID
	}
	return runs, nil
}

func (c *crowd) inOrder(t *testing.T, events int) {
	t.Helper()
	eventually(t, "every delivery", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.taken) >= events
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.taken {
		if want := fmt.Sprint("k", i); s != want {
			t.Fatalf("delivery %d is of %s: %v", i, s, c.taken)
		}
	}
}

// TestTogether: deliveries that wait for one another are made together where the receiver
// takes them so, in their order, whether it fails them together, is busy, or the server
// stops meanwhile; and each has its run.
func TestTogether(t *testing.T) {
	const events = 100
	broken, busy := errors.New("together they are too many"), &bus.Busy{Err: errors.New("no room")}
	for name, fail := range map[string]func(call int, alone bool) error{
		"well": nil,
		"never together": func(_ int, alone bool) error {
			if alone {
				return nil
			}
			return broken
		},
		"now and then busy": func(call int, alone bool) error {
			if !alone || call%3 == 0 {
				return busy
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
				b := open(t, db)
				b.stop()
				c := &crowd{fail: fail, gate: make(chan struct{})}
				b.startWith(t, c)
				b.rule(t, "all", `{"source":["my.app"]}`, target("log", "arn:aws:logs:eu-west-1:000000000012:log-group:/all"))
				var last string
				for i := range events {
					last = b.put(t, "k", i)
				}
				for range 3 { // the server stops while some are under way
					c.gate <- struct{}{}
				}
				b.stop()
				c.gate = nil
				b.startWith(t, c)
				c.inOrder(t, events)
				if name == "well" && c.largest < 10 {
					t.Errorf("at most %d together", c.largest)
				}
				eventually(t, "the last run", func() bool {
					list, err := b.History(t.Context(), here, last)
					return err == nil && len(list) == 1 && list[0].State == "delivered" && list[0].Run != ""
				})
			})
		})
	}
}
