package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/server"
)

type loginCmd struct {
	local
	Host   []string `arg:"" optional:"" help:"Registry hosts to log in to (default: the server's own)."`
	Tool   string   `enum:"all,docker,podman,skopeo" default:"all" help:"Whose login to write: all, docker, podman or skopeo (podman, skopeo and buildah share theirs)."`
	Output string   `enum:"table,json" default:"table" help:"table or json."`
}

func (loginCmd) Help() string {
	return `Asks the server for a registry token, good for 12 hours, and stores it where docker, podman, skopeo, buildah
and crane look for logins.

Example:
  berth login
  docker push localhost:5100/team/app:1.0

skopeo and podman expect TLS, also of localhost. Without it, say --tls-verify=false with each command, or add to
/etc/containers/registries.conf:
  [[registry]]
  location = "localhost:5100"
  insecure = true`
}

// stored is one login that was written.
type stored struct {
	Host    string    `json:"host"`
	File    string    `json:"file"`
	Expires time.Time `json:"expires"`
}

// Run logs in.
func (c *loginCmd) Run(e *env) error {
	r, cred, err := c.open()
	if err != nil {
		return err
	}
	api, err := apiClient(r, cred)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
	defer cancel()
	out, err := api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return fmt.Errorf("ask the server at %s for a token: %w", r.Endpoint, err)
	}
	auth := out.AuthorizationData[0]
	hosts := c.Host
	if len(hosts) == 0 {
		hosts = []string{r.Registry}
	}
	var done []stored
	for _, host := range hosts {
		for _, file := range authFiles(c.Tool) {
			if err := storeLogin(file, host, aws.ToString(auth.AuthorizationToken)); err != nil {
				return err
			}
			done = append(done, stored{host, file, aws.ToTime(auth.ExpiresAt)})
		}
	}
	if c.Output == "json" {
		return printJSON(e.out, done)
	}
	rows := [][]string{{"REGISTRY", "STORED IN", "GOOD UNTIL"}}
	for _, d := range done {
		rows = append(rows, []string{d.Host, d.File, d.Expires.Local().Format("2006-01-02 15:04")})
	}
	return printTable(e.out, rows)
}

// httpClient makes a client that trusts a server's own CA.
func httpClient(r *server.Runtime) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32 // apply asks many things at a time
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}, nil
}

// apiClient makes an ECR client for a server of this machine.
func apiClient(r *server.Runtime, c *identity.Credentials) (*ecr.Client, error) {
	h, err := httpClient(r)
	if err != nil {
		return nil, err
	}
	return ecr.NewFromConfig(aws.Config{Region: r.Region, BaseEndpoint: aws.String(r.Endpoint), HTTPClient: h,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.Secret.Reveal(), "")}), nil
}

// authFiles are the files in which a tool looks for logins.
func authFiles(tool string) []string {
	var out []string
	home, _ := os.UserHomeDir()
	if tool == "all" || tool == "docker" {
		dir := os.Getenv("DOCKER_CONFIG")
		if dir == "" {
			dir = filepath.Join(home, ".docker")
		}
		out = append(out, filepath.Join(dir, "config.json"))
	}
	if tool != "docker" {
		file := os.Getenv("REGISTRY_AUTH_FILE")
		runtime := os.Getenv("XDG_RUNTIME_DIR")
		switch {
		case file != "":
		case runtime != "":
			file = filepath.Join(runtime, "containers", "auth.json")
		case os.Getuid() == 0:
			file = "/run/containers/0/auth.json"
		default:
			file = filepath.Join(home, ".config", "containers", "auth.json")
		}
		out = append(out, file)
	}
	return out
}

// storeLogin puts a login into a file that docker and its relatives read, and
// leaves everything else in it as it is. Where docker keeps logins in a
// credential store, docker stores it.
func storeLogin(file, host, token string) error {
	config := map[string]json.RawMessage{}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &config)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the logins in %s: %w", file, err)
	}
	var store string
	if raw, ok := config["credsStore"]; ok {
		_ = json.Unmarshal(raw, &store)
	}
	if store != "" {
		return dockerLogin(host, token)
	}
	auths := map[string]json.RawMessage{}
	if raw, ok := config["auths"]; ok {
		if err := json.Unmarshal(raw, &auths); err != nil {
			return fmt.Errorf("read the logins in %s: %w", file, err)
		}
	}
	auths[host] = json.RawMessage(`{"auth":"` + token + `"}`)
	if config["auths"], err = json.Marshal(auths); err != nil {
		return err
	}
	text, err := json.MarshalIndent(config, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".login-") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

func dockerLogin(host, token string) error {
	plain, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return err
	}
	_, password, _ := strings.Cut(string(plain), ":")
	cmd := exec.Command("docker", "login", "--username", identity.Username, "--password-stdin", host)
	cmd.Stdin = strings.NewReader(password)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker login %s: %w: %s", host, err, strings.TrimSpace(string(out)))
	}
	return nil
}
