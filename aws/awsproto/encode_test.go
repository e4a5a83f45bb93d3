package awsproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// BenchmarkEncode encodes a reply that describes 100 images.
func BenchmarkEncode(b *testing.B) {
	out := &ecr.DescribeImagesOutput{}
	for i := range 100 {
		out.ImageDetails = append(out.ImageDetails, types.ImageDetail{RegistryId: aws.String("000000000000"), RepositoryName: aws.String("team/app"),
			ImageDigest: aws.String(fmt.Sprintf("sha256:%064x", i)), ImageTags: []string{fmt.Sprint("v", i), "latest"}, ImageSizeInBytes: aws.Int64(123456789),
			ImagePushedAt: aws.Time(time.UnixMicro(1_790_000_000_000_000 + int64(i))), ImageManifestMediaType: aws.String("application/vnd.oci.image.manifest.v1+json"),
			ArtifactMediaType: aws.String("application/vnd.oci.image.config.v1+json"), LastRecordedPullTime: aws.Time(time.UnixMicro(1_790_000_000_000_000))})
	}
	c := ecrCodec()
	b.ReportAllocs()
	for b.Loop() {
		if text, err := c.encode(nil, out); err != nil || len(text) < 100*200 {
			b.Fatal(len(text), err)
		}
	}
}
