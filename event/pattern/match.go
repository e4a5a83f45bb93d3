package pattern

// Match tells whether an event, from Decode, matches.
func (p *Pattern) Match(event any) bool { return p.root.match(event) }

// match tells whether a value matches an object of the pattern. In a list one element
// must match alone.
func (n *node) match(v any) bool {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			switch e.(type) {
			case map[string]any, []any:
				if n.match(e) {
					return true
				}
			}
		}
		return len(list) == 0 && n.match(absent{})
	}
	object, _ := v.(map[string]any) // nil: nothing is there
	for i := range n.fields {
		f := &n.fields[i]
		value, there := object[f.name]
		if !there {
			value = absent{}
		}
		if f.node != nil {
			if !f.node.match(value) {
				return false
			}
		} else if !leaf(f.any, value) {
			return false
		}
	}
	for _, alternatives := range n.choices {
		matched := false
		for i := range alternatives {
			if alternatives[i].match(v) {
				matched = true
				break
			}
		}
		if !matched {
			return false
		}
	}
	return true
}

// leaf tells whether one of the matchers takes a value, or one element of it.
func leaf(list []matcher, v any) bool {
	switch x := v.(type) {
	case map[string]any: // no leaf
		v = absent{}
	case []any:
		for _, e := range x {
			if _, object := e.(map[string]any); !object && leaf(list, e) {
				return true
			}
		}
		if len(x) > 0 {
			return false
		}
		v = absent{}
	}
	for _, m := range list {
		if m(v) {
			return true
		}
	}
	return false
}

// Head gives texts of an event's detail that are known before the rest of it: members of the
// detail, and of its objects. The value is "" where there is no such member.
type Head func(object, name string) (value string, known bool)

// Could tells whether an event with a source and detail-type could match, whatever
// else it holds. head may be nil.
func (p *Pattern) Could(source, detailType string, head Head) bool {
	for i := range p.root.fields {
		f := &p.root.fields[i]
		switch {
		case f.name == "source" && f.node == nil && !leaf(f.any, source), f.name == "detail-type" && f.node == nil && !leaf(f.any, detailType):
			return false
		case f.name == "detail" && f.node != nil && head != nil && !f.node.could("", head):
			return false
		}
	}
	return true
}

// could looks at an object of the detail, or at the detail itself.
func (n *node) could(object string, head Head) bool {
	for i := range n.fields {
		f := &n.fields[i]
		if f.node != nil {
			continue
		}
		value, known := head(object, f.name)
		switch {
		case !known:
		case value == "" && !leaf(f.any, absent{}), value != "" && !leaf(f.any, value):
			return false
		}
	}
	if object != "" {
		return true
	}
	for i := range n.fields { // last: what is in objects costs more to know
		if f := &n.fields[i]; f.node != nil && !f.node.could(f.name, head) {
			return false
		}
	}
	return true
}

// Mentions tells whether the pattern looks at a field anywhere below a path.
func (p *Pattern) Mentions(path ...string) bool { return p.root.mentions(path) }

func (n *node) mentions(path []string) bool {
	if len(path) == 0 {
		return true
	}
	for i := range n.fields {
		f := &n.fields[i]
		if f.name == path[0] && (f.node == nil || f.node.mentions(path[1:])) {
			return true
		}
	}
	for _, alternatives := range n.choices {
		for i := range alternatives {
			if alternatives[i].mentions(path) {
				return true
			}
		}
	}
	return false
}
