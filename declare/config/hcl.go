package config

import (
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// Limits of a file.
const (
	maxFile  = 4 << 20 // bytes
	maxDepth = 100     // of brackets in brackets
	maxNodes = 500_000
)

// directory holds what the terraform files of one directory share: locals and
// variables.
type directory struct {
	path     string
	locals   map[string]*hclsyntax.Attribute
	resolved map[string]cty.Value // of the locals
	declared map[string]bool      // variables, with a value or without
	vars     map[string]cty.Value
	ctx      *hcl.EvalContext
}

// parseHCL parses a terraform file and refuses one that is nested without end.
func parseHCL(src []byte, name string) (*hclsyntax.Body, error) {
	tokens, diags := hclsyntax.LexConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diagnostics(diags)
	}
	depth, unary := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl, hclsyntax.TokenQuestion, hclsyntax.TokenOQuote:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenCQuote:
			depth--
		case hclsyntax.TokenNewline:
			depth = max(depth, 0)
		}
		if unary++; t.Type != hclsyntax.TokenMinus && t.Type != hclsyntax.TokenBang {
			unary = 0
		}
		if depth > maxDepth || unary > maxDepth {
			return nil, Problem{position(t.Range), fmt.Sprintf("more than %d brackets or operators are open here", maxDepth)}
		}
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diagnostics(diags)
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil, fmt.Errorf("%s is not in HCL's native syntax", name)
	}
	return body, nil
}

func position(r hcl.Range) Pos { return Pos{r.Filename, r.Start.Line, r.Start.Column} }

func diagnostics(diags hcl.Diagnostics) error {
	var out Problems
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		p := Problem{Text: strings.TrimSuffix(d.Summary, ".") + ": " + d.Detail}
		if d.Subject != nil {
			p.Pos = position(*d.Subject)
		}
		out = append(out, p)
	}
	return out
}

func newDirectory(path string) *directory {
	return &directory{path: path, locals: map[string]*hclsyntax.Attribute{}, resolved: map[string]cty.Value{}, declared: map[string]bool{}, vars: map[string]cty.Value{}}
}

// add takes a file's locals and variables.
func (d *directory) add(body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		switch {
		case b.Type == "locals":
			for name, a := range b.Body.Attributes {
				d.locals[name] = a
			}
		case b.Type == "variable" && len(b.Labels) == 1:
			d.declared[b.Labels[0]] = true
			if a := b.Body.Attributes["default"]; a != nil {
				if v, diags := a.Expr.Value(nil); !diags.HasErrors() {
					d.vars[b.Labels[0]] = v
				}
			}
		}
	}
}

// set gives variables their values from a file of the form name = value.
func (d *directory) set(body *hclsyntax.Body) error {
	for name, a := range body.Attributes {
		v, diags := a.Expr.Value(nil)
		if diags.HasErrors() {
			return diagnostics(diags)
		}
		d.vars[name] = v
	}
	return nil
}

// resolve evaluates the locals that can be. Those that need what only terraform has,
// such as a data source, stay unknown: whoever uses one is told.
func (d *directory) resolve() {
	d.ctx = &hcl.EvalContext{Functions: d.functions(), Variables: map[string]cty.Value{
		"path": cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(d.path), "root": cty.StringVal(d.path)}), "var": objectOf(d.vars)}}
	for progress := true; progress; {
		progress = false
		d.ctx.Variables["local"] = objectOf(d.resolved)
		for name, a := range d.locals {
			if _, ok := d.resolved[name]; ok {
				continue
			}
			if v, diags := a.Expr.Value(d.ctx); !diags.HasErrors() {
				d.resolved[name], progress = v, true
			}
		}
	}
}

func objectOf(m map[string]cty.Value) cty.Value {
	if len(m) == 0 {
		return cty.EmptyObjectVal
	}
	return cty.ObjectVal(m)
}

// functions are those that a block may call: pure ones, and file for texts beside it.
func (d *directory) functions() map[string]function.Function {
	f := map[string]function.Function{
		"jsonencode": stdlib.JSONEncodeFunc, "jsondecode": stdlib.JSONDecodeFunc, "concat": stdlib.ConcatFunc, "merge": stdlib.MergeFunc, "format": stdlib.FormatFunc,
		"join": stdlib.JoinFunc, "split": stdlib.SplitFunc, "lower": stdlib.LowerFunc, "upper": stdlib.UpperFunc, "distinct": stdlib.DistinctFunc, "flatten": stdlib.FlattenFunc,
		"keys": stdlib.KeysFunc, "values": stdlib.ValuesFunc, "contains": stdlib.ContainsFunc, "length": stdlib.LengthFunc, "replace": stdlib.ReplaceFunc,
		"trimprefix": stdlib.TrimPrefixFunc, "trimsuffix": stdlib.TrimSuffixFunc, "trimspace": stdlib.TrimSpaceFunc, "sort": stdlib.SortFunc, "lookup": stdlib.LookupFunc,
		"setunion": stdlib.SetUnionFunc, "compact": stdlib.CompactFunc, "coalesce": stdlib.CoalesceFunc, "formatlist": stdlib.FormatListFunc, "zipmap": stdlib.ZipmapFunc,
		"toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)), "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)), "tostring": stdlib.MakeToFunc(cty.String),
	}
	f["file"] = function.New(&function.Spec{Params: []function.Parameter{{Name: "path", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			b, err := d.file(args[0].AsString())
			return cty.StringVal(string(b)), err
		}})
	return f
}

// file reads a text at or below the directory.
func (d *directory) file(name string) ([]byte, error) {
	if filepath.IsAbs(name) {
		rel, err := filepath.Rel(d.path, name)
		if err != nil {
			return nil, err
		}
		name = rel
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return readLimited(root.Open, filepath.Clean(name))
}

// value evaluates an expression into nodes that know where they stand.
func (d *directory) value(e hclsyntax.Expression) (*node, error) {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return d.value(e.Expression)
	case *hclsyntax.TupleConsExpr:
		n := &node{pos: position(e.Range()), kind: list}
		for _, item := range e.Exprs {
			v, err := d.value(item)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
		return n, nil
	case *hclsyntax.ObjectConsExpr:
		n := &node{pos: position(e.Range()), kind: object}
		for _, item := range e.Items {
			key, diags := item.KeyExpr.Value(d.ctx)
			if diags.HasErrors() {
				return nil, d.explain(diags)
			}
			if key.IsNull() || !key.IsKnown() || key.Type() != cty.String {
				return nil, Problem{position(item.KeyExpr.Range()), "the key must be a string"}
			}
			v, err := d.value(item.ValueExpr)
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{key.AsString(), position(item.KeyExpr.Range()), v})
		}
		return n, nil
	}
	v, diags := e.Value(d.ctx)
	if diags.HasErrors() {
		return nil, d.explain(diags)
	}
	left := maxNodes
	return fromCty(v, position(e.Range()), &left)
}

// explain says of a variable or local without a value what to do.
func (d *directory) explain(diags hcl.Diagnostics) error {
	for _, diag := range diags {
		if diag.Expression == nil {
			continue
		}
		for _, t := range diag.Expression.Variables() {
			if len(t) == 0 {
				continue
			}
			switch root := t.RootName(); root {
			case "var", "local":
				if len(t) < 2 {
					continue
				}
				attr, ok := t[1].(hcl.TraverseAttr)
				if !ok {
					continue
				}
				_, given := d.vars[attr.Name]
				_, worked := d.resolved[attr.Name]
				if root == "var" && !given && d.declared[attr.Name] {
					return Problem{position(t.SourceRange()), fmt.Sprintf("variable %s has no value: give it a default, write it into terraform.tfvars, or give --var %s=VALUE", attr.Name, attr.Name)}
				}
				if root == "local" && !worked && d.locals[attr.Name] != nil {
					return Problem{position(t.SourceRange()), fmt.Sprintf("local.%s cannot be worked out here: it needs what only terraform knows", attr.Name)}
				}
			case "path", "each", "count":
			default:
				return Problem{position(t.SourceRange()), fmt.Sprintf("%s is not known here: only values, locals, variables and a few functions are", traversal(t))}
			}
		}
	}
	return diagnostics(diags)
}

// traversal writes the names of a reference.
func traversal(t hcl.Traversal) string {
	out := t.RootName()
	for _, step := range t[1:] {
		if a, ok := step.(hcl.TraverseAttr); ok {
			out += "." + a.Name
		}
	}
	return out
}

func fromCty(v cty.Value, pos Pos, left *int) (*node, error) {
	if *left--; *left < 0 {
		return nil, Problem{pos, "this is too large"}
	}
	v, _ = v.UnmarkDeep()
	switch {
	case !v.IsKnown():
		return nil, Problem{pos, "this value is not known before terraform applies"}
	case v.IsNull():
		return &node{pos: pos, kind: null}, nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return &node{pos: pos, kind: text, text: v.AsString()}, nil
	case t == cty.Bool:
		return &node{pos: pos, kind: boolean, truth: v.True()}, nil
	case t == cty.Number:
		return &node{pos: pos, kind: number, text: decimal(v.AsBigFloat())}, nil
	case t.IsListType() || t.IsSetType() || t.IsTupleType():
		n := &node{pos: pos, kind: list}
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			item, err := fromCty(e, pos, left)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		return n, nil
	case t.IsMapType() || t.IsObjectType():
		n := &node{pos: pos, kind: object}
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			item, err := fromCty(e, pos, left)
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{k.AsString(), pos, item})
		}
		return n, nil
	}
	return nil, Problem{pos, "this is of a type that cannot be used here"}
}

// decimal writes a number without an exponent, if it is not too long.
func decimal(f *big.Float) string {
	if s := f.Text('f', -1); len(s) <= 32 {
		return s
	}
	return f.Text('g', 20)
}
