package egress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// callTime is how long a call may take, from connecting to the end of the answer.
const callTime = 5 * time.Second

// Answer is what a call was answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // at most limit bytes of it
}

// Call sends a request and reads at most limit bytes of the answer. It follows no
// redirect: that is an answer, too. ErrRefused.
func (c *Client) Call(ctx context.Context, method, address string, header http.Header, body []byte, limit int64) (*Answer, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", ErrRefused)
	}
	if err := c.check(u); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = header
	once := *c.http
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	return &Answer{resp.StatusCode, resp.Header, b}, err
}
