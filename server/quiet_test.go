package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

func TestQuiet(t *testing.T) {
	gone := fmt.Errorf("read: %w", context.Canceled)
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
		told bool
	}{
		{"a caller that has gone", func(l *slog.Logger) { l.Error("failed", "request", "r", "error", gone) }, false},
		{"with more", func(l *slog.Logger) { l.With("part", "x").WithGroup("g").Warn("failed", "error", gone) }, false},
		{"another error", func(l *slog.Logger) { l.Error("failed", "error", errors.New("disk")) }, true},
		{"out of time", func(l *slog.Logger) { l.Error("failed", "error", context.DeadlineExceeded) }, true},
		{"no error", func(l *slog.Logger) { l.Info("done", "error", nil) }, true},
		{"somebody's attempt", func(l *slog.Logger) { l.Info("sign-in", "error", gone) }, true},
	} {
		var b bytes.Buffer
		c.log(slog.New(quiet{slog.NewJSONHandler(&b, nil)}))
		if told := b.Len() > 0; told != c.told {
			t.Errorf("%s: told %v", c.name, told)
		}
	}
}

// TestGoneCallersAreNoErrors: requests that are cancelled leave no errors in the log.
func TestGoneCallersAreNoErrors(t *testing.T) {
	var log lockedLog
	s := run(t, config(t), &log)
	out, err := ecr.NewFromConfig(rootConfig(t, s)).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context, path string) {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Basic "+*out.AuthorizationData[0].AuthorizationToken)
		s.wrap(httptest.NewRecorder(), r)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{"/v2/app/manifests/latest", "/v2/app/tags/list", "/v2/_catalog"} {
		ask(t.Context(), path) // who asks is known from here on
		ask(gone, path)
	}
	if strings.Contains(log.String(), `"ERROR"`) {
		t.Errorf("%s", log.String())
	}
}
