package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Source is what written module blocks name as their source: where this project keeps
// its terraform module.
const Source = "github.com/berth-registry/berth//deploy/terraform/ecr-repos"

// HCL writes blocks as a terraform file.
func HCL(modules []*Module) string {
	var b bytes.Buffer
	for i, m := range modules {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "module %s {\n  source = %s\n", quoted(m.Name), quoted(Source))
		attributes(&b, m.fields(), "  ", true)
		b.WriteString("}\n")
	}
	return b.String()
}

// attributes writes keys and values with the equals signs of neighbours under each other,
// as terraform fmt does. Tall values stand apart if they shall.
func attributes(b *bytes.Buffer, fields []field, indent string, apart bool) {
	keys, values := make([]string, len(fields)), make([]string, len(fields))
	tall := func(i int) bool { return i < 0 || i == len(fields) || strings.Contains(values[i], "\n") }
	for i, f := range fields {
		var v bytes.Buffer
		f.val.hcl(&v, indent)
		if keys[i], values[i] = f.key, v.String(); !bareKey.MatchString(f.key) {
			keys[i] = quoted(f.key)
		}
	}
	for i := range fields {
		if apart && (tall(i) || tall(i-1)) {
			b.WriteByte('\n')
		}
		width := 0
		if !tall(i) {
			for j := i; !tall(j); j-- {
				width = max(width, utf8.RuneCountInString(keys[j]))
			}
			for j := i; !tall(j); j++ {
				width = max(width, utf8.RuneCountInString(keys[j]))
			}
		}
		fmt.Fprintf(b, "%s%-*s = %s\n", indent, width, keys[i], values[i])
	}
}

// YAML writes blocks as a YAML file.
func YAML(modules []*Module) string {
	all := &yaml.Node{Kind: yaml.MappingNode}
	for _, m := range modules {
		all.Content = append(all.Content, scalar(m.Name), (&node{kind: object, fields: m.fields()}).yaml())
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	_ = enc.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("module"), all}}) // nodes of our own making, into memory
	return b.String()
}

func str(s string) *node { return &node{kind: text, text: s} }

func strs(values []string) *node {
	n := &node{kind: list}
	for _, s := range values {
		n.items = append(n.items, str(s))
	}
	return n
}

func names(list []Named) *node {
	var out []string
	for _, n := range list {
		out = append(out, n.Name)
	}
	return strs(out)
}

// add adds a key unless its value is nothing.
func (n *node) add(key string, v *node) {
	if v == nil || v.kind == text && v.text == "" || (v.kind == list || v.kind == object) && len(v.items)+len(v.fields) == 0 {
		return
	}
	n.fields = append(n.fields, field{key: key, val: v})
}

// fields are the block's keys as they are written.
func (m *Module) fields() []field {
	n := &node{kind: object}
	n.add(keyAccount, str(string(m.Account)))
	n.add(keyRegion, str(string(m.Region)))
	n.fields = append(n.fields, field{key: keyRepositories, val: names(m.Repositories)})
	accounts := &node{kind: list}
	for _, a := range m.Accounts {
		o := &node{kind: object}
		o.add("description", str(a.Description))
		o.add("account_id", str(string(a.ID)))
		o.add("can_write", &node{kind: boolean, truth: a.CanWrite})
		accounts.items = append(accounts.items, o)
	}
	n.add(keyAccountAccess, accounts)
	if g := m.GitHub; g != nil {
		repositories := &node{kind: list}
		for _, d := range g.Repositories {
			o := &node{kind: object}
			o.add("organisation", str(d.Organisation))
			o.add("repository", str(d.Repository))
			o.add("organisation_id", str(d.OrganisationID))
			o.add("repository_id", str(d.RepositoryID))
			o.add("subjects", strs(d.Subjects))
			repositories.items = append(repositories.items, o)
		}
		n.add(keyGitHubAccess, &node{kind: object, fields: []field{{key: "role_name", val: str(g.Role)}, {key: "github_repositories", val: repositories}}})
	}
	m.Settings.write(n)
	each := &node{kind: object}
	for _, k := range slices.Sorted(maps.Keys(m.Each)) {
		o := &node{kind: object}
		s := m.Each[k]
		s.write(o)
		each.add(k, o)
	}
	n.add(keySettings, each)
	n.add(keyCreateOnPush, names(m.CreateOnPush))
	templates := &node{kind: list}
	for _, t := range m.Templates {
		o := &node{kind: object}
		o.add("prefix", str(t.Prefix))
		o.fields = append(o.fields, field{key: "applied_for", val: strs(t.AppliedFor)})
		o.add("description", str(t.Description))
		o.add("custom_role_arn", str(t.RoleARN))
		t.Settings.write(o)
		templates.items = append(templates.items, o)
	}
	n.add(keyTemplates, templates)
	n.add(keyRegistryPolicy, document(m.RegistryPolicy))
	return n.fields
}

func (s *Settings) write(n *node) {
	n.add(keyMutability, str(s.Mutability))
	n.add(keyExclusions, strs(s.Exclusions))
	if s.ScanOnPush != nil {
		n.add(keyScan, &node{kind: boolean, truth: *s.ScanOnPush})
	}
	n.add(keyEncryption, str(s.Encryption))
	n.add(keyKMSKey, str(s.KMSKey))
	n.add(keyLifecycle, document(s.LifecyclePolicy))
	n.add(keyPolicy, document(s.RepositoryPolicy))
	tags := &node{kind: object}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		tags.fields = append(tags.fields, field{key: k, val: str(s.Tags[k])})
	}
	n.add(keyTags, tags)
}

// document is JSON as people would write it: a value rather than a text in a text.
func document(s string) *node {
	if s == "" {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return str(s)
	}
	n := fromJSON(v)
	if n.kind != object {
		return str(s)
	}
	return &node{kind: encoded, items: []*node{n}}
}

// encoded is a node that HCL writes as jsonencode(…).
const encoded kind = "a document"

func fromJSON(v any) *node {
	switch v := v.(type) {
	case bool:
		return &node{kind: boolean, truth: v}
	case json.Number:
		return &node{kind: number, text: v.String()}
	case string:
		return str(v)
	case []any:
		n := &node{kind: list}
		for _, item := range v {
			n.items = append(n.items, fromJSON(item))
		}
		return n
	case map[string]any:
		n := &node{kind: object}
		for _, k := range policyOrder(v) {
			n.fields = append(n.fields, field{key: k, val: fromJSON(v[k])})
		}
		return n
	}
	return &node{kind: null}
}

// policyOrder sorts keys, those of policies first and as people write them.
func policyOrder(m map[string]any) []string {
	first := []string{"Version", "Id", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition", "rulePriority", "description"}
	var out []string
	for _, k := range first {
		if _, ok := m[k]; ok {
			out = append(out, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(first, k) {
			out = append(out, k)
		}
	}
	return out
}

var bareKey = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_-]*$`)

// quoted writes a string in quotes, with what templates would take for theirs escaped.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case (c == '$' || c == '%') && strings.HasPrefix(s[i+1:], "{"):
			b.WriteRune(c)
			b.WriteRune(c)
		case !unicode.IsPrint(c) && c > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, c)
		case !unicode.IsPrint(c):
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (n *node) hcl(b *bytes.Buffer, indent string) {
	deeper := indent + "  "
	switch n.kind {
	case null:
		b.WriteString("null")
	case boolean:
		fmt.Fprint(b, n.truth)
	case number:
		b.WriteString(n.text)
	case text:
		b.WriteString(quoted(n.text))
	case encoded:
		b.WriteString("jsonencode(")
		n.items[0].hcl(b, indent)
		b.WriteByte(')')
	case list:
		if !slices.ContainsFunc(n.items, func(i *node) bool { return i.kind == object || i.kind == list }) && len(n.items) <= 3 {
			b.WriteByte('[')
			for i, item := range n.items {
				if i > 0 {
					b.WriteString(", ")
				}
				item.hcl(b, deeper)
			}
			b.WriteByte(']')
			return
		}
		b.WriteString("[\n")
		for _, item := range n.items {
			b.WriteString(deeper)
			item.hcl(b, deeper)
			b.WriteString(",\n")
		}
		b.WriteString(indent + "]")
	case object:
		b.WriteString("{\n")
		attributes(b, n.fields, deeper, false)
		b.WriteString(indent + "}")
	}
}

func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if n.Kind = yaml.ScalarNode; n.Style == 0 && s != "" {
		var back any
		if yaml.Unmarshal([]byte(s), &back) != nil || back != any(s) { // it would read as something else
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}

func (n *node) yaml() *yaml.Node {
	switch n.kind {
	case boolean:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(n.truth)}
	case number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
	case text:
		return scalar(n.text)
	case encoded:
		return n.items[0].yaml()
	case list:
		out := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range n.items {
			out.Content = append(out.Content, item.yaml())
		}
		return out
	case object:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range n.fields {
			out.Content = append(out.Content, scalar(f.key), f.val.yaml())
		}
		return out
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}
