package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The charts are SVG of their own: no script, no font, light and dark by the reader's
// preference.
const chartStyle = `<style>
text{font:12px system-ui,sans-serif;fill:#24292f}.quiet{fill:#57606a}.title{font-size:15px;font-weight:600}
.grid{stroke:#d0d7de}.one{stroke:#24292f;stroke-dasharray:3 3}.goal{stroke:#cf222e;stroke-width:2}.hope{stroke:#8250df;stroke-width:2}
.c0{fill:#0969da;stroke:#0969da}.c1{fill:#54aeff;stroke:#54aeff}.c2{fill:#1a7f37;stroke:#1a7f37}.c3{fill:#9a6700;stroke:#9a6700}.c4{fill:#8c959f;stroke:#8c959f}.c5{fill:#bf3989;stroke:#bf3989}
.line{fill:none;stroke-width:2}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.grid{stroke:#30363d}.one{stroke:#e6edf3}.c0{fill:#4493f8;stroke:#4493f8}.c1{fill:#1f4f8f;stroke:#1f4f8f}.c2{fill:#3fb950;stroke:#3fb950}.c3{fill:#d29922;stroke:#d29922}.line{fill:none}}
</style>`

// drawing is an SVG in the making.
type drawing struct {
	strings.Builder
	width, height float64
}

func (d *drawing) text(x, y float64, class, anchor, s string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(s))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
}

func (d *drawing) done(title string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`+"\n%s\n%s</svg>\n",
		d.width, d.height, html.EscapeString(title), chartStyle, d.String())
}

func class(i int) string { return fmt.Sprintf("c%d", i%6) }

// legend names the colours in one line.
func (d *drawing) legend(x, y float64, names []string) {
	for i, n := range names {
		fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="10" height="10" class="%s"/>`, x, y-9, class(i))
		d.text(x+14, y, "", "start", n)
		x += 30 + 6.6*float64(len(n))
	}
}

// bars is a group of a bar chart: a value for each name, 0 for none.
type bars struct {
	label      string
	values     []float64
	goal, hope float64 // marked when not 0
}

// barChart draws groups of bars to a common scale, which ends at most: longer bars are cut
// and say their value. reference, unless 0, is marked in all groups.
func barChart(title, note string, names []string, groups []bars, reference, most float64) string {
	const left, right, top, thick = 150, 70, 66, 11
	d := &drawing{width: 860}
	scale := func(v float64) float64 { return left + min(v, most)/most*(d.width-left-right) }
	d.text(10, 22, "title", "start", title)
	d.text(10, 40, "quiet", "start", note)
	d.legend(left, 58, names)
	y := float64(top)
	var marks []func()
	for _, g := range groups {
		height := float64(thick * len(names))
		d.text(left-8, y+height/2+4, "", "end", g.label)
		for i, v := range g.values {
			if v > 0 {
				at := y + float64(i*thick)
				fmt.Fprintf(d, `<rect x="%d" y="%.1f" width="%.1f" height="%d" class="%s"/>`, left, at, max(scale(v)-left, 1), thick-2, class(i))
				d.text(scale(v)+4, at+8.5, "quiet", "start", number(v))
			}
		}
		for i, v := range []float64{g.goal, g.hope} {
			if v > 0 && v <= most {
				from, x := y-2, scale(v)
				marks = append(marks, func() { d.line(x, from, x, from+height+2, []string{"goal", "hope"}[i]) })
			}
		}
		y += height + 10
	}
	for step := 0.0; step <= most; step += tick(most) {
		d.line(scale(step), top-4, scale(step), y-4, "grid")
		d.text(scale(step), y+10, "quiet", "middle", number(step))
	}
	if reference > 0 {
		d.line(scale(reference), top-4, scale(reference), y-4, "one")
	}
	for _, m := range marks {
		m()
	}
	d.height = y + 20
	return d.done(title)
}

// tick is a round distance of grid lines for a scale.
func tick(most float64) float64 {
	if most <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{0.1, 0.2, 0.5, 1, 2} {
		if most/(unit*f) <= 8 {
			return unit * f
		}
	}
	return unit * 5
}

// lineChart draws series over the same steps, which are spaced evenly.
func lineChart(title, note string, steps []string, names []string, series [][]float64, most float64) string {
	const left, right, top, tall = 60, 20, 74, 260
	d := &drawing{width: 860, height: top + tall + 40}
	x := func(i int) float64 { return left + float64(i)/float64(max(len(steps)-1, 1))*(d.width-left-right) }
	y := func(v float64) float64 { return top + tall - min(v, most)/most*tall }
	d.text(10, 22, "title", "start", title)
	d.text(10, 40, "quiet", "start", note)
	d.legend(left, 58, names)
	for v := 0.0; v <= most; v += tick(most) {
		d.line(left, y(v), d.width-right, y(v), "grid")
		d.text(left-6, y(v)+4, "quiet", "end", number(v))
	}
	for i, s := range steps {
		d.text(x(i), top+tall+18, "quiet", "middle", s)
	}
	for i, values := range series {
		var points []string
		for at, v := range values {
			if v > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(at), y(v)))
			}
		}
		fmt.Fprintf(d, `<polyline points="%s" class="line %s"/>`+"\n", strings.Join(points, " "), class(i))
	}
	return d.done(title)
}
