// Package input makes what a target gets of an event: a constant, a part of it, or a
// text with parts of it filled in, as EventBridge does.
//
// It is pure: it knows paths and templates, not rules or targets.
package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxPaths    = 100
	maxTemplate = 8192
	// maxInput bounds what is made, in bytes: the size that events may have.
	maxInput = 256 << 10
)

// Transform fills parts of an event, found by Paths, into Template, where their names
// stand in angle brackets.
type Transform struct {
	Paths    map[string]string `json:"paths,omitempty"`
	Template string            `json:"template"`
}

// About is what templates can say beside the event.
type About struct {
	RuleName, RuleARN string
	Ingested          time.Time
}

var variable = regexp.MustCompile(`<([A-Za-z0-9_.\-]+)>`)

// Check tells what is wrong with the three forms of which at most one is set.
func Check(constant, path string, t *Transform) error {
	if constant != "" && !json.Valid([]byte(constant)) {
		return errors.New("the input is not valid JSON")
	}
	if path != "" {
		if _, err := parse(path); err != nil {
			return fmt.Errorf("the input path is not valid: %w", err)
		}
	}
	if t == nil {
		return nil
	}
	if len(t.Paths) > maxPaths || t.Template == "" || len(t.Template) > maxTemplate {
		return fmt.Errorf("the input transformer is not valid: a template has 1 to %d characters, and at most %d paths", maxTemplate, maxPaths)
	}
	for name, p := range t.Paths {
		if _, err := parse(p); err != nil {
			return fmt.Errorf("the input transformer is not valid: path %q: %w", name, err)
		}
	}
	for _, m := range variable.FindAllStringSubmatch(t.Template, -1) {
		if _, ok := t.Paths[m[1]]; !ok && !strings.HasPrefix(m[1], "aws.events.") {
			return fmt.Errorf("the input transformer is not valid: the template names %s, for which there is no path", m[0])
		}
	}
	return nil
}

// step is a member or an index of a path.
type step struct {
	name  string
	index int // -1 for a member
}

// parse reads a path such as $.detail.items[0].name or $.detail['a key'].
func parse(path string) ([]step, error) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return nil, fmt.Errorf("%.60q does not begin with $", path)
	}
	var out []step
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, "['"):
			name, after, ok := strings.Cut(rest[2:], "']")
			if !ok {
				return nil, fmt.Errorf("%.60q has an open bracket", path)
			}
			out, rest = append(out, step{name, -1}), after
		case rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, fmt.Errorf("%.60q has an open bracket", path)
			}
			n, err := strconv.Atoi(rest[1:end])
			if err != nil || n < 0 {
				return nil, fmt.Errorf("%.60q: %q is no index", path, rest[1:end])
			}
			out, rest = append(out, step{"", n}), rest[end+1:]
		case rest[0] == '.':
			rest = rest[1:]
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			name := rest[:end]
			if name == "" || strings.ContainsAny(name, "*?@()' ") {
				return nil, fmt.Errorf("%.60q is not a path of names and indices", path)
			}
			out, rest = append(out, step{name, -1}), rest[end:]
		default:
			return nil, fmt.Errorf("%.60q is not a path of names and indices", path)
		}
	}
	return out, nil
}

// find returns the part of an event at a path.
func find(event any, path string) (any, bool) {
	steps, err := parse(path)
	if err != nil {
		return nil, false
	}
	for _, s := range steps {
		if s.index >= 0 {
			list, ok := event.([]any)
			if !ok || s.index >= len(list) {
				return nil, false
			}
			event = list[s.index]
			continue
		}
		object, ok := event.(map[string]any)
		if !ok {
			return nil, false
		}
		if event, ok = object[s.name]; !ok {
			return nil, false
		}
	}
	return event, true
}

func compact(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte("null") // what was decoded encodes
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Make returns what a target gets of an event in its envelope. A path that finds
// nothing is null alone, and nothing in a template's text.
func Make(envelope []byte, constant, path string, t *Transform, about About) ([]byte, error) {
	if constant != "" {
		return []byte(constant), nil
	}
	if path == "" && t == nil {
		return envelope, nil
	}
	dec := json.NewDecoder(bytes.NewReader(envelope))
	dec.UseNumber()
	var event any
	if err := dec.Decode(&event); err != nil {
		return nil, fmt.Errorf("the event is not JSON: %w", err)
	}
	if path != "" {
		v, _ := find(event, path)
		return compact(v), nil
	}
	out := t.fill(event, envelope, about)
	if len(out) > maxInput {
		return nil, fmt.Errorf("the transformed input has %d bytes, %d are allowed", len(out), maxInput)
	}
	return out, nil
}

// fill replaces the variables. Within quotes a value is text, elsewhere it is JSON.
func (t *Transform) fill(event any, envelope []byte, about About) []byte {
	var out bytes.Buffer
	rest, quoted := t.Template, false
	for {
		at := variable.FindStringSubmatchIndex(rest)
		if at == nil || out.Len() > maxInput {
			out.WriteString(rest)
			break
		}
		before := rest[:at[0]]
		for i := 0; i < len(before); i++ {
			switch before[i] {
			case '\\':
				i++
			case '"':
				quoted = !quoted
			}
		}
		out.WriteString(before)
		value, ok := t.value(rest[at[2]:at[3]], event, envelope, about)
		switch {
		case quoted && !ok:
		case quoted:
			out.Write(asText(value))
		default:
			out.Write(compact(value))
		}
		rest = rest[at[1]:]
	}
	return out.Bytes()
}

func (t *Transform) value(name string, event any, envelope []byte, about About) (any, bool) {
	if path, ok := t.Paths[name]; ok {
		return find(event, path)
	}
	switch name {
	case "aws.events.rule-arn":
		return about.RuleARN, true
	case "aws.events.rule-name":
		return about.RuleName, true
	case "aws.events.event.ingestion-time":
		return about.Ingested.UTC().Format("2006-01-02T15:04:05Z"), true
	case "aws.events.event.json":
		return json.RawMessage(envelope), true
	case "aws.events.event":
		object, _ := event.(map[string]any)
		less := map[string]any{}
		for k, v := range object {
			if k != "detail" {
				less[k] = v
			}
		}
		return less, true
	}
	return nil, false
}

// asText is a value inside a JSON string: texts as they are, all else as JSON, both
// escaped.
func asText(v any) []byte {
	s, ok := v.(string)
	if !ok {
		s = string(compact(v))
	}
	q := compact(s)
	return q[1 : len(q)-1]
}
