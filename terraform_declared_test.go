package berth_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/internal/berthtest"
)

// sameAsNative gives the configuration that terraform has applied to berth apply, on a
// server of its own, and compares what both have made; then the same after an edit.
func sameAsNative(t *testing.T, c *terraformed) {
	t.Helper()
	native := berthtest.Start(t, filepath.Join(t.TempDir(), "data"))
	file := filepath.Join(c.dir, "main.tf")
	compare := func() {
		t.Helper()
		berthApply(t, native, file)
		if diff := cmp.Diff(described(t, c.server), described(t, native)); diff != "" {
			t.Fatalf("(-terraform +berth apply)\n%s", diff)
		}
		out, err := berthCommand(t, native, "plan", file).CombinedOutput()
		if err != nil {
			t.Fatalf("a second plan: %v\n%s", err, out)
		}
	}
	compare()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer(`[ "giftcard-service" ]`, `["giftcard-service", "koa/web"]`, `"GiftCardService"`, `"GiftCard*"`,
		"\"615205931730\"\n      can_write   = false", "\"615205931730\"\n      can_write   = true", `image_tag_mutability = "IMMUTABLE"`, `image_tag_mutability = "MUTABLE"`,
		`owner = "team" }`, `team = "team" }`, `countNumber = 14`, `countNumber = 7`).Replace(string(text))
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(2, "plan", "-detailed-exitcode", "-input=false")
	c.run(0, "apply", "-auto-approve", "-input=false")
	c.run(0, "plan", "-detailed-exitcode", "-input=false")
	compare()
	out, err := berthCommand(t, native, "destroy", "--yes", file).CombinedOutput()
	if err != nil {
		t.Fatalf("destroy: %v\n%s", err, out)
	}
	nothingLeft(t, native)
}

func berthCommand(t *testing.T, s *berthtest.Server, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), berthtest.Binary(t), args...)
	cmd.Env = os.Environ()
	for k, v := range s.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

func berthApply(t *testing.T, s *berthtest.Server, file string) {
	t.Helper()
	if out, err := berthCommand(t, s, "apply", "--yes", file).CombinedOutput(); err != nil {
		t.Fatalf("berth apply: %v\n%s", err, out)
	}
}

// described is everything that declared repositories come to, by describe calls.
func described(t *testing.T, s *berthtest.Server) map[string]any {
	t.Helper()
	ctx, out := t.Context(), map[string]any{}
	keep := func(key string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		out[key] = v
	}
	registry, access := ecr.NewFromConfig(config(s)), iam.NewFromConfig(config(s))
	all, err := registry.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all.Repositories {
		name := *r.RepositoryName
		r.CreatedAt, r.RepositoryUri = nil, nil
		keep(name, fields(t, r), nil)
		tags, err := registry.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: r.RepositoryArn})
		keep(name+" tags", tagMap(tags.Tags), err)
		p, err := registry.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &name})
		var none *ecrtypes.RepositoryPolicyNotFoundException
		if !errors.As(err, &none) {
			keep(name+" policy", meaning(t, aws.ToString(p.PolicyText)), err)
		}
		l, err := registry.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &name})
		var noLifecycle *ecrtypes.LifecyclePolicyNotFoundException
		if !errors.As(err, &noLifecycle) {
			keep(name+" lifecycle", meaning(t, aws.ToString(l.LifecyclePolicyText)), err)
		}
	}
	templates, err := registry.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{})
	for i := range templates.RepositoryCreationTemplates {
		x := &templates.RepositoryCreationTemplates[i]
		x.CreatedAt, x.UpdatedAt = nil, nil
		keep("template "+*x.Prefix+" lifecycle", meaning(t, aws.ToString(x.LifecyclePolicy)), nil)
		x.LifecyclePolicy = nil
	}
	keep("templates", fields(t, templates.RepositoryCreationTemplates), err)
	p, err := registry.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
	var noPolicy *ecrtypes.RegistryPolicyNotFoundException
	if !errors.As(err, &noPolicy) {
		keep("registry policy", meaning(t, aws.ToString(p.PolicyText)), err)
	}
	roles, err := access.ListRoles(ctx, &iam.ListRolesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles.Roles {
		keep("role "+*r.Arn, []any{aws.ToString(r.Description), *r.MaxSessionDuration, meaning(t, *r.AssumeRolePolicyDocument)}, nil)
		inline, err := access.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r.RoleName})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range inline.PolicyNames {
			p, err := access.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r.RoleName, PolicyName: &name})
			keep("role "+*r.Arn+" "+name, meaning(t, aws.ToString(p.PolicyDocument)), err)
		}
	}
	providers, err := access.ListOpenIDConnectProviders(ctx, &iam.ListOpenIDConnectProvidersInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range providers.OpenIDConnectProviderList {
		got, err := access.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: p.Arn})
		keep("provider "+*p.Arn, got.ClientIDList, err)
	}
	return out
}

// fields is a value of an SDK as data.
func fields(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	var out any
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tagMap(tags []ecrtypes.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range tags {
		out[*t.Key] = *t.Value
	}
	return out
}

// meaning is a document as data; what is one or a list of one means the same.
func meaning(t *testing.T, text string) any {
	t.Helper()
	if text == "" {
		return nil
	}
	if strings.HasPrefix(text, "%") {
		plain, err := url.QueryUnescape(text)
		if err != nil {
			t.Fatal(err)
		}
		text = plain
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return single(v)
}

func single(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = single(v[k])
		}
	case []any:
		for i := range v {
			v[i] = single(v[i])
		}
		if len(v) == 1 {
			return v[0]
		}
		slices.SortFunc(v, func(a, b any) int {
			x, _ := a.(string)
			y, _ := b.(string)
			return strings.Compare(x, y)
		})
	}
	return v
}
