package gate

import (
	"context"
	"encoding/json"
	"sync"
)

// Exchange is a request as its protocol carries it: what a record tells of it beside
// the Call. A front end that decodes whole documents puts one into the context.
type Exchange struct {
	// Operation is the API's name of the request.
	Operation string
	// Params makes the request's parameters, nil for none. Secrets are left out.
	Params func() json.RawMessage
	// Early makes the answer where it is known before the change: then the record has it
	// from the start. nil: what Done is given.
	Early func() json.RawMessage

	mu       sync.Mutex
	recorded bool
	ended    []func(response json.RawMessage)
	response json.RawMessage
	done     bool
}

// WhenDone has f called once the request is answered, with what was answered, nil
// after an error. It marks the request as recorded.
func (e *Exchange) WhenDone(f func(response json.RawMessage)) {
	e.mu.Lock()
	e.recorded = true
	if !e.done {
		e.ended = append(e.ended, f)
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	f(e.response)
}

// Recorded marks the request as recorded.
func (e *Exchange) Recorded() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recorded = true
}

// Done ends the exchange. It reports whether a call of it was recorded; response is
// asked for only when somebody waits for it.
func (e *Exchange) Done(response func() json.RawMessage) (recorded bool) {
	e.mu.Lock()
	ended := e.ended
	if len(ended) > 0 && response != nil {
		e.response = response()
	}
	e.done, e.ended, recorded = true, nil, e.recorded
	e.mu.Unlock()
	for _, f := range ended {
		f(e.response)
	}
	return recorded
}

type exchangeKey struct{}

// WithExchange puts an exchange into the context.
func WithExchange(ctx context.Context, e *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, e)
}

// ExchangeFrom returns the context's exchange, or nil.
func ExchangeFrom(ctx context.Context) *Exchange {
	e, _ := ctx.Value(exchangeKey{}).(*Exchange)
	return e
}
