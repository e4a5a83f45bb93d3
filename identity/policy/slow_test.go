package policy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/identity/policy"
)

// The second evaluator: IAM's rules read literally from the JSON document each
// time, slow and without any code of the package. The two must agree.

type slow struct {
	r       *policy.Request
	version string
	effect  string
}

func slowDoc(text string) map[string]any {
	var m map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		panic(err)
	}
	return m
}

func slowStrings(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case bool:
		return []string{strconv.FormatBool(v)}
	case json.Number:
		return []string{v.String()}
	case []any:
		out := []string{}
		for _, e := range v {
			out = append(out, slowStrings(e)...)
		}
		return out
	}
	panic(fmt.Sprint(v))
}

// slowGlob goes back at every star. Pattern characters that stand for themselves
// are escaped by a leading \x00.
func slowGlob(p, s []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == '*':
		for i := 0; i <= len(s); i++ {
			if slowGlob(p[1:], s[i:]) {
				return true
			}
		}
		return false
	case p[0] == '?':
		return len(s) > 0 && slowGlob(p[1:], s[1:])
	case p[0] == 0:
		p = p[1:]
	}
	return len(s) > 0 && s[0] == p[0] && slowGlob(p[1:], s[1:])
}

// expand replaces variables: their values come escaped. ok is false when one has
// no single value.
func (e *slow) expand(s string) (string, bool) {
	if e.version != "2012-10-17" {
		return s, true
	}
	var out strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			out.WriteString(s)
			return out.String(), true
		}
		out.WriteString(s[:i])
		end := i + strings.Index(s[i:], "}")
		name := s[i+2 : end]
		s = s[end+1:]
		value := name
		if name != "*" && name != "?" && name != "$" {
			key, def, has := strings.Cut(name, ",")
			vals := e.r.Values(strings.ToLower(strings.TrimSpace(key)))
			switch {
			case len(vals) == 1:
				value = vals[0]
			case has && vals == nil:
				value = strings.Trim(strings.TrimSpace(def), "'")
			default:
				return "", false
			}
		}
		for _, c := range value {
			out.WriteString("\x00" + string(c))
		}
	}
}

func literal(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// arnLike compares part by part.
func (e *slow) arnLike(pattern, have string) (equal, resolved bool) {
	full, ok := e.expand(pattern)
	if !ok {
		return false, false
	}
	if pattern == "*" {
		return true, true
	}
	p := strings.SplitN(strings.ReplaceAll(full, "\x00:", "\x01"), ":", 6)
	h := strings.SplitN(have, ":", 6)
	if len(p) != 6 || len(h) != 6 {
		return false, true
	}
	for i := range p {
		if !slowGlob([]rune(strings.ReplaceAll(p[i], "\x01", "\x00:")), []rune(h[i])) {
			return false, true
		}
	}
	return true, true
}

func slowTime(s string) (time.Time, bool) {
	for _, l := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(l, s); err == nil {
			return t, true
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	return time.UnixMilli(int64(n * 1000)), err == nil
}

// equal compares one wanted value with one the request has, for an operator
// without its negation.
func (e *slow) equal(op, want, have string) (equal, resolved bool) {
	if strings.HasPrefix(op, "Arn") {
		if want == "" {
			return have == "", true
		}
		return e.arnLike(want, have)
	}
	full, ok := e.expand(want)
	if !ok {
		return false, false
	}
	if op == "StringLike" {
		return slowGlob([]rune(full), []rune(have)), true
	}
	full = literal(full)
	switch {
	case op == "StringEquals":
		return full == have, true
	case op == "StringEqualsIgnoreCase", op == "Bool":
		return strings.EqualFold(full, have), true
	case op == "BinaryEquals":
		a, err1 := base64.StdEncoding.DecodeString(full)
		b, err2 := base64.StdEncoding.DecodeString(have)
		return err1 == nil && err2 == nil && slices.Equal(a, b), err1 == nil
	case op == "IpAddress":
		ip := net.ParseIP(have)
		if w := net.ParseIP(full); w != nil {
			return ip != nil && w.Equal(ip), true
		}
		_, n, err := net.ParseCIDR(full)
		return err == nil && ip != nil && n.Contains(ip), err == nil
	case strings.HasPrefix(op, "Numeric"):
		a, err1 := strconv.ParseFloat(have, 64)
		b, err2 := strconv.ParseFloat(full, 64)
		return err1 == nil && err2 == nil && ordered(op[7:], a-b), err2 == nil
	case strings.HasPrefix(op, "Date"):
		a, ok1 := slowTime(have)
		b, ok2 := slowTime(full)
		return ok1 && ok2 && ordered(op[4:], float64(a.Sub(b))), ok2
	}
	panic(op)
}

func ordered(op string, diff float64) bool {
	switch op {
	case "Equals":
		return diff == 0
	case "LessThan":
		return diff < 0
	case "LessThanEquals":
		return diff <= 0
	case "GreaterThan":
		return diff > 0
	case "GreaterThanEquals":
		return diff >= 0
	}
	panic(op)
}

// condition is one operator on one key.
func (e *slow) condition(name, key string, wants []string) bool {
	have := e.r.Values(strings.ToLower(key))
	set, op, ok := strings.Cut(name, ":")
	if !ok {
		set, op = "", name
	}
	if op == "Null" {
		for _, w := range wants {
			if v, ok := e.expand(w); ok && (strings.ToLower(literal(v)) == "true") == (have == nil) {
				return true
			}
		}
		return false
	}
	op, ifExists := strings.CutSuffix(op, "IfExists")
	negated := strings.Contains(op, "Not")
	positive := strings.Replace(op, "Not", "", 1)
	if have == nil {
		if ifExists || set == "ForAllValues" {
			return true
		}
		return set == "" && negated
	}
	one := func(h string) bool { // whether h satisfies the operator
		unresolved := false
		for _, w := range wants {
			eq, res := e.equal(positive, w, h)
			if eq {
				return !negated
			}
			if !res {
				unresolved = true
			}
		}
		if !negated {
			return false
		}
		return e.effect == "Deny" || !unresolved
	}
	n := 0
	for _, h := range have {
		if one(h) {
			n++
		}
	}
	switch {
	case set == "ForAllValues", set == "" && negated:
		return n == len(have)
	default:
		return n > 0
	}
}

// principal returns 0 for no match, 1 by account, 2 by role or everyone, 3 direct.
func (e *slow) principal(v any) int {
	c := e.r.Caller
	if s, ok := v.(string); ok {
		if s != "*" {
			panic(s)
		}
		return 2
	}
	best := 0
	for kind, names := range v.(map[string]any) {
		for _, n := range slowStrings(names) {
			m := 0
			switch {
			case kind == "AWS" && n == "*":
				m = 2
			case c.Federated != "":
				if kind == "Federated" && n == c.Federated {
					m = 3
				}
			case kind != "AWS":
			case n == c.ARN, "arn:aws:iam::"+n+":root" == c.ARN: // an account's id is short for its root
				m = 3
			case n == string(c.Account), n == "arn:aws:iam::"+string(c.Account)+":root":
				m = 1
			case c.Role != "" && n == c.Role:
				m = 2
			}
			best = max(best, m)
		}
	}
	return best
}

// statement returns how the statement matches, 0 when it does not apply.
func (e *slow) statement(s map[string]any) int {
	e.effect = s["Effect"].(string)
	m := 2
	if p, ok := s["Principal"]; ok {
		m = e.principal(p)
	}
	if p, ok := s["NotPrincipal"]; ok {
		m = 0
		if e.principal(p) == 0 {
			m = 2
		}
	}
	actions := func(v any) bool {
		return slices.ContainsFunc(slowStrings(v), func(a string) bool {
			return slowGlob([]rune(strings.ToLower(a)), []rune(strings.ToLower(e.r.Action)))
		})
	}
	if a, ok := s["Action"]; ok && !actions(a) {
		m = 0
	}
	if a, ok := s["NotAction"]; ok && actions(a) {
		m = 0
	}
	hit, unresolved := false, false
	for _, p := range append(slowStrings(s["Resource"]), slowStrings(s["NotResource"])...) {
		eq, res := e.arnLike(p, e.r.Resource)
		hit = hit || eq
		unresolved = unresolved || !res
	}
	if _, ok := s["Resource"]; ok && !hit {
		m = 0
	}
	if _, ok := s["NotResource"]; ok && (hit || unresolved && e.effect == "Allow") {
		m = 0
	}
	if c, ok := s["Condition"].(map[string]any); ok {
		for op, keys := range c {
			for k, wants := range keys.(map[string]any) {
				if !e.condition(op, k, slowStrings(wants)) {
					m = 0
				}
			}
		}
	}
	return m
}

// slowDecide is the whole decision.
func slowDecide(r *policy.Request, s *slowSet) bool {
	deny := false
	strongest := func(docs []map[string]any) int {
		best := 0
		for _, d := range docs {
			e := &slow{r: r, version: "2008-10-17"}
			if v, ok := d["Version"].(string); ok {
				e.version = v
			}
			list, ok := d["Statement"].([]any)
			if !ok {
				list = []any{d["Statement"]}
			}
			for _, st := range list {
				m := e.statement(st.(map[string]any))
				if m > 0 && e.effect == "Deny" {
					deny = true
				} else {
					best = max(best, m)
				}
			}
		}
		return best
	}
	id, bound, sess, res := strongest(s.identity), strongest(s.boundary), strongest(s.session), strongest(s.resource)
	if deny {
		return false
	}
	if r.Caller.Federated != "" {
		return res == 3
	}
	inBounds := (s.boundary == nil || bound > 0) && (s.session == nil || sess > 0)
	identity := (s.full || id > 0) && inBounds
	if !s.same {
		return identity && res > 0
	}
	if s.must && res == 0 {
		return false
	}
	return res == 3 || res == 2 && inBounds || identity
}

type slowSet struct {
	identity, boundary, session, resource []map[string]any
	full, same, must                      bool
}
