package awsproto

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// encode appends v, a struct or a pointer to one, as a JSON document. Members
// that are nil, and enums that are "", are left out; an empty list that is not
// nil is written.
func (c *codec) encode(b []byte, v any) ([]byte, error) {
	return c.append(b, reflect.Indirect(reflect.ValueOf(v)))
}

func (c *codec) append(b []byte, v reflect.Value) ([]byte, error) {
	switch t := v.Type(); {
	case t == timeType:
		// Epoch seconds with at most milliseconds: what the SDKs read.
		ms := v.Interface().(time.Time).UnixMilli()
		return strconv.AppendFloat(b, float64(ms)/1e3, 'f', -1, 64), nil
	case t == bytesType:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"'), nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return c.append(b, v.Elem())
	case reflect.String:
		return appendString(b, v.String()), nil
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case reflect.Float32, reflect.Float64:
		return appendFloat(b, v.Float(), v.Type().Bits()), nil
	case reflect.Slice:
		return c.appendList(b, v)
	case reflect.Map:
		return c.appendMap(b, v)
	case reflect.Struct:
		return c.appendStruct(b, v)
	}
	return nil, fmt.Errorf("awsproto: no wire form for %s", v.Type())
}

func (c *codec) appendList(b []byte, v reflect.Value) ([]byte, error) {
	var err error
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = c.append(b, v.Index(i)); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (c *codec) appendMap(b []byte, v reflect.Value) ([]byte, error) {
	byKey := map[string]reflect.Value{}
	for it := v.MapRange(); it.Next(); {
		byKey[it.Key().String()] = it.Value()
	}
	var err error
	b = append(b, '{')
	for i, k := range slices.Sorted(maps.Keys(byKey)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k), ':')
		if b, err = c.append(b, byKey[k]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func (c *codec) appendStruct(b []byte, v reflect.Value) ([]byte, error) {
	b, _, err := c.appendMembers(append(b, '{'), v)
	if err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

// appendMembers appends "name":value pairs and says how many.
func (c *codec) appendMembers(b []byte, v reflect.Value) (_ []byte, n int, err error) {
	p := c.plan(v.Type())
	for i := range p.members {
		m := &p.members[i]
		f := v.Field(m.index)
		if absent(f) {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		n++
		b = append(b, m.key...)
		if b, err = c.append(b, f); err != nil {
			return nil, 0, err
		}
	}
	return b, n, nil
}

func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	case reflect.String: // an enum that is not set
		return v.Len() == 0
	}
	return false
}

func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, bits)
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			q, err := json.Marshal(s)
			if err != nil {
				panic(err) // strings always marshal
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
