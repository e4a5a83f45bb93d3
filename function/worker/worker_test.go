package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/internal/berthtest"
)

func TestMain(m *testing.M) { os.Exit(berthtest.Main(m)) }

func box(t testing.TB) *worker.Box {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	b, err := worker.NewBox(dir, worker.BoxOptions{Program: berthtest.Binary(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// output gathers lines.
type output struct {
	mu    sync.Mutex
	lines []string
}

func (o *output) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, "\n")
}

func python(t testing.TB, b *worker.Box, code string) (worker.Spec, *output) {
	t.Helper()
	dir, err := os.MkdirTemp(b.Dir(), "code")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.py"), []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	o := &output{}
	return worker.Spec{Runtime: "python3.12", Code: dir, Handler: "index.handler", Memory: 128 << 20, Output: o.add,
		Env: map[string]string{"_HANDLER": "index.handler", "PATH": "/usr/bin:/bin", "AWS_LAMBDA_FUNCTION_NAME": "f"}}, o
}

func start(t testing.TB, b *worker.Box, s worker.Spec) *worker.Worker {
	t.Helper()
	w, err := b.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

func invoke(t testing.TB, w *worker.Worker, payload string, limit time.Duration) (*worker.Result, error) {
	t.Helper()
	return w.Invoke(context.Background(), &worker.Invocation{ID: "8f507cfc-xmpl-4697-b07a-ac58fc914c95", Payload: []byte(payload), Deadline: time.Now().Add(limit),
		ARN: "arn:aws:lambda:eu-west-1:000000000012:function:f"})
}

func TestPython(t *testing.T) {
	b := box(t)
	spec, out := python(t, b, `
import logging, os
n = 0
def handler(event, context):
    global n
    n += 1
    logging.getLogger().warning("got %s", event["x"])
    print("plain", context.aws_request_id, context.get_remaining_time_in_millis() > 1000)
    if event["x"] == "bad":
        raise ValueError("no good")
    return {"n": n, "name": context.function_name, "uid": os.getuid(), "cwd": os.getcwd()}
`)
	w := start(t, b, spec)
	for i, want := range []string{`{"n": 1, "name": "f", "uid": 993, "cwd": "/var/task"}`, `{"n": 2, "name": "f", "uid": 993, "cwd": "/var/task"}`} {
		r, err := invoke(t, w, `{"x":"y"}`, 10*time.Second)
		if err != nil || r.Error != "" || string(r.Payload) != want {
			t.Fatalf("%+v %s %v\n%s", r, r.Payload, err, out)
		}
		if (r.Init > 0) != (i == 0) {
			t.Errorf("invocation %d: init %s", i, r.Init)
		}
	}
	r, err := invoke(t, w, `{"x":"bad"}`, 10*time.Second)
	if err != nil || r.Error != "Unhandled" || !strings.Contains(string(r.Payload), `"errorType": "ValueError"`) {
		t.Errorf("%+v %s %v", r, r.Payload, err)
	}
	if r, err = invoke(t, w, `{"x":"again"}`, 10*time.Second); err != nil || r.Error != "" {
		t.Errorf("after an error: %+v %v", r, err)
	}
	time.Sleep(50 * time.Millisecond) // its output is on its way
	for _, want := range []string{"[WARNING]\t", "got y", "plain 8f507cfc-xmpl-4697-b07a-ac58fc914c95 True", "ValueError: no good"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q was not printed:\n%s", want, out)
		}
	}
}

func TestInitError(t *testing.T) {
	b := box(t)
	spec, out := python(t, b, "import nothing_of_this_name\n")
	r, err := invoke(t, start(t, b, spec), "{}", 10*time.Second)
	if !errors.Is(err, worker.ErrExited) || !strings.Contains(string(r.Payload), "ModuleNotFoundError") {
		t.Errorf("%+v %v\n%s", r, err, out)
	}
}

func TestTimeout(t *testing.T) {
	b := box(t)
	spec, _ := python(t, b, "import time\ndef handler(event, context):\n    time.sleep(60)\n")
	w := start(t, b, spec)
	begin := time.Now()
	if r, err := invoke(t, w, "{}", time.Second); !errors.Is(err, worker.ErrTimeout) || !strings.Contains(string(r.Payload), "timed out") {
		t.Errorf("%+v %v", r, err)
	}
	if took := time.Since(begin); took > 4*time.Second || w.Alive() {
		t.Errorf("it took %s, alive: %v", took, w.Alive())
	}
}

// TestBetween: nothing goes on between invocations.
func TestBetween(t *testing.T) {
	b := box(t)
	spec, out := python(t, b, `
import threading, time
n = 0
def count():
    global n
    while True:
        n += 1
        time.sleep(0.01)
def handler(event, context):
    if n == 0:
        threading.Thread(target=count, daemon=True).start()
        time.sleep(0.1)
    return n
`)
	w := start(t, b, spec)
	first, err := invoke(t, w, "{}", 10*time.Second)
	if err != nil || string(first.Payload) == "0" {
		t.Fatalf("%s %v\n%s", first.Payload, err, out)
	}
	time.Sleep(time.Second)
	second, err := invoke(t, w, "{}", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var a, z int
	if _, err := sscan(string(first.Payload), &a); err != nil {
		t.Fatal(err)
	}
	if _, err := sscan(string(second.Payload), &z); err != nil || z-a > 30 {
		t.Errorf("%d turns before, %d after a second of rest", a, z)
	}
}

func sscan(s string, n *int) (int, error) { return fmt.Sscan(s, n) }

// TestArgumentsHoldNoSecrets: everybody on the host sees the arguments of processes.
func TestArgumentsHoldNoSecrets(t *testing.T) {
	b := box(t)
	spec, _ := python(t, b, "import os\ndef handler(event, context):\n    return os.environ['TOKEN']\n")
	spec.Env["TOKEN"] = "canary-in-the-environment"
	w := start(t, b, spec)
	res, err := invoke(t, w, "{}", 10*time.Second)
	if err != nil || string(res.Payload) != `"canary-in-the-environment"` {
		t.Fatalf("%s %v", res.Payload, err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(lines) == 0 {
		t.Fatal(lines, err)
	}
	seen := false
	for _, l := range lines {
		text, err := os.ReadFile(l)
		if err != nil {
			continue // it has ended
		}
		seen = seen || strings.Contains(string(text), b.Dir())
		if strings.Contains(string(text), spec.Env["TOKEN"]) {
			t.Errorf("%s: %.100q…", l, text)
		}
	}
	if !seen {
		t.Error("the sandbox was not among the processes that were looked at")
	}
}

// TestNoArgumentsInTheEnvironment: what a variable holds is never an argument of the
// sandbox.
func TestNoArgumentsInTheEnvironment(t *testing.T) {
	b := box(t)
	for _, bad := range []map[string]string{{"_HANDLER": "index.handler\x00--bind\x00/\x00/host"}, {"A\x00--share-net\x00--setenv\x00B": "c"}} {
		spec, _ := python(t, b, "def handler(event, context):\n    return 1\n")
		for k, v := range bad {
			spec.Env[k] = v
		}
		if w, err := b.Start(spec); err == nil {
			w.Stop()
			t.Errorf("%q was taken", bad)
		}
	}
	spec, _ := python(t, b, "import os\ndef handler(event, context):\n    return os.environ['X']\n")
	spec.Env["X"] = "--bind / /host\n--share-net"
	w := start(t, b, spec)
	if res, err := invoke(t, w, "{}", 10*time.Second); err != nil || string(res.Payload) != `"--bind / /host\n--share-net"` {
		t.Errorf("%s %v", res.Payload, err)
	}
}
