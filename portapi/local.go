package portapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/aws/smithy-go"
)

// Call performs a request of this process: path is what comes after /v1/, encoded, in and
// out are JSON documents, either of which may be nil. ctx holds the caller, who has been
// authenticated. Its errors are smithy.APIError where the caller caused them.
func (s *Service) Call(ctx context.Context, method, path string, in, out any) error {
	body := []byte{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	got, err := s.serve(r)
	if err != nil {
		e := s.explain(r, err)
		return &smithy.GenericAPIError{Code: e.code, Message: e.message}
	}
	if out == nil {
		return nil
	}
	b, err := json.Marshal(got.body)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}
