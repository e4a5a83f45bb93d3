package logs

import (
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/internal/wildcard"
)

// A condition is part of a filter for JSON or columns: it asks of one event's fields.
type condition func(fields) bool

// fields gives the values that a name or a path stands for; none where there is none.
// A value is nil, bool, json.Number or string, or an object or array, which only
// exists.
type fields func(selector any) []any

// conditions parses what stands between the brackets of a filter pattern.
type conditions struct {
	rest  string
	depth int
	// selector reads the name of a field.
	selector func(*conditions) (any, error)
}

func (c *conditions) bad(want string) error {
	near := "its end"
	if c.rest != "" {
		near = strconv.Quote(c.rest[:min(len(c.rest), 20)])
	}
	return fail(InvalidParameter, "Invalid filter pattern: %s is expected at %s.", want, near)
}

// take skips spaces and, if it comes next, the text.
func (c *conditions) take(text string) bool {
	c.rest = strings.TrimLeft(c.rest, " \t\r\n")
	rest, ok := strings.CutPrefix(c.rest, text)
	c.rest = rest
	return ok
}

// keyword is take for a word of letters in either case.
func (c *conditions) keyword(word string) bool {
	c.take("")
	n := len(word)
	if len(c.rest) < n || !strings.EqualFold(c.rest[:n], word) || len(c.rest) > n && strings.IndexByte(" \t\r\n)}],&|", c.rest[n]) < 0 {
		return false
	}
	c.rest = c.rest[n:]
	return true
}

func (c *conditions) or() (condition, error) {
	return c.list("||", (*conditions).and, func(a, b condition) condition {
		return func(f fields) bool { return a(f) || b(f) }
	})
}

func (c *conditions) and() (condition, error) {
	return c.list("&&", (*conditions).one, func(a, b condition) condition {
		return func(f fields) bool { return a(f) && b(f) }
	})
}

func (c *conditions) list(operator string, next func(*conditions) (condition, error), join func(a, b condition) condition) (condition, error) {
	all, err := next(c)
	for err == nil && c.take(operator) {
		var more condition
		if more, err = next(c); err == nil {
			all = join(all, more)
		}
	}
	return all, err
}

func (c *conditions) one() (condition, error) {
	if !c.take("(") {
		return c.comparison()
	}
	if c.depth++; c.depth > 50 {
		return nil, fail(InvalidParameter, "Invalid filter pattern: more than 50 brackets in each other.")
	}
	in, err := c.or()
	if err == nil && !c.take(")") {
		err = c.bad(")")
	}
	c.depth--
	return in, err
}

func (c *conditions) comparison() (condition, error) {
	selector, err := c.selector(c)
	if err != nil {
		return nil, err
	}
	some := func(is func(value any) bool) condition {
		return func(f fields) bool {
			for _, v := range f(selector) {
				if is(v) {
					return true
				}
			}
			return false
		}
	}
	switch {
	case c.keyword("EXISTS"):
		return some(everything), nil
	case c.keyword("NOT"):
		if !c.keyword("EXISTS") {
			return nil, c.bad("EXISTS")
		}
		return func(f fields) bool { return len(f(selector)) == 0 }, nil
	case c.keyword("IS"):
		for word, want := range map[string]any{"NULL": nil, "TRUE": true, "FALSE": false} {
			if c.keyword(word) {
				return some(func(v any) bool { return scalar(v) && v == want }), nil
			}
		}
		return nil, c.bad("NULL, TRUE or FALSE")
	}
	for _, operator := range []string{"!=", ">=", "<=", "=", ">", "<"} {
		if c.take(operator) {
			is, err := c.value(operator)
			return some(is), err
		}
	}
	return nil, c.bad("a comparison")
}

func everything(any) bool { return true }

func scalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// value reads the right side of a comparison.
func (c *conditions) value(operator string) (func(any) bool, error) {
	if strings.ContainsAny(operator, "<>") {
		word := c.word()
		want, err := strconv.ParseFloat(word, 64)
		if err != nil {
			c.rest = word + c.rest
			return nil, c.bad("a number")
		}
		return func(v any) bool {
			have, ok := number(v)
			switch {
			case !ok:
				return false
			case have == want:
				return operator == ">=" || operator == "<="
			}
			return have < want == (operator[0] == '<')
		}, nil
	}
	is, err := c.equal()
	if operator == "!=" {
		return func(v any) bool { return !is(v) }, err
	}
	return is, err
}

// equal reads a value that a field is compared with: "a text", %an expression%, a word
// or a number; * in the first and the third stands for anything.
func (c *conditions) equal() (func(any) bool, error) {
	c.take("")
	switch {
	case strings.HasPrefix(c.rest, `"`):
		var text strings.Builder
		for i := 1; i < len(c.rest); i++ {
			switch {
			case c.rest[i] == '"':
				c.rest = c.rest[i+1:]
				like := wild(text.String())
				return func(v any) bool { s, ok := v.(string); return ok && like(s) }, nil
			case c.rest[i] == '\\' && i+1 < len(c.rest):
				i++
			}
			text.WriteByte(c.rest[i])
		}
		return nil, c.bad("a text that ends")
	case strings.HasPrefix(c.rest, "%"):
		end := strings.IndexByte(c.rest[1:], '%')
		if end < 0 {
			return nil, c.bad("an expression that ends with %")
		}
		re, err := regexp.Compile(c.rest[1 : 1+end])
		if err != nil {
			return nil, fail(InvalidParameter, "Invalid filter pattern: %.200s", err)
		}
		c.rest = c.rest[end+2:]
		return func(v any) bool { s, ok := text(v); return ok && re.MatchString(s) }, nil
	}
	word := c.word()
	if word == "" {
		return nil, c.bad("a value")
	}
	if word == "*" {
		return everything, nil
	}
	like := wild(word)
	want, err := strconv.ParseFloat(word, 64)
	return func(v any) bool {
		if err == nil {
			if n, ok := v.(json.Number); ok {
				have, _ := n.Float64()
				return have == want
			}
		}
		s, ok := text(v)
		return ok && like(s)
	}, nil
}

// word reads up to a space, a comma, a bracket or an operator.
func (c *conditions) word() string {
	c.take("")
	end := strings.IndexAny(c.rest, " \t\r\n,()[]{}&|=<>!")
	if end < 0 {
		end = len(c.rest)
	}
	word := c.rest[:end]
	c.rest = c.rest[end:]
	return word
}

// wild matches a text in which * stands for anything.
func wild(pattern string) func(string) bool {
	parts := strings.Split(pattern, "*")
	return func(s string) bool { return wildcard.Parts(parts, s) }
}

func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// parseObject reads a pattern for messages that are JSON objects: { $.a.b[0] = x }.
func parseObject(pattern string) (func(string) bool, error) {
	c := &conditions{rest: pattern[1:], selector: readPath}
	is, err := c.or()
	if err != nil {
		return nil, err
	}
	if !c.take("}") {
		return nil, c.bad("}, && or ||")
	}
	if c.take(""); c.rest != "" {
		return nil, c.bad("the end")
	}
	return func(message string) bool {
		dec := json.NewDecoder(strings.NewReader(message))
		dec.UseNumber()
		var root map[string]any
		if dec.Decode(&root) != nil || root == nil {
			return false
		}
		if _, err := dec.Token(); err != io.EOF {
			return false
		}
		return is(func(selector any) []any { return walk(root, selector.([]any)) })
	}, nil
}

// each is the step of a path to all elements of an array.
type each struct{}

// readPath reads $.a['b c'][0][*]: steps that are a string, an int or each.
func readPath(c *conditions) (any, error) {
	if !c.take("$") {
		return nil, c.bad("$")
	}
	steps := []any{}
	for {
		switch {
		case strings.HasPrefix(c.rest, "."):
			c.rest = c.rest[1:]
			end := strings.IndexAny(c.rest, " \t\r\n.,()[]{}&|=<>!")
			if end < 0 {
				end = len(c.rest)
			}
			if end == 0 {
				return nil, c.bad("the name of a field")
			}
			steps = append(steps, c.rest[:end])
			c.rest = c.rest[end:]
		case strings.HasPrefix(c.rest, "['"):
			name, rest, ok := strings.Cut(c.rest[2:], "']")
			if !ok {
				return nil, c.bad("a name in brackets that ends with ']")
			}
			steps, c.rest = append(steps, name), rest
		case strings.HasPrefix(c.rest, "["):
			inside, rest, ok := strings.Cut(c.rest[1:], "]")
			index, err := strconv.ParseUint(inside, 10, 31)
			switch {
			case ok && inside == "*":
				steps = append(steps, each{})
			case ok && err == nil:
				steps = append(steps, int(index))
			default:
				return nil, c.bad("an index in brackets")
			}
			c.rest = rest
		default:
			if len(steps) == 0 {
				return nil, c.bad("the name of a field")
			}
			return steps, nil
		}
	}
}

// walk gives the values at a path.
func walk(v any, steps []any) []any {
	if len(steps) == 0 {
		return []any{v}
	}
	switch step := steps[0].(type) {
	case string:
		object, _ := v.(map[string]any)
		if in, ok := object[step]; ok {
			return walk(in, steps[1:])
		}
	case int:
		if list, _ := v.([]any); step < len(list) {
			return walk(list[step], steps[1:])
		}
	case each:
		var out []any
		list, _ := v.([]any)
		for _, in := range list {
			out = append(out, walk(in, steps[1:])...)
		}
		return out
	}
	return nil
}
