package berth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/berth-registry/berth/internal/berthtest"
)

// TestTerraform applies the configurations of testdata/terraform with terraform and its
// AWS provider, uses what they made, plans again (nothing may be left to do) and destroys
// everything. No package source offers the provider, so this runs where both are found:
// terraform on PATH, the provider in a mirror (findPlugins).
func TestTerraform(t *testing.T) {
	plugins := findPlugins()
	if _, err := exec.LookPath("terraform"); err != nil || plugins == "" {
		fmt.Println("terraform with its AWS provider is not on this machine: TestTerraform did not run")
		t.Skip("no terraform with an AWS provider")
	}
	nothing := func(*testing.T, *terraformed) {}
	for name, use := range map[string]func(*testing.T, *terraformed){"identity": nothing, "create-on-push": pushToModule, "ecr-repos": sameAsNative} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t, berthtest.Start(t, filepath.Join(t.TempDir(), "data")), plugins, name)
			c.run(0, "init", "-input=false")
			c.run(0, "apply", "-auto-approve", "-input=false")
			use(t, c)
			c.run(0, "plan", "-detailed-exitcode", "-input=false")
			c.run(0, "destroy", "-auto-approve", "-input=false")
			nothingLeft(t, c.server)
		})
	}
}

// terraformed is a server and a configuration that is applied to it.
type terraformed struct {
	server *berthtest.Server
	dir    string
	run    func(want int, args ...string) // runs terraform, given the exit status to expect
}

// configuration prepares a directory with a configuration and the modules of ours.
func configuration(t *testing.T, s *berthtest.Server, plugins, name string) *terraformed {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("testdata/terraform/" + name + ".tf")
	if err != nil {
		t.Fatal(err)
	}
	rc := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", plugins)
	for file, content := range map[string]string{"main.tf": string(text), "cli.rc": rc} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(dir, os.DirFS("deploy/terraform")); err != nil {
		t.Fatal(err)
	}
	return &terraformed{s, dir, func(want int, args ...string) {
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
	}}
}

func config(s *berthtest.Server) aws.Config {
	return aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(s.Endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(s.Env["AWS_ACCESS_KEY_ID"], s.Env["AWS_SECRET_ACCESS_KEY"], "")}
}

// pushToModule pushes to a repository that the module's function makes, and removes it.
func pushToModule(t *testing.T, c *terraformed) {
	t.Helper()
	s := c.server
	client := ecr.NewFromConfig(config(s))
	up, err := client.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: aws.String("team/made")})
	if err != nil || aws.ToString(up.UploadId) == "" {
		t.Fatalf("the first push: %v", err)
	}
	d, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"team/made"}})
	if err != nil || d.Repositories[0].ImageTagMutability != "IMMUTABLE" || !d.Repositories[0].ImageScanningConfiguration.ScanOnPush {
		t.Errorf("%+v %v", d, err)
	}
	pushAround(t, s)
	var missing *ecrtypes.RepositoryNotFoundException
	if _, err := client.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: aws.String("other/made")}); !errors.As(err, &missing) {
		t.Errorf("a name that the module does not cover: %v", err)
	}
	found, err := cloudwatchlogs.NewFromConfig(config(s)).FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/ecr-create-on-push"),
		FilterPattern: aws.String(`"created team/made repository"`)})
	if err != nil || len(found.Events) != 1 {
		t.Errorf("the function's log: %v %v", found, err)
	}
	all, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(all.Repositories) != 4 {
		t.Errorf("%d repositories: %v", len(all.Repositories), err)
	}
	for _, r := range all.Repositories {
		if _, err := client.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: r.RepositoryName, Force: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// pushAround pushes an image of several layers to names that do not exist, with each
// client at hand that needs no engine.
func pushAround(t *testing.T, s *berthtest.Server) {
	t.Helper()
	dir, host := t.TempDir(), "localhost:"+s.Host[strings.LastIndexByte(s.Host, ':')+1:]
	var layers []string
	for i := range 4 {
		file := filepath.Join(dir, fmt.Sprint("layer", i))
		if err := os.WriteFile(file, bytes.Repeat([]byte{byte(i)}, 1000*(i+1)), 0o600); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, fmt.Sprintf("tar -cf layer%[1]d.tar layer%[1]d", i))
	}
	script := strings.Join(layers, " && ") + ` && crane append --oci-empty-base -f layer0.tar -f layer1.tar -f layer2.tar -f layer3.tar -t image:1 -o image.tar
crane auth login "$HOST" -u AWS -p "$PASSWORD" && crane push --insecure image.tar "$HOST/team/crane:1"
skopeo copy -q --dest-tls-verify=false --dest-creds "AWS:$PASSWORD" docker-archive:image.tar "docker://$HOST/team/skopeo:1"
skopeo copy -q docker-archive:image.tar oci:layout:1 && id=$(podman pull -q oci:layout:1) && podman push -q --tls-verify=false --creds "AWS:$PASSWORD" "$id" "docker://$HOST/team/podman:1"; podman rmi -f "$id"`
	raw, err := base64.StdEncoding.DecodeString(s.Token(t))
	if err != nil {
		t.Fatal(err)
	}
	_, password, _ := strings.Cut(string(raw), ":")
	cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOST="+host, "PASSWORD="+password, "HOME="+dir, "DOCKER_CONFIG="+dir, "STORAGE_DRIVER=vfs",
		"PATH="+filepath.Join(berthtest.Root(), "bin", "tools")+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// nothingLeft looks for what a destroy has left.
func nothingLeft(t *testing.T, s *berthtest.Server) {
	t.Helper()
	cfg := config(s)
	api := iam.NewFromConfig(cfg)
	users, err1 := api.ListUsers(t.Context(), &iam.ListUsersInput{})
	roles, err2 := api.ListRoles(t.Context(), &iam.ListRolesInput{})
	groups, err3 := api.ListGroups(t.Context(), &iam.ListGroupsInput{})
	policies, err4 := api.ListPolicies(t.Context(), &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal})
	providers, err5 := api.ListOpenIDConnectProviders(t.Context(), &iam.ListOpenIDConnectProvidersInput{})
	repositories, err6 := ecr.NewFromConfig(cfg).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	functions, err7 := lambda.NewFromConfig(cfg).ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
	rules, err8 := eventbridge.NewFromConfig(cfg).ListRules(t.Context(), &eventbridge.ListRulesInput{})
	logGroups, err9 := cloudwatchlogs.NewFromConfig(cfg).DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{})
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8, err9} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(users.Users) + len(roles.Roles) + len(groups.Groups) + len(policies.Policies) + len(providers.OpenIDConnectProviderList) + len(repositories.Repositories) +
		len(functions.Functions) + len(rules.Rules) + len(logGroups.LogGroups); n != 0 {
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
