package ecrapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/registry"
)

// maxReferrers is the largest page of ListImageReferrers.
const maxReferrers = 50

func (s *Service) PutImage(ctx context.Context, in *ecr.PutImageInput, _ ...options) (*ecr.PutImageOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.ImageManifest == nil {
		return nil, missing("imageManifest")
	}
	n := registry.NewImage{Place: q.place, Repository: *in.RepositoryName, Tag: aws.ToString(in.ImageTag), Digest: aws.ToString(in.ImageDigest),
		MediaType: aws.ToString(in.ImageManifestMediaType), Body: []byte(*in.ImageManifest), Principal: gate.CallerFrom(ctx).Principal}
	out := &ecr.PutImageOutput{}
	return out, s.do(ctx, "PutImage", q, func(ctx context.Context) error {
		session, err := s.identity.SessionOf(ctx, n.Principal)
		if err != nil {
			return err
		}
		n.Origin = session.Origin()
		put, err := s.registry.PutImage(ctx, n)
		if err != nil {
			return err
		}
		if !put.Created {
			return &types.ImageAlreadyExistsException{Message: aws.String(fmt.Sprintf(
				"Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'",
				put.Digest, orNull(n.Tag), n.Repository, q.place.Account))}
		}
		out.Image = s.toImage(q, n.Repository, &put.Image, n.Tag)
		return nil
	})
}

func orNull(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

func (s *Service) toImage(q request, repo string, i *registry.Image, tag string) *types.Image {
	return &types.Image{RegistryId: aws.String(string(q.place.Account)), RepositoryName: aws.String(repo), ImageManifest: aws.String(string(i.Body)),
		ImageManifestMediaType: aws.String(i.MediaType), ImageId: identifier(i.Digest, tag)}
}

func identifier(digest, tag string) *types.ImageIdentifier {
	return &types.ImageIdentifier{ImageDigest: awsproto.Text(digest), ImageTag: awsproto.Text(tag)}
}

// failure is the row of a batch for an id that cannot be served.
func failure(id types.ImageIdentifier, code types.ImageFailureCode, reason string) types.ImageFailure {
	return types.ImageFailure{ImageId: &id, FailureCode: code, FailureReason: aws.String(reason)}
}

// checkID finds what is wrong with an id by itself.
func checkID(id types.ImageIdentifier) (registry.ImageID, *types.ImageFailure) {
	out := registry.ImageID{Digest: aws.ToString(id.ImageDigest), Tag: aws.ToString(id.ImageTag)}
	var f types.ImageFailure
	switch {
	case out.Digest == "" && out.Tag == "":
		f = failure(id, types.ImageFailureCodeMissingDigestAndTag, "Invalid request parameters: both tag and digest cannot be null")
	case out.Digest != "" && !digest.Valid(out.Digest):
		f = failure(id, types.ImageFailureCodeInvalidImageDigest, "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
	case out.Tag != "" && !registry.ValidTag(out.Tag):
		f = failure(id, types.ImageFailureCodeInvalidImageTag, "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
	default:
		return out, nil
	}
	return out, &f
}

func batch(n int, name string) error {
	if n < 1 || n > 100 {
		return invalid(name, "Member must have length between 1 and 100")
	}
	return nil
}

func (s *Service) BatchGetImage(ctx context.Context, in *ecr.BatchGetImageInput, _ ...options) (*ecr.BatchGetImageOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if err := batch(len(in.ImageIds), "imageIds"); err != nil {
		return nil, err
	}
	out := &ecr.BatchGetImageOutput{Images: []types.Image{}, Failures: []types.ImageFailure{}}
	return out, s.do(ctx, "BatchGetImage", q, func(ctx context.Context) error {
		for _, id := range in.ImageIds {
			want, bad := checkID(id)
			if bad != nil {
				out.Failures = append(out.Failures, *bad)
				continue
			}
			img, err := s.registry.Image(ctx, q.place, *in.RepositoryName, want)
			if registry.CodeOf(err) == registry.ImageNotFound || err == nil && in.AcceptedMediaTypes != nil && !slices.Contains(in.AcceptedMediaTypes, img.MediaType) {
				out.Failures = append(out.Failures, failure(id, types.ImageFailureCodeImageNotFound, "Requested image not found"))
				continue
			}
			if err != nil {
				return err
			}
			s.registry.Pulled(q.place, *in.RepositoryName, img.Digest)
			out.Images = append(out.Images, *s.toImage(q, *in.RepositoryName, img, want.Tag))
		}
		return nil
	})
}

func (s *Service) BatchDeleteImage(ctx context.Context, in *ecr.BatchDeleteImageInput, _ ...options) (*ecr.BatchDeleteImageOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if err := batch(len(in.ImageIds), "imageIds"); err != nil {
		return nil, err
	}
	out := &ecr.BatchDeleteImageOutput{ImageIds: []types.ImageIdentifier{}, Failures: []types.ImageFailure{}}
	return out, s.do(ctx, "BatchDeleteImage", q, func(ctx context.Context) error {
		if _, err := s.registry.Repository(ctx, q.place, *in.RepositoryName); err != nil {
			return err
		}
		// Indexes go before the images they need, whichever order was asked for.
		ids, failed := in.ImageIds, []types.ImageIdentifier(nil)
		for pass := range 2 {
			for _, id := range ids {
				again, err := s.deleteOne(ctx, q, *in.RepositoryName, id, pass == 0, out)
				if err != nil {
					return err
				}
				if again {
					failed = append(failed, id)
				}
			}
			ids, failed = failed, nil
		}
		return nil
	})
}

// deleteOne deletes by one id. again says that it may succeed once the other ids
// are gone.
func (s *Service) deleteOne(ctx context.Context, q request, repo string, id types.ImageIdentifier, first bool, out *ecr.BatchDeleteImageOutput) (again bool, err error) {
	want, bad := checkID(id)
	if bad != nil {
		out.Failures = append(out.Failures, *bad)
		return false, nil
	}
	gone, err := s.registry.DeleteImage(ctx, q.place, repo, want)
	switch {
	case errors.Is(err, registry.ErrReferenced) && first:
		return true, nil
	case errors.Is(err, registry.ErrReferenced):
		out.Failures = append(out.Failures, failure(id, types.ImageFailureCodeImageReferencedByManifestList,
			"Requested image referenced by manifest list: it is part of an index that is still in the repository"))
	case errors.Is(err, registry.ErrTagElsewhere):
		out.Failures = append(out.Failures, failure(id, types.ImageFailureCodeImageTagDoesNotMatchDigest, "The imageTag does not belong to the imageDigest"))
	case registry.CodeOf(err) == registry.ImageNotFound:
		out.Failures = append(out.Failures, failure(id, types.ImageFailureCodeImageNotFound, "Requested image not found"))
	case err != nil:
		return false, err
	}
	for _, g := range gone {
		out.ImageIds = append(out.ImageIds, *identifier(g.Digest, g.Tag))
	}
	return false, nil
}

func tagStatus(s types.TagStatus) (registry.TagStatus, error) {
	switch s {
	case "", types.TagStatusAny:
		return registry.Any, nil
	case types.TagStatusTagged:
		return registry.Tagged, nil
	case types.TagStatusUntagged:
		return registry.Untagged, nil
	}
	return "", invalid("filter.tagStatus", "Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]")
}

// query binds page tokens to what was asked.
func query(op string, q request, more ...string) string {
	return strings.Join(append([]string{op, string(q.place.Account), string(q.place.Region), strings.Join(q.names, ",")}, more...), " ")
}

func (s *Service) ListImages(ctx context.Context, in *ecr.ListImagesInput, _ ...options) (*ecr.ListImagesOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxResults, maxPage)
	if err != nil {
		return nil, err
	}
	var want types.TagStatus
	var state types.ImageStatusFilter
	if in.Filter != nil {
		want, state = in.Filter.TagStatus, in.Filter.ImageStatus
	}
	status, err := tagStatus(want)
	if err != nil {
		return nil, err
	}
	out := &ecr.ListImagesOutput{ImageIds: []types.ImageIdentifier{}}
	return out, s.do(ctx, "ListImages", q, func(ctx context.Context) error {
		var after registry.ImageRef
		id := query("ListImages", q, string(status), string(state))
		if err := s.registry.OpenPageToken(id, aws.ToString(in.NextToken), &after); err != nil {
			return err
		}
		list, err := s.registry.ImageRefs(ctx, q.place, *in.RepositoryName, status, after, size+1)
		if err != nil || inactive(state) {
			return err
		}
		if len(list) > size {
			list = list[:size]
			out.NextToken = aws.String(s.registry.PageToken(id, list[size-1]))
		}
		for _, r := range list {
			out.ImageIds = append(out.ImageIds, *identifier(r.Digest, r.Tag))
		}
		return nil
	})
}

// inactive reports a filter for images in the archive, of which there are none.
func inactive(f types.ImageStatusFilter) bool {
	return f == types.ImageStatusFilterArchived || f == types.ImageStatusFilterActivating
}

func toDetail(q request, repo string, i *registry.Image) types.ImageDetail {
	d := types.ImageDetail{RegistryId: aws.String(string(q.place.Account)), RepositoryName: aws.String(repo), ImageDigest: aws.String(i.Digest),
		ImageTags: i.Tags, ImageSizeInBytes: aws.Int64(i.Size), ImagePushedAt: aws.Time(i.PushedAt), ImageManifestMediaType: aws.String(i.MediaType),
		ArtifactMediaType: awsproto.Text(i.ArtifactType), SubjectManifestDigest: awsproto.Text(i.Subject), ImageStatus: types.ImageStatusActive}
	if !i.PulledAt.IsZero() {
		d.LastRecordedPullTime = aws.Time(i.PulledAt)
	}
	return d
}

func (s *Service) DescribeImages(ctx context.Context, in *ecr.DescribeImagesInput, _ ...options) (*ecr.DescribeImagesOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxResults, maxPage)
	if err != nil {
		return nil, err
	}
	if in.ImageIds != nil {
		if err := batch(len(in.ImageIds), "imageIds"); err != nil {
			return nil, err
		}
		if in.MaxResults != nil || in.NextToken != nil {
			return nil, invalid("maxResults", "maxResults and nextToken cannot be given together with imageIds")
		}
	}
	out := &ecr.DescribeImagesOutput{ImageDetails: []types.ImageDetail{}}
	return out, s.do(ctx, "DescribeImages", q, func(ctx context.Context) error {
		if in.ImageIds != nil {
			return s.describeSome(ctx, q, *in.RepositoryName, in.ImageIds, out)
		}
		return s.describePage(ctx, q, in, size, out)
	})
}

func (s *Service) describeSome(ctx context.Context, q request, repo string, ids []types.ImageIdentifier, out *ecr.DescribeImagesOutput) error {
	seen := map[string]bool{}
	for _, id := range ids {
		want, bad := checkID(id)
		if bad != nil {
			return invalid("imageIds", "%s", aws.ToString(bad.FailureReason))
		}
		img, err := s.registry.DescribeImage(ctx, q.place, repo, want)
		if err != nil {
			return err
		}
		if !seen[img.Digest] {
			seen[img.Digest] = true
			out.ImageDetails = append(out.ImageDetails, toDetail(q, repo, img))
		}
	}
	return nil
}

func (s *Service) describePage(ctx context.Context, q request, in *ecr.DescribeImagesInput, size int, out *ecr.DescribeImagesOutput) error {
	var want types.TagStatus
	var state types.ImageStatusFilter
	if in.Filter != nil {
		want, state = in.Filter.TagStatus, in.Filter.ImageStatus
	}
	status, err := tagStatus(want)
	if err != nil {
		return err
	}
	var after registry.ImageKey
	id := query("DescribeImages", q, string(status), string(state))
	if err := s.registry.OpenPageToken(id, aws.ToString(in.NextToken), &after); err != nil {
		return err
	}
	list, err := s.registry.Images(ctx, q.place, *in.RepositoryName, status, after, size+1)
	if err != nil || inactive(state) {
		return err
	}
	if len(list) > size {
		list = list[:size]
		out.NextToken = aws.String(s.registry.PageToken(id, list[size-1].Key()))
	}
	for _, i := range list {
		out.ImageDetails = append(out.ImageDetails, toDetail(q, *in.RepositoryName, i))
	}
	return nil
}

func (s *Service) ListImageReferrers(ctx context.Context, in *ecr.ListImageReferrersInput, _ ...options) (*ecr.ListImageReferrersOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxResults, maxReferrers)
	if err != nil {
		return nil, err
	}
	if in.SubjectId == nil || !digest.Valid(aws.ToString(in.SubjectId.ImageDigest)) {
		return nil, &types.ValidationException{Message: aws.String("Invalid parameter at 'subjectId.imageDigest' failed to satisfy constraint: 'must be a digest'")}
	}
	var artifacts []string
	var state types.ArtifactStatusFilter
	if in.Filter != nil {
		artifacts, state = in.Filter.ArtifactTypes, in.Filter.ArtifactStatus
	}
	if len(artifacts) > 5 {
		return nil, &types.ValidationException{Message: aws.String("Invalid parameter at 'filter.artifactTypes' failed to satisfy constraint: 'Member must have length less than or equal to 5'")}
	}
	out := &ecr.ListImageReferrersOutput{Referrers: []types.ImageReferrer{}}
	return out, s.do(ctx, "ListImageReferrers", q, func(ctx context.Context) error {
		var after string
		id := query("ListImageReferrers", q, *in.SubjectId.ImageDigest, strings.Join(artifacts, ","), string(state))
		if err := s.registry.OpenPageToken(id, aws.ToString(in.NextToken), &after); err != nil {
			return err
		}
		list, err := s.registry.Referrers(ctx, q.place, *in.RepositoryName, *in.SubjectId.ImageDigest, artifacts, after, size+1)
		if err != nil || state == types.ArtifactStatusFilterArchived || state == types.ArtifactStatusFilterActivating {
			return err
		}
		if len(list) > size {
			list = list[:size]
			out.NextToken = aws.String(s.registry.PageToken(id, list[size-1].Digest))
		}
		for _, r := range list {
			out.Referrers = append(out.Referrers, types.ImageReferrer{Digest: aws.String(r.Digest), MediaType: aws.String(r.MediaType),
				ArtifactType: awsproto.Text(r.ArtifactType), Size: aws.Int64(int64(len(r.Body))), Annotations: r.Annotations, ArtifactStatus: types.ArtifactStatusActive})
		}
		return nil
	})
}

// DescribeImageScanFindings finds none: nothing scans yet.
func (s *Service) DescribeImageScanFindings(ctx context.Context, in *ecr.DescribeImageScanFindingsInput, _ ...options) (*ecr.DescribeImageScanFindingsOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.ImageId == nil {
		return nil, missing("imageId")
	}
	want, bad := checkID(*in.ImageId)
	if bad != nil {
		return nil, invalid("imageId", "%s", aws.ToString(bad.FailureReason))
	}
	return nil, s.do(ctx, "DescribeImageScanFindings", q, func(ctx context.Context) error {
		if _, err := s.registry.Image(ctx, q.place, *in.RepositoryName, want); err != nil {
			return err
		}
		return &types.ScanNotFoundException{Message: aws.String(fmt.Sprintf("Image scan does not exist for the image with '%s' in the repository with name '%s' in the registry with id '%s'",
			want, *in.RepositoryName, q.place.Account))}
	})
}
