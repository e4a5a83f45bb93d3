package registry

import (
	"slices"
	"strings"

	"github.com/berth-registry/berth/internal/wildcard"
)

// Mutability says which tags may move.
type Mutability string

// The modes. With exclusion, the tags that match a filter follow the other rule.
const (
	Mutable                Mutability = "MUTABLE"
	Immutable              Mutability = "IMMUTABLE"
	ImmutableWithExclusion Mutability = "IMMUTABLE_WITH_EXCLUSION"
	MutableWithExclusion   Mutability = "MUTABLE_WITH_EXCLUSION"
)

// Exclusion filter limits (ECR API, ImageTagMutabilityExclusionFilter).
const (
	maxExclusions      = 5
	maxExclusionLength = 128
)

// TagRule is a repository's mutability with its filters, wildcards over whole
// tags.
type TagRule struct {
	Mode       Mutability
	Exclusions []string
}

// normal fills in the default and checks the rule.
func (r TagRule) normal() (TagRule, error) {
	if r.Mode == "" {
		r.Mode = Mutable
	}
	const filters = "imageTagMutabilityExclusionFilters"
	switch r.Mode {
	case Mutable, Immutable:
		if len(r.Exclusions) > 0 {
			return r, constraint(filters, "must not be given when imageTagMutability is %s", r.Mode)
		}
		return r, nil
	case ImmutableWithExclusion, MutableWithExclusion:
	default:
		return r, constraint("imageTagMutability", "Member must satisfy enum value set: [%s, %s, %s, %s]",
			Immutable, Mutable, ImmutableWithExclusion, MutableWithExclusion)
	}
	if n := len(r.Exclusions); n < 1 || n > maxExclusions {
		return r, constraint(filters, "must hold 1 to %d filters when imageTagMutability is %s", maxExclusions, r.Mode)
	}
	for _, f := range r.Exclusions {
		if !validFilter(f) {
			return r, constraint(filters, "filter %q must have 1 to %d characters of a tag, with at most two wildcards", f, maxExclusionLength)
		}
	}
	return r, nil
}

func validFilter(f string) bool {
	if len(f) < 1 || len(f) > maxExclusionLength || strings.Count(f, "*") > 2 {
		return false
	}
	plain := strings.ReplaceAll(f, "*", "")
	return plain == "" || ValidTag("a"+plain)
}

// Immutable reports whether a tag, once set, must keep its image.
func (r TagRule) Immutable(tag string) bool {
	excluded := slices.ContainsFunc(r.Exclusions, func(f string) bool { return wildcard.Match(f, tag) })
	switch r.Mode {
	case Immutable:
		return true
	case ImmutableWithExclusion:
		return !excluded
	case MutableWithExclusion:
		return excluded
	}
	return false
}
