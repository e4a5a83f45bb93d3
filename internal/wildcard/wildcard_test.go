package wildcard_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/internal/wildcard"
)

// TestMatch: as a regular expression would have it.
func TestMatch(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab*é")), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		pattern, s := text.Draw(t, "pattern"), text.Draw(t, "s")
		re := regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `\z`)
		if wildcard.Match(pattern, s) != re.MatchString(s) {
			t.Errorf("%q and %q: want %v", pattern, s, re.MatchString(s))
		}
	})
}

// TestLong: long patterns that almost match take no longer.
func TestLong(t *testing.T) {
	s := strings.Repeat("a", 1<<20)
	if wildcard.Match(strings.Repeat("a*", 1<<15)+"b", s) || !wildcard.Match(strings.Repeat("*a", 1<<15)+"*", s) {
		t.Error("wrong")
	}
}
