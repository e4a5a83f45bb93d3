package logs

import (
	"encoding/json"
	"regexp"
	"strings"
)

// number-like columns are compared as numbers.
var numeric = regexp.MustCompile(`^-?\d+(\.\d+)?([eE][-+]?\d+)?$`)

// parseColumns reads a pattern for messages of columns, each a word, a text in quotes
// or one in brackets: [ip, user, ..., status >= 500, bytes].
func parseColumns(pattern string) (func(string) bool, error) {
	c := &conditions{rest: pattern[1:]}
	var columns []condition
	rest := -1
	for {
		if c.take("...") {
			if rest >= 0 {
				return nil, fail(InvalidParameter, "Invalid filter pattern: ... stands for the other columns once.")
			}
			rest = len(columns)
		} else {
			is, err := c.column()
			if err != nil {
				return nil, err
			}
			columns = append(columns, is)
		}
		if c.take("]") {
			break
		}
		if !c.take(",") {
			return nil, c.bad(", or ]")
		}
	}
	if c.take(""); c.rest != "" {
		return nil, c.bad("the end")
	}
	return func(message string) bool {
		have := split(message)
		if len(have) < len(columns) || rest < 0 && len(have) != len(columns) {
			return false
		}
		for i, is := range columns {
			at := i
			if rest >= 0 && i >= rest {
				at = len(have) - len(columns) + i
			}
			if !is(func(any) []any { return have[at : at+1] }) {
				return false
			}
		}
		return true
	}, nil
}

// column reads a name, or conditions on one.
func (c *conditions) column() (condition, error) {
	before := c.rest
	name := c.word()
	if name == "" {
		return nil, c.bad("the name of a column")
	}
	if c.take(""); strings.HasPrefix(c.rest, ",") || strings.HasPrefix(c.rest, "]") {
		return func(fields) bool { return true }, nil
	}
	c.rest = before
	c.selector = func(c *conditions) (any, error) {
		if at := c.rest; c.word() != name {
			c.rest = at
			return nil, c.bad("the column " + name)
		}
		return name, nil
	}
	return c.or()
}

// split takes a message apart into columns: strings, or numbers where they look so.
func split(message string) []any {
	var out []any
	for {
		message = strings.TrimLeft(message, " \t\r\n")
		if message == "" {
			return out
		}
		var column string
		end, skip := strings.IndexAny(message, " \t\r\n"), 0
		switch message[0] {
		case '"':
			skip, end = 1, strings.IndexByte(message[1:], '"')
		case '[':
			skip, end = 1, strings.IndexByte(message[1:], ']')
		}
		if end < 0 {
			skip, end = 0, len(message)
		}
		column, message = message[skip:skip+end], message[min(len(message), end+2*skip):]
		if skip == 0 && numeric.MatchString(column) {
			out = append(out, json.Number(column))
		} else {
			out = append(out, column)
		}
	}
}
