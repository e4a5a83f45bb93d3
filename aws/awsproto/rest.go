package awsproto

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/traits"
)

// NewREST serves value over restJson1. operations are the schemas of the service's
// operations, which hold their methods and paths; those that value has no method for
// are answered as unknown by their name.
func NewREST(value any, operations ...*smithy.Schema) *Service {
	p := restProtocol{}
	for _, op := range operations {
		h, ok := smithy.SchemaTrait[*traits.HTTP](op)
		if !ok {
			panic("awsproto: " + op.ID().Name + " has no HTTP trait")
		}
		path, query, _ := strings.Cut(h.URI, "?")
		literals, err := url.ParseQuery(query)
		if err != nil {
			panic("awsproto: " + h.URI)
		}
		p.routes = append(p.routes, route{op.ID().Name, h.Method, segments(path), literals, h.Code})
	}
	return newService(p, AsIs, value)
}

// restProtocol is restJson1: the method and path name the operation; members travel in
// the path, the query, headers and a JSON body.
type restProtocol struct{ routes []route }

// route is one operation's place.
type route struct {
	name, method string
	segments     []string   // {label} and {label+} stand for values
	literals     url.Values // what the query must hold
	status       int
}

func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

// label returns the name of a segment that stands for a value, and whether it takes
// the rest of the path.
func label(segment string) (name string, rest, ok bool) {
	name, ok = strings.CutPrefix(segment, "{")
	if !ok {
		return "", false, false
	}
	name, rest = strings.CutSuffix(strings.TrimSuffix(name, "}"), "+")
	return name, rest, true
}

// match returns the values of the labels when a request is this operation's.
func (t *route) match(r *http.Request) (map[string]string, bool) {
	if r.Method != t.method {
		return nil, false
	}
	query := r.URL.Query()
	for k, want := range t.literals {
		if !query.Has(k) || want[0] != "" && query.Get(k) != want[0] {
			return nil, false
		}
	}
	have := segments(r.URL.EscapedPath())
	values := map[string]string{}
	for i, s := range t.segments {
		if i >= len(have) {
			return nil, false
		}
		name, rest, isLabel := label(s)
		if !isLabel {
			if s != have[i] {
				return nil, false
			}
			continue
		}
		text := have[i]
		if rest {
			text = strings.Join(have[i:], "/")
			have = have[:i+1]
		}
		value, err := url.PathUnescape(text)
		if err != nil || value == "" {
			return nil, false
		}
		values[name] = value
	}
	return values, len(have) == len(t.segments)
}

// find returns the operation that a request is for: of those that match, the one that
// says most.
func (p restProtocol) find(r *http.Request) (*route, map[string]string) {
	var best *route
	var values map[string]string
	weight := func(t *route) int {
		n := 100 * len(t.literals)
		for _, s := range t.segments {
			if _, _, isLabel := label(s); !isLabel {
				n++
			}
		}
		return n
	}
	for i := range p.routes {
		t := &p.routes[i]
		if v, ok := t.match(r); ok && (best == nil || weight(t) > weight(best)) {
			best, values = t, v
		}
	}
	return best, values
}

func (p restProtocol) operation(r *http.Request, _ []byte) (string, bool) {
	t, _ := p.find(r)
	if t == nil {
		return "", false
	}
	return t.name, true
}

func (p restProtocol) decode(c *codec, r *http.Request, body []byte, in any) error {
	_, labels := p.find(r)
	v := reflect.ValueOf(in).Elem()
	schema := schemaOf(v.Type())
	query := r.URL.Query()
	inBody := true
	for _, m := range c.plan(v.Type()).members {
		s := schema.Member(m.name)
		if s == nil {
			continue
		}
		var texts []string
		if _, ok := smithy.SchemaTrait[*traits.HTTPLabel](s); ok {
			texts = []string{labels[m.name]}
		} else if q, ok := smithy.SchemaTrait[*traits.HTTPQuery](s); ok {
			texts = query[q.Name]
		} else if h, ok := smithy.SchemaTrait[*traits.HTTPHeader](s); ok {
			texts = r.Header.Values(h.Name)
		} else if _, ok := smithy.SchemaTrait[*traits.HTTPPayload](s); ok {
			inBody = false
			if err := c.decodePayload(body, v.Field(m.index)); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			continue
		}
		if texts == nil {
			continue
		}
		if err := setText(v.Field(m.index), texts); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if !inBody {
		return nil
	}
	return c.decode(body, in)
}

// decodePayload sets the member that is the whole body.
func (c *codec) decodePayload(body []byte, v reflect.Value) error {
	switch {
	case len(body) == 0:
		return nil
	case v.Type() == bytesType:
		v.SetBytes(body)
		return nil
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		v.Set(reflect.New(v.Type().Elem()))
		return c.decode(body, v.Interface())
	}
	return fmt.Errorf("awsproto: no body can be a %s", v.Type())
}

// setText sets a member from the texts of a path, query or header.
func setText(v reflect.Value, texts []string) error {
	t := v.Type()
	bad := func() error { return fmt.Errorf("%.100q can not be converted to %s", texts[0], kindName(t)) }
	switch {
	case t == timeType:
		at, err := time.Parse(time.RFC3339Nano, texts[0])
		if err != nil {
			at, err = http.ParseTime(texts[0])
		}
		if err != nil {
			return bad()
		}
		v.Set(reflect.ValueOf(at.UTC()))
		return nil
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		return setText(v.Elem(), texts)
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(texts[0])
	case reflect.Bool:
		if texts[0] != "true" && texts[0] != "false" {
			return bad()
		}
		v.SetBool(texts[0] == "true")
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(texts[0], 10, t.Bits())
		if err != nil {
			return bad()
		}
		v.SetInt(n)
	case reflect.Slice:
		for i := range texts {
			e := reflect.New(t.Elem()).Elem()
			if err := setText(e, texts[i:i+1]); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
		}
	default:
		return fmt.Errorf("awsproto: no text can be a %s", t)
	}
	return nil
}

// asText is a member's value in a header.
func asText(v reflect.Value) string {
	v = reflect.Indirect(v)
	if v.Type() == timeType {
		return v.Interface().(time.Time).UTC().Format(http.TimeFormat)
	}
	return fmt.Sprint(v.Interface())
}

// bound sends the members that do not travel in the body, and returns the status that
// one of them is, the payload if a member is the whole body, and the names of all of
// them.
func (c *codec) bound(w http.ResponseWriter, v reflect.Value) (status int, payload reflect.Value, elsewhere map[int]bool) {
	schema := schemaOf(v.Type())
	elsewhere = map[int]bool{}
	for _, m := range c.plan(v.Type()).members {
		var s *smithy.Schema
		if schema != nil {
			s = schema.Member(m.name)
		}
		if s == nil {
			continue
		}
		f := v.Field(m.index)
		if _, ok := smithy.SchemaTrait[*traits.HTTPResponseCode](s); ok {
			elsewhere[m.index] = true
			if n := reflect.Indirect(f); n.IsValid() {
				status = int(n.Int())
			}
		} else if h, ok := smithy.SchemaTrait[*traits.HTTPHeader](s); ok {
			elsewhere[m.index] = true
			if !absent(f) {
				w.Header().Set(h.Name, asText(f))
			}
		} else if _, ok := smithy.SchemaTrait[*traits.HTTPPayload](s); ok {
			elsewhere[m.index] = true
			payload = f
		}
	}
	return status, payload, elsewhere
}

// encodeRest makes the body of the members that do not travel elsewhere.
func (c *codec) encodeRest(v reflect.Value, elsewhere map[int]bool) ([]byte, error) {
	rest := reflect.New(v.Type()).Elem()
	for _, m := range c.plan(v.Type()).members {
		if !elsewhere[m.index] {
			rest.Field(m.index).Set(v.Field(m.index))
		}
	}
	return c.encode(nil, rest.Interface())
}

func (p restProtocol) reply(c *codec, w http.ResponseWriter, op string, out any) error {
	v := reflect.Indirect(reflect.ValueOf(out))
	status, payload, elsewhere := c.bound(w, v)
	if status == 0 {
		for i := range p.routes {
			if p.routes[i].name == op {
				status = p.routes[i].status
			}
		}
	}
	var body []byte
	var err error
	switch {
	case payload.IsValid() && payload.Type() == bytesType:
		body = payload.Bytes()
	case payload.IsValid() && absent(payload):
	case payload.IsValid():
		body, err = c.encode(nil, payload.Interface())
	default:
		body, err = c.encodeRest(v, elsewhere)
	}
	if err != nil {
		return err
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return nil
	}
	send(w, "application/json", status, body)
	return nil
}

func (p restProtocol) unknown(r *http.Request, op string) smithy.APIError {
	if op == "" {
		op = r.Method + " " + r.URL.Path
	}
	return &smithy.GenericAPIError{Code: "UnknownOperationException", Message: fmt.Sprintf("The operation %.200q is not implemented by this server.", op)}
}

func (p restProtocol) malformed(err error) smithy.APIError {
	return &smithy.GenericAPIError{Code: "SerializationException", Message: err.Error()}
}

func (p restProtocol) fail(c *codec, w http.ResponseWriter, err smithy.APIError) {
	w.Header().Set("X-Amzn-ErrorType", err.ErrorCode())
	body := append(append([]byte(`{"message":`), appendString(nil, err.ErrorMessage())...), '}')
	if v := reflect.Indirect(reflect.ValueOf(err)); v.Type() != reflect.TypeFor[smithy.GenericAPIError]() {
		_, _, elsewhere := c.bound(w, v)
		if b, eerr := c.encodeRest(v, elsewhere); eerr == nil {
			body = b
		}
	}
	send(w, "application/json", Status(err), body)
}
