package console

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
	"time"
)

// series is a kind of bars of a chart.
type series struct {
	Name   string
	Class  string // of the stylesheet: s1 to s6
	Values []int64
}

// bars draws stacked bars over time, with a title for each that tells its numbers.
func bars(from time.Time, step time.Duration, list []series) template.HTML {
	n := 0
	for _, s := range list {
		n = max(n, len(s.Values))
	}
	if n == 0 {
		return ""
	}
	most := int64(0)
	for i := range n {
		sum := int64(0)
		for _, s := range list {
			sum += s.Values[i]
		}
		most = max(most, sum)
	}
	const height, slot = 100.0, 10.0
	ceiling := niceCeiling(most)
	var b strings.Builder
	fmt.Fprintf(&b, `<div class="chart"><div class="y" aria-hidden="true"><span>%s</span><span>%s</span><span>0</span></div>`, compact(ceiling), compact(ceiling/2))
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" preserveAspectRatio="none" role="img" aria-label="%s">`, slot*float64(n), height, html.EscapeString(describe(list)))
	for _, y := range []float64{.5, height / 2, height - .5} {
		fmt.Fprintf(&b, `<line class="axis" x1="0" x2="%g" y1="%g" y2="%g"/>`, slot*float64(n), y, y)
	}
	for i := range n {
		x, y := float64(i)*slot, height
		title := from.Add(time.Duration(i) * step).UTC().Format("Mon 2 Jan 15:04")
		for _, s := range list {
			title += fmt.Sprintf(" · %s %s", number(s.Values[i]), s.Name)
		}
		fmt.Fprintf(&b, `<g><title>%s</title><rect x="%g" y="0" width="%g" height="%g" fill="transparent"/>`, html.EscapeString(title), x, slot, height)
		for _, s := range list {
			if v := float64(s.Values[i]) * height / float64(ceiling); v > 0 {
				v = math.Max(v, 1)
				y -= v
				fmt.Fprintf(&b, `<rect class="%s" x="%g" y="%.2f" width="%g" height="%.2f"/>`, s.Class, x+slot*.14, y, slot*.72, v)
			}
		}
		b.WriteString("</g>")
	}
	b.WriteString(`</svg><div class="x" aria-hidden="true">`)
	layout := "15:04"
	if step >= 6*time.Hour {
		layout = "2 Jan"
	}
	every := (n + 5) / 6
	for i := 0; i < n; i += every {
		fmt.Fprintf(&b, "<span>%s</span>", from.Add(time.Duration(i)*step).UTC().Format(layout))
	}
	b.WriteString("</div></div>")
	return template.HTML(b.String()) //nolint:gosec // numbers, and texts that are escaped
}

// describe tells a chart in words, for those who do not see it.
func describe(list []series) string {
	var parts []string
	for _, s := range list {
		sum := int64(0)
		for _, v := range s.Values {
			sum += v
		}
		parts = append(parts, number(sum)+" "+s.Name)
	}
	return strings.Join(parts, ", ")
}

// niceCeiling is an even number of 1, 2 or 5 times a power of ten, not below n.
func niceCeiling(n int64) int64 {
	for p := int64(1); ; p *= 10 {
		for _, f := range []int64{2, 4, 10} {
			if p*f >= n {
				return p * f
			}
		}
	}
}

func compact(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%gM", float64(n)/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%gk", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}

// slice is a part of a whole, such as a layer of an image.
type slice struct {
	Title string
	Size  int64
}

// strip draws parts of a whole beside each other, as wide as they are large.
func strip(parts []slice) template.HTML {
	const width, height = 1000.0, 34.0
	var whole int64
	for _, p := range parts {
		whole += p.Size
	}
	if whole == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="layers" viewBox="0 0 %g %g" preserveAspectRatio="none" role="img" aria-label="%d layers, %s">`, width, height, len(parts), bytesText(whole))
	x := 0.0
	for i, p := range parts {
		w := float64(p.Size) / float64(whole) * width
		fmt.Fprintf(&b, `<g><title>%s</title><rect class="s%d" x="%.2f" y="0" width="%.2f" height="%g"/></g>`, html.EscapeString(p.Title), i%6+1, x, math.Max(w-1.5, .5), height)
		x += w
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers, and texts that are escaped
}
