package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/berthapi"
	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/catalog/mapping/runner"
	"github.com/berth-registry/berth/console"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/logs"
	"github.com/berth-registry/berth/portapi"
)

// consoleAPI lets the console call the other front ends in this process, in the name of
// the caller in the context: without a wire and a signature, through the same gate.
type consoleAPI struct {
	services map[string]*awsproto.Service
	port     *portapi.Service
}

var _ console.API = consoleAPI{}

// Call implements console.API.
func (a consoleAPI) Call(ctx context.Context, service string, in any) (any, error) {
	return a.services[service].Call(ctx, in)
}

// Berth implements console.API.
func (a consoleAPI) Berth(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	if err != nil {
		return err
	}
	r.Header.Set("X-Amz-Target", berthapi.Target+"."+operation)
	w := &answer{header: http.Header{}, status: http.StatusOK}
	a.services[berthapi.SigningName].Serve(w, r, body)
	if w.status != http.StatusOK {
		e := struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}{Type: "InternalFailure"}
		if err := json.Unmarshal(w.body.Bytes(), &e); err != nil {
			return err
		}
		return &smithy.GenericAPIError{Code: e.Type, Message: e.Message}
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(bytes.NewReader(w.body.Bytes())).Decode(out)
}

// Catalog implements console.API.
func (a consoleAPI) Catalog(ctx context.Context, method, path string, in, out any) error {
	return a.port.Call(ctx, method, path, in, out)
}

// consoleHost tells the console about this server.
type consoleHost struct {
	s     *Server
	tries chan struct{} // mappings that are tried, each in a process
}

// triesMost is how many mappings are tried at a time.
const triesMost = 2

var _ console.Host = consoleHost{}

// Registry implements console.Host.
func (h consoleHost) Registry(p arn.Place) string {
	host, _ := h.s.hosts.Registry(context.Background(), p)
	return host
}

// Endpoint implements console.Host.
func (h consoleHost) Endpoint() string { return h.s.Endpoint() }

// URL implements console.Host.
func (h consoleHost) URL() string {
	scheme, _, _ := strings.Cut(h.s.Endpoint(), "://")
	return scheme + "://" + h.s.hosts.advertise
}

// Home implements console.Host.
func (h consoleHost) Home() arn.Place {
	return arn.Place{Account: h.s.cfg.Account, Region: h.s.cfg.Region}
}

// Version implements console.Host.
func (h consoleHost) Version() string { return h.s.cfg.Version }

// Mark implements console.Host.
func (h consoleHost) Mark(ctx context.Context, a arn.Account, topic string) (int64, error) {
	if region, group, ok := strings.Cut(strings.TrimPrefix(topic, "logs/"), "/"); ok && strings.HasPrefix(topic, "logs/") {
		g, err := h.s.logs.Group(ctx, arn.Place{Account: a, Region: arn.Region(region)}, group)
		if logs.CodeOf(err) == logs.NotFound {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return g.Bytes, nil
	}
	return h.s.trail.Newest(ctx, a)
}

// Map implements console.Host.
func (h consoleHost) Map(ctx context.Context, config []byte, kind string, document json.RawMessage) ([]mapping.Result, error) {
	if _, err := mapping.Read(config); err != nil {
		return nil, err
	}
	select {
	case h.tries <- struct{}{}:
		defer func() { <-h.tries }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r := runner.New(h.s.ingest.program, config, 1)
	defer r.Close()
	return r.Map(ctx, kind, document)
}

// SignedIn implements console.Host: the log has every attempt, the trail those of somebody
// who is known.
func (h consoleHost) SignedIn(ctx context.Context, how string, err error) {
	c := gate.CallerFrom(ctx)
	if !c.Principal.IsZero() {
		place := arn.Place{Account: c.Principal.Account, Region: h.s.cfg.Region}
		h.s.trail.Record(ctx, gate.Call{Principal: c.Principal, Service: "signin", Action: "ConsoleLogin", Place: place, Params: map[string]any{"with": how}}, 0, err)
	}
	h.s.log.Info("console sign-in", "principal", c.Principal.ARN, "how", how, "address", c.SourceIP, "error", err)
}
