// Package sigv4 verifies AWS Signature Version 4 on requests as they arrive, in
// the Authorization header or in the query (presigned).
//
// It canonicalises the bytes received, not what a router made of them. It does
// not know keys, principals or sessions: the caller finds the secret for the key
// id and compares session tokens. Signing is the SDK's business.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeFormat = "20060102T150405Z"
	// Skew is how far a request's time may be from the server's, either way.
	Skew = 15 * time.Minute
	// MaxExpires bounds presigned requests.
	MaxExpires = 7 * 24 * time.Hour
	// Unsigned is the body hash of clients that do not sign the body.
	Unsigned = "UNSIGNED-PAYLOAD"
)

// The ways a signature can be wrong. Each error's text is for the caller.
var (
	// ErrMissing is a request without any signature.
	ErrMissing = errors.New("the request is not signed")
	// ErrIncomplete is a signature with parts missing or malformed.
	ErrIncomplete = errors.New("incomplete signature")
	// ErrMismatch is a signature that is not this request's under this key.
	ErrMismatch = errors.New("the request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method")
	// ErrExpired is a signature that is too old, too new or past its end.
	ErrExpired = errors.New("signature expired")
)

// Signature is the claim that a request makes about itself.
type Signature struct {
	AccessKeyID   string
	Date          string // of the credential scope, YYYYMMDD
	Region        string
	Service       string
	Time          time.Time
	SignedHeaders []string
	SessionToken  string
	Presigned     bool
	Expires       time.Duration // presigned only
	mac           string
}

// Parse reads the signature of a request: ErrMissing, ErrIncomplete. It looks at
// nothing else and reads no body.
func Parse(r *http.Request) (*Signature, error) {
	auth := r.Header.Values("Authorization")
	presigned := strings.Contains(r.URL.RawQuery, "X-Amz-Signature=")
	switch {
	case presigned && len(auth) > 0:
		return nil, fmt.Errorf("%w: sign in the header or in the query, not in both", ErrIncomplete)
	case presigned:
		return parseQuery(r)
	case len(auth) == 0:
		return nil, ErrMissing
	case len(auth) > 1:
		return nil, fmt.Errorf("%w: more than one Authorization header", ErrIncomplete)
	}
	rest, ok := strings.CutPrefix(auth[0], algorithm)
	if !ok || !strings.HasPrefix(rest, " ") {
		return nil, fmt.Errorf("%w: want the algorithm %s", ErrIncomplete, algorithm)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[k]; !ok || twice {
			return nil, fmt.Errorf("%w: Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' once each", ErrIncomplete)
		}
		fields[k] = v
	}
	s := &Signature{mac: fields["Signature"], SessionToken: r.Header.Get("X-Amz-Security-Token")}
	if err := s.parse(fields["Credential"], fields["SignedHeaders"], r.Header.Get("X-Amz-Date")); err != nil {
		return nil, err
	}
	return s, nil
}

func parseQuery(r *http.Request) (*Signature, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: the query does not parse", ErrIncomplete)
	}
	for k, v := range q {
		if strings.HasPrefix(k, "X-Amz-") && len(v) != 1 {
			return nil, fmt.Errorf("%w: %s is given %d times", ErrIncomplete, k, len(v))
		}
	}
	if q.Get("X-Amz-Algorithm") != algorithm {
		return nil, fmt.Errorf("%w: want X-Amz-Algorithm=%s", ErrIncomplete, algorithm)
	}
	secs, err := strconv.ParseInt(q.Get("X-Amz-Expires"), 10, 64)
	if err != nil || secs < 1 || secs > int64(MaxExpires/time.Second) {
		return nil, fmt.Errorf("%w: X-Amz-Expires must be between 1 and %d seconds", ErrIncomplete, MaxExpires/time.Second)
	}
	s := &Signature{mac: q.Get("X-Amz-Signature"), SessionToken: q.Get("X-Amz-Security-Token"), Presigned: true,
		Expires: time.Duration(secs) * time.Second}
	if err := s.parse(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Date")); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Signature) parse(credential, headers, date string) error {
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || slices.Contains(scope, "") || scope[4] != "aws4_request" {
		return fmt.Errorf("%w: Credential must be KEY/DATE/REGION/SERVICE/aws4_request", ErrIncomplete)
	}
	s.AccessKeyID, s.Date, s.Region, s.Service = scope[0], scope[1], scope[2], scope[3]
	t, err := time.Parse(timeFormat, date)
	if err != nil {
		return fmt.Errorf("%w: X-Amz-Date must look like %s", ErrIncomplete, timeFormat)
	}
	s.Time = t
	if len(s.mac) != 2*sha256.Size {
		return fmt.Errorf("%w: the Signature must have %d hexadecimal digits", ErrIncomplete, 2*sha256.Size)
	}
	s.SignedHeaders = strings.Split(headers, ";")
	if !slices.IsSorted(s.SignedHeaders) || len(slices.Compact(slices.Clone(s.SignedHeaders))) != len(s.SignedHeaders) {
		return fmt.Errorf("%w: SignedHeaders must be sorted, each once", ErrIncomplete)
	}
	for _, h := range s.SignedHeaders {
		if h == "" || h != strings.ToLower(h) {
			return fmt.Errorf("%w: SignedHeaders must be in lower case", ErrIncomplete)
		}
	}
	return nil
}

// Verify checks the signature against the request, whose body has the SHA-256
// bodyHash (hexadecimal): ErrExpired, ErrIncomplete for headers that had to be
// signed, ErrMismatch.
func (s *Signature) Verify(r *http.Request, secretKey string, now time.Time, bodyHash string) error {
	if err := s.checkTime(now); err != nil {
		return err
	}
	if err := s.checkHeaders(r); err != nil {
		return err
	}
	if h := r.Header.Get("X-Amz-Content-Sha256"); h != "" && h != bodyHash {
		return fmt.Errorf("%w: the body is not the one whose X-Amz-Content-Sha256 was signed", ErrMismatch)
	}
	if s.Presigned {
		bodyHash = Unsigned
	}
	want := s.sign(secretKey, s.canonical(r, bodyHash))
	if !hmac.Equal([]byte(want), []byte(s.mac)) {
		return ErrMismatch
	}
	return nil
}

func (s *Signature) checkTime(now time.Time) error {
	if s.Date != s.Time.Format("20060102") {
		return fmt.Errorf("%w: date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP", ErrMismatch)
	}
	end, what := s.Time.Add(Skew), Skew.String()
	if s.Presigned {
		end, what = s.Time.Add(s.Expires), s.Expires.String()
	}
	switch {
	case now.After(end):
		return fmt.Errorf("%w: %s is now earlier than %s (%s after signing)", ErrExpired, s.Time.Format(timeFormat),
			now.UTC().Format(timeFormat), what)
	case s.Time.After(now.Add(Skew)):
		return fmt.Errorf("%w: %s is still later than %s", ErrExpired, s.Time.Format(timeFormat), now.UTC().Format(timeFormat))
	}
	return nil
}

// checkHeaders demands that everything that steers a request is signed. SDKs
// differ in content-type: JavaScript's leaves it out, so only a signed one counts.
func (s *Signature) checkHeaders(r *http.Request) error {
	if !slices.Contains(s.SignedHeaders, "host") {
		return fmt.Errorf("%w: 'Host' must be a signed header", ErrIncomplete)
	}
	for h := range r.Header {
		if low := strings.ToLower(h); strings.HasPrefix(low, "x-amz-") && !slices.Contains(s.SignedHeaders, low) {
			return fmt.Errorf("%w: header %s is not signed", ErrIncomplete, low)
		}
	}
	return nil
}

func (s *Signature) canonical(r *http.Request, bodyHash string) string {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if i := strings.Index(path, "://"); i >= 0 { // absolute-form, as proxies send it
		_, rest, _ := strings.Cut(path[i+3:], "/")
		path = "/" + rest
	}
	if s.Service != "s3" {
		path = encode(path, true)
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(query) + "\n")
	for _, h := range s.SignedHeaders {
		b.WriteString(h + ":" + headerValue(r, h) + "\n")
	}
	b.WriteString("\n" + strings.Join(s.SignedHeaders, ";") + "\n" + bodyHash)
	return b.String()
}

func headerValue(r *http.Request, h string) string {
	switch h {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header[http.CanonicalHeaderKey(h)])
	for i, v := range values {
		values[i] = strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' }), " ")
	}
	return strings.Join(values, ",")
}

// canonicalQuery sorts the parameters, encoded strictly, and leaves the
// signature out.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs [][2]string
	for part := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(part, "=")
		k, v = encode(decode(k), false), encode(decode(v), false)
		if k != "X-Amz-Signature" {
			pairs = append(pairs, [2]string{k, v})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0] + "=" + p[1])
	}
	return b.String()
}

func decode(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

const upperHex = "0123456789ABCDEF"

// encode escapes every byte but the unreserved ones, and slashes where asked.
func encode(s string, keepSlash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~' || (keepSlash && c == '/') {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + string(upperHex[c>>4]) + string(upperHex[c&15]))
		}
	}
	return b.String()
}

func (s *Signature) sign(secretKey, canonical string) string {
	scope := s.Date + "/" + s.Region + "/" + s.Service + "/aws4_request"
	sum := sha256.Sum256([]byte(canonical))
	key := []byte("AWS4" + secretKey)
	for _, part := range []string{s.Date, s.Region, s.Service, "aws4_request"} {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, algorithm+"\n"+s.Time.Format(timeFormat)+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
}

func mac(key []byte, data string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(data))
	return m.Sum(nil)
}

// BodyHash is the hexadecimal SHA-256 of a body.
func BodyHash(body []byte) string {
	s := sha256.Sum256(body)
	return hex.EncodeToString(s[:])
}
