package server

import (
	"net/http"
	"strings"
)

// front is which front end answers a request.
type front int

const (
	frontNone front = iota
	frontOCI
	frontAWS
	frontPort
	frontConsole
	fronts // how many there are
)

func (f front) String() string { return [...]string{"none", "oci", "aws", "port", "console"}[f] }

// classify is the whole dispatch of the listener. It looks only at what a request
// says of itself: the path, a signature, or the header that names an operation.
func classify(r *http.Request) front {
	switch {
	case r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/"):
		return frontOCI
	case strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256"), r.Header.Get("X-Amz-Target") != "":
		return frontAWS
	case r.URL.Path == "/v1" || strings.HasPrefix(r.URL.Path, "/v1/"):
		return frontPort
	case r.URL.Path == "/" && isQuery(r): // may be unsigned: a web identity
		return frontAWS
	case r.Header.Get("Authorization") == "":
		return frontConsole
	}
	return frontNone
}
