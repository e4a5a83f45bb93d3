package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/aws/ecrapi"
	"github.com/berth-registry/berth/aws/sigv4"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
)

// Body limits of the AWS APIs, in bytes.
const (
	maxBody = 1 << 20
	// maxImageBody is for PutImage: a manifest of 4 MiB inside a JSON string.
	maxImageBody = 10 << 20
	// maxPartBody is for UploadLayerPart: 20,971,520 bytes in base64.
	maxPartBody = 28 << 20
	// bodyTime is how long a body may take, so that none holds a large slot for
	// good.
	bodyTime = time.Minute
	// largeBodies is how many bodies over maxBody are held at a time.
	largeBodies = 4
)

// awsFront authenticates signed requests and hands them to the service that
// their signature names.
type awsFront struct {
	identity *identity.Identity
	services map[string]*awsproto.Service // by signing name
	fallback *awsproto.Service            // writes errors before a service is known
	large    chan struct{}
	log      *slog.Logger
}

func newAWSFront(id *identity.Identity, ecr *ecrapi.Service, log *slog.Logger) *awsFront {
	f := &awsFront{identity: id, services: map[string]*awsproto.Service{ecrapi.SigningName: ecr.Handler()}, large: make(chan struct{}, largeBodies), log: log}
	f.fallback = f.services[ecrapi.SigningName]
	for name, s := range f.services {
		s.Failed = func(ctx context.Context, op string, err error) {
			log.Error("API call failed", "service", name, "operation", op, "request", gate.CallerFrom(ctx).RequestID, "error", err)
		}
	}
	return f
}

func apiError(code, message string) smithy.APIError {
	return &smithy.GenericAPIError{Code: code, Message: message}
}

func (f *awsFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", gate.CallerFrom(r.Context()).RequestID)
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Now().Add(bodyTime)) // not every connection can
	service, body, caller, apiErr := f.authenticate(r)
	_ = ctl.SetReadDeadline(time.Time{})
	if apiErr != nil {
		f.fallback.WriteError(w, r, apiErr)
		return
	}
	if len(body) > maxBody {
		defer func() { <-f.large }()
	}
	service.Serve(w, r.WithContext(gate.WithCaller(r.Context(), caller)), body)
}

// authenticate finds the caller and the service, and reads the body, which the
// signature covers. A body over maxBody holds one of the large slots.
func (f *awsFront) authenticate(r *http.Request) (*awsproto.Service, []byte, gate.Caller, smithy.APIError) {
	caller := gate.CallerFrom(r.Context())
	sig, err := sigv4.Parse(r)
	if err != nil {
		return nil, nil, caller, signatureError(err)
	}
	if sig.Presigned { // no operation here may be called by URL
		return nil, nil, caller, apiError("IncompleteSignatureException", "Sign this request in its Authorization header.")
	}
	service, ok := f.services[sig.Service]
	if !ok {
		return nil, nil, caller, apiError("UnknownOperationException", "This server does not have the service '"+printable(sig.Service)+"'.")
	}
	region := arn.Region(sig.Region)
	if !region.Valid() {
		return nil, nil, caller, apiError("InvalidSignatureException", "Credential should be scoped to a valid region.")
	}
	key, err := f.identity.LookupKey(r.Context(), sig.AccessKeyID, sig.SessionToken)
	if err != nil {
		return nil, nil, caller, f.keyError(err)
	}
	body, apiErr := f.readBody(r)
	if apiErr != nil {
		return nil, nil, caller, apiErr
	}
	if err := sig.Verify(r, key.Secret.Reveal(), time.Now(), sigv4.BodyHash(body)); err != nil {
		if len(body) > maxBody {
			<-f.large
		}
		return nil, nil, caller, signatureError(err)
	}
	caller.Principal, caller.Region = key.Principal, region
	return service, body, caller, nil
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s[:min(len(s), 60)])
}

func (f *awsFront) readBody(r *http.Request) ([]byte, smithy.APIError) {
	limit := int64(maxBody)
	switch _, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); op {
	case "UploadLayerPart":
		limit = maxPartBody
	case "PutImage":
		limit = maxImageBody
	}
	tooLarge := apiError("RequestEntityTooLargeException", "The request body is larger than this operation allows.")
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	if r.ContentLength < 0 {
		limit = min(limit, maxBody) // large bodies say their length
	}
	if r.ContentLength > maxBody {
		select {
		case f.large <- struct{}{}:
		case <-r.Context().Done():
			return nil, apiError("RequestTimeoutException", "The request was cancelled.")
		}
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			<-f.large
			return nil, apiError("SerializationException", "The request body ended early.")
		}
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		return nil, apiError("SerializationException", "The request body ended early.")
	case int64(len(body)) > limit:
		return nil, tooLarge
	}
	return body, nil
}

func (f *awsFront) keyError(err error) smithy.APIError {
	switch {
	case errors.Is(err, identity.ErrUnknownKey), errors.Is(err, identity.ErrBadToken):
		return apiError("UnrecognizedClientException", "The security token included in the request is invalid.")
	case errors.Is(err, identity.ErrExpired):
		return apiError("ExpiredTokenException", "The security token included in the request is expired")
	}
	f.log.Error("looking up an access key", "error", err)
	return &smithy.GenericAPIError{Code: "ServiceUnavailableException", Message: "Credentials cannot be checked at the moment. Try again.", Fault: smithy.FaultServer}
}

func signatureError(err error) smithy.APIError {
	text := err.Error()
	if text != "" {
		text = strings.ToUpper(text[:1]) + text[1:] + "."
	}
	switch {
	case errors.Is(err, sigv4.ErrMissing):
		return apiError("MissingAuthenticationTokenException", "Missing Authentication Token")
	case errors.Is(err, sigv4.ErrIncomplete):
		return apiError("IncompleteSignatureException", text)
	}
	return apiError("InvalidSignatureException", text)
}
