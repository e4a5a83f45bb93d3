package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/server"
)

// local is what commands need to reach the server of a data directory.
type local struct {
	Data string `default:"./berth-data" type:"path" placeholder:"DIR" help:"Data directory of the server (${default})."`
}

// open reads the server's address and the root keys.
func (l *local) open() (*server.Runtime, *identity.Credentials, error) {
	r, err := server.ReadRuntime(l.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("no server has run on %s yet: start one with 'berth serve --data %s', or name its directory with --data", l.Data, l.Data)
	}
	if err != nil {
		return nil, nil, err
	}
	c, err := server.ReadCredentials(l.Data)
	if err != nil {
		return nil, nil, fmt.Errorf("read the root credentials: %w", err)
	}
	return r, c, nil
}

type envCmd struct {
	local
	Output string `enum:"shell,json" default:"shell" help:"shell (lines to eval) or json."`
}

func (envCmd) Help() string {
	return `Prints the address, keys and region for AWS clients, to be evaluated by a shell.

Example:
  eval "$(berth env)"
  aws ecr describe-repositories`
}

// Run prints export lines.
func (c *envCmd) Run(e *env) error {
	r, cred, err := c.open()
	if err != nil {
		return err
	}
	vars := map[string]string{"AWS_ENDPOINT_URL": r.Endpoint, "AWS_ACCESS_KEY_ID": cred.AccessKeyID, "AWS_SECRET_ACCESS_KEY": cred.Secret.Reveal(),
		"AWS_REGION": r.Region, "AWS_DEFAULT_REGION": r.Region, "BERTH_REGISTRY": r.Registry}
	if r.CA != "" {
		vars["AWS_CA_BUNDLE"] = r.CA
	}
	if c.Output == "json" {
		return printJSON(e.out, vars)
	}
	if v, old := oldAWSCLI(); old {
		fmt.Fprintf(e.errOut, "berth: the aws CLI here is %s, which ignores AWS_ENDPOINT_URL and would call AWS itself.\n"+
			"       Use 1.29 or 2.13 and later, or give --endpoint-url %s with every call.\n", v, r.Endpoint)
	}
	fmt.Fprintln(e.out, "unset AWS_SESSION_TOKEN AWS_PROFILE")
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(e.out, "export %s=%s\n", k, quote(vars[k]))
	}
	return nil
}

// quote makes a word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

var cliVersion = regexp.MustCompile(`aws-cli/(\d+)\.(\d+)\.(\d+)`)

// oldAWSCLI reports the installed aws CLI's version and whether it is one that
// ignores AWS_ENDPOINT_URL: 1 before 1.29, 2 before 2.13. "" without a CLI.
func oldAWSCLI() (version string, old bool) {
	out, err := exec.Command("aws", "--version").CombinedOutput()
	if err != nil {
		return "", false
	}
	m := cliVersion.FindStringSubmatch(string(out))
	if m == nil {
		return "", false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return m[1] + "." + m[2] + "." + m[3], major < 1 || major == 1 && minor < 29 || major == 2 && minor < 13
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
