package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// declaredRepositories is how many repositories the file of the scenarios declares.
const declaredRepositories = 2000

// errNoDeclarations is what registries answer that are no Berth.
var errNoDeclarations = errors.New("it reads no declared repositories")

// declared measures the last of some steps: plan or apply of one file with many
// repositories; edit changes the file first. The memory is the command's.
func declared(steps ...string) func(context.Context, *bench, *target) (measure, error) {
	return func(ctx context.Context, _ *bench, t *target) (m measure, err error) {
		if !strings.HasPrefix(t.name, "berth") {
			return measure{}, errNoDeclarations
		}
		file := filepath.Join(t.dir, "many.tf")
		if err := os.WriteFile(file, []byte(manyRepositories(false)), 0o600); err != nil {
			return m, err
		}
		for _, step := range steps {
			if step == "edit" {
				err = os.WriteFile(file, []byte(manyRepositories(true)), 0o600)
			} else {
				m, err = t.command(ctx, step, file)
			}
			if err != nil {
				return m, err
			}
		}
		return m, nil
	}
}

// command runs a command of Berth on a file as the root of a target.
func (t *target) command(ctx context.Context, command, file string) (measure, error) {
	args := []string{command, "--data", filepath.Join(t.dir, "data"), "--color", "never", file}
	if command == "apply" {
		args = append(args, "--yes")
	}
	cmd := exec.CommandContext(ctx, t.binary, args...)
	cmd.Env = []string{"HOME=" + t.dir, "PATH=" + os.Getenv("PATH")}
	server := t.usage()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	var exit *exec.ExitError
	if err != nil && (command != "plan" || !errors.As(err, &exit) || exit.ExitCode() != 2) {
		return measure{}, fmt.Errorf("berth %s: %w\n%.2000s", command, err, out)
	}
	m := measure{value: float64(took.Microseconds()) / 1000, cpu: t.usage().cpu - server.cpu}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.peak = u.Maxrss
	}
	return m, nil
}

// manyRepositories is a file of a department with many repositories; edited, it gives
// all of them another tag and one account another right.
func manyRepositories(edited bool) string {
	var names strings.Builder
	for i := range declaredRepositories {
		fmt.Fprintf(&names, "    \"team-%02d/service-%04d\",\n", i%20, i)
	}
	round := "1"
	if edited {
		round = "2"
	}
	return fmt.Sprintf(`module "ecr-many" {
  ecr-repositories = [
%s  ]
  account_access = [
    { description = "dev", account_id = "931827427725", can_write = %t },
    { description = "prod", account_id = "151484623076" },
  ]
  github_access = {
    role_name           = "many"
    github_repositories = [{ organisation = "team", repository = "*" }]
  }
  image_tag_mutability = "IMMUTABLE"
  tags                 = { owner = "team", round = %q }
  lifecycle_policy     = jsonencode({ rules = [{ rulePriority = 1, selection = { tagStatus = "untagged", countType = "imageCountMoreThan", countNumber = 5 }, action = { type = "expire" } }] })
}
`, names.String(), edited, round)
}
