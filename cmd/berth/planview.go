package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-registry/berth/declare"
)

// shown is how many changes of one sort a file shows unless --full is given.
const shown = 20

// show prints a plan.
func (s *session) show(e *env, p *declare.Plan) error {
	if s.Output == "json" {
		return printJSON(e.out, p)
	}
	s.screen.print("%s", s.text(p))
	return nil
}

// text is a plan for people.
func (s *session) text(p *declare.Plan) string {
	var b strings.Builder
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "%s %s\n", s.screen.paint(yellow, "warning:"), w)
	}
	for _, group := range grouped(p.Changes) {
		first := group[0]
		title := "accounts"
		if first.Kind != declare.Account {
			title = fmt.Sprintf("%s → account %s", first.Source, first.Account)
			if first.Region != "" {
				title += ", " + string(first.Region)
			}
		}
		fmt.Fprintf(&b, "%s\n", s.screen.paint(bold, title))
		counts := map[string]int{}
		for _, c := range group {
			k := string(c.Action) + string(c.Kind)
			if counts[k]++; counts[k] > shown && !s.Full {
				continue
			}
			s.change(&b, c)
		}
		for _, c := range group { // told once for each sort
			k := string(c.Action) + string(c.Kind)
			if n := counts[k]; n > shown && !s.Full {
				fmt.Fprintf(&b, "  %s\n", s.screen.paint(faint, fmt.Sprintf("… and %d more to %s (--full shows them)", n-shown, c.Action)))
				counts[k] = 0
			}
		}
		b.WriteByte('\n')
	}
	for i, k := range p.Kept {
		if i == shown && !s.Full {
			fmt.Fprintf(&b, "kept: %d more\n", len(p.Kept)-i)
			break
		}
		fmt.Fprintf(&b, "kept: %s %s in account %s, which %s no longer lists (--prune deletes it)\n", k.Kind, k.Name, k.Account, k.Source)
	}
	if p.Empty() {
		fmt.Fprintf(&b, "%s %d declared, nothing to do.\n", s.screen.paint(green, "No changes:"), p.Same)
		return b.String()
	}
	var parts []string
	for _, a := range []struct {
		action declare.Action
		word   string
	}{{declare.Create, "create"}, {declare.Adopt, "take over"}, {declare.Update, "change"}, {declare.Delete, "delete"}} {
		if n := p.Count(a.action); n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, a.word))
		}
	}
	fmt.Fprintf(&b, "%s %s; %d unchanged.\n", s.screen.paint(bold, "Plan:"), strings.Join(parts, ", "), p.Same)
	if p.Drift() {
		fmt.Fprintf(&b, "%s what is marked so was changed outside the files.\n", s.screen.paint(yellow, "Drift:"))
	}
	return b.String()
}

// grouped splits changes by file and place; accounts come first.
func grouped(changes []*declare.Change) [][]*declare.Change {
	var out [][]*declare.Change
	at := map[string]int{}
	for _, c := range changes {
		k := fmt.Sprint(c.Source, "\x00", c.Account, c.Region)
		if c.Kind == declare.Account {
			k = ""
		}
		i, ok := at[k]
		if !ok {
			i, at[k] = len(out), len(out)
			out = append(out, nil)
		}
		out[i] = append(out[i], c)
	}
	return out
}

var symbols = map[declare.Action][2]string{declare.Create: {"+", green}, declare.Update: {"~", yellow}, declare.Adopt: {">", cyan}, declare.Delete: {"-", red}} //nolint:gochecknoglobals // a table

func (s *session) change(b *strings.Builder, c *declare.Change) {
	sym := symbols[c.Action]
	name := c.Name
	if c.Kind == declare.RegistryPolicy {
		name = "of the registry"
	}
	line := fmt.Sprintf("%s %-17s %s", sym[0], c.Kind, name)
	var notes []string
	if c.From != "" {
		notes = append(notes, "declared by "+c.From+" before")
	}
	if c.Action == declare.Adopt {
		notes = append(notes, "taken over")
	}
	if c.Drift {
		what := "drift"
		if c.Action == declare.Create {
			what = "drift: it was deleted"
		}
		notes = append(notes, what)
	}
	if c.Action == declare.Create {
		notes = append(notes, summary(c)...)
	}
	if notes != nil {
		line += "  (" + strings.Join(notes, ", ") + ")"
	}
	fmt.Fprintf(b, "  %s\n", s.screen.paint(sym[1], line))
	if c.Action == declare.Create || c.Action == declare.Delete {
		return
	}
	for _, f := range c.Fields {
		s.field(b, f)
	}
}

// summary tells in short what something new has.
func summary(c *declare.Change) []string {
	var out []string
	tags := 0
	for _, f := range c.Fields {
		switch {
		case f.Field == "name":
			out = append(out, f.After)
		case strings.HasPrefix(f.Field, "tags."):
			tags++
		case strings.HasSuffix(f.Field, "policy"):
			out = append(out, strings.ReplaceAll(f.Field, "_", " "))
		case f.Field == "image_tag_mutability", f.Field == "encryption_type":
			out = append(out, f.After)
		case f.Field == "scan_on_push" && f.After == "true":
			out = append(out, "scanned on push")
		}
	}
	switch {
	case tags == 1:
		out = append(out, "1 tag")
	case tags > 1:
		out = append(out, fmt.Sprintf("%d tags", tags))
	}
	return out
}

// field prints a field's change: documents line by line, the rest in one.
func (s *session) field(b *strings.Builder, f declare.FieldChange) {
	drift := ""
	if f.Drift {
		drift = s.screen.paint(yellow, "  (drift)")
	}
	if !strings.HasPrefix(f.Before+f.After, "{") {
		after := none(f.After)
		if f.Removed {
			after = "removed"
		}
		fmt.Fprintf(b, "      %s: %s → %s%s\n", f.Field, s.screen.paint(red, none(f.Before)), s.screen.paint(green, after), drift)
		return
	}
	fmt.Fprintf(b, "      %s:%s\n", f.Field, drift)
	for _, line := range differences(pretty(f.Before), pretty(f.After)) {
		colour := faint
		switch line[0] {
		case '+':
			colour = green
		case '-':
			colour = red
		}
		fmt.Fprintf(b, "        %s\n", s.screen.paint(colour, line))
	}
}

func none(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// pretty writes a document in lines, with sorted keys.
func pretty(s string) []string {
	if s == "" {
		return nil
	}
	var v any
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return strings.Split(s, "\n")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if enc.Encode(v) != nil {
		return strings.Split(s, "\n")
	}
	return strings.Split(strings.TrimSpace(b.String()), "\n")
}

// around is how many lines that are the same are shown about a difference.
const around = 2

// differences lists lines with "+ ", "- " or "  " before them, by their longest common
// subsequence.
func differences(a, b []string) []string {
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var all []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, "  "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && length[i+1][j] >= length[i][j+1]:
			all = append(all, "- "+a[i])
			i++
		default:
			all = append(all, "+ "+b[j])
			j++
		}
	}
	near := func(n int) bool {
		return slices.ContainsFunc(all[max(0, n-around):min(len(all), n+around+1)], func(s string) bool { return s[0] != ' ' })
	}
	var out []string
	for n, line := range all {
		if near(n) {
			out = append(out, line)
		} else if len(out) > 0 && out[len(out)-1] != "  …" {
			out = append(out, "  …")
		}
	}
	return out
}
