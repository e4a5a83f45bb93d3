// Package cloudshape writes ECR's resources as CloudFormation's resource types have them,
// which is how the Cloud Control API and the exporters built on it show them.
//
// It turns ECR's own answers into documents, and serves nothing.
package cloudshape

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
)

// Repository is the type of repositories.
const Repository = "AWS::ECR::Repository"

// Document is a resource's properties.
type Document = map[string]any

// ECR is what is asked of Amazon ECR's API for a repository's document.
type ECR interface {
	ListTagsForResource(context.Context, *ecr.ListTagsForResourceInput, ...func(*ecr.Options)) (*ecr.ListTagsForResourceOutput, error)
	GetRepositoryPolicy(context.Context, *ecr.GetRepositoryPolicyInput, ...func(*ecr.Options)) (*ecr.GetRepositoryPolicyOutput, error)
	GetLifecyclePolicy(context.Context, *ecr.GetLifecyclePolicyInput, ...func(*ecr.Options)) (*ecr.GetLifecyclePolicyOutput, error)
}

// Read is RepositoryOf with the tags, policy and lifecycle that the API has.
func Read(ctx context.Context, api ECR, r *types.Repository) (Document, error) {
	tags, err := api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: r.RepositoryArn})
	if err != nil {
		return nil, err
	}
	policy, lifecycle := "", ""
	if got, err := api.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: r.RepositoryName}); err == nil {
		policy = aws.ToString(got.PolicyText)
	} else if !is(err, "RepositoryPolicyNotFoundException") {
		return nil, err
	}
	if got, err := api.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: r.RepositoryName}); err == nil {
		lifecycle = aws.ToString(got.LifecyclePolicyText)
	} else if !is(err, "LifecyclePolicyNotFoundException") {
		return nil, err
	}
	return RepositoryOf(r, tags.Tags, policy, lifecycle), nil
}

func is(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// RepositoryOf is the document of a repository with its tags, and its policy and
// lifecycle, "" for none. Tags are sorted by key and [] when there are none.
func RepositoryOf(r *types.Repository, tags []types.Tag, policy, lifecycle string) Document {
	d := Document{"RepositoryName": aws.ToString(r.RepositoryName), "Arn": aws.ToString(r.RepositoryArn), "RepositoryUri": aws.ToString(r.RepositoryUri),
		"ImageTagMutability": string(r.ImageTagMutability), "ImageScanningConfiguration": Document{"ScanOnPush": r.ImageScanningConfiguration != nil && r.ImageScanningConfiguration.ScanOnPush}}
	encryption := Document{"EncryptionType": "AES256"}
	if c := r.EncryptionConfiguration; c != nil {
		encryption["EncryptionType"] = string(c.EncryptionType)
		if c.KmsKey != nil {
			encryption["KmsKey"] = *c.KmsKey
		}
	}
	d["EncryptionConfiguration"] = encryption
	var filters []any
	for _, f := range r.ImageTagMutabilityExclusionFilters {
		filters = append(filters, Document{"ImageTagMutabilityExclusionFilterType": string(f.FilterType), "ImageTagMutabilityExclusionFilterValue": aws.ToString(f.Filter)})
	}
	if filters != nil {
		d["ImageTagMutabilityExclusionFilters"] = filters
	}
	if lifecycle != "" {
		d["LifecyclePolicy"] = Document{"LifecyclePolicyText": lifecycle, "RegistryId": aws.ToString(r.RegistryId)}
	}
	if policy != "" {
		var v any
		if json.Unmarshal([]byte(policy), &v) != nil {
			v = policy
		}
		d["RepositoryPolicyText"] = v
	}
	sorted := slices.SortedFunc(slices.Values(tags), func(a, b types.Tag) int { return cmp.Compare(aws.ToString(a.Key), aws.ToString(b.Key)) })
	list := []any{}
	for _, t := range sorted {
		list = append(list, Document{"Key": aws.ToString(t.Key), "Value": aws.ToString(t.Value)})
	}
	d["Tags"] = list
	return d
}
