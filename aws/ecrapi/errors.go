package ecrapi

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
)

// exceptions turns each of the registry's codes into ECR's exception. A test
// walks registry.Codes and fails on a gap.
var exceptions = map[registry.Code]func(m *string, e *registry.Error, q request) smithy.APIError{
	registry.RepositoryNotFound:       of(func(m *string) smithy.APIError { return &types.RepositoryNotFoundException{Message: m} }),
	registry.RepositoryAlreadyExists:  of(func(m *string) smithy.APIError { return &types.RepositoryAlreadyExistsException{Message: m} }),
	registry.RepositoryNotEmpty:       of(func(m *string) smithy.APIError { return &types.RepositoryNotEmptyException{Message: m} }),
	registry.RepositoryPolicyNotFound: of(func(m *string) smithy.APIError { return &types.RepositoryPolicyNotFoundException{Message: m} }),
	registry.RegistryPolicyNotFound:   of(func(m *string) smithy.APIError { return &types.RegistryPolicyNotFoundException{Message: m} }),
	registry.LifecyclePolicyNotFound:  of(func(m *string) smithy.APIError { return &types.LifecyclePolicyNotFoundException{Message: m} }),
	registry.TemplateNotFound:         of(func(m *string) smithy.APIError { return &types.TemplateNotFoundException{Message: m} }),
	registry.TemplateAlreadyExists:    of(func(m *string) smithy.APIError { return &types.TemplateAlreadyExistsException{Message: m} }),
	registry.ImageNotFound:            of(func(m *string) smithy.APIError { return &types.ImageNotFoundException{Message: m} }),
	registry.ImageAlreadyExists:       of(func(m *string) smithy.APIError { return &types.ImageAlreadyExistsException{Message: m} }),
	registry.ImageTagAlreadyExists:    of(func(m *string) smithy.APIError { return &types.ImageTagAlreadyExistsException{Message: m} }),
	registry.ImageDigestDoesNotMatch:  of(func(m *string) smithy.APIError { return &types.ImageDigestDoesNotMatchException{Message: m} }),
	registry.ReferencedImagesNotFound: of(func(m *string) smithy.APIError { return &types.ReferencedImagesNotFoundException{Message: m} }),
	registry.LayersNotFound:           of(func(m *string) smithy.APIError { return &types.LayersNotFoundException{Message: m} }),
	registry.LayerInaccessible:        of(func(m *string) smithy.APIError { return &types.LayerInaccessibleException{Message: m} }),
	registry.LayerAlreadyExists:       of(func(m *string) smithy.APIError { return &types.LayerAlreadyExistsException{Message: m} }),
	registry.LayerPartTooSmall:        of(func(m *string) smithy.APIError { return &types.LayerPartTooSmallException{Message: m} }),
	registry.InvalidLayer:             of(func(m *string) smithy.APIError { return &types.InvalidLayerException{Message: m} }),
	registry.InvalidLayerPart: func(m *string, e *registry.Error, q request) smithy.APIError {
		x := &types.InvalidLayerPartException{Message: m, RegistryId: aws.String(string(q.place.Account)), LastValidByteReceived: aws.Int64(e.Offset - 1)}
		if len(q.names) == 1 {
			x.RepositoryName = &q.names[0]
		}
		return x
	},
	registry.EmptyUpload:         of(func(m *string) smithy.APIError { return &types.EmptyUploadException{Message: m} }),
	registry.UploadNotFound:      of(func(m *string) smithy.APIError { return &types.UploadNotFoundException{Message: m} }),
	registry.ScanNotFound:        of(func(m *string) smithy.APIError { return &types.ScanNotFoundException{Message: m} }),
	registry.InvalidTagParameter: of(func(m *string) smithy.APIError { return &types.InvalidTagParameterException{Message: m} }),
	registry.TooManyTags:         of(func(m *string) smithy.APIError { return &types.TooManyTagsException{Message: m} }),
	registry.Validation:          of(func(m *string) smithy.APIError { return &types.ValidationException{Message: m} }),
	registry.LimitExceeded:       of(func(m *string) smithy.APIError { return &types.LimitExceededException{Message: m} }),
	registry.Kms:                 of(func(m *string) smithy.APIError { return &types.KmsException{Message: m} }),
	registry.InvalidParameter:    of(parameter),
	registry.ManifestInvalid:     of(parameter),
	registry.ManifestTooBig:      of(parameter),
	registry.DigestInvalid:       of(parameter),
	registry.NameInvalid:         of(parameter),
	registry.TagInvalid:          of(parameter),
	registry.RangeInvalid:        of(parameter),
	registry.UploadBusy:          of(parameter),
	registry.PageInvalid:         of(parameter),
	registry.BodyInvalid:         of(parameter),
	registry.SizeInvalid:         of(func(m *string) smithy.APIError { return &types.LimitExceededException{Message: m} }),
	registry.StorageFull:         of(func(m *string) smithy.APIError { return &types.ServerException{Message: m} }),
	registry.Unavailable: func(m *string, _ *registry.Error, _ request) smithy.APIError {
		return &smithy.GenericAPIError{Code: "ServiceUnavailableException", Message: *m, Fault: smithy.FaultServer}
	},
}

func of(f func(m *string) smithy.APIError) func(*string, *registry.Error, request) smithy.APIError {
	return func(m *string, _ *registry.Error, _ request) smithy.APIError { return f(m) }
}

func parameter(m *string) smithy.APIError { return &types.InvalidParameterException{Message: m} }

// exception turns an error into what the API answers; errors that it does not
// know pass unchanged and become an internal failure.
func exception(err error, q request) error {
	var (
		e      *registry.Error
		denied *gate.Denied
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &denied):
		return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: denied.Error()}
	case errors.As(err, &e):
		if f, ok := exceptions[e.Code]; ok {
			return f(aws.String(e.Message), e, q)
		}
	}
	return err
}

func invalid(name, format string, args ...any) error {
	return &types.InvalidParameterException{Message: aws.String(fmt.Sprintf("Invalid parameter at '%s' failed to satisfy constraint: '%s'",
		name, fmt.Sprintf(format, args...)))}
}

func missing(name string) error { return invalid(name, "Member must not be null") }
