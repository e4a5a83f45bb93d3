package cloudshape_test

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/aws/cloudshape"
)

// TestRepository: what is not set is left out, but for what AWS always shows.
func TestRepository(t *testing.T) {
	plain := &types.Repository{RepositoryName: aws.String("a"), RepositoryArn: aws.String("arn"), RepositoryUri: aws.String("uri"), RegistryId: aws.String("1"), ImageTagMutability: "MUTABLE"}
	full := *plain
	full.ImageTagMutability = "IMMUTABLE_WITH_EXCLUSION"
	full.ImageTagMutabilityExclusionFilters = []types.ImageTagMutabilityExclusionFilter{{Filter: aws.String("v*"), FilterType: "WILDCARD"}}
	full.ImageScanningConfiguration = &types.ImageScanningConfiguration{ScanOnPush: true}
	full.EncryptionConfiguration = &types.EncryptionConfiguration{EncryptionType: "KMS", KmsKey: aws.String("key")}
	for _, c := range []struct {
		got  cloudshape.Document
		want string
	}{
		{cloudshape.RepositoryOf(plain, nil, "", ""), `{"RepositoryName":"a","Arn":"arn","RepositoryUri":"uri","ImageTagMutability":"MUTABLE","ImageScanningConfiguration":{"ScanOnPush":false},
			"EncryptionConfiguration":{"EncryptionType":"AES256"},"Tags":[]}`},
		{cloudshape.RepositoryOf(&full, []types.Tag{{Key: aws.String("b"), Value: aws.String("")}, {Key: aws.String("a"), Value: aws.String("1")}}, `{"Statement":[]}`, `{"rules":[]}`),
			`{"RepositoryName":"a","Arn":"arn","RepositoryUri":"uri","ImageTagMutability":"IMMUTABLE_WITH_EXCLUSION","ImageTagMutabilityExclusionFilters":[{"ImageTagMutabilityExclusionFilterType":"WILDCARD",
			"ImageTagMutabilityExclusionFilterValue":"v*"}],"ImageScanningConfiguration":{"ScanOnPush":true},"EncryptionConfiguration":{"EncryptionType":"KMS","KmsKey":"key"},
			"LifecyclePolicy":{"LifecyclePolicyText":"{\"rules\":[]}","RegistryId":"1"},"RepositoryPolicyText":{"Statement":[]},"Tags":[{"Key":"a","Value":"1"},{"Key":"b","Value":""}]}`},
	} {
		b, err := json.Marshal(c.got)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}
