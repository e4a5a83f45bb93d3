package worker_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/function/worker"
)

// hostile are functions that try what they must not be able to do. Each returns what
// came of it, which must hold want; %[1]d is a port on which the host listens, %[2]s a
// secret file of the host.
var hostile = []struct{ name, code, want string }{
	{"read a file of the host", `open("%[2]s").read()`, "No such file"},
	{"read the password file", `open("/etc/shadow").read()`, "No such file"},
	{"list the data of others", `os.listdir("/root")`, "No such file"},
	{"see other processes", `len([p for p in os.listdir("/proc") if p.isdigit()]) < 8 or sys.exit("too many")`, "True"},
	{"read another process's environment", `"BERTH_CANARY" in str([open("/proc/%%s/environ" %% p, "rb").read() for p in os.listdir("/proc") if p.isdigit() and int(p) > 1])`, "False"},
	{"connect to the host's loopback", `socket.create_connection(("127.0.0.1", %[1]d), 2)`, "refused"},
	{"connect to the internet", `socket.create_connection(("192.0.2.1", 80), 2)`, "unreachable"},
	{"look up a name", `socket.getaddrinfo("example.com", 80)`, "Error"},
	{"open a raw socket", `socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)`, "not permitted"},
	{"trace a process", `libc("ptrace", 16, os.getppid(), 0, 0)`, "Operation not permitted"},
	{"read another process's memory", `libc("process_vm_readv", 1, 0, 0, 0, 0, 0)`, "Operation not permitted"},
	{"mount", `libc("mount", b"none", b"/tmp", b"tmpfs", 0, 0)`, "Operation not permitted"},
	{"make a namespace", `libc("unshare", 0x10000000)`, "Operation not permitted"},
	{"enter a namespace", `libc("setns", 0, 0)`, "Operation not permitted"},
	{"change the root", `libc("chroot", b"/tmp")`, "Operation not permitted"},
	{"become root", `os.setuid(0)`, "Invalid argument"},
	{"gain privileges by a program", `int([l.split()[1] for l in open("/proc/self/status") if l.startswith("NoNewPrivs")][0])`, "1"},
	{"have a capability", `[l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")][0]`, "0000000000000000"},
	{"set the clock", `time.clock_settime(time.CLOCK_REALTIME, 0)`, "not permitted"},
	{"write its own code", `open("/var/task/index.py", "w")`, "Read-only"},
	{"write the host's programs", `open("/usr/bin/x", "w")`, "Read-only"},
	{"write the sandbox's program", `open("/run/berth/berth", "ab")`, "Error"},
	{"make a device", `os.mknod("/tmp/x", 0o60666, os.makedev(8, 0))`, "not permitted"},
	{"open a device of the host", `open("/dev/mem")`, "No such file"},
	{"see the host's hardware", `os.listdir("/sys")`, "No such file"},
	{"talk to the container engine", `socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock")`, "No such file"},
	{"fill the scratch space", `[open("/tmp/%%d" %% i, "wb").write(b"x" * (8 << 20)) for i in range(20)]`, "No space left"},
	{"write a huge file", `open("/tmp/x", "wb").write(b"x" * (65 << 20))`, "Error"},
	{"open too many files", `[open("/dev/null") for _ in range(5000)] and None`, "Too many open files"},
	{"raise a limit", `resource.setrlimit(resource.RLIMIT_NPROC, (4000, 4000))`, "not allowed to raise"},
	{"have more processors than its memory is worth", `len(os.sched_getaffinity(0))`, "1"},
	{"take more processors", `os.sched_setaffinity(0, [0, 1])`, "not permitted"},
	{"be as urgent as the server", `os.getpriority(os.PRIO_PROCESS, 0)`, "5"},
	{"be more urgent", `os.setpriority(os.PRIO_PROCESS, 0, -5)`, "denied"},
	{"kill everything", `os.kill(-1, 0) or "only its own"`, "only its own"},
	{"stop the sandbox's first process", `os.kill(1, 9) or "the kernel ignores it"`, "the kernel ignores it"},
}

const hostileFrame = `
import ctypes, os, resource, signal, socket, sys, time
def libc(name, *args):
    f = getattr(ctypes.CDLL(None, use_errno=True), name)
    if f(*args) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"
def handler(event, context):
    try:
        return str(eval(event["code"]))
    except BaseException as e:
        return type(e).__name__ + "Error: " + str(e)
`

// TestHostile: what a function must not do, it cannot (RELIABILITY S19).
func TestHostile(t *testing.T) {
	b := box(t)
	t.Setenv("BERTH_CANARY", "secret")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	secret := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	spec, out := python(t, b, hostileFrame)
	spec.Memory = 256 << 20
	w := start(t, b, spec)
	for _, c := range hostile {
		if !w.Alive() {
			w = start(t, b, spec)
		}
		code := fmt.Sprintf(c.code+"%[3]s", l.Addr().(*net.TCPAddr).Port, secret, "")
		r, err := invoke(t, w, fmt.Sprintf(`{"code":%q}`, code), 20*time.Second)
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, out)
			continue
		}
		if !strings.Contains(string(r.Payload), c.want) {
			t.Errorf("%s: %s, want %q", c.name, r.Payload, c.want)
		}
	}
	t.Logf("%d hostile functions", len(hostile))
}

// TestExhaustion: functions that use up what there is are ended, and nothing of them is
// left.
func TestExhaustion(t *testing.T) {
	b := box(t)
	for _, c := range []struct {
		name, code string
		want       error
		payload    string
	}{
		{"memory", "x = []\n    while True: x.append(b'x' * (1 << 20))", nil, "MemoryError"},
		{"memory all at once", "x = bytearray(4 << 30)", nil, "MemoryError"},
		{"memory of many processes", "import os, time\n    for _ in range(10):\n        if os.fork() == 0:\n            x = b'x' * (60 << 20)\n            time.sleep(60)\n    time.sleep(60)", worker.ErrExited, "OutOfMemory"},
		{"forks", "import os\n    while True:\n        try: os.fork()\n        except OSError: pass", nil, ""}, // ended for its memory or its time
		{"threads", "import threading, time\n    n = 0\n    try:\n        while True:\n            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n            n += 1\n    except RuntimeError:\n        return 'stopped at %d' % n if n < 64 else 'too many'", nil, "stopped at"},
		{"output", "while True: print('x' * 1000)", worker.ErrTimeout, "timed out"},
		{"an answer", "return 'x' * (7 << 20)", nil, "ResponseSizeTooLarge"},
		{"its own end", "import os\n    os._exit(3)", worker.ErrExited, "Runtime exited"},
		{"a crash", "import os\n    os.kill(os.getpid(), 11)", worker.ErrExited, "Runtime exited"},
		{"a child that stays", "import os, time\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: time.sleep(600)\n        os._exit(0)\n    return 'done'", nil, "done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, out := python(t, b, "def handler(event, context):\n    "+c.code+"\n")
			w := start(t, b, spec)
			r, err := invoke(t, w, "{}", 3*time.Second)
			if c.payload == "" {
				if err == nil {
					t.Errorf("it ended by itself: %.300s", r.Payload)
				}
				return
			}
			if !errors.Is(err, c.want) && !(c.payload == "MemoryError" && errors.Is(err, worker.ErrExited)) {
				t.Errorf("%v, want %v: %.300s", err, c.want, r.Payload)
			}
			if !strings.Contains(string(r.Payload), c.payload) && !(c.payload == "MemoryError" && strings.Contains(string(r.Payload), "OutOfMemory")) {
				t.Errorf("%.300s, want %q", r.Payload, c.payload)
			}
			w.Stop()
			if n := len(out.String()); n > 16<<20 {
				t.Errorf("%d bytes of output were passed on", n)
			}
		})
	}
	if left := sandboxed(t, b); left != "" {
		t.Errorf("processes are left:\n%s", left)
	}
}

// sandboxed lists the processes of a box's workers.
func sandboxed(t *testing.T, b *worker.Box) string {
	t.Helper()
	var out []byte
	for range 50 { // the kernel takes a moment to end a namespace
		out, _ = exec.Command("pgrep", "-fa", b.Dir()).Output()
		if len(out) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return string(out)
}
