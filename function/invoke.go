package function

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/sqldb"
)

const (
	// idleTime is how long a worker is kept without an invocation.
	idleTime = 10 * time.Minute
	// before is how long before its credentials end a worker is not used any more.
	before = 10 * time.Minute
	// maxIdle bounds the idle workers of a node.
	maxIdle = 32
	// tail is how much of the log an answer may carry, in bytes.
	tail = 4 << 10
)

// Invocation asks for a run.
type Invocation struct {
	Place     arn.Place
	Name      string
	Qualifier string
	Payload   []byte
	// ID is the run's, made up when it is empty.
	ID string
	// Delivery is what the run is for, "" for a direct call.
	Delivery string
}

// Outcome is how a run ended.
type Outcome struct {
	Run
	Payload []byte
	// FunctionError is Handled or Unhandled when the function failed.
	FunctionError string
	// Tail is the end of what the run printed.
	Tail string
}

// instance is a worker of one version of a function.
type instance struct {
	*worker.Worker
	key    string
	stream string
	ends   time.Time // of its credentials
	idle   time.Time
	access string

	mu    sync.Mutex
	run   *Run
	lines []Line
	tail  []byte
}

// pool holds the workers of this node.
type pool struct {
	mu      sync.Mutex
	idle    map[string][]*instance
	count   int
	running map[string]int // by function
	total   int
	access  map[string]*instance // by access key
}

func newPool() *pool {
	return &pool{idle: map[string][]*instance{}, running: map[string]int{}, access: map[string]*instance{}}
}

// drop ends the idle workers of a function.
func (p *pool) drop(f *Function) {
	p.mu.Lock()
	var gone []*instance
	for key, list := range p.idle {
		if strings.HasPrefix(key, f.ARN()+" ") {
			gone = append(gone, list...)
			p.count -= len(list)
			delete(p.idle, key)
		}
	}
	p.mu.Unlock()
	for _, i := range gone {
		p.end(i)
	}
}

func (p *pool) end(i *instance) {
	i.Stop()
	p.mu.Lock()
	delete(p.access, i.access)
	p.mu.Unlock()
}

// RunOf returns the run that an access key belongs to while it lasts: what calls the API
// with it.
func (s *Functions) RunOf(accessKeyID string) (Run, bool) {
	s.pool.mu.Lock()
	i := s.pool.access[accessKeyID]
	s.pool.mu.Unlock()
	if i == nil {
		return Run{}, false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.run == nil {
		return Run{}, false
	}
	return *i.run, true
}

// Check tells whether an invocation could be made: NotFound, InvalidContent,
// RequestTooLarge.
func (s *Functions) Check(ctx context.Context, in *Invocation, async bool) (*Function, error) {
	f, err := s.Get(ctx, in.Place, in.Name, in.Qualifier)
	if err != nil {
		return nil, err
	}
	most := maxPayload
	if async {
		most = maxAsync
	}
	if len(in.Payload) > most {
		return nil, fail(RequestTooLarge, "Request must be smaller than %d bytes for the InvokeFunction operation", most)
	}
	if len(in.Payload) > 0 && !json.Valid(in.Payload) {
		return nil, fail(InvalidContent, "Could not parse request body into json: Could not parse payload into json")
	}
	if err := s.able(); err != nil {
		return nil, fail(ServiceFailed, "Functions cannot run on this server: %v", err)
	}
	return f, nil
}

// Later queues an invocation for later: those of Check.
func (s *Functions) Later(ctx context.Context, in *Invocation) error {
	f, err := s.Check(ctx, in, true)
	if err != nil {
		return err
	}
	c, err := s.EventConfigOf(ctx, in.Place, in.Name, in.Qualifier)
	if CodeOf(err) == NotFound {
		c = defaultConfig()
	} else if err != nil {
		return err
	}
	target := f.ARN()
	if in.Qualifier != "" {
		target += ":" + in.Qualifier
	}
	payload := in.Payload
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	return s.options.Later(ctx, in.Place, target, payload, c)
}

// Invoke runs a function and waits for its end: those of Check, TooManyRequests,
// ServiceFailed. A function that fails is no error: the outcome says so.
func (s *Functions) Invoke(ctx context.Context, in Invocation) (*Outcome, error) {
	f, err := s.Check(ctx, &in, false)
	if err != nil {
		return nil, err
	}
	if in.ID == "" {
		in.ID = uuid.NewString()
	}
	if len(in.Payload) == 0 {
		in.Payload = []byte("{}")
	}
	if err := s.enter(f); err != nil {
		return nil, err
	}
	defer s.leave(f)
	i, err := s.take(ctx, f)
	if err != nil {
		return nil, err
	}
	return s.run(ctx, f, i, in)
}

func (s *Functions) enter(f *Function) error {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case f.Reserved >= 0 && p.running[f.ARN()] >= f.Reserved:
		return fail(TooManyRequests, "Rate Exceeded.: the function's reserved concurrency of %d is used up", f.Reserved)
	case p.total >= s.options.Concurrency:
		return fail(TooManyRequests, "Rate Exceeded.: %d invocations are running, no more are allowed", p.total)
	}
	p.running[f.ARN()]++
	p.total++
	return nil
}

func (s *Functions) leave(f *Function) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total--
	if p.running[f.ARN()]--; p.running[f.ARN()] == 0 {
		delete(p.running, f.ARN())
	}
}

// take finds an idle worker or starts one.
func (s *Functions) take(ctx context.Context, f *Function) (*instance, error) {
	key := f.ARN() + " " + f.Version + " " + f.Revision
	p := s.pool
	for {
		p.mu.Lock()
		list := p.idle[key]
		var i *instance
		if n := len(list); n > 0 {
			i = list[n-1]
			p.idle[key] = list[:n-1]
			p.count--
		}
		p.mu.Unlock()
		if i == nil {
			break
		}
		if i.Alive() && s.now().Before(i.ends) {
			return i, nil
		}
		s.pool.end(i)
	}
	return s.start(ctx, f, key)
}

func (s *Functions) start(ctx context.Context, f *Function, key string) (*instance, error) {
	dir, err := s.unpacked(ctx, f)
	if err != nil {
		return nil, &Error{Code: ServiceFailed, Message: "The function's code cannot be unpacked.", Err: err}
	}
	c, err := s.options.Credentials(ctx, f.Role, f.ARN(), f.Name)
	if err != nil {
		return nil, &Error{Code: ServiceFailed, Message: "The role defined for the function cannot be assumed by Lambda.", Err: err}
	}
	var id [16]byte
	rand.Read(id[:])
	i := &instance{key: key, ends: c.Expires.Add(-before), access: c.AccessKeyID,
		stream: s.now().UTC().Format("2006/01/02") + "/[" + f.Version + "]" + hex.EncodeToString(id[:])}
	i.Worker, err = s.box.Start(worker.Spec{Runtime: f.Runtime, Code: dir, Handler: f.Handler, Memory: int64(f.Memory) << 20, Endpoint: s.options.Socket,
		EndpointPort: s.options.Port, Env: s.environment(f, i, c), Output: i.print})
	if err != nil {
		return nil, &Error{Code: ServiceFailed, Message: fmt.Sprintf("The function could not be started: %v", err), Err: err}
	}
	s.pool.mu.Lock()
	s.pool.access[i.access] = i
	s.pool.mu.Unlock()
	return i, nil
}

func (s *Functions) environment(f *Function, i *instance, c Credentials) map[string]string {
	url := s.options.URL
	if s.options.Socket != "" {
		url = fmt.Sprintf("http://127.0.0.1:%d", s.options.Port)
	}
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "en_US.UTF-8", "TZ": ":UTC", "HOME": "/tmp", "AWS_ENDPOINT_URL": url,
		"AWS_EC2_METADATA_DISABLED": "true", "PYTHONDONTWRITEBYTECODE": "1"}
	for k, v := range f.Env {
		env[k] = v
	}
	for k, v := range map[string]string{"_HANDLER": f.Handler, "AWS_REGION": string(f.Place.Region), "AWS_DEFAULT_REGION": string(f.Place.Region),
		"AWS_EXECUTION_ENV": "AWS_Lambda_" + f.Runtime, "AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": f.Version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": fmt.Sprint(f.Memory), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_GROUP_NAME": f.Group(),
		"AWS_LAMBDA_LOG_STREAM_NAME": i.stream, "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "AWS_ACCESS_KEY_ID": c.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY": c.Secret.Reveal(), "AWS_SESSION_TOKEN": c.SessionToken} {
		env[k] = v
	}
	return env
}

// print gathers a line of output.
func (i *instance) print(line string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lines = append(i.lines, Line{time.Now(), line})
	i.tail = append(append(i.tail, line...), '\n')
	if len(i.tail) > 2*tail {
		i.tail = append([]byte(nil), i.tail[len(i.tail)-tail:]...)
	}
}

func (s *Functions) run(ctx context.Context, f *Function, i *instance, in Invocation) (*Outcome, error) {
	start := s.now()
	limit := time.Duration(f.Timeout) * time.Second
	out := &Outcome{Run: Run{Place: f.Place, ID: in.ID, Function: f.Name, Version: f.Version, Started: start.UTC(), Delivery: in.Delivery, Group: f.Group(), Stream: i.stream,
		Outcome: "succeeded"}}
	i.mu.Lock()
	i.run, i.tail = &out.Run, nil
	i.mu.Unlock()
	i.print(fmt.Sprintf("START RequestId: %s Version: %s", in.ID, f.Version))
	called := f.ARN()
	if in.Qualifier != "" {
		called += ":" + in.Qualifier
	}
	stopFlush := s.flushing(f, i)
	res, err := i.Invoke(ctx, &worker.Invocation{ID: in.ID, Payload: in.Payload, Deadline: time.Now().Add(limit), ARN: called})
	i.Drain()
	stopFlush()
	took := s.now().Sub(start)
	out.Payload, out.FunctionError, out.Ended = res.Payload, res.Error, s.now().UTC()
	switch {
	case errors.Is(err, worker.ErrTimeout):
		out.Outcome = "timed out"
		text := fmt.Sprintf("%s %s Task timed out after %.2f seconds", out.Ended.Format("2006-01-02T15:04:05.000Z"), in.ID, limit.Seconds())
		out.Payload, _ = json.Marshal(map[string]string{"errorType": "Sandbox.Timedout", "errorMessage": fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", in.ID, limit.Seconds())}) // texts always marshal
		i.print(text)
	case res.Error != "":
		out.Outcome = "failed"
	}
	if out.Outcome != "succeeded" {
		out.Error = reason(out.Payload)
	}
	i.print("END RequestId: " + in.ID)
	report := fmt.Sprintf("REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB", in.ID, ms(took-res.Init),
		took.Milliseconds()+1, f.Memory, (res.MaxMemory+1<<20-1)>>20)
	if res.Init > 0 {
		report += fmt.Sprintf("\tInit Duration: %.2f ms", ms(res.Init))
	}
	i.print(report)
	i.mu.Lock()
	out.Tail, i.run = string(i.tail[max(0, len(i.tail)-tail):]), nil
	i.mu.Unlock()
	s.flush(f, i)
	s.put(i, err)
	if werr := s.db.WriteRelaxed(sqldb.Apart(ctx), func(tx *sqldb.Tx) error { return insertRun(tx, &out.Run) }); werr != nil {
		s.log.Error("a run of a function could not be written down", "function", f.ARN(), "run", in.ID, "error", werr)
	}
	if err != nil && ctx.Err() != nil {
		return nil, fail(ServiceFailed, "The invocation was cancelled.")
	}
	return out, nil
}

func ms(d time.Duration) float64 { return float64(max(d, 0).Microseconds()) / 1000 }

// reason is the message in a failed function's answer.
func reason(payload []byte) string {
	var e struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(payload, &e) != nil || e.Message == "" && e.Type == "" {
		return string(payload[:min(len(payload), 500)])
	}
	text := strings.TrimPrefix(e.Type+": "+e.Message, ": ")
	return text[:min(len(text), 500)]
}

// flushing writes what a run prints while it goes on.
func (s *Functions) flushing(f *Function, i *instance) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(500 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				s.flush(f, i)
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// flush writes what a worker has printed to its log group.
func (s *Functions) flush(f *Function, i *instance) {
	i.mu.Lock()
	lines := i.lines
	i.lines = nil
	i.mu.Unlock()
	if len(lines) == 0 {
		return
	}
	if err := s.options.Log(context.Background(), f.Place, f.Group(), i.stream, lines); err != nil {
		s.log.Error("a function's output could not be written", "function", f.ARN(), "group", f.Group(), "error", err)
	}
}

// put keeps a worker for the next invocation, or ends it.
func (s *Functions) put(i *instance, err error) {
	p := s.pool
	p.mu.Lock()
	if err == nil && i.Alive() && p.count < maxIdle {
		i.idle = s.now()
		p.idle[i.key] = append(p.idle[i.key], i)
		p.count++
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	s.pool.end(i)
}

// prepare lays out what sandboxes share, if there are functions: that copies the program, which
// takes longer than the rest of a server's start. The first function that is made does it, too.
func (s *Functions) prepare(ctx context.Context) {
	if s.box == nil {
		return
	}
	some, err := s.any(ctx)
	if err == nil && some {
		err = s.box.Prepare()
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("functions cannot run here", "reason", err)
	}
}

// Run makes ready for the functions that there are, ends workers that nobody uses, and sweeps,
// until ctx ends; then it ends them all.
func (s *Functions) Run(ctx context.Context) {
	s.prepare(ctx)
	t, sweep := time.NewTicker(time.Minute), time.NewTicker(time.Hour)
	defer t.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-t.C:
			s.reap(s.now().Add(-idleTime))
		case <-sweep.C:
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("removing old runs and code of functions", "error", err)
			}
		case <-ctx.Done():
			s.reap(s.now().Add(time.Hour))
			return
		}
	}
}

func (s *Functions) reap(before time.Time) {
	p := s.pool
	p.mu.Lock()
	var gone []*instance
	for key, list := range p.idle {
		var kept []*instance
		for _, i := range list {
			if i.idle.Before(before) || !i.Alive() {
				gone = append(gone, i)
				p.count--
			} else {
				kept = append(kept, i)
			}
		}
		if p.idle[key] = kept; len(kept) == 0 {
			delete(p.idle, key)
		}
	}
	p.mu.Unlock()
	for _, i := range gone {
		s.pool.end(i)
	}
}
