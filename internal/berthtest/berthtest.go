// Package berthtest builds the berth binary and runs it for tests that act as its
// users do: as another process, over the network, with real credentials. It is
// for tests only.
package berthtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// Root is the directory of the module.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

var build = sync.OnceValues(func() (string, error) {
	if b := os.Getenv("BERTH_BINARY"); b != "" {
		return b, nil
	}
	out := filepath.Join(Root(), "bin", fmt.Sprintf("berth-test-%d", os.Getpid()))
	cmd := exec.Command("go", "build", "-o", out, "./cmd/berth")
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build berth: %w\n%s", err, msg)
	}
	return out, nil
})

// Binary builds berth once per test process (or takes BERTH_BINARY) and returns
// its path.
func Binary(t testing.TB) string {
	t.Helper()
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Main runs a package's tests and removes the binary they built.
func Main(m *testing.M) int {
	code := m.Run()
	if os.Getenv("BERTH_BINARY") == "" {
		_ = os.Remove(filepath.Join(Root(), "bin", fmt.Sprintf("berth-test-%d", os.Getpid())))
	}
	return code
}

// Server is a running berth.
type Server struct {
	Data     string
	Endpoint string // http://host:port
	Host     string // host:port
	Env      map[string]string
	cmd      *exec.Cmd
	stderr   *lockedBuffer
	exited   chan struct{}
}

// Start runs "berth serve" on a free port with a data directory; more are further
// flags. The test stops it at its end.
func Start(t testing.TB, data string, more ...string) *Server {
	t.Helper()
	s, err := StartBinary(Binary(t), data, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.Log())
		}
	})
	return s
}

// StartBinary is Start for callers without a test; they stop the server.
func StartBinary(binary, data string, more ...string) (*Server, error) {
	return StartWrapped(nil, binary, data, more...)
}

// StartWrapped runs the server under another program, such as strace.
func StartWrapped(wrap []string, binary, data string, more ...string) (*Server, error) {
	s := &Server{Data: data, stderr: &lockedBuffer{}, exited: make(chan struct{})}
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "none", "--data", data}, more...)
	line := slices.Concat(wrap, []string{binary}, args)
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Stderr = s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	if err != nil {
		<-s.exited
		return nil, fmt.Errorf("berth did not start: %s", s.Log())
	}
	if err := s.readEnv(binary); err != nil {
		s.Stop()
		return nil, fmt.Errorf("after %q: %w", ready, err)
	}
	return s, nil
}

// readEnv asks "berth env" for what clients need.
func (s *Server) readEnv(binary string) error {
	var msg bytes.Buffer
	for range 100 { // the runtime file follows the ready line at once
		cmd := exec.Command(binary, "env", "--data", s.Data, "--output", "json")
		msg.Reset()
		cmd.Stderr = &msg
		out, err := cmd.Output()
		if err == nil {
			if err = json.Unmarshal(out, &s.Env); err != nil {
				return err
			}
			s.Endpoint = s.Env["AWS_ENDPOINT_URL"]
			_, s.Host, _ = strings.Cut(s.Endpoint, "://")
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("berth env: %s", msg.String())
}

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // the whole group
	<-s.exited
}

// Stop asks the server to stop and waits for it.
func (s *Server) Stop() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		s.Kill()
	}
}

// Log is what the server wrote to standard error.
func (s *Server) Log() string { return s.stderr.String() }

// ECR makes an API client with the root's keys.
func (s *Server) ECR() *ecr.Client {
	return ecr.NewFromConfig(aws.Config{Region: s.Env["AWS_REGION"], BaseEndpoint: aws.String(s.Endpoint), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s.Env["AWS_ACCESS_KEY_ID"], s.Env["AWS_SECRET_ACCESS_KEY"], "")})
}

// Token asks for a registry token: what goes after "Basic ".
func (s *Server) Token(t testing.TB) string {
	t.Helper()
	out, err := s.ECR().GetAuthorizationToken(context.Background(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.AuthorizationData[0].AuthorizationToken)
}

// CreateOnPush makes the template that creates every repository on push.
func (s *Server) CreateOnPush(t testing.TB) {
	t.Helper()
	_, err := s.ECR().CreateRepositoryCreationTemplate(context.Background(), &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String("ROOT"), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush}})
	var exists *types.TemplateAlreadyExistsException
	if err != nil && !errors.As(err, &exists) {
		t.Fatal(err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 4<<20 {
		return len(p), nil
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
