package registry

import (
	"fmt"
	"strings"

	"github.com/berth-registry/berth/internal/digest"
)

// NamePattern is ECR's rule for repository names, as its errors print it.
const NamePattern = `(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`

const maxName = 256

// ValidName reports whether s may name a repository: 2 to 256 characters of
// NamePattern. It is the pattern's automaton by hand, linear and without
// allocation, since every request passes it.
func ValidName(s string) bool { return len(s) >= 2 && len(s) <= maxName && nameShape(s) }

func nameShape(s string) bool {
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

// ValidTag reports whether s may be pushed as a tag (OCI distribution spec,
// "Pulling manifests").
func ValidTag(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return true
}

// CheckName returns the error of the API for a name that is none.
func CheckName(name string) error {
	if ValidName(name) {
		return nil
	}
	why := "must satisfy regular expression '" + NamePattern + "'"
	if len(name) < 2 || len(name) > maxName {
		why = fmt.Sprintf("must have between 2 and %d characters", maxName)
	}
	return &Error{Code: NameInvalid, Message: constraint("repositoryName", "%s", why).Message}
}

// validPrefix is the rule for the prefix of a creation template: ROOT, or the
// beginning of names, with or without a final slash.
func validPrefix(s string) bool {
	if s == "ROOT" {
		return true
	}
	s = strings.TrimSuffix(s, "/")
	return len(s) >= 1 && len(s) <= maxName && nameShape(s)
}

// ImageID names an image by digest, by tag, or by both when they must agree.
type ImageID struct {
	Digest string
	Tag    string
}

// String prints the id as ECR's messages do.
func (id ImageID) String() string {
	part := func(s string) string {
		if s == "" {
			return "null"
		}
		return "'" + s + "'"
	}
	return "{imageDigest:" + part(id.Digest) + ", imageTag:" + part(id.Tag) + "}"
}

// ParseReference splits what follows /manifests/ into an ImageID; ok is false
// for text that is neither a digest nor a tag.
func ParseReference(ref string) (id ImageID, ok bool) {
	if strings.Contains(ref, ":") {
		return ImageID{Digest: ref}, digest.Valid(ref)
	}
	return ImageID{Tag: ref}, ValidTag(ref)
}
