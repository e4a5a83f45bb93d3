// Package wildcard matches texts with patterns in which a star stands for any run of
// characters, in linear time. It knows no other signs: IAM's patterns (package policy)
// have more.
package wildcard

import "strings"

// Match reports whether all of s matches a pattern.
func Match(pattern, s string) bool { return Parts(strings.Split(pattern, "*"), s) }

// Parts is Match for a pattern that was taken apart at its stars. Each part is looked for
// once.
func Parts(parts []string, s string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}
