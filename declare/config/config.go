// Package config reads files that declare repositories and who may use them: the
// module blocks of terraform files as they stand, and the same in YAML.
//
// It evaluates what such a block needs (locals, variables with values, a few pure
// functions), checks every value, and points at file, line and column of what is
// wrong. It also writes such files. It talks to no server and knows nothing of
// resources that exist: package declare compares and acts.
package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-registry/berth/arn"
)

// Pos is a place in a file. Lines and columns begin at 1.
type Pos struct {
	File         string
	Line, Column int
}

func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is something wrong at a place.
type Problem struct {
	Pos
	Text string
}

func (p Problem) Error() string { return p.Pos.String() + ": " + p.Text }

// maxProblems is how many problems are told at once.
const maxProblems = 20

// Problems are all that is wrong with some files.
type Problems []Problem

func (p Problems) Error() string {
	var lines []string
	for i, one := range p {
		if i == maxProblems {
			lines = append(lines, fmt.Sprintf("and %d more", len(p)-i))
			break
		}
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// Err is nil when nothing is wrong.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// collect adds an error's problems to p; another error becomes one at pos.
func (p *Problems) collect(pos Pos, err error) {
	var list Problems
	var one Problem
	switch {
	case err == nil:
	case errors.As(err, &list):
		*p = append(*p, list...)
	case errors.As(err, &one):
		*p = append(*p, one)
	default:
		*p = append(*p, Problem{pos, err.Error()})
	}
}

// Named is a name with its place.
type Named struct {
	Name string
	Pos  Pos
}

// Module is one block: repositories of one account and region, and who may use them.
type Module struct {
	// Name is the block's label; Source names the file in a way that does not depend
	// on where the command runs.
	Name   string
	Source string
	Pos    Pos
	// Account and Region are where it lands, "" where neither the block, the directory
	// nor the caller says so. AccountName is what the directory calls the account.
	Account     arn.Account
	AccountName string
	Region      arn.Region

	Repositories []Named
	Accounts     []AccountAccess
	GitHub       *GitHubAccess
	// Settings are those of every repository, Each those of some.
	Settings Settings
	Each     map[string]Settings
	// CreateOnPush holds prefixes under which pushes create repositories.
	CreateOnPush []Named
	Templates    []Template
	// RegistryPolicy is JSON, "" for none.
	RegistryPolicy string
}

// AccountAccess lets an account pull, and push if it can write.
type AccountAccess struct {
	Pos         Pos
	Description string
	ID          arn.Account
	CanWrite    bool
}

// GitHubAccess lets the workflows of GitHub repositories push, by a role.
type GitHubAccess struct {
	Pos          Pos
	Role         string
	Repositories []GitHubRepository
}

// GitHubRepository names repositories of GitHub; both names may have asterisks. The ids
// pin a repository that cannot be renamed into. Subjects narrow which of its workflows
// are meant, such as ref:refs/heads/main; none means all.
type GitHubRepository struct {
	Pos            Pos
	Organisation   string
	Repository     string
	OrganisationID string
	RepositoryID   string
	Subjects       []string
}

// Settings are what a block says of repositories. What it does not say is nil or "".
type Settings struct {
	Mutability       string
	Exclusions       []string
	ScanOnPush       *bool
	Encryption       string
	KMSKey           string
	LifecyclePolicy  string // JSON
	RepositoryPolicy string // JSON
	Tags             map[string]string
}

// Over returns s with what it leaves open taken from base.
func (s Settings) Over(base Settings) Settings {
	if s.Mutability == "" {
		s.Mutability, s.Exclusions = base.Mutability, base.Exclusions
	}
	if s.ScanOnPush == nil {
		s.ScanOnPush = base.ScanOnPush
	}
	if s.Encryption == "" {
		s.Encryption, s.KMSKey = base.Encryption, base.KMSKey
	}
	if s.LifecyclePolicy == "" {
		s.LifecyclePolicy = base.LifecyclePolicy
	}
	if s.RepositoryPolicy == "" {
		s.RepositoryPolicy = base.RepositoryPolicy
	}
	tags := map[string]string{}
	for _, from := range []map[string]string{base.Tags, s.Tags} {
		for k, v := range from {
			tags[k] = v
		}
	}
	if s.Tags = tags; len(tags) == 0 {
		s.Tags = nil
	}
	return s
}

// Template is a creation template. It has none of the block's access: its settings'
// policy says all.
type Template struct {
	Pos         Pos
	Prefix      string
	AppliedFor  []string
	Description string
	RoleARN     string
	Settings    Settings
}
