package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// benchConsole times the console's pages: how long the server takes to make each, the
// first time and then.
func benchConsole(b *testing.B, s *Server) {
	b.Helper()
	cred, err := ReadCredentials(s.cfg.Data)
	if err != nil {
		b.Fatal(err)
	}
	token, err := s.identity.OpenBrowser(b.Context(), cred.AccessKeyID, "")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range []string{"/", "/?span=month", "/repositories", "/repositories?q=7", "/repositories?q=zzz", "/repositories?tag=port-service-7", "/repositories?service=service-7", "/repositories/us-east-1/team/repo-17", "/repositories/us-east-1/team/repo-17?tab=settings",
		"/repositories/us-east-1/team/repo-17?tab=events", "/audit", "/pushes", "/search?q=repo-77", "/catalog", "/catalog/ecr_repository", "/catalog/ecr_image", "/catalog/service", "/catalog/service?sort=$title", "/catalog/service/service-7",
		"/catalog/service/service-7?tab=graph&depth=2", "/builder", "/mapping", "/users", "/explain"} {
		for _, when := range []string{"first", "then"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.AddCookie(&http.Cookie{Name: "berth-session", Value: token.Reveal()})
			w := httptest.NewRecorder()
			began := time.Now()
			s.Handler().ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Errorf("%s: %d %.300s", path, w.Code, w.Body)
			}
			fmt.Printf("page %-60s %-6s %8.1f ms %7d bytes\n", path, when, float64(time.Since(began).Microseconds())/1000, w.Body.Len()) // a benchmark keeps ten lines of its log
		}
	}
}
