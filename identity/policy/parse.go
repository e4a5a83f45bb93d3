package policy

import (
	"errors"
	"strings"

	"github.com/berth-registry/berth/internal/strictjson"
)

// maxNesting is how deep a policy may nest: document, statements, statement,
// condition, operator, values.
const maxNesting = 8

// Versions of the language.
const (
	Version2008 = "2008-10-17"
	Version2012 = "2012-10-17"
)

// Parse reads a policy and checks it: an element, operator or form that is not
// known is an error, never skipped. Errors wrap ErrMalformed and say which
// statement is wrong.
func Parse(text string, kind Kind) (*Document, error) {
	if len(text) > MaxText {
		return nil, malformed("it has %d bytes, at most %d are allowed", len(text), MaxText)
	}
	root, err := strictjson.Parse([]byte(text), maxNesting)
	if err != nil {
		return nil, malformed("%v", err)
	}
	d := &Document{Version: Version2008, text: text}
	var statements []*strictjson.Value
	for _, m := range root.Members {
		switch m.Name {
		case "Version":
			if m.Value.Kind != strictjson.String || m.Value.Text != Version2008 && m.Value.Text != Version2012 {
				return nil, malformed("the Version must be %q or %q", Version2012, Version2008)
			}
			d.Version = m.Value.Text
		case "Id":
			if m.Value.Kind != strictjson.String {
				return nil, malformed("the Id must be a string")
			}
			d.ID = m.Value.Text
		case "Statement":
			if statements, err = objects(m.Value); err != nil {
				return nil, err
			}
		default:
			return nil, malformed("unknown element %.60q", m.Name)
		}
	}
	if len(statements) == 0 {
		return nil, malformed("the Statement is missing or empty")
	}
	sids := map[string]bool{}
	for i, v := range statements {
		s, err := d.statement(v, kind)
		if err != nil {
			return nil, malformed("statement %d: %s", i+1, strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": "))
		}
		if s.Sid != "" && sids[s.Sid] && kind == Identity {
			return nil, malformed("the Sid %.60q is used by two statements", s.Sid)
		}
		sids[s.Sid] = true
		d.Statements = append(d.Statements, s)
	}
	return d, nil
}

// objects reads a statement or a list of them.
func objects(v *strictjson.Value) ([]*strictjson.Value, error) {
	list := []*strictjson.Value{v}
	if v.Kind == strictjson.List {
		list = v.Items
	}
	for _, s := range list {
		if s.Kind != strictjson.Object {
			return nil, malformed("the Statement must be a statement or a list of them, it holds %s", s.Kind)
		}
	}
	return list, nil
}

// textList reads a string or a list of strings.
func textList(v *strictjson.Value, what string) ([]*strictjson.Value, error) {
	list := []*strictjson.Value{v}
	if v.Kind == strictjson.List {
		list = v.Items
	}
	for _, item := range list {
		if item.Kind != strictjson.String {
			return nil, malformed("%s must be a string or a list of strings, it holds %s", what, item.Kind)
		}
	}
	return list, nil
}

func (d *Document) statement(v *strictjson.Value, kind Kind) (Statement, error) {
	s := Statement{Text: d.text[v.Start:v.End]}
	have := map[string]bool{}
	for _, m := range v.Members {
		have[m.Name] = true
		if err := d.element(&s, m.Name, m.Value, kind); err != nil {
			return s, err
		}
	}
	return s, required(have, kind)
}

func required(have map[string]bool, kind Kind) error {
	one := func(name string) error {
		switch {
		case have[name] && have["Not"+name]:
			return malformed("it has both %s and Not%s", name, name)
		case !have[name] && !have["Not"+name]:
			return malformed("it must have %s or Not%s", name, name)
		}
		return nil
	}
	none := func(name, why string) error {
		if have[name] || have["Not"+name] {
			return malformed("%s", why)
		}
		return nil
	}
	if !have["Effect"] {
		return malformed("it must have an Effect")
	}
	errs := []error{one("Action")}
	switch kind {
	case Identity:
		errs = append(errs, one("Resource"), none("Principal", "Principal belongs to the policy of a resource; this policy's principal is who it is attached to"))
	case Repository:
		errs = append(errs, one("Principal"), none("Resource", "a repository policy has no Resource: it is about its own repository"))
	case Registry:
		errs = append(errs, one("Principal"), one("Resource"))
	case Trust:
		errs = append(errs, one("Principal"), none("Resource", "a trust policy has no Resource: it is about its own role"))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) element(s *Statement, name string, v *strictjson.Value, kind Kind) (err error) {
	not := strings.HasPrefix(name, "Not")
	switch name {
	case "Sid":
		if v.Kind != strictjson.String || kind == Identity && !alphanumeric(v.Text) {
			return malformed("the Sid must be of letters and digits")
		}
		s.Sid = v.Text
	case "Effect":
		if v.Kind != strictjson.String || v.Text != "Allow" && v.Text != "Deny" {
			return malformed("the Effect must be Allow or Deny")
		}
		s.Effect = v.Text == "Allow"
	case "Principal", "NotPrincipal":
		s.notPrincipal = not
		s.principals, err = d.parsePrincipals(v)
	case "Action", "NotAction":
		s.notAction = not
		s.actions, err = parseActions(v, name)
	case "Resource", "NotResource":
		s.notResource = not
		s.resources, err = d.parseResources(v, name)
	case "Condition":
		s.conditions, err = d.parseConditions(v)
	default:
		return malformed("unknown element %.60q", name)
	}
	return err
}

func alphanumeric(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

func parseActions(v *strictjson.Value, name string) ([]glob, error) {
	items, err := textList(v, name)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, malformed("%s is empty", name)
	}
	var out []glob
	for _, item := range items {
		if err := checkAction(item.Text); err != nil {
			return nil, err
		}
		out = append(out, newGlob(wildcards(lower(item.Text))))
	}
	return out, nil
}

// checkAction accepts "*" and service:action, each with wildcards.
func checkAction(a string) error {
	service, action, ok := strings.Cut(a, ":")
	switch {
	case a == "*":
		return nil
	case !ok || service == "" || action == "":
		return malformed("action %.100q must be \"*\" or of the form service:Action", a)
	case strings.Trim(service, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-*?") != "",
		strings.Trim(action, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*?") != "":
		return malformed("action %.100q has characters that no action has", a)
	}
	return nil
}

func (d *Document) parseResources(v *strictjson.Value, name string) ([]arnPattern, error) {
	items, err := textList(v, name)
	if err != nil {
		return nil, err
	}
	out := []arnPattern{}
	for _, item := range items {
		p, err := parseARNPattern(item.Text, d.Version == Version2012)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, malformed("%s is empty", name)
	}
	return out, nil
}

// Why is the text of a Parse error without its prefix.
func Why(err error) string {
	if errors.Is(err, ErrMalformed) {
		return strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": ")
	}
	return err.Error()
}
