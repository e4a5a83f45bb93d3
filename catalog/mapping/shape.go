package mapping

import (
	"slices"
	"strings"
	"unicode"
)

// shape is which exporter's documents a resource's expressions are written for.
type shape int

const (
	plainShape    shape = iota // Port's AWS exporter: the properties themselves
	wrappedShape               // Ocean's AWS integration: properties in an envelope
	extendedShape              // its newer one: other names, and the context apart
)

// shapeOf tells it by what the expressions read.
func (r *Resource) shapeOf() shape {
	reads := func(names ...string) bool {
		for _, x := range r.expressions() {
			if slices.ContainsFunc(names, func(n string) bool { return slices.Contains(x.reads, n) }) {
				return true
			}
		}
		return false
	}
	switch {
	case reads("__ExtraContext"):
		return extendedShape
	case reads("Properties", "__Kind", "__AccountId", "__Region", "Identifier"):
		return wrappedShape
	}
	return plainShape
}

// expressions are all of a resource's.
func (r *Resource) expressions() []*Expression {
	out := []*Expression{r.Selector, r.Items}
	for _, m := range r.Mappings {
		out = append(out, m.Identifier, m.Blueprint, m.Title, m.Icon, m.Team)
		for _, f := range slices.Concat(m.Properties, m.Relations) {
			out = append(out, f.Expression)
		}
	}
	return slices.DeleteFunc(out, func(x *Expression) bool { return x == nil })
}

// shaped is a document of properties as the resource's exporter has it.
func (r *Resource) shaped(document any) any {
	doc, ok := document.(map[string]any)
	if _, wrapped := doc["Properties"]; !ok || wrapped || r.shape == plainShape {
		return document
	}
	arn := strings.SplitN(text(doc["Arn"], doc["repositoryArn"]), ":", 6)
	account, region := "", ""
	if len(arn) == 6 {
		region, account = arn[3], arn[4]
	}
	id := text(doc["RepositoryName"], doc["name"])
	if r.shape == wrappedShape {
		return map[string]any{"Identifier": id, "Properties": doc, "__Kind": r.Kind, "__AccountId": account, "__Region": region}
	}
	properties := map[string]any{"RegistryId": account}
	for k, v := range doc {
		if k == "Arn" {
			k = "RepositoryArn"
		}
		if k != "Tags" { // which keep their names
			v = lower(v)
		}
		properties[k] = v
	}
	return map[string]any{"Type": r.Kind, "Properties": properties, "__ExtraContext": map[string]any{"AccountId": account, "Region": region}}
}

func text(values ...any) string {
	for _, v := range values {
		if s, ok := v.(string); ok {
			return s
		}
	}
	return ""
}

// lower writes the names within a value as ECR's own API does.
func lower(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, child := range v {
			r := []rune(k)
			if len(r) > 0 {
				r[0] = unicode.ToLower(r[0])
			}
			out[string(r)] = lower(child)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = lower(child)
		}
		return out
	}
	return v
}
