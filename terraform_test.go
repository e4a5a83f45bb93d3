package berth_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/internal/berthtest"
)

// TestTerraform applies testdata/terraform with terraform and its AWS provider,
// plans again (nothing may be left to do) and destroys everything. No package
// source offers the provider, so this runs where both are found: terraform on PATH,
// the provider in a mirror (findPlugins).
func TestTerraform(t *testing.T) {
	plugins := findPlugins()
	if _, err := exec.LookPath("terraform"); err != nil || plugins == "" {
		fmt.Println("terraform with its AWS provider is not on this machine: TestTerraform did not run")
		t.Skip("no terraform with an AWS provider")
	}
	s := berthtest.Start(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	text, err := os.ReadFile("testdata/terraform/identity.tf")
	if err != nil {
		t.Fatal(err)
	}
	rc := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", plugins)
	for name, content := range map[string]string{"main.tf": string(text), "cli.rc": rc} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	terraform := func(want int, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "terraform", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+filepath.Join(dir, "cli.rc"), "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "TF_VAR_endpoint="+s.Endpoint)
		for k, v := range s.Env {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Fatalf("terraform %s: exit %d, want %d\n%s", strings.Join(args, " "), code, want, out)
		}
	}
	terraform(0, "init", "-input=false")
	terraform(0, "apply", "-auto-approve", "-input=false")
	terraform(0, "plan", "-detailed-exitcode", "-input=false")
	terraform(0, "destroy", "-auto-approve", "-input=false")
	cfg := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(s.Endpoint), Credentials: credentials.NewStaticCredentialsProvider(s.Env["AWS_ACCESS_KEY_ID"], s.Env["AWS_SECRET_ACCESS_KEY"], "")}
	api := iam.NewFromConfig(cfg)
	users, err1 := api.ListUsers(t.Context(), &iam.ListUsersInput{})
	roles, err2 := api.ListRoles(t.Context(), &iam.ListRolesInput{})
	groups, err3 := api.ListGroups(t.Context(), &iam.ListGroupsInput{})
	policies, err4 := api.ListPolicies(t.Context(), &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal})
	providers, err5 := api.ListOpenIDConnectProviders(t.Context(), &iam.ListOpenIDConnectProvidersInput{})
	repositories, err6 := ecr.NewFromConfig(cfg).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(users.Users) + len(roles.Roles) + len(groups.Groups) + len(policies.Policies) + len(providers.OpenIDConnectProviderList) + len(repositories.Repositories); n != 0 {
		t.Errorf("%d things are left after destroy", n)
	}
}

// findPlugins finds a mirror of providers that has AWS's: the one that
// BERTH_TERRAFORM_PLUGINS names, one of terraform's own places, or one under /opt.
func findPlugins() string {
	home, _ := os.UserHomeDir()
	for _, place := range []string{os.Getenv("BERTH_TERRAFORM_PLUGINS"), filepath.Join(home, ".terraform.d", "plugins"), "/usr/local/share/terraform/plugins",
		"/usr/share/terraform/plugins", "/opt/*"} {
		if found, _ := filepath.Glob(filepath.Join(place, "*", "hashicorp", "aws", "*")); place != "" && len(found) > 0 {
			return filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(found[0]))))
		}
	}
	return ""
}
