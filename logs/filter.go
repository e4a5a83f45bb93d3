package logs

import (
	"regexp"
	"strings"
)

// maxFilter bounds a filter pattern, in bytes (API of FilterLogEvents).
const maxFilter = 1024

// Filter is a parsed filter pattern: terms that must, may or must not be in a message,
// or a condition on a message that is a JSON object or a line of columns.
type Filter struct {
	must, not []func(string) bool
	may       []func(string) bool
}

// ParseFilter reads a filter pattern (CloudWatch Logs user guide, filter pattern
// syntax): terms (word, "a phrase", ?optional, -excluded, %regular expression%),
// { $.field = value && … } for JSON, [a, b = value, …] for columns. InvalidParameter.
func ParseFilter(text string) (*Filter, error) {
	f := &Filter{}
	rest := strings.TrimSpace(text)
	switch {
	case len(text) > maxFilter:
		return nil, fail(InvalidParameter, "Invalid filter pattern: it is longer than %d bytes.", maxFilter)
	case strings.HasPrefix(rest, "{"), strings.HasPrefix(rest, "["):
		parse := parseObject
		if rest[0] == '[' {
			parse = parseColumns
		}
		is, err := parse(rest)
		if err != nil {
			return nil, err
		}
		f.must = append(f.must, is)
		return f, nil
	}
	for rest != "" {
		kind := byte(0)
		if rest[0] == '?' || rest[0] == '-' {
			kind, rest = rest[0], rest[1:]
		}
		var term string
		var is func(string) bool
		switch {
		case strings.HasPrefix(rest, `"`):
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				return nil, fail(InvalidParameter, "Invalid filter pattern: a quote is not closed.")
			}
			term, rest = rest[1:1+end], rest[end+2:]
		case strings.HasPrefix(rest, "%"):
			end := strings.IndexByte(rest[1:], '%')
			if end < 0 {
				return nil, fail(InvalidParameter, "Invalid filter pattern: a regular expression must end with %%.")
			}
			re, err := regexp.Compile(rest[1 : 1+end])
			if err != nil {
				return nil, fail(InvalidParameter, "Invalid filter pattern: %.200s", err)
			}
			is, rest = re.MatchString, rest[end+2:]
		default:
			end := strings.IndexAny(rest, " \t")
			if end < 0 {
				end = len(rest)
			}
			term, rest = rest[:end], rest[end:]
		}
		if is == nil {
			is = func(s string) bool { return strings.Contains(s, term) }
		}
		switch kind {
		case '?':
			f.may = append(f.may, is)
		case '-':
			f.not = append(f.not, is)
		default:
			f.must = append(f.must, is)
		}
		rest = strings.TrimSpace(rest)
	}
	return f, nil
}

// Match tells whether a message passes. Optional terms count only where no others
// must be there.
func (f *Filter) Match(message string) bool {
	for _, is := range f.not {
		if is(message) {
			return false
		}
	}
	for _, is := range f.must {
		if !is(message) {
			return false
		}
	}
	if len(f.must) > 0 || len(f.may) == 0 {
		return true
	}
	for _, is := range f.may {
		if is(message) {
			return true
		}
	}
	return false
}
