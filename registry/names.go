package registry

import (
	"fmt"
	"strings"

	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/registry/name"
)

// NamePattern is ECR's rule for repository names, as its errors print it.
const NamePattern = name.Pattern

// ValidName reports whether s may name a repository.
func ValidName(s string) bool { return name.Valid(s) }

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
func CheckName(s string) error {
	if name.Valid(s) {
		return nil
	}
	why := "must satisfy regular expression '" + NamePattern + "'"
	if len(s) < 2 || len(s) > name.Max {
		why = fmt.Sprintf("must have between 2 and %d characters", name.Max)
	}
	return &Error{Code: NameInvalid, Message: constraint("repositoryName", "%s", why).Message}
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
