package console_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// TestActions does what the guides leave out, each by its form.
func TestActions(t *testing.T) {
	s := newSite(t)
	s.repository("team/app")
	s.push("team/app", "1.0", map[string]any{"architecture": "amd64", "os": "linux"}, 1000)
	b := s.signedIn()
	for _, story := range []struct {
		name string
		do   func()
	}{
		{"template", func() {
			b.open("/templates")
			b.press("Create a template")
			b.fill("Prefix", "made")
			b.set("mutability", "IMMUTABLE")
			b.press("Add a tag")
			b.fill("Key", "owner")
			b.fill("Value", "platform")
			b.press("Create")
			b.see("The template for made was made.")
			s.made("made/by-push")
			b.press("made")
			b.see("Template made")
			b.fill("Description", "for the team")
			b.press("Save")
			b.see("The template for made was changed.")
			b.see("for the team")
			b.open("/repositories/us-east-1/made/by-push?tab=settings")
			b.see("platform")
			b.open("/templates/us-east-1?prefix=made")
			b.sure("Delete", "the template for made")
			b.see("The template for made was deleted.")
		}},
		{"a template keeps what its form does not show", func() {
			if err := second(ecr.NewFromConfig(s.aws).CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{Prefix: ptr("kept"), AppliedFor: []types.RCTAppliedFor{"PULL_THROUGH_CACHE"},
				ResourceTags: []types.Tag{{Key: ptr("k"), Value: ptr("v")}}})); err != nil {
				t.Fatal(err)
			}
			b.open("/templates/us-east-1?prefix=kept")
			b.press("Remove this tag")
			b.fill("Description", "changed")
			b.press("Save")
			b.see("The template for kept was changed.")
			out, err := ecr.NewFromConfig(s.aws).DescribeRepositoryCreationTemplates(t.Context(), &ecr.DescribeRepositoryCreationTemplatesInput{Prefixes: []string{"kept"}})
			if err != nil {
				t.Fatal(err)
			}
			if got := out.RepositoryCreationTemplates[0]; *got.Description != "changed" || len(got.AppliedFor) != 1 || got.AppliedFor[0] != "PULL_THROUGH_CACHE" || len(got.ResourceTags) != 0 {
				t.Errorf("%+v", got)
			}
		}},
		{"policies of a repository", func() {
			b.open("/repositories/us-east-1/team/app?tab=permissions")
			b.set("policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:NoSuch","Resource":1}]}`)
			b.press("Set the policy")
			b.until("the problem", `document.querySelector("[role=alert]") !== null`)
			b.until("what was typed", `document.querySelector("#policy").value.includes("NoSuch")`)
			b.set("policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"ecr:BatchGetImage"}]}`)
			b.press("Set the policy")
			b.see("The repository policy was set.")
			b.sure("Delete it", "the repository policy of team/app")
			b.see("The repository policy was deleted.")
			b.press("Lifecycle")
			b.set("policy", `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":20},"action":{"type":"expire"}}]}`)
			b.press("Set the policy")
			b.see("The lifecycle policy was set.")
			b.sure("Delete it", "the lifecycle policy of team/app")
			b.see("The lifecycle policy was deleted.")
		}},
		{"settings", func() {
			b.open("/repositories/us-east-1/team/app?tab=settings")
			b.press("Immutable")
			b.fill("Except tags like", "dev-*")
			b.until("the command follows", `[...document.querySelectorAll("pre[data-cli] code")].some(c => c.textContent.includes("--image-tag-mutability IMMUTABLE"))`)
			value[bool](b, `document.querySelector("#filters").form.requestSubmit() || true`)
			b.see("The rule for tags was changed.")
			b.see("--image-tag-mutability IMMUTABLE_WITH_EXCLUSION --image-tag-mutability-exclusion-filters 'filterType=WILDCARD,filter=dev-*'")
			b.until("the filter is there", `document.querySelector("#filters").value === "dev-*"`)
		}},
		{"tags and images", func() {
			b.open("/images/us-east-1/team/app?ref=1.0")
			b.press("Add a tag")
			b.fill("Tag", "dev-1")
			b.press("Add it")
			b.see("The tag dev-1 stands for this image now.")
			b.press("Delete…")
			b.see("It goes with its tags: 1.0, dev-1.")
			b.press("Delete")
			b.see("was deleted.")
			b.see("No images yet")
		}},
		{"groups and policies", func() {
			b.open("/policies")
			b.fill("Name", "pushers")
			b.press("Create")
			b.see("The policy pushers was created.")
			b.press("pushers")
			b.set("document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`)
			b.press("Save as a new version")
			b.see("v2 counts")
			b.press("Let v1 count")
			b.see("v1 counts now.")
			b.sure("Delete v2", "v2 of")
			b.see("v2 was deleted.")
			b.open("/groups")
			b.fill("Name", "developers")
			b.press("Create")
			b.see("The group developers was created.")
			b.fill("attach", "arn:aws:iam::000000000000:policy/pushers")
			b.press("Attach")
			b.see("The policy was attached.")
			b.open("/users")
			b.fill("Name", "bob")
			b.press("Create")
			b.see("In none.")
			b.press("Add")
			b.see("bob is a member of developers.")
			b.press("Make an access key")
			b.press("I have put it away")
			key := value[string](b, `document.querySelector("#keys th[scope=row]").innerText.trim()`)
			b.press("Deactivate " + key)
			b.see("is Inactive now.")
			b.sure("Delete "+key, "Programs that sign with it are refused at once.")
			b.see("The access key " + key + " was deleted.")
			b.sure("Delete", "the user bob")
			b.until("why not", `document.querySelector("[role=alert]") !== null`) // it is in a group
			b.press("Leave developers")
			b.see("no member of developers any more")
			b.sure("Delete", "aws iam delete-user --user-name bob")
			b.see("The user bob was deleted.")
		}},
		{"accounts", func() {
			b.open("/accounts")
			b.fill("id", "111122223333")
			b.fill("name", "other")
			b.press("Make it")
			b.see("The account was made")
			b.press("I have put it away")
			b.press("Switch to 111122223333")
			b.see("Account 111122223333")
			b.open("/repositories")
			b.see("No repositories yet")
			b.open("/repositories/us-east-1/team/app")
			b.see("It is not there")
			b.press("You: root of 111122223333")
			b.press("Sign out")
			b.see("Sign in")
			b.open(s.link()[len(s.base):])
			b.press("Sign in with this link")
			b.see("Account 000000000000")
			b.open("/accounts")
			b.fill("close-id", "111122223333")
			b.fill("close-confirm", "111122223333")
			b.press("Close it")
			b.see("The account 111122223333 was closed")
		}},
		{"catalog", func() {
			b.open("/builder")
			b.fill("title", "Queue")
			b.press("Create")
			b.see("The blueprint Queue was made.")
			b.press("Queue")
			b.fill("p-title", "Depth")
			b.set("p-type", "number")
			b.press("Add it")
			b.see("The property Depth was added.")
			b.press("Entities")
			b.press("Create")
			b.fill("identifier", "q1")
			b.fill("properties", `{"depth":"many"}`)
			b.press("Create it")
			b.until("the problem", `document.querySelector("dialog[open]") !== null && document.querySelector("[role=alert]") !== null`)
			b.fill("properties", `{"depth":7}`)
			b.press("Create it")
			b.see("q1 was made.")
			b.press("Depth")
			b.until("sorted", `document.querySelector("th[aria-sort=ascending]") !== null`)
			b.press("q1")
			b.press("Edit")
			b.set("document", `{"identifier":"q1","title":"First queue","properties":{"depth":8}}`)
			b.press("Save")
			b.see("First queue")
			b.press("Changes")
			b.see("UPDATE")
			b.press("Delete…")
			b.press("Delete")
			b.see("q1 was deleted.")
			b.open("/builder/queue")
			b.sure("Remove Depth", "Its values are gone from all entities.")
			b.see("The property was removed.")
			b.sure("Delete", "the blueprint queue")
			b.see("The blueprint was deleted.")
		}},
		{"an owner", func() {
			s.catalog("POST", "blueprints/service/entities", map[string]any{"identifier": "shop", "properties": map[string]any{}})
			b.open("/unowned")
			b.fill("Service of team/app", "shop")
			b.press("Link team/app")
			b.see("team/app is linked to shop.")
			b.open("/repositories?service=shop")
			b.see("team/app")
		}},
		{"what is live", func() {
			b.open("/repositories")
			b.see("made/by-push")
			if _, err := ecr.NewFromConfig(s.aws).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: ptr("appears/by-itself")}); err != nil {
				t.Fatal(err)
			}
			b.see("appears/by-itself")
		}},
		{"a log that follows", func() {
			logs := cloudwatchlogs.NewFromConfig(s.aws)
			put := func(text string) {
				t.Helper()
				if err := second(logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: ptr("app"), LogStreamName: ptr("s"), LogEvents: []logtypes.InputLogEvent{{Timestamp: ptr(time.Now().UnixMilli()), Message: &text}}})); err != nil {
					t.Fatal(err)
				}
			}
			for _, err := range []error{second(logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: ptr("app")})),
				second(logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: ptr("app"), LogStreamName: ptr("s")}))} {
				if err != nil {
					t.Fatal(err)
				}
			}
			put("the first line")
			b.open("/logs")
			b.press("app")
			b.see("the first line")
			put("the second line")
			b.see("the second line")
			b.fill("Filter pattern", "second")
			b.until("only what fits", `document.querySelectorAll(".lines div").length === 1`)
		}},
		{"pages and copies", func() {
			for i := range 55 {
				s.repository(fmt.Sprintf("many/repo-%02d", i))
			}
			b.open("/repositories?q=many")
			b.see("many/repo-49")
			b.press("Next page")
			b.see("many/repo-54")
			b.press("First page")
			b.see("many/repo-00")
			b.press("many/repo-00")
			b.until("the copy button", `(() => { const e = document.querySelector(".head .copy"); if (!e) return false; e.click(); return true })()`)
			b.until("it is copied", `document.querySelector(".head .copy.copied") !== null`)
		}},
		{"theme and keyboard", func() {
			b.open("/")
			b.press("Light or dark")
			b.until("dark", `document.documentElement.dataset.theme === "dark"`)
			b.open("/repositories")
			b.until("still dark", `document.documentElement.dataset.theme === "dark"`)
			value[bool](b, `document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true})) || true`)
			b.until("the search has the focus", `document.activeElement.type === "search"`)
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			b.t, s.t = t, t
			story.do()
		})
	}
}

// sure presses a button that deletes, reads what would be lost, and goes on.
func (b *browser) sure(button, lost string) {
	b.t.Helper()
	b.press(button)
	b.see(lost)
	b.until("it is asked once more", `document.title.startsWith("Are you sure?")`)
	b.press("Delete")
}

func ptr[T any](v T) *T { return &v }
