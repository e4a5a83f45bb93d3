package worker

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// InitCommand is the name under which this program, run with it as its first argument,
// is the first process inside a sandbox: Init.
const InitCommand = "function-sandbox"

// runtimePort is where the Runtime API is found inside the sandbox.
const runtimePort = 9001

// initArguments are the arguments of Init for a worker, before the runtime's command.
func initArguments(w *Worker, sandboxed bool) []string {
	runtime, endpoint := "/run/berth/runtime.sock", "/run/berth/endpoint.sock"
	if !sandboxed {
		runtime, endpoint = filepath.Join(w.dir, "runtime.sock"), ""
	}
	args := []string{InitCommand, "-runtime", runtime, fmt.Sprintf("-memory=%d", w.spec.Memory), fmt.Sprintf("-sandboxed=%t", sandboxed)}
	if w.spec.Endpoint != "" && endpoint != "" {
		args = append(args, "-endpoint", endpoint, fmt.Sprintf("-port=%d", w.spec.EndpointPort))
	}
	return append(args, "--")
}

// Init is what the program does inside a sandbox: it leads the two addresses that a
// function needs to Berth's sockets, sets limits, starts the runtime and, told so on
// its standard input, stops it and lets it go on. It returns the exit status.
func Init(args []string) int {
	fs := flag.NewFlagSet(InitCommand, flag.ContinueOnError)
	runtime, endpoint := fs.String("runtime", "", ""), fs.String("endpoint", "", "")
	port, memory, sandboxed := fs.Int("port", 0, ""), fs.Int64("memory", 0, ""), fs.Bool("sandboxed", true, "")
	if err := fs.Parse(args); err != nil || fs.NArg() == 0 {
		return 64
	}
	debug.SetGCPercent(20)
	address, err := forward(*runtime, runtimePort, *sandboxed)
	if err == nil && *endpoint != "" {
		_, err = forward(*endpoint, *port, true)
	}
	if err == nil && *sandboxed {
		err = limit(*memory)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the sandbox could not be set up:", err)
		return 70
	}
	cmd := exec.Command(fs.Arg(0), fs.Args()[1:]...) //nolint:gosec // it is the function
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: !*sandboxed}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "the runtime could not be started: %v (a provided runtime needs an executable file named bootstrap in its archive)\n", err)
		return 71
	}
	signal.Ignore(syscall.SIGPIPE)
	target := -1 // everything in this namespace but this process
	if !*sandboxed {
		target = -cmd.Process.Pid
	}
	go obey(target)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "the runtime ended:", err)
	return 1
}

// obey stops processes and lets them go on as it is told, and ends with who tells it.
func obey(target int) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch strings.TrimSpace(in.Text()) {
		case "F":
			_ = syscall.Kill(target, syscall.SIGSTOP) // there may be none left
		case "T":
			_ = syscall.Kill(target, syscall.SIGCONT)
		}
	}
	_ = syscall.Kill(target, syscall.SIGKILL)
	os.Exit(72)
}

// forward leads connections to a port of 127.0.0.1 to a unix socket and returns the
// address; a port that is not to be had for sure is any.
func forward(socket string, port int, fixed bool) (string, error) {
	if !fixed {
		port = 0
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				time.Sleep(10 * time.Millisecond) // too many files are open
				continue
			}
			go join(c, socket)
		}
	}()
	return l.Addr().String(), nil
}

func join(c net.Conn, socket string) {
	defer c.Close()
	up, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer up.Close()
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either side may leave
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	both.Go(func() { pass(up, c) })
	both.Go(func() { pass(c, up) })
	both.Wait()
}

// nice is how much less urgent functions are than the server.
const nice = 5

// limit sets the limits that the runtime inherits.
func limit(memory int64) error {
	for _, l := range []struct {
		what  int
		value uint64
	}{{syscall.RLIMIT_NOFILE, openFiles}, {syscall.RLIMIT_CORE, 0}, {syscall.RLIMIT_FSIZE, scratch}, {unix.RLIMIT_NPROC, processes},
		{syscall.RLIMIT_DATA, uint64(memory + ownMemory + 256<<20)}} { // the watchdog is exact; this is against sudden leaps
		if err := syscall.Setrlimit(l.what, &syscall.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			return err
		}
	}
	return unix.Setpriority(unix.PRIO_PGRP, 0, nice)
}
