package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare"
	"github.com/berth-registry/berth/declare/entry"
)

// fleet is a deployment's accounts as package declare wants them: its own by the
// caller's keys, the others by what AssumeAccount gives.
type fleet struct {
	api     *client
	account arn.Account // the caller's
	mu      sync.Mutex
	keys    map[arn.Account]aws.Credentials
}

// assumedTime is for how long what AssumeAccount gives is used: a while less than it
// lasts.
const assumedTime = 50 * time.Minute

func newFleet(ctx context.Context, api *client) (*fleet, error) {
	account, err := api.account(ctx)
	if err != nil {
		return nil, err
	}
	return &fleet{api: api, account: arn.Account(account), keys: map[arn.Account]aws.Credentials{arn.Account(account): api.keys}}, nil
}

// backend is what plans are made with. Who may not list the accounts makes none.
func (f *fleet) backend(ctx context.Context, progress func(string, int, int)) (*declare.Backend, error) {
	b := &declare.Backend{Connect: f.connect, Ledger: f, Progress: progress}
	_, err := f.listAccounts(ctx)
	switch code := codeOf(err); {
	case err == nil:
		b.Accounts = accountList{f}
	case code != "AccessDeniedException":
		return nil, err
	}
	return b, nil
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// as returns a client that acts in an account and region.
func (f *fleet) as(ctx context.Context, p arn.Place) (*client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, ok := f.keys[p.Account]
	if !ok || keys.Expired() {
		var out struct{ AccessKeyID, SecretAccessKey, SessionToken string }
		if _, err := f.api.call(ctx, "AssumeAccount", map[string]any{"id": p.Account}, &out); err != nil {
			return nil, fmt.Errorf("these credentials are of account %s and may not act in account %s: %w", f.account, p.Account, err)
		}
		keys = aws.Credentials{AccessKeyID: out.AccessKeyID, SecretAccessKey: out.SecretAccessKey, SessionToken: out.SessionToken, CanExpire: true, Expires: time.Now().Add(assumedTime)}
		f.keys[p.Account] = keys
	}
	server := *f.api.server
	if p.Region != "" {
		server.Region = string(p.Region)
	}
	return &client{f.api.http, &server, keys}, nil
}

func (f *fleet) connect(ctx context.Context, p arn.Place) (declare.Clients, error) {
	c, err := f.as(ctx, p)
	if err != nil {
		return declare.Clients{}, err
	}
	cfg := aws.Config{Region: c.server.Region, BaseEndpoint: aws.String(c.server.Endpoint), HTTPClient: c.http, Credentials: credentials.StaticCredentialsProvider{Value: c.keys}}
	return declare.Clients{ECR: ecr.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg)}, nil
}

// List, Put and Delete are the ledger's.
func (f *fleet) List(ctx context.Context, p arn.Place) ([]entry.Entry, error) {
	c, err := f.as(ctx, p)
	if err != nil {
		return nil, err
	}
	var all []entry.Entry
	in := map[string]any{"accountWide": p.Region == ""}
	for {
		var out struct {
			Declarations []struct {
				Kind             entry.Kind
				Name             string
				Source, Module   string
				Line             int
				Spec             map[string]string
				Pending, Adopted bool
			}
			NextToken string
		}
		if _, err := c.call(ctx, "ListDeclarations", in, &out); err != nil {
			return nil, err
		}
		for _, d := range out.Declarations {
			all = append(all, entry.Entry{Key: entry.Key{Kind: d.Kind, Name: d.Name}, Source: d.Source, Module: d.Module, Line: d.Line, Spec: d.Spec, Pending: d.Pending, Adopted: d.Adopted})
		}
		if out.NextToken == "" {
			return all, nil
		}
		in["nextToken"] = out.NextToken
	}
}

// Put implements declare.Ledger.
func (f *fleet) Put(ctx context.Context, p arn.Place, source string, entries []entry.Entry, from []string) error {
	c, err := f.as(ctx, p)
	if err != nil {
		return err
	}
	list := make([]map[string]any, len(entries))
	for i, e := range entries {
		list[i] = map[string]any{"kind": e.Kind, "name": e.Name, "module": e.Module, "line": e.Line, "spec": e.Spec, "pending": e.Pending, "adopted": e.Adopted}
	}
	_, err = c.call(ctx, "PutDeclarations", map[string]any{"accountWide": p.Region == "", "source": source, "declarations": list, "from": from}, nil)
	return err
}

// Delete implements declare.Ledger.
func (f *fleet) Delete(ctx context.Context, p arn.Place, source string, keys []entry.Key) error {
	c, err := f.as(ctx, p)
	if err != nil {
		return err
	}
	list := make([]map[string]any, len(keys))
	for i, k := range keys {
		list[i] = map[string]any{"kind": k.Kind, "name": k.Name}
	}
	_, err = c.call(ctx, "DeleteDeclarations", map[string]any{"accountWide": p.Region == "", "source": source, "keys": list}, nil)
	return err
}

func (f *fleet) listAccounts(ctx context.Context) (map[arn.Account]string, error) {
	var out struct {
		Accounts []struct {
			ID   arn.Account
			Name string
		}
	}
	if _, err := f.api.call(ctx, "ListAccounts", map[string]any{}, &out); err != nil {
		return nil, err
	}
	names := map[arn.Account]string{}
	for _, a := range out.Accounts {
		names[a.ID] = a.Name
	}
	return names, nil
}

// accountList is the fleet as declare.Accounts.
type accountList struct{ *fleet }

// List implements declare.Accounts.
func (l accountList) List(ctx context.Context) ([]arn.Account, error) {
	names, err := l.listAccounts(ctx)
	var out []arn.Account
	for id := range names {
		out = append(out, id)
	}
	return out, err
}

// Create implements declare.Accounts.
func (l accountList) Create(ctx context.Context, id arn.Account, name string) error {
	_, err := l.api.call(ctx, "CreateAccount", map[string]any{"id": id, "name": name, "withoutKey": true}, nil)
	return err
}
