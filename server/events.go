package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/function"
	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/egress"
	"github.com/berth-registry/berth/logs"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/trail"
)

// The names under which services act.
const (
	lambdaService = "lambda.amazonaws.com"
	eventsService = "events.amazonaws.com"
	// roleTime is how long a function's credentials last.
	roleTime = time.Hour
)

// openEvents opens the planes of events and functions. It comes after the address is
// known, which functions are told.
func (s *Server) openEvents(ctx context.Context, master *secret.Master) error {
	s.logs = logs.New(s.db, master, nil, s.log)
	o := function.Options{Logger: s.log, Log: s.functionLog, Later: s.functionLater, MayAssume: s.mayAssume, Credentials: s.functionRole, URL: s.Endpoint()}
	if err := s.openSandbox(&o); err != nil {
		return err
	}
	s.functions = function.New(s.db, master, o)
	endpoint := func(ctx context.Context, arn string) (*bus.Destination, *bus.Connection, error) {
		return s.bus.Endpoint(ctx, arn)
	}
	webhooks := newWebhookReceiver(endpoint, egress.New(egress.Options{Trusted: s.cfg.WebhookHosts}))
	var err error
	s.bus, err = bus.New(ctx, s.db, master, s.outbox, bus.Options{Log: s.log, Expand: s.trail.Expand, Holds: []string{"lambda:function"}, PollEvery: s.pollEvery(),
		Receivers: map[string]bus.Receiver{"lambda:function": functionReceiver{s.functions}, "logs:log-group": logReceiver{s.logs}, "events:api-destination": webhooks}})
	return err
}

// pollEvery is how often the queue of deliveries is looked at unasked: where other nodes
// fill it, often.
func (s *Server) pollEvery() time.Duration {
	if s.db.SingleProcess() {
		return time.Second
	}
	return 200 * time.Millisecond
}

// openSandbox finds out how functions can run here.
func (s *Server) openSandbox(o *function.Options) error {
	if s.cfg.Functions == FunctionsOff {
		return nil
	}
	dir, err := s.functionDir()
	if err != nil {
		return err
	}
	if o.Box, err = worker.NewBox(dir, worker.BoxOptions{Unsandboxed: s.cfg.Functions == FunctionsUnsandboxed}); err != nil {
		return err
	}
	s.box = o.Box
	if s.cfg.Functions == FunctionsUnsandboxed {
		s.log.Warn("functions run without a sandbox: who may create them may run programs as this user")
		return nil
	}
	o.Socket = filepath.Join(dir, "endpoint.sock")
	if s.functionListener, err = net.Listen("unix", o.Socket); err != nil {
		return err
	}
	if err := os.Chmod(o.Socket, 0o666); err != nil { // the sandboxes' users are others; the requests are signed
		return err
	}
	_, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err == nil {
		o.Port, err = strconv.Atoi(port)
	}
	return err
}

// functionDir makes the directory of what sandboxes read. A server that runs as root
// gives sandboxes other users, who cannot reach the data directory.
func (s *Server) functionDir() (string, error) {
	note := filepath.Join(s.cfg.Data, "functions.path")
	if old, err := os.ReadFile(note); err == nil && filepath.IsAbs(string(old)) { // of a process that was killed
		if err := os.RemoveAll(string(old)); err != nil {
			return "", err
		}
	}
	parent := ""
	if os.Getuid() != 0 {
		abs, err := filepath.Abs(s.cfg.Data)
		if err != nil {
			return "", err
		}
		parent = abs
	}
	dir, err := os.MkdirTemp(parent, "berth-functions-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", err
	}
	return dir, os.WriteFile(note, []byte(dir), 0o600)
}

// serveFunctions answers what functions ask of the API.
func (s *Server) serveFunctions() *http.Server {
	srv := s.httpServer(s.Handler())
	srv.TLSConfig = nil
	if s.functionListener != nil {
		go func() { _ = srv.Serve(s.functionListener) }() // ends when it is closed
	}
	return srv
}

func (s *Server) mayAssume(ctx context.Context, role, source string) error {
	_, err := s.identity.ServiceRole(ctx, role, lambdaService, source)
	return err
}

func (s *Server) functionRole(ctx context.Context, role, source, session string) (function.Credentials, error) {
	c, err := s.identity.ServiceSession(ctx, role, lambdaService, source, session, roleTime)
	return function.Credentials{AccessKeyID: c.AccessKeyID, Secret: c.Secret, SessionToken: c.SessionToken, Expires: c.Expires}, err
}

func (s *Server) functionLog(ctx context.Context, p arn.Place, group, stream string, lines []function.Line) error {
	entries := make([]logs.Entry, len(lines))
	for i, l := range lines {
		entries[i] = logs.Entry{At: l.At, Message: l.Text}
		if l.Text == "" {
			entries[i].Message = " "
		}
	}
	return s.logs.Append(ctx, p, group, logs.Output{Stream: stream, Entries: entries})
}

// asyncRetries is how often a function's asynchronous invocation is tried again unless
// it says otherwise (Lambda developer guide).
const asyncRetries = 2

func (s *Server) functionLater(ctx context.Context, p arn.Place, target string, payload []byte, c *function.EventConfig) error {
	// How often a failed run is repeated, the receiver decides; what fails before the
	// function runs is tried for as long as the event may wait.
	t := &bus.Target{ID: "invoke", ARN: target, Retries: -1, Age: c.Age, DeadLetter: c.OnFailure}
	return s.bus.Send(ctx, p, t, payload)
}

// functionReceiver runs functions for the bus.
type functionReceiver struct{ functions *function.Functions }

// Deliver implements bus.Receiver.
func (r functionReceiver) Deliver(ctx context.Context, d *bus.Delivery) (string, error) {
	a, err := arn.Parse(d.Receiver)
	if err != nil {
		return "", &bus.Final{Err: err}
	}
	name, qualifier, _ := strings.Cut(strings.TrimPrefix(a.Resource, "function:"), ":")
	place := arn.Place{Account: a.Account, Region: a.Region}
	if d.Target.ID != "invoke" { // a rule's, which the function must let in
		may, err := r.functions.ServiceMay(ctx, place, name, qualifier, eventsService, d.Rule)
		if function.CodeOf(err) == function.NotFound {
			return "", &bus.Final{Err: err}
		}
		if err != nil {
			return "", err
		}
		if !may {
			return "", &bus.Final{Err: fmt.Errorf("the policy of %s does not let %s invoke it for %s: add a permission (aws lambda add-permission, aws_lambda_permission) with that source ARN",
				d.Receiver, eventsService, d.Rule)}
		}
	}
	out, err := r.functions.Invoke(ctx, function.Invocation{Place: place, Name: name, Qualifier: qualifier, Payload: d.Input, Delivery: d.ID})
	switch code := function.CodeOf(err); {
	case code == function.NotFound || code == function.RequestTooLarge || code == function.InvalidContent:
		return "", &bus.Final{Err: err}
	case code == function.TooManyRequests:
		return "", &bus.Busy{Err: err}
	case err != nil:
		return "", err
	case out.FunctionError == "":
		return out.ID, nil
	}
	failed := fmt.Errorf("the function failed: %s", out.Error)
	c, err := r.functions.EventConfigOf(ctx, place, name, qualifier)
	most := asyncRetries
	if err == nil && c.Retries >= 0 {
		most = c.Retries
	}
	if d.Attempt > most {
		return out.ID, &bus.Final{Err: failed}
	}
	return out.ID, failed
}

// logReceiver writes events to log groups.
type logReceiver struct{ logs *logs.Logs }

var _ bus.Batcher = logReceiver{}

// Deliver implements bus.Receiver.
func (r logReceiver) Deliver(ctx context.Context, d *bus.Delivery) (string, error) {
	_, err := r.DeliverAll(ctx, []*bus.Delivery{d})
	return d.EventID, err
}

// DeliverAll implements bus.Batcher. Each event has a stream of its own.
func (r logReceiver) DeliverAll(ctx context.Context, list []*bus.Delivery) ([]string, error) {
	a, err := arn.Parse(list[0].Receiver)
	if err != nil || a.Account != list[0].Place.Account {
		return nil, &bus.Final{Err: fmt.Errorf("%s is not a log group of account %s", list[0].Receiver, list[0].Place.Account)}
	}
	group := strings.TrimSuffix(strings.TrimPrefix(a.Resource, "log-group:"), ":*")
	place := arn.Place{Account: a.Account, Region: a.Region}
	if _, err := r.logs.Group(ctx, place, group); logs.CodeOf(err) == logs.NotFound {
		return nil, &bus.Final{Err: err}
	}
	var streams []string
	var out []logs.Output
	for _, d := range list {
		streams = append(streams, d.EventID)
		out = append(out, logs.Output{Stream: d.EventID, Entries: []logs.Entry{{At: time.Now(), Message: string(d.Input)}}})
	}
	return streams, r.logs.Append(ctx, place, group, out...)
}

// guards are the policies before resources, by service.
type guards struct{ s *Server }

var _ gate.PolicySource = guards{}

// Guard implements gate.PolicySource.
func (g guards) Guard(ctx context.Context, resource arn.ARN, action string) (gate.Guard, error) {
	if resource.Service != "lambda" {
		return g.s.registry.Guard(ctx, resource, action)
	}
	name, qualifier, _ := strings.Cut(strings.TrimPrefix(resource.Resource, "function:"), ":")
	policies, tags, err := g.s.functions.Guard(ctx, arn.Place{Account: resource.Account, Region: resource.Region}, name, qualifier)
	return gate.Guard{Policies: policies, Tags: tags}, err
}

// additional tells in a record which run of a function made the call.
func (s *Server) additional(_ context.Context, p arn.Principal) map[string]string {
	if !strings.HasPrefix(p.AccessKeyID, "ASIA") {
		return nil
	}
	run, ok := s.functions.RunOf(p.AccessKeyID)
	if !ok {
		return nil
	}
	m := map[string]string{"function": function.ARN(run.Place, run.Function), "run": run.ID}
	if run.Delivery != "" {
		m["delivery"] = run.Delivery
	}
	return m
}

// origin tells who is making a repository: the request, and for a function's run the
// delivery, the rule and the push that led to it.
func (s *Server) origin(ctx context.Context, _ arn.Place) map[string]string {
	caller := gate.CallerFrom(ctx)
	m := map[string]string{"principal": caller.Principal.ARN, "request": caller.RequestID}
	run, ok := s.functions.RunOf(caller.Principal.AccessKeyID)
	if !ok {
		return m
	}
	m["function"], m["run"], m["logGroup"], m["logStream"] = function.ARN(run.Place, run.Function), run.ID, run.Group, run.Stream
	if run.Delivery == "" {
		return m
	}
	d, err := s.bus.Delivered(ctx, run.Place, run.Delivery)
	if err != nil || d == nil {
		return m // the history is less without it
	}
	m["delivery"], m["rule"], m["event"] = d.ID, d.Rule, d.EventID
	if d.Ref == "" {
		return m
	}
	r, err := s.trail.Find(ctx, run.Place, d.Ref, func(r *trail.Record) bool { return r.ID == d.Ref })
	if err == nil && r != nil {
		m["push"], m["pushedBy"] = r.RequestID, r.Who.ARN
	}
	return m
}

// errMissing is the answer to a push to a repository that is not there.
func (s *Server) errMissing(ctx context.Context, p arn.Place, name string) error {
	_, err := s.registry.Repository(ctx, p, name)
	if registry.CodeOf(err) != registry.RepositoryNotFound {
		return nil // it is there by now, or the next look says what is wrong
	}
	return err
}
