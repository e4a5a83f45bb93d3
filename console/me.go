package console

import (
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-registry/berth/arn"
)

type meBody struct {
	Keys     []types.AccessKeyMetadata
	KeyPart  *part
	User     bool
	Current  string
	Accounts []account
	AccPart  *part
	Home     string
	NewKey   map[string]any
}

// account is one of the deployment.
type account struct {
	ID, Name, Alias     string
	CreatedAt, ClosedAt unixTime
}

// myself shows one's own keys.
func (c *Console) myself(q *request) (*page, error) {
	b := &meBody{User: q.me.Principal.Kind == arn.KindUser, Current: q.me.Principal.AccessKeyID}
	out, err := ask[iam.ListAccessKeysOutput](q.ctx, c.api, &iam.ListAccessKeysInput{})
	if b.KeyPart = c.part(q, err); err == nil {
		b.Keys = out.AccessKeyMetadata
	}
	return &page{Title: "My access keys", Section: "me", view: "me", Body: b}, nil
}

func (c *Console) changeMyself(q *request) (*page, error) {
	return c.submit(q, myForms, (*Console).myself)
}

// accounts lists the accounts to who may see them.
func (c *Console) accounts(q *request) (*page, error) {
	b := &meBody{Home: string(c.host.Home().Account)}
	var out struct{ Accounts []account }
	err := c.api.Berth(q.ctx, "ListAccounts", struct{}{}, &out)
	b.Accounts, b.AccPart = out.Accounts, c.part(q, err)
	return &page{Title: "Accounts", Section: "accounts", view: "accounts", Body: b}, nil
}

func (c *Console) changeAccounts(q *request) (*page, error) {
	if q.in("do") == "switch" {
		return c.switchAccount(q)
	}
	return c.submit(q, accountForms, (*Console).accounts)
}

var accountForms = forms{
	"create": {cli: "berth account create {id} --name {name}", in: call(func(q *request) any {
		in := map[string]any{"name": q.in("name")}
		if id := q.in("id"); id != "" {
			in["id"] = id
		}
		return berthCall{"CreateAccount", in}
	}), result: func(_ *Console, _ *request, out any) (*page, error) {
		return &page{Title: "A new account", Section: "accounts", view: "new-account", Body: &meBody{NewKey: out.(map[string]any)}}, nil
	}},
	"close": {text: "The account {id} was closed: nobody can act in it any more. What it owns stays.", to: "/accounts", cli: "berth account close {id}",
		in: func(q *request) (any, error) {
			if q.in("confirm") != q.in("id") {
				return nil, wrong("To close the account, type its id, %s.", q.in("id"))
			}
			return berthCall{"CloseAccount", map[string]any{"id": q.in("id")}}, nil
		}},
}

// switchAccount lets who keeps the accounts act as the root of one, in a session of its own.
func (c *Console) switchAccount(q *request) (*page, error) {
	var out struct{ AccessKeyID string }
	if err := c.api.Berth(q.ctx, "AssumeAccount", map[string]any{"id": q.in("id")}, &out); err != nil {
		return nil, err
	}
	token, err := c.identity.OpenBrowser(q.ctx, out.AccessKeyID, "")
	if err != nil {
		return nil, err
	}
	c.enter(q.w, q.Request, token, "account", "/")
	return nil, nil
}
