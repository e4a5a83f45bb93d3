// Package name holds ECR's rule for the names of repositories and for the prefixes of
// creation templates. It parses no image references.
package name

import "strings"

// Pattern is ECR's rule for repository names, as its errors print it.
const Pattern = `(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`

// Max is the longest name, in characters.
const Max = 256

// Valid reports whether s may name a repository: 2 to 256 characters of
// Pattern. It is the pattern's automaton by hand, linear and without
// allocation, since every request passes it.
func Valid(s string) bool { return len(s) >= 2 && len(s) <= Max && shape(s) }

func shape(s string) bool {
	for component := range strings.SplitSeq(s, "/") {
		if !validComponent(component) {
			return false
		}
	}
	return true
}

func validComponent(s string) bool {
	if s == "" || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if alnum(s[i]) {
			i++
			continue
		}
		start := i
		for !alnum(s[i]) { // ends: the last character is one
			i++
		}
		switch sep := s[start:i]; {
		case sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
		default:
			return false
		}
	}
	return true
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// Root is the prefix of the template for what no other takes.
const Root = "ROOT"

// ValidPrefix is the rule for the prefix of a creation template: ROOT, or the
// beginning of names, with or without a final slash.
func ValidPrefix(s string) bool {
	if s == Root {
		return true
	}
	s = strings.TrimSuffix(s, "/")
	return len(s) >= 1 && len(s) <= Max && shape(s)
}
