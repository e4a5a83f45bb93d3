package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func median[T any](list []T, key func(T) float64) T {
	s := slices.Clone(list)
	slices.SortFunc(s, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return s[len(s)/2]
}

// key is the figure of a measure that counts.
func (s *scenario) key(m measure) float64 {
	if s.less {
		return m.value
	}
	return m.rate
}

// ratio is how a target did beside the floor of the same kind of connection: 1 is as good.
func (b *bench) ratio(s *scenario, k *kind) float64 {
	own, floor := b.results[s.name][k.name], b.results[s.name][k.base]
	if own == nil || floor == nil {
		return 0
	}
	mine, base := s.key(median(own, s.key)), s.key(median(floor, s.key))
	if mine == 0 || base == 0 {
		return 0
	}
	if s.less {
		return base / mine
	}
	return mine / base
}

// goals are what a scenario is to reach, as the table says it.
func (s *scenario) goals() string {
	switch {
	case s.goal == 0:
		return "-"
	case s.hope == 0:
		return number(s.goal)
	}
	return number(s.goal) + ", " + number(s.hope)
}

// table prints medians, and for each target the ratio to the floor.
func (b *bench) table(kinds []kind) string {
	var out strings.Builder
	fmt.Fprint(&out, "| scenario | target | value | to the floor | goal, hope | p50 | p99 | server CPU each | peak RSS MiB |\n|---|---|---|---|---|---|---|---|---|\n")
	for i := range all {
		s := &all[i]
		for _, k := range kinds {
			list := b.results[s.name][k.name]
			if list == nil {
				continue
			}
			m := median(list, s.key)
			ratio, goals := "-", "-"
			if r := b.ratio(s, &k); r > 0 {
				ratio = fmt.Sprintf("%.2f", r)
			}
			if strings.HasPrefix(k.name, "berth") {
				goals = s.goals()
			}
			fmt.Fprintf(&out, "| %s | %s | %s %s | %s | %s | %s | %s | %s | %.0f |\n", s.name, k.name, number(s.key(m)), s.unit, ratio, goals,
				span(m.p50), span(m.p99), span(m.cpu), float64(m.peak)/1024)
		}
	}
	return out.String()
}

// draw makes the charts of what was measured.
func (b *bench) draw(kinds []kind, dir string) error {
	var names []string
	for _, k := range kinds {
		if !strings.HasPrefix(k.name, "floor") {
			names = append(names, k.name)
		}
	}
	var ratios, memory, api []bars
	for i := range all {
		s := &all[i]
		toFloor, peak, rate := bars{label: s.name, goal: s.goal, hope: s.hope}, bars{label: s.name}, bars{label: s.name}
		for j := range kinds {
			k := &kinds[j]
			list := b.results[s.name][k.name]
			if strings.HasPrefix(k.name, "floor") {
				continue
			}
			var most, each float64
			if list != nil {
				most, each = float64(median(list, s.key).peak)/1024, s.key(median(list, s.key))
			}
			toFloor.values, peak.values, rate.values = append(toFloor.values, b.ratio(s, k)), append(peak.values, most), append(rate.values, each)
		}
		switch {
		case slices.Max(append(peak.values, 0)) == 0:
			continue // it did not run
		case strings.HasPrefix(s.name, "api-"):
			api = append(api, rate)
		case !s.own && !s.exact:
			ratios = append(ratios, toFloor)
		}
		memory = append(memory, peak)
	}
	charts := map[string]string{}
	if len(ratios) > 0 {
		charts["ratios.svg"] = barChart("As fast as the floor is 1", "A longer bar is better. Red: what Berth is to reach at least; violet: what it could. Longer than 1.6 is cut.", names, ratios, 1, 1.6)
	}
	if len(memory) > 0 {
		charts["memory.svg"] = barChart("Peak memory, MiB", "Of the server process, at the end of each scenario. A shorter bar is better.", names, memory, 0, 200)
	}
	if len(api) > 0 {
		charts["api.svg"] = barChart("Calls of ECR's API a second", "Four clients. Lists are pages of 1,000 of 2,000, or of 100 where the name says so.", names, api, 0, most(api))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range charts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func most(list []bars) float64 {
	m := 1.0
	for _, g := range list {
		m = max(m, slices.Max(append(g.values, 0)))
	}
	return m
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
