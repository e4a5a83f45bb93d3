package console_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shell runs commands as somebody with an access key would.
func (s *site) shell(script, keyID, secret string) string {
	s.t.Helper()
	tools, err := filepath.Abs("../bin/tools")
	if err != nil {
		s.t.Fatal(err)
	}
	home := s.t.TempDir()
	cmd := exec.CommandContext(s.t.Context(), "bash", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), "HOME="+home, "DOCKER_CONFIG="+home, "AWS_ENDPOINT_URL="+s.base, "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret,
		"AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// layer is a command that makes a file to be pushed as a layer.
const layer = "echo hello > hello.txt && tar cf layer.tar hello.txt && "

// TestGuideBasics is the guide on ECR's basics, done by clicking: a user with an access key
// and a password, who signs in, creates a repository, pushes, lists, and deletes.
func TestGuideBasics(t *testing.T) {
	s := newSite(t)
	b := s.signedIn()
	b.press("Users")
	b.fill("Name", "mgoyal")
	b.press("Create")
	b.see("The user mgoyal was created")
	b.see("aws iam create-user --user-name mgoyal")
	b.fill("policy", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess")
	b.press("Attach")
	b.see("The policy was attached.")
	b.fill("Password", "Correct-Horse-1")
	b.press("Set it")
	b.see("The user may sign in with a password.")
	b.press("Make an access key")
	b.see("shown this once")
	id, secret := value[string](b, `document.querySelector("#key-id").innerText`), value[string](b, `document.querySelector("#key-secret").innerText`)
	b.press("I have put it away")
	b.see(id)
	if strings.Contains(value[string](b, "document.documentElement.outerHTML"), secret) {
		t.Error("the secret is still there")
	}
	b.press("You: root of 000000000000")
	b.press("Sign out")
	b.see("Sign in")

	b.press("User and password")
	b.see("User name")
	b.fill("User name", "mgoyal")
	b.fill("password", "Correct-Horse-2")
	b.press("Sign in")
	b.see("is wrong")
	b.fill("password", "Correct-Horse-1")
	b.press("Sign in")
	b.see("has to be changed now")
	b.fill("password", "Correct-Horse-1")
	b.fill("New password", "Correct-Horse-2")
	b.press("Sign in")
	b.see("Overview")
	b.open("/users")
	b.see("is not authorized to perform: iam:ListUsers") // neither by the console
	b.press("Explain why")
	b.see("Who keeps this account can")

	b.open("/repositories")
	b.press("Create a repository")
	b.see("Encryption at rest")
	b.fill("Name", "mgoyal-demo-dev")
	b.press("Immutable: a tag stays with its image")
	b.press("Scan images when they are pushed")
	b.press("The same by the command line")
	b.see("aws ecr create-repository --repository-name mgoyal-demo-dev --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true --region us-east-1")
	b.press("Create")
	b.see("Repository mgoyal-demo-dev was created")
	commands := value[string](b, `[...document.querySelectorAll("section.card")].find(s => s.querySelector("h2").innerText === "crane").querySelector("code").innerText`)
	login, _, _ := strings.Cut(commands, "\n")
	uri := value[string](b, `document.querySelector(".head .mono").innerText`)
	b.press("Images")
	b.see("No images yet")
	s.shell(layer+login+" && crane append -f layer.tar -t "+uri+":amazonlinux", id, secret)
	b.see("amazonlinux") // without being asked
	b.press("Tags")
	b.sure("Delete the tag amazonlinux", "the image goes with it")
	b.see("The tag amazonlinux was deleted.")
	s.shell(layer+login+" && crane append -f layer.tar -t "+uri+":again", id, secret)
	b.press("Settings")
	b.press("Delete…")
	b.fill("confirm", "mgoyal-demo-dev")
	b.press("With all images in it")
	b.press("Delete")
	b.see("The repository mgoyal-demo-dev was deleted.")
	b.see("No repositories yet")
}

// TestGuideCatalog is the guides on connecting a repository to a service: the relation, the
// mapping byte for byte, the tag, the link.
func TestGuideCatalog(t *testing.T) {
	s := newSite(t)
	s.repository("team/auth")
	b := s.signedIn()
	b.press("Builder")
	b.press("ECR Image") // the guide begins without the relation, and so without what reads it
	b.press("The blueprint's document")
	b.set("document", value[string](b, `(() => { const d = JSON.parse(document.querySelector("#document").value); d.mirrorProperties = {}; return JSON.stringify(d) })()`))
	b.press("Save")
	b.see("The blueprint was saved.")
	b.press("Builder")
	b.press("ECR Repository")
	b.see("Relations")
	b.sure("Remove Service", "The links that entities have by it are gone.")
	b.see("The relation was removed.")
	b.press("New relation")
	b.fill("r-title", "service")
	b.set("r-target", "service")
	b.press("Create")
	b.see("The relation service was made.")

	config, err := os.ReadFile("../catalog/mapping/testdata/guide.json")
	if err != nil {
		t.Fatal(err)
	}
	b.press("Mapping")
	b.see("config.json of the exporter")
	b.set("config", string(config))
	b.press("Try")
	b.see("ecr_repository team/auth")
	b.see("imageTagMutability")
	b.press("Save and synchronise")
	b.see("Resources are mapped by this from now on")

	b.open("/catalog/service")
	b.see("None yet")
	b.press("Create")
	b.fill("identifier", "auth-service")
	b.fill("title", "Auth service")
	b.press("Create it")
	b.see("auth-service was made.")

	b.press("Repositories")
	b.press("team/auth")
	b.see("Linked to no service")
	b.press("Link it")
	b.fill("tag_key", "port-auth-service")
	b.press("Add the tag")
	b.see("The tag port-auth-service was set.")
	b.see("aws ecr tag-resource --resource-arn arn:aws:ecr:us-east-1:000000000000:repository/team/auth --tags Key=port-auth-service,Value=")
	b.press("auth-service")
	b.see("by their “service”")
	b.press("team/auth")
	b.see("https://console.aws.amazon.com/go/view?arn=arn:aws:ecr:us-east-1:000000000000:repository/team/auth")
	b.press("Graph")
	b.until("the service in the picture", `[...document.querySelectorAll(".graph text")].some(t => t.textContent === "Auth service")`)
	b.press("Overview")
	b.press("https://console.aws.amazon.com/go/view?arn=arn:aws:ecr:us-east-1:000000000000:repository/team/auth")
	b.until("the repository's page", `location.pathname === "/repositories/us-east-1/team/auth"`)

	// By the service, in the list.
	b.open("/repositories")
	b.fill("f-service", "auth-service")
	b.see("team/auth")
	b.fill("f-service", "another")
	b.see("Nothing fits")
}

// TestGuideOnPush is the guide on repositories that appear when somebody pushes: the role,
// the function, the rule and its target, a push, and what it led to, all looked at.
func TestGuideOnPush(t *testing.T) {
	s := newSite(t)
	keys, err := s.aws.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := s.signedIn()
	b.press("Roles")
	b.fill("Name", "creates-repositories")
	b.set("trust", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	b.press("Create")
	b.see("The role creates-repositories was created.")
	b.fill("policy_name", "create")
	b.set("document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:CreateRepository"],"Resource":"*"},{"Effect":"Allow","Action":"logs:*","Resource":"*"}]`) // a brace is missing
	b.press("Set it")
	b.until("what is wrong", `[...document.querySelectorAll("[role=alert]")].some(e => e.innerText.length > 10)`)
	b.set("document", value[string](b, `document.querySelector("#document").value`)+"}")
	b.press("Set it")
	b.see("The policy create was set.")

	b.press("Functions")
	b.fill("Name", "create-repository")
	b.fill("Role", "arn:aws:iam::000000000000:role/creates-repositories")
	b.press("Create")
	b.see("The function create-repository was made.")

	b.press("Rules")
	b.fill("Name", "missing-repository")
	b.press("Create")
	b.see("The rule missing-repository was made.")
	b.fill("target", "arn:aws:lambda:us-east-1:000000000000:function:create-repository")
	b.press("Add the target")
	b.see("The rule has the target now.")

	b.open("/pushes/us-east-1/nginx")
	b.see("Waiting for a push to nginx")
	host := strings.TrimPrefix(s.base, "http://")
	s.shell(layer+"aws ecr get-login-password | crane auth login "+host+" -u AWS --password-stdin && crane append -f layer.tar -t "+host+"/nginx:latest", keys.AccessKeyID, keys.SecretAccessKey)
	for _, step := range []string{"missed the repository", "matched", "after 1 attempt", "create-repository", "created nginx repository", "nginx is there", "nginx is in the catalog"} {
		b.see(step) // as it happens, without being asked
	}
	b.look("push-trace")
	b.press("Logs")
	b.press("/aws/lambda/create-repository")
	b.see("created nginx repository")
	b.look("log")
	b.press("Pushes")
	b.press("nginx")
	b.see("What happened")

	b.press("Functions")
	b.press("create-repository")
	b.see("created nginx repository")
	b.set("payload", `{"detail":{"requestParameters":{"repositoryName":"by/hand"}}}`)
	b.press("Invoke")
	b.see("answered")
	b.open("/repositories")
	b.see("by/hand")
}
