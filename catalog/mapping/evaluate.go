package mapping

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/itchyny/gojq"
)

// evaluation is that of one resource.
type evaluation struct {
	ctx    context.Context
	strict bool
	plain  any // the document
	byKey  any // the document with its tags as an object; nil until it is needed
	made   bool
}

func (e *evaluation) resource(r *Resource, document any) Result {
	out := Result{Entities: []Entity{}}
	e.plain = document
	if r.Selector != nil {
		values, notices := e.run(r.Selector)
		out.Notices = append(out.Notices, notices...)
		if failed(notices) {
			out.Failed = true
			return out
		}
		if len(values) == 0 || values[0] == nil || values[0] == false {
			return out
		}
	}
	out.Selected = true
	for _, item := range e.items(r, &out) {
		in := &evaluation{ctx: e.ctx, strict: e.strict, plain: item}
		for _, m := range r.Mappings {
			if entity, ok := in.entity(m, &out); ok {
				out.Entities = append(out.Entities, entity)
			}
		}
	}
	return out
}

// items are what the mappings are evaluated on: the document, or the document beside
// each of the items that it is parsed into.
func (e *evaluation) items(r *Resource, out *Result) []any {
	if r.Items == nil {
		return []any{e.plain}
	}
	values, notices := e.run(r.Items)
	out.Notices = append(out.Notices, notices...)
	if failed(notices) {
		out.Failed = true
		return nil
	}
	var list []any
	if len(values) > 0 {
		list, _ = values[0].([]any)
	}
	var all []any
	for i, item := range list {
		if i == maxItems {
			out.Notices = append(out.Notices, Notice{Code: Failed, Path: r.Items.Path, Text: fmt.Sprintf("it has more than %d items; the others are left out", maxItems)})
			break
		}
		doc := map[string]any{}
		if m, ok := e.plain.(map[string]any); ok {
			maps.Copy(doc, m)
		}
		doc[r.ItemName] = item
		all = append(all, doc)
	}
	return all
}

func failed(notices []Notice) bool {
	return slices.ContainsFunc(notices, func(n Notice) bool { return n.Code == Failed })
}

// entity makes one; a mapping whose identifier or blueprint is nothing makes none.
func (e *evaluation) entity(m *Mapping, out *Result) (Entity, bool) {
	entity := Entity{Properties: map[string]any{}, Relations: map[string]Link{}}
	one := func(x *Expression) (any, bool) {
		if x == nil {
			return nil, true
		}
		values, notices := e.run(x)
		entity.Steps = append(entity.Steps, Step{x.Path, x.Text, values, notices})
		if failed(notices) {
			return nil, false
		}
		if len(values) == 0 {
			return nil, true
		}
		return values[0], true
	}
	for _, part := range []struct {
		from *Expression
		dest *string
		what string
	}{{m.Identifier, &entity.Identifier, "identifier"}, {m.Blueprint, &entity.Blueprint, "blueprint"}} {
		value, ok := one(part.from)
		*part.dest = name(value)
		if ok && *part.dest != "" {
			continue
		}
		step := entity.Steps[len(entity.Steps)-1]
		out.Notices = append(out.Notices, step.Notices...)
		out.Failed = out.Failed || !ok
		if ok {
			out.Notices = append(out.Notices, Notice{Code: Empty, Path: part.from.Path, Text: fmt.Sprintf("the %s is %s: no entity is made", part.what, preview(value))})
		}
		return entity, false
	}
	entity.Title, _ = one(m.Title)
	entity.Icon, _ = one(m.Icon)
	entity.Team, _ = one(m.Team)
	for _, f := range m.Properties {
		if value, ok := one(f.Expression); ok {
			entity.Properties[f.Name] = value
		}
	}
	for _, f := range m.Relations {
		if link, ok := e.relation(f, &entity); ok {
			entity.Relations[f.Name] = link
		}
	}
	return entity, true
}

// name is a value as an identifier: texts and numbers are.
func name(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil, bool, []any, map[string]any:
		return ""
	}
	b, err := gojq.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// relation gathers the names that a relation has, by the expression as it is written
// and, where its slice does not fit its prefix, by the prefix.
func (e *evaluation) relation(f Field, entity *Entity) (Link, bool) {
	values, notices := e.run(f.Expression)
	step := Step{f.Path, f.Text, values, notices}
	defer func() { entity.Steps = append(entity.Steps, step) }()
	if failed(notices) {
		return Link{}, false
	}
	link := Link{Names: flat(values)}
	if f.fixed != nil && !e.strict {
		if fixed, err := e.outputs(f.fixed, f.tags); err == nil {
			if link.Fixed = flat(fixed); len(link.Fixed) != len(link.Names) { // they do not go together
				link.Fixed = nil
			}
		}
	}
	if link.Create = link.Names; link.Fixed != nil && strings.ContainsAny(f.prefix[len(f.prefix)-1:], `-_./:=@`) {
		link.Create = link.Fixed
	}
	for _, n := range link.Create {
		if strings.ContainsFunc(n, unicode.IsSpace) {
			step.Notices = append(step.Notices, Notice{Code: BadName, Path: f.Path, Text: fmt.Sprintf("%q has a space and can name no entity", n)})
		}
	}
	if len(link.Names) > 1 {
		step.Notices = append(step.Notices, Notice{Code: ManyValues, Path: f.Path, Text: fmt.Sprintf("%d values: a relation to one entity takes the first, %q; make it many to have them all", len(link.Names), link.Create[0])})
	}
	return link, true
}

// flat are the names in outputs: lists are flattened once, nothing counts twice.
func flat(values []any) []string {
	out := []string{}
	add := func(v any) {
		if s := name(v); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for _, v := range values {
		if list, ok := v.([]any); ok {
			for _, item := range list {
				add(item)
			}
			continue
		}
		add(v)
	}
	return out
}

// run evaluates an expression with all its notices: on the document as it is and, when
// that ends in an error of types and the expression reads tags, with the tags as the
// object that it seems to expect.
func (e *evaluation) run(x *Expression) ([]any, []Notice) {
	notices := slices.Clone(x.hints)
	if x.plain != nil {
		if v, err := x.plain(e.plain); err == nil {
			return []any{v}, notices
		}
	}
	values, err := collect(e.ctx, x.code, e.plain)
	if err == nil {
		return values, notices
	}
	if x.tags && !e.strict && typeError(err) && e.tagged() != nil {
		if again, err2 := collect(e.ctx, x.code, e.byKey); err2 == nil {
			return again, append(notices, Notice{Code: TagsAsMap, Path: x.Path,
				Text: fmt.Sprintf("it fails on the list of tags that AWS has (%v); it was evaluated on tags as an object. Port's own exporter fails here", err)})
		}
	}
	return []any{}, append(notices, Notice{Code: Failed, Path: x.Path, Text: err.Error()})
}

// outputs is run without notices, for the fixed form of an expression.
func (e *evaluation) outputs(code *gojq.Code, tags bool) ([]any, error) {
	values, err := collect(e.ctx, code, e.plain)
	if err != nil && tags && typeError(err) && e.tagged() != nil {
		return collect(e.ctx, code, e.byKey)
	}
	return values, err
}

var errTooMany = errors.New("it has too many results")

// ErrLate is the text of the notice of an expression that had not ended when its time
// was up.
var ErrLate = errors.New("it had not ended when the time for the mapping was up")

func collect(ctx context.Context, code *gojq.Code, in any) ([]any, error) {
	out := []any{}
	for it := code.RunWithContext(ctx, in); ; {
		v, ok := it.Next()
		if !ok {
			return out, nil
		}
		if err, isErr := v.(error); isErr {
			var halt *gojq.HaltError
			if errors.As(err, &halt) && halt.Value() == nil {
				return out, nil
			}
			if ctx.Err() != nil {
				return nil, ErrLate
			}
			return nil, err
		}
		if len(out) == maxOutputs {
			return nil, errTooMany
		}
		out = append(out, v)
	}
}

// typeError reports whether an error is jq's own, rather than one that the expression
// raised or that time ran out.
func typeError(err error) bool {
	var raised gojq.ValueError
	return !errors.As(err, &raised) && !errors.Is(err, errTooMany) && !errors.Is(err, ErrLate)
}

// tagged is the document with each list of tags as an object; nil when it has none.
func (e *evaluation) tagged() any {
	if !e.made {
		e.made = true
		if v, changed := withTags(e.plain, 0); changed {
			e.byKey = v
		}
	}
	return e.byKey
}

// maxWrap is how deep a document is wrapped by the newer exporters, and then some.
const maxWrap = 3

func withTags(v any, depth int) (any, bool) {
	doc, ok := v.(map[string]any)
	if !ok || depth > maxWrap {
		return v, false
	}
	out, changed := maps.Clone(doc), false
	for k, child := range doc {
		list, isList := child.([]any)
		switch {
		case k == "Tags" && child == nil:
			out[k], changed = map[string]any{}, true
		case k == "Tags" && isList:
			tags := map[string]any{}
			for _, item := range list {
				tag, ok := item.(map[string]any)
				key, ok2 := tag["Key"].(string)
				if !ok || !ok2 {
					return v, false
				}
				tags[key] = tag["Value"]
			}
			out[k], changed = tags, true
		default:
			if inner, did := withTags(child, depth+1); did {
				out[k], changed = inner, true
			}
		}
	}
	return out, changed
}

func preview(v any) string {
	b, err := json.Marshal(v)
	if err != nil || len(b) > 100 {
		return gojq.Preview(v)
	}
	return string(b)
}
