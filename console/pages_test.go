package console_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

func second[T any](_ T, err error) error { return err }

// TestPages opens every page with something on it, in light and dark, wide and narrow.
func TestPages(t *testing.T) {
	s := newSite(t)
	s.repository("team/app")
	s.repository("team/empty")
	config := map[string]any{"architecture": "amd64", "os": "linux", "created": "2026-10-01T10:00:00Z", "config": map[string]any{"Labels": map[string]string{"org.opencontainers.image.source": "https://example.com/app"}, "Cmd": []string{"/app"}},
		"history": []any{map[string]any{"created_by": "ADD rootfs.tar / # buildkit"}, map[string]any{"created_by": "RUN apt-get install app"}, map[string]any{"created_by": "COPY app /app"}}}
	amd := s.push("team/app", "1.0", config, 300_000, 1_200_000, 40_000)
	config["architecture"] = "arm64"
	arm := s.push("team/app", "", config, 290_000, 1_100_000, 41_000)
	s.put("team/app", "2.0", map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{
		map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": amd, "size": s.manifestSize("team/app", amd), "platform": map[string]any{"os": "linux", "architecture": "amd64"}},
		map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": arm, "size": s.manifestSize("team/app", arm), "platform": map[string]any{"os": "linux", "architecture": "arm64"}}}})
	iamc := iam.NewFromConfig(s.aws)
	for _, err := range []error{
		second(iamc.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("alice")})),
		second(iamc.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})),
		second(iamc.CreateGroup(t.Context(), &iam.CreateGroupInput{GroupName: aws.String("developers")})),
		second(iamc.AddUserToGroup(t.Context(), &iam.AddUserToGroupInput{GroupName: aws.String("developers"), UserName: aws.String("alice")})),
		second(iamc.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("pusher"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})),
		second(iamc.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: aws.String("pull"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*"}]}`)})),
		second(iamc.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("push"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`)})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.catalog("POST", "blueprints/service/entities", map[string]any{"identifier": "shop", "title": "Shop", "properties": map[string]any{}})
	if _, err := ecr.NewFromConfig(s.aws).TagResource(t.Context(), &ecr.TagResourceInput{ResourceArn: aws.String("arn:aws:ecr:us-east-1:000000000000:repository/team/app"), Tags: []types.Tag{{Key: aws.String("port-shop"), Value: aws.String("")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ecr.NewFromConfig(s.aws).CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{Prefix: aws.String("made"), AppliedFor: []types.RCTAppliedFor{"CREATE_ON_PUSH"}}); err != nil {
		t.Fatal(err)
	}
	s.made("made/by-push")
	b := s.chromium()
	b.open("/")
	b.see("Sign in")
	b.look("signin")
	b.open("/signin?with=password")
	b.look("signin-password")
	b = s.signedIn()
	for _, p := range []struct{ name, path, see string }{
		{"overview", "/", "Pushes and pulls"},
		{"repositories", "/repositories", "team/empty"},
		{"repositories-none", "/repositories?q=zzz", "Nothing fits"},
		{"repository-new", "/repositories/new", "Encryption at rest"},
		{"repository", "/repositories/us-east-1/team/app", "linux/arm64"},
		{"repository-empty", "/repositories/us-east-1/team/empty", "No images yet"},
		{"repository-tags", "/repositories/us-east-1/team/app?tab=tags&tag=1.0", "moved to"},
		{"repository-push", "/repositories/us-east-1/team/app?tab=push", "skopeo copy"},
		{"repository-permissions", "/repositories/us-east-1/team/app?tab=permissions", "Policy document"},
		{"repository-lifecycle", "/repositories/us-east-1/team/app?tab=lifecycle", "Policy document"},
		{"repository-settings", "/repositories/us-east-1/team/app?tab=settings", "Delete this repository"},
		{"repository-events", "/repositories/us-east-1/team/app?tab=events", "PutImage"},
		{"repository-origin", "/repositories/us-east-1/team/app?tab=origin", "created"},
		{"image", "/images/us-east-1/team/app?ref=1.0", "apt-get install app"},
		{"image-index", "/images/us-east-1/team/app?ref=2.0", "linux/arm64"},
		{"search", "/search?q=team", "team/empty"},
		{"templates", "/templates", "made"},
		{"template", "/templates/us-east-1?prefix=made", "Lifecycle policy"},
		{"template-new", "/templates/us-east-1", "Lifecycle policy"},
		{"pushes", "/pushes", "made/by-push"},
		{"push", "/pushes/us-east-1/made/by-push", "by the template with the prefix"},
		{"rules", "/rules", "No rules yet"},
		{"functions", "/functions", "No functions yet"},
		{"logs", "/logs", "No logs yet"},
		{"users", "/users", "alice"},
		{"user", "/users/alice", "Inline policies"},
		{"groups", "/groups", "developers"},
		{"group", "/groups/developers", "alice"},
		{"roles", "/roles", "pusher"},
		{"role", "/roles/pusher", "Who may assume it"},
		{"policies", "/policies", "push"},
		{"policies-aws", "/policies?scope=AWS", "AmazonEC2ContainerRegistryReadOnly"},
		{"policy", "/policies/view?arn=arn:aws:iam::000000000000:policy/push", "v1 counts"},
		{"explain", "/explain", "May do"},
		{"explain-denied", "/explain?principal=arn:aws:iam::000000000000:user/alice&actions=push&resource=team/app", "To allow it"},
		{"audit", "/audit", "ConsoleLogin"},
		{"me", "/me", "this session stands on it"},
		{"accounts", "/accounts", "you are here"},
		{"catalog", "/catalog", "Service"},
		{"entities", "/catalog/service", "Shop"},
		{"entities-images", "/catalog/ecr_image?sort=-size", "team/app"},
		{"entity", "/catalog/service/shop", "team/app"},
		{"entity-graph", "/catalog/ecr_repository/team/app?tab=graph&depth=2", "Neighbourhood"},
		{"entity-changes", "/catalog/service/shop?tab=changes", "CREATE"},
		{"entity-edit", "/catalog/service/shop?tab=document", "As the API has it"},
		{"unowned", "/unowned", "team/empty"},
		{"builder", "/builder", "New blueprint"},
		{"blueprint", "/builder/ecr_repository", "New relation"},
		{"mapping", "/mapping", "config.json of the exporter"},
		{"missing", "/nowhere", "There is nothing here"},
		{"missing-repository", "/repositories/us-east-1/none", "It is not there"},
	} {
		t.Run(p.name, func(t *testing.T) {
			b.t = t
			b.open(p.path)
			b.see(p.see)
			b.look(p.name)
		})
	}
}
