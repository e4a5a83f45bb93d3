package awsproto

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"
)

// maxPairs bounds the parameters of a query request.
const maxPairs = 10_000

// AsIs is the rule of IAM and STS: the Go name is the wire name. STS has one
// exception.
func AsIs(typeName, field string) string {
	if typeName == "PolicyDescriptorType" && field == "Arn" {
		return "arn"
	}
	return field
}

// NewQuery serves value over awsQuery: a form with Action and Version in, XML in
// a namespace out. Its operations are those that New would find.
func NewQuery(namespace, version string, naming Naming, value any) *Service {
	return newService(queryProtocol{namespace, version}, naming, value)
}

type queryProtocol struct{ namespace, version string }

// form reads the parameters, from the body or else the URL. One given twice is
// refused, since readers differ in which one counts.
func form(r *http.Request, body []byte) (url.Values, error) {
	text := string(body)
	if len(body) == 0 {
		text = r.URL.RawQuery
	}
	if strings.Count(text, "&") > maxPairs {
		return nil, fmt.Errorf("the request has more than %d parameters", maxPairs)
	}
	v, err := url.ParseQuery(text)
	if err != nil {
		return nil, errors.New("the request is not a form of URL-encoded parameters")
	}
	for k, list := range v {
		if len(list) > 1 {
			return nil, fmt.Errorf("the parameter %.100q is given %d times", k, len(list))
		}
	}
	return v, nil
}

// QueryAction is the operation that an awsQuery request names, "" without any.
func QueryAction(r *http.Request, body []byte) string {
	v, err := form(r, body)
	if err != nil {
		return ""
	}
	return v.Get("Action")
}

func (p queryProtocol) operation(r *http.Request, body []byte) (string, bool) {
	v, err := form(r, body)
	if err != nil {
		return "", false
	}
	return v.Get("Action"), v.Get("Version") == p.version || !v.Has("Version")
}

func (p queryProtocol) decode(c *codec, r *http.Request, body []byte, in any) error {
	v, err := form(r, body)
	if err != nil {
		return err
	}
	root := &node{}
	for k, list := range v {
		n := root
		depth := 0
		for part := range strings.SplitSeq(k, ".") {
			if depth++; depth > maxDepth {
				return errDepth
			}
			n = n.child(part)
		}
		n.text, n.set = list[0], true
	}
	return c.decodeNode(root, reflect.ValueOf(in).Elem())
}

// node is a parameter: names with dots make a tree of them.
type node struct {
	text string
	set  bool
	kids map[string]*node
}

func (n *node) child(name string) *node {
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	if n.kids[name] == nil {
		n.kids[name] = &node{}
	}
	return n.kids[name]
}

// numbered returns the children whose names are numbers, in order.
func (n *node) numbered() []*node {
	byNumber := map[int]*node{}
	for k, kid := range n.kids {
		if i, err := strconv.Atoi(k); err == nil && i > 0 && strconv.Itoa(i) == k {
			byNumber[i] = kid
		}
	}
	var out []*node
	for _, i := range slices.Sorted(maps.Keys(byNumber)) {
		out = append(out, byNumber[i])
	}
	return out
}

func (c *codec) decodeNode(n *node, v reflect.Value) error {
	t := v.Type()
	bad := func() error { return fmt.Errorf("%.100q can not be converted to %s", n.text, kindName(t)) }
	switch t {
	case timeType:
		at, err := time.Parse(time.RFC3339Nano, n.text)
		if err != nil {
			return bad()
		}
		v.Set(reflect.ValueOf(at.UTC()))
		return nil
	case bytesType:
		b, err := base64.StdEncoding.DecodeString(n.text)
		if err != nil {
			return bad()
		}
		v.SetBytes(b)
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		return c.decodeNode(n, v.Elem())
	case reflect.String:
		v.SetString(n.text)
	case reflect.Bool:
		if n.text != "true" && n.text != "false" {
			return bad()
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int32, reflect.Int64:
		x, err := strconv.ParseInt(n.text, 10, t.Bits())
		if err != nil {
			return bad()
		}
		v.SetInt(x)
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(n.text, 64)
		if err != nil {
			return bad()
		}
		v.SetFloat(x)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, 0, 4))
		for _, kid := range n.child("member").numbered() { // "Name=" is the empty list
			e := reflect.New(t.Elem()).Elem()
			if err := c.decodeNode(kid, e); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		for _, kid := range n.child("entry").numbered() {
			e := reflect.New(t.Elem()).Elem()
			if err := c.decodeNode(kid.child("value"), e); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(kid.child("key").text).Convert(t.Key()), e)
		}
	case reflect.Struct:
		for _, m := range c.plan(t).members {
			if kid, ok := n.kids[m.name]; ok {
				if err := c.decodeNode(kid, v.Field(m.index)); err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
			}
		}
	default:
		return fmt.Errorf("awsproto: no wire form for %s", t)
	}
	return nil
}

func kindName(t reflect.Type) string {
	switch {
	case t == timeType:
		return "a time"
	case t == bytesType:
		return "base64"
	case t.Kind() == reflect.Bool:
		return "a boolean"
	}
	return "a number"
}

func (p queryProtocol) reply(c *codec, w http.ResponseWriter, op string, out any) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<%sResponse xmlns="%s"><%sResult>`, op, p.namespace, op)
	if err := c.xmlMembers(&b, reflect.Indirect(reflect.ValueOf(out))); err != nil {
		return err
	}
	fmt.Fprintf(&b, "</%sResult><ResponseMetadata><RequestId>", op)
	xmlText(&b, w.Header().Get("X-Amzn-Requestid"))
	fmt.Fprintf(&b, "</RequestId></ResponseMetadata></%sResponse>", op)
	send(w, "text/xml", http.StatusOK, b.Bytes())
	return nil
}

func xmlText(b *bytes.Buffer, s string) { _ = xml.EscapeText(b, []byte(s)) } // a buffer takes everything

func (c *codec) xmlMembers(b *bytes.Buffer, v reflect.Value) error {
	for _, m := range c.plan(v.Type()).members {
		f := v.Field(m.index)
		if absent(f) {
			continue
		}
		if err := c.xmlElement(b, m.name, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *codec) xmlElement(b *bytes.Buffer, name string, v reflect.Value) error {
	b.WriteString("<" + name + ">")
	if err := c.xmlValue(b, v); err != nil {
		return err
	}
	b.WriteString("</" + name + ">")
	return nil
}

func (c *codec) xmlValue(b *bytes.Buffer, v reflect.Value) error {
	switch t := v.Type(); t {
	case timeType:
		b.WriteString(v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.999Z"))
		return nil
	case bytesType:
		b.WriteString(base64.StdEncoding.EncodeToString(v.Bytes()))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return c.xmlValue(b, v.Elem())
	case reflect.String:
		xmlText(b, v.String())
	case reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		fmt.Fprint(b, v.Interface())
	case reflect.Slice:
		for i := range v.Len() {
			if err := c.xmlElement(b, "member", v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			b.WriteString("<entry>")
			if err := c.xmlElement(b, "key", k); err != nil {
				return err
			}
			if err := c.xmlElement(b, "value", v.MapIndex(k)); err != nil {
				return err
			}
			b.WriteString("</entry>")
		}
	case reflect.Struct:
		return c.xmlMembers(b, v)
	default:
		return fmt.Errorf("awsproto: no wire form for %s", v.Type())
	}
	return nil
}

func (p queryProtocol) unknown(_ *http.Request, op string) smithy.APIError {
	if op == "" {
		return &smithy.GenericAPIError{Code: "MissingAction", Message: "The request names no operation in Action."}
	}
	return &smithy.GenericAPIError{Code: "InvalidAction", Message: fmt.Sprintf("The operation %.200q of version %s is not implemented by this server.", op, p.version)}
}

func (p queryProtocol) malformed(err error) smithy.APIError {
	return &smithy.GenericAPIError{Code: "MalformedInput", Message: err.Error()}
}

func (p queryProtocol) fail(_ *codec, w http.ResponseWriter, err smithy.APIError) {
	who := "Sender"
	if Status(err) >= 500 {
		who = "Receiver"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>`, p.namespace, who)
	xmlText(&b, err.ErrorCode())
	b.WriteString("</Code><Message>")
	xmlText(&b, err.ErrorMessage())
	b.WriteString("</Message></Error><RequestId>")
	xmlText(&b, w.Header().Get("X-Amzn-Requestid"))
	b.WriteString("</RequestId></ErrorResponse>")
	send(w, "text/xml", Status(err), b.Bytes())
}
