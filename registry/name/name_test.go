package name_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/berth-registry/berth/registry/name"
)

// TestNames: by hand, and against the pattern that the errors print.
func TestNames(t *testing.T) {
	pattern := regexp.MustCompile("^" + name.Pattern + "$")
	for s, want := range map[string]bool{"app": true, "team/app": true, "a/b/c": true, "a.b": true, "a_b": true, "a__b": true, "a---b": true, "0/1": true,
		"a": false, "": false, "A": false, "a/": false, "/a": false, "a//b": false, "a.": false, "-a": false, "a..b": false, "a._b": false, "a___b": false, "a b": false,
		"ä/b": false, "a/.b": false, strings.Repeat("a", 256): true, strings.Repeat("a", 257): false} {
		if got := name.Valid(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
		if shape := pattern.MatchString(s) && len(s) >= 2 && len(s) <= name.Max; shape != want {
			t.Errorf("%q: the pattern says %v", s, shape)
		}
	}
	for s, want := range map[string]bool{"ROOT": true, "a": true, "team/": true, "team": true, "": false, "/": false, "team//": false, "Root": false} {
		if got := name.ValidPrefix(s); got != want {
			t.Errorf("prefix %q: %v", s, got)
		}
	}
}
