package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Problem is something wrong with a configuration, at a path such as resources[0].kind.
type Problem struct{ Path, Text string }

func (p Problem) Error() string { return p.Path + ": " + p.Text }

// Problems are all that is wrong.
type Problems []Problem

func (p Problems) Error() string {
	var lines []string
	for _, one := range p {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// reader reads a configuration of either grammar.
type reader struct{ problems Problems }

func (r *reader) fail(path, format string, args ...any) {
	r.problems = append(r.problems, Problem{path, fmt.Sprintf(format, args...)})
}

// Read reads an exporter's config.json, of the older grammar or the newer, and checks it
// whole: Problems.
func Read(text []byte) (*Config, error) {
	if len(text) > MaxConfig {
		return nil, Problems{{"config", fmt.Sprintf("it has %d bytes, at most %d are allowed", len(text), MaxConfig)}}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var root map[string]any
	err := dec.Decode(&root)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		where := "config"
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			where = fmt.Sprintf("config, line %d", 1+bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n")))
		}
		return nil, Problems{{where, err.Error()}}
	}
	r := &reader{}
	c := r.config(root)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return c, nil
}

func (r *reader) config(root map[string]any) *Config {
	c := &Config{DeleteDependents: r.flag(root, "", "deleteDependentEntities", true), Merge: r.flag(root, "", "enableMergeEntity", true), DeletionThreshold: 0.9}
	if n, ok := root["entityDeletionThreshold"].(json.Number); ok {
		f, err := n.Float64()
		if c.DeletionThreshold = f; err != nil || f < 0 || f > 1 {
			r.fail("entityDeletionThreshold", "must be between 0 and 1")
		}
	}
	strict := r.flag(root, "", "strictJq", false)
	list, ok := root["resources"].([]any)
	if !ok || len(list) == 0 || len(list) > maxResources {
		r.fail("resources", "must be a list of 1 to %d resources", maxResources)
		return c
	}
	older := false
	for i, item := range list {
		path := fmt.Sprintf("resources[%d]", i)
		doc, ok := item.(map[string]any)
		if !ok {
			r.fail(path, "must be an object")
			continue
		}
		res, old := r.resource(path, doc, strict)
		older = older || old
		c.Resources = append(c.Resources, res)
	}
	c.CreateMissing = r.flag(root, "", "createMissingRelatedEntities", !older)
	return c
}

func (r *reader) flag(doc map[string]any, path, key string, instead bool) bool {
	v, there := doc[key]
	if !there || v == nil {
		return instead
	}
	b, ok := v.(bool)
	if !ok {
		r.fail(strings.TrimPrefix(path+"."+key, "."), "must be true or false")
	}
	return b
}

func (r *reader) object(doc map[string]any, path, key string, needed bool) map[string]any {
	v, there := doc[key]
	if !there || v == nil {
		if needed {
			r.fail(path+"."+key, "is missing")
		}
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.fail(path+"."+key, "must be an object")
	}
	return m
}

func (r *reader) resource(path string, doc map[string]any, strict bool) (*Resource, bool) {
	res := &Resource{Path: path, Strict: r.flag(doc, path, "strictJq", strict), ItemName: "item"}
	kind, ok := doc["kind"].(string)
	if res.Kind = kind; !ok || kind == "" {
		r.fail(path+".kind", "must be a kind, such as AWS::ECR::Repository")
	}
	if s := r.object(doc, path, "selector", false); s != nil {
		res.Selector = r.expression(s, path+".selector", "query", false)
	}
	port := r.object(doc, path, "port", true)
	if port == nil {
		return res, false
	}
	path += ".port"
	newer := port["itemsToParse"] != nil
	if newer {
		res.Items = r.expression(port, path, "itemsToParse", false)
		if n, ok := port["itemsToParseName"].(string); ok && n != "" {
			res.ItemName = n
		}
	}
	entity := r.object(port, path, "entity", true)
	var list []any
	switch m := entity["mappings"].(type) {
	case []any:
		list = m
	case map[string]any:
		list = []any{m}
		newer = true
	}
	path += ".entity.mappings"
	if entity != nil && (len(list) == 0 || len(list) > maxMappings) {
		r.fail(path, "must be a mapping, or a list of 1 to %d", maxMappings)
	}
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		doc, ok := item.(map[string]any)
		if !ok {
			r.fail(at, "must be an object")
			continue
		}
		m := r.mapping(at, doc)
		if items := r.expression(doc, at, "itemsToParse", false); items != nil {
			res.Items = items
		}
		blueprint, _ := doc["blueprint"].(string)
		newer = newer || strings.HasPrefix(strings.TrimSpace(blueprint), `"`)
		res.Mappings = append(res.Mappings, m)
	}
	res.shape = res.shapeOf()
	return res, !newer
}

// literal is what a blueprint is called in the older grammar, where it is no expression.
var literal = regexp.MustCompile(`^[A-Za-z0-9@_+:\\/=-][A-Za-z0-9@_.+:\\/=-]*$`)

func (r *reader) mapping(path string, doc map[string]any) *Mapping {
	m := &Mapping{Path: path, Identifier: r.expression(doc, path, "identifier", true), Title: r.expression(doc, path, "title", false),
		Icon: r.expression(doc, path, "icon", false), Team: r.expression(doc, path, "team", false)}
	switch b, ok := doc["blueprint"].(string); {
	case !ok:
		r.fail(path+".blueprint", "must be a blueprint's identifier, or an expression")
	case literal.MatchString(b):
		text, err := json.Marshal(b)
		if err == nil {
			m.Blueprint, err = compile(path+".blueprint", string(text))
		}
		if err != nil {
			r.fail(path+".blueprint", "%v", err)
		}
	default:
		m.Blueprint = r.expression(doc, path, "blueprint", true)
	}
	m.Properties = r.fields(r.object(doc, path, "properties", false), path+".properties")
	m.Relations = r.fields(r.object(doc, path, "relations", false), path+".relations")
	return m
}

func (r *reader) fields(doc map[string]any, path string) []Field {
	var out []Field
	for _, k := range slices.Sorted(maps.Keys(doc)) {
		if x := r.expression(doc, path, k, false); x != nil {
			out = append(out, Field{k, x})
		}
	}
	return out
}

func (r *reader) expression(doc map[string]any, path, key string, needed bool) *Expression {
	v, there := doc[key]
	if !there || v == nil {
		if needed {
			r.fail(path+"."+key, "is missing")
		}
		return nil
	}
	path += "." + key
	text, ok := v.(string)
	if !ok {
		r.fail(path, "must be a jq expression in a string")
		return nil
	}
	x, err := compile(path, text)
	if err != nil {
		r.fail(path, "%v", err)
		return nil
	}
	return x
}

// Notices are what can be said of a configuration without any resource.
func (c *Config) Notices() []Notice {
	out := []Notice{}
	add := func(list ...*Expression) {
		for _, x := range list {
			if x != nil {
				out = append(out, x.hints...)
			}
		}
	}
	for _, r := range c.Resources {
		add(r.Selector, r.Items)
		for _, m := range r.Mappings {
			add(m.Identifier, m.Blueprint, m.Title, m.Icon, m.Team)
			for _, f := range slices.Concat(m.Properties, m.Relations) {
				add(f.Expression)
			}
		}
	}
	return out
}
