// Package pattern is EventBridge's language of event patterns: it parses a pattern
// once and tells of events whether they match.
//
// It is pure: no rules, no buses, no delivery. Matching takes time linear in the event
// for every pattern that Parse accepts.
package pattern

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/internal/strictjson"
	"github.com/berth-registry/berth/internal/wildcard"
)

const (
	// MaxSize is how long a pattern may be, in bytes (service quota).
	MaxSize = 4096
	// maxDepth bounds how deep patterns nest.
	maxDepth = 32
	// maxStars bounds the wildcards of a pattern.
	maxStars = 64
	// maxNumber bounds numbers in patterns, on both sides of zero.
	maxNumber = 5e9
)

// Error is a pattern that is not one.
type Error struct {
	Reason       string
	Line, Column int // of the value, from 1
}

func (e *Error) Error() string {
	return fmt.Sprintf("Event pattern is not valid. Reason: %s at line: %d, column: %d", e.Reason, e.Line, e.Column)
}

// Pattern is a parsed pattern. It is immutable.
type Pattern struct{ root node }

// node is an object of a pattern: all of its fields must match, and one of each of
// its choices.
type node struct {
	fields  []field
	choices [][]node // of each $or
}

// field is a leaf with matchers, or an object.
type field struct {
	name string
	any  []matcher
	node *node
}

// matcher tells of a leaf whether it matches. Absent leaves are asked with absent.
type matcher func(v any) bool

// absent stands for a leaf that an event does not have.
type absent struct{}

// Parse reads a pattern: *Error.
func Parse(text string) (*Pattern, error) {
	p := parser{text: text}
	if len(text) > MaxSize {
		return nil, p.fail(nil, "the pattern is longer than %d characters", MaxSize)
	}
	v, err := strictjson.Parse([]byte(text), maxDepth)
	if err != nil {
		return nil, p.fail(nil, "%s", err)
	}
	n, err := p.object(v, "the pattern")
	if err != nil {
		return nil, err
	}
	return &Pattern{*n}, nil
}

type parser struct {
	text  string
	stars int
}

func (p *parser) fail(v *strictjson.Value, format string, args ...any) error {
	at := 0
	if v != nil {
		at = v.Start
	}
	before := p.text[:min(at, len(p.text))]
	return &Error{Reason: fmt.Sprintf(format, args...), Line: strings.Count(before, "\n") + 1, Column: at - strings.LastIndexByte(before, '\n')}
}

func (p *parser) object(v *strictjson.Value, name string) (*node, error) {
	if v.Kind != strictjson.Object || len(v.Members) == 0 {
		return nil, p.fail(v, "%s must be an object that is not empty", name)
	}
	n := &node{}
	for _, m := range v.Members {
		switch {
		case m.Name == "$or":
			alternatives, err := p.or(m.Value)
			if err != nil {
				return nil, err
			}
			n.choices = append(n.choices, alternatives)
		case m.Value.Kind == strictjson.Object:
			inner, err := p.object(m.Value, strconv.Quote(m.Name))
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{name: m.Name, node: inner})
		case m.Value.Kind == strictjson.List:
			list, err := p.matchers(m.Value, m.Name)
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{name: m.Name, any: list})
		default:
			return nil, p.fail(m.Value, "%q must be an object or an array", m.Name)
		}
	}
	return n, nil
}

func (p *parser) or(v *strictjson.Value) ([]node, error) {
	if v.Kind != strictjson.List || len(v.Items) < 2 {
		return nil, p.fail(v, `"$or" must be an array of at least two objects`)
	}
	var out []node
	for _, item := range v.Items {
		n, err := p.object(item, `each alternative of "$or"`)
		if err != nil {
			return nil, err
		}
		out = append(out, *n)
	}
	return out, nil
}

func (p *parser) matchers(v *strictjson.Value, name string) ([]matcher, error) {
	if len(v.Items) == 0 {
		return nil, p.fail(v, "Empty arrays are not allowed; %q has no value to match", name)
	}
	var out []matcher
	for _, item := range v.Items {
		m, err := p.matcher(item)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (p *parser) matcher(v *strictjson.Value) (matcher, error) {
	switch v.Kind {
	case strictjson.List:
		return nil, p.fail(v, "an array of values to match may not hold another array")
	case strictjson.Object:
		if len(v.Members) != 1 {
			return nil, p.fail(v, "Only one key allowed in match expression")
		}
		return p.operator(v.Members[0].Name, v.Members[0].Value)
	}
	return p.exact(v)
}

// exact matches one scalar.
func (p *parser) exact(v *strictjson.Value) (matcher, error) {
	switch v.Kind {
	case strictjson.String:
		return func(x any) bool { s, ok := x.(string); return ok && s == v.Text }, nil
	case strictjson.Number:
		want, err := p.number(v)
		if err != nil {
			return nil, err
		}
		return func(x any) bool { n, ok := number(x); return ok && n == want }, nil
	case strictjson.Bool:
		want := v.Text == "true"
		return func(x any) bool { b, ok := x.(bool); return ok && b == want }, nil
	}
	return func(x any) bool { return x == nil }, nil
}

func (p *parser) number(v *strictjson.Value) (float64, error) {
	n, err := strconv.ParseFloat(v.Text, 64)
	if v.Kind != strictjson.Number || err != nil || n < -maxNumber || n > maxNumber {
		return 0, p.fail(v, "Value must be a number between %g and %g", -maxNumber, maxNumber)
	}
	return n, nil
}

func number(x any) (float64, bool) {
	n, ok := x.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}

func text(want func(string) bool) matcher {
	return func(x any) bool { s, ok := x.(string); return ok && want(s) }
}

func (p *parser) operator(name string, v *strictjson.Value) (matcher, error) {
	switch name {
	case "prefix", "suffix":
		is, err := p.end(name, v)
		return text(is), err
	case "equals-ignore-case":
		if v.Kind != strictjson.String {
			return nil, p.fail(v, "equals-ignore-case match pattern must be a string")
		}
		return text(func(s string) bool { return strings.EqualFold(s, v.Text) }), nil
	case "wildcard":
		is, err := p.wildcard(v)
		return text(is), err
	case "exists":
		if v.Kind != strictjson.Bool {
			return nil, p.fail(v, "exists match pattern must be either true or false")
		}
		want := v.Text == "true"
		return func(x any) bool { _, missing := x.(absent); return missing != want }, nil
	case "numeric":
		return p.numeric(v)
	case "cidr":
		return p.cidr(v)
	case "anything-but":
		return p.anythingBut(v)
	}
	return nil, p.fail(v, "Unrecognized match type %.60s", name)
}

// end is a prefix or suffix, with the case of letters or without.
func (p *parser) end(name string, v *strictjson.Value) (func(string) bool, error) {
	fold := false
	if v.Kind == strictjson.Object && len(v.Members) == 1 && v.Members[0].Name == "equals-ignore-case" {
		v, fold = v.Members[0].Value, true
	}
	if v.Kind != strictjson.String {
		return nil, p.fail(v, "%s match pattern must be a string", name)
	}
	want := v.Text
	switch {
	case name == "prefix" && !fold:
		return func(s string) bool { return strings.HasPrefix(s, want) }, nil
	case name == "suffix" && !fold:
		return func(s string) bool { return strings.HasSuffix(s, want) }, nil
	case name == "prefix":
		return func(s string) bool { return len(s) >= len(want) && strings.EqualFold(s[:len(want)], want) }, nil
	}
	return func(s string) bool { return len(s) >= len(want) && strings.EqualFold(s[len(s)-len(want):], want) }, nil
}

func (p *parser) wildcard(v *strictjson.Value) (func(string) bool, error) {
	if v.Kind != strictjson.String {
		return nil, p.fail(v, "wildcard match pattern must be a string")
	}
	parts := []string{""}
	for i := 0; i < len(v.Text); i++ {
		switch c := v.Text[i]; {
		case c == '\\' && (i+1 == len(v.Text) || v.Text[i+1] != '*' && v.Text[i+1] != '\\'):
			return nil, p.fail(v, "Invalid escape character in wildcard; use \\* for a star and \\\\ for a backslash")
		case c == '\\':
			i++
			parts[len(parts)-1] += v.Text[i : i+1]
		case c == '*':
			if i > 0 && parts[len(parts)-1] == "" && len(parts) > 1 {
				return nil, p.fail(v, "Consecutive wildcard characters at pos %d", i-1)
			}
			parts = append(parts, "")
			p.stars++
		default:
			parts[len(parts)-1] += v.Text[i : i+1]
		}
	}
	if p.stars > maxStars {
		return nil, p.fail(v, "Rule is too complex - use at most %d wildcard characters", maxStars)
	}
	return func(s string) bool { return wildcard.Parts(parts, s) }, nil
}

func (p *parser) numeric(v *strictjson.Value) (matcher, error) {
	if v.Kind != strictjson.List || len(v.Items) != 2 && len(v.Items) != 4 {
		return nil, p.fail(v, "numeric match pattern must be an array of an operator and a number, once or twice")
	}
	var tests []func(float64) bool
	for i := 0; i < len(v.Items); i += 2 {
		op := v.Items[i]
		if op.Kind != strictjson.String {
			return nil, p.fail(op, "Invalid member in numeric match: %s", op.Kind)
		}
		n, err := p.number(v.Items[i+1])
		if err != nil {
			return nil, err
		}
		test, ok := map[string]func(float64) bool{"=": func(x float64) bool { return x == n }, "<": func(x float64) bool { return x < n },
			"<=": func(x float64) bool { return x <= n }, ">": func(x float64) bool { return x > n }, ">=": func(x float64) bool { return x >= n }}[op.Text]
		if !ok || len(v.Items) == 4 && (op.Text == "=" || (i == 0) != (op.Text[0] == '>')) {
			return nil, p.fail(op, "Unrecognized numeric range operator: %.10s", op.Text)
		}
		tests = append(tests, test)
	}
	return func(x any) bool {
		n, ok := number(x)
		return ok && !slices.ContainsFunc(tests, func(t func(float64) bool) bool { return !t(n) })
	}, nil
}

func (p *parser) cidr(v *strictjson.Value) (matcher, error) {
	prefix, err := netip.ParsePrefix(v.Text)
	if v.Kind != strictjson.String || err != nil {
		if a, aerr := netip.ParseAddr(v.Text); v.Kind == strictjson.String && aerr == nil {
			prefix, err = a.Prefix(a.BitLen())
		}
		if err != nil || v.Kind != strictjson.String {
			return nil, p.fail(v, "Malformed CIDR, one '/' required: %.60q", v.Text)
		}
	}
	return text(func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && prefix.Contains(a) }), nil
}

// anythingBut matches leaves that are there and are none of what it names.
func (p *parser) anythingBut(v *strictjson.Value) (matcher, error) {
	var not []matcher
	switch v.Kind {
	case strictjson.Object:
		if len(v.Members) != 1 {
			return nil, p.fail(v, "Only one key allowed in match expression")
		}
		m := v.Members[0]
		if !slices.Contains([]string{"prefix", "suffix", "equals-ignore-case", "wildcard"}, m.Name) {
			return nil, p.fail(v, "Unsupported anything-but pattern: %.60s", m.Name)
		}
		values := []*strictjson.Value{m.Value}
		if m.Value.Kind == strictjson.List {
			values = m.Value.Items
		}
		for _, x := range values {
			is, err := p.operator(m.Name, x)
			if err != nil {
				return nil, err
			}
			not = append(not, is)
		}
	case strictjson.List:
		for _, x := range v.Items {
			if x.Kind != v.Items[0].Kind || x.Kind != strictjson.String && x.Kind != strictjson.Number {
				return nil, p.fail(x, "Inside anything but list, either all values are number or string, mixed type is not supported")
			}
			is, err := p.exact(x)
			if err != nil {
				return nil, err
			}
			not = append(not, is)
		}
	case strictjson.String, strictjson.Number:
		is, err := p.exact(v)
		if err != nil {
			return nil, err
		}
		not = append(not, is)
	}
	if len(not) == 0 {
		return nil, p.fail(v, "Value of anything-but must be a string, a number, or a list of them that is not empty")
	}
	return func(x any) bool {
		if _, missing := x.(absent); missing {
			return false
		}
		return !slices.ContainsFunc(not, func(is matcher) bool { return is(x) })
	}, nil
}

var errEvent = errors.New("the event is not one JSON object")

// Decode reads an event for Match. Its top level must be an object.
func Decode(event []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil || v == nil || dec.More() {
		return nil, errEvent
	}
	return v, nil
}
