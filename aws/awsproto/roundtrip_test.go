package awsproto

import (
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
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// rounds is how many random values each operation and exception is tried with.
const rounds = 20

const ecrTarget = "AmazonEC2ContainerRegistry_V20150921"

func client(url string) *ecr.Client {
	return ecr.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		APIOptions: []func(*middleware.Stack) error{func(s *middleware.Stack) error {
			_, _ = s.Initialize.Remove("OperationInputValidation") // random values do not always validate
			return nil
		}},
	})
}

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
	if name, ok := p.s.Operation(r); !ok {
		p.t.Errorf("the client asked for %q, which is not found by reflection", name)
	}
	if err := p.s.codec.decode(body, p.in.Interface()); err != nil {
		p.t.Errorf("decode: %v\n%s", err, body)
	}
	if p.err != nil {
		p.s.WriteError(w, r, p.err)
		return
	}
	b, err := p.s.codec.encode(nil, p.out)
	if err != nil {
		p.t.Error(err)
	}
	w.Header().Set("Content-Type", string(JSON11))
	_, _ = w.Write(b)
}

// TestEveryECROperation sends random inputs of every operation with the real
// client, and random outputs back, and compares both ends.
func TestEveryECROperation(t *testing.T) {
	real := ecr.NewFromConfig(aws.Config{})
	s := New(ecrTarget, JSON11, LowerCamel, real)
	if n := len(s.ops); n < 58 {
		t.Fatalf("only %d operations found by reflection", n)
	}
	opts := cmp.Options{cmpopts.IgnoreTypes(middleware.Metadata{}), cmpopts.IgnoreUnexported(), cmpopts.EquateEmpty(),
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() <= time.Millisecond })}
	for name, op := range s.ops {
		t.Run(name, func(t *testing.T) {
			p := &peer{t: t, s: s}
			srv := httptest.NewServer(p)
			defer srv.Close()
			call := reflect.ValueOf(client(srv.URL)).MethodByName(name)
			for round := range rounds {
				f := &filler{r: rand.New(rand.NewPCG(1, uint64(round))), full: round%2 == 0}
				in := reflect.New(op.in)
				f.fill(in.Elem())
				out := reflect.New(op.fn.Type().Out(0).Elem())
				f.fill(out.Elem())
				p.in, p.out = reflect.New(op.in), out.Interface()
				got := call.Call([]reflect.Value{reflect.ValueOf(context.Background()), in})
				if err, _ := got[1].Interface().(error); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				if d := cmp.Diff(in.Interface(), p.in.Interface(), opts); d != "" {
					t.Fatalf("round %d, input:\n%s", round, d)
				}
				if d := cmp.Diff(out.Interface(), got[0].Interface(), opts); d != "" {
					t.Fatalf("round %d, output:\n%s", round, d)
				}
			}
		})
	}
	t.Logf("%d operations, %d rounds each", len(s.ops), rounds)
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
			srv := httptest.NewServer(p)
			defer srv.Close()
			_, err := client(srv.URL).DescribeRegistry(context.Background(), &ecr.DescribeRegistryInput{})
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
	depth int
}

const alphabet = "abcXYZ019-_./:@ <>&\"'\\{}é世\n\t\u2028"

func (f *filler) text() string {
	rs := []rune(alphabet)
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
		if f.depth > 14 || (!f.full && f.r.IntN(3) == 0) {
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
