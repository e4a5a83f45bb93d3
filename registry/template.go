package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/registry/name"
	"github.com/berth-registry/berth/sqldb"
)

// The causes for which a template can make repositories.
const (
	PullThroughCache = "PULL_THROUGH_CACHE"
	Replication      = "REPLICATION"
	CreateOnPush     = "CREATE_ON_PUSH"
)

// Template says how repositories whose names begin with its prefix are made when
// something other than CreateRepository makes them.
type Template struct {
	Place       arn.Place `json:"-"`
	Prefix      string    `json:"-"` // ROOT matches what no other template does
	CreatedAt   time.Time `json:"-"`
	UpdatedAt   time.Time `json:"-"`
	Description string    `json:"description,omitempty"`
	AppliedFor  []string  `json:"appliedFor"`
	Tags        TagRule   `json:"tags"`
	Encryption  string    `json:"encryption,omitempty"`
	// KMSKey is as the user gave it; it is resolved when a repository is made.
	KMSKey     string            `json:"kmsKey,omitempty"`
	Resource   map[string]string `json:"resourceTags,omitempty"`
	Policy     string            `json:"policy,omitempty"`
	Lifecycle  string            `json:"lifecycle,omitempty"`
	CustomRole string            `json:"customRoleArn,omitempty"`
}

var rolePattern = regexp.MustCompile(`^arn:aws(-[a-z-]+)?:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$`)

// check completes a template and refuses what could not be applied later: it
// must not fail while somebody pushes.
func (r *Registry) check(t *Template) error {
	var err error
	switch {
	case !name.ValidPrefix(t.Prefix):
		return constraint("prefix", "must satisfy regular expression '((?:%s)/?|ROOT)'", NamePattern)
	case len(t.Description) > 256:
		return constraint("description", "Member must have length less than or equal to 256")
	case len(t.AppliedFor) == 0:
		return constraint("appliedFor", "Member must not be empty")
	case t.CustomRole != "" && (len(t.CustomRole) > 2048 || !rolePattern.MatchString(t.CustomRole)):
		return constraint("customRoleArn", "must be the ARN of an IAM role")
	}
	for _, a := range t.AppliedFor {
		if a != PullThroughCache && a != Replication && a != CreateOnPush {
			return constraint("appliedFor", "Member must satisfy enum value set: [%s, %s, %s]", Replication, PullThroughCache, CreateOnPush)
		}
	}
	if t.Tags, err = t.Tags.normal(); err != nil {
		return err
	}
	kind, _, err := r.encryption(t.Place, t.Encryption, t.KMSKey)
	if err != nil {
		return err
	}
	t.Encryption = kind
	if err := r.checkResourceTags(nil, t.Resource); err != nil {
		return err
	}
	if t.Policy != "" {
		if err := CheckPolicy("repositoryPolicy", t.Policy, policy.Repository); err != nil {
			return err
		}
	}
	if t.Lifecycle != "" {
		return checkLifecycle(t.Lifecycle)
	}
	return nil
}

// CreateTemplate stores a new template: Validation, TemplateAlreadyExists,
// LimitExceeded.
func (r *Registry) CreateTemplate(ctx context.Context, t Template) (*Template, error) {
	if err := r.check(&t); err != nil {
		return nil, asValidation(err)
	}
	t.CreatedAt = r.now().UTC().Truncate(time.Microsecond)
	t.UpdatedAt = t.CreatedAt
	err := r.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := countTemplates(tx, t.Place)
		if err != nil {
			return err
		}
		if n >= r.limits.Templates {
			return fail(LimitExceeded, "The maximum number of repository creation templates (%d) has been reached", r.limits.Templates)
		}
		return insertTemplate(tx, &t)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return nil, fail(TemplateAlreadyExists, "A template with prefix '%s' already exists in the registry with id '%s'", t.Prefix, t.Place.Account)
	}
	if err != nil {
		return nil, storage(err)
	}
	return &t, nil
}

// asValidation gives the errors of template parameters the exception that the
// template operations have for them.
func asValidation(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Code != Kms {
		return &Error{Code: Validation, Message: e.Message, Err: e.Err}
	}
	return err
}

// UpdateTemplate applies fn to a stored template and stores the result:
// TemplateNotFound, Validation.
func (r *Registry) UpdateTemplate(ctx context.Context, p arn.Place, prefix string, fn func(*Template)) (*Template, error) {
	var out *Template
	err := r.db.Write(ctx, func(tx *sqldb.Tx) error {
		t, err := lockTemplate(tx, p, prefix)
		if err != nil {
			return err
		}
		fn(t)
		if err := r.check(t); err != nil {
			return asValidation(err)
		}
		t.UpdatedAt = r.now().UTC().Truncate(time.Microsecond)
		out = t
		return updateTemplate(tx, t)
	})
	return out, storage(err)
}

// DeleteTemplate removes a template and returns it: TemplateNotFound.
func (r *Registry) DeleteTemplate(ctx context.Context, p arn.Place, prefix string) (*Template, error) {
	var out *Template
	err := r.db.Write(ctx, func(tx *sqldb.Tx) error {
		t, err := lockTemplate(tx, p, prefix)
		if err != nil {
			return err
		}
		out = t
		return deleteTemplate(tx, t)
	})
	return out, storage(err)
}

func errTemplateNotFound(p arn.Place, prefix string) error {
	return fail(TemplateNotFound, "The template with prefix '%s' does not exist in the registry with id '%s'", prefix, p.Account)
}

// Templates returns a registry's templates in order of prefix, after the prefix
// given, at most limit.
func (r *Registry) Templates(ctx context.Context, p arn.Place, after string, limit int) ([]*Template, error) {
	list, err := r.listTemplates(ctx, p, after, limit)
	return list, storage(err)
}

// MatchTemplate finds the template that makes repositories of this name for a
// cause: the one with the longest prefix that is followed by a slash, else ROOT.
// nil when none does.
func (r *Registry) MatchTemplate(ctx context.Context, p arn.Place, name, cause string) (*Template, error) {
	all, err := r.listTemplates(ctx, p, "", int(r.limits.Templates)+1)
	if err != nil {
		return nil, storage(err)
	}
	return match(all, name, cause), nil
}

func match(all []*Template, repository, cause string) *Template {
	var best *Template
	length := -1
	for _, t := range all {
		if !slices.Contains(t.AppliedFor, cause) {
			continue
		}
		prefix := strings.TrimSuffix(t.Prefix, "/") + "/"
		n := len(prefix)
		if t.Prefix == name.Root {
			n = 0
		} else if !strings.HasPrefix(repository, prefix) {
			continue
		}
		if n > length {
			best, length = t, n
		}
	}
	return best
}

// createOnPush makes the repository that a push misses, when a template says so
// and the caller may; else it waits for whoever else makes it:
// RepositoryNotFound when nobody does.
func (r *Registry) createOnPush(ctx context.Context, p arn.Place, name string, further Further) error {
	t, err := r.MatchTemplate(ctx, p, name, CreateOnPush)
	switch {
	case err != nil:
		return err
	case t == nil && r.missing != nil:
		return r.missing(ctx, p, name)
	case t == nil:
		return errRepositoryNotFound(p, name)
	}
	if len(t.Resource) > 0 {
		if err := further(ctx, "TagResource", nil); err != nil {
			return err
		}
	}
	err = further(ctx, "CreateRepository", func(ctx context.Context) error {
		_, err := r.CreateRepository(ctx, NewRepository{Place: p, Name: name, Tags: t.Tags, Encryption: t.Encryption, KMSKey: t.KMSKey,
			Resource: t.Resource, Policy: t.Policy, Lifecycle: t.Lifecycle, template: t.Prefix})
		if CodeOf(err) == RepositoryAlreadyExists { // another layer of the same push was faster
			return errors.Join(gate.ErrUnrecorded, err)
		}
		return err
	})
	if CodeOf(err) == RepositoryAlreadyExists {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create %s from the template with prefix %s: %w", name, t.Prefix, err)
	}
	r.log.Info("created a repository on push", "account", p.Account, "region", p.Region, "repository", name, "template", t.Prefix)
	return nil
}
