package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// functions are what templates may call.
func functions() template.FuncMap {
	return template.FuncMap{"ago": ago, "bytes": bytesText, "num": number, "short": short, "copy": copyButton, "cli": cli, "dict": dict, "icon": icon, "path": pathOf,
		"json": indented, "join": strings.Join, "csrf": csrf, "plural": plural, "query": query, "has": slices.Contains[[]string], "last": lastPart,
		"string": plain, "add": func(a, b int) int { return a + b }, "join3": func() []string { return []string{"1", "2", "3"} }}
}

func csrf(s string) template.HTML {
	return template.HTML(`<input type="hidden" name="csrf" value="` + template.HTMLEscapeString(s) + `">`) //nolint:gosec // it is escaped
}

// ago shows a time relative to now, with the exact one in its title; the script keeps it
// true.
func ago(v any) template.HTML {
	var t time.Time
	switch v := v.(type) {
	case time.Time:
		t = v
	case *time.Time:
		if v != nil {
			t = *v
		}
	case unixTime:
		t = v.Time()
	case string:
		if parsed, err := time.Parse(time.RFC3339, v); err == nil {
			t = parsed
		}
	}
	if t.IsZero() {
		return `<span class="quiet">never</span>`
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s UTC">%s</time>`, t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05"), distance(time.Since(t)))) //nolint:gosec // made of numbers
}

// distance is how long ago something was, in words.
func distance(d time.Duration) string {
	future := d < 0
	if future {
		d = -d
	}
	text := ""
	switch {
	case d < time.Minute:
		if future {
			return "in a moment"
		}
		return "just now"
	case d < time.Hour:
		text = strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		text = strconv.Itoa(int(d/time.Hour)) + " h"
	case d < 60*24*time.Hour:
		text = strconv.Itoa(int(d/(24*time.Hour))) + " days"
	case d < 2*365*24*time.Hour:
		text = strconv.Itoa(int(d/(30*24*time.Hour))) + " months"
	default:
		text = strconv.Itoa(int(d/(365*24*time.Hour))) + " years"
	}
	if future {
		return "in " + text
	}
	return text + " ago"
}

// unixTime is a time as awsJson writes it.
type unixTime float64

// Time is the time.
func (t unixTime) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(t * 1000))
}

// bytesText is a size in binary units.
func bytesText(v any) string {
	n := integer(v)
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f /= 1024; f < 1024 || unit == "TiB" {
			if f < 10 {
				return strconv.FormatFloat(f, 'f', 1, 64) + " " + unit
			}
			return strconv.FormatFloat(f, 'f', 0, 64) + " " + unit
		}
	}
	return ""
}

func integer(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case int64:
		return v
	case *int64:
		if v != nil {
			return *v
		}
	case float64:
		return int64(v)
	}
	return 0
}

// number groups the digits of a number.
func number(v any) string {
	s := strconv.FormatInt(integer(v), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func plural(v any, one, many string) string {
	if integer(v) == 1 {
		return "1 " + one
	}
	return number(v) + " " + many
}

// short is a digest as people recognise it.
func short(digest string) string {
	if _, hex, ok := strings.Cut(digest, ":"); ok && len(hex) > 12 {
		return hex[:12]
	}
	return digest
}

// plain is a value as text; a pointer to none is "".
func plain(v any) string {
	if p, ok := v.(*string); ok {
		if p == nil {
			return ""
		}
		return *p
	}
	return fmt.Sprint(v)
}

func lastPart(s string) string { return s[strings.LastIndexAny(s, "/:")+1:] }

// copyButton puts a text into the clipboard.
func copyButton(text string) template.HTML {
	return template.HTML(`<button type="button" class="copy" data-copy="` + template.HTMLEscapeString(text) + `" title="Copy" aria-label="Copy ` + //nolint:gosec // it is escaped
		template.HTMLEscapeString(text[:min(len(text), 60)]) + `">` + string(icon("copy")) + `</button>`)
}

// pathOf makes a path of escaped parts; what follows the first is one part each.
func pathOf(base string, parts ...string) string {
	for _, p := range parts {
		var segments []string
		for _, s := range strings.Split(p, "/") {
			segments = append(segments, url.PathEscape(s))
		}
		base += "/" + strings.Join(segments, "/")
	}
	return base
}

// dict makes a map of names and values.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		k, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("the name %v is no string", pairs[i])
		}
		m[k] = pairs[i+1]
	}
	return m, nil
}

// indented is a value, or a JSON text, as JSON that people read.
func indented(v any) string {
	if s, ok := v.(string); ok {
		var parsed any
		if json.Unmarshal([]byte(s), &parsed) != nil {
			return s
		}
		v = parsed
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if enc.Encode(v) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// icons are drawn on a grid of 24 with a stroke.
var icons = map[string]string{
	"copy":    `<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M5 15V6a2 2 0 0 1 2-2h8"/>`,
	"home":    `<path d="M4 11l8-7 8 7v8a1 1 0 0 1-1 1h-4v-6H9v6H5a1 1 0 0 1-1-1z"/>`,
	"box":     `<path d="M4 8l8-4 8 4v8l-8 4-8-4z"/><path d="M4 8l8 4 8-4M12 12v8"/>`,
	"bolt":    `<path d="M13 3L5 14h6l-1 7 8-11h-6z"/>`,
	"flow":    `<circle cx="6" cy="6" r="2"/><circle cx="18" cy="12" r="2"/><circle cx="6" cy="18" r="2"/><path d="M8 6h4a3 3 0 0 1 3 3M8 18h4a3 3 0 0 0 3-3"/>`,
	"user":    `<circle cx="12" cy="8" r="4"/><path d="M4 20c1-4 4-6 8-6s7 2 8 6"/>`,
	"users":   `<circle cx="9" cy="8" r="3.5"/><path d="M2.500 19c.8-3.500 3.200-5 6.500-5s5.700 1.500 6.500 5M16 5a3.500 3.500 0 0 1 0 6.500M18 14.500c2 .7 3 2.200 3.500 4.500"/>`,
	"key":     `<circle cx="8" cy="15" r="4"/><path d="M11 12l8-8M16 7l3 3"/>`,
	"shield":  `<path d="M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z"/>`,
	"help":    `<circle cx="12" cy="12" r="9"/><path d="M9.500 9.500a2.500 2.500 0 1 1 3.500 2.300c-.7.300-1 .8-1 1.700M12 16.800v.2"/>`,
	"grid":    `<rect x="4" y="4" width="7" height="7" rx="1"/><rect x="13" y="4" width="7" height="7" rx="1"/><rect x="4" y="13" width="7" height="7" rx="1"/><rect x="13" y="13" width="7" height="7" rx="1"/>`,
	"graph":   `<circle cx="5" cy="12" r="2"/><circle cx="19" cy="6" r="2"/><circle cx="19" cy="18" r="2"/><path d="M7 11l10-4M7 13l10 4"/>`,
	"map":     `<path d="M4 6h6l4 12h6M14 6h6M4 18h6"/>`,
	"list":    `<path d="M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01"/>`,
	"search":  `<circle cx="11" cy="11" r="6"/><path d="M20 20l-4.500-4.500"/>`,
	"sun":     `<circle cx="12" cy="12" r="4"/><path d="M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2"/>`,
	"menu":    `<path d="M4 7h16M4 12h16M4 17h16"/>`,
	"plus":    `<path d="M12 5v14M5 12h14"/>`,
	"trash":   `<path d="M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13"/>`,
	"warn":    `<path d="M12 4l9 16H3zM12 10v4M12 17v.1"/>`,
	"check":   `<path d="M5 12l5 5 9-10"/>`,
	"tag":     `<path d="M4 4h8l8 8-8 8-8-8z"/><path d="M8.500 8.500h.01"/>`,
	"layers":  `<path d="M12 3l9 5-9 5-9-5z"/><path d="M3 13l9 5 9-5"/>`,
	"log":     `<path d="M6 3h9l4 4v14H6z"/><path d="M9 12h7M9 16h7M9 8h3"/>`,
	"arrow":   `<path d="M5 12h14M13 6l6 6-6 6"/>`,
	"account": `<rect x="4" y="9" width="16" height="11" rx="1"/><path d="M8 9V5h8v4M4 14h16"/>`,
	"sync":    `<path d="M20 6v5h-5M4 18v-5h5"/><path d="M19 11a7 7 0 0 0-13-2M5 13a7 7 0 0 0 13 2"/>`,
}

// icon draws one, as decoration.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">` + icons[name] + `</svg>`) //nolint:gosec // from the table
}

// pathOne is a name as one part of a path, with its slashes escaped.
func pathOne(name string) string { return "/" + url.PathEscape(name) }
