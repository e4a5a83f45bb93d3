package function

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// Alias is a name for a version.
type Alias struct {
	Name        string             `json:"-"`
	Version     string             `json:"version"`
	Description string             `json:"description,omitempty"`
	Weights     map[string]float64 `json:"weights,omitempty"` // of another version
	Revision    string             `json:"revision"`
}

// pick is the version that an invocation gets.
func (a *Alias) pick() string {
	for v, w := range a.Weights {
		if rand.Float64() < w {
			return v
		}
	}
	return a.Version
}

// CreateAlias makes an alias: NotFound, Conflict, InvalidParameter.
func (s *Functions) CreateAlias(ctx context.Context, p arn.Place, name string, a *Alias) error {
	if len(a.Name) > 128 || !functionName.MatchString(a.Name) || version(a.Name) > 0 {
		return fail(InvalidParameter, "1 validation error detected: Value '%.150s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)", a.Name)
	}
	a.Revision = uuid.NewString()
	err := s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		if err := checkVersions(tx, f, a); err != nil {
			return err
		}
		return insertAlias(tx, f, a)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return fail(Conflict, "Alias already exists: %s:%s", ARN(p, name), a.Name)
	}
	return err
}

// ChangeAlias applies fn to an alias. revision, unless "", must be the current one:
// NotFound, Precondition.
func (s *Functions) ChangeAlias(ctx context.Context, p arn.Place, name, alias, revision string, fn func(*Alias)) (*Alias, error) {
	var a *Alias
	err := s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		var err error
		if a, err = txAlias(tx, f, alias); sqldb.IsNoRows(err) {
			return errAlias(p, name, alias)
		}
		if err != nil {
			return err
		}
		if revision != "" && revision != a.Revision {
			return errRevision()
		}
		fn(a)
		if err := checkVersions(tx, f, a); err != nil {
			return err
		}
		a.Revision = uuid.NewString()
		return updateAlias(tx, f, a)
	})
	return a, err
}

// checkVersions finds the versions that an alias points to: NotFound.
func checkVersions(tx *sqldb.Tx, f *Function, a *Alias) error {
	for _, v := range append(slices.Collect(maps.Keys(a.Weights)), a.Version) {
		if v == Latest {
			continue
		}
		if there, err := hasVersion(tx, f, version(v)); err != nil {
			return err
		} else if !there {
			return errFunction(f.Place, f.Name, v)
		}
	}
	return nil
}

func errAlias(p arn.Place, name, alias string) error {
	return fail(NotFound, "Cannot find alias arn: %s:%s", ARN(p, name), alias)
}

func errRevision() error {
	return fail(Precondition, "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve the latest RevisionId")
}

// Alias returns an alias: NotFound.
func (s *Functions) Alias(ctx context.Context, p arn.Place, name, alias string) (*Alias, error) {
	a, err := s.readAlias(ctx, p, name, alias)
	if sqldb.IsNoRows(err) {
		return nil, errAlias(p, name, alias)
	}
	return a, err
}

// DeleteAlias removes an alias; one that is not there is no error: NotFound (the
// function).
func (s *Functions) DeleteAlias(ctx context.Context, p arn.Place, name, alias string) error {
	f, err := s.Get(ctx, p, name, "")
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error { return deleteAlias(tx, f, alias) })
}
