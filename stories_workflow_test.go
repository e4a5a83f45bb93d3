package berth_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"

	"github.com/berth-registry/berth/internal/berthtest"
)

// workflowStep is a step of a GitHub workflow.
type workflowStep struct {
	Name, ID, Uses, Run string
	With, Env           map[string]string
}

// workflowFile is what is run of a workflow: its one job.
type workflowFile struct {
	Jobs map[string]struct {
		Permissions map[string]string
		Env         map[string]string
		Steps       []workflowStep
	}
}

const workflowCommit = "6dcb09b5b57875f334f61aebed695e2e4193db5e"

// githubWorkflow runs the workflow that a document shows first, and the further steps
// that it shows after it, as GitHub's runner would for a push to main of
// JPPOL-KOA/GiftCardService. The actions are the stand-ins in testdata/actions. Names of
// hosts in the document are put right for this server.
func githubWorkflow(ts *testscript.TestScript, neg bool, args []string) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(ts.ReadFile(args[0]), -1)
	if len(blocks) < 2 {
		ts.Fatalf("%s shows no workflow with further steps", args[0])
	}
	host := ts.Getenv("HOST")
	text := strings.NewReplacer("https://berth.example.com:5100", ts.Getenv("ENDPOINT"), "354918371398_dkr_ecr_eu_west_1_amazonaws_com", regexp.MustCompile(`[^a-zA-Z0-9_]+`).ReplaceAllString(host, "_"))
	var file workflowFile
	ts.Check(yaml.Unmarshal([]byte(text.Replace(blocks[0][1])), &file))
	var more []workflowStep
	ts.Check(yaml.Unmarshal([]byte(text.Replace(blocks[1][1])), &more))
	for _, job := range file.Jobs {
		w := &workflow{ts: ts, env: maps.Clone(job.Env), outputs: map[string]string{}}
		if job.Permissions["id-token"] == "write" {
			tokens := httptest.NewServer(http.HandlerFunc(w.issue))
			defer tokens.Close()
			w.env["ACTIONS_ID_TOKEN_REQUEST_URL"], w.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = tokens.URL+"/?api-version=2.0", "runner"
		}
		err := w.run(append(job.Steps, more...))
		if (err != nil) != neg {
			ts.Fatalf("the workflow: %v", err)
		}
	}
}

// workflow is one running job.
type workflow struct {
	ts      *testscript.TestScript
	env     map[string]string
	outputs map[string]string // by steps.ID.outputs.NAME
}

// issue answers a runner that asks for a token of its job.
func (w *workflow) issue(out http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer runner" {
		http.Error(out, "who are you?", http.StatusUnauthorized)
		return
	}
	token, err := of(w.ts).token(map[string]string{"aud": r.URL.Query().Get("audience"), "sub": "repo:JPPOL-KOA/GiftCardService:ref:refs/heads/" + w.ts.Getenv("BRANCH"),
		"repository": "JPPOL-KOA/GiftCardService", "workflow": "Build docker image", "run_id": "4711", "sha": workflowCommit})
	if err != nil {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(out).Encode(map[string]string{"value": token})
}

func (w *workflow) run(steps []workflowStep) error {
	for i := range steps {
		if err := w.step(&steps[i]); err != nil {
			return fmt.Errorf("step %q: %w", steps[i].Name, err)
		}
	}
	return nil
}

var expression = regexp.MustCompile(`\$\{\{ *([^ }]+) *\}\}`)

// expand puts values in place of expressions.
func (w *workflow) expand(s string) string {
	return expression.ReplaceAllStringFunc(s, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		if name == "github.sha" {
			return workflowCommit
		}
		v, ok := w.outputs[name]
		if !ok {
			w.ts.Fatalf("the workflow uses %s, which no step gives out; there are %v", e, w.outputs)
		}
		return v
	})
}

func (w *workflow) step(s *workflowStep) error {
	dir := w.ts.MkAbs("checkout")
	action, _, _ := strings.Cut(s.Uses, "@")
	var cmd *exec.Cmd
	switch action {
	case "":
		cmd = exec.Command("bash", "-e", "-o", "pipefail", "-c", w.expand(s.Run))
	case "actions/checkout":
		w.ts.Check(os.MkdirAll(dir, 0o700))
		w.ts.Check(os.WriteFile(filepath.Join(dir, "app"), []byte("an application\n"), 0o600))
		return os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY app /app\n"), 0o600)
	case "aws-actions/configure-aws-credentials", "aws-actions/amazon-ecr-login":
		cmd = exec.Command("node", filepath.Join(berthtest.Root(), "testdata", "actions", filepath.Base(action)+".cjs"))
	default:
		w.ts.Fatalf("the workflow uses %s, for which there is no stand-in", s.Uses)
	}
	cmd.Dir = dir
	files := map[string]string{"GITHUB_ENV": w.ts.MkAbs("github.env"), "GITHUB_OUTPUT": w.ts.MkAbs("github.output")}
	env := map[string]string{"GITHUB_ACTIONS": "true", "NODE_PATH": filepath.Join(berthtest.Root(), "bin", "tools", "actions", "node_modules")}
	for _, k := range []string{"PATH", "HOME", "DOCKER_CONFIG", "DOCKER_HOST", "REGISTRY_AUTH_FILE"} {
		env[k] = w.ts.Getenv(k)
	}
	for k, file := range files {
		w.ts.Check(os.WriteFile(file, nil, 0o600))
		env[k] = file
	}
	maps.Copy(env, w.env)
	for k, v := range s.Env {
		env[k] = w.expand(v)
	}
	for k, v := range s.With {
		env["INPUT_"+strings.ToUpper(k)] = w.expand(v)
	}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "::add-mask::") {
			w.ts.Logf("%s: %s", s.Name, strings.TrimSpace(line))
		}
	}
	w.ts.Check(os.WriteFile(w.ts.MkAbs("workflow.log"), out, 0o600))
	if err != nil {
		return err
	}
	for k, v := range assignments(w.ts.ReadFile(files["GITHUB_ENV"])) {
		w.env[k] = v
	}
	for k, v := range assignments(w.ts.ReadFile(files["GITHUB_OUTPUT"])) {
		w.outputs["steps."+s.ID+".outputs."+k] = v
	}
	return nil
}

// assignments reads a runner's file: NAME<<MARK, the value, MARK.
func assignments(text string) map[string]string {
	out := map[string]string{}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		name, mark, ok := strings.Cut(lines[i], "<<")
		if !ok {
			continue
		}
		var value []string
		for i++; i < len(lines) && lines[i] != mark; i++ {
			value = append(value, lines[i])
		}
		out[name] = strings.Join(value, "\n")
	}
	return out
}
