package mapping

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// prelude has what jq knows and the engine here does not.
const prelude = "def keys_unsorted: keys;"

// compile reads an expression: it parses, finds what it reads and what is wrong with it,
// and compiles it.
func compile(path, text string) (*Expression, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are allowed", len(text), maxText)
	}
	x := &Expression{Path: path, Text: text}
	q, err := parse(text)
	if err != nil {
		return nil, err
	}
	if x.code, err = gojq.Compile(q); err != nil {
		return nil, err
	}
	body := *q
	body.FuncDefs = body.FuncDefs[1:] // without the prelude
	sums := 0
	x.plain = plainly(&body, &sums)
	x.bounded = x.plain != nil || bounded(&body, newBudget())
	x.look(q)
	return x, nil
}

func parse(text string) (*gojq.Query, error) {
	q, err := gojq.Parse(prelude + " " + text)
	if err == nil {
		return q, nil
	}
	var at *gojq.ParseError
	begin := len(prelude) + 1
	if errors.As(err, &at) && at.Offset >= begin { // the offset is that of the token's end
		end := min(max(at.Offset-begin-len(at.Token), 0), len(text))
		return nil, fmt.Errorf("column %d: %w", utf8.RuneCountInString(text[:end])+1, err)
	}
	return nil, err
}

// walk visits every part of a syntax tree.
func walk(v reflect.Value, visit func(any)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Interface())
			walk(v.Elem(), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				walk(v.Field(i), visit)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), visit)
		}
	}
}

// look finds what people should know of an expression.
func (x *Expression) look(q *gojq.Query) {
	body := *q
	body.FuncDefs = nil // the prelude, and the definitions of the expression, which are looked at by their uses
	own := q.FuncDefs[1:]
	visit := func(v any) {
		switch v := v.(type) {
		case *gojq.Index:
			name := v.Name
			if name == "" && v.Str != nil {
				name = v.Str.Str
			}
			x.tags = x.tags || name == "Tags"
			x.reads = append(x.reads, name)
		case *gojq.If:
			if v.Else == nil {
				x.hint(NotPortable, "an if without else is not known to jq 1.6, which Port's exporter uses", "")
			}
		case *gojq.Query:
			x.pipeline(stages(v))
		}
	}
	walk(reflect.ValueOf(&body), visit)
	walk(reflect.ValueOf(own), visit)
	if x.prefix == "" {
		return
	}
	again, err := parse(x.Text)
	if err != nil {
		return
	}
	mend(again)
	if code, err := gojq.Compile(again); err == nil {
		x.fixed = code
	}
	fix := strings.TrimSpace(strings.TrimPrefix(again.String(), prelude))
	for i := range x.hints {
		if x.hints[i].Code == PrefixSlice {
			x.hints[i].Fix = fix
		}
	}
}

func (x *Expression) hint(code Code, text, fix string) {
	for _, h := range x.hints {
		if h.Code == code {
			return
		}
	}
	x.hints = append(x.hints, Notice{Code: code, Path: x.Path, Text: text, Fix: fix})
}

// stages are the parts of a pipe, in order.
func stages(q *gojq.Query) []*gojq.Query {
	if q == nil || q.Op != gojq.OpPipe || q.Left == nil || q.Right == nil {
		return []*gojq.Query{q}
	}
	return append(stages(q.Left), stages(q.Right)...)
}

// pipeline looks at neighbours in a pipe.
func (x *Expression) pipeline(list []*gojq.Query) {
	for i := 0; i+1 < len(list); i++ {
		if prefix, n, ok := sliced(list[i], list[i+1]); ok && n != utf8.RuneCountInString(prefix) && x.prefix == "" {
			x.prefix = prefix
			sample := prefix + "auth-service"
			cut := ""
			if r := []rune(sample); n < len(r) {
				cut = string(r[n:])
			}
			x.hint(PrefixSlice, fmt.Sprintf("%q has %d characters and the slice takes away %d: %q becomes %q; .[%d:] or ltrimstr(%q) takes away just the prefix", prefix,
				utf8.RuneCountInString(prefix), n, sample, cut, utf8.RuneCountInString(prefix), prefix), "")
		}
		if t := list[i+1].Term; t != nil && t.Type == gojq.TermTypeFunc && (t.Func.Name == "keys" || t.Func.Name == "keys_unsorted") && readsTags(list[i]) {
			x.hint(KeysOfTags, "AWS gives tags as a list of {Key, Value}, whose keys are numbers; Port's own exporter fails here", `.Tags[]? | .Key`)
		}
	}
}

func readsTags(q *gojq.Query) bool {
	return q.Term != nil && q.Term.Type == gojq.TermTypeIndex && q.Term.Index.Name == "Tags" && len(q.Term.SuffixList) == 0
}

// sliced recognises select(startswith("P")) | .[N:].
func sliced(a, b *gojq.Query) (prefix string, n int, ok bool) {
	if a == nil || b == nil || a.Term == nil || a.Term.Type != gojq.TermTypeFunc || a.Term.Func.Name != "select" || len(a.Term.Func.Args) != 1 {
		return "", 0, false
	}
	by := a.Term.Func.Args[0].Term
	if by == nil || by.Type != gojq.TermTypeFunc || by.Func.Name != "startswith" || len(by.Func.Args) != 1 {
		return "", 0, false
	}
	text := by.Func.Args[0].Term
	slice := slice(b)
	if text == nil || text.Type != gojq.TermTypeString || len(text.Str.Queries) > 0 || text.Str.Str == "" || slice == nil {
		return "", 0, false
	}
	n, err := strconv.Atoi(slice.Start.Term.Number)
	return text.Str.Str, n, err == nil
}

// slice returns the slice that a query begins with, if it goes from a number on.
func slice(q *gojq.Query) *gojq.Index {
	if q.Term == nil {
		return nil
	}
	at := q.Term.Index
	if q.Term.Type == gojq.TermTypeIdentity && len(q.Term.SuffixList) > 0 {
		at = q.Term.SuffixList[0].Index
	}
	if at == nil || !at.IsSlice || at.Start == nil || at.End != nil || at.Start.Term == nil || at.Start.Term.Type != gojq.TermTypeNumber {
		return nil
	}
	return at
}

// mend makes every slice after a prefix as long as the prefix.
func mend(q *gojq.Query) {
	walk(reflect.ValueOf(q), func(v any) {
		part, ok := v.(*gojq.Query)
		if !ok {
			return
		}
		list := stages(part)
		for i := 0; i+1 < len(list); i++ {
			if prefix, _, ok := sliced(list[i], list[i+1]); ok {
				slice(list[i+1]).Start.Term.Number = strconv.Itoa(utf8.RuneCountInString(prefix))
			}
		}
	})
}

// Check says what is wrong with an expression, nil for nothing.
func Check(text string) error {
	_, err := compile("expression", text)
	return err
}

// Quotes turns single quotes into double ones where they stand at the edges of words, as
// Port does before it evaluates calculations.
func Quotes(text string) string {
	r := []rune(text)
	for i, c := range r {
		if c != '\'' {
			continue
		}
		before := i == 0 || unicode.IsSpace(r[i-1]) || strings.ContainsRune("([{,:|", r[i-1])
		after := i == len(r)-1 || unicode.IsSpace(r[i+1]) || strings.ContainsRune(")]},:|", r[i+1])
		opens := before && i+1 < len(r) && !unicode.IsSpace(r[i+1]) && r[i+1] != '"'
		if opens || after || i > 0 && r[i-1] == '.' || i+1 < len(r) && r[i+1] == '.' {
			r[i] = '"'
		}
	}
	return string(r)
}
