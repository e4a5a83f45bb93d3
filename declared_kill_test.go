package berth_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/internal/berthtest"
)

// manyRepositories is a file that declares repositories with everything, told apart by a
// round.
func manyRepositories(n, round int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("    %q,\n", fmt.Sprintf("team/service-%04d", i))
	}
	return fmt.Sprintf(`module "ecr-many" {
  ecr-repositories = [
%s  ]
  account_access = [{ description = "dev", account_id = "931827427725", can_write = %t }]
  github_access = {
    role_name           = "many"
    github_repositories = [{ organisation = "team", repository = "*", subjects = ["ref:refs/heads/r%d"] }]
  }
  image_tag_mutability = %q
  scan_on_push         = %t
  tags                 = { round = "%d", "port-service-%d" = "" }
  lifecycle_policy     = jsonencode({ rules = [{ rulePriority = 1, selection = { tagStatus = "untagged", countType = "imageCountMoreThan", countNumber = %d }, action = { type = "expire" } }] })
}
`, strings.Join(names, ""), round%2 == 0, round, []string{"MUTABLE", "IMMUTABLE"}[round%2], round%3 == 0, round, round%4, round+1)
}

// TestKillApply kills berth apply, or its server, while it applies, and applies again:
// it must end in the state that it ends in when nobody disturbs it.
func TestKillApply(t *testing.T) {
	const repositories, rounds = 150, 16
	dir := t.TempDir()
	file, data := filepath.Join(dir, "many.tf"), filepath.Join(dir, "data")
	s := berthtest.Start(t, data)
	listen := s.Host
	write := func(round int) {
		if err := os.WriteFile(file, []byte(manyRepositories(repositories, round)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	began := time.Now()
	berthApply(t, s, file)
	whole := time.Since(began)
	halfway := 0
	for round := 1; round <= rounds; round++ {
		write(round)
		cmd := berthCommand(t, s, "apply", "--yes", file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(whole/4 + time.Duration(rand.Int64N(int64(whole))))
		if round%2 == 0 {
			s.Kill()
			time.Sleep(10 * time.Millisecond) // for its calls to fail
		}
		_ = cmd.Process.Kill() // or else it goes on when the server is back
		_ = cmd.Wait()
		if round%2 == 0 {
			s = berthtest.Start(t, data, "--listen", listen)
		}
		out, err := berthCommand(t, s, "plan", "--full", file).CombinedOutput()
		if changes := strings.Count(string(out), "~ repository"); err != nil && changes > 0 && changes < repositories {
			halfway++
		}
		if round%4 == 0 { // or else the next round goes on from what this one has left
			berthApply(t, s, file)
		}
	}
	write(rounds + 1)
	berthApply(t, s, file)
	if out, err := berthCommand(t, s, "plan", file).CombinedOutput(); err != nil {
		t.Fatalf("a second plan: %v\n%s", err, out)
	}
	fresh := berthtest.Start(t, filepath.Join(dir, "fresh"))
	berthApply(t, fresh, file)
	if diff := cmp.Diff(described(t, fresh), described(t, s)); diff != "" {
		t.Errorf("(-undisturbed +disturbed)\n%s", diff)
	}
	t.Logf("%d of %d kills came halfway; an undisturbed apply takes %s", halfway, rounds, whole)
	if halfway < 2 {
		t.Error("too few kills came halfway to prove anything")
	}
}
