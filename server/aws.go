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
	"github.com/berth-registry/berth/aws/lambdaapi"
	"github.com/berth-registry/berth/aws/sigv4"
	"github.com/berth-registry/berth/aws/stsapi"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
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

// messageHeader carries what sts:DecodeAuthorizationMessage explains.
const messageHeader = "X-Berth-Authorization-Message"

// awsFront authenticates signed requests and hands them to the service that
// their signature names.
type awsFront struct {
	identity *identity.Identity
	services map[string]*awsproto.Service // by signing name
	failures *failures
	large    chan struct{}
	log      *slog.Logger
}

func newAWSFront(id *identity.Identity, services map[string]*awsproto.Service, a auditor, f *failures, log *slog.Logger) *awsFront {
	for name, s := range services {
		s.Observe = observe(name, a)
		s.Failed = func(ctx context.Context, op string, err error) {
			log.Error("API call failed", "service", name, "operation", op, "request", gate.CallerFrom(ctx).RequestID, "error", err)
		}
	}
	return &awsFront{identity: id, services: services, failures: f, large: make(chan struct{}, largeBodies), log: log}
}

// apiErrors are the ways a request can fail before its service has it, as awsJson
// and as awsQuery word them.
var apiErrors = map[string]string{
	"MissingAuthenticationTokenException": "MissingAuthenticationToken", "IncompleteSignatureException": "IncompleteSignature",
	"UnrecognizedClientException": "InvalidClientTokenId", "InvalidSignatureException": "SignatureDoesNotMatch", "ExpiredTokenException": "ExpiredToken",
	"UnknownOperationException": "InvalidAction", "SerializationException": "MalformedInput", "RequestEntityTooLargeException": "RequestEntityTooLarge",
	"ThrottlingException": "Throttling", "ServiceUnavailableException": "ServiceUnavailable", "RequestTimeoutException": "RequestTimeout",
}

func apiError(code, message string) *smithy.GenericAPIError {
	return &smithy.GenericAPIError{Code: code, Message: message}
}

// isQuery reports whether a request is in awsQuery's form.
func isQuery(r *http.Request) bool {
	return r.Header.Get("X-Amz-Target") == "" && (strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") ||
		strings.Contains(r.URL.RawQuery, "Action="))
}

func (f *awsFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller := gate.CallerFrom(r.Context())
	w.Header().Set("X-Amzn-Requestid", caller.RequestID)
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Now().Add(bodyTime)) // not every connection can
	service, body, caller, apiErr := f.authenticate(r)
	_ = ctl.SetReadDeadline(time.Time{})
	if apiErr != nil {
		f.refuse(w, r, apiErr)
		return
	}
	if len(body) > maxBody {
		defer func() { <-f.large }()
	}
	if !caller.Principal.IsZero() {
		w = &messenger{w, func() string { return f.identity.MessageOf(caller.Principal.Account, caller.RequestID) }}
	}
	service.Serve(w, r.WithContext(gate.WithCaller(r.Context(), caller)), body)
}

// messenger adds the authorisation message to answers that can be denials.
type messenger struct {
	http.ResponseWriter
	message func() string
}

func (m *messenger) WriteHeader(status int) {
	if status == http.StatusBadRequest || status == http.StatusForbidden {
		m.Header().Set(messageHeader, m.message())
	}
	m.ResponseWriter.WriteHeader(status)
}

// refuse answers in the words of the protocol that the request is in.
func (f *awsFront) refuse(w http.ResponseWriter, r *http.Request, err *smithy.GenericAPIError) {
	name := ecrapi.SigningName
	if isQuery(r) {
		name = stsapi.SigningName
		err.Code = apiErrors[err.Code]
	}
	f.services[name].WriteError(w, err)
}

// authenticate finds the caller and the service, and reads the body, which the
// signature covers. A body over maxBody holds one of the large slots.
func (f *awsFront) authenticate(r *http.Request) (*awsproto.Service, []byte, gate.Caller, *smithy.GenericAPIError) {
	caller := gate.CallerFrom(r.Context())
	sig, err := sigv4.Parse(r)
	if errors.Is(err, sigv4.ErrMissing) && isQuery(r) {
		body, apiErr := f.readBody(r, "")
		if apiErr == nil && awsproto.QueryAction(r, body) == stsapi.Unsigned {
			return f.services[stsapi.SigningName], body, caller, nil
		}
	}
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
		return nil, nil, caller, f.failed(caller, sig.AccessKeyID, f.keyError(err))
	}
	body, apiErr := f.readBody(r, sig.Service)
	if apiErr != nil {
		return nil, nil, caller, apiErr
	}
	if err := sig.Verify(r, key.Secret.Reveal(), time.Now(), sigv4.BodyHash(body)); err != nil {
		if len(body) > maxBody {
			<-f.large
		}
		return nil, nil, caller, f.failed(caller, sig.AccessKeyID, signatureError(err))
	}
	caller.Principal, caller.Region, caller.Session = key.Principal, region, secret.String(sig.SessionToken)
	if !strings.HasPrefix(sig.AccessKeyID, "ASIA") {
		f.identity.Used(sig.AccessKeyID, sig.Service, region)
	}
	return service, body, caller, nil
}

// failed counts a failed login and answers it, or that there were too many.
func (f *awsFront) failed(caller gate.Caller, who string, err *smithy.GenericAPIError) *smithy.GenericAPIError {
	if err.Fault == smithy.FaultServer {
		return err
	}
	if _, tooMany := f.failures.Failed(caller.SourceIP, who); tooMany {
		return apiError("ThrottlingException", "Rate exceeded: too many requests with wrong credentials from this address.")
	}
	return err
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s[:min(len(s), 60)])
}

func (f *awsFront) readBody(r *http.Request, service string) ([]byte, *smithy.GenericAPIError) {
	limit := int64(maxBody)
	switch _, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); op {
	case "UploadLayerPart":
		limit = maxPartBody
	case "PutImage":
		limit = maxImageBody
	}
	if service == lambdaapi.SigningName && r.Method != http.MethodGet {
		limit = lambdaapi.MaxBody
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

func (f *awsFront) keyError(err error) *smithy.GenericAPIError {
	switch {
	case errors.Is(err, identity.ErrUnknownKey), errors.Is(err, identity.ErrBadToken):
		return apiError("UnrecognizedClientException", "The security token included in the request is invalid.")
	case errors.Is(err, identity.ErrExpired):
		return apiError("ExpiredTokenException", "The security token included in the request is expired")
	}
	f.log.Error("looking up an access key", "error", err)
	return &smithy.GenericAPIError{Code: "ServiceUnavailableException", Message: "Credentials cannot be checked at the moment. Try again.", Fault: smithy.FaultServer}
}

func signatureError(err error) *smithy.GenericAPIError {
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
