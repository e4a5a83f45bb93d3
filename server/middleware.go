package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/uid"
)

// maxURL is the longest request target, in bytes.
const maxURL = 8 << 10

// recorder watches a response. It keeps ReadFrom, so that files still go out by
// sendfile.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

// Unwrap serves http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// wrap is what every request passes: limits, an id, the log line, the numbers.
func (s *Server) wrap(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := uid.New(start)
	w.Header().Set("X-Request-Id", id)
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		if host = r.RemoteAddr; host == "@" || host == "" { // a function, by a socket of this machine
			host = "127.0.0.1"
		}
	}
	f := classify(r)
	rec := &recorder{ResponseWriter: w}
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // it is thrown as itself
			s.log.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "request", id, "panic", p)
			if rec.status == 0 {
				rec.WriteHeader(http.StatusInternalServerError)
			}
		}
		took := time.Since(start)
		s.metrics.observe(f, rec.status, took)
		s.access.line(start, id, host, r, rec.status, rec.bytes, took)
		if p != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	switch {
	case len(r.RequestURI) > maxURL:
		http.Error(rec, "The address is too long", http.StatusRequestURITooLong)
		return
	case r.Method == http.MethodTrace || r.Method == http.MethodConnect:
		http.Error(rec, "The method is not allowed", http.StatusMethodNotAllowed)
		return
	}
	caller := gate.Caller{Host: r.Host, Secure: r.TLS != nil, RequestID: id, SourceIP: host, UserAgent: r.UserAgent()}
	r = r.WithContext(gate.WithCaller(r.Context(), caller))
	switch f {
	case frontOCI:
		s.oci.ServeHTTP(rec, r)
	case frontAWS:
		s.aws.ServeHTTP(rec, r)
	case frontPort:
		s.port.ServeHTTP(rec, r)
	case frontConsole:
		s.console.ServeHTTP(rec, r)
	default:
		http.Error(rec, "Berth serves the OCI registry under /v2/, the catalog's API under /v1/ and signed AWS API calls here.", http.StatusNotFound)
	}
}

// accessLog writes one JSON line per request. Lines are gathered for a moment, so
// that a busy server does not make a system call for each. Queries are left out:
// they can hold credentials.
type accessLog struct {
	mu  sync.Mutex
	w   *bufio.Writer
	buf []byte
}

func newAccessLog(w io.Writer) *accessLog {
	if w == nil {
		return nil
	}
	return &accessLog{w: bufio.NewWriterSize(w, 64<<10)}
}

func (a *accessLog) line(start time.Time, id, host string, r *http.Request, status int, bytes int64, took time.Duration) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := append(a.buf[:0], `{"time":"`...)
	b = start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","msg":"request","id":"`...)
	b = append(append(b, id...), `","remote":`...)
	b = strconv.AppendQuote(b, host)
	b = append(b, `,"method":`...)
	b = strconv.AppendQuote(b, r.Method)
	b = append(b, `,"path":`...)
	b = appendPath(b, r.URL.Path)
	if t := r.Header.Get("X-Amz-Target"); t != "" {
		b = append(b, `,"target":`...)
		b = appendPath(b, t)
	}
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, bytes, 10)
	b = append(b, `,"ms":`...)
	b = strconv.AppendFloat(b, float64(took.Microseconds())/1000, 'f', 3, 64)
	b = append(b, `,"agent":`...)
	b = appendPath(b, r.UserAgent())
	b = append(b, "}\n"...)
	a.buf = b
	_, _ = a.w.Write(b) // a log that cannot be written stops nobody
}

// appendPath quotes for JSON, with everything unusual as \u escapes, and cuts
// what is long.
func appendPath(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range []byte(s[:min(len(s), 600)]) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			continue
		}
		b = append(b, c)
	}
	return append(b, '"')
}

func (a *accessLog) flush() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.w.Flush()
}
