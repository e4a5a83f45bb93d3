package console

import (
	"fmt"
	"html"
	"html/template"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// node is a box of a picture.
type node struct {
	id, text, kind, to string
	class              string
	layer              int // the column; negative to the left
}

// edge is an arrow between two boxes.
type edge struct{ from, to, text string }

// picture is a graph in columns.
type picture struct {
	nodes map[string]*node
	order []string
	edges []edge
}

func newPicture() *picture { return &picture{nodes: map[string]*node{}} }

// add puts a box into the picture, once.
func (p *picture) add(n node) bool {
	if _, have := p.nodes[n.id]; have {
		return false
	}
	p.nodes[n.id] = &n
	p.order = append(p.order, n.id)
	return true
}

func (p *picture) link(from, to, text string) {
	e := edge{from, to, text}
	if !slices.Contains(p.edges, e) {
		p.edges = append(p.edges, e)
	}
}

// draw makes the picture: columns beside each other, arrows between.
func (p *picture) draw(label string) template.HTML {
	const width, height, gapX, gapY, pad, bulge = 190, 46, 120, 18, 14, 60
	columns := map[int][]*node{}
	for _, id := range p.order {
		n := p.nodes[id]
		columns[n.layer] = append(columns[n.layer], n)
	}
	layers := slices.Sorted(maps.Keys(columns))
	most := 0
	for _, list := range columns {
		most = max(most, len(list))
	}
	total := most*(height+gapY) - gapY
	type spot struct{ x, y int }
	at := map[string]spot{}
	for i, layer := range layers {
		list := columns[layer]
		top := pad + (total-(len(list)*(height+gapY)-gapY))/2
		for j, n := range list {
			at[n.id] = spot{pad + i*(width+gapX), top + j*(height+gapY)}
		}
	}
	w, h := 2*pad+len(layers)*(width+gapX)-gapX, 2*pad+total
	for _, e := range p.edges {
		if p.nodes[e.from].layer == layers[len(layers)-1] && p.nodes[e.to].layer == layers[len(layers)-1] { // it bends out to the right
			w += bulge
			break
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="graph" width="%d" height="%d" viewBox="0 0 %d %d" role="group" aria-label="%s">`, w, h, w, h, html.EscapeString(label))
	for _, e := range p.edges {
		from, to := at[e.from], at[e.to]
		x1, y1, x2, y2 := from.x+width, from.y+height/2, to.x, to.y+height/2
		tip, anchor, tx := -6, "end", -10
		out, in := (x2-x1)/2, -(x2-x1)/2
		switch {
		case e.from == e.to:
			y1, x2, y2, out, in = y1-10, x1, y1+10, bulge/2, bulge/2
			tip, anchor, tx = 6, "start", 12
		case to.x == from.x: // within the column
			x2, out, in = x1, bulge, bulge
			tip, anchor, tx = 6, "start", 12
		case to.x < from.x:
			x1, x2 = from.x, to.x+width
			out, in = (x2-x1)/2, -(x2-x1)/2
			tip, anchor, tx = 6, "start", 10
		}
		fmt.Fprintf(&b, `<path d="M%d %d C%d %d %d %d %d %d"/><path class="tip" d="M%d %d l%d -4 v8 z"/>`, x1, y1, x1+out, y1, x2+in, y2, x2, y2, x2, y2, tip)
		if e.text != "" { // by the arrow's tip, where those of one relation agree
			fmt.Fprintf(&b, `<text class="kind" text-anchor="%s" x="%d" y="%d">%s</text>`, anchor, x2+tx, y2-5, html.EscapeString(cut(e.text, 16)))
		}
	}
	for _, id := range p.order {
		n, s := p.nodes[id], at[id]
		fmt.Fprintf(&b, `<g class="%s">`, n.class)
		if n.to != "" {
			fmt.Fprintf(&b, `<a href="%s">`, html.EscapeString(n.to))
		}
		fmt.Fprintf(&b, `<title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="8"/>`, html.EscapeString(n.kind+" "+n.text), s.x, s.y, width, height)
		fmt.Fprintf(&b, `<text class="kind" x="%d" y="%d">%s</text><text x="%d" y="%d">%s</text>`, s.x+12, s.y+17, html.EscapeString(cut(n.kind, 26)), s.x+12, s.y+34, html.EscapeString(cut(n.text, 22)))
		if n.to != "" {
			b.WriteString("</a>")
		}
		b.WriteString("</g>")
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers, and texts that are escaped
}

// cut shortens a text to so many characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// How far, and how wide, the picture of an entity's neighbourhood goes.
const (
	deepest   = 3
	mostNodes = 60
	eachWay   = 8
)

// neighbourhood draws what is around an entity: to the right what it names, to the left
// what names it.
func (c *Console) neighbourhood(q *request, model []*blueprint, start *entity, depth int) (template.HTML, error) {
	depth = min(max(depth, 1), deepest)
	p := newPicture()
	key := func(bp, id string) string { return bp + "\x00" + id }
	box := func(e *entity, layer int, class string) node {
		bp := find(model, e.Blueprint)
		return node{id: key(e.Blueprint, e.Identifier), text: e.Name(), kind: bp.Name(), to: pathOf("/catalog", e.Blueprint) + pathOne(e.Identifier), layer: layer, class: class}
	}
	p.add(box(start, 0, "centre"))
	front := []*entity{start}
	for range depth {
		var next []*entity
		for _, e := range front {
			around, err := c.related(q, model, e, eachWay)
			if err != nil {
				return "", err
			}
			at := p.nodes[key(e.Blueprint, e.Identifier)].layer
			for _, r := range around {
				for i := range r.List {
					o, step := &r.List[i], 1
					if r.Back {
						step = -1
					}
					if len(p.nodes) < mostNodes && p.add(box(o, at+step, "")) {
						next = append(next, o)
					}
					from, to := key(e.Blueprint, e.Identifier), key(o.Blueprint, o.Identifier)
					if p.nodes[to] == nil {
						continue
					}
					if r.Back {
						from, to = to, from
					}
					p.link(from, to, r.Relation.Name())
				}
				for _, id := range r.Missing {
					if len(p.nodes) < mostNodes {
						n := node{id: key(r.Relation.Target, id), text: id, kind: "not there", layer: at + 1, class: "missing"}
						p.add(n)
						p.link(key(e.Blueprint, e.Identifier), n.id, r.Relation.Name())
					}
				}
			}
		}
		front = next
	}
	return p.draw("What is around " + start.Name()), nil
}

// modelPicture draws the blueprints and their relations.
func modelPicture(list []*blueprint) template.HTML {
	p := newPicture()
	layers := map[string]int{}
	var depth func(b *blueprint, seen []string) int
	depth = func(b *blueprint, seen []string) int {
		if b == nil || slices.Contains(seen, b.Identifier) {
			return 0
		}
		if n, ok := layers[b.Identifier]; ok {
			return n
		}
		n := 0
		for _, r := range b.Links() {
			if r.Target != b.Identifier {
				n = max(n, depth(find(list, r.Target), append(seen, b.Identifier))+1)
			}
		}
		layers[b.Identifier] = n
		return n
	}
	for _, b := range list {
		p.add(node{id: b.Identifier, text: b.Name(), kind: b.Identifier, to: pathOf("/builder", b.Identifier), layer: -depth(b, nil)})
	}
	for _, b := range list {
		for _, r := range b.Links() {
			if p.nodes[r.Target] != nil {
				p.link(b.Identifier, r.Target, r.Name())
			}
		}
	}
	return p.draw("Blueprints and their relations")
}
