package awsproto

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/traits"
)

// Version is the awsJson version a service speaks.
type Version string

// The versions of awsJson; the value is the content type.
const (
	JSON10 Version = "application/x-amz-json-1.0"
	JSON11 Version = "application/x-amz-json-1.1"
)

// Service serves one SDK-shaped value.
type Service struct {
	codec codec
	proto protocol
	ops   map[string]operation
	// Failed is told of errors that are not modelled exceptions: they are
	// answered as InternalFailure without their text.
	Failed func(ctx context.Context, op string, err error)
	// Observe is told of each request before it is acted on; the context it returns is
	// the operation's. The function it returns is told of the outcome: the output, or
	// the error. It may be nil.
	Observe func(ctx context.Context, op string, in any) (context.Context, func(out any, err error))
}

type operation struct {
	fn reflect.Value
	in reflect.Type // the input struct
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// protocol is how operations, inputs, outputs and errors travel.
type protocol interface {
	// operation names the operation that a request asks for, "" for none, and
	// says whether the request is for this service at all.
	operation(r *http.Request, body []byte) (name string, ours bool)
	decode(c *codec, r *http.Request, body []byte, in any) error
	reply(c *codec, w http.ResponseWriter, op string, out any) error
	fail(c *codec, w http.ResponseWriter, err smithy.APIError)
	// unknown and malformed are the codes for what cannot be understood.
	unknown(r *http.Request, op string) smithy.APIError
	malformed(err error) smithy.APIError
}

// New serves value over awsJson. Its operations are its exported methods of the
// shape (ctx, *OpInput, ...func(*Options)) (*OpOutput, error). target is what
// comes before the dot in X-Amz-Target.
func New(target string, version Version, naming Naming, value any) *Service {
	return newService(jsonProtocol{target, version}, naming, value)
}

func newService(p protocol, naming Naming, value any) *Service {
	s := &Service{codec: codec{name: naming}, proto: p, ops: map[string]operation{}}
	v := reflect.ValueOf(value)
	for i := range v.NumMethod() {
		m := v.Type().Method(i)
		f := v.Method(i)
		t := f.Type()
		if t.NumIn() != 3 || !t.IsVariadic() || t.NumOut() != 2 || t.In(0) != contextType || t.Out(1) != errorType ||
			t.In(1).Kind() != reflect.Pointer || t.In(1).Elem().Name() != m.Name+"Input" {
			continue
		}
		s.ops[m.Name] = operation{f, t.In(1).Elem()}
	}
	return s
}

// Operations lists what is served.
func (s *Service) Operations() []string {
	var names []string
	for n := range s.ops {
		names = append(names, n)
	}
	return names
}

// Operation returns the operation a request names, and whether it is served.
func (s *Service) Operation(r *http.Request, body []byte) (name string, ok bool) {
	name, ours := s.proto.operation(r, body)
	_, ok = s.ops[name]
	return name, ok && ours
}

// Serve answers one request whose body has been read (and its signature
// verified) already.
func (s *Service) Serve(w http.ResponseWriter, r *http.Request, body []byte) {
	name, ok := s.Operation(r, body)
	if !ok {
		s.WriteError(w, s.proto.unknown(r, name))
		return
	}
	op := s.ops[name]
	in := reflect.New(op.in)
	if err := s.proto.decode(&s.codec, r, body, in.Interface()); err != nil {
		s.WriteError(w, s.proto.malformed(err))
		return
	}
	ctx, done := r.Context(), func(any, error) {}
	if s.Observe != nil {
		ctx, done = s.Observe(ctx, name, in.Interface())
	}
	var answer any
	err := errPanicked
	defer func() { done(answer, err) }()
	out := op.fn.Call([]reflect.Value{reflect.ValueOf(ctx), in})
	answer = out[0].Interface()
	if err, _ = out[1].Interface().(error); err != nil {
		s.fail(w, r, name, err)
		return
	}
	if rerr := s.proto.reply(&s.codec, w, name, answer); rerr != nil {
		s.fail(w, r, name, rerr)
	}
}

// Call performs an operation in this process: what Serve does, without a wire. in is the
// operation's input, a pointer to OpInput; ctx names the caller. It returns the output,
// or the operation's own error; an operation that is not served is UnknownOperationException.
func (s *Service) Call(ctx context.Context, in any) (out any, err error) {
	t := reflect.TypeOf(in)
	name := strings.TrimSuffix(t.Elem().Name(), "Input")
	op, ok := s.ops[name]
	if !ok || op.in != t.Elem() {
		return nil, &smithy.GenericAPIError{Code: "UnknownOperationException", Message: "The operation " + name + " is not served."}
	}
	if s.Observe != nil {
		inner, done := s.Observe(ctx, name, in)
		ctx, err = inner, errPanicked
		defer func() { done(out, err) }()
	}
	got := op.fn.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(in)})
	out = got[0].Interface()
	err, _ = got[1].Interface().(error)
	return out, err
}

var errPanicked = errors.New("the operation panicked")

func (s *Service) fail(w http.ResponseWriter, r *http.Request, op string, err error) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		if s.Failed != nil {
			s.Failed(r.Context(), op, err)
		}
		api = &smithy.GenericAPIError{Code: "InternalFailure", Message: "The request could not be completed; the server's log says why.",
			Fault: smithy.FaultServer}
	}
	s.WriteError(w, api)
}

// statuses are those of exceptions whose types carry no schema: of the services
// themselves, and of IAM and STS.
var statuses = map[string]int{
	"ServiceUnavailable": 503, "ServiceUnavailableException": 503, "RequestEntityTooLargeException": 413, "RequestEntityTooLarge": 413,
	"ServiceFailure": 500, "InternalFailure": 500,
	"AccessDenied": 403, "InvalidClientTokenId": 403, "SignatureDoesNotMatch": 403, "MissingAuthenticationToken": 403, "ExpiredToken": 403,
	"IDPRejectedClaim": 403, "NoSuchEntity": 404, "ReportNotPresent": 410,
	"EntityAlreadyExists": 409, "DeleteConflict": 409, "LimitExceeded": 409, "EntityTemporarilyUnmodifiable": 409, "ConcurrentModification": 409,
	"UnknownOperationException": 400,
}

// Status is the HTTP status of an exception: its modelled one, else by fault.
func Status(err smithy.APIError) int {
	if t := reflect.TypeOf(err); t.Kind() == reflect.Pointer {
		if schema := schemaOf(t.Elem()); schema != nil {
			if h, ok := smithy.SchemaTrait[*traits.HTTPError](schema); ok {
				return h.Code
			}
		}
	}
	if code, ok := statuses[err.ErrorCode()]; ok {
		return code
	}
	if err.ErrorFault() == smithy.FaultServer {
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// WriteError answers with an exception: its code, message and other members.
func (s *Service) WriteError(w http.ResponseWriter, err smithy.APIError) {
	s.proto.fail(&s.codec, w, err)
}
