// Package worker runs the code of one function in a process of its own and hands it
// invocations over the Lambda Runtime API.
//
// The process lives in a sandbox (bubblewrap): namespaces of its own, no network but
// Berth's endpoint, no files but its code, the host's programs and a small scratch
// space, bounded memory and processes, no privileges. It is stopped between
// invocations and killed as a whole when its time is over. The package knows nothing
// of accounts, roles or versions: package function does.
package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Spec says what a worker runs.
type Spec struct {
	// Runtime is the identifier, such as python3.12 or provided.al2023.
	Runtime string
	// Code is the directory of the unpacked code; Handler names what is called in it.
	Code, Handler string
	// Env is the whole environment but for what the Runtime API needs.
	Env map[string]string
	// Memory is how much the processes may use together, in bytes.
	Memory int64
	// Endpoint is the path of a unix socket that leads to the API, and EndpointPort the
	// port of 127.0.0.1 where the function finds it; "" for none.
	Endpoint     string
	EndpointPort int
	// Output takes what the processes print, line by line.
	Output func(line string)
}

const (
	// initTime is how long a runtime may take until it asks for its first invocation.
	initTime = 10 * time.Second
	// maxResponse is how large an answer may be, in bytes (Lambda quota).
	maxResponse = 6<<20 + 100<<10
	// maxLine and maxOutput bound what is printed: a line, and all lines of an
	// invocation, in bytes.
	maxLine   = 256 << 10
	maxOutput = 8 << 20
	// watchEvery is how often the memory of the processes is looked at.
	watchEvery = 50 * time.Millisecond
)

// Invocation is one call of the function.
type Invocation struct {
	ID       string
	Payload  []byte
	Deadline time.Time
	ARN      string // of the function, as it was called
}

// Result is how an invocation ended.
type Result struct {
	Payload []byte
	// Error says that the function failed: Handled or Unhandled; "" when it did not.
	Error string
	// MaxMemory is the most memory that was seen in use, in bytes.
	MaxMemory int64
	// Init is how long the runtime took to start, 0 for a warm one.
	Init time.Duration
}

// Worker is a running process. It takes one invocation at a time.
type Worker struct {
	spec     Spec
	dir      string // holds the socket
	cmd      *exec.Cmd
	control  io.WriteCloser
	listener net.Listener
	server   *http.Server
	started  time.Time
	exited   chan struct{} // closed when the process is gone

	next      chan *Invocation // to the runtime
	answers   chan answer      // from the runtime
	ready     chan struct{}    // closed when the runtime asks for the first time
	readyOnce sync.Once
	initErr   atomic.Pointer[[]byte]
	current   atomic.Pointer[Invocation]
	printed   atomic.Int64
	memory    atomic.Int64
	overMem   atomic.Bool
	output    *os.File // the reading end
	reading   atomic.Int64
	initTook  time.Duration
	stop      func()
}

type answer struct {
	id      string
	payload []byte
	failed  bool
}

var (
	// ErrTimeout is an invocation that was not answered in time; the process is killed.
	ErrTimeout = errors.New("the function timed out")
	// ErrExited is a process that ended, or was killed for its memory.
	ErrExited = errors.New("the runtime exited")
)

// Start starts a process in the sandbox. It does not wait for the runtime.
func (b *Box) Start(spec Spec) (*Worker, error) {
	if err := b.Prepare(); err != nil {
		return nil, err
	}
	command, extra, err := b.runtime(spec)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "w")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	w := &Worker{spec: spec, dir: dir, started: time.Now(), exited: make(chan struct{}), next: make(chan *Invocation), answers: make(chan answer, 1),
		ready: make(chan struct{})}
	w.stop = sync.OnceFunc(w.kill)
	if err := w.listen(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := w.run(b, command, extra); err != nil {
		_ = w.server.Close()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return w, nil
}

func (w *Worker) listen() error {
	socket := filepath.Join(w.dir, "runtime.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o666); err != nil { // the directory's name is the secret
		l.Close()
		return err
	}
	w.listener = l
	w.server = &http.Server{Handler: w.api(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = w.server.Serve(l) }() // ends when it is closed
	return nil
}

func (w *Worker) run(b *Box, command []string, extra []string) error {
	var err error
	if w.cmd, err = b.command(w, command, extra); err != nil {
		return err
	}
	defer func() {
		for _, f := range w.cmd.ExtraFiles {
			f.Close()
		}
	}()
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	w.cmd.Stdout, w.cmd.Stderr, w.control = in, in, stdin
	err = startOn(w.cmd, w.spec.Memory)
	in.Close()
	if err != nil {
		out.Close()
		return fmt.Errorf("start the sandbox: %w", err)
	}
	w.output = out
	go w.read(out)
	go func() {
		_ = w.cmd.Wait() // how it ended is seen by what is missing
		close(w.exited)
		_ = w.server.Close()
		_ = os.RemoveAll(w.dir)
	}()
	go w.watch()
	return nil
}

// read passes on what the processes print.
func (w *Worker) read(out *os.File) {
	defer out.Close()
	r := bufio.NewReaderSize(out, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if w.printed.Add(int64(len(line))) < maxOutput {
				w.spec.Output(strings.TrimRight(string(line), "\r\n"))
			}
			w.reading.Add(1)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// Drain waits a moment until what was printed so far has been passed on.
func (w *Worker) Drain() {
	raw, err := w.output.SyscallConn()
	if err != nil {
		return
	}
	for range 20 {
		before, waiting := w.reading.Load(), 0
		if raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }) != nil {
			return // it is closed: all was read
		}
		time.Sleep(500 * time.Microsecond)
		if waiting == 0 && w.reading.Load() == before {
			return
		}
	}
}

// watch kills processes that use too much memory together.
func (w *Worker) watch() {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if w.current.Load() == nil && w.isReady() {
				continue // it is stopped
			}
			used := treeMemory(w.cmd.Process.Pid)
			if used > w.memory.Load() {
				w.memory.Store(used)
			}
			if used > w.spec.Memory+ownMemory {
				w.overMem.Store(true)
				w.Stop()
			}
		case <-w.exited:
			return
		}
	}
}

func (w *Worker) isReady() bool {
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}

// Alive reports whether the process still runs.
func (w *Worker) Alive() bool {
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

// Started is when the process was started.
func (w *Worker) Started() time.Time { return w.started }

// Stop kills the process with all that it has started, and waits until it is gone.
func (w *Worker) Stop() { w.stop() }

func (w *Worker) kill() {
	_ = w.cmd.Process.Kill() // the sandbox dies with it, and all in its namespace
	select {
	case <-w.exited:
	case <-time.After(5 * time.Second): // it sleeps in the kernel; nothing more can be done
	}
}

// signal tells the process inside the sandbox to stop (F) or go on (T) with what the
// function has started.
func (w *Worker) signal(c byte) { _, _ = w.control.Write([]byte{c, '\n'}) } // a process that is gone needs none

// Invoke hands the function one invocation and waits for its end. After an error the
// worker is of no more use.
func (w *Worker) Invoke(ctx context.Context, in *Invocation) (*Result, error) {
	res := &Result{}
	w.printed.Store(0)
	w.memory.Store(0)
	if err := w.wait(ctx, res); err != nil {
		return w.failed(res, err)
	}
	deadline := time.NewTimer(time.Until(in.Deadline))
	defer deadline.Stop()
	w.current.Store(in)
	defer w.current.Store(nil)
	w.signal('T')
	select {
	case w.next <- in:
	case <-w.exited:
		return w.failed(res, ErrExited)
	case <-deadline.C:
		return w.failed(res, ErrTimeout)
	case <-ctx.Done():
		return w.failed(res, ctx.Err())
	}
	select {
	case a := <-w.answers:
		w.signal('F')
		res.Payload = a.payload
		if a.failed {
			res.Error = "Unhandled"
		}
		res.MaxMemory = max(w.memory.Load(), treeMemory(w.cmd.Process.Pid))
		return res, nil
	case <-w.exited:
		return w.failed(res, ErrExited)
	case <-deadline.C:
		return w.failed(res, ErrTimeout)
	case <-ctx.Done():
		return w.failed(res, ctx.Err())
	}
}

// wait waits until the runtime has started.
func (w *Worker) wait(ctx context.Context, res *Result) error {
	select {
	case <-w.ready:
		if w.initTook == 0 {
			w.initTook = time.Since(w.started)
			res.Init = w.initTook
		}
		return nil
	default:
	}
	timer := time.NewTimer(initTime)
	defer timer.Stop()
	select {
	case <-w.ready:
		w.initTook = time.Since(w.started)
		res.Init = w.initTook
		return nil
	case <-w.exited:
		return ErrExited
	case <-timer.C:
		return fmt.Errorf("%w: the runtime did not start within %s", ErrTimeout, initTime)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failed ends the worker and makes the answer that Lambda gives for it.
func (w *Worker) failed(res *Result, err error) (*Result, error) {
	w.Stop()
	res.MaxMemory, res.Error = w.memory.Load(), "Unhandled"
	if p := w.initErr.Load(); p != nil {
		res.Payload = *p
		return res, err
	}
	kind, message := "Runtime.ExitError", "RequestId: %s Error: Runtime exited"
	switch {
	case w.overMem.Load():
		kind, message = "Runtime.OutOfMemory", "RequestId: %s Error: Runtime exited with error: signal: killed (out of memory)"
	case errors.Is(err, ErrTimeout):
		kind, message = "Sandbox.Timedout", "RequestId: %s Error: Task timed out"
	case w.cmd.ProcessState != nil:
		message += " with error: " + w.cmd.ProcessState.String()
	}
	id := ""
	if in := w.current.Load(); in != nil {
		id = in.ID
	}
	res.Payload, _ = json.Marshal(map[string]string{"errorType": kind, "errorMessage": fmt.Sprintf(message, id)}) // texts always marshal
	return res, err
}
