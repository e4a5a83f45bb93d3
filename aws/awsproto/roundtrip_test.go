package awsproto

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-registry/berth/aws/lambdaapi/model"
)

// rounds is how many random values each operation and exception is tried with.
const rounds = 20

const ecrTarget = "AmazonEC2ContainerRegistry_V20150921"

// inProcess carries a client's requests to a handler through their wire form.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		return nil, err
	}
	in, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, in.WithContext(r.Context()))
	return rec.Result(), nil
}

func config(h http.Handler) aws.Config {
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String("http://localhost"), RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: inProcess{h}},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		APIOptions: []func(*middleware.Stack) error{func(s *middleware.Stack) error {
			_, _ = s.Initialize.Remove("OperationInputValidation") // random values do not always validate
			return nil
		}},
	}
}

func client(h http.Handler) *ecr.Client { return ecr.NewFromConfig(config(h)) }

// peer is the far side of one call: it decodes what the client sends into in and
// answers with out or err.
type peer struct {
	t   *testing.T
	s   *Service
	in  reflect.Value
	out any
	err smithy.APIError
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	name, ok := p.s.Operation(r, body)
	if !ok {
		p.t.Errorf("the client asked for %q, which is not found by reflection", name)
	}
	if err := p.s.proto.decode(&p.s.codec, r, body, p.in.Interface()); err != nil {
		p.t.Errorf("decode: %v\n%s", err, body)
	}
	if p.err != nil {
		p.s.WriteError(w, p.err)
		return
	}
	if err := p.s.proto.reply(&p.s.codec, w, name, p.out); err != nil {
		p.t.Error(err)
	}
}

// TestEveryOperation sends random inputs of every operation of each service with
// the real client, and random outputs back, and compares both ends.
func TestEveryOperation(t *testing.T) {
	for _, c := range []struct {
		name  string
		s     *Service
		call  func(h http.Handler) any
		least int
	}{
		{"ecr", New(ecrTarget, JSON11, LowerCamel, ecr.NewFromConfig(aws.Config{})), func(h http.Handler) any { return client(h) }, 58},
		{"iam", NewQuery("https://iam.amazonaws.com/doc/2010-05-08/", "2010-05-08", AsIs, iam.NewFromConfig(aws.Config{})),
			func(h http.Handler) any { return iam.NewFromConfig(config(h)) }, 170},
		{"sts", NewQuery("https://sts.amazonaws.com/doc/2011-06-15/", "2011-06-15", AsIs, sts.NewFromConfig(aws.Config{})),
			func(h http.Handler) any { return sts.NewFromConfig(config(h)) }, 10},
		{"cloudtrail", New("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101", JSON11, trailNames, cloudtrail.NewFromConfig(aws.Config{})),
			func(h http.Handler) any { return cloudtrail.NewFromConfig(config(h)) }, 55},
		{"cloudcontrol", New("CloudApiService", JSON10, AsIs, cloudcontrol.NewFromConfig(aws.Config{})),
			func(h http.Handler) any { return cloudcontrol.NewFromConfig(config(h)) }, 8},
		{"events", New("AWSEvents", JSON11, AsIs, eventbridge.NewFromConfig(aws.Config{})),
			func(h http.Handler) any { return eventbridge.NewFromConfig(config(h)) }, 50},
		{"logs", New("Logs_20140328", JSON11, logsNames, cloudwatchlogs.NewFromConfig(aws.Config{})),
			func(h http.Handler) any { return cloudwatchlogs.NewFromConfig(config(h)) }, 100},
		{"lambda", NewREST(lambda.NewFromConfig(aws.Config{}), model.Operations()...),
			func(h http.Handler) any { return lambda.NewFromConfig(config(h)) }, 80},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := len(c.s.ops); n < c.least {
				t.Fatalf("only %d operations found by reflection", n)
			}
			for name, op := range c.s.ops {
				t.Run(name, func(t *testing.T) { roundTrip(t, c.s, name, op, c.call) })
			}
			t.Logf("%d operations, %d rounds each", len(c.s.ops), rounds)
		})
	}
}

func trailNames(typeName, field string) string {
	if strings.HasPrefix(typeName, "DescribeTrails") {
		return LowerCamel(typeName, field)
	}
	return field
}

func logsNames(typeName, field string) string {
	if field == "DestinationNamePrefix" {
		return field
	}
	return LowerCamel(typeName, field)
}

// odd are operations that no server can carry in both directions without loss, none of
// which Berth has: bodies that are streams, and lists in queries.
var odd = map[string]bool{"StartLiveTail": true, "GetLogObject": true, "InvokeWithResponseStream": true, "InvokeAsync": true, "ListDurableExecutionsByFunction": true}

func roundTrip(t *testing.T, s *Service, name string, op operation, client func(h http.Handler) any) {
	_, query := s.proto.(queryProtocol)
	_, rest := s.proto.(restProtocol)
	if odd[name] || hasUnion(op.in, map[reflect.Type]bool{}) || hasUnion(op.fn.Type().Out(0).Elem(), map[reflect.Type]bool{}) {
		t.Logf("%s takes a union or a stream; Berth has no such operation", name)
		return
	}
	opts := cmp.Options{cmpopts.IgnoreTypes(middleware.Metadata{}), cmpopts.IgnoreUnexported(), cmpopts.EquateEmpty(),
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() <= time.Millisecond })}
	if rest { // lists in queries have no order
		opts = append(opts, cmpopts.SortSlices(func(a, b string) bool { return a < b }))
	}
	p := &peer{t: t, s: s}
	call := reflect.ValueOf(client(p)).MethodByName(name)
	for round := range rounds {
		f := &filler{r: rand.New(rand.NewPCG(1, uint64(round))), full: round%2 == 0, plain: rest}
		in := reflect.New(op.in)
		f.fill(in.Elem())
		if id := in.Elem().FieldByName("EndpointId"); id.IsValid() {
			id.SetZero() // it is a part of a host's name
		}
		out := reflect.New(op.fn.Type().Out(0).Elem())
		f.fill(out.Elem())
		if code := out.Elem().FieldByName("StatusCode"); rest && code.IsValid() {
			if name == "DeleteFunction" {
				code.SetZero() // the client does not read it
			} else {
				code.Set(reflect.ValueOf(int32(202)).Convert(code.Type()))
			}
		}
		p.in, p.out = reflect.New(op.in), out.Interface()
		got := call.Call([]reflect.Value{reflect.ValueOf(context.Background()), in})
		if err, _ := got[1].Interface().(error); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if query { // an empty structure has no wire form in a query
			prune(in.Elem())
		}
		if d := cmp.Diff(in.Interface(), p.in.Interface(), opts); d != "" {
			t.Fatalf("round %d, input:\n%s", round, d)
		}
		if d := cmp.Diff(out.Interface(), got[0].Interface(), opts); d != "" {
			t.Fatalf("round %d, output:\n%s", round, d)
		}
	}
}

func hasUnion(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || t == timeType {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return hasUnion(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() && hasUnion(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// prune removes structures without members.
func prune(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || v.Type().Elem() == timeType {
			return
		}
		prune(v.Elem())
		if v.Elem().Kind() == reflect.Struct && v.Elem().IsZero() {
			v.SetZero()
		}
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		kept := reflect.MakeSlice(v.Type(), 0, v.Len())
		for i := range v.Len() {
			if prune(v.Index(i)); v.Index(i).Kind() != reflect.Struct || !v.Index(i).IsZero() {
				kept = reflect.Append(kept, v.Index(i))
			}
		}
		v.Set(kept)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Field(i).Type() != timeType {
				prune(v.Field(i))
			}
		}
	}
}

// TestEveryQueryException sends each modelled exception of IAM and STS and expects
// the client to make the same of it.
func TestEveryQueryException(t *testing.T) {
	s := NewQuery("https://sts.amazonaws.com/doc/2011-06-15/", "2011-06-15", AsIs, sts.NewFromConfig(aws.Config{}))
	for _, exc := range []smithy.APIError{&ststypes.ExpiredTokenException{}, &ststypes.IDPCommunicationErrorException{}, &ststypes.IDPRejectedClaimException{},
		&ststypes.InvalidIdentityTokenException{}, &ststypes.MalformedPolicyDocumentException{}, &ststypes.PackedPolicyTooLargeException{},
		&ststypes.RegionDisabledException{}, &ststypes.InvalidAuthorizationMessageException{}} {
		message := "why <&> not"
		reflect.ValueOf(exc).Elem().FieldByName("Message").Set(reflect.ValueOf(&message))
		p := &peer{t: t, s: s, in: reflect.New(reflect.TypeFor[sts.GetCallerIdentityInput]()), err: exc}
		_, err := sts.NewFromConfig(config(p)).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
		var api smithy.APIError
		var status interface{ HTTPStatusCode() int }
		if !errors.As(err, &api) || api.ErrorCode() != exc.ErrorCode() || api.ErrorMessage() != message || !errors.As(err, &status) || status.HTTPStatusCode() != Status(exc) {
			t.Errorf("%s: the client made %v of it", exc.ErrorCode(), err)
		}
	}
}

// TestEveryECRException sends each modelled exception and expects the client to
// make the same Go type of it, with all members and the modelled status.
func TestEveryECRException(t *testing.T) {
	s := New(ecrTarget, JSON11, LowerCamel, ecr.NewFromConfig(aws.Config{}))
	n := 0
	for id, entry := range ecr.TypeRegistry.Entries {
		_ = id
		exc, ok := entry.New().(smithy.APIError)
		if !ok {
			continue
		}
		n++
		t.Run(exc.ErrorCode(), func(t *testing.T) {
			f := &filler{r: rand.New(rand.NewPCG(2, 2)), full: true}
			f.fill(reflect.ValueOf(exc).Elem())
			reflect.ValueOf(exc).Elem().FieldByName("ErrorCodeOverride").SetZero()
			p := &peer{t: t, s: s, in: reflect.New(reflect.TypeFor[ecr.DescribeRegistryInput]()), err: exc}
			_, err := client(p).DescribeRegistry(context.Background(), &ecr.DescribeRegistryInput{})
			got := reflect.New(reflect.TypeOf(exc))
			if !errors.As(err, got.Interface()) {
				t.Fatalf("the client made %T of it: %v", err, err)
			}
			if d := cmp.Diff(exc, got.Elem().Interface(), cmpopts.IgnoreUnexported(), cmp.Exporter(func(reflect.Type) bool { return true }),
				cmpopts.IgnoreFields(types.ServerException{}, "ErrorCodeOverride")); d != "" {
				t.Error(d)
			}
			var status interface{ HTTPStatusCode() int }
			if !errors.As(err, &status) || status.HTTPStatusCode() != Status(exc) || Status(exc)/100 == 2 {
				t.Errorf("status: %v, want %d", status, Status(exc))
			}
		})
	}
	if n < 40 {
		t.Errorf("only %d exceptions found", n)
	}
	t.Logf("%d exceptions", n)
}

// filler makes random values.
type filler struct {
	r     *rand.Rand
	full  bool
	plain bool // texts that fit into paths and headers, and no empty lists
	depth int
}

const alphabet = "abcXYZ019-_./:@ <>&\"'\\{}é世\n\t\u2028"

func (f *filler) text() string {
	rs := []rune(alphabet)
	if f.plain {
		rs = []rune("abcXYZ019-_")
	}
	var b strings.Builder
	for range 1 + f.r.IntN(12) {
		b.WriteRune(rs[f.r.IntN(len(rs))])
	}
	return b.String()
}

func (f *filler) fill(v reflect.Value) {
	f.depth++
	defer func() { f.depth-- }()
	switch v.Type() {
	case timeType:
		v.Set(reflect.ValueOf(time.UnixMilli(f.r.Int64N(4e12)).UTC()))
		return
	case bytesType:
		v.SetBytes([]byte(f.text()))
		return
	case reflect.TypeFor[middleware.Metadata]():
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if f.depth > 14 || (!f.full && f.r.IntN(3) == 0 && !(f.plain && f.depth <= 2)) { // a path needs its labels
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.r.IntN(2) == 0)
	case reflect.Int32:
		v.SetInt(int64(int32(f.r.Uint32())))
	case reflect.Int64:
		v.SetInt(f.r.Int64())
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(float32(f.r.NormFloat64())))
	case reflect.Slice:
		if f.depth > 14 {
			return
		}
		n := 1 + f.r.IntN(3)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 1 + f.r.IntN(3) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(k)
			f.fill(e)
			v.SetMapIndex(k, e)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i))
			}
		}
	default:
		panic(fmt.Sprint("no random value for ", v.Type()))
	}
}
