package awsproto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxDepth bounds how deep a document may nest.
const maxDepth = 64

var errDepth = fmt.Errorf("the document nests deeper than %d", maxDepth)

// decode reads a JSON document into v, a pointer to a struct. Members that the
// type does not have are ignored, as AWS ignores them; null means absent.
func (c *codec) decode(data []byte, v any) error {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil
	}
	if !utf8.Valid(data) {
		return errors.New("the document is not UTF-8")
	}
	if !json.Valid(data) {
		return errors.New("the document is not JSON")
	}
	if data[0] != '{' {
		return errors.New("the document is not an object")
	}
	d := decoder{codec: c, b: data}
	return d.value(reflect.ValueOf(v).Elem())
}

// decoder walks a document that is known to be valid JSON.
type decoder struct {
	*codec
	b     []byte
	i     int
	depth int
}

// next skips white space and returns the byte that follows.
func (d *decoder) next() byte {
	for {
		switch c := d.b[d.i]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			d.i++
		default:
			return c
		}
	}
}

// scalar returns the bytes of the string, number or word at the cursor.
func (d *decoder) scalar() []byte {
	start := d.i
	if d.b[d.i] == '"' {
		for d.i++; d.b[d.i] != '"'; d.i++ {
			if d.b[d.i] == '\\' {
				d.i++
			}
		}
		d.i++
		return d.b[start:d.i]
	}
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return d.b[start:d.i]
		}
		d.i++
	}
	return d.b[start:]
}

func (d *decoder) text() (string, error) {
	if d.next() != '"' {
		return "", d.mismatch("a string")
	}
	raw := d.scalar()
	if body := raw[1 : len(raw)-1]; bytes.IndexByte(body, '\\') < 0 {
		return string(body), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

func (d *decoder) mismatch(want string) error {
	got := "a number"
	switch d.next() {
	case '"':
		got = "a string"
	case '{':
		got = "an object"
	case '[':
		got = "a list"
	case 't', 'f':
		got = "a boolean"
	}
	return fmt.Errorf("%s can not be converted to %s", got, want)
}

// each opens an object or list and runs fn at each of its elements.
func (d *decoder) each(closing byte, fn func() error) error {
	if d.depth++; d.depth > maxDepth {
		return errDepth
	}
	d.i++
	for d.next() != closing {
		if err := fn(); err != nil {
			return err
		}
	}
	d.i++
	d.depth--
	return nil
}

func (d *decoder) skip() error {
	switch d.next() {
	case '{':
		return d.each('}', func() error {
			d.next()
			d.scalar()
			return d.skip()
		})
	case '[':
		return d.each(']', d.skip)
	}
	d.scalar()
	return nil
}

func (d *decoder) value(v reflect.Value) error {
	if d.next() == 'n' {
		d.scalar()
		return nil
	}
	switch t := v.Type(); {
	case t == timeType:
		return d.time(v)
	case t == bytesType:
		return d.bytes(v)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem())
	case reflect.String:
		s, err := d.text()
		v.SetString(s)
		return err
	case reflect.Bool:
		c := d.next()
		if c != 't' && c != 'f' {
			return d.mismatch("a boolean")
		}
		d.scalar()
		v.SetBool(c == 't')
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return d.integer(v)
	case reflect.Float32, reflect.Float64:
		return d.float(v)
	case reflect.Slice:
		return d.list(v)
	case reflect.Map:
		return d.dict(v)
	case reflect.Struct:
		return d.structure(v)
	}
	return fmt.Errorf("awsproto: no wire form for %s", v.Type())
}

func (d *decoder) number() (string, bool) {
	if c := d.next(); c != '-' && (c < '0' || c > '9') {
		return "", false
	}
	return string(d.scalar()), true
}

func (d *decoder) integer(v reflect.Value) error {
	s, ok := d.number()
	if !ok {
		return d.mismatch("an integer")
	}
	n, err := strconv.ParseInt(s, 10, v.Type().Bits())
	if err != nil {
		return fmt.Errorf("the number %.40s can not be converted to an integer of %d bits", s, v.Type().Bits())
	}
	v.SetInt(n)
	return nil
}

func (d *decoder) float(v reflect.Value) error {
	s, ok := d.number()
	if !ok {
		var err error
		if s, err = d.text(); err != nil || (s != "NaN" && s != "Infinity" && s != "-Infinity") {
			return errors.New("the value can not be converted to a number")
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	v.SetFloat(f)
	return err
}

func (d *decoder) time(v reflect.Value) error {
	if s, ok := d.number(); ok {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(f) > 1e12 {
			return fmt.Errorf("the number %.40s can not be converted to a time", s)
		}
		sec, frac := math.Modf(f)
		v.Set(reflect.ValueOf(time.Unix(int64(sec), int64(math.Round(frac*1e3))*1e6).UTC()))
		return nil
	}
	s, err := d.text()
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	v.Set(reflect.ValueOf(t))
	return err
}

func (d *decoder) bytes(v reflect.Value) error {
	s, err := d.text()
	if err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return errors.New("the string is not base64")
	}
	v.SetBytes(b)
	return nil
}

func (d *decoder) list(v reflect.Value) error {
	if d.next() != '[' {
		return d.mismatch("a list")
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 4))
	return d.each(']', func() error {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(e); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
		return nil
	})
}

func (d *decoder) dict(v reflect.Value) error {
	if d.next() != '{' {
		return d.mismatch("an object")
	}
	v.Set(reflect.MakeMap(v.Type()))
	return d.each('}', func() error {
		k, err := d.text()
		if err != nil {
			return err
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(e); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		v.SetMapIndex(reflect.ValueOf(k).Convert(v.Type().Key()), e)
		return nil
	})
}

func (d *decoder) structure(v reflect.Value) error {
	if d.next() != '{' {
		return d.mismatch("an object")
	}
	p := d.plan(v.Type())
	return d.each('}', func() error {
		k, err := d.text()
		if err != nil {
			return err
		}
		i, ok := p.byName[k]
		if !ok {
			return d.skip()
		}
		if err := d.value(v.Field(p.members[i].index)); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		return nil
	})
}
