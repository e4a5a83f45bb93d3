// Package awsproto serves Go values shaped like AWS SDK clients over AWS's wire
// protocols.
//
// A service is any value whose methods have the SDK client's signature,
//
//	func (s *T) CreateRepository(ctx context.Context, in *ecr.CreateRepositoryInput, _ ...func(*ecr.Options)) (*ecr.CreateRepositoryOutput, error)
//
// and New turns it into a handler by reflection: request bodies are decoded into
// the SDK's own input structs, outputs and modelled exceptions encoded from the
// SDK's own types. Wire names come from the types' Smithy schemas where they
// carry them, else from a naming rule. There is no code per operation, and
// nothing here knows what an operation means. Authentication and authorisation
// happen around it.
//
// Protocols: awsJson 1.0 and 1.1, awsQuery.
package awsproto

import (
	"math/big"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/document"
)

// Naming gives the wire name of a Go field whose type carries no schema.
type Naming func(typeName, field string) string

// LowerCamel is ECR's and Logs' rule: the Go name with its first letter small.
func LowerCamel(_, field string) string {
	r, n := utf8.DecodeRuneInString(field)
	return string(unicode.ToLower(r)) + field[n:]
}

// codec encodes and decodes one service's types. Plans are made once per type.
type codec struct {
	name  Naming
	plans sync.Map // reflect.Type -> *plan
}

type member struct {
	index int
	name  string
	key   []byte // `"name":`
}

type plan struct {
	members []member
	byName  map[string]int // wire name -> index in members
}

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

func (c *codec) plan(t reflect.Type) *plan {
	if p, ok := c.plans.Load(t); ok {
		return p.(*plan)
	}
	names := map[string]string{} // folded Go name -> wire name
	if s := schemaOf(t); s != nil {
		for m := range s.Members() {
			names[strings.ToLower(m)] = m
		}
	}
	p := &plan{byName: map[string]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" || f.Name == "ErrorCodeOverride" {
			continue
		}
		n, ok := names[strings.ToLower(f.Name)]
		if !ok {
			n = c.name(t.Name(), f.Name)
		}
		p.byName[n] = len(p.members)
		p.members = append(p.members, member{i, n, append(appendString(nil, n), ':')})
	}
	actual, _ := c.plans.LoadOrStore(t, p)
	return actual.(*plan)
}

// schemaOf finds the Smithy schema of a generated type by letting a zero value
// serialise itself into a recorder; nil where the type carries none.
func schemaOf(t reflect.Type) *smithy.Schema {
	v, ok := reflect.New(t).Interface().(smithy.Serializable)
	if !ok {
		return nil
	}
	var r recorder
	v.Serialize(&r)
	return r.schema
}

// recorder is a serialiser that only remembers the first structure's schema.
type recorder struct{ schema *smithy.Schema }

func (r *recorder) WriteStruct(s *smithy.Schema) {
	if r.schema == nil {
		r.schema = s
	}
}
func (*recorder) Bytes() []byte                                { return nil }
func (*recorder) WriteInt8(*smithy.Schema, int8)               {}
func (*recorder) WriteInt16(*smithy.Schema, int16)             {}
func (*recorder) WriteInt32(*smithy.Schema, int32)             {}
func (*recorder) WriteInt64(*smithy.Schema, int64)             {}
func (*recorder) WriteFloat32(*smithy.Schema, float32)         {}
func (*recorder) WriteFloat64(*smithy.Schema, float64)         {}
func (*recorder) WriteBool(*smithy.Schema, bool)               {}
func (*recorder) WriteString(*smithy.Schema, string)           {}
func (*recorder) WriteBigInt(*smithy.Schema, *big.Int)         {}
func (*recorder) WriteBigFloat(*smithy.Schema, *big.Float)     {}
func (*recorder) WriteBlob(*smithy.Schema, []byte)             {}
func (*recorder) WriteTime(*smithy.Schema, time.Time)          {}
func (*recorder) WriteUnion(_, _ *smithy.Schema)               {}
func (*recorder) CloseUnion()                                  {}
func (*recorder) WriteDocument(*smithy.Schema, document.Value) {}
func (*recorder) WriteNil(*smithy.Schema)                      {}
func (*recorder) CloseStruct()                                 {}
func (*recorder) WriteList(*smithy.Schema)                     {}
func (*recorder) CloseList()                                   {}
func (*recorder) WriteMap(*smithy.Schema)                      {}
func (*recorder) WriteKey(*smithy.Schema, string)              {}
func (*recorder) CloseMap()                                    {}
