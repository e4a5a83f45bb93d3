package secret

import (
	"encoding/base64"
	"encoding/json"
)

// maxToken is the longest token that Untoken looks at, in bytes.
const maxToken = 8192

// Token seals a value as text, such as the last key of a page: it is bound to
// query, so that it fits no other, and survives inserts and deletes between pages.
func (b *Box) Token(query string, value any) string {
	plain, err := json.Marshal(value)
	if err != nil {
		panic(err) // keys are strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(b.Seal(plain, query))
}

// Untoken reads a token of the same query back into value: ErrSealed. "" leaves
// value as it is.
func (b *Box) Untoken(query, token string, value any) error {
	if token == "" {
		return nil
	}
	if len(token) > maxToken {
		return ErrSealed
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return ErrSealed
	}
	plain, err := b.Open(sealed, query)
	if err != nil {
		return err
	}
	if json.Unmarshal(plain, value) != nil {
		return ErrSealed
	}
	return nil
}
