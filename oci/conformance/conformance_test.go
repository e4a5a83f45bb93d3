package conformance_test

import (
	"encoding/base64"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"net/http"

	"github.com/berth-registry/berth/internal/berthtest"
	"github.com/berth-registry/berth/oci/conformance"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

var (
	target     = flag.String("url", "", "registry to test, scheme://host:port, in place of berth")
	repository = flag.String("repository", "conformance/one", "repository to push to")
	other      = flag.String("other", "conformance/two", "repository to mount from")
	user       = flag.String("user", "", "user name for Basic authentication")
	password   = flag.String("password", "", "password")
)

func TestMain(m *testing.M) { os.Exit(berthtest.Main(m)) }

func TestConformance(t *testing.T) {
	if *target != "" {
		c := conformance.Target{URL: *target, Repository: *repository, Other: *other}
		if *user != "" {
			c.Authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(*user+":"+*password))
		}
		conformance.Run(t, c)
		return
	}
	for name, flags := range map[string][]string{"sqlite": nil, "postgres": {"--db", sqldbtest.PostgresURL(t)}} {
		t.Run(name, func(t *testing.T) {
			s := berthtest.Start(t, filepath.Join(t.TempDir(), "data"), flags...)
			s.CreateOnPush(t)
			conformance.Run(t, conformance.Target{URL: s.Endpoint, Authorization: "Basic " + s.Token(t), Repository: *repository, Other: *other, Basic: true})
		})
	}
}

// TestSuiteCanFail runs the suite against Debian's docker-registry, which predates
// parts of the specification: a suite that finds nothing there proves nothing.
func TestSuiteCanFail(t *testing.T) {
	binary, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Fatal("docker-registry is needed to see that the suite can fail; on Debian: apt-get install docker-registry")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " + dir + "/data}, delete: {enabled: true}}\nhttp: {addr: 127.0.0.1:5199}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for i := 0; ; i++ {
		if res, err := http.Get("http://127.0.0.1:5199/v2/"); err == nil {
			res.Body.Close()
			break
		} else if i > 100 {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	out, err := exec.Command(os.Args[0], "-test.run", "^TestConformance$", "-test.v", "-url", "http://127.0.0.1:5199").CombinedOutput()
	if err == nil {
		t.Errorf("docker-registry 2.8 passes, though it has no referrers:\n%s", out)
	}
	for _, want := range []string{"--- PASS: TestConformance/end-1_ping", "--- PASS: TestConformance/end-4a_end-6_push_in_two_requests", "--- FAIL: TestConformance/end-12_referrers"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
