package console

import (
	"strings"

	"github.com/berth-registry/berth/identity"
)

// explanation is how a call was, or would be, decided.
type explanation struct {
	RequestID  string
	Time       unixTime
	Now        bool // the policies read are those of now
	Principal  string
	Allowed    bool
	Answers    []identity.Answer
	Missing    string
	Suggestion string
	Where      string
	SourceIP   string
	UserAgent  string
}

// First is the answer that was asked for, or that is in the way.
func (x *explanation) First() *identity.Answer {
	for i := range x.Answers {
		if x.Missing == "" || x.Answers[i].Action == x.Missing {
			return &x.Answers[i]
		}
	}
	return &identity.Answer{}
}

// explainBody is the form of questions about rights, and the answer.
type explainBody struct {
	Request, Principal, Actions, Resource string
	Answer                                *explanation
	Denials                               []explanation
	Part                                  *part
}

// explain answers who may do what, and why a call was denied.
func (c *Console) explain(q *request) (*page, error) {
	b := &explainBody{Request: q.in("request"), Principal: q.in("principal"), Actions: q.in("actions"), Resource: q.in("resource")}
	if b.Principal == "" {
		b.Principal = q.me.Principal.ARN
	}
	var in map[string]any
	switch {
	case b.Request != "":
		in = map[string]any{"requestId": b.Request}
	case b.Actions != "" && b.Resource != "":
		in = map[string]any{"principal": b.Principal, "actions": strings.Fields(b.Actions), "resource": b.Resource}
	}
	if in != nil {
		var out struct{ Explanation *explanation }
		err := c.api.Berth(q.ctx, "Explain", in, &out)
		b.Part, b.Answer = c.part(q, err), out.Explanation
		if isDenied(err) && b.Request != "" { // a further explanation would not be shown either
			b.Part = &part{Text: "You may not read explanations. Who keeps this account can: berth explain " + b.Request + " tells why, and what would allow it."}
		}
	}
	b.Denials = c.denials(q, 20)
	return &page{Title: "Explain", Section: "explain", view: "explain", Body: b}, nil
}

// denials are the last calls that were refused; who may not see them sees none.
func (c *Console) denials(q *request, n int) []explanation {
	var out struct{ Denials []explanation }
	if c.api.Berth(q.optional().ctx, "ListDenials", map[string]any{"maxResults": n}, &out) != nil {
		return nil
	}
	return out.Denials
}
