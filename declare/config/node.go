package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// kind is what sort of value a node is.
type kind string

const (
	null    kind = "null"
	boolean kind = "a boolean"
	number  kind = "a number"
	text    kind = "a string"
	list    kind = "a list"
	object  kind = "an object"
)

// node is a value with its place, from either language.
type node struct {
	pos    Pos
	kind   kind
	text   string // of a string or number
	truth  bool
	items  []*node
	fields []field
}

type field struct {
	key string
	pos Pos
	val *node
}

func (n *node) get(key string) *node {
	for _, f := range n.fields {
		if f.key == key && f.val.kind != null {
			return f.val
		}
	}
	return nil
}

// reader turns nodes into values and gathers what is wrong.
type reader struct{ problems Problems }

func (r *reader) fail(pos Pos, format string, args ...any) {
	r.problems = append(r.problems, Problem{pos, fmt.Sprintf(format, args...)})
}

func (r *reader) is(n *node, want kind, what string) bool {
	if n == nil {
		return false
	}
	if n.kind != want {
		r.fail(n.pos, "%s must be %s, not %s", what, want, n.kind)
		return false
	}
	return true
}

// str reads a string; numbers are taken too where ids are written without quotes.
func (r *reader) str(n *node, what string) string {
	if n != nil && n.kind == number {
		return n.text
	}
	if !r.is(n, text, what) {
		return ""
	}
	return n.text
}

func (r *reader) flag(n *node, what string) *bool {
	if n != nil && n.kind == text && (n.text == "true" || n.text == "false") { // terraform converts, too
		b := n.text == "true"
		return &b
	}
	if !r.is(n, boolean, what) {
		return nil
	}
	return &n.truth
}

func (r *reader) list(n *node, what string) []*node {
	if !r.is(n, list, what) {
		return nil
	}
	return n.items
}

func (r *reader) strings(n *node, what string) []Named {
	var out []Named
	for i, item := range r.list(n, what) {
		if r.is(item, text, fmt.Sprintf("%s[%d]", what, i)) {
			out = append(out, Named{item.text, item.pos})
		}
	}
	return out
}

func (r *reader) tags(n *node, what string) map[string]string {
	if !r.is(n, object, what) {
		return nil
	}
	out := map[string]string{}
	for _, f := range n.fields {
		switch f.val.kind {
		case text, number:
			out[f.key] = f.val.text
		case boolean:
			out[f.key] = fmt.Sprint(f.val.truth)
		default:
			r.fail(f.val.pos, "%s[%q] must be a string, not %s", what, f.key, f.val.kind)
		}
	}
	return out
}

// object checks that n is an object with only known keys, and all the needed ones.
func (r *reader) object(n *node, what string, needed []string, optional ...string) bool {
	if !r.is(n, object, what) {
		return false
	}
	for _, f := range n.fields {
		if !slices.Contains(needed, f.key) && !slices.Contains(optional, f.key) {
			r.unknown(f, what, append(slices.Clone(needed), optional...))
		}
	}
	for _, k := range needed {
		if n.get(k) == nil {
			r.fail(n.pos, "%s needs %s", what, k)
			return false
		}
	}
	return true
}

func (r *reader) unknown(f field, what string, known []string) {
	if near := nearest(f.key, known); near != "" {
		r.fail(f.pos, "%s has no key %s: did you mean %s?", what, f.key, near)
		return
	}
	sort.Strings(known)
	r.fail(f.pos, "%s has no key %s; it may have %s", what, f.key, strings.Join(known, ", "))
}

// nearest finds the word that a misspelt one was meant to be, or "".
func nearest(word string, known []string) string {
	best, at := "", 1+len(word)/3
	for _, k := range known {
		if d := distance(strings.ToLower(strings.ReplaceAll(word, "-", "_")), strings.ReplaceAll(k, "-", "_")); d <= at {
			best, at = k, d-1
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, last+1, row[j]+1)
		}
	}
	return row[len(b)]
}
