package berth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"golang.org/x/sys/unix"

	"github.com/berth-registry/berth/internal/berthtest"
)

var (
	killRounds  = flag.Int("kill.rounds", 200, "rounds of TestKill")
	powerRounds = flag.Int("power.rounds", 3, "rounds of TestPowerCut")
	crashSeed   = flag.Uint64("crash.seed", uint64(time.Now().UnixNano()), "seed of the crash tests")
)

const (
	crashClients = 8
	maxRestart   = 2 * time.Second
	// leastAcknowledged is what a round must have acknowledged to prove anything.
	leastAcknowledged = 8
)

// ledger is what the server acknowledged: it must be there after any crash.
type ledger struct {
	mu     sync.Mutex
	blobs  map[string]content // digest
	images []pushed
}

// content can be made again from its seed.
type content struct {
	seed uint64
	size int
}

func (c content) bytes() []byte {
	b := make([]byte, c.size)
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(c.seed >> (8 * i))
	}
	rand.NewChaCha8(seed).Read(b)
	return b
}

type pushed struct {
	repo, tag string
	manifest  []byte
	layers    []string
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// crasher drives one server through a crash.
type crasher struct {
	url, auth string
	http      *http.Client
	ledger    *ledger
}

func newCrasher(t *testing.T, s *berthtest.Server, l *ledger) (*crasher, error) {
	t.Helper()
	out, err := s.ECR().GetAuthorizationToken(context.Background(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, err
	}
	return &crasher{s.Endpoint, "Basic " + aws.ToString(out.AuthorizationData[0].AuthorizationToken),
		&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * crashClients}, Timeout: 20 * time.Second}, l}, nil
}

func (c *crasher) do(method, path string, body []byte, contentType string) (*http.Response, []byte, error) {
	address := c.url + path
	r, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", c.auth)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, b, err
}

var errCrashed = errors.New("the server is gone")

// expect runs a request that must have this status, unless the server died.
func (c *crasher) expect(status int, method, path string, body []byte, contentType string) (*http.Response, error) {
	res, b, err := c.do(method, path, body, contentType)
	if err != nil {
		return nil, errCrashed
	}
	if res.StatusCode != status {
		return nil, fmt.Errorf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, status, b)
	}
	return res, nil
}

// pushBlob pushes in one of the ways that clients have.
func (c *crasher) pushBlob(r *rand.Rand, repo string, what content) (string, error) {
	b := what.bytes()
	d := digestOf(b)
	res, err := c.expect(202, "POST", "/v2/"+repo+"/blobs/uploads/", nil, "")
	if err != nil {
		return "", err
	}
	location := res.Header.Get("Location")
	if r.IntN(2) == 0 {
		cut := r.IntN(len(b))
		if _, err := c.expect(202, "PATCH", location, b[:cut], "application/octet-stream"); err != nil {
			return "", err
		}
		b = b[cut:]
	}
	if _, err := c.expect(201, "PUT", location+"?digest="+d, b, "application/octet-stream"); err != nil {
		return "", err
	}
	c.ledger.mu.Lock()
	c.ledger.blobs[repo+"@"+d] = what
	c.ledger.mu.Unlock()
	return d, nil
}

// client pushes images until the server dies; an unexpected answer is an error.
func (c *crasher) client(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; ; i++ {
		repo := fmt.Sprintf("crash/r%d", r.IntN(3))
		var layers []string
		var list []map[string]any
		for range 1 + r.IntN(3) {
			what := content{r.Uint64(), 1 + r.IntN(90_000)}
			if r.IntN(4) == 0 {
				what = content{uint64(r.IntN(20)), 50_000} // shared between clients
			}
			d, err := c.pushBlob(r, repo, what)
			if err != nil {
				return err
			}
			layers = append(layers, d)
			list = append(list, map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": d, "size": what.size})
		}
		m, err := json.Marshal(map[string]any{"schemaVersion": 2, "config": list[0], "layers": list[1:], "annotations": map[string]string{"n": fmt.Sprint(seed, i)}})
		if err != nil {
			return err
		}
		tag := fmt.Sprintf("t%d-%d", seed, i)
		if _, err := c.expect(201, "PUT", "/v2/"+repo+"/manifests/"+tag, m, "application/vnd.oci.image.manifest.v1+json"); err != nil {
			return err
		}
		c.ledger.mu.Lock()
		c.ledger.images = append(c.ledger.images, pushed{repo, tag, m, layers})
		c.ledger.mu.Unlock()
	}
}

// storm runs clients until crash, called after the time given, has killed the
// server.
func (c *crasher) storm(seed uint64, after time.Duration, crash func()) error {
	errs := make(chan error, crashClients)
	for i := range crashClients {
		go func() { errs <- c.client(seed + uint64(i)*1_000_003) }()
	}
	time.Sleep(after)
	crash()
	var out error
	for range crashClients {
		if err := <-errs; !errors.Is(err, errCrashed) {
			out = errors.Join(out, err)
		}
	}
	return out
}

// audit reads back everything acknowledged, and checks that everything listed is
// whole. It returns what is wrong.
//
// Listed images already in seen are not looked at again.
func (c *crasher) audit(l *ledger, seen map[string]bool) (wrong []string) {
	note := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for key, what := range l.blobs {
		repo, d, _ := strings.Cut(key, "@")
		res, b, err := c.do("GET", "/v2/"+repo+"/blobs/"+d, nil, "")
		if err != nil || res.StatusCode != 200 || digestOf(b) != d || len(b) != what.size {
			note("blob %s: acknowledged and not whole: %v %d bytes", key, status(res, err), len(b))
		}
	}
	for _, i := range l.images {
		for _, ref := range []string{i.tag, digestOf(i.manifest)} {
			res, b, err := c.do("GET", "/v2/"+i.repo+"/manifests/"+ref, nil, "")
			if err != nil || res.StatusCode != 200 || !bytes.Equal(b, i.manifest) {
				note("image %s:%s: acknowledged and not there: %v", i.repo, ref, status(res, err))
			}
		}
	}
	for n := range 3 {
		repo := fmt.Sprintf("crash/r%d", n)
		for _, tag := range c.tags(repo, note) {
			if !seen[repo+":"+tag] {
				c.whole(repo, tag, note)
				seen[repo+":"+tag] = true
			}
		}
	}
	return wrong
}

func status(res *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return res.Status
}

func (c *crasher) tags(repo string, note func(string, ...any)) (all []string) {
	for path := "/v2/" + repo + "/tags/list"; path != ""; {
		res, b, err := c.do("GET", path, nil, "")
		if err == nil && res.StatusCode == 404 && strings.Contains(string(b), "NAME_UNKNOWN") {
			return all // killed before anybody pushed there
		}
		var doc struct{ Tags []string }
		if err != nil || res.StatusCode != 200 || json.Unmarshal(b, &doc) != nil {
			note("tags of %s: %s", repo, status(res, err))
			return all
		}
		all = append(all, doc.Tags...)
		next, _, _ := strings.Cut(res.Header.Get("Link"), ";")
		path = strings.Trim(next, "<>")
	}
	return all
}

// whole checks that a listed image has everything it needs.
func (c *crasher) whole(repo, tag string, note func(string, ...any)) {
	res, b, err := c.do("GET", "/v2/"+repo+"/manifests/"+tag, nil, "")
	var m struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	if err != nil || res.StatusCode != 200 || json.Unmarshal(b, &m) != nil || digestOf(b) != res.Header.Get("Docker-Content-Digest") {
		note("%s:%s is listed and not there: %s", repo, tag, status(res, err))
		return
	}
	for _, d := range append(m.Layers, m.Config) {
		res, _, err := c.do("HEAD", "/v2/"+repo+"/blobs/"+d.Digest, nil, "")
		if err != nil || res.StatusCode != 200 {
			note("%s:%s is listed and lacks %s: %s", repo, tag, d.Digest, status(res, err))
		}
	}
}

func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.blobs) + len(l.images)
}

// TestKill kills the server at random moments of mixed pushes. Everything
// acknowledged must read back byte for byte, nothing half-made may show, and the
// server must be back in two seconds.
func TestKill(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	t.Logf("seed %d", *crashSeed)
	r := rand.New(rand.NewPCG(*crashSeed, 7))
	all := &ledger{blobs: map[string]content{}}
	binary := berthtest.Binary(t)
	var worst time.Duration
	seen := map[string]bool{}
	start := func() *berthtest.Server {
		began := time.Now()
		s, err := berthtest.StartBinary(binary, data, "--access-log", "off")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > worst {
			worst = took
		}
		return s
	}
	s := start()
	s.CreateOnPush(t)
	for round, idle := 0, 0; round < *killRounds; {
		l := &ledger{blobs: map[string]content{}}
		c, err := newCrasher(t, s, l)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.storm(r.Uint64(), time.Duration(60+r.IntN(250))*time.Millisecond, s.Kill); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, s.Log())
		}
		n := l.size()
		if n < leastAcknowledged { // the disk stood still for as long as the round was: it does not count
			if idle++; idle > *killRounds/50 {
				t.Fatalf("round %d acknowledged only %d pushes, which proves nothing, as did %d before", round, n, idle-1)
			}
		}
		if round%5 == 4 { // a crash during recovery
			s = start()
			time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
			s.Kill()
		}
		s = start()
		if c, err = newCrasher(t, s, l); err != nil {
			t.Fatal(err)
		}
		if wrong := c.audit(l, seen); len(wrong) > 0 {
			s.Stop()
			t.Fatalf("round %d, %d findings, the first: %s\n%s", round, len(wrong), wrong[0], s.Log())
		}
		for k, v := range l.blobs {
			all.blobs[k] = v
		}
		all.images = append(all.images, l.images...)
		if len(all.images) > 3000 { // reading all of it every round would take over; keep a part for the end
			all.images = all.images[len(all.images)-1500:]
		}
		if n >= leastAcknowledged {
			round++
		}
	}
	defer s.Stop()
	c, err := newCrasher(t, s, all)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := c.audit(all, map[string]bool{}); len(wrong) > 0 {
		t.Errorf("at the end, %d findings, the first: %s", len(wrong), wrong[0])
	}
	if worst > maxRestart {
		t.Errorf("a restart took %v, want under %v", worst, maxRestart)
	}
	t.Logf("%d rounds, %d blobs and images acknowledged and read back, slowest restart %v", *killRounds, all.size(), worst)
}

// fsShutdown is FS_IOC_SHUTDOWN with the flag that does not flush the journal:
// what a power cut does to a file system.
const fsShutdown, noLogFlush = 0x8004587d, 2

// TestPowerCut cuts the power of a real ext4 file system under a working server.
// Its control runs with every flush turned into a lie and must lose data, or the
// test proves nothing.
func TestPowerCut(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("cutting the power of a file system needs root, for a loop device")
		}
		t.Skip("cutting the power of a file system needs root, for a loop device")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount", "strace"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the test needs %s", tool)
		}
	}
	for round := range *powerRounds {
		if acked, wrong, err := cutPower(t, *crashSeed+uint64(round), nil); err != nil || len(wrong) > 0 {
			t.Fatalf("round %d: %v; %d findings of %d: %.300v", round, err, len(wrong), acked, wrong)
		} else if acked < leastAcknowledged {
			t.Fatalf("round %d acknowledged only %d pushes, which proves nothing", round, acked)
		}
	}
	lie := []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:retval=0"}
	acked, wrong, err := cutPower(t, *crashSeed, lie)
	if acked < leastAcknowledged {
		t.Fatalf("the control acknowledged only %d pushes: %v", acked, err)
	}
	if err == nil && len(wrong) == 0 {
		t.Errorf("with flushes turned into lies nothing was lost: the test cannot see a missing flush")
	}
	t.Logf("%d power cuts without a loss; the control lost %d of %d (%v)", *powerRounds, len(wrong), acked, err)
}

// allStopped reports whether every thread of a process has stopped.
func allStopped(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "t") {
			return false
		}
	}
	return true
}

// cutPower runs one round on a fresh file system. An error is a server that does
// not come back.
func cutPower(t *testing.T, seed uint64, wrap []string) (acked int, wrong []string, err error) {
	t.Helper()
	dir := t.TempDir()
	image, mnt := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", image)
	mount := func() { t.Helper(); run("mount", "-o", "loop,commit=300,noauto_da_alloc", image, mnt) }
	mount()
	mounted := true
	defer func() {
		if mounted {
			run("umount", mnt)
		}
	}()
	data := filepath.Join(mnt, "data")
	s, err := berthtest.StartWrapped(wrap, berthtest.Binary(t), data, "--access-log", "off")
	if err != nil {
		t.Fatal(err)
	}
	s.CreateOnPush(t)
	l := &ledger{blobs: map[string]content{}}
	c, err := newCrasher(t, s, l)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(mnt)
	if err != nil {
		t.Fatal(err)
	}
	crash := func() {
		// First no new acknowledgement can be counted that the disk did not have.
		_ = syscall.Kill(-s.PID(), syscall.SIGSTOP)
		for range 200 { // a thread in a flush stops after it, not in it
			if allStopped(s.PID()) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := unix.IoctlSetPointerInt(int(root.Fd()), fsShutdown, noLogFlush); err != nil {
			t.Errorf("FS_IOC_SHUTDOWN: %v", err)
		}
		s.Kill()
	}
	stormErr := c.storm(seed, time.Duration(400+seed%400)*time.Millisecond, crash)
	root.Close()
	run("umount", mnt)
	mounted = false
	mount()
	mounted = true
	acked = l.size()
	s, err = berthtest.StartBinary(berthtest.Binary(t), data, "--access-log", "off")
	if err != nil {
		return acked, nil, err
	}
	defer s.Stop()
	if c, err = newCrasher(t, s, l); err != nil {
		return acked, nil, err
	}
	return acked, c.audit(l, map[string]bool{}), stormErr
}
