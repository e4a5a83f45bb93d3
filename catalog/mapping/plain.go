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

// bounded reports whether an expression ends soon and needs little memory whatever its
// input is, though it is more than plain: it iterates once at most, and calls only
// functions whose results are no larger than what they are given. Such an expression may be
// evaluated without limits.
func bounded(q *gojq.Query, left *budget) bool {
	if q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0 {
		return false
	}
	if q.Term != nil {
		return q.Op == 0 && boundedTerm(q.Term, left)
	}
	switch q.Op {
	case gojq.OpAdd:
		left.sums--
	case gojq.OpPipe, gojq.OpAlt, gojq.OpEq, gojq.OpNe, gojq.OpAnd, gojq.OpOr:
	default:
		return false
	}
	return left.sums >= 0 && bounded(q.Left, left) && bounded(q.Right, left)
}

// budget is what a bounded expression may still have.
type budget struct{ sums, iterations int }

func newBudget() *budget { return &budget{maxSums, 1} }

// boundedFuncs are functions by the number of their arguments.
var boundedFuncs = map[string]int{"select": 1, "startswith": 1, "endswith": 1, "ltrimstr": 1, "rtrimstr": 1, "split": 1, "keys": 0, "keys_unsorted": 0, "length": 0, "not": 0, "sort": 0,
	"unique": 0, "ascii_downcase": 0, "ascii_upcase": 0, "empty": 0, "has": 1, "first": 0, "last": 0}

func boundedTerm(t *gojq.Term, left *budget) bool {
	switch t.Type {
	case gojq.TermTypeIdentity, gojq.TermTypeNumber, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNull:
	case gojq.TermTypeString:
		if t.Str == nil || len(t.Str.Queries) > 0 {
			return false
		}
	case gojq.TermTypeIndex:
		if !boundedIndex(t.Index) {
			return false
		}
	case gojq.TermTypeArray:
		if t.Array.Query != nil && !bounded(t.Array.Query, left) {
			return false
		}
	case gojq.TermTypeQuery:
		if !bounded(t.Query, left) {
			return false
		}
	case gojq.TermTypeFunc:
		if n, known := boundedFuncs[t.Func.Name]; !known || n != len(t.Func.Args) {
			return false
		}
		for _, a := range t.Func.Args {
			if !bounded(a, left) {
				return false
			}
		}
	default:
		return false
	}
	for _, s := range t.SuffixList {
		switch {
		case s.Iter:
			left.iterations--
		case s.Index != nil:
			if !boundedIndex(s.Index) {
				return false
			}
		case !s.Optional:
			return false
		}
	}
	return left.iterations >= 0
}

// boundedIndex takes names, and numbers as they stand.
func boundedIndex(i *gojq.Index) bool {
	number := func(q *gojq.Query) bool {
		return q == nil || q.Term != nil && q.Op == 0 && q.Term.Type == gojq.TermTypeNumber && len(q.Term.SuffixList) == 0
	}
	return i.Name != "" || i.Str != nil && len(i.Str.Queries) == 0 || (i.Start != nil || i.End != nil) && number(i.Start) && number(i.End)
}
