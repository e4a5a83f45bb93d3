package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/internal/egress"
	"github.com/berth-registry/berth/internal/limit"
)

// cloudEvents is the content type that asks for events in the form of the CloudEvents
// specification (1.0, structured mode).
const cloudEvents = "application/cloudevents+json"

// webhookReceiver calls API destinations.
type webhookReceiver struct {
	endpoint func(ctx context.Context, arn string) (*bus.Destination, *bus.Connection, error)
	client   *egress.Client
	now      func() time.Time

	mu     sync.Mutex
	tokens map[string]token          // of OAuth, by connection
	rates  map[string]*limit.Limiter // by destination
}

type token struct {
	text  string
	until time.Time
}

func newWebhookReceiver(endpoint func(context.Context, string) (*bus.Destination, *bus.Connection, error), c *egress.Client) *webhookReceiver {
	return &webhookReceiver{endpoint: endpoint, client: c, now: time.Now, tokens: map[string]token{}, rates: map[string]*limit.Limiter{}}
}

// Deliver implements bus.Receiver.
func (w *webhookReceiver) Deliver(ctx context.Context, d *bus.Delivery) (string, error) {
	dest, conn, err := w.endpoint(ctx, d.Receiver)
	if bus.CodeOf(err) == bus.NotFound {
		return "", &bus.Final{Err: err}
	}
	if err != nil {
		return "", err
	}
	if err := w.pace(ctx, dest); err != nil {
		return "", err
	}
	address, err := target(dest, conn, d.Target.HTTP)
	if err != nil {
		return "", &bus.Final{Err: err}
	}
	header, body := w.message(d, conn)
	if err := w.authorise(ctx, conn, header, d.ID, body); err != nil {
		return "", err
	}
	answer, err := w.client.Call(ctx, dest.Method, address, header, body, 4<<10)
	switch {
	case errors.Is(err, egress.ErrRefused):
		return "", &bus.Final{Err: err}
	case err != nil:
		return "", err
	}
	run := answer.Header.Get("X-Request-Id")
	failed := fmt.Errorf("the destination answered %d: %.200s", answer.Status, answer.Body)
	switch s := answer.Status; {
	case s >= 200 && s < 300:
		return run, nil
	case s == http.StatusUnauthorized && conn.Auth == bus.OAuth:
		w.mu.Lock()
		delete(w.tokens, conn.ARN())
		w.mu.Unlock()
		return run, failed
	case s == http.StatusTooManyRequests || s == http.StatusConflict || s == http.StatusRequestTimeout || s >= 500:
		return run, failed
	}
	return run, &bus.Final{Err: failed}
}

// pace waits until the destination may be called again.
func (w *webhookReceiver) pace(ctx context.Context, d *bus.Destination) error {
	w.mu.Lock()
	key := d.ARN() + strconv.Itoa(d.Rate)
	l := w.rates[key]
	if l == nil {
		if len(w.rates) > 1000 {
			clear(w.rates)
		}
		l = limit.New(d.Rate, time.Second, 1, w.now)
		w.rates[key] = l
	}
	w.mu.Unlock()
	for {
		ok, wait := l.Take("")
		if ok {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// target is the address to call: the endpoint with its path parameters, and the queries
// of the rule's target and the connection, which wins.
func target(d *bus.Destination, c *bus.Connection, h *bus.HTTP) (string, error) {
	if h == nil {
		h = &bus.HTTP{}
	}
	address, n := d.Endpoint, strings.Count(d.Endpoint, "*")
	if n != len(h.Path) {
		return "", fmt.Errorf("the endpoint %s takes %d path parameters, the target gives %d", d.Endpoint, n, len(h.Path))
	}
	for _, p := range h.Path {
		address = strings.Replace(address, "*", url.PathEscape(p), 1)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	q := u.Query()
	for k, v := range h.Query {
		q.Set(k, v)
	}
	for _, p := range c.Query {
		q.Set(p.Key, p.Value)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// message is what is sent: the target's headers, the connection's, which win, and the
// input.
func (w *webhookReceiver) message(d *bus.Delivery, c *bus.Connection) (http.Header, []byte) {
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "User-Agent": {"Berth"}}
	if d.Target.HTTP != nil {
		for k, v := range d.Target.HTTP.Headers {
			if !strings.ContainsAny(k+v, "\r\n\x00") {
				header.Set(k, v)
			}
		}
	}
	for _, p := range c.Headers {
		header.Set(p.Key, p.Value)
	}
	body := d.Input
	if strings.HasPrefix(header.Get("Content-Type"), cloudEvents) {
		body = asCloudEvent(body)
	}
	if len(c.Body) > 0 {
		var m map[string]any
		if json.Unmarshal(body, &m) == nil && m != nil {
			for _, p := range c.Body {
				m[p.Key] = p.Value
			}
			if b, err := json.Marshal(m); err == nil {
				body = b
			}
		}
	}
	return header, body
}

// asCloudEvent turns an event's envelope into CloudEvents' form. What is no envelope
// stays as it is.
func asCloudEvent(body []byte) []byte {
	var e struct {
		ID, Source, Account, Region, Time string
		DetailType                        string `json:"detail-type"`
		Resources                         []string
		Detail                            json.RawMessage
	}
	if json.Unmarshal(body, &e) != nil || e.ID == "" || e.Source == "" {
		return body
	}
	m := map[string]any{"specversion": "1.0", "id": e.ID, "source": e.Source, "type": e.DetailType, "time": e.Time, "datacontenttype": "application/json", "data": e.Detail,
		"account": e.Account, "region": e.Region}
	if len(e.Resources) > 0 {
		m["subject"] = e.Resources[0]
	}
	b, err := json.Marshal(m)
	if err != nil {
		return body
	}
	return b
}

// authorise adds what proves who calls. A connection whose API key is named
// Webhook-Signature signs the call (Standard Webhooks): the key does not travel.
func (w *webhookReceiver) authorise(ctx context.Context, c *bus.Connection, h http.Header, id string, body []byte) error {
	switch {
	case c.Auth == bus.Basic:
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Secret)))
	case c.Auth == bus.APIKey && strings.EqualFold(c.User, bus.Signature):
		at := strconv.FormatInt(w.now().Unix(), 10)
		h.Set("Webhook-Id", id)
		h.Set("Webhook-Timestamp", at)
		h.Set("Webhook-Signature", "v1,"+sign(c.Secret, id, at, body))
	case c.Auth == bus.APIKey:
		h.Set(c.User, c.Secret)
	default:
		t, err := w.token(ctx, c)
		if err != nil {
			return err
		}
		h.Set("Authorization", "Bearer "+t)
	}
	return nil
}

// sign is the signature of a message: of its id, its time and its body.
func sign(secret, id, at string, body []byte) string {
	key := []byte(secret)
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			key = b
		}
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// token asks the authorization endpoint of a connection for a token, and keeps it for
// its time.
func (w *webhookReceiver) token(ctx context.Context, c *bus.Connection) (string, error) {
	w.mu.Lock()
	t := w.tokens[c.ARN()]
	w.mu.Unlock()
	if w.now().Before(t.until) {
		return t.text, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.User}, "client_secret": {c.Secret}}
	method := c.Method
	if method == "" {
		method = http.MethodPost
	}
	a, err := w.client.Call(ctx, method, c.Endpoint, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}, []byte(form.Encode()), 64<<10)
	if errors.Is(err, egress.ErrRefused) {
		return "", &bus.Final{Err: fmt.Errorf("the authorization endpoint: %w", err)}
	}
	if err != nil {
		return "", fmt.Errorf("the authorization endpoint: %w", err)
	}
	var reply struct {
		Token   string  `json:"access_token"`
		Expires float64 `json:"expires_in"`
	}
	if a.Status != http.StatusOK || json.Unmarshal(a.Body, &reply) != nil || reply.Token == "" || strings.ContainsAny(reply.Token, "\r\n") {
		return "", fmt.Errorf("the authorization endpoint answered %d without a token", a.Status)
	}
	life := time.Duration(min(max(reply.Expires, 60), 86400)) * time.Second
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tokens) > 1000 {
		clear(w.tokens)
	}
	w.tokens[c.ARN()] = token{reply.Token, w.now().Add(life - 30*time.Second)}
	return reply.Token, nil
}
