package console

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// form is what a form of a page does: one call, by the value of its field "do".
type form struct {
	// in makes the call's input of the fields: an operation's input as the SDK has it, a
	// berthCall or a catalogCall.
	in func(q *request) (any, error)
	// text tells that it is done, cli is the command that does the same, and to the page
	// to go on with; the fields stand in them in braces.
	text, cli, to string
	// lost tells what a deletion takes away, which is shown before it is done: whoever posts
	// the form is asked once more, unless its page has asked already.
	lost func(c *Console, q *request) (*loss, error)
	// result shows what the call returned, where a text is not enough: a key that is told
	// once. A page of nil leaves it at the text; an error is the form's.
	result func(c *Console, q *request, out any) (*page, error)
}

// forms are those of a page, by name.
type forms map[string]form

// berthCall is a call of Berth's own API.
type berthCall struct {
	op string
	in any
}

// catalogCall is a request of the catalog's API.
type catalogCall struct {
	method, path string
	in           any
}

// perform makes a call.
func (c *Console) perform(ctx context.Context, in any) (any, error) {
	switch in := in.(type) {
	case berthCall:
		out := map[string]any{}
		err := c.api.Berth(ctx, in.op, in.in, &out)
		return out, err
	case catalogCall:
		out := map[string]any{}
		err := c.api.Catalog(ctx, in.method, in.path, in.in, &out)
		return out, err
	}
	return c.api.Call(ctx, serviceOf(in), in)
}

// submit takes a form. What cannot be done is told on the page that it came from, made by
// again, with what was typed.
func (c *Console) submit(q *request, list forms, again handler) (*page, error) {
	f, ok := list[q.in("do")]
	if !ok {
		return nil, wrong("The form asks for %q, which is nothing that can be done here.", q.in("do"))
	}
	in, err := f.in(q)
	var out any
	var shown *page
	if err == nil && f.lost != nil && q.in("sure") == "" {
		return c.askAgain(q, f)
	}
	if err == nil {
		out, err = c.perform(q.ctx, in)
	}
	if err == nil && f.result != nil {
		shown, err = f.result(c, q, out)
	}
	if err != nil {
		q.problem = c.part(q, err)
		p, perr := again(c, q)
		if perr != nil || p == nil {
			return nil, err
		}
		if p.Status = http.StatusBadRequest; isDenied(err) {
			p.Status = http.StatusForbidden
		}
		return p, nil
	}
	if shown != nil {
		return shown, nil
	}
	values := q.values()
	return q.done(address(f.to, values), places(f.text, values, func(v string) string { return v }), command(f.cli, values))
}

// loss is what a deletion takes away.
type loss struct {
	What string   // such as "the user alice"
	With []string // what goes with it, or stops working
}

type sureBody struct {
	loss
	Fields [][2]string
	CLI    string
	Back   string
}

// askAgain shows what would be lost, and the form once more.
func (c *Console) askAgain(q *request, f form) (*page, error) {
	l, err := f.lost(c, q)
	if err != nil {
		return nil, err
	}
	b := sureBody{loss: *l, CLI: command(f.cli, q.values()), Back: local(q.referrer())}
	for _, k := range slices.Sorted(maps.Keys(q.PostForm)) {
		for _, v := range q.PostForm[k] {
			if k != "csrf" {
				b.Fields = append(b.Fields, [2]string{k, v})
			}
		}
	}
	return &page{Title: "Are you sure?", view: "sure", Body: b}, nil
}

// referrer is the page that a form came from, as a path of this console.
func (q *request) referrer() string {
	u, err := url.Parse(q.Referer())
	if err != nil || !strings.EqualFold(u.Host, q.Host) {
		return "/"
	}
	return u.RequestURI()
}

// loses is a loss that needs no call to be told.
func loses(what string, with ...string) func(*Console, *request) (*loss, error) {
	return func(_ *Console, q *request) (*loss, error) {
		l := &loss{What: places(what, q.values(), func(v string) string { return v })}
		for _, w := range with {
			l.With = append(l.With, places(w, q.values(), func(v string) string { return v }))
		}
		return l, nil
	}
}

// values are a form's fields, the parts of the page's path, and the region.
func (q *request) values() map[string]string {
	values := map[string]string{"region": string(q.caller.Region)}
	for k := range q.Form {
		values[k] = q.in(k)
	}
	for _, k := range []string{"name", "region", "blueprint", "id", "bus"} {
		if v := q.PathValue(k); v != "" {
			values[k] = v
		}
	}
	delete(values, "csrf")
	return values
}

// places fills in {name}; escape is for what is filled in.
func places(text string, values map[string]string, escape func(string) string) string {
	return commandPlace.ReplaceAllStringFunc(text, func(place string) string {
		return escape(values[commandPlace.FindStringSubmatch(place)[1]])
	})
}

// address fills in the places of a path, which keep their slashes, and of its query.
func address(text string, values map[string]string) string {
	path, rest, _ := strings.Cut(text, "?")
	path = places(path, values, func(v string) string { return strings.TrimPrefix(pathOf("", v), "/") })
	if rest == "" {
		return path
	}
	return path + "?" + places(rest, values, url.QueryEscape)
}

// call makes a form's in of a function that cannot fail.
func call(f func(q *request) any) func(*request) (any, error) {
	return func(q *request) (any, error) { return f(q), nil }
}
