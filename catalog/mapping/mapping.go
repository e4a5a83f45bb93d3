// Package mapping turns what a registry has into entities of a software catalog, by the
// configuration of Port's exporters: config.json, whose expressions are jq.
//
// It reads and checks a configuration, tells what in it will not do what it says, and
// evaluates it on one resource at a time. It limits neither time nor memory (package
// runner does, in a process of its own), knows no catalog, and therefore does not decide
// which of two spellings of a relation exists: it gives both.
package mapping

import (
	"context"
	"slices"

	"github.com/itchyny/gojq"
)

// Config is a configuration that has been read.
type Config struct {
	Resources []*Resource
	// The options of the newer grammar, with its defaults; the older one creates no
	// missing related entities.
	DeleteDependents  bool
	CreateMissing     bool
	Merge             bool
	DeletionThreshold float64
}

// Resource maps the resources of one kind, such as AWS::ECR::Repository.
type Resource struct {
	Path     string
	Kind     string
	Selector *Expression // nil takes all
	Items    *Expression // nil maps the resource itself
	ItemName string
	// Strict evaluates expressions as they are written and not otherwise.
	Strict   bool
	Mappings []*Mapping
	shape    shape
}

// Mapping makes one entity.
type Mapping struct {
	Path       string
	Identifier *Expression
	Title      *Expression
	Icon       *Expression
	Team       *Expression
	Blueprint  *Expression
	Properties []Field
	Relations  []Field
}

// Field is a property's or a relation's expression.
type Field struct {
	Name string
	*Expression
}

// Expression is a jq text that has been compiled.
type Expression struct {
	// Path says where it stands, such as resources[0].port.entity.mappings[0].title.
	Path string
	Text string

	code  *gojq.Code
	fixed *gojq.Code // with the slice that fits its prefix; nil when it does
	tags  bool       // it reads Tags
	reads []string   // the names by which it takes values
	// plain evaluates it when it ends soon, whatever its input is; else it is nil.
	plain func(any) (any, error)
	// bounded says that it ends soon and needs little memory, whatever its input is.
	bounded bool
	// prefix is what it selects by and slices off, if it does both.
	prefix string
	hints  []Notice
}

// Code names what a notice is about.
type Code string

// The codes.
const (
	// PrefixSlice is a slice that does not fit the prefix before it.
	PrefixSlice Code = "PREFIX_SLICE_MISMATCH"
	// TagsAsMap says that an expression failed on the list of tags and worked on the
	// object that it expects.
	TagsAsMap Code = "TAGS_AS_MAP"
	// KeysOfTags is keys applied to the list of tags.
	KeysOfTags Code = "KEYS_OF_TAGS"
	// NotPortable works here and not in Port's exporter.
	NotPortable Code = "NOT_PORTABLE"
	// Empty is an expression without a result where one is needed.
	Empty Code = "EMPTY_RESULT"
	// Failed is an expression that ended in an error.
	Failed Code = "EXPRESSION_FAILED"
	// ManyValues is several values of what may be one.
	ManyValues Code = "MANY_VALUES"
	// BadName is a value that can name no entity.
	BadName Code = "NOT_AN_IDENTIFIER"
)

// Notice tells people something about an expression.
type Notice struct {
	Code Code   `json:"code"`
	Path string `json:"path"`
	Text string `json:"text"`
	// Fix is the expression as it should be, "" when nothing can be said.
	Fix string `json:"fix,omitempty"`
}

// Result is what one resource became.
type Result struct {
	// Selected is false when the selector did not take the resource.
	Selected bool     `json:"selected"`
	Entities []Entity `json:"entities"`
	// Notices are of the selector and of what came before any entity.
	Notices []Notice `json:"notices,omitempty"`
	// Failed says that an identifier or the selector failed: what exists of this
	// resource must not be taken for stale.
	Failed bool `json:"failed,omitempty"`
}

// Entity is an entity that a mapping made. A property that is null clears; one that is
// missing, because its expression failed, leaves what there is.
type Entity struct {
	Blueprint  string          `json:"blueprint"`
	Identifier string          `json:"identifier"`
	Title      any             `json:"title,omitempty"`
	Icon       any             `json:"icon,omitempty"`
	Team       any             `json:"team,omitempty"`
	Properties map[string]any  `json:"properties"`
	Relations  map[string]Link `json:"relations"`
	Steps      []Step          `json:"steps"`
}

// Link is a relation's value: the entities it may name, in order, none twice. Where the
// expression slices off more or less than its prefix, Fixed has the names by the prefix,
// as many as Names; which of the two exists is for the catalog to say.
type Link struct {
	Names []string `json:"names"`
	Fixed []string `json:"fixed,omitempty"`
	// Create is what to call an entity that is to be created: of names or of fixed.
	Create []string `json:"create,omitempty"`
}

// Step is one expression's evaluation, for people.
type Step struct {
	Path    string   `json:"path"`
	Text    string   `json:"text"`
	Outputs []any    `json:"outputs"`
	Notices []Notice `json:"notices,omitempty"`
}

// Limits of a configuration and an evaluation.
const (
	MaxConfig    = 1 << 20 // bytes
	maxText      = 8 << 10 // bytes of an expression
	maxResources = 200
	maxMappings  = 200
	maxOutputs   = 1000
	maxItems     = 10_000
)

// Map evaluates a resource's mappings on a CloudControl document of properties. Where the
// expressions are those of the newer exporters, which wrap it, it is wrapped for them.
// Documents are made of what encoding/json makes.
func (r *Resource) Map(ctx context.Context, document any) Result {
	e := &evaluation{ctx: ctx, strict: r.Strict}
	return e.resource(r, r.shaped(document))
}

// Has reports whether resources of a kind are mapped at all.
func (c *Config) Has(kind string) bool {
	return slices.ContainsFunc(c.Resources, func(r *Resource) bool { return r.Kind == kind })
}

// Bounded reports whether mapping a kind needs no limits of time and memory: by their
// form all its expressions end soon.
func (c *Config) Bounded(kind string) bool {
	for _, r := range c.Resources {
		if r.Kind == kind && (r.Items != nil || slices.ContainsFunc(r.expressions(), func(x *Expression) bool { return !x.bounded })) {
			return false
		}
	}
	return true
}

// Map evaluates all mappings of a kind on a document.
func (c *Config) Map(ctx context.Context, kind string, document any) []Result {
	out := []Result{}
	for _, r := range c.Resources {
		if r.Kind == kind {
			out = append(out, r.Map(ctx, document))
		}
	}
	return out
}
