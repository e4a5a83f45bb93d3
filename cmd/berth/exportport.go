package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/secret"
)

type exportPortCmd struct {
	remote
	BaseURL       string        `required:"" name:"base-url" env:"PORT_BASE_URL" placeholder:"URL" help:"Where Port's API is, without /v1."`
	ClientID      string        `required:"" name:"client-id" env:"PORT_CLIENT_ID" placeholder:"ID" help:"The client's id there; PORT_CLIENT_SECRET in the environment is its secret."`
	CreateMissing bool          `name:"create-missing" help:"Have entities made there that relations name and that do not exist."`
	Watch         bool          `help:"Go on, and send what changes."`
	Interval      time.Duration `default:"5s" help:"How often --watch looks for changes."`
}

func (exportPortCmd) Help() string {
	return `Sends the entities that Berth has made of repositories and images to a Port account, or to any server that speaks its API. The
blueprints that are missing there are made; entities that were sent before and are no longer here are deleted there. What
other integrations made is left alone.

Examples:
  PORT_CLIENT_ID=... PORT_CLIENT_SECRET=... berth export port --base-url https://port.example.com
  berth export port --base-url https://port.example.com --watch

Exit codes: 0 everything was sent, 1 failure, or something was refused there.`
}

// Limits of Port's bulk calls.
const (
	bulkUpsert = 20
	bulkDelete = 100
)

// portTarget is the API that entities are sent to.
type portTarget struct {
	http      *http.Client
	base      string
	id        string
	secret    secret.String
	agent     string
	token     string
	expires   time.Time
	createNew bool
}

// portError is a refusal of the other side.
type portError struct {
	status        int
	code, message string
}

func (e *portError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

// call sends a request, with a token that is renewed before its time is over.
func (p *portTarget) call(ctx context.Context, method, path string, in, out any) error {
	if path != "auth/access_token" && time.Now().After(p.expires) {
		var t struct {
			AccessToken string
			ExpiresIn   float64
		}
		if err := p.call(ctx, http.MethodPost, "auth/access_token", map[string]string{"clientId": p.id, "clientSecret": p.secret.Reveal()}, &t); err != nil {
			return fmt.Errorf("log in at %s: %w", p.base, err)
		}
		p.token, p.expires = t.AccessToken, time.Now().Add(time.Duration(t.ExpiresIn)*time.Second-time.Minute)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(p.base, "/")+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", p.agent)
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var e struct{ Error, Message string }
		if json.Unmarshal(reply, &e) != nil {
			e.Message = "no answer of the API"
		}
		return &portError{resp.StatusCode, e.Error, e.Message}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(reply, out)
}

// Run sends once, or for as long as it is left to.
func (c *exportPortCmd) Run(e *env) error {
	clientSecret := secret.String(os.Getenv("PORT_CLIENT_SECRET"))
	if clientSecret == "" {
		return errors.New("PORT_CLIENT_SECRET is not set: it is the secret of --client-id")
	}
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	account, err := api.account(e.ctx)
	if err != nil {
		return err
	}
	x := &portExport{c: c, e: e, sent: map[string][sha256.Size]byte{}, account: account,
		to: &portTarget{http: &http.Client{Timeout: 30 * time.Second}, base: c.BaseURL, id: c.ClientID, secret: clientSecret, createNew: c.CreateMissing,
			agent: "berth-exporter/1 (accountid/" + account + ")"}}
	for {
		if err := x.round(e.ctx); err != nil && (!c.Watch || e.ctx.Err() != nil) {
			return err
		} else if err != nil {
			fmt.Fprintln(e.errOut, "berth:", err)
		}
		if !c.Watch {
			if x.refused > 0 {
				return exitError(1)
			}
			return nil
		}
		select {
		case <-e.ctx.Done():
			return nil
		case <-time.After(c.Interval):
		}
	}
}

// portExport is an export that remembers what it has sent.
type portExport struct {
	c       *exportPortCmd
	e       *env
	to      *portTarget
	account string
	sent    map[string][sha256.Size]byte // blueprint and identifier
	ready   []string                     // blueprints that are there
	cleaned bool
	refused int
}

// ours selects the entities that Berth made.
func ours() map[string]any {
	return map[string]any{"property": "$datasource", "operator": "beginsWith", "value": catalog.OwnSource}
}

// round sends what has changed since the last one.
func (x *portExport) round(ctx context.Context) error {
	api, err := x.c.catalog(ctx) // its token's time is shorter than a watch may be
	if err != nil {
		return err
	}
	var found struct{ Entities []map[string]any }
	path := "entities/search?exclude_calculated_properties=true"
	if _, err := api.do(ctx, http.MethodPost, path, map[string]any{"combinator": "and", "rules": []any{ours()}}, &found); err != nil {
		return err
	}
	byBlueprint, here := map[string][]map[string]any{}, map[string]bool{}
	for _, one := range found.Entities {
		blueprint, id := word(one["blueprint"]), word(one["identifier"])
		here[blueprint+" "+id] = true
		doc := map[string]any{"identifier": id, "title": one["title"], "properties": one["properties"], "relations": one["relations"], "team": one["team"]}
		text, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		if x.sent[blueprint+" "+id] != sum {
			doc["sum"] = sum
			byBlueprint[blueprint] = append(byBlueprint[blueprint], doc)
		}
	}
	created, failed := 0, 0
	for _, b := range x.order(byBlueprint) {
		if err := x.blueprint(ctx, api, b); err != nil {
			return err
		}
		n, bad, err := x.send(ctx, b, byBlueprint[b])
		if err != nil {
			return err
		}
		created, failed = created+n, failed+bad
	}
	deleted, err := x.clean(ctx, here)
	if err != nil {
		return err
	}
	x.refused = failed
	if created+failed+deleted > 0 || !x.c.Watch {
		fmt.Fprintf(x.e.out, "%d entities sent, %d deleted, %d refused\n", created, deleted, failed)
	}
	return nil
}

// order has repositories before images, whose relations name them.
func (x *portExport) order(m map[string][]map[string]any) []string {
	var out []string
	for b := range m {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(b, a) })
	return out
}

// blueprint makes a blueprint there that is missing, and those that it is related to.
func (x *portExport) blueprint(ctx context.Context, api *catalogClient, id string) error {
	if slices.Contains(x.ready, id) {
		return nil
	}
	x.ready = append(x.ready, id)
	err := x.to.call(ctx, http.MethodGet, "blueprints/"+url.PathEscape(id), nil, nil)
	var refusal *portError
	if err == nil || !errors.As(err, &refusal) || refusal.status != http.StatusNotFound {
		return err
	}
	var out struct{ Blueprint map[string]any }
	if _, err := api.do(ctx, http.MethodGet, "blueprints/"+url.PathEscape(id), nil, &out); err != nil {
		return err
	}
	relations, _ := out.Blueprint["relations"].(map[string]any)
	for _, r := range relations {
		target, _ := r.(map[string]any)["target"].(string)
		if err := x.blueprint(ctx, api, target); err != nil {
			return err
		}
	}
	for _, k := range []string{"createdAt", "createdBy", "updatedAt", "updatedBy"} {
		delete(out.Blueprint, k)
	}
	return x.to.call(ctx, http.MethodPost, "blueprints", out.Blueprint, nil)
}

// send upserts entities, twenty at a time. What is refused is told and tried again in the
// next round.
func (x *portExport) send(ctx context.Context, blueprint string, list []map[string]any) (sent, refused int, err error) {
	path := "blueprints/" + url.PathEscape(blueprint) + "/entities/bulk?upsert=true&merge=true"
	if x.c.CreateMissing {
		path += "&create_missing_related_entities=true"
	}
	s := newScreen(x.e, "never")
	defer s.clear()
	for done := 0; done < len(list); {
		batch := list[done:min(done+bulkUpsert, len(list))]
		var out struct {
			Errors []struct {
				Index               int
				Identifier, Message string
			}
		}
		docs := make([]map[string]any, len(batch))
		for i, d := range batch {
			docs[i] = map[string]any{}
			for k, v := range d {
				if k != "sum" {
					docs[i][k] = v
				}
			}
		}
		if err := x.to.call(ctx, http.MethodPost, path, map[string]any{"entities": docs}, &out); err != nil {
			return sent, refused, err
		}
		bad := map[int]bool{}
		for _, e := range out.Errors {
			bad[e.Index] = true
			fmt.Fprintf(x.e.errOut, "%s %s: %s\n", blueprint, e.Identifier, e.Message)
		}
		for i, d := range batch {
			if sum, ok := d["sum"].([sha256.Size]byte); ok && !bad[i] {
				x.sent[blueprint+" "+word(d["identifier"])] = sum
				sent++
			}
		}
		refused += len(bad)
		done += len(batch)
		s.progress("sending "+blueprint, done, len(list))
	}
	return sent, refused, nil
}

// clean deletes there what was sent and is no longer here: at first by asking what this
// exporter has sent ever, then by what is remembered.
func (x *portExport) clean(ctx context.Context, here map[string]bool) (int, error) {
	gone := map[string][]string{}
	if !x.cleaned {
		var next any
		for {
			var out struct {
				Entities []struct{ Identifier, Blueprint string }
				Next     any
			}
			in := map[string]any{"datasource_prefix": "berth-exporter/", "datasource_suffix": "(accountid/" + x.account + ")", "limit": 1000}
			if next != nil {
				in["from"] = next
			}
			if err := x.to.call(ctx, http.MethodPost, "blueprints/entities/datasource-entities", in, &out); err != nil {
				return 0, err
			}
			for _, e := range out.Entities {
				if !here[e.Blueprint+" "+e.Identifier] {
					gone[e.Blueprint] = append(gone[e.Blueprint], e.Identifier)
				}
			}
			if next = out.Next; next == nil {
				break
			}
		}
	}
	for k := range x.sent {
		if blueprint, id, _ := strings.Cut(k, " "); !here[k] && !slices.Contains(gone[blueprint], id) {
			gone[blueprint] = append(gone[blueprint], id)
		}
	}
	n := 0
	for blueprint, ids := range gone {
		for len(ids) > 0 {
			batch := ids[:min(bulkDelete, len(ids))]
			ids = ids[len(batch):]
			if err := x.to.call(ctx, http.MethodPost, "blueprints/"+url.PathEscape(blueprint)+"/bulk/entities/delete", map[string]any{"entities": batch}, nil); err != nil {
				return n, err
			}
			for _, id := range batch {
				delete(x.sent, blueprint+" "+id)
			}
			n += len(batch)
		}
	}
	x.cleaned = true
	return n, nil
}
