package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// smaller lists scenarios whose value is better when smaller.
var smaller = []string{"tags-list", "tags-page", "declared-plan-new", "declared-apply", "declared-plan-same", "declared-apply-edited", "cold-start", "restart-10000", "rss-idle"}

func median[T any](list []T, key func(T) float64) T {
	s := slices.Clone(list)
	slices.SortFunc(s, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return s[len(s)/2]
}

// table prints medians, and for each target the ratio to the floor: 1 is as good.
func (b *bench) table(kinds []kind) string {
	var out strings.Builder
	fmt.Fprint(&out, "| scenario | target | value | to the floor | p50 | p99 | server CPU each | peak RSS MiB |\n|---|---|---|---|---|---|---|---|\n")
	for _, s := range all {
		byTarget := b.results[s.name]
		if byTarget == nil {
			continue
		}
		worse := slices.Contains(smaller, s.name)
		key := func(m measure) float64 {
			if worse {
				return m.value
			}
			return m.rate
		}
		var base float64
		if f := byTarget["floor"]; f != nil {
			base = key(median(f, key))
		}
		for _, k := range kinds {
			list := byTarget[k.name]
			if list == nil {
				continue
			}
			m := median(list, key)
			ratio := "-"
			if base > 0 && key(m) > 0 {
				r := key(m) / base
				if worse {
					r = base / key(m)
				}
				ratio = fmt.Sprintf("%.2f", r)
			}
			fmt.Fprintf(&out, "| %s | %s | %s %s | %s | %s | %s | %s | %.0f |\n", s.name, k.name, number(key(m)), s.unit, ratio,
				span(m.p50), span(m.p99), span(m.cpu), float64(m.peak)/1024)
		}
	}
	return out.String()
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func span(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
