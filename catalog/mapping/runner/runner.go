// Package runner evaluates mappings in processes of their own, so that an expression
// without an end, or one that fills the memory, costs itself and nothing else.
//
// A process is this same program, started with Command as its first argument. It has no
// environment, reads no files, and is bounded by its own limits and by a watchdog here.
// What a mapping means is package mapping's.
package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-registry/berth/catalog/mapping"
)

// Command is the name under which this program, run with it as its first argument, is
// such a process: Process.
const Command = "mapping-process"

// Limits of one evaluation.
const (
	// evaluationTime is what the process allows itself, wallTime what it is allowed.
	evaluationTime = time.Second
	wallTime       = 2 * time.Second
	startTime      = 10 * time.Second
	memory         = 128 << 20 // bytes of resident memory
	softMemory     = 96 << 20
	dataMemory     = 512 << 20 // against sudden leaps
	maxOutput      = 1 << 20
	maxDocument    = 4 << 20
	watchEvery     = 5 * time.Millisecond
	// idleTime is how long a process waits for work before it is ended.
	idleTime = 20 * time.Second
)

// ErrLimit is an evaluation that was ended.
var ErrLimit = errors.New("the mapping was stopped")

// Runner evaluates the mappings of one configuration.
type Runner struct {
	program string
	config  []byte
	idle    chan *process // nil stands for one to be started
	stop    context.Context
	cancel  context.CancelFunc
	rested  *time.Timer // runs rest when nobody has asked for a while
}

// New makes a runner with a number of processes, which are started when they are needed.
// program is this program's file.
func New(program string, config []byte, processes int) *Runner {
	r := &Runner{program: program, config: config, idle: make(chan *process, processes)}
	r.stop, r.cancel = context.WithCancel(context.Background())
	for range processes {
		r.idle <- nil
	}
	r.rested = time.AfterFunc(idleTime, r.rest)
	return r
}

// Close ends the processes, once their evaluations are done.
func (r *Runner) Close() {
	r.rested.Stop()
	for range cap(r.idle) {
		if p := <-r.idle; p != nil {
			p.kill()
		}
	}
	r.cancel()
}

// request is what a process is asked.
type request struct {
	Kind     string          `json:"kind"`
	Document json.RawMessage `json:"document"`
}

// reply is its answer: a result for each of the configuration's resources of the kind.
type reply struct {
	Results []mapping.Result `json:"results"`
	Error   string           `json:"error,omitempty"`
}

// Map evaluates all mappings of a kind on one document: ErrLimit when it was stopped.
func (r *Runner) Map(ctx context.Context, kind string, document json.RawMessage) ([]mapping.Result, error) {
	if len(document) > maxDocument {
		return nil, fmt.Errorf("%w: the document has %d bytes, at most %d are allowed", ErrLimit, len(document), maxDocument)
	}
	var p *process
	select {
	case p = <-r.idle:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var err error
	if p == nil {
		p, err = r.start()
	}
	var results []mapping.Result
	if err == nil {
		results, err = p.ask(ctx, request{kind, document}, wallTime)
	}
	var told *refused
	if err != nil && !errors.As(err, &told) && p != nil {
		p.kill()
		p = nil
	}
	if p != nil {
		p.used = time.Now()
		r.rested.Reset(idleTime)
	}
	r.idle <- p
	return results, err
}

// rest ends a process that nobody has needed for a while.
func (r *Runner) rest() {
	for range cap(r.idle) {
		select {
		case p := <-r.idle:
			if p != nil && time.Since(p.used) >= idleTime {
				p.kill()
				p = nil
			}
			r.idle <- p
		default: // at work, or the runner is closed
			return
		}
	}
}

// refused is what a process answers that goes on.
type refused struct{ text string }

func (e *refused) Error() string { return e.text }

// process is one that runs.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte
	ended chan struct{}
	once  sync.Once
	why   string // why the watchdog ended it
	mu    sync.Mutex
	used  time.Time
}

func (r *Runner) start() (*process, error) {
	cmd := exec.CommandContext(r.stop, r.program, Command)
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process for mappings: %w", err)
	}
	p := &process{cmd: cmd, in: in, lines: make(chan []byte), ended: make(chan struct{})}
	go p.read(out)
	if _, err := p.ask(r.stop, r.config, startTime); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// read hands on what the process prints, line by line.
func (p *process) read(out io.Reader) {
	defer close(p.ended)
	buffer := bufio.NewReaderSize(out, 64<<10)
	for {
		var line []byte
		for {
			part, more, err := buffer.ReadLine()
			if err != nil {
				_ = p.cmd.Wait() // it has ended or is about to
				return
			}
			if line = append(line, part...); len(line) > maxOutput {
				p.end(fmt.Sprintf("its result has more than %d bytes", maxOutput))
				_, _ = io.Copy(io.Discard, buffer)
				_ = p.cmd.Wait()
				return
			}
			if !more {
				break
			}
		}
		p.lines <- line
	}
}

// watch ends the process when it has too much memory, while it is at work.
func (p *process) watch(done <-chan struct{}) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-done:
			return
		case <-t.C:
		}
		b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/statm")
		if err != nil {
			continue // it has just ended, or this system has no such file
		}
		if f := strings.Fields(string(b)); len(f) > 1 {
			if pages, err := strconv.Atoi(f[1]); err == nil && pages*os.Getpagesize() > memory {
				p.end(fmt.Sprintf("it took more than %d MiB of memory", memory>>20))
				return
			}
		}
	}
}

// end kills the process and remembers why.
func (p *process) end(why string) {
	p.mu.Lock()
	if p.why == "" {
		p.why = why
	}
	p.mu.Unlock()
	p.kill()
}

func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.in.Close()
		go func() { // whatever it still prints
			for {
				select {
				case <-p.lines:
				case <-p.ended:
					return
				}
			}
		}()
	})
}

func (p *process) ask(ctx context.Context, what any, within time.Duration) ([]mapping.Result, error) {
	line, isText := what.([]byte)
	if isText {
		what = string(line)
	}
	text, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	done := make(chan struct{})
	defer close(done)
	go p.watch(done)
	written := make(chan error, 1)
	go func() {
		_, err := p.in.Write(append(text, '\n'))
		written <- err
	}()
	var got []byte
	select {
	case got = <-p.lines:
	case <-p.ended:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.why == "" {
			p.why = "its process ended, as it does when it asks for too much memory at once"
		}
		return nil, fmt.Errorf("%w: %s", ErrLimit, p.why)
	case <-timer.C:
		return nil, fmt.Errorf("%w: it took longer than %s", ErrLimit, within)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := <-written; err != nil {
		return nil, err
	}
	var r reply
	if err := json.Unmarshal(got, &r); err != nil {
		return nil, fmt.Errorf("read the answer of a process for mappings: %w", err)
	}
	if r.Error != "" {
		return nil, &refused{r.Error}
	}
	return r.Results, nil
}
