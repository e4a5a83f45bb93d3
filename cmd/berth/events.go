package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

type eventsCmd struct {
	Tail   eventsTailCmd   `cmd:"" help:"Show the last API calls, and follow them."`
	Export eventsExportCmd `cmd:"" help:"Write the records of API calls as JSON lines."`
}

// pick selects records.
type pick struct {
	Name     string `placeholder:"OPERATION" help:"Only calls of an operation, such as PutImage."`
	User     string `placeholder:"NAME" help:"Only calls of a user or role session."`
	Resource string `placeholder:"NAME" help:"Only calls about a resource, such as a repository."`
}

// begin finds the server and makes the request for the records.
func (p *pick) begin(r *remote) (*client, map[string]any, error) {
	in := map[string]any{}
	for key, value := range map[string]string{"EventName": p.Name, "Username": p.User, "ResourceName": p.Resource} {
		if value == "" {
			continue
		}
		if in["attributeKey"] != nil {
			return nil, nil, fmt.Errorf("give one of --name, --user and --resource")
		}
		in["attributeKey"], in["attributeValue"] = key, value
	}
	api, err := r.client()
	return api, in, err
}

// page is a page of records.
type page struct {
	Events    []string
	NextToken string
}

// record is what is shown of one.
type record struct {
	EventID, EventTime, EventName, EventSource, ErrorCode, SourceIPAddress string
	UserIdentity                                                           struct{ ARN string }
	Resources                                                              []struct{ ARN string }
}

type eventsTailCmd struct {
	remote
	pick
	Follow bool   `short:"f" help:"Go on until interrupted."`
	Lines  int    `short:"n" default:"20" help:"How many calls of the past to show (${default})."`
	Output string `enum:"table,json" default:"table" help:"table or json (a line each)."`
}

func (eventsTailCmd) Help() string {
	return `Examples:
  berth events tail --follow
  berth events tail --name PutImage -n 50
  berth events tail --resource team/app --output json`
}

// tailWindow is how far back each look goes: calls that took long are recorded late.
const tailWindow = 15 * time.Second

// Run shows records, the oldest first.
func (c *eventsTailCmd) Run(e *env) error {
	api, in, err := c.begin(&c.remote)
	if err != nil {
		return err
	}
	in["maxResults"] = max(1, min(c.Lines, 1000))
	seen := map[string]bool{}
	for first := true; ; first = false {
		if !first {
			in["maxResults"], in["startTime"] = 1000, float64(time.Now().Add(-tailWindow).UnixMilli())/1000
		}
		var out page
		if _, err := api.call(e.ctx, "ListEvents", in, &out); err != nil {
			if e.ctx.Err() != nil {
				return nil
			}
			return err
		}
		for i := len(out.Events) - 1; i >= 0; i-- {
			if err := c.show(e, out.Events[i], seen); err != nil {
				return err
			}
		}
		if !c.Follow {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-e.ctx.Done():
			return nil
		}
	}
}

func (c *eventsTailCmd) show(e *env, text string, seen map[string]bool) error {
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	if seen[r.EventID] {
		return nil
	}
	seen[r.EventID] = true
	if c.Output == "json" {
		_, err := fmt.Fprintln(e.out, text)
		return err
	}
	resource := "-"
	if len(r.Resources) > 0 {
		resource = r.Resources[0].ARN[strings.LastIndexByte(r.Resources[0].ARN, ':')+1:]
	}
	who := r.UserIdentity.ARN[strings.LastIndexByte(r.UserIdentity.ARN, ':')+1:]
	outcome := r.ErrorCode
	if outcome == "" {
		outcome = "ok"
	}
	_, err := fmt.Fprintf(e.out, "%s  %-28s %-28s %-36s %s\n", r.EventTime, r.EventName, outcome, resource, who)
	return err
}

type eventsExportCmd struct {
	remote
	pick
	Since time.Duration `default:"24h" help:"How far back (${default})."`
}

func (eventsExportCmd) Help() string {
	return `Writes each record in CloudTrail's shape, a line each, the newest first.

Example:
  berth events export --since 720h > calls.jsonl`
}

// Run exports records.
func (c *eventsExportCmd) Run(e *env) error {
	api, in, err := c.begin(&c.remote)
	if err != nil {
		return err
	}
	in["maxResults"], in["startTime"] = 1000, float64(time.Now().Add(-c.Since).UnixMilli())/1000
	for {
		var out page
		if _, err := api.call(e.ctx, "ListEvents", in, &out); err != nil {
			return err
		}
		for _, text := range out.Events {
			if _, err := fmt.Fprintln(e.out, text); err != nil {
				return err
			}
		}
		if out.NextToken == "" {
			return nil
		}
		in["nextToken"] = out.NextToken
	}
}
