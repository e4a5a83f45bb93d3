package berth_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-registry/berth/internal/berthtest"
)

func TestMain(m *testing.M) { os.Exit(berthtest.Main(m)) }

// tools are the clients that the stories use, with where to get them. A missing
// one fails the stories: nothing is skipped.
var tools = map[string]string{
	"aws":     "scripts/test-tools installs it",
	"skopeo":  "apt-get install skopeo",
	"podman":  "apt-get install podman",
	"buildah": "apt-get install buildah",
	"docker":  "apt-get install docker.io",
	"dockerd": "apt-get install docker.io",
	"crane":   "scripts/test-tools installs it",
	"regctl":  "scripts/test-tools installs it",
	"curl":    "apt-get install curl",
	"jq":      "apt-get install jq",
	"bwrap":   "apt-get install bubblewrap",
	"node":    "apt-get install nodejs",
}

// TestStories runs every file of testdata/script: what users do, with the clients
// they use, against the real binary.
//
// Further commands of a story:
//
//	berth-start [FLAG...]   runs berth serve, sets AWS_… and HOST=localhost:PORT
//	berth-kill              kills it with SIGKILL
//	berth-stop              stops it with SIGTERM
//	server-log [PATTERN...] writes what the server has logged to server.log, once it has all that
//	berth-other             runs a second server, whose root is the profile other
//	image DIR TAG SEED N    writes an OCI layout with an image of N layers
//	dockerd                 starts a docker engine for the story, sets DOCKER_HOST
//	act-as FILE|root        uses the credentials that a command printed
//	oidc-issuer FILE        makes an identity provider and writes its key set
//	oidc-token FILE K=V...  writes a token of it, as GitHub's issuer
//	github-workflow FILE    runs the workflow in a document, as GitHub would for its repository
//	request-id              sets REQUEST to the id in the denial printed last
//	zip FILE NAME=SOURCE... writes an archive of a function's code
//	go-function FILE NAME   builds a function of testdata/functions into an archive
//	upload-start REPO, upload-part FROM FILE, upload-finish FILE   drive one upload by hand
func TestStories(t *testing.T) {
	path := filepath.Join(berthtest.Root(), "bin", "tools") + ":" + os.Getenv("PATH")
	t.Setenv("PATH", path)
	for tool, how := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Errorf("the stories need %s: %s", tool, how)
		}
	}
	if out, err := exec.Command("aws", "--version").CombinedOutput(); err != nil || oldCLI(string(out)) {
		t.Errorf("the stories need an aws CLI that knows AWS_ENDPOINT_URL (1.29 or 2.13 and later), this one is %s", out)
	}
	if t.Failed() {
		return
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			state := &story{binary: berthtest.Binary(t)}
			e.Values["story"] = state
			e.Defer(state.end)
			home := filepath.Join(e.WorkDir, "home")
			for _, kv := range [][2]string{{"PATH", filepath.Dir(state.binary) + ":" + path}, {"HOME", home}, {"DOCKER_CONFIG", filepath.Join(home, ".docker")},
				{"REGISTRY_AUTH_FILE", filepath.Join(home, "auth.json")}, {"BERTH", state.binary}, {"DATA", filepath.Join(e.WorkDir, "data")},
				{"BERTH_DATA", filepath.Join(e.WorkDir, "data")}, {"ROOT", berthtest.Root()},
				{"AWS_PAGER", ""}, {"AWS_EC2_METADATA_DISABLED", "true"}, {"STORAGE_DRIVER", "vfs"}, {"BUILDAH_ISOLATION", "chroot"}} {
				e.Setenv(kv[0], kv[1])
			}
			for _, dir := range []string{".docker", ".config/containers"} {
				if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(home, ".config/containers/policy.json"), []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"berth-start": berthStart, "berth-kill": berthKill, "berth-stop": berthStop, "berth-other": berthOther, "server-log": serverLog, "image": writeImage, "dockerd": startDocker,
			"upload-start": uploadStart, "upload-part": uploadPart, "upload-finish": uploadFinish,
			"act-as": actAs, "zip": writeZip, "go-function": goFunction, "oidc-issuer": oidcIssuer, "oidc-token": oidcToken, "github-workflow": githubWorkflow, "request-id": requestID,
		},
	})
}

func oldCLI(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "aws-cli/%d.%d", &major, &minor); err != nil {
		return true
	}
	return major == 1 && minor < 29 || major == 2 && minor < 13
}

// story is what a running script owns.
type story struct {
	binary   string
	server   *berthtest.Server
	other    *berthtest.Server
	port     string
	docker   *exec.Cmd
	location string
	issuer   *rsa.PrivateKey
}

func (s *story) end() {
	if s.server != nil {
		s.server.Stop()
	}
	if s.other != nil {
		s.other.Stop()
	}
	if s.docker != nil {
		_ = s.docker.Process.Signal(os.Interrupt)
		_ = s.docker.Wait()
	}
}

func of(ts *testscript.TestScript) *story { return ts.Value("story").(*story) }

func berthStart(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	flags := args
	if s.port != "" { // a restart keeps its address
		flags = append([]string{"--listen", "127.0.0.1:" + s.port}, args...)
	}
	server, err := berthtest.StartBinary(s.binary, ts.Getenv("DATA"), flags...)
	ts.Check(err)
	s.server = server
	_, s.port, _ = strings.Cut(server.Host, ":")
	for k, v := range server.Env {
		ts.Setenv(k, v)
	}
	ts.Setenv("HOST", "localhost:"+s.port)
	ts.Setenv("ENDPOINT", server.Endpoint)
}

// berthOther starts another server and writes an AWS profile for it.
func berthOther(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	server, err := berthtest.StartBinary(s.binary, ts.MkAbs("other-data"), args...)
	ts.Check(err)
	s.other = server
	file := ts.MkAbs("aws.config")
	ts.Check(os.WriteFile(file, []byte(fmt.Sprintf("[profile other]\naws_access_key_id = %s\naws_secret_access_key = %s\nregion = us-east-1\nendpoint_url = %s\n",
		server.Env["AWS_ACCESS_KEY_ID"], server.Env["AWS_SECRET_ACCESS_KEY"], server.Endpoint)), 0o600))
	ts.Setenv("AWS_CONFIG_FILE", file)
	ts.Setenv("OTHER", server.Endpoint)
}

func berthKill(ts *testscript.TestScript, _ bool, _ []string) { of(ts).server.Kill() }

func berthStop(ts *testscript.TestScript, _ bool, _ []string) { of(ts).server.Stop() }

func serverLog(ts *testscript.TestScript, _ bool, args []string) {
	for range 200 {
		log := of(ts).server.Log()
		if !slices.ContainsFunc(args, func(pattern string) bool { return !regexp.MustCompile(pattern).MatchString(log) }) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Check(os.WriteFile(ts.MkAbs("server.log"), []byte(of(ts).server.Log()), 0o600))
}

// writeImage makes an OCI layout of one small image, the same for the same seed.
func writeImage(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: image DIR TAG SEED LAYERS")
	}
	dir, tag := ts.MkAbs(args[0]), args[1]
	seed, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	layers, err := strconv.Atoi(args[3])
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755))
	put := func(b []byte, mediaType string) map[string]any {
		sum := fmt.Sprintf("%x", sha256.Sum256(b))
		ts.Check(os.WriteFile(filepath.Join(dir, "blobs", "sha256", sum), b, 0o644))
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(b)}
	}
	random := rand.NewChaCha8([32]byte{byte(seed)})
	var diffs []string
	var list []any
	for i := range layers {
		content := make([]byte, 2000*(i*i*40+1))
		random.Read(content)
		var raw, zipped bytes.Buffer
		tw := tar.NewWriter(&raw)
		ts.Check(tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("file%d", i), Mode: 0o644, Size: int64(len(content))}))
		_, err := tw.Write(content)
		ts.Check(err)
		ts.Check(tw.Close())
		gz := gzip.NewWriter(&zipped)
		_, err = gz.Write(raw.Bytes())
		ts.Check(err)
		ts.Check(gz.Close())
		diffs = append(diffs, fmt.Sprintf("sha256:%x", sha256.Sum256(raw.Bytes())))
		list = append(list, put(zipped.Bytes(), "application/vnd.oci.image.layer.v1.tar+gzip"))
	}
	marshal := func(v any) []byte {
		b, err := json.Marshal(v)
		ts.Check(err)
		return b
	}
	config := put(marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/file0"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}, "created": time.Unix(int64(seed), 0).UTC()}), "application/vnd.oci.image.config.v1+json")
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	m := put(marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": list}), manifestType)
	m["annotations"] = map[string]string{"org.opencontainers.image.ref.name": tag}
	ts.Check(os.WriteFile(filepath.Join(dir, "index.json"), marshal(map[string]any{"schemaVersion": 2, "manifests": []any{m}}), 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	ts.Setenv("DIGEST", m["digest"].(string))
}

// startDocker runs an engine of the story's own: no network, no privileges beyond
// root.
func startDocker(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	dir, err := os.MkdirTemp("", "bd") // a socket's path must be short
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	socket := "unix://" + dir + "/s"
	s.docker = exec.Command("dockerd", "--storage-driver=vfs", "--bridge=none", "--iptables=false", "--host", socket,
		"--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid")
	log, err := os.Create(filepath.Join(ts.Getenv("WORK"), "dockerd.log"))
	ts.Check(err)
	s.docker.Stdout, s.docker.Stderr = log, log
	ts.Check(s.docker.Start())
	ts.Setenv("DOCKER_HOST", socket)
	for range 300 {
		if exec.Command("docker", "--host", socket, "info").Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("dockerd did not start: %s", ts.ReadFile("dockerd.log"))
}

var uploadClient = sync.OnceValue(func() *http.Client { return &http.Client{Timeout: 20 * time.Second} })

func (s *story) request(ts *testscript.TestScript, method, address string, body []byte, headers ...string) *http.Response {
	r, err := http.NewRequest(method, address, bytes.NewReader(body))
	ts.Check(err)
	auth := ts.ReadFile("token")
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("AWS:"+strings.TrimSpace(auth))))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := uploadClient().Do(r)
	ts.Check(err)
	res.Body.Close()
	if l := res.Header.Get("Location"); l != "" {
		s.location = ts.Getenv("ENDPOINT") + l
	}
	return res
}

// uploadStart begins an upload with the password in the file "token".
func uploadStart(ts *testscript.TestScript, _ bool, args []string) {
	if res := of(ts).request(ts, "POST", ts.Getenv("ENDPOINT")+"/v2/"+args[0]+"/blobs/uploads/", nil); res.StatusCode != 202 {
		ts.Fatalf("status %d", res.StatusCode)
	}
}

// uploadPart sends a file from an offset on; with !, it must be refused.
func uploadPart(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	body := []byte(ts.ReadFile(args[1]))
	from, err := strconv.Atoi(args[0])
	ts.Check(err)
	res := s.request(ts, "PATCH", s.location, body, "Content-Range", fmt.Sprintf("%d-%d", from, from+len(body)-1), "Content-Type", "application/octet-stream")
	ts.Logf("status %d, range %s", res.StatusCode, res.Header.Get("Range"))
	if (res.StatusCode == 202) == neg {
		ts.Fatalf("status %d", res.StatusCode)
	}
}

// uploadFinish ends the upload, whose whole content is that of the files.
func uploadFinish(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	h := sha256.New()
	for _, a := range args {
		h.Write([]byte(ts.ReadFile(a)))
	}
	digest := fmt.Sprintf("sha256:%x", h.Sum(nil))
	if res := s.request(ts, "PUT", s.location+"?digest="+digest, nil); res.StatusCode != 201 {
		ts.Fatalf("status %d", res.StatusCode)
	}
	ts.Setenv("DIGEST", digest)
}
