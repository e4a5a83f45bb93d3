package awsproto

import (
	"context"
	"errors"
	"fmt"
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
	codec   codec
	version Version
	target  string
	ops     map[string]operation
	// Failed is told of errors that are not modelled exceptions: they are
	// answered as InternalFailure without their text.
	Failed func(ctx context.Context, op string, err error)
}

type operation struct {
	fn reflect.Value
	in reflect.Type // the input struct
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// New finds the operations of value: its exported methods of the shape
// (ctx, *OpInput, ...func(*Options)) (*OpOutput, error). target is what comes
// before the dot in X-Amz-Target.
func New(target string, version Version, naming Naming, value any) *Service {
	s := &Service{codec: codec{name: naming}, version: version, target: target, ops: map[string]operation{}}
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
func (s *Service) Operation(r *http.Request) (name string, ok bool) {
	prefix, name, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	_, ok = s.ops[name]
	return name, ok && prefix == s.target
}

// Serve answers one request whose body has been read (and its signature
// verified) already.
func (s *Service) Serve(w http.ResponseWriter, r *http.Request, body []byte) {
	name, ok := s.Operation(r)
	if !ok {
		s.WriteError(w, r, &smithy.GenericAPIError{Code: "UnknownOperationException", Message: unknown(r)})
		return
	}
	op := s.ops[name]
	in := reflect.New(op.in)
	if err := s.codec.decode(body, in.Interface()); err != nil {
		s.WriteError(w, r, &smithy.GenericAPIError{Code: "SerializationException", Message: err.Error()})
		return
	}
	out := op.fn.Call([]reflect.Value{reflect.ValueOf(r.Context()), in})
	if err, _ := out[1].Interface().(error); err != nil {
		s.fail(w, r, name, err)
		return
	}
	reply, err := s.codec.encode(nil, out[0].Interface())
	if err != nil {
		s.fail(w, r, name, err)
		return
	}
	w.Header().Set("Content-Type", string(s.version))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(reply) // a client that left gets nothing more
}

func unknown(r *http.Request) string {
	target := r.Header.Get("X-Amz-Target")
	if target == "" {
		return "The request names no operation in X-Amz-Target."
	}
	return fmt.Sprintf("The operation %.200q is not implemented by this server.", target)
}

func (s *Service) fail(w http.ResponseWriter, r *http.Request, op string, err error) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		if s.Failed != nil {
			s.Failed(r.Context(), op, err)
		}
		api = &smithy.GenericAPIError{Code: "InternalFailure", Message: "The request could not be completed; the server's log says why.",
			Fault: smithy.FaultServer}
	}
	s.WriteError(w, r, api)
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
	switch err.ErrorCode() {
	case "ServiceUnavailable", "ServiceUnavailableException":
		return http.StatusServiceUnavailable
	case "RequestEntityTooLargeException":
		return http.StatusRequestEntityTooLarge
	}
	if err.ErrorFault() == smithy.FaultServer {
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// WriteError answers with an exception: its code, message and other members.
func (s *Service) WriteError(w http.ResponseWriter, _ *http.Request, err smithy.APIError) {
	b := append([]byte(`{"__type":`), appendString(nil, err.ErrorCode())...)
	members := append([]byte(`"message":`), appendString(nil, err.ErrorMessage())...)
	if _, generic := err.(*smithy.GenericAPIError); !generic {
		m, n, eerr := s.codec.appendMembers(nil, reflect.Indirect(reflect.ValueOf(err)))
		if eerr == nil && n > 0 {
			members = m
		}
	}
	b = append(append(append(b, ','), members...), '}')
	w.Header().Set("X-Amzn-ErrorType", err.ErrorCode())
	w.Header().Set("Content-Type", string(s.version))
	w.WriteHeader(Status(err))
	_, _ = w.Write(b)
}
