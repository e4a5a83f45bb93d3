// Package entry is the line that the ledger keeps of each declared thing: what package
// declare writes and package ledger stores. It holds no rules but names.
package entry

import (
	"fmt"
	"time"
)

// Kind is what sort of thing is declared.
type Kind string

// The kinds. Providers are shared by the files that declare them; the others have one
// file each. Roles and providers belong to an account, not to a region.
const (
	Repository     Kind = "repository"
	Role           Kind = "role"
	Provider       Kind = "oidc-provider"
	Template       Kind = "creation-template"
	RegistryPolicy Kind = "registry-policy"
)

// Key names a thing within its place, and an entry of a source.
type Key struct {
	Kind Kind
	Name string
}

// Entry is one declaration.
type Entry struct {
	Key
	// Source names the file, Module the block in it, Line where it stands.
	Source string
	Module string
	Line   int
	// Spec is what was declared, by field. Long values are kept as digests.
	Spec map[string]string
	// Pending says that it is being applied, or was when something failed.
	Pending bool
	// Adopted says that the thing was there before it was declared.
	Adopted   bool
	ChangedAt time.Time
}

// Where names the place of a declaration for people.
func (e *Entry) Where() string {
	s := e.Source
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, e.Line)
	}
	if e.Module != "" {
		s += fmt.Sprintf(" (module %q)", e.Module)
	}
	return s
}
