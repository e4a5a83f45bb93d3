package worker

import (
	"bytes"
	_ "embed" // the runtimes' own bootstraps
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed bootstrap.py
var pythonBootstrap []byte

//go:embed bootstrap.mjs
var nodeBootstrap []byte

// Limits of a sandbox.
const (
	// scratch is the size of /tmp, in bytes.
	scratch = 64 << 20
	// processes is how many processes and threads there may be.
	processes = 64
	// openFiles is how many files each process may have open.
	openFiles = 1024
	// ownMemory is what the sandbox itself uses, in bytes.
	ownMemory = 40 << 20
	// firstUID is where the user ids begin that workers get when Berth runs as root,
	// each its own.
	firstUID = 2_000_000_000
	insideID = 993 // user and group within the sandbox, as in Lambda
)

// Box makes sandboxes. Make one with NewBox.
type Box struct {
	dir     string // of the workers' sockets, and of the bootstraps
	program string // "" for this one
	bare    bool   // without a sandbox
	bwrap   string // "" then
	self    string // this program
	prepare sync.Once
	err     error // of prepare
	python  *interpreter
	pyErr   error
	pyOnce  sync.Once
	nextUID int
	mu      sync.Mutex
}

// ErrNoSandbox says that the host has no sandbox.
var ErrNoSandbox = errors.New("functions need a sandbox, and this host has none")

// BoxOptions configures a Box.
type BoxOptions struct {
	// Unsandboxed runs functions without a sandbox, as ordinary processes of this user.
	Unsandboxed bool
	// Program is the program that is run inside with InitCommand; "" is this one.
	Program string
}

// NewBox makes a box in a directory that does not exist or is empty.
func NewBox(dir string, o BoxOptions) (*Box, error) {
	return &Box{dir: dir, program: o.Program, bare: o.Unsandboxed, nextUID: firstUID}, os.MkdirAll(dir, 0o711)
}

// Prepare looks for what sandboxes need, bubblewrap and user namespaces, and lays out
// what they share. It does so once; whatever needs it calls it, too. ErrNoSandbox.
func (b *Box) Prepare() error {
	b.prepare.Do(func() { b.err = b.layOut() })
	return b.err
}

func (b *Box) layOut() (err error) {
	if b.self, err = copySelf(b.program, b.dir); err != nil {
		return err
	}
	for name, text := range map[string][]byte{"bootstrap.py": pythonBootstrap, "bootstrap.mjs": nodeBootstrap} {
		if err := os.WriteFile(filepath.Join(b.dir, name), text, 0o644); err != nil { //nolint:gosec // it is no secret
			return err
		}
	}
	if b.bare {
		return nil
	}
	filter, err := seccompFilter()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoSandbox, err)
	}
	filter.Close()
	if b.bwrap, err = exec.LookPath("bwrap"); err != nil {
		return fmt.Errorf("%w: bubblewrap (bwrap) is not installed; install the package bubblewrap, or start with --functions=unsandboxed if all who may create functions may also run programs here", ErrNoSandbox)
	}
	probe := exec.Command(b.bwrap, append(b.namespaces(), "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--proc", "/proc", "/usr/bin/true")...)
	probe.SysProcAttr = b.credential()
	if out, err := probe.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: bubblewrap does not work (%s); allow user namespaces for this user, or start with --functions=unsandboxed if all who may create functions may also run programs here", ErrNoSandbox,
			strings.TrimSpace(string(out)))
	}
	return nil
}

// copySelf puts the program where the users of sandboxes can read it.
func copySelf(program, dir string) (string, error) {
	if program == "" {
		program = "/proc/self/exe"
	}
	from, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer from.Close()
	path := filepath.Join(dir, "berth")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755) //nolint:gosec // it is no secret
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(to, from); err != nil {
		return "", errors.Join(err, to.Close())
	}
	return path, to.Close()
}

// Dir is where files for workers can be put: those whose name is known can be read by
// workers, and nobody can list them.
func (b *Box) Dir() string { return b.dir }

// Close removes what the box has made.
func (b *Box) Close() error {
	b.prepare.Do(func() { b.err = os.ErrClosed })
	return os.RemoveAll(b.dir)
}

func (b *Box) namespaces() []string {
	return []string{"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv", "--uid", strconv.Itoa(insideID),
		"--gid", strconv.Itoa(insideID), "--hostname", "function"}
}

// credential gives each sandbox of a server that runs as root a user of its own.
func (b *Box) credential() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		return a
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextUID++
	a.Credential = &syscall.Credential{Uid: uint32(b.nextUID), Gid: uint32(b.nextUID), NoSetGroups: false}
	return a
}

// system are the parts of the host that are visible inside, read-only.
var system = []string{"/usr", "/etc/ssl", "/etc/ca-certificates", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime", "/etc/pki"}

// command makes the command that runs the runtime of a worker. Its extra files are to be
// closed once it was started.
func (b *Box) command(w *Worker, runtime, extra []string) (*exec.Cmd, error) {
	inner := append(initArguments(w, !b.bare), runtime...)
	if b.bare {
		cmd := exec.Command(b.self, inner...)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = w.spec.Code, environment(w.spec.Env), &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		return cmd, nil
	}
	args := b.namespaces()
	for _, p := range append(slices.Clone(system), extra...) {
		args = append(args, "--ro-bind-try", p, p)
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if target, err := os.Readlink("/" + l); err == nil {
			args = append(args, "--symlink", target, "/"+l)
		} else if _, err := os.Stat("/" + l); err == nil {
			args = append(args, "--ro-bind", "/"+l, "/"+l)
		}
	}
	args = append(args, "--proc", "/proc", "--dev", "/dev", "--size", strconv.Itoa(scratch), "--tmpfs", "/tmp", "--ro-bind", w.spec.Code, "/var/task",
		"--ro-bind", filepath.Join(b.dir, "bootstrap.py"), "/var/runtime/bootstrap.py", "--ro-bind", filepath.Join(b.dir, "bootstrap.mjs"), "/var/runtime/bootstrap.mjs",
		"--ro-bind", b.self, "/run/berth/berth", "--bind", filepath.Join(w.dir, "runtime.sock"), "/run/berth/runtime.sock")
	if w.spec.Endpoint != "" {
		args = append(args, "--bind", w.spec.Endpoint, "/run/berth/endpoint.sock")
	}
	var secret bytes.Buffer // everybody on the host sees arguments
	for k, v := range w.spec.Env {
		if strings.Contains(k+v, "\x00") { // it would end the argument
			return nil, fmt.Errorf("the environment variable %.80q holds a NUL", k)
		}
		fmt.Fprintf(&secret, "--setenv\x00%s\x00%s\x00", k, v)
	}
	filter, err := seccompFilter()
	if err != nil { // never without it
		return nil, err
	}
	set, err := piped(secret.Bytes())
	if err != nil {
		filter.Close()
		return nil, err
	}
	args = append(args, "--chdir", "/var/task", "--remount-ro", "/", "--seccomp", "3", "--args", "4")
	cmd := exec.Command(b.bwrap)
	cmd.ExtraFiles = []*os.File{filter, set}
	cmd.Args = append(append(cmd.Args, args...), append([]string{"--", "/run/berth/berth"}, inner...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = b.credential()
	return cmd, nil
}

// piped is a file from which bytes can be read once. They must fit into a pipe, 64 KiB.
func piped(text []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := w.SetWriteDeadline(time.Now().Add(time.Second)); err != nil { // if they do not fit
		r.Close()
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func environment(m map[string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	return out
}

// interpreter is a python that is there, and what it needs of the host's files.
type interpreter struct {
	path string
	dirs []string
}

// Python is the host's interpreter, with the directories it needs beside /usr.
func (b *Box) findPython() (*interpreter, error) {
	b.pyOnce.Do(func() {
		for _, p := range []string{"/usr/bin/python3", "/usr/local/bin/python3", "python3"} {
			path, err := exec.LookPath(p)
			if err != nil {
				continue
			}
			out, err := exec.Command(path, "-c", "import json,sys; print(json.dumps([sys.executable, sys.base_prefix, sys.prefix] + sys.path))").Output()
			var list []string
			if err != nil || json.Unmarshal(out, &list) != nil || len(list) < 3 {
				continue
			}
			i := &interpreter{path: list[0]}
			for _, d := range list[1:] {
				if d != "" && !strings.HasPrefix(d+"/", "/usr/") && !slices.Contains(i.dirs, d) {
					i.dirs = append(i.dirs, d)
				}
			}
			b.python = i
			return
		}
		b.pyErr = errors.New("functions in python need python3 on the host: install the package python3 (and python3-boto3, if they call the API)")
	})
	return b.python, b.pyErr
}

// ErrRuntime is a runtime that cannot run here.
var ErrRuntime = errors.New("runtime not supported")

// runtime finds the command of a runtime, and what it needs of the host.
func (b *Box) runtime(spec Spec) (command, extra []string, err error) {
	task, bootstraps := "/var/task", "/var/runtime"
	if b.bare {
		task, bootstraps = spec.Code, b.dir
	}
	switch {
	case strings.HasPrefix(spec.Runtime, "provided"), spec.Runtime == "go1.x":
		name := "bootstrap"
		if spec.Runtime == "go1.x" {
			name = spec.Handler
		}
		return []string{filepath.Join(task, filepath.Clean("/"+name))}, nil, nil
	case strings.HasPrefix(spec.Runtime, "python3"):
		p, err := b.findPython()
		if err != nil {
			return nil, nil, err
		}
		return []string{p.path, filepath.Join(bootstraps, "bootstrap.py")}, p.dirs, nil
	case strings.HasPrefix(spec.Runtime, "nodejs"):
		path, err := exec.LookPath("node")
		if err != nil {
			return nil, nil, errors.New("functions for nodejs need node on the host: install the package nodejs")
		}
		return []string{path, filepath.Join(bootstraps, "bootstrap.mjs")}, nil, nil
	}
	return nil, nil, fmt.Errorf("%w: %s", ErrRuntime, spec.Runtime)
}

// Check tells whether functions of a runtime can run here, and if not what is missing.
func (b *Box) Check(runtime string) error {
	_, _, err := b.runtime(Spec{Runtime: runtime, Handler: "x"})
	return err
}

// treeMemory is how much memory a process and all below it use, in bytes.
func treeMemory(pid int) int64 {
	total := int64(0)
	todo := []int{pid}
	for n := 0; len(todo) > 0 && n < 4*processes; n++ {
		p := todo[0]
		todo = todo[1:]
		proc := "/proc/" + strconv.Itoa(p)
		if b, err := os.ReadFile(proc + "/statm"); err == nil {
			var size, resident, shared int64
			if k, _ := fmt.Sscan(string(b), &size, &resident, &shared); k == 3 {
				total += (resident - shared) * int64(os.Getpagesize())
			}
		}
		tasks, err := os.ReadDir(proc + "/task")
		if err != nil {
			continue
		}
		for _, t := range tasks {
			b, err := os.ReadFile(proc + "/task/" + t.Name() + "/children")
			if err != nil {
				continue
			}
			for f := range strings.FieldsSeq(string(b)) {
				if c, err := strconv.Atoi(f); err == nil {
					todo = append(todo, c)
				}
			}
		}
	}
	return total
}
