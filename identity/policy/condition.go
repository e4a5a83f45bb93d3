package policy

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/internal/strictjson"
)

// setMode is how a condition treats a key with several values.
type setMode int

const (
	oneValue setMode = iota
	forAllValues
	forAnyValue
)

// condition is one operator on one key. Its values are alternatives; the
// conditions of a statement must all hold.
type condition struct {
	name     string // the operator as written
	key      string // in lower case
	mode     setMode
	ifExists bool
	negated  bool
	null     bool
	compare  func(want *value, r *Request, have string) (equal, resolved bool)
	values   []value
}

// value is a condition's value: a template, and the parsed form where it has no
// variables.
type value struct {
	template
	arn    *arnPattern
	number float64
	time   time.Time
	prefix netip.Prefix
	bytes  []byte
}

// operator describes a comparison: what its values must be, and how they compare.
type operator struct {
	parse   func(*value, string) bool
	compare func(want *value, r *Request, have string) (equal, resolved bool)
	negated bool
}

var operators = map[string]operator{
	"StringEquals":              {nil, compareText(func(want, have string) bool { return want == have }), false},
	"StringNotEquals":           {nil, compareText(func(want, have string) bool { return want == have }), true},
	"StringEqualsIgnoreCase":    {nil, compareText(strings.EqualFold), false},
	"StringNotEqualsIgnoreCase": {nil, compareText(strings.EqualFold), true},
	"StringLike":                {nil, compareGlob, false},
	"StringNotLike":             {nil, compareGlob, true},
	"NumericEquals":             number(func(have, want float64) bool { return have == want }, false),
	"NumericNotEquals":          number(func(have, want float64) bool { return have == want }, true),
	"NumericLessThan":           number(func(have, want float64) bool { return have < want }, false),
	"NumericLessThanEquals":     number(func(have, want float64) bool { return have <= want }, false),
	"NumericGreaterThan":        number(func(have, want float64) bool { return have > want }, false),
	"NumericGreaterThanEquals":  number(func(have, want float64) bool { return have >= want }, false),
	"DateEquals":                date(func(c int) bool { return c == 0 }, false),
	"DateNotEquals":             date(func(c int) bool { return c == 0 }, true),
	"DateLessThan":              date(func(c int) bool { return c < 0 }, false),
	"DateLessThanEquals":        date(func(c int) bool { return c <= 0 }, false),
	"DateGreaterThan":           date(func(c int) bool { return c > 0 }, false),
	"DateGreaterThanEquals":     date(func(c int) bool { return c >= 0 }, false),
	"Bool":                      {parseBool, compareText(strings.EqualFold), false},
	"BinaryEquals":              {parseBinary, compareBinary, false},
	"IpAddress":                 {parsePrefix, comparePrefix, false},
	"NotIpAddress":              {parsePrefix, comparePrefix, true},
	"ArnEquals":                 {nil, compareARN, false},
	"ArnLike":                   {nil, compareARN, false},
	"ArnNotEquals":              {nil, compareARN, true},
	"ArnNotLike":                {nil, compareARN, true},
}

func (d *Document) parseConditions(v *strictjson.Value) ([]condition, error) {
	if v.Kind != strictjson.Object {
		return nil, malformed("the Condition must be an object of operators")
	}
	var out []condition
	for _, op := range v.Members {
		c, parse, err := parseOperator(op.Name)
		if err != nil {
			return nil, err
		}
		if op.Value.Kind != strictjson.Object {
			return nil, malformed("condition %s must be an object of keys", op.Name)
		}
		for _, key := range op.Value.Members {
			if key.Name == "" || len(key.Name) > 256 {
				return nil, malformed("condition %s has a key that is none", op.Name)
			}
			k := c
			k.key = lower(key.Name)
			if k.values, err = d.conditionValues(op.Name, key, parse, c.null); err != nil {
				return nil, err
			}
			out = append(out, k)
		}
	}
	return out, nil
}

func parseOperator(name string) (condition, func(*value, string) bool, error) {
	c := condition{name: name}
	base := name
	if rest, ok := strings.CutPrefix(base, "ForAllValues:"); ok {
		c.mode, base = forAllValues, rest
	} else if rest, ok := strings.CutPrefix(base, "ForAnyValue:"); ok {
		c.mode, base = forAnyValue, rest
	}
	if base == "Null" {
		c.null = true
		return c, parseBool, nil
	}
	base, c.ifExists = strings.CutSuffix(base, "IfExists")
	op, ok := operators[base]
	if !ok {
		return c, nil, malformed("unknown condition operator %.60q", name)
	}
	c.compare, c.negated = op.compare, op.negated
	return c, op.parse, nil
}

func (d *Document) conditionValues(op string, key strictjson.Member, parse func(*value, string) bool, null bool) ([]value, error) {
	items := []*strictjson.Value{key.Value}
	if key.Value.Kind == strictjson.List {
		items = key.Value.Items
	}
	if len(items) == 0 && null {
		return nil, malformed("condition %s on %.60q has no value", op, key.Name)
	}
	arnValues := strings.Contains(op, "Arn")
	var out []value
	for _, item := range items {
		if item.Kind != strictjson.String && item.Kind != strictjson.Number && item.Kind != strictjson.Bool {
			return nil, malformed("condition %s on %.60q holds %s", op, key.Name, item.Kind)
		}
		t, err := parseTemplate(item.Text, d.Version == Version2012)
		if err != nil {
			return nil, err
		}
		v := value{template: t}
		if parse != nil && t.fixed != nil && !parse(&v, t.text) {
			return nil, malformed("condition %s on %.60q cannot have the value %.100q", op, key.Name, item.Text)
		}
		if arnValues && item.Text != "" {
			p, err := parseARNPattern(item.Text, d.Version == Version2012)
			if err != nil {
				return nil, malformed("condition %s on %.60q: %q is neither an ARN nor \"*\"", op, key.Name, item.Text)
			}
			v.arn = &p
		}
		out = append(out, v)
	}
	return out, nil
}

// holds says whether the condition is met. A value whose variable has no value
// equals nothing; so that this never widens what is allowed, a negated condition
// of an Allow then is not met.
func (c *condition) holds(r *Request, e Effect) bool {
	have := r.values(c.key)
	if c.null {
		absent := have == nil
		for i := range c.values {
			if want, ok := c.values[i].value(r); ok && strings.EqualFold(want, "true") == absent {
				return true
			}
		}
		return false
	}
	if have == nil {
		switch {
		case c.ifExists, c.mode == forAllValues:
			return true
		case c.mode == forAnyValue:
			return false
		}
		return c.negated
	}
	switch c.mode {
	case forAllValues:
		for _, h := range have {
			if !c.met(r, h, e) {
				return false
			}
		}
		return true
	case forAnyValue:
		for _, h := range have {
			if c.met(r, h, e) {
				return true
			}
		}
		return false
	}
	// Without a set operator a negated condition must hold for every value, and
	// another for one.
	for _, h := range have {
		if c.met(r, h, e) != c.negated {
			return !c.negated
		}
	}
	return c.negated
}

// met looks at one value that the request has.
func (c *condition) met(r *Request, have string, e Effect) bool {
	unresolved := false
	for i := range c.values {
		equal, resolved := c.compare(&c.values[i], r, have)
		if equal {
			return !c.negated
		}
		unresolved = unresolved || !resolved
	}
	return c.negated && (!unresolved || e == Deny)
}

func compareText(equal func(want, have string) bool) func(*value, *Request, string) (bool, bool) {
	return func(want *value, r *Request, have string) (bool, bool) {
		w, ok := want.value(r)
		return ok && equal(w, have), ok
	}
}

func compareGlob(want *value, r *Request, have string) (bool, bool) {
	g, ok := want.glob(r)
	return ok && g.match(have), ok
}

func compareARN(want *value, r *Request, have string) (bool, bool) {
	if want.arn == nil { // the empty string
		return have == "", true
	}
	return want.arn.match(have, r)
}

// parsed returns the value's parsed form, made now when it holds variables. A
// variable whose value does not parse is like one without a value.
func (v *value) parsed(r *Request, parse func(*value, string) bool) (*value, bool) {
	if v.fixed != nil {
		return v, true
	}
	text, ok := v.value(r)
	if !ok {
		return nil, false
	}
	w := &value{}
	return w, parse(w, text)
}

func parseBool(_ *value, s string) bool {
	return strings.EqualFold(s, "true") || strings.EqualFold(s, "false")
}

func parseNumber(v *value, s string) bool {
	f, err := strconv.ParseFloat(s, 64)
	v.number = f
	return err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func number(test func(have, want float64) bool, negated bool) operator {
	return operator{parseNumber, func(want *value, r *Request, have string) (bool, bool) {
		w, ok := want.parsed(r, parseNumber)
		var h value
		return ok && parseNumber(&h, have) && test(h.number, w.number), ok
	}, negated}
}

// parseTime reads the forms of ISO 8601 that IAM documents, and seconds since
// 1970.
func parseTime(v *value, s string) bool {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			v.time = t
			return true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1e12 {
		return false
	}
	sec, frac := math.Modf(f)
	v.time = time.Unix(int64(sec), int64(frac*1e9))
	return true
}

func date(test func(haveToWant int) bool, negated bool) operator {
	return operator{parseTime, func(want *value, r *Request, have string) (bool, bool) {
		w, ok := want.parsed(r, parseTime)
		var h value
		return ok && parseTime(&h, have) && test(h.time.Compare(w.time)), ok
	}, negated}
}

func parseBinary(v *value, s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	v.bytes = b
	return err == nil
}

func compareBinary(want *value, r *Request, have string) (bool, bool) {
	w, ok := want.parsed(r, parseBinary)
	var h value
	return ok && parseBinary(&h, have) && string(h.bytes) == string(w.bytes), ok
}

func parsePrefix(v *value, s string) bool {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		v.prefix = netip.PrefixFrom(a, a.BitLen())
		return true
	}
	p, err := netip.ParsePrefix(s)
	v.prefix = p.Masked()
	return err == nil
}

func comparePrefix(want *value, r *Request, have string) (bool, bool) {
	w, ok := want.parsed(r, parsePrefix)
	a, err := netip.ParseAddr(have)
	return ok && err == nil && w.prefix.Contains(a.Unmap().WithZone("")), ok
}
