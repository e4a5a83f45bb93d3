package mapping

import (
	"errors"

	"github.com/itchyny/gojq"
)

// errNotPlain is a value for which jq itself is to be asked, such as one whose error is
// to be told in its words.
var errNotPlain = errors.New("jq is to be asked")

// maxSums bounds the additions of a plain expression, whose result is then at most so many
// times as large as the document.
const maxSums = 8

// plainly turns a syntax tree into a function when the expression only takes values from
// its input, joins them and has literals: it ends soon and needs little memory, whatever
// its input is. nil when it does more.
func plainly(q *gojq.Query, sums *int) func(any) (any, error) {
	if q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0 {
		return nil
	}
	if q.Term != nil {
		if q.Op != 0 {
			return nil
		}
		return plainTerm(q.Term)
	}
	if q.Op != gojq.OpAdd && q.Op != gojq.OpPipe && q.Op != gojq.OpAlt {
		return nil
	}
	if q.Op == gojq.OpAdd {
		*sums++
	}
	left, right := plainly(q.Left, sums), plainly(q.Right, sums)
	if *sums > maxSums || left == nil || right == nil {
		return nil
	}
	return func(in any) (any, error) {
		a, err := left(in)
		if err != nil {
			return nil, err
		}
		switch q.Op {
		case gojq.OpPipe:
			return right(a)
		case gojq.OpAlt:
			if a != nil && a != false {
				return a, nil
			}
			return right(in)
		}
		b, err := right(in)
		if err != nil {
			return nil, err
		}
		return plainSum(a, b)
	}
}

func plainSum(a, b any) (any, error) {
	if a == nil {
		return b, nil
	}
	if b == nil {
		return a, nil
	}
	s, ok := a.(string)
	t, ok2 := b.(string)
	if ok && ok2 {
		return s + t, nil
	}
	return nil, errNotPlain
}

func plainTerm(t *gojq.Term) func(any) (any, error) {
	var path []string
	step := func(i *gojq.Index) bool {
		switch {
		case i == nil || i.IsSlice || i.Start != nil || i.End != nil:
			return false
		case i.Name != "":
			path = append(path, i.Name)
		case i.Str != nil && len(i.Str.Queries) == 0:
			path = append(path, i.Str.Str)
		default:
			return false
		}
		return true
	}
	var literal any
	isLiteral := true
	switch t.Type {
	case gojq.TermTypeTrue:
		literal = true
	case gojq.TermTypeFalse:
		literal = false
	case gojq.TermTypeNull:
	case gojq.TermTypeString:
		if t.Str == nil || len(t.Str.Queries) > 0 {
			return nil
		}
		literal = t.Str.Str
	case gojq.TermTypeIdentity:
		isLiteral = false
	case gojq.TermTypeIndex:
		if isLiteral = false; !step(t.Index) {
			return nil
		}
	default:
		return nil
	}
	for _, s := range t.SuffixList {
		if s.Iter || s.Optional || !step(s.Index) {
			return nil
		}
	}
	return func(in any) (any, error) {
		if isLiteral {
			in = literal
		}
		for _, name := range path {
			switch v := in.(type) {
			case nil:
			case map[string]any:
				in = v[name]
			default:
				return nil, errNotPlain
			}
		}
		return in, nil
	}
}
