package catalog

import (
	"encoding/json"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/berth-registry/berth/catalog/query"
)

// Property is a property's definition: what of it decides, and the whole as it was given.
type Property struct {
	Type, Format string
	Enum         []any
	Default      any
	Items        *Property // of arrays
	pattern      *regexp.Regexp
	limits       map[string]float64 // minLength, maxLength, minimum, maximum, minItems, maxItems
	Raw          map[string]any
}

// formats are those of each type.
//
//nolint:gochecknoglobals // a table
var formats = map[string][]string{
	"string": {"url", "email", "idn-email", "ipv4", "ipv6", "date-time", "timer", "markdown", "yaml", "user", "team", "proto", "blueprints", "entity", "multi-line", "password"},
	"object": {"labeled-url", "proto"}, "number": {}, "boolean": {}, "array": {},
}

// limitsOf are the bounds that a type may have.
//
//nolint:gochecknoglobals // a table
var limitsOf = map[string][]string{"string": {"minLength", "maxLength"}, "number": {"minimum", "maximum"}, "array": {"minItems", "maxItems"}}

func readProperty(path string, raw any) (*Property, error) {
	m, ok := raw.(map[string]any)
	if !ok {
		return nil, fail(Invalid, "%s must be an object with a type", path)
	}
	p := &Property{Raw: m, Default: m["default"]}
	p.Type, _ = m["type"].(string)
	known, ok := formats[p.Type]
	if !ok {
		return nil, fail(Invalid, "%s.type must be string, number, boolean, object or array", path)
	}
	if p.Format, _ = m["format"].(string); p.Format != "" && !slices.Contains(known, p.Format) {
		return nil, fail(Invalid, "%s.format: %q is no format of type %s", path, p.Format, p.Type)
	}
	if enum, ok := m["enum"].([]any); ok {
		p.Enum = enum
	}
	if text, ok := m["pattern"].(string); ok && text != "" && p.Type == "string" {
		var err error
		if p.pattern, err = regexp.Compile(text); err != nil {
			return nil, fail(Invalid, "%s.pattern: %v", path, err)
		}
	}
	for _, name := range limitsOf[p.Type] {
		if n, ok := m[name].(float64); ok {
			if p.limits == nil {
				p.limits = map[string]float64{}
			}
			p.limits[name] = n
		}
	}
	if items, ok := m["items"]; ok && p.Type == "array" {
		var err error
		if p.Items, err = readProperty(path+".items", items); err != nil {
			return nil, err
		}
	}
	if p.Default != nil {
		if why := p.check(p.Default); why != "" {
			return nil, fail(Invalid, "%s.default %s", path, why)
		}
	}
	return p, nil
}

// check says what is wrong with a value, "" for nothing. Null clears and is always fine
// here.
func (p *Property) check(v any) string {
	if v == nil {
		return ""
	}
	if len(p.Enum) > 0 && !slices.ContainsFunc(p.Enum, func(o any) bool { return reflect.DeepEqual(o, v) }) {
		return fmt.Sprintf("must be one of %s, not %s", preview(p.Enum), preview(v))
	}
	switch p.Type {
	case "string":
		s, ok := v.(string)
		if !ok {
			return "must be a string, not " + preview(v)
		}
		return p.checkText(s)
	case "number":
		n, ok := v.(float64)
		if !ok {
			return "must be a number, not " + preview(v)
		}
		return p.bound(n, "minimum", "maximum", "be")
	case "boolean":
		if _, ok := v.(bool); !ok {
			return "must be true or false, not " + preview(v)
		}
	case "object":
		if _, ok := v.(map[string]any); !ok {
			return "must be an object, not " + preview(v)
		}
		if p.Format == "labeled-url" {
			link, _ := v.(map[string]any)["url"].(string)
			if !isURL(link) {
				return "must be an object with a url"
			}
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return "must be a list, not " + preview(v)
		}
		if why := p.bound(float64(len(list)), "minItems", "maxItems", "have items numbering"); why != "" || p.Items == nil {
			return why
		}
		for i, item := range list {
			if why := p.Items.check(item); why != "" {
				return fmt.Sprintf("has item %d that %s", i, why)
			}
		}
	}
	return ""
}

func (p *Property) bound(n float64, least, most, verb string) string {
	if bound, ok := p.limits[least]; ok && n < bound {
		return fmt.Sprintf("must %s at least %v (%s)", verb, bound, least)
	}
	if bound, ok := p.limits[most]; ok && n > bound {
		return fmt.Sprintf("must %s at most %v (%s)", verb, bound, most)
	}
	return ""
}

func (p *Property) checkText(s string) string {
	if why := p.bound(float64(utf8.RuneCountInString(s)), "minLength", "maxLength", "have characters numbering"); why != "" {
		return why
	}
	if p.pattern != nil && !p.pattern.MatchString(s) {
		return fmt.Sprintf("must match %s, and %s does not", p.pattern, preview(s))
	}
	fits := true
	switch p.Format {
	case "url":
		fits = isURL(s)
	case "email", "idn-email", "user":
		a, err := mail.ParseAddress(s)
		fits = err == nil && a.Address == s
	case "ipv4":
		ip := net.ParseIP(s)
		fits = ip != nil && ip.To4() != nil && !strings.Contains(s, ":")
	case "ipv6":
		ip := net.ParseIP(s)
		fits = ip != nil && strings.Contains(s, ":")
	case "date-time", "timer":
		_, fits = query.Date(s)
	case "yaml":
		var v any
		fits = yaml.Unmarshal([]byte(s), &v) == nil
	}
	if !fits {
		return fmt.Sprintf("must be of format %s, and %s is not", p.Format, preview(s))
	}
	return ""
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != "" || u.Path != "")
}

// preview is a value as a message shows it.
func preview(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if r := []rune(string(b)); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return string(b)
}
