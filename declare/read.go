package declare

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/arn"
)

// pageSize is the largest page of ECR's lists.
const pageSize = 1000

// state is what there is, by thing and field. A field that is not set has no entry.
type state = map[key]map[string]string

// read finds the things of a place that are asked for, with the fields that are.
func read(ctx context.Context, c Clients, p arn.Place, fields map[key]map[string]bool, progress func(string, int, int)) (state, error) {
	out := state{}
	byKind := map[Kind][]string{}
	for k := range fields {
		byKind[k.Kind] = append(byKind[k.Kind], k.Name)
	}
	if names := byKind[Repository]; names != nil {
		if err := readRepositories(ctx, c.ECR, names, fields, out, progress); err != nil {
			return nil, fmt.Errorf("read the repositories of account %s: %w", p.Account, plain(err))
		}
	}
	for _, name := range byKind[Role] {
		f, err := readRole(ctx, c.IAM, name)
		if err != nil {
			return nil, fmt.Errorf("read role %s of account %s: %w", name, p.Account, plain(err))
		}
		if f != nil {
			out[key{Kind: Role, Name: name}] = f
		}
	}
	for _, name := range byKind[Provider] {
		got, err := c.IAM.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(providerARN(p.Account))})
		if is(err, "NoSuchEntity", "NoSuchEntityException") {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read identity provider %s of account %s: %w", name, p.Account, plain(err))
		}
		f := map[string]string{}
		for _, id := range got.ClientIDList {
			f[fieldClient+id] = "true"
		}
		out[key{Kind: Provider, Name: name}] = f
	}
	if names := byKind[Template]; names != nil {
		all, err := Templates(ctx, c.ECR)
		if err != nil {
			return nil, fmt.Errorf("read the creation templates of account %s: %w", p.Account, plain(err))
		}
		for prefix, f := range all {
			if slices.Contains(names, prefix) {
				out[key{Kind: Template, Name: prefix}] = f
			}
		}
	}
	if byKind[RegistryPolicy] != nil {
		got, err := c.ECR.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
		if err == nil {
			out[key{Kind: RegistryPolicy, Name: ""}] = map[string]string{fieldRegistry: aws.ToString(got.PolicyText)}
		} else if !is(err, "RegistryPolicyNotFoundException") {
			return nil, fmt.Errorf("read the registry policy of account %s: %w", p.Account, plain(err))
		}
	}
	return out, nil
}

// few is how many repositories are asked for one by one rather than by a list of all.
const few = 50

func readRepositories(ctx context.Context, api ECR, names []string, fields map[key]map[string]bool, out state, progress func(string, int, int)) error {
	found := make([]*types.Repository, len(names))
	if len(names) <= few {
		err := each(ctx, len(names), func(ctx context.Context, i int) error {
			got, err := api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{names[i]}})
			if err == nil && len(got.Repositories) == 1 {
				found[i] = &got.Repositories[0]
			} else if is(err, "RepositoryNotFoundException") {
				err = nil
			}
			return err
		}, func(int) {})
		if err != nil {
			return err
		}
	} else {
		all, err := Repositories(ctx, api, nil)
		if err != nil {
			return err
		}
		at := map[string]int{}
		for i, n := range names {
			at[n] = i
		}
		for i := range all {
			if n, ok := at[aws.ToString(all[i].RepositoryName)]; ok {
				found[n] = &all[i]
			}
		}
	}
	found = slices.DeleteFunc(found, func(r *types.Repository) bool { return r == nil })
	result := make([]map[string]string, len(found))
	err := each(ctx, len(found), func(ctx context.Context, i int) error {
		want := fields[key{Kind: Repository, Name: aws.ToString(found[i].RepositoryName)}]
		var err error
		result[i], err = RepositoryFields(ctx, api, found[i], func(f string) bool {
			return want[f] || f == fieldTag && slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(k string) bool { return strings.HasPrefix(k, fieldTag) })
		})
		return err
	}, func(n int) { progress("reading repositories", n, len(found)) })
	for i, r := range found {
		out[key{Kind: Repository, Name: aws.ToString(r.RepositoryName)}] = result[i]
	}
	return err
}

// Repositories lists the repositories of a registry, or those that are named; one that is
// not there is an error.
func Repositories(ctx context.Context, api ECR, names []string) ([]types.Repository, error) {
	var all []types.Repository
	in := &ecr.DescribeRepositoriesInput{}
	if len(names) > 0 {
		in.RepositoryNames = names
	} else {
		in.MaxResults = aws.Int32(pageSize)
	}
	for {
		page, err := api.DescribeRepositories(ctx, in)
		if err != nil {
			return nil, plain(err)
		}
		all = append(all, page.Repositories...)
		if in.NextToken = page.NextToken; in.NextToken == nil {
			return all, nil
		}
	}
}

// RepositoryFields reads the fields of a repository; what needs a further call only
// if want says so.
func RepositoryFields(ctx context.Context, api ECR, r *types.Repository, want func(field string) bool) (map[string]string, error) {
	f := map[string]string{fieldMutability: string(r.ImageTagMutability), fieldScan: "false"}
	if c := r.ImageScanningConfiguration; c != nil {
		f[fieldScan] = fmt.Sprint(c.ScanOnPush)
	}
	if x := filters(r.ImageTagMutabilityExclusionFilters); x != "" {
		f[fieldExclusions] = x
	}
	f[fieldEncryption] = "AES256"
	if c := r.EncryptionConfiguration; c != nil {
		f[fieldEncryption] = string(c.EncryptionType)
		if k := aws.ToString(c.KmsKey); k != "" {
			f[fieldKMSKey] = k
		}
	}
	if want(fieldPolicy) {
		got, err := api.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: r.RepositoryName})
		if err == nil {
			f[fieldPolicy] = aws.ToString(got.PolicyText)
		} else if !is(err, "RepositoryPolicyNotFoundException") {
			return nil, err
		}
	}
	if want(fieldLifecycle) {
		got, err := api.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: r.RepositoryName})
		if err == nil {
			f[fieldLifecycle] = aws.ToString(got.LifecyclePolicyText)
		} else if !is(err, "LifecyclePolicyNotFoundException") {
			return nil, err
		}
	}
	if want(fieldTag) {
		got, err := api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: r.RepositoryArn})
		if err != nil {
			return nil, err
		}
		for _, t := range got.Tags {
			f[fieldTag+aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	return f, nil
}

func filters(in []types.ImageTagMutabilityExclusionFilter) string {
	var out []string
	for _, f := range in {
		out = append(out, aws.ToString(f.Filter))
	}
	return list(out)
}

// URI is what images of a repository are called.
func URI(ctx context.Context, api ECR, name string) (string, error) {
	got, err := api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
	if err != nil {
		return "", plain(err)
	}
	return aws.ToString(got.Repositories[0].RepositoryUri), nil
}

func holdsImages(ctx context.Context, api ECR, name string) (bool, error) {
	got, err := api.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: &name, MaxResults: aws.Int32(1)})
	if err != nil {
		return false, plain(err)
	}
	return len(got.ImageIds) > 0, nil
}

// inlineName is the name of the policy that a declared role has.
const inlineName = "ecr"

// readRole reads a role, nil if it is not there.
func readRole(ctx context.Context, api IAM, name string) (map[string]string, error) {
	got, err := api.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if is(err, "NoSuchEntity", "NoSuchEntityException") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := map[string]string{}
	if f[fieldTrust], err = url.QueryUnescape(aws.ToString(got.Role.AssumeRolePolicyDocument)); err != nil {
		return nil, err
	}
	p, err := api.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: aws.String(inlineName)})
	if is(err, "NoSuchEntity", "NoSuchEntityException") {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	f[fieldInline], err = url.QueryUnescape(aws.ToString(p.PolicyDocument))
	return f, err
}

// Templates reads all creation templates, by prefix.
func Templates(ctx context.Context, api ECR) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	in := &ecr.DescribeRepositoryCreationTemplatesInput{MaxResults: aws.Int32(pageSize)}
	for {
		page, err := api.DescribeRepositoryCreationTemplates(ctx, in)
		if err != nil {
			return nil, err
		}
		for i := range page.RepositoryCreationTemplates {
			t := &page.RepositoryCreationTemplates[i]
			f := map[string]string{}
			put := func(k, v string) {
				if v != "" {
					f[k] = v
				}
			}
			var applied []string
			for _, a := range t.AppliedFor {
				applied = append(applied, string(a))
			}
			put(fieldAppliedFor, list(applied))
			put(fieldDescription, aws.ToString(t.Description))
			put(fieldCustomRole, aws.ToString(t.CustomRoleArn))
			put(fieldMutability, string(t.ImageTagMutability))
			put(fieldExclusions, filters(t.ImageTagMutabilityExclusionFilters))
			put(fieldPolicy, aws.ToString(t.RepositoryPolicy))
			put(fieldLifecycle, aws.ToString(t.LifecyclePolicy))
			f[fieldEncryption] = "AES256"
			if c := t.EncryptionConfiguration; c != nil {
				put(fieldEncryption, string(c.EncryptionType))
				put(fieldKMSKey, aws.ToString(c.KmsKey))
			}
			if len(t.ResourceTags) > 0 {
				tags := map[string]string{}
				for _, tag := range t.ResourceTags {
					tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
				}
				b, err := json.Marshal(tags)
				if err != nil {
					return nil, err
				}
				put(fieldTags, string(b))
			}
			out[aws.ToString(t.Prefix)] = f
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			return out, nil
		}
	}
}
