package identity

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// EntityKind is what an entity is, with the word that its ARN has.
type EntityKind string

// The kinds of entity.
const (
	User  EntityKind = "user"
	Group EntityKind = "group"
	Role  EntityKind = "role"
)

// Title is the kind as messages begin with it.
func (k EntityKind) Title() string { return strings.ToUpper(string(k[:1])) + string(k[1:]) }

// idPrefix begins the unique ids of a kind, as in AWS.
func (k EntityKind) idPrefix() string {
	return map[EntityKind]string{User: "AIDA", Group: "AGPA", Role: "AROA"}[k]
}

// Entity is a user, group or role.
type Entity struct {
	Account     arn.Account
	Kind        EntityKind
	Name, Path  string
	ID          string
	CreatedAt   time.Time
	Description string
	Trust       string        // of a role; principals by unique id
	MaxSession  time.Duration // of a role
	Boundary    string        // ARN of a policy, "" for none
	Tags        map[string]string
	UsedAt      time.Time // last assumed or signed in; zero for never
	UsedRegion  string

	PasswordAt    time.Time // zero without a password
	PasswordReset bool
	password      string
}

// ARN is the entity's ARN.
func (e *Entity) ARN() string { return EntityARN(e.Account, e.Kind, e.Path+e.Name) }

// EntityARN is the ARN of an entity with a path, such as /ci/builder; the slash
// before a bare name may be left out.
func EntityARN(a arn.Account, k EntityKind, pathAndName string) string {
	return arn.ARN{Service: "iam", Account: a, Resource: string(k) + "/" + strings.TrimPrefix(pathAndName, "/")}.String()
}

// Quotas of IAM (IAM and STS quotas, defaults).
const (
	maxKeys        = 2
	maxGroups      = 10
	maxAttached    = 10
	maxVersions    = 5
	maxTags        = 50
	maxUserInline  = 2048
	maxGroupInline = 5120
	maxRoleInline  = 10_240
	maxManaged     = 6144
	maxTrust       = 4096
	maxProviders   = 100
	maxClients     = 100
)

var nameLimits = map[EntityKind]int{User: 64, Group: 128, Role: 64}

func wordChars(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("+=,.@_-", rune(c)) {
			return false
		}
	}
	return true
}

// checkWord checks a name: of an entity, a policy or a session.
func checkWord(parameter, name string, limit int) error {
	switch {
	case name == "":
		return fail(ValidationError, "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length greater than or equal to 1", parameter)
	case len(name) > limit:
		return fail(ValidationError, "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", parameter, limit)
	case !wordChars(name):
		return fail(ValidationError, "The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", parameter)
	}
	return nil
}

func checkPath(path string) (string, error) {
	if path == "" {
		return "/", nil
	}
	ok := len(path) <= 512 && strings.HasPrefix(path, "/") && strings.HasSuffix(path, "/") && !strings.Contains(path, "//")
	for i := range len(path) {
		ok = ok && path[i] >= '!' && path[i] <= '~' && path[i] != '*' && path[i] != '?' && path[i] != '$'
	}
	if !ok {
		return "", fail(ValidationError, "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return path, nil
}

func checkTags(have, add map[string]string) error {
	n := len(have)
	for k, v := range add {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128:
			return fail(ValidationError, "A tag key must have between 1 and 128 characters")
		case utf8.RuneCountInString(v) > 256:
			return fail(ValidationError, "The value of tag %.128q has more than 256 characters", k)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return fail(InvalidInput, "Tag keys that begin with aws: are reserved")
		}
		if _, ok := have[k]; !ok {
			n++
		}
	}
	if n > maxTags {
		return fail(LimitExceeded, "The number of tags has reached the maximum limit of %d", maxTags)
	}
	return nil
}

func noEntity(k EntityKind, name string) error {
	return fail(NoSuchEntity, "The %s with name %s cannot be found.", k, name)
}

// NewEntity describes an entity to be made.
type NewEntity struct {
	Account     arn.Account
	Kind        EntityKind
	Name, Path  string
	Description string
	Trust       string
	MaxSession  time.Duration // 0: an hour
	Boundary    string
	Tags        map[string]string
}

// CreateEntity makes a user, group or role: ValidationError, InvalidInput,
// LimitExceeded, MalformedPolicyDocument, NoSuchEntity for the boundary,
// EntityAlreadyExists.
func (id *Identity) CreateEntity(ctx context.Context, n NewEntity) (*Entity, error) {
	e := &Entity{Account: n.Account, Kind: n.Kind, Name: n.Name, ID: newKeyID(n.Kind.idPrefix()), CreatedAt: id.now().UTC().Truncate(time.Second),
		Description: n.Description, MaxSession: n.MaxSession, Boundary: n.Boundary, Tags: n.Tags}
	if err := checkWord(string(n.Kind)+"Name", n.Name, nameLimits[n.Kind]); err != nil {
		return nil, err
	}
	var err error
	if e.Path, err = checkPath(n.Path); err != nil {
		return nil, err
	}
	if err := checkTags(nil, n.Tags); err != nil {
		return nil, err
	}
	if n.Kind == Role {
		if e.MaxSession, err = checkMaxSession(n.MaxSession); err != nil {
			return nil, err
		}
		if err := checkDescription(n.Description); err != nil {
			return nil, err
		}
		if e.Trust, err = id.bindTrust(ctx, n.Trust); err != nil {
			return nil, err
		}
	}
	err = id.write(ctx, func(tx *sqldb.Tx) error {
		if err := id.holdBoundary(tx, e); err != nil {
			return err
		}
		return insertEntity(tx, e)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return nil, fail(EntityAlreadyExists, "%s with name %s already exists.", n.Kind.Title(), n.Name)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func checkDescription(s string) error {
	if utf8.RuneCountInString(s) > 1000 {
		return fail(ValidationError, "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1000")
	}
	return nil
}

func checkMaxSession(d time.Duration) (time.Duration, error) {
	if d == 0 {
		return time.Hour, nil
	}
	if d < time.Hour || d > 12*time.Hour {
		return 0, fail(ValidationError, "1 validation error detected: Value at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200")
	}
	return d, nil
}

// holdBoundary keeps the policy that bounds an entity from being deleted
// meanwhile: NoSuchEntity.
func (id *Identity) holdBoundary(tx *sqldb.Tx, e *Entity) error {
	if e.Boundary == "" {
		return nil
	}
	_, err := holdPolicy(tx, e.Account, e.Boundary)
	return err
}

// Entity returns one: NoSuchEntity.
func (id *Identity) Entity(ctx context.Context, a arn.Account, k EntityKind, name string) (*Entity, error) {
	e, err := id.readEntity(ctx, a, k, name)
	if sqldb.IsNoRows(err) {
		return nil, noEntity(k, name)
	}
	return e, storage(err)
}

// EntityByID returns the entity with a unique id: NoSuchEntity.
func (id *Identity) EntityByID(ctx context.Context, a arn.Account, entityID string) (*Entity, error) {
	e, err := id.readEntityByID(ctx, a, entityID)
	if sqldb.IsNoRows(err) {
		return nil, fail(NoSuchEntity, "The entity with id %s cannot be found.", entityID)
	}
	return e, storage(err)
}

// Entities lists those of a kind under a path prefix in order of name, after the
// name given, at most limit.
func (id *Identity) Entities(ctx context.Context, a arn.Account, k EntityKind, prefix, after string, limit int) ([]*Entity, error) {
	list, err := id.listEntities(ctx, a, k, prefix, after, limit)
	return list, storage(err)
}

// ChangeEntity runs fn on an entity and stores what it changed of description,
// maximum session, boundary and tags: NoSuchEntity, and what the values' checks
// say.
func (id *Identity) ChangeEntity(ctx context.Context, a arn.Account, k EntityKind, name string, fn func(*Entity) error) (*Entity, error) {
	var out *Entity
	err := id.write(ctx, func(tx *sqldb.Tx) error {
		e, err := lockEntity(tx, a, k, name)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
		if err := checkDescription(e.Description); err != nil {
			return err
		}
		if k == Role {
			if e.MaxSession, err = checkMaxSession(e.MaxSession); err != nil {
				return err
			}
		}
		if err := id.holdBoundary(tx, e); err != nil {
			return err
		}
		out = e
		return updateEntity(tx, e)
	})
	return out, err
}

// TagEntity adds tags or changes their values.
func (id *Identity) TagEntity(ctx context.Context, a arn.Account, k EntityKind, name string, add map[string]string) error {
	_, err := id.ChangeEntity(ctx, a, k, name, func(e *Entity) error {
		if err := checkTags(e.Tags, add); err != nil {
			return err
		}
		for key, v := range add {
			e.Tags[key] = v
		}
		return nil
	})
	return err
}

// UntagEntity removes tags.
func (id *Identity) UntagEntity(ctx context.Context, a arn.Account, k EntityKind, name string, keys []string) error {
	_, err := id.ChangeEntity(ctx, a, k, name, func(e *Entity) error {
		for _, key := range keys {
			delete(e.Tags, key)
		}
		return nil
	})
	return err
}

// SetTrust replaces a role's trust policy: NoSuchEntity, MalformedPolicyDocument.
func (id *Identity) SetTrust(ctx context.Context, a arn.Account, name, text string) error {
	bound, err := id.bindTrust(ctx, text)
	if err != nil {
		return err
	}
	_, err = id.ChangeEntity(ctx, a, Role, name, func(e *Entity) error { e.Trust = bound; return nil })
	return err
}

// RenameEntity gives a user or group another name or path: NoSuchEntity,
// EntityAlreadyExists.
func (id *Identity) RenameEntity(ctx context.Context, a arn.Account, k EntityKind, name, newName, newPath string) error {
	if newName != "" {
		if err := checkWord("new"+k.Title()+"Name", newName, nameLimits[k]); err != nil {
			return err
		}
	}
	if newPath != "" {
		if _, err := checkPath(newPath); err != nil {
			return err
		}
	}
	err := id.write(ctx, func(tx *sqldb.Tx) error {
		e, err := lockEntity(tx, a, k, name)
		if err != nil {
			return err
		}
		if newName != "" {
			e.Name = newName
		}
		if newPath != "" {
			e.Path = newPath
		}
		return renameEntity(tx, e, name)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return fail(EntityAlreadyExists, "%s with name %s already exists.", k.Title(), newName)
	}
	return err
}

// DeleteEntity removes an entity that has nothing left: NoSuchEntity,
// DeleteConflict.
func (id *Identity) DeleteEntity(ctx context.Context, a arn.Account, k EntityKind, name string) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		e, err := lockEntity(tx, a, k, name)
		if err != nil {
			return err
		}
		if what, err := dependents(tx, e); err != nil {
			return err
		} else if what != "" {
			return fail(DeleteConflict, "Cannot delete entity, must %s first.", what)
		}
		return deleteEntity(tx, e)
	})
}

// write runs a change of identities and has what is cached forgotten once it is
// committed.
func (id *Identity) write(ctx context.Context, fn func(*sqldb.Tx) error) error {
	return storage(id.db.Write(ctx, func(tx *sqldb.Tx) error {
		tx.AfterCommit(id.forget)
		return fn(tx)
	}))
}
