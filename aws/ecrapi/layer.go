package ecrapi

import (
	"bytes"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/registry"
)

const (
	// partSize is what clients are told to send at a time, in bytes.
	partSize = 10 << 20
	// maxPart is the largest part that is taken, in bytes (service model).
	maxPart = 20_971_520
	// urlLife is how long a download URL opens its layer.
	urlLife = 15 * time.Minute
)

func (s *Service) BatchCheckLayerAvailability(ctx context.Context, in *ecr.BatchCheckLayerAvailabilityInput, _ ...options) (*ecr.BatchCheckLayerAvailabilityOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if err := batch(len(in.LayerDigests), "layerDigests"); err != nil {
		return nil, err
	}
	out := &ecr.BatchCheckLayerAvailabilityOutput{Layers: []types.Layer{}, Failures: []types.LayerFailure{}}
	return out, s.do(ctx, "BatchCheckLayerAvailability", q, func(ctx context.Context) error {
		for _, d := range in.LayerDigests {
			if !digest.Valid(d) {
				code, why := types.LayerFailureCodeInvalidLayerDigest, "Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
				if d == "" {
					code, why = types.LayerFailureCodeMissingLayerDigest, "Invalid request parameters: layer digest cannot be empty"
				}
				out.Failures = append(out.Failures, types.LayerFailure{LayerDigest: aws.String(d), FailureCode: code, FailureReason: aws.String(why)})
				continue
			}
			l, err := s.registry.CheckLayer(ctx, q.place, *in.RepositoryName, d)
			switch {
			case registry.CodeOf(err) == registry.LayersNotFound:
				out.Layers = append(out.Layers, types.Layer{LayerDigest: aws.String(d), LayerAvailability: types.LayerAvailabilityUnavailable})
			case err != nil:
				return err
			default:
				out.Layers = append(out.Layers, types.Layer{LayerDigest: aws.String(d), LayerAvailability: types.LayerAvailabilityAvailable, LayerSize: aws.Int64(l.Size)})
			}
		}
		return nil
	})
}

func (s *Service) InitiateLayerUpload(ctx context.Context, in *ecr.InitiateLayerUploadInput, _ ...options) (*ecr.InitiateLayerUploadOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.InitiateLayerUploadOutput{PartSize: aws.Int64(partSize)}
	return out, s.do(ctx, "InitiateLayerUpload", q, func(ctx context.Context) error {
		caller := gate.CallerFrom(ctx)
		call := table["InitiateLayerUpload"].call("InitiateLayerUpload", caller, q)
		further := func(ctx context.Context, action string, act func(context.Context) error) error {
			return s.gate.Further(ctx, call, action, act)
		}
		ref, err := s.registry.StartUpload(ctx, q.place, *in.RepositoryName, caller.Principal, further)
		out.UploadId = aws.String(ref.ID)
		return err
	})
}

func (s *Service) upload(ctx context.Context, q request, id *string) (registry.UploadRef, error) {
	if id == nil {
		return registry.UploadRef{}, missing("uploadId")
	}
	return registry.UploadRef{Place: q.place, Repository: q.names[0], ID: *id, Principal: gate.CallerFrom(ctx).Principal.ARN}, nil
}

func (s *Service) UploadLayerPart(ctx context.Context, in *ecr.UploadLayerPartInput, _ ...options) (*ecr.UploadLayerPartOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	ref, err := s.upload(ctx, q, in.UploadId)
	if err != nil {
		return nil, err
	}
	n := int64(len(in.LayerPartBlob))
	switch {
	case in.PartFirstByte == nil:
		return nil, missing("partFirstByte")
	case in.PartLastByte == nil:
		return nil, missing("partLastByte")
	case n == 0 || n > maxPart:
		return nil, invalid("layerPartBlob", "Member must have length between 1 and %d", maxPart)
	case *in.PartFirstByte < 0 || *in.PartLastByte-*in.PartFirstByte+1 != n:
		return nil, invalid("partLastByte", "The part has %d bytes, which is not the distance from partFirstByte to partLastByte", n)
	}
	out := &ecr.UploadLayerPartOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName, UploadId: in.UploadId}
	err = s.do(ctx, "UploadLayerPart", q, func(ctx context.Context) error {
		size, err := s.registry.AppendUpload(ctx, ref, registry.Chunk{Body: bytes.NewReader(in.LayerPartBlob), From: *in.PartFirstByte, Length: n, Part: true})
		out.LastByteReceived = aws.Int64(size - 1)
		return err
	})
	if part, ok := err.(*types.InvalidLayerPartException); ok { //nolint:errorlint // exception returns the value itself
		part.UploadId = in.UploadId
	}
	return out, err
}

func (s *Service) CompleteLayerUpload(ctx context.Context, in *ecr.CompleteLayerUploadInput, _ ...options) (*ecr.CompleteLayerUploadOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	ref, err := s.upload(ctx, q, in.UploadId)
	if err != nil {
		return nil, err
	}
	if err := batch(len(in.LayerDigests), "layerDigests"); err != nil {
		return nil, err
	}
	for _, d := range in.LayerDigests {
		if !digest.Valid(d) {
			return nil, invalid("layerDigests", "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
		}
	}
	out := &ecr.CompleteLayerUploadOutput{RegistryId: aws.String(string(q.place.Account)), RepositoryName: in.RepositoryName, UploadId: in.UploadId}
	return out, s.do(ctx, "CompleteLayerUpload", q, func(ctx context.Context) error {
		l, err := s.registry.CompleteUpload(ctx, ref, in.LayerDigests[0])
		if err == nil {
			out.LayerDigest = aws.String(l.Digest)
		}
		return err
	})
}

// GetDownloadUrlForLayer answers with a URL of the data plane that opens this one
// layer for a while, without further credentials.
func (s *Service) GetDownloadUrlForLayer(ctx context.Context, in *ecr.GetDownloadUrlForLayerInput, _ ...options) (*ecr.GetDownloadUrlForLayerOutput, error) {
	q, err := s.repository(ctx, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	d := aws.ToString(in.LayerDigest)
	if !digest.Valid(d) {
		return nil, invalid("layerDigest", "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
	}
	out := &ecr.GetDownloadUrlForLayerOutput{LayerDigest: in.LayerDigest}
	return out, s.do(ctx, "GetDownloadUrlForLayer", q, func(ctx context.Context) error {
		if _, err := s.registry.Layer(ctx, q.place, *in.RepositoryName, d); err != nil {
			return err
		}
		grant := s.identity.IssueGrant(gate.CallerFrom(ctx).Principal, identity.Grant{Place: q.place, Repository: *in.RepositoryName, Digest: d}, urlLife)
		out.DownloadUrl = aws.String(s.endpoint(ctx, q.place) + "/v2/" + *in.RepositoryName + "/blobs/" + d + "?" + identity.GrantParam + "=" + grant)
		return nil
	})
}
