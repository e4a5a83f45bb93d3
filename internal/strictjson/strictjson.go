// Package strictjson reads JSON documents that decide something: it refuses what
// lenient readers understand differently, and keeps where each value stands.
//
// It is for manifests, policies and token claims, where two readers that disagree
// are an attack. It is no decoder into Go types.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is the kind of a value.
type Kind byte

// The kinds.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[k]
}

// Value is a value and where its text is.
type Value struct {
	Kind Kind
	// Text is a string's value, or the text of a number or boolean.
	Text string
	// Start and End are the byte offsets of the value's text.
	Start, End int
	Items      []*Value // of a list
	Members    []Member // of an object, in order
}

// Member is a member of an object.
type Member struct {
	Name  string
	Value *Value
}

// Get returns a member, or nil.
func (v *Value) Get(name string) *Value {
	for _, m := range v.Members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// Check refuses a document that is not one JSON object in UTF-8, repeats a key
// within an object, or nests deeper than depth.
func Check(doc []byte, depth int) error {
	if !utf8.Valid(doc) {
		return fmt.Errorf("it is not UTF-8")
	}
	if trimmed := bytes.TrimLeft(doc, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return fmt.Errorf("it is not a JSON object")
	}
	if !json.Valid(doc) {
		return fmt.Errorf("it is not JSON, or something follows the document")
	}
	return scan(doc, depth)
}

// scan walks a document that is known to be valid JSON and looks at the keys and
// the depth of its objects.
func scan(b []byte, depth int) error {
	var stack []map[string]bool // keys of each open object, nil for a list
	key := false                // a string now would be a key
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '{', '[':
			var keys map[string]bool
			if c == '{' {
				keys = map[string]bool{}
			}
			if stack = append(stack, keys); len(stack) > depth {
				return fmt.Errorf("it nests deeper than %d", depth)
			}
			key = c == '{'
		case '}', ']':
			stack = stack[:len(stack)-1]
		case ',':
			key = stack[len(stack)-1] != nil
		case ':':
			key = false
		case '"':
			start := i
			i = closing(b, i)
			if !key {
				continue
			}
			name, err := text(b[start : i+1])
			if err != nil {
				return err
			}
			keys := stack[len(stack)-1]
			if keys[name] {
				return fmt.Errorf("key %.100q appears twice", name)
			}
			keys[name] = true
		}
	}
	return nil
}

// closing returns the offset of the quote that ends the string starting at i.
func closing(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}

func text(quoted []byte) (string, error) {
	s := string(quoted[1 : len(quoted)-1])
	if !strings.Contains(s, "\\") {
		return s, nil
	}
	err := json.Unmarshal(quoted, &s)
	return s, err
}

// Parse reads a document that Check would pass.
func Parse(doc []byte, depth int) (*Value, error) {
	if err := Check(doc, depth); err != nil {
		return nil, err
	}
	p := parser{b: doc}
	return p.value()
}

type parser struct {
	b []byte
	i int
}

func (p *parser) next() byte {
	for strings.IndexByte(" \t\r\n,:", p.b[p.i]) >= 0 {
		p.i++
	}
	return p.b[p.i]
}

func (p *parser) value() (*Value, error) {
	c := p.next()
	v := &Value{Start: p.i}
	var err error
	switch c {
	case '{':
		v.Kind = Object
		err = p.object(v)
	case '[':
		v.Kind = List
		for p.i++; err == nil && p.next() != ']'; {
			var item *Value
			item, err = p.value()
			v.Items = append(v.Items, item)
		}
		p.i++
	case '"':
		v.Kind = String
		v.Text, err = p.text()
	default:
		for p.i < len(p.b) && strings.IndexByte(" \t\r\n,]}", p.b[p.i]) < 0 {
			p.i++
		}
		v.Text = string(p.b[v.Start:p.i])
		v.Kind = map[byte]Kind{'n': Null, 't': Bool, 'f': Bool}[c]
		if v.Kind == Null && c != 'n' {
			v.Kind = Number
		}
	}
	v.End = p.i
	return v, err
}

func (p *parser) text() (string, error) {
	start := p.i
	p.i = closing(p.b, p.i) + 1
	return text(p.b[start:p.i])
}

func (p *parser) object(v *Value) error {
	for p.i++; p.next() != '}'; {
		name, err := p.text()
		if err != nil {
			return err
		}
		member, err := p.value()
		if err != nil {
			return err
		}
		v.Members = append(v.Members, Member{name, member})
	}
	p.i++
	return nil
}
