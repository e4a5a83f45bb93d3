package registry

import (
	"encoding/base64"
	"encoding/json"
)

// Page tokens hold the last key of a page, sealed and bound to the query, so that
// they survive inserts and deletes between pages and fit no other query.

const maxPageToken = 4096

// PageToken makes the token for what follows key in the results of query, a text
// that differs for every different request (operation, registry, filters).
func (r *Registry) PageToken(query string, key any) string {
	b, err := json.Marshal(key)
	if err != nil {
		panic(err) // keys are strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(r.pages.Seal(b, query))
}

// OpenPageToken reads a token back into key: PageInvalid when it is not one, or
// another query's. "" leaves key as it is.
func (r *Registry) OpenPageToken(query, token string, key any) error {
	if token == "" {
		return nil
	}
	bad := fail(PageInvalid, "Invalid parameter at 'nextToken' failed to satisfy constraint: 'The token was not made for this request'")
	if len(token) > maxPageToken {
		return bad
	}
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return bad
	}
	plain, err := r.pages.Open(sealed, query)
	if err != nil {
		return bad
	}
	if err := json.Unmarshal(plain, key); err != nil {
		return bad
	}
	return nil
}
