package console_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestLive: what changes between the making of a page and the opening of its stream, or while
// a stream is interrupted, is told, and only that.
func TestLive(t *testing.T) {
	s := newSite(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(s.base+"/signin", url.Values{"with": {"key"}, "key": {s.s.Env["AWS_ACCESS_KEY_ID"]}, "secret": {s.s.Env["AWS_SECRET_ACCESS_KEY"]}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	session := resp.Cookies()[0]
	get := func(ctx context.Context, path, last string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(session)
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	mark := func() string {
		t.Helper()
		resp := get(t.Context(), "/repositories", "")
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`data-stream="changes" data-mark="(\d+)"`).FindSubmatch(b)
		if m == nil {
			t.Fatalf("a page without a mark: %s", b)
		}
		return string(m[1])
	}
	// told is the id of the first event within a time, "" when there is none.
	told := func(since, last string, within time.Duration) (id string) {
		t.Helper()
		ctx, stop := context.WithTimeout(t.Context(), within)
		defer stop()
		resp := get(ctx, "/live?topic=changes&since="+since, last)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if after, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = after
			}
			if lines.Text() == "event: changed" {
				return id
			}
		}
		return ""
	}
	before := mark()
	s.repository("live/one")
	first := told(before, "", 10*time.Second)
	if first == "" {
		t.Fatal("a change between the page and its stream is not told")
	}
	if now := mark(); now != first {
		t.Errorf("a page of now has the mark %s, the event %s", now, first)
	}
	if id := told(before, first, 2500*time.Millisecond); id != "" {
		t.Errorf("told again: %s after %s", id, first)
	}
	s.repository("live/two")
	if id := told(before, first, 10*time.Second); id <= first {
		t.Errorf("a change while the stream was interrupted: %q after %s", id, first)
	}
}
