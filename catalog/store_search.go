package catalog

import (
	"strconv"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// selection is a subquery for keys of entities. Its text has ? for arguments, which are
// numbered when it stands in a statement, and {after} for the key that a page begins
// after: outside of the subquery that condition would make SQLite walk the entities.
type selection struct {
	text string
	args []any
}

// nobody selects nothing.
const nobody = "select k from catalog_values where account = '' and k > {after} and 1 = 0"

func join(parts []*selection, by string) *selection {
	if len(parts) == 1 {
		return parts[0]
	}
	out := &selection{}
	for i, p := range parts {
		if i > 0 {
			out.text += by
		}
		// A compound stands in a subquery of its own: SQLite has no brackets for it.
		out.text += "select k from (" + p.text + ") p" + strconv.Itoa(i)
		out.args = append(out.args, p.args...)
	}
	return out
}

// marks are n question marks, padded so that few texts are prepared.
func marks(values []string) (string, []any) {
	width := 1
	for width < len(values) {
		width *= 2
	}
	args := make([]any, width)
	for i := range args {
		args[i] = values[min(i, len(values)-1)]
	}
	return "(" + strings.TrimSuffix(strings.Repeat("?, ", width), ", ") + ")", args
}

func byKeys(a arn.Account, blueprint string, keys []string) *selection {
	if len(keys) == 0 {
		return &selection{text: nobody}
	}
	in, args := marks(keys)
	return &selection{"select k from catalog_entities where account = ? and blueprint = ? and k > {after} and k in " + in, append([]any{a, blueprint}, args...)}
}

func byValues(a arn.Account, blueprint, property string, values []string) *selection {
	in, args := marks(values)
	return &selection{"select k from catalog_values where account = ? and blueprint = ? and property = ? and k > {after} and value in " + in, append([]any{a, blueprint, property}, args...)}
}

// bySpan selects by values between two, both included, and those that are not indexed.
func bySpan(a arn.Account, blueprint, property, from, to string) *selection {
	return &selection{"select k from catalog_values where account = ? and blueprint = ? and property = ? and value >= ? and value <= ? and k > {after}", []any{a, blueprint, property, from, to}}
}

func byTargets(a arn.Account, blueprint, relation, target string, keys []string) *selection {
	if len(keys) == 0 {
		return &selection{text: nobody}
	}
	in, args := marks(keys)
	return &selection{"select k from catalog_relations where account = ? and blueprint = ? and relation = ? and target_blueprint = ? and k > {after} and target in " + in,
		append([]any{a, blueprint, relation, target}, args...)}
}

// byPattern selects by a column, id or title, that is like a pattern.
func byPattern(a arn.Account, blueprint, column, pattern string) *selection {
	return &selection{"select k from catalog_entities where account = ? and blueprint = ? and k > {after} and " + column + ` like ? escape '\'`, []any{a, blueprint, pattern}}
}

func bySources(a arn.Account, blueprint string, ids []int64) *selection {
	if len(ids) == 0 {
		return &selection{text: nobody}
	}
	args, index := []any{a, blueprint}, " and source > 0"
	for _, id := range ids {
		if args = append(args, id); id < 0 { // not in the index
			index = ""
		}
	}
	return &selection{"select k from catalog_entities where account = ? and blueprint = ?" + index + " and k > {after} and source in (" + strings.TrimSuffix(strings.Repeat("?, ", len(ids)), ", ") + ")", args}
}

// pageText is the statement that reads a page, and its arguments but for the limit.
func pageText(a arn.Account, blueprint, after string, only *selection) (string, []any) {
	args := []any{a, blueprint, after}
	text := "select " + entityColumns + " from catalog_entities e where e.account = $1 and e.blueprint = $2" + alive
	if only == nil {
		return text + " and e.k > $3 order by e.k limit $4", args
	}
	var b strings.Builder
	b.WriteString(text + " and e.k in (")
	parts := strings.Split(strings.ReplaceAll(only.text, "{after}", "$3"), "?")
	for i, part := range parts {
		b.WriteString(part)
		if i < len(only.args) {
			args = append(args, only.args[i])
			b.WriteString("$" + strconv.Itoa(len(args)))
		}
	}
	b.WriteString(") order by e.k limit $" + strconv.Itoa(len(args)+1))
	return b.String(), args
}

// readPage reads a blueprint's entities in order, of those that a selection has.
func readPage(read reader, a arn.Account, blueprint, after string, only *selection, limit int) ([]*row, error) {
	text, args := pageText(a, blueprint, after, only)
	rows, err := read(text, append(args, limit)...)
	return sqldb.Collect(rows, err, scanEntity)
}
