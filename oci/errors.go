package oci

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
)

// answer is the status and the code of the specification for an error.
type answer struct {
	status int
	code   string
}

// answers covers each of the registry's codes; a test fails on a gap.
var answers = map[registry.Code]answer{
	registry.RepositoryNotFound:       {http.StatusNotFound, "NAME_UNKNOWN"},
	registry.RepositoryAlreadyExists:  {http.StatusConflict, "DENIED"},
	registry.RepositoryNotEmpty:       {http.StatusConflict, "DENIED"},
	registry.RepositoryPolicyNotFound: {http.StatusNotFound, "NAME_UNKNOWN"},
	registry.RegistryPolicyNotFound:   {http.StatusNotFound, "NAME_UNKNOWN"},
	registry.LifecyclePolicyNotFound:  {http.StatusNotFound, "NAME_UNKNOWN"},
	registry.TemplateNotFound:         {http.StatusNotFound, "NAME_UNKNOWN"},
	registry.TemplateAlreadyExists:    {http.StatusConflict, "DENIED"},
	registry.ImageNotFound:            {http.StatusNotFound, "MANIFEST_UNKNOWN"},
	registry.ImageAlreadyExists:       {http.StatusConflict, "MANIFEST_INVALID"},
	registry.ImageTagAlreadyExists:    {http.StatusBadRequest, "TAG_INVALID"},
	registry.ImageDigestDoesNotMatch:  {http.StatusBadRequest, "DIGEST_INVALID"},
	registry.ReferencedImagesNotFound: {http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
	registry.LayersNotFound:           {http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
	registry.LayerInaccessible:        {http.StatusInternalServerError, "BLOB_UNKNOWN"},
	registry.LayerAlreadyExists:       {http.StatusConflict, "BLOB_UPLOAD_INVALID"},
	registry.LayerPartTooSmall:        {http.StatusBadRequest, "SIZE_INVALID"},
	registry.InvalidLayer:             {http.StatusBadRequest, "DIGEST_INVALID"},
	registry.InvalidLayerPart:         {http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID"},
	registry.EmptyUpload:              {http.StatusBadRequest, "BLOB_UPLOAD_INVALID"},
	registry.UploadNotFound:           {http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
	registry.ScanNotFound:             {http.StatusNotFound, "MANIFEST_UNKNOWN"},
	registry.InvalidParameter:         {http.StatusBadRequest, "UNSUPPORTED"},
	registry.InvalidTagParameter:      {http.StatusBadRequest, "UNSUPPORTED"},
	registry.TooManyTags:              {http.StatusBadRequest, "UNSUPPORTED"},
	registry.Validation:               {http.StatusBadRequest, "UNSUPPORTED"},
	registry.LimitExceeded:            {http.StatusForbidden, "DENIED"},
	registry.Kms:                      {http.StatusBadRequest, "DENIED"},
	registry.ManifestInvalid:          {http.StatusBadRequest, "MANIFEST_INVALID"},
	registry.ManifestTooBig:           {http.StatusRequestEntityTooLarge, "MANIFEST_INVALID"},
	registry.DigestInvalid:            {http.StatusBadRequest, "DIGEST_INVALID"},
	registry.NameInvalid:              {http.StatusBadRequest, "NAME_INVALID"},
	registry.TagInvalid:               {http.StatusBadRequest, "MANIFEST_INVALID"},
	registry.RangeInvalid:             {http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID"},
	registry.UploadBusy:               {http.StatusConflict, "BLOB_UPLOAD_INVALID"},
	registry.SizeInvalid:              {http.StatusRequestEntityTooLarge, "SIZE_INVALID"},
	registry.PageInvalid:              {http.StatusBadRequest, "PAGINATION_NUMBER_INVALID"},
	registry.BodyInvalid:              {http.StatusBadRequest, "BLOB_UPLOAD_INVALID"},
	registry.StorageFull:              {http.StatusInsufficientStorage, "STORAGE_FULL"},
	registry.Unavailable:              {http.StatusServiceUnavailable, "UNAVAILABLE"},
}

// protocolError is an error of the protocol itself.
type protocolError struct {
	answer
	message string
	retry   time.Duration // after which to come again; 0 says nothing
}

func (e *protocolError) Error() string { return e.code + ": " + e.message }

// wireError is one entry of the specification's error list.
type wireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// writeError answers with an error and returns whether it was an unexpected one,
// whose text is for the log only.
func writeError(w http.ResponseWriter, r *http.Request, err error) (unexpected bool) {
	var (
		e      *registry.Error
		p      *protocolError
		denied *gate.Denied
		a      = answer{http.StatusInternalServerError, "UNKNOWN"}
		list   []wireError
	)
	switch {
	case errors.As(err, &denied):
		a = answer{http.StatusForbidden, "DENIED"}
		// docker prints the message alone: it must hold what "berth explain" wants.
		list = []wireError{{Code: a.code, Message: denied.Error() + " (request " + gate.CallerFrom(r.Context()).RequestID + ")"}}
	case errors.As(err, &p):
		a = p.answer
		list = []wireError{{Code: a.code, Message: p.message}}
	case errors.As(err, &e):
		a = answers[e.Code]
		message := e.Message
		if e.Code == registry.ImageNotFound {
			message = "Requested image not found"
		}
		for _, d := range e.Digests[:min(len(e.Digests), 100)] {
			list = append(list, wireError{a.code, message, map[string]string{"digest": d}})
		}
		if list == nil {
			list = []wireError{{Code: a.code, Message: message}}
		}
	default:
		unexpected = true
		list = []wireError{{Code: a.code, Message: "The request could not be completed; the server's log says why."}}
	}
	if a.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	if p != nil && p.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retry/time.Second)+1))
	}
	b, merr := json.Marshal(map[string][]wireError{"errors": list})
	if merr != nil {
		panic(merr) // strings always marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b)
	}
	return unexpected || a.status >= http.StatusInternalServerError
}
