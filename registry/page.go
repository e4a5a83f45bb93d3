package registry

// PageToken makes the token for what follows key in the results of query, a text
// that differs for every different request (operation, registry, filters).
func (r *Registry) PageToken(query string, key any) string { return r.pages.Token(query, key) }

// OpenPageToken reads a token back into key: PageInvalid when it is not one, or
// another query's. "" leaves key as it is.
func (r *Registry) OpenPageToken(query, token string, key any) error {
	if err := r.pages.Untoken(query, token, key); err != nil {
		return fail(PageInvalid, "Invalid parameter at 'nextToken' failed to satisfy constraint: 'The token was not made for this request'")
	}
	return nil
}
