package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/server"
)

type doctorCmd struct {
	local
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (doctorCmd) Help() string {
	return `Checks that the server answers, that this machine's clock and names fit, and that the clients found here are set
up for it. Ends with 1 when something is wrong; warnings do not count.

Example:
  berth doctor --output json`
}

// finding is one line of the doctor's report.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warning, failed
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

func ok(check, found string) finding { return finding{check, "ok", found, ""} }
func warning(check, found, advice string) finding {
	return finding{check, "warning", found, advice}
}
func failed(check, found, advice string) finding { return finding{check, "failed", found, advice} }

// Run checks everything and reports.
func (c *doctorCmd) Run(e *env) error {
	var report []finding
	r, cred, err := c.open()
	if err != nil {
		report = append(report, failed("data directory", err.Error(), "start a server, or name its directory with --data"))
	} else {
		report = append(report, ok("data directory", c.Data))
		report = append(report, checkServer(e.ctx, r, cred)...)
		report = append(report, checkRoles(e.ctx, r, cred)...)
		report = append(report, checkName(e.ctx, r))
		report = append(report, checkEnvironment(r, cred))
		report = append(report, checkTools(e.ctx, r)...)
		report = append(report, checkFunctions()...)
	}
	if c.Output == "json" {
		if err := printJSON(e.out, report); err != nil {
			return err
		}
	} else {
		rows := [][]string{{"CHECK", "STATUS", "FOUND", "WHAT TO DO"}}
		for _, f := range report {
			rows = append(rows, []string{f.Check, f.Status, f.Found, f.Advice})
		}
		if err := printTable(e.out, rows); err != nil {
			return err
		}
	}
	for _, f := range report {
		if f.Status == "failed" {
			return exitError(1)
		}
	}
	return nil
}

// maxSkew is how far the clocks may be apart before signatures get near their
// limit of 15 minutes.
const maxSkew = 5 * time.Minute

func checkServer(ctx context.Context, r *server.Runtime, cred *identity.Credentials) []finding {
	api, err := apiClient(r, cred)
	if err != nil {
		return []finding{failed("server", err.Error(), "check the CA file of --tls auto")}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := api.DescribeRegistry(ctx, &ecr.DescribeRegistryInput{}, func(o *ecr.Options) { o.RetryMaxAttempts = 1 })
	if err != nil {
		return []finding{failed("server", fmt.Sprintf("%s: %v", r.Endpoint, err), "is it running? start it with berth serve")}
	}
	report := []finding{ok("server", fmt.Sprintf("%s, account %s", r.Endpoint, *out.RegistryId)), ok("credentials", cred.AccessKeyID)}
	if raw, isHTTP := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response); isHTTP {
		if t, err := http.ParseTime(raw.Header.Get("Date")); err == nil {
			if skew := time.Since(t).Abs().Round(time.Second); skew > maxSkew {
				report = append(report, warning("clock", fmt.Sprintf("%s apart from the server's", skew), "set the clock; signatures fail at 15 minutes"))
			} else {
				report = append(report, ok("clock", "agrees with the server's"))
			}
		}
	}
	return report
}

func checkName(ctx context.Context, r *server.Runtime) finding {
	host, _, err := net.SplitHostPort(r.Registry)
	if err != nil {
		host = r.Registry
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return failed("name", fmt.Sprintf("%s does not resolve", host), "add it to DNS or /etc/hosts, or use --advertise with a name that does")
	}
	return ok("name", host+" is "+strings.Join(addrs, ", "))
}

func checkEnvironment(r *server.Runtime, cred *identity.Credentials) finding {
	switch {
	case os.Getenv("AWS_ENDPOINT_URL") != r.Endpoint:
		return warning("environment", "AWS_ENDPOINT_URL is not "+r.Endpoint, `eval "$(berth env)"`)
	case os.Getenv("AWS_ACCESS_KEY_ID") != cred.AccessKeyID:
		return warning("environment", "AWS_ACCESS_KEY_ID is not the root's key", `eval "$(berth env)" to act as root`)
	case os.Getenv("AWS_SESSION_TOKEN") != "":
		return warning("environment", "AWS_SESSION_TOKEN is set beside a key that has none", "unset AWS_SESSION_TOKEN")
	}
	return ok("environment", "AWS_ENDPOINT_URL and keys are set")
}

// checkTools looks at each client that is installed.
func checkTools(ctx context.Context, r *server.Runtime) []finding {
	var report []finding
	plain := strings.HasPrefix(r.Endpoint, "http://")
	switch v, old := oldAWSCLI(); {
	case v == "":
		report = append(report, warning("aws CLI", "not installed", "berth login works without it"))
	case old:
		report = append(report, warning("aws CLI", v+" ignores AWS_ENDPOINT_URL and would call AWS itself", "use 1.29 or 2.13 and later, or --endpoint-url "+r.Endpoint))
	default:
		report = append(report, ok("aws CLI", v))
	}
	report = append(report, checkDocker(ctx))
	for _, tool := range []string{"podman", "skopeo"} {
		if _, err := exec.LookPath(tool); err != nil {
			continue
		}
		if plain && !insecureRegistry(r.Registry) {
			report = append(report, warning(tool, "expects TLS of "+r.Registry, "use --tls-verify=false, an insecure entry in registries.conf, or serve --tls auto"))
			continue
		}
		report = append(report, ok(tool, "installed"))
	}
	report = append(report, checkLogins(r))
	return report
}

func checkDocker(ctx context.Context) finding {
	if _, err := exec.LookPath("docker"); err != nil {
		return warning("docker", "not installed", "podman, skopeo and crane work as well")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return warning("docker", "the engine does not answer: "+first, "start the docker engine")
	}
	return ok("docker", "engine "+strings.TrimSpace(string(out)))
}

// insecureRegistry reports whether registries.conf mentions the host at all as
// insecure; it does not follow every rule of the format.
func insecureRegistry(host string) bool {
	for _, file := range []string{"/etc/containers/registries.conf", os.ExpandEnv("$HOME/.config/containers/registries.conf")} {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), `"`+host+`"`) && strings.Contains(string(b), "insecure") {
			return true
		}
	}
	return false
}

func checkLogins(r *server.Runtime) finding {
	for _, file := range authFiles("all") {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var config struct {
			Auths map[string]json.RawMessage `json:"auths"`
		}
		if json.Unmarshal(b, &config) == nil && config.Auths[r.Registry] != nil {
			return ok("login", "found in "+file)
		}
	}
	return warning("login", "no login for "+r.Registry, "berth login")
}

// checkRoles tells of roles whose trust is wider than it looks.
func checkRoles(ctx context.Context, r *server.Runtime, cred *identity.Credentials) []finding {
	h, err := httpClient(r)
	if err != nil {
		return nil // checkServer says why
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	api := &client{h, r, aws.Credentials{AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.Secret.Reveal()}}
	var out struct{ Warnings []identity.Warning }
	if _, err := api.call(ctx, "ReviewRoles", map[string]any{}, &out); err != nil {
		return nil
	}
	if len(out.Warnings) == 0 {
		return []finding{ok("roles", "none trusts more than it looks")}
	}
	var list []finding
	for _, w := range out.Warnings {
		list = append(list, warning("role", w.Role+": "+w.Text, "see docs/access.md"))
	}
	return list
}

// checkFunctions looks for what functions need on the server's host, if this is it.
func checkFunctions() []finding {
	dir, err := os.MkdirTemp("", "berth-doctor-")
	if err != nil {
		return []finding{warning("functions", err.Error(), "")}
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // sandboxes of other users read what is in it
		return []finding{warning("functions", err.Error(), "")}
	}
	box, err := worker.NewBox(dir, worker.BoxOptions{})
	if err == nil {
		err = box.Prepare()
	}
	if err != nil {
		return []finding{warning("functions", "no sandbox", strings.TrimPrefix(err.Error(), worker.ErrNoSandbox.Error()+": "))}
	}
	out := []finding{ok("functions", "a sandbox; provided runtimes")}
	for _, runtime := range []string{"python3.12", "nodejs20.x"} {
		if err := box.Check(runtime); err != nil {
			out = append(out, warning("functions", runtime+" cannot run", err.Error()))
		} else {
			out = append(out, ok("functions", runtime))
		}
	}
	return out
}
