package awsproto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Hidden stands in a description for what must not be seen, in CloudTrail's words.
const Hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// Redact says what a description holds in the place of a member: the value itself
// (keep), or else a replacement, nil leaving the member out.
type Redact func(typeName, field string, value any) (replacement any, keep bool)

// Describe writes an input or output as records of calls hold it: a JSON document
// with the names of members beginning small and times as text, whatever the
// protocol.
func Describe(v any, redact Redact) json.RawMessage {
	var b bytes.Buffer
	describe(&b, reflect.Indirect(reflect.ValueOf(v)), redact)
	if b.Len() == 0 || b.String() == "{}" {
		return nil
	}
	return b.Bytes()
}

func describe(b *bytes.Buffer, v reflect.Value, redact Redact) {
	switch t := v.Type(); t {
	case timeType:
		quote(b, v.Interface().(time.Time).UTC().Format("Jan 2, 2006 3:04:05 PM"))
		return
	case bytesType:
		quote(b, base64.StdEncoding.EncodeToString(v.Bytes()))
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		describe(b, v.Elem(), redact)
	case reflect.String:
		quote(b, v.String())
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int32, reflect.Int64:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Float32, reflect.Float64:
		b.Write(appendFloat(nil, v.Float(), v.Type().Bits()))
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			describe(b, v.Index(i), redact)
		}
		b.WriteByte(']')
	case reflect.Map:
		describeMap(b, v, redact)
	case reflect.Struct:
		describeStruct(b, v, redact)
	default:
		b.WriteString("null")
	}
}

func describeMap(b *bytes.Buffer, v reflect.Value, redact Redact) {
	b.WriteByte('{')
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		quote(b, k.String())
		b.WriteByte(':')
		describe(b, v.MapIndex(k), redact)
	}
	b.WriteByte('}')
}

func describeStruct(b *bytes.Buffer, v reflect.Value, redact Redact) {
	t := v.Type()
	b.WriteByte('{')
	n := 0
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" || absent(v.Field(i)) || unset(v.Field(i)) {
			continue
		}
		value, keep := any(nil), true
		if redact != nil {
			value, keep = redact(t.Name(), f.Name, v.Field(i).Interface())
		}
		if !keep && value == nil {
			continue
		}
		if n > 0 {
			b.WriteByte(',')
		}
		n++
		quote(b, small(f.Name))
		b.WriteByte(':')
		if keep {
			describe(b, v.Field(i), redact)
		} else {
			describe(b, reflect.ValueOf(value), nil)
		}
	}
	b.WriteByte('}')
}

// unset reports a number or boolean that may as well not have been sent.
func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Bool, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		return v.IsZero()
	}
	return false
}

func quote(b *bytes.Buffer, s string) { b.Write(appendString(nil, s)) }

// small is CloudTrail's rule for names: the first letter small, ARN and the like
// whole.
func small(name string) string {
	if name == "Arn" || name == "ARN" {
		return "arn"
	}
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(r)) + name[n:]
}
