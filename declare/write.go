package declare

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/identity/policy"
)

// gone reports whether an answer says that a thing is not there, which is what a
// deletion wants.
func gone(err error) bool {
	return is(err, "NoSuchEntity", "NoSuchEntityException", "RepositoryNotFoundException", "TemplateNotFoundException", "RegistryPolicyNotFoundException",
		"RepositoryPolicyNotFoundException", "LifecyclePolicyNotFoundException")
}

func ignoreGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

func putProvider(ctx context.Context, api IAM, c *Change) error {
	if c.Action == Create {
		_, err := api.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://" + policy.GitHubIssuer), ClientIDList: []string{audience}})
		if !is(err, "EntityAlreadyExists", "EntityAlreadyExistsException") {
			return err
		}
	}
	_, err := api.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(providerARN(c.Account)), ClientID: aws.String(audience)})
	return err
}

func deleteProvider(ctx context.Context, api IAM, c *Change) error {
	_, err := api.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(providerARN(c.Account))})
	return ignoreGone(err)
}

// roleDescription is what people read of a declared role.
const roleDescription = "Lets GitHub Actions push to ECR"

func putRole(ctx context.Context, api IAM, c *Change) error {
	set, created := c.set(), c.Action == Create
	if created {
		_, err := api.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &c.Name, AssumeRolePolicyDocument: aws.String(set[fieldTrust]), Description: aws.String(roleDescription)})
		if err != nil && !is(err, "EntityAlreadyExists", "EntityAlreadyExistsException") {
			return err
		}
		created = err == nil
	}
	if text, ok := set[fieldTrust]; ok && !created {
		if _, err := api.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &c.Name, PolicyDocument: &text}); err != nil {
			return err
		}
	}
	if text, ok := set[fieldInline]; ok {
		_, err := api.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &c.Name, PolicyName: aws.String(inlineName), PolicyDocument: &text})
		return err
	}
	return nil
}

// deleteRole removes a role with all that keeps it.
func deleteRole(ctx context.Context, api IAM, name string) error {
	inline, err := api.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &name})
	if err != nil {
		return ignoreGone(err)
	}
	for _, p := range inline.PolicyNames {
		if _, err := api.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &p}); ignoreGone(err) != nil {
			return err
		}
	}
	attached, err := api.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	if err != nil {
		return ignoreGone(err)
	}
	for _, p := range attached.AttachedPolicies {
		if _, err := api.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: p.PolicyArn}); ignoreGone(err) != nil {
			return err
		}
	}
	_, err = api.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
	return ignoreGone(err)
}

func exclusions(s string) []types.ImageTagMutabilityExclusionFilter {
	var out []types.ImageTagMutabilityExclusionFilter
	for _, f := range unlist(s) {
		out = append(out, types.ImageTagMutabilityExclusionFilter{Filter: aws.String(f), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard})
	}
	return out
}

func createRepository(ctx context.Context, api ECR, name string, set map[string]string) error {
	in := &ecr.CreateRepositoryInput{RepositoryName: &name, ImageTagMutability: types.ImageTagMutability(set[fieldMutability]), ImageTagMutabilityExclusionFilters: exclusions(set[fieldExclusions])}
	if v := set[fieldScan]; v != "" {
		in.ImageScanningConfiguration = &types.ImageScanningConfiguration{ScanOnPush: v == "true"}
	}
	if v := set[fieldEncryption]; v != "" {
		in.EncryptionConfiguration = &types.EncryptionConfiguration{EncryptionType: types.EncryptionType(v)}
		if k := set[fieldKMSKey]; k != "" {
			in.EncryptionConfiguration.KmsKey = &k
		}
	}
	for k, v := range set {
		if key, ok := strings.CutPrefix(k, fieldTag); ok {
			in.Tags = append(in.Tags, types.Tag{Key: &key, Value: &v})
		}
	}
	_, err := api.CreateRepository(ctx, in)
	return err
}

func putRepository(ctx context.Context, api ECR, c *Change) error {
	set := c.set()
	if c.Action == Create {
		err := createRepository(ctx, api, c.Name, set)
		switch {
		case err == nil:
			return putPolicies(ctx, api, c.Name, set)
		case !is(err, "RepositoryAlreadyExistsException"):
			return err
		}
	}
	if err := putSettings(ctx, api, c, set); err != nil {
		return err
	}
	return putPolicies(ctx, api, c.Name, set)
}

// putSettings changes what an existing repository has.
func putSettings(ctx context.Context, api ECR, c *Change, set map[string]string) error {
	_, mode := set[fieldMutability]
	_, except := set[fieldExclusions]
	if mode || except {
		in := &ecr.PutImageTagMutabilityInput{RepositoryName: &c.Name}
		all := c.whole()
		for _, f := range []string{fieldMutability, fieldExclusions} { // they go together
			if v, ok := set[f]; ok {
				all[f] = v
			}
		}
		in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters = types.ImageTagMutability(or(all[fieldMutability], "MUTABLE")), exclusions(all[fieldExclusions])
		if _, err := api.PutImageTagMutability(ctx, in); err != nil {
			return err
		}
	}
	if v, ok := set[fieldScan]; ok {
		if _, err := api.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{RepositoryName: &c.Name,
			ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: v == "true"}}); err != nil {
			return err
		}
	}
	return putTags(ctx, api, c)
}

func putTags(ctx context.Context, api ECR, c *Change) error {
	var add []types.Tag
	var remove []string
	for _, f := range c.Fields {
		key, ok := strings.CutPrefix(f.Field, fieldTag)
		if !ok {
			continue
		}
		if v, declared := c.resource.Fields[f.Field]; declared {
			add = append(add, types.Tag{Key: &key, Value: &v})
		} else {
			remove = append(remove, key)
		}
	}
	if add == nil && remove == nil {
		return nil
	}
	got, err := api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{c.Name}})
	if err != nil {
		return err
	}
	if add != nil {
		if _, err := api.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: got.Repositories[0].RepositoryArn, Tags: add}); err != nil {
			return err
		}
	}
	if remove != nil {
		_, err = api.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: got.Repositories[0].RepositoryArn, TagKeys: remove})
	}
	return err
}

func putPolicies(ctx context.Context, api ECR, name string, set map[string]string) error {
	if text, ok := set[fieldPolicy]; ok {
		var err error
		if text == "" {
			_, err = api.DeleteRepositoryPolicy(ctx, &ecr.DeleteRepositoryPolicyInput{RepositoryName: &name})
			err = ignoreGone(err)
		} else {
			_, err = api.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: &name, PolicyText: &text})
		}
		if err != nil {
			return err
		}
	}
	if text, ok := set[fieldLifecycle]; ok {
		var err error
		if text == "" {
			_, err = api.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: &name})
			err = ignoreGone(err)
		} else {
			_, err = api.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: &name, LifecyclePolicyText: &text})
		}
		return err
	}
	return nil
}

func deleteRepository(ctx context.Context, api ECR, name string, force bool) error {
	_, err := api.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &name, Force: force})
	return ignoreGone(err)
}

// putTemplate writes a template whole.
func putTemplate(ctx context.Context, api ECR, c *Change) error {
	f := c.whole()
	enc := &types.EncryptionConfigurationForRepositoryCreationTemplate{EncryptionType: types.EncryptionType(f[fieldEncryption])}
	if k := f[fieldKMSKey]; k != "" {
		enc.KmsKey = &k
	}
	tags := []types.Tag{}
	var byKey map[string]string
	if f[fieldTags] != "" {
		if err := json.Unmarshal([]byte(f[fieldTags]), &byKey); err != nil {
			return err
		}
	}
	for k, v := range byKey {
		tags = append(tags, types.Tag{Key: &k, Value: &v})
	}
	var applied []types.RCTAppliedFor
	for _, a := range unlist(f[fieldAppliedFor]) {
		applied = append(applied, types.RCTAppliedFor(a))
	}
	given := func(field string) *string {
		if f[field] == "" {
			return nil
		}
		return aws.String(f[field])
	}
	if c.Action == Create {
		_, err := api.CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{Prefix: &c.Name, AppliedFor: applied, Description: given(fieldDescription),
			CustomRoleArn: given(fieldCustomRole), ImageTagMutability: types.ImageTagMutability(f[fieldMutability]), ImageTagMutabilityExclusionFilters: exclusions(f[fieldExclusions]),
			EncryptionConfiguration: enc, ResourceTags: tags, RepositoryPolicy: given(fieldPolicy), LifecyclePolicy: given(fieldLifecycle)})
		if !is(err, "TemplateAlreadyExistsException") {
			return err
		}
	}
	// An update leaves what it is not given: empty texts take away.
	_, err := api.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: &c.Name, AppliedFor: applied, Description: aws.String(f[fieldDescription]),
		CustomRoleArn: given(fieldCustomRole), ImageTagMutability: types.ImageTagMutability(f[fieldMutability]), ImageTagMutabilityExclusionFilters: exclusions(f[fieldExclusions]),
		EncryptionConfiguration: enc, ResourceTags: tags, RepositoryPolicy: aws.String(f[fieldPolicy]), LifecyclePolicy: aws.String(f[fieldLifecycle])})
	return err
}

func deleteTemplate(ctx context.Context, api ECR, prefix string) error {
	_, err := api.DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: &prefix})
	return ignoreGone(err)
}

func putRegistryPolicy(ctx context.Context, api ECR, c *Change) error {
	_, err := api.PutRegistryPolicy(ctx, &ecr.PutRegistryPolicyInput{PolicyText: aws.String(c.resource.Fields[fieldRegistry])})
	return err
}

func deleteRegistryPolicy(ctx context.Context, api ECR) error {
	_, err := api.DeleteRegistryPolicy(ctx, &ecr.DeleteRegistryPolicyInput{})
	return ignoreGone(err)
}
