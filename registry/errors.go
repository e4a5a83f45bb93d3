package registry

import (
	"errors"
	"fmt"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/sqldb"
)

// Code is what went wrong, in ECR's own names where ECR has one. The set is
// closed: Codes lists it, and each front end has a table over it.
type Code string

// The codes. Those that end in Exception are ECR's; the others exist on the data
// plane only and have ECR's nearest exception in the API's table.
const (
	RepositoryNotFound       Code = "RepositoryNotFoundException"
	RepositoryAlreadyExists  Code = "RepositoryAlreadyExistsException"
	RepositoryNotEmpty       Code = "RepositoryNotEmptyException"
	RepositoryPolicyNotFound Code = "RepositoryPolicyNotFoundException"
	RegistryPolicyNotFound   Code = "RegistryPolicyNotFoundException"
	LifecyclePolicyNotFound  Code = "LifecyclePolicyNotFoundException"
	TemplateNotFound         Code = "TemplateNotFoundException"
	TemplateAlreadyExists    Code = "TemplateAlreadyExistsException"
	ImageNotFound            Code = "ImageNotFoundException"
	ImageAlreadyExists       Code = "ImageAlreadyExistsException"
	ImageTagAlreadyExists    Code = "ImageTagAlreadyExistsException"
	ImageDigestDoesNotMatch  Code = "ImageDigestDoesNotMatchException"
	ReferencedImagesNotFound Code = "ReferencedImagesNotFoundException"
	LayersNotFound           Code = "LayersNotFoundException"
	LayerInaccessible        Code = "LayerInaccessibleException"
	LayerAlreadyExists       Code = "LayerAlreadyExistsException"
	LayerPartTooSmall        Code = "LayerPartTooSmallException"
	InvalidLayer             Code = "InvalidLayerException"
	InvalidLayerPart         Code = "InvalidLayerPartException"
	EmptyUpload              Code = "EmptyUploadException"
	UploadNotFound           Code = "UploadNotFoundException"
	ScanNotFound             Code = "ScanNotFoundException"
	InvalidParameter         Code = "InvalidParameterException"
	InvalidTagParameter      Code = "InvalidTagParameterException"
	TooManyTags              Code = "TooManyTagsException"
	Validation               Code = "ValidationException"
	LimitExceeded            Code = "LimitExceededException"
	Kms                      Code = "KmsException"

	ManifestInvalid Code = "ManifestInvalid" // the manifest breaks its format's rules
	DigestInvalid   Code = "DigestInvalid"   // not a digest, or not this content's
	NameInvalid     Code = "NameInvalid"     // not a repository name
	TagInvalid      Code = "TagInvalid"      // not a tag
	RangeInvalid    Code = "RangeInvalid"    // a chunk that does not follow the last one
	UploadBusy      Code = "UploadBusy"      // another request is writing to the upload
	SizeInvalid     Code = "SizeInvalid"     // over a size limit
	PageInvalid     Code = "PageInvalid"     // a page token or size that is not acceptable
	BodyInvalid     Code = "BodyInvalid"     // the body ended before its announced end
	ManifestTooBig  Code = "ManifestTooBig"  // a manifest over 4 MiB
	StorageFull     Code = "StorageFull"     // no room on the disk
	Unavailable     Code = "Unavailable"     // storage or database cannot answer now
)

// Codes lists every code, for the tables' tests.
func Codes() []Code {
	return []Code{RepositoryNotFound, RepositoryAlreadyExists, RepositoryNotEmpty, RepositoryPolicyNotFound,
		RegistryPolicyNotFound, LifecyclePolicyNotFound, TemplateNotFound, TemplateAlreadyExists, ImageNotFound,
		ImageAlreadyExists, ImageTagAlreadyExists, ImageDigestDoesNotMatch, ReferencedImagesNotFound, LayersNotFound,
		LayerInaccessible, LayerAlreadyExists, LayerPartTooSmall, InvalidLayer, InvalidLayerPart, EmptyUpload,
		UploadNotFound, ScanNotFound, InvalidParameter, InvalidTagParameter, TooManyTags, Validation, LimitExceeded, Kms,
		ManifestInvalid, DigestInvalid, NameInvalid, TagInvalid, RangeInvalid, UploadBusy, SizeInvalid, PageInvalid,
		BodyInvalid, ManifestTooBig, StorageFull, Unavailable}
}

// Error is what the registry's methods return.
type Error struct {
	Code    Code
	Message string // for the caller, in ECR's words where those are known
	// Digests are the missing ones of LayersNotFound and ReferencedImagesNotFound.
	Digests []string
	// Offset is how many bytes an upload holds, with RangeInvalid, BodyInvalid
	// and InvalidLayerPart.
	Offset int64
	Err    error // the cause, for the log
}

func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// ErrorCode and ErrorMessage are what a record of the call says.
func (e *Error) ErrorCode() string { return string(e.Code) }

// ErrorMessage is the text for the caller.
func (e *Error) ErrorMessage() string { return e.Message }

// CodeOf returns the code of an error, "" for one that is not the registry's.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func fail(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// storage turns a failure of disk or database into its code; the registry's own
// errors and unexpected ones pass unchanged.
func storage(err error) error {
	var own *Error
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.Is(err, blob.ErrFull), errors.Is(err, sqldb.ErrFull):
		return &Error{Code: StorageFull, Message: "There is no space left to store this. Free some space on the server and try again.", Err: err}
	case errors.Is(err, sqldb.ErrUnavailable), errors.Is(err, blob.ErrFailed), errors.Is(err, sqldb.ErrFailed):
		return &Error{Code: Unavailable, Message: "The registry's storage cannot answer at the moment. Try again in a few seconds.", Err: err}
	}
	return err
}

// Texts that clients and tests match on.

func errRepositoryNotFound(p arn.Place, name string) *Error {
	return fail(RepositoryNotFound, "The repository with name '%s' does not exist in the registry with id '%s'", name, p.Account)
}

func errImageNotFound(p arn.Place, repo string, id ImageID) *Error {
	return fail(ImageNotFound, "The image with imageId %s does not exist within the repository with name '%s' in the registry with id '%s'",
		id, repo, p.Account)
}

// constraint is ECR's form for a parameter that is not acceptable.
func constraint(parameter, why string, args ...any) *Error {
	return fail(InvalidParameter, "Invalid parameter at '%s' failed to satisfy constraint: '%s'", parameter, fmt.Sprintf(why, args...))
}
