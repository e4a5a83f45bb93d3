package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/aws/smithy-go"
)

// catalogClient calls the catalog's API.
type catalogClient struct {
	*client
	token string
}

// catalog asks for an access token.
func (c *remote) catalog(ctx context.Context) (*catalogClient, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	var out struct{ AccessToken string }
	if _, err := api.call(ctx, "GetCatalogToken", map[string]any{}, &out); err != nil {
		return nil, err
	}
	return &catalogClient{api, out.AccessToken}, nil
}

// maxAnswer is the longest answer that is read, in bytes.
const maxAnswer = 512 << 20

// do sends a request below /v1/ and decodes the answer into out, unless that is nil.
func (c *catalogClient) do(ctx context.Context, method, path string, in, out any) (json.RawMessage, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.server.Endpoint+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "berth/"+versionText())
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the server at %s: %w", c.server.Endpoint, err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var e struct{ Error, Message string }
		if json.Unmarshal(reply, &e) != nil || e.Message == "" {
			return nil, fmt.Errorf("the server at %s answered %s", c.server.Endpoint, resp.Status)
		}
		return nil, &apiError{smithy.GenericAPIError{Code: e.Error, Message: e.Message}}
	}
	if out != nil {
		err = json.Unmarshal(reply, out)
	}
	return reply, err
}

// entity is one as the API shows it.
type entity struct {
	Identifier string         `json:"identifier"`
	Title      string         `json:"title"`
	Blueprint  string         `json:"blueprint"`
	Team       []string       `json:"team"`
	Properties map[string]any `json:"properties"`
	Relations  map[string]any `json:"relations"`
}

// search finds all entities of a blueprint that fit rules, page by page.
func (c *catalogClient) search(ctx context.Context, blueprint string, rules ...map[string]any) ([]entity, error) {
	var out []entity
	in := map[string]any{"limit": 1000}
	if len(rules) > 0 {
		in["query"] = map[string]any{"combinator": "and", "rules": rules}
	}
	for {
		var page struct {
			Entities []entity
			Next     string
		}
		if _, err := c.do(ctx, http.MethodPost, "blueprints/"+url.PathEscape(blueprint)+"/entities/search", in, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Entities...)
		if page.Next == "" {
			return out, nil
		}
		in["from"] = page.Next
	}
}

// names are a relation's value as a list.
func names(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// word is a property as a line shows it.
func word(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return v
	}
	return value(v)
}
