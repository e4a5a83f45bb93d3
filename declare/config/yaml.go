package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// parseYAML reads the documents of a YAML file.
func parseYAML(src []byte, name string) ([]*node, error) {
	var out []*node
	dec := yaml.NewDecoder(bytes.NewReader(src))
	left := maxNodes
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			p := Problem{Pos{File: name}, err.Error()}
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				p.Line, _ = strconv.Atoi(m[1])
				p.Column, p.Text = 1, m[2]
			}
			return nil, p
		}
		if len(doc.Content) != 1 {
			continue
		}
		n, err := fromYAML(doc.Content[0], name, 0, &left)
		if err != nil {
			return nil, err
		}
		if n.kind != null {
			out = append(out, n)
		}
	}
}

func fromYAML(y *yaml.Node, name string, depth int, left *int) (*node, error) {
	pos := Pos{name, y.Line, y.Column}
	if *left--; *left < 0 || depth > maxDepth {
		return nil, Problem{pos, "this is too large or nested too deeply"}
	}
	switch y.Kind {
	case yaml.AliasNode:
		return fromYAML(y.Alias, name, depth+1, left)
	case yaml.SequenceNode:
		n := &node{pos: pos, kind: list}
		for _, item := range y.Content {
			v, err := fromYAML(item, name, depth+1, left)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
		return n, nil
	case yaml.MappingNode:
		n := &node{pos: pos, kind: object}
		for i := 0; i+1 < len(y.Content); i += 2 {
			key := y.Content[i]
			keyPos := Pos{name, key.Line, key.Column}
			if key.Kind != yaml.ScalarNode {
				return nil, Problem{keyPos, "the key must be a string"}
			}
			if n.get(key.Value) != nil {
				return nil, Problem{keyPos, "the key " + key.Value + " is written twice"}
			}
			v, err := fromYAML(y.Content[i+1], name, depth+1, left)
			if err != nil {
				return nil, err
			}
			n.fields = append(n.fields, field{key.Value, keyPos, v})
		}
		return n, nil
	}
	n := &node{pos: pos, kind: text, text: y.Value}
	switch y.ShortTag() {
	case "!!null":
		n.kind = null
	case "!!bool":
		n.kind = boolean
		n.truth = y.Value[0] == 't' || y.Value[0] == 'T'
	case "!!int", "!!float":
		n.kind = number // its text stays, so that an account id keeps its zeros
	}
	return n, nil
}
