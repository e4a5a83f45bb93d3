package policy

import (
	"strings"
	"unicode/utf8"
)

// any1 stands for ? in a segment.
const any1 = rune(-1)

// glob is a pattern with * and ?, split at its stars. Matching takes time linear
// in the text for patterns without ?, and for others the text's length times the
// pattern's in machine words: no pattern makes it go back.
type glob []segment

// segment is what must match between two stars. Without ? it is its text.
type segment struct {
	text  string
	runes []rune // with any1 for ?, nil without
}

// piece is a part of a pattern: text to match as it is, or a wildcard.
type piece struct {
	text string
	wild byte // '*' or '?', 0 for text
}

func newGlob(pieces []piece) glob {
	var g glob
	var text strings.Builder
	var runes []rune
	wild := false
	flush := func() {
		s := segment{text: text.String()}
		if wild {
			s.runes = runes
		}
		g = append(g, s)
		text.Reset()
		runes, wild = nil, false
	}
	for _, p := range pieces {
		switch p.wild {
		case '*':
			flush()
		case '?':
			runes, wild = append(runes, any1), true
		default:
			text.WriteString(p.text)
			runes = append(runes, []rune(p.text)...)
		}
	}
	flush()
	return g
}

// wildcards splits plain text into pieces.
func wildcards(s string) []piece {
	var out []piece
	for s != "" {
		i := strings.IndexAny(s, "*?")
		switch {
		case i < 0:
			return append(out, piece{text: s})
		case i > 0:
			out = append(out, piece{text: s[:i]})
		}
		out = append(out, piece{wild: s[i]})
		s = s[i+1:]
	}
	return out
}

func (g glob) match(s string) bool {
	first, last := g[0], g[len(g)-1]
	n, ok := first.at(s)
	if !ok {
		return false
	}
	if len(g) == 1 {
		return n == len(s)
	}
	s = s[n:]
	if n, ok = last.atEnd(s); !ok {
		return false
	}
	s = s[:len(s)-n]
	for _, seg := range g[1 : len(g)-1] {
		if n, ok = seg.find(s); !ok {
			return false
		}
		s = s[n:]
	}
	return true
}

// at matches the segment where s begins and says how many bytes it took.
func (g segment) at(s string) (int, bool) {
	if g.runes == nil {
		return len(g.text), strings.HasPrefix(s, g.text)
	}
	n := 0
	for _, want := range g.runes {
		c, size := utf8.DecodeRuneInString(s[n:])
		if size == 0 || want != any1 && want != c {
			return 0, false
		}
		n += size
	}
	return n, true
}

// atEnd matches the segment where s ends.
func (g segment) atEnd(s string) (int, bool) {
	if g.runes == nil {
		return len(g.text), strings.HasSuffix(s, g.text)
	}
	n := len(s)
	for i := len(g.runes) - 1; i >= 0; i-- {
		c, size := utf8.DecodeLastRuneInString(s[:n])
		if size == 0 || g.runes[i] != any1 && g.runes[i] != c {
			return 0, false
		}
		n -= size
	}
	return len(s) - n, true
}

// find returns the end of the segment's first occurrence in s.
func (g segment) find(s string) (int, bool) {
	if g.runes == nil {
		i := strings.Index(s, g.text)
		return i + len(g.text), i >= 0
	}
	// Shift-and: bit i of state says that the last i+1 runes match the segment's
	// first i+1.
	words := (len(g.runes) + 63) / 64
	masks := map[rune][]uint64{}
	wild := make([]uint64, words)
	for i, r := range g.runes {
		m := wild
		if r != any1 {
			if m = masks[r]; m == nil {
				m = make([]uint64, words)
				masks[r] = m
			}
		}
		m[i/64] |= 1 << (i % 64)
	}
	none := make([]uint64, words)
	state := make([]uint64, words)
	final := len(g.runes) - 1
	for n := 0; n < len(s); {
		c, size := utf8.DecodeRuneInString(s[n:])
		n += size
		m := masks[c]
		if m == nil {
			m = none
		}
		carry := uint64(1)
		for w := range state {
			next := state[w] >> 63
			state[w] = (state[w]<<1 | carry) & (m[w] | wild[w])
			carry = next
		}
		if state[final/64]>>(final%64)&1 != 0 {
			return n, true
		}
	}
	return 0, false
}

func matchAny(patterns []glob, s string) bool {
	for _, p := range patterns {
		if p.match(s) {
			return true
		}
	}
	return false
}

// lower is strings.ToLower without work for what is lower already.
func lower(s string) string { return strings.ToLower(s) }

// template is a text with variables: ${key}, ${key, 'default'}, and the escapes
// ${*}, ${?} and ${$}. Documents of version 2008-10-17 have none.
type template struct {
	parts []part
	// fixed is the pattern when there is no variable in it.
	fixed glob
	text  string // without variables and wildcards: the value itself
}

type part struct {
	piece
	key      string // a variable's key in lower case, "" for a piece
	fallback *string
}

func parseTemplate(s string, variables bool) (template, error) {
	var t template
	dynamic := false
	for s != "" {
		i := -1
		if variables {
			i = strings.Index(s, "${")
		}
		if i < 0 {
			t.add(wildcards(s))
			break
		}
		t.add(wildcards(s[:i]))
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return t, malformed("variable %.60q does not end", s[i:])
		}
		name := s[i+2 : i+end]
		s = s[i+end+1:]
		switch name {
		case "*", "?", "$":
			t.add([]piece{{text: name}})
			continue
		}
		p, err := parseVariable(name)
		if err != nil {
			return t, err
		}
		dynamic = true
		t.parts = append(t.parts, p)
	}
	if !dynamic {
		var pieces []piece
		for _, p := range t.parts {
			pieces = append(pieces, p.piece)
			if p.wild != 0 {
				t.text += string(p.wild)
			}
			t.text += p.piece.text
		}
		t.fixed = newGlob(pieces)
	}
	return t, nil
}

func parseVariable(name string) (part, error) {
	key, fallback, has := strings.Cut(name, ",")
	key = strings.TrimSpace(key)
	if key == "" || strings.ContainsAny(key, "${'\"") {
		return part{}, malformed("${%.60s} is not a variable", name)
	}
	p := part{key: lower(key)}
	if has {
		fallback = strings.TrimSpace(fallback)
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return part{}, malformed("the default in ${%.60s} must stand in single quotes", name)
		}
		fallback = fallback[1 : len(fallback)-1]
		p.fallback = &fallback
	}
	return p, nil
}

func (t *template) add(pieces []piece) {
	for _, p := range pieces {
		t.parts = append(t.parts, part{piece: p})
	}
}

// pieces resolves the variables: ok is false when one has not exactly one value
// and no default. Values are matched as they are, wildcards in them mean nothing.
func (t *template) pieces(r *Request) (out []piece, ok bool) {
	for _, p := range t.parts {
		if p.key == "" {
			out = append(out, p.piece)
			continue
		}
		switch v := r.values(p.key); {
		case len(v) == 1:
			out = append(out, piece{text: v[0]})
		case p.fallback != nil && v == nil:
			out = append(out, piece{text: *p.fallback})
		default:
			return nil, false
		}
	}
	return out, true
}

// glob is the template as a pattern.
func (t *template) glob(r *Request) (glob, bool) {
	if t.fixed != nil {
		return t.fixed, true
	}
	p, ok := t.pieces(r)
	if !ok {
		return nil, false
	}
	return newGlob(p), true
}

// value is the template as a value, in which * and ? are ordinary characters.
func (t *template) value(r *Request) (string, bool) {
	if t.fixed != nil {
		return t.text, true
	}
	pieces, ok := t.pieces(r)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for _, p := range pieces {
		if p.wild != 0 {
			b.WriteByte(p.wild)
		}
		b.WriteString(p.text)
	}
	return b.String(), true
}

// arnPattern is a pattern over ARNs. Each of the six parts of an ARN is matched
// by itself, so that a wildcard does not reach over a colon; the last part keeps
// its colons. "*" matches everything.
type arnPattern struct {
	all   bool
	parts [6]template
}

// parseARNPattern reads "*" or arn:partition:service:region:account:resource.
func parseARNPattern(s string, variables bool) (arnPattern, error) {
	if s == "*" {
		return arnPattern{all: true}, nil
	}
	parts := splitARN(s)
	if len(parts) != 6 || parts[0] != "arn" {
		return arnPattern{}, malformed("resource %.200q must be in ARN format or \"*\"", s)
	}
	var p arnPattern
	for i := range parts {
		var err error
		if p.parts[i], err = parseTemplate(parts[i], variables); err != nil {
			return p, err
		}
	}
	return p, nil
}

// splitARN splits at the first five colons that are not inside a variable.
func splitARN(s string) []string {
	var out []string
	start, depth := 0, 0
	for i := 0; i < len(s) && len(out) < 5; i++ {
		switch {
		case depth == 0 && strings.HasPrefix(s[i:], "${"):
			depth = 1
		case depth == 1 && s[i] == '}':
			depth = 0
		case depth == 0 && s[i] == ':':
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// match says whether the ARN s matches, and false for resolved when a variable
// had no value.
func (p *arnPattern) match(s string, r *Request) (ok, resolved bool) {
	if p.all {
		return true, true
	}
	parts := r.split(s)
	ok = len(parts) == 6
	for i := range p.parts {
		g, res := p.parts[i].glob(r)
		if !res {
			return false, false
		}
		ok = ok && g.match(parts[i])
	}
	return ok, true
}
