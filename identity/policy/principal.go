package policy

import (
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/internal/strictjson"
)

// match says how a Principal element names a caller; the order matters, since
// what passes a boundary depends on it.
type match int

const (
	noMatch match = iota
	// byAccount names the caller's account: what its own IAM makes of that.
	byAccount
	// everyone is "*", or the role that a session is of.
	everyone
	// direct names the user or the session itself.
	direct
)

// negate is the match of NotPrincipal.
func negate(m match) match {
	if m == noMatch {
		return everyone
	}
	return noMatch
}

// principals is a Principal or NotPrincipal element.
type principals struct {
	all       bool // "*" or {"AWS": "*"}
	aws       []string
	federated []string
	service   []string
}

func (p *principals) match(c *Caller) match {
	best := noMatch
	if p.all {
		best = everyone
	}
	switch {
	case c.Federated != "":
		return max(best, listed(p.federated, c.Federated))
	case c.Service != "":
		return max(best, listed(p.service, c.Service))
	}
	for _, name := range p.aws {
		m := noMatch
		switch {
		case name == c.ARN, name == c.ID && c.Role == "" && c.ID != "":
			m = direct
		case name == string(c.Account), name == "arn:aws:iam::"+string(c.Account)+":root":
			m = byAccount
		case c.Role != "" && (name == c.Role || name == c.ID):
			m = everyone
		}
		best = max(best, m)
	}
	return best
}

func listed(list []string, name string) match {
	for _, n := range list {
		if n == name {
			return direct
		}
	}
	return noMatch
}

// binding is a principal's place in a document's text.
type binding struct {
	name       string
	start, end int // of the JSON string
}

// parsePrincipals reads a Principal element and notes where it names users and
// roles, for Bind.
func (d *Document) parsePrincipals(v *strictjson.Value) (*principals, error) {
	p := &principals{}
	if v.Kind == strictjson.String {
		if v.Text != "*" {
			return nil, malformed("principal %.200q must be \"*\" or an object such as {\"AWS\": …}", v.Text)
		}
		p.all = true
		return p, nil
	}
	if v.Kind != strictjson.Object || len(v.Members) == 0 {
		return nil, malformed("Principal must be \"*\" or an object such as {\"AWS\": …}")
	}
	for _, m := range v.Members {
		items, err := textList(m.Value, "Principal."+m.Name)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return nil, malformed("Principal.%s is empty", m.Name)
		}
		for _, item := range items {
			switch m.Name {
			case "AWS":
				err = d.addAWS(p, item)
			case "Federated":
				p.federated = append(p.federated, item.Text)
			case "Service":
				p.service = append(p.service, item.Text)
			default:
				err = malformed("unknown kind of principal %.60q; want AWS, Federated or Service", m.Name)
			}
			if err == nil && m.Name != "AWS" && (item.Text == "" || strings.ContainsAny(item.Text, "*?")) {
				err = malformed("principal %.200q must not be empty or have wildcards", item.Text)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

func (d *Document) addAWS(p *principals, item *strictjson.Value) error {
	name := item.Text
	if name == "*" {
		p.all = true
		return nil
	}
	if !arn.Account(name).Valid() && !UniqueID(name) && !validPrincipalARN(name) {
		return malformed("invalid principal in policy: \"AWS\":\"%.200s\"", name)
	}
	p.aws = append(p.aws, name)
	d.bindings = append(d.bindings, binding{name, item.Start, item.End})
	return nil
}

// UniqueID reports whether s has the form of a user's or role's unique id.
func UniqueID(s string) bool {
	if len(s) < 16 || len(s) > 128 || !strings.HasPrefix(s, "AIDA") && !strings.HasPrefix(s, "AROA") {
		return false
	}
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

func validPrincipalARN(s string) bool {
	a, err := arn.Parse(s)
	if err != nil || a.Region != "" || !a.Account.Valid() || strings.ContainsAny(s, "*?${}") {
		return false
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	switch {
	case a.Service == "iam" && a.Resource == "root":
		return true
	case a.Service == "iam" && (kind == "user" || kind == "role"):
		return rest != "" && !strings.HasSuffix(rest, "/")
	case a.Service == "sts" && kind == "assumed-role":
		role, session, _ := strings.Cut(rest, "/")
		return role != "" && session != "" && !strings.Contains(session, "/")
	}
	return false
}

// Bind replaces the names of principals in Principal elements by what rename
// returns for them, and leaves the rest of the text as it is. Policies are kept
// with the unique ids of users and roles, so that one made later under the same
// name is not mistaken for the one that was meant; the other way around makes the
// text that people see.
func (d *Document) Bind(rename func(name string) string) string {
	var b strings.Builder
	last := 0
	for _, p := range d.bindings {
		if to := rename(p.name); to != p.name {
			b.WriteString(d.text[last:p.start])
			b.WriteString(`"` + to + `"`)
			last = p.end
		}
	}
	b.WriteString(d.text[last:])
	return b.String()
}

// Named lists the AWS principals that the document names, without "*".
func (d *Document) Named() []string {
	var out []string
	for _, p := range d.bindings {
		out = append(out, p.name)
	}
	return out
}
