package console

import (
	"html/template"
	"regexp"
	"strings"
)

// A command is shown beside the form that does the same. Its text has places {name} for
// the form's fields, {name*prefix} for one that holds words, each behind a prefix; what stands in [ ] is left out while one of its fields is empty. The
// script fills it in again as somebody types.
var (
	optionalPart = regexp.MustCompile(`\s*\[([^\][]*)\]`)
	commandPlace = regexp.MustCompile(`\{([a-zA-Z_]+)(?:=([^}]*)|\*([^}]*))?\}`)
	plainWord    = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
)

// quoted is a word as a shell takes it.
func quoted(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// command fills a command in. A place without a value shows what is to be put there, in
// capital letters.
func command(text string, values map[string]string) string {
	text = optionalPart.ReplaceAllStringFunc(text, func(part string) string {
		for _, m := range commandPlace.FindAllStringSubmatch(part, -1) {
			if want := m[2]; values[m[1]] == "" || want != "" && values[m[1]] != want {
				return ""
			}
		}
		inner := optionalPart.FindStringSubmatch(part)[1]
		return part[:len(part)-len(strings.TrimLeft(part, " \n\t"))] + inner
	})
	return commandPlace.ReplaceAllStringFunc(text, func(place string) string {
		m := commandPlace.FindStringSubmatch(place)
		if m[2] != "" { // only a condition
			return ""
		}
		if m[3] != "" {
			var words []string
			for _, w := range strings.Fields(values[m[1]]) {
				words = append(words, quoted(m[3]+w))
			}
			return strings.Join(words, " ")
		}
		if v := values[m[1]]; v != "" {
			return quoted(v)
		}
		return strings.ToUpper(strings.ReplaceAll(m[1], "_", "-"))
	})
}

// cli shows the command of a form; pairs are what its fields hold at first.
func cli(text string, pairs ...any) (template.HTML, error) {
	values := map[string]string{}
	m, err := dict(pairs...)
	if err != nil {
		return "", err
	}
	for k, v := range m {
		if s, ok := v.(string); ok {
			values[k] = s
		}
	}
	fixed := &strings.Builder{}
	for k, v := range values { // what the form does not have
		fixed.WriteString(` data-v-` + strings.ReplaceAll(k, "_", "-") + `="` + template.HTMLEscapeString(v) + `"`)
	}
	shown := command(text, values)
	return template.HTML(`<details class="cli"><summary>The same by the command line</summary><div class="code"><pre data-cli="` + //nolint:gosec // it is escaped
		template.HTMLEscapeString(text) + `"` + fixed.String() + ` tabindex="0"><code>` + template.HTMLEscapeString(shown) + `</code></pre>` +
		`<button type="button" class="copy" data-copy-code title="Copy" aria-label="Copy the command">` + string(icon("copy")) + `</button></div></details>`), nil
}
