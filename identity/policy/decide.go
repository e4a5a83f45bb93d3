package policy

// Attached is a policy and where it comes from.
type Attached struct {
	// Name is for people: an ARN, or the name of an inline policy.
	Name string
	Doc  *Document
}

// Set is every policy that has a say in a request.
type Set struct {
	// Full stands for an identity policy that allows everything: a root's.
	Full     bool
	Identity []Attached
	// Boundary and Session bound what the identity policies give, where they
	// are set.
	Boundary, Session       []Attached
	HasBoundary, HasSession bool
	// Resource are the policies of what is acted on.
	Resource []Attached
	// SameAccount says that the caller is of the resource's account.
	SameAccount bool
	// ResourceMust says that the resource policy must allow, whatever the
	// identity policies say: as for roles, whose trust policy decides.
	ResourceMust bool
}

// Layer is a kind of policy, as the texts of denials name it.
type Layer string

// The layers.
const (
	LayerIdentity Layer = "identity-based policy"
	LayerBoundary Layer = "permissions boundary"
	LayerSession  Layer = "session policy"
	LayerResource Layer = "resource-based policy"
)

// Decision is the answer to a request.
type Decision struct {
	Allowed bool
	// Explicit says that a Deny decided.
	Explicit bool
	// Layer is the kind of policy that decided, or that lacks an Allow.
	Layer Layer
	// Policy and Statement (its number, from 1) tell what decided; "" and 0 when
	// nothing said a word, or a root's own right did.
	Policy    string
	Statement int
}

// Reason is the clause that ends the text of a denial, in AWS's words.
func (d Decision) Reason(action string) string {
	switch {
	case d.Allowed:
		return ""
	case d.Explicit && d.Layer == LayerIdentity:
		return "with an explicit deny in an " + string(d.Layer)
	case d.Explicit:
		return "with an explicit deny in a " + string(d.Layer)
	}
	return "because no " + string(d.Layer) + " allows the " + action + " action"
}

// found is a statement that applies.
type found struct {
	match     match
	policy    string
	statement int
}

func (f found) decision(allowed bool, l Layer) Decision {
	return Decision{Allowed: allowed, Explicit: !allowed, Layer: l, Policy: f.policy, Statement: f.statement}
}

// look finds the first Deny that applies, else the Allow that applies with the
// strongest match.
func look(list []Attached, r *Request) (deny, allow found) {
	for _, a := range list {
		for i := range a.Doc.Statements {
			s := &a.Doc.Statements[i]
			if s.Effect == Allow && allow.match == direct {
				continue
			}
			m, e, _ := s.examine(r)
			if e != Applies {
				continue
			}
			f := found{m, a.Name, i + 1}
			if s.Effect == Deny {
				return f, found{}
			}
			if m > allow.match {
				allow = f
			}
		}
	}
	return found{}, allow
}

// Decide answers a request: a Deny that applies anywhere wins; then, within an
// account, identity or resource policies allow, across accounts both must;
// boundaries and session policies bound both, but for a resource policy of the
// same account that names the user or session itself.
func Decide(r *Request, s *Set) Decision {
	layers := [...]struct {
		list  []Attached
		layer Layer
	}{{s.Identity, LayerIdentity}, {s.Boundary, LayerBoundary}, {s.Session, LayerSession}, {s.Resource, LayerResource}}
	var allow [len(layers)]found
	for i, l := range layers {
		var deny found
		if deny, allow[i] = look(l.list, r); deny.match != noMatch {
			return deny.decision(false, l.layer)
		}
	}
	identity, boundary, session, resource := allow[0], allow[1], allow[2], allow[3]
	granted := identity.match != noMatch || s.Full
	bounded := func(by found, layer Layer) Decision {
		switch {
		case s.HasBoundary && boundary.match == noMatch:
			return Decision{Layer: LayerBoundary}
		case s.HasSession && session.match == noMatch:
			return Decision{Layer: LayerSession}
		}
		return by.decision(true, layer)
	}
	switch {
	case r.Caller.Federated != "": // has nothing but what names its provider
		if resource.match == direct {
			return resource.decision(true, LayerResource)
		}
		return Decision{Layer: LayerResource}
	case resource.match == noMatch && (s.ResourceMust || !s.SameAccount):
		return Decision{Layer: LayerResource}
	case s.SameAccount && resource.match == direct:
		return resource.decision(true, LayerResource)
	case s.SameAccount && resource.match == everyone:
		return bounded(resource, LayerResource)
	case granted:
		return bounded(identity, LayerIdentity)
	}
	return Decision{Layer: LayerIdentity}
}
