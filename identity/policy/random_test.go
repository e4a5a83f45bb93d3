package policy_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-registry/berth/identity/policy"
)

// maker makes random policies and requests out of few words, so that they often
// meet.
type maker struct{ *rand.Rand }

func pick[T any](m maker, list ...T) T { return list[m.IntN(len(list))] }

func some[T any](m maker, most int, f func() T) []T {
	out := []T{}
	for range 1 + m.IntN(most) {
		out = append(out, f())
	}
	return out
}

const (
	alice   = "arn:aws:iam::111111111111:user/alice"
	role    = "arn:aws:iam::111111111111:role/ci/builder"
	session = "arn:aws:sts::111111111111:assumed-role/builder/run-1"
	idp     = "arn:aws:iam::111111111111:oidc-provider/idp.example"
)

func (m maker) action() string {
	return pick(m, "ecr:PutImage", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "sts:AssumeRole", "iam:PassRole")
}

func (m maker) actionPattern() string {
	return pick(m, "*", "ecr:*", "ECR:putimage", "ecr:*Image", "ecr:Batch?etImage", "sts:Assume*", "ecr:Get*", m.action())
}

func (m maker) resource() string {
	return pick(m, "*", "arn:aws:ecr:eu-west-1:111111111111:repository/team/app", "arn:aws:ecr:us-east-1:222222222222:repository/alice/x",
		"arn:aws:iam::111111111111:role/ci/builder", "arn:aws:ecr:eu-west-1:111111111111:repository/a:b")
}

func (m maker) resourcePattern() string {
	return pick(m, "*", "arn:aws:ecr:*:*:repository/*", "arn:aws:ecr:eu-west-1:111111111111:repository/team/*", "arn:*:*:*:*:*",
		"arn:aws:ecr:*:111111111111:repository/${aws:username}/*", "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team, 'team'}/?pp",
		"arn:aws:iam::111111111111:role/ci/*", "arn:aws:ecr:*:*:repository/a${*}b", "arn:aws:ecr:??-*-1:*:*/team/app", m.resource())
}

func (m maker) text() string {
	return pick(m, "a", "b", "team", "alice", "Alice", "*", "te?m", "a*", "${aws:username}", "${k, 'a'}", "${*}", "", "é?", "ALICE")
}

// keys and the values that requests have for them.
func (m maker) have() map[string][]string {
	v := map[string][]string{}
	put := func(k string, f func() string) {
		switch m.IntN(4) {
		case 0:
			v[k] = []string{f()}
		case 1:
			v[k] = some(m, 3, f)
		case 2:
			if m.IntN(4) == 0 {
				v[k] = []string{}
			}
		}
	}
	text := func() string { return pick(m, "a", "b", "team", "alice", "Alice", "é1", "", "*") }
	put("aws:username", text)
	put("aws:principaltag/team", text)
	put("k", text)
	put("list", text)
	put("n", func() string { return pick(m, "1", "2", "2.0", "10", "-1", "x") })
	put("t", func() string { return pick(m, "2026-01-01T00:00:00Z", "2026-06-01", "1767225600", "x") })
	put("flag", func() string { return pick(m, "true", "false", "TRUE") })
	put("ip", func() string { return pick(m, "10.0.0.1", "10.1.2.3", "::1", "::ffff:10.0.0.1", "x") })
	put("arn", func() string { return pick(m, alice, role, "x") })
	put("bin", func() string { return pick(m, "QUI=", "QQ==", "!") })
	return v
}

func (m maker) condition() (op, key string, value any) {
	suffix := pick(m, "", "", "IfExists")
	set := pick(m, "", "", "", "ForAllValues:", "ForAnyValue:")
	values := func(f func() string) any {
		if m.IntN(2) == 0 {
			return f()
		}
		return some(m, 3, f)
	}
	number := func() any { return pick(m, any(1), any("2"), any(2.5), any([]any{1, "10"})) }
	switch m.IntN(8) {
	case 0:
		return set + "Null", pick(m, "K", "list", "n"), pick(m, any("true"), any(false), any([]any{"true", "false"}))
	case 1:
		return set + pick(m, "Numeric") + pick(m, "Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals") + suffix, "n", number()
	case 2:
		return set + "Date" + pick(m, "Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals") + suffix, "t",
			pick(m, any("2026-01-01T00:00:00Z"), any("2026-03-01"), any(1767225600))
	case 3:
		return set + "Bool" + suffix, "flag", pick(m, any(true), any("False"), any([]any{"true", false}))
	case 4:
		return set + pick(m, "IpAddress", "NotIpAddress") + suffix, "ip", values(func() string { return pick(m, "10.0.0.0/16", "10.0.0.1", "::1", "::/0") })
	case 5:
		return set + pick(m, "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike") + suffix, "arn",
			values(func() string {
				return pick(m, "*", alice, "arn:aws:iam::*:user/*", "arn:aws:iam::111111111111:role/${k}", "")
			})
	case 6:
		return set + "BinaryEquals" + suffix, "bin", values(func() string { return pick(m, "QUI=", "QQ==") })
	}
	return set + "String" + pick(m, "Equals", "NotEquals", "Like", "NotLike", "EqualsIgnoreCase", "NotEqualsIgnoreCase") + suffix,
		pick(m, "K", "list", "aws:PrincipalTag/Team", "aws:username"), values(m.text)
}

func (m maker) principal() any {
	if m.IntN(4) == 0 {
		return "*"
	}
	name := func() string {
		return pick(m, alice, role, session, "111111111111", "arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root", "*")
	}
	p := map[string]any{}
	if m.IntN(5) > 0 {
		p["AWS"] = some(m, 2, name)
	}
	if m.IntN(4) == 0 || len(p) == 0 {
		p["Federated"] = pick(m, idp, "accounts.example")
	}
	return p
}

func (m maker) policy(kind policy.Kind) string {
	statements := some(m, 3, func() map[string]any {
		s := map[string]any{"Effect": pick(m, "Allow", "Allow", "Allow", "Deny")}
		not := func() string { return pick(m, "", "", "", "", "Not") }
		s[not()+"Action"] = some(m, 2, m.actionPattern)
		if kind == policy.Identity || kind == policy.Registry {
			s[not()+"Resource"] = some(m, 2, m.resourcePattern)
		}
		if kind != policy.Identity {
			s[not()+"Principal"] = m.principal()
		}
		if m.IntN(2) == 0 {
			c := map[string]map[string]any{}
			for range 1 + m.IntN(2) {
				op, key, v := m.condition()
				if c[op] == nil {
					c[op] = map[string]any{}
				}
				c[op][key] = v
			}
			s["Condition"] = c
		}
		return s
	})
	d := map[string]any{"Version": pick(m, "2012-10-17", "2012-10-17", "2008-10-17"), "Statement": statements}
	if m.IntN(8) == 0 {
		delete(d, "Version")
	}
	if len(statements) == 1 && m.IntN(2) == 0 {
		d["Statement"] = statements[0]
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (m maker) policies(kind policy.Kind, most int) (fast []policy.Attached, slow []map[string]any, texts []string, err error) {
	for range m.IntN(most + 1) {
		text := m.policy(kind)
		d, err := policy.Parse(text, kind)
		if err != nil {
			return nil, nil, []string{text}, err
		}
		fast, slow, texts = append(fast, policy.Attached{Doc: d}), append(slow, slowDoc(text)), append(texts, text)
	}
	return fast, slow, texts, nil
}

// TestEvaluatorsAgree compares the package with the slow evaluator on random
// policies and requests. BERTH_POLICY_PAIRS sets how many; CI takes the default.
func TestEvaluatorsAgree(t *testing.T) {
	pairs := 1_000_000
	if testing.Short() || raceEnabled {
		pairs = 50_000
	}
	if s := os.Getenv("BERTH_POLICY_PAIRS"); s != "" {
		pairs, _ = strconv.Atoi(s)
	}
	var allowed, total atomic.Int64
	var work sync.WaitGroup
	cpus := runtime.GOMAXPROCS(0)
	for cpu := range cpus {
		work.Go(func() {
			m := maker{rand.New(rand.NewPCG(uint64(cpu), 7))}
			for total.Load() < int64(pairs) && !t.Failed() {
				a, n := onePolicySet(t, m)
				allowed.Add(a)
				total.Add(n)
			}
		})
	}
	work.Wait()
	t.Logf("%d pairs, %d allowed", total.Load(), allowed.Load())
	if a := float64(allowed.Load()) / float64(total.Load()); a < 0.05 || a > 0.95 {
		t.Errorf("%.2f of the pairs were allowed: the pairs prove little", a)
	}
}

// onePolicySet makes a set of policies and tries some requests on it.
func onePolicySet(t *testing.T, m maker) (allowed, total int64) {
	var fast policy.Set
	var slow slowSet
	var texts [4][]string
	var errs [4]error
	fast.Identity, slow.identity, texts[0], errs[0] = m.policies(policy.Identity, 2)
	if m.IntN(4) == 0 {
		fast.HasBoundary = true
		fast.Boundary, slow.boundary, texts[1], errs[1] = m.policies(policy.Identity, 1)
		slow.boundary = append([]map[string]any{}, slow.boundary...)
	}
	if m.IntN(4) == 0 {
		fast.HasSession = true
		fast.Session, slow.session, texts[2], errs[2] = m.policies(policy.Identity, 2)
		slow.session = append([]map[string]any{}, slow.session...)
	}
	fast.Resource, slow.resource, texts[3], errs[3] = m.policies(pick(m, policy.Repository, policy.Registry, policy.Trust), 2)
	for i, err := range errs {
		if err != nil {
			t.Errorf("%v\n%s", err, texts[i])
			return 0, 0
		}
	}
	fast.SameAccount, fast.ResourceMust, fast.Full = m.IntN(3) > 0, m.IntN(4) == 0, m.IntN(8) == 0
	slow.same, slow.must, slow.full = fast.SameAccount, fast.ResourceMust, fast.Full
	for range 10 {
		values := m.have()
		r := &policy.Request{Action: m.action(), Resource: m.resource(), Values: func(k string) []string { return values[k] },
			Caller: pick(m, policy.Caller{Account: "111111111111", ARN: alice, ID: "AIDAAAAAAAAAAAAAAAAA"},
				policy.Caller{Account: "111111111111", ARN: session, Role: role, ID: "AROAAAAAAAAAAAAAAAAA"},
				policy.Caller{Account: "111111111111", ARN: "arn:aws:iam::111111111111:root", ID: "111111111111"},
				policy.Caller{Federated: idp})}
		got, want := policy.Decide(r, &fast).Allowed, slowDecide(r, &slow)
		if got != want {
			t.Errorf("package says %v, the slow evaluator %v\n%+v %s %s %v\nidentity %s\nboundary %v %s\nsession %v %s\nresource %s\nsame %v must %v full %v", got, want,
				r.Caller, r.Action, r.Resource, values, strings.Join(texts[0], "\n  "), fast.HasBoundary, texts[1], fast.HasSession, texts[2], texts[3],
				fast.SameAccount, fast.ResourceMust, fast.Full)
			return
		}
		total++
		if got {
			allowed++
		}
	}
	return allowed, total
}
