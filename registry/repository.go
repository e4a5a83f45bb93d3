package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

// Encryption types of ECR's API.
const (
	AES256 = "AES256" // the storage's own encryption; Berth adds nothing
	KMS    = "KMS"    // Berth's envelope encryption under a key of its key ring
)

// Repository is a repository and its settings.
type Repository struct {
	Place       arn.Place
	Name        string
	ID          int64
	CreatedAt   time.Time
	Tags        TagRule
	ScanOnPush  bool
	Encryption  string // AES256 or KMS
	KMSKey      string // ARN with KMS
	Policy      string // repository policy text, "" when unset
	Lifecycle   string // lifecycle policy text, "" when unset
	EvaluatedAt time.Time
	Resource    map[string]string // resource tags
	Template    string            // prefix of the template that made it
	Images      int64
	version     int64
}

// ARN is the repository's ARN.
func (r *Repository) ARN() string { return arn.Repository(r.Place, r.Name).String() }

// NewRepository describes a repository to be made.
type NewRepository struct {
	Place      arn.Place
	Name       string
	Tags       TagRule
	ScanOnPush bool
	Encryption string // "" means AES256
	KMSKey     string // ARN, id or alias; "" with KMS means the account's own key
	Resource   map[string]string
	Policy     string
	Lifecycle  string
	template   string
}

// CreateRepository makes a repository: NameInvalid, InvalidParameter,
// InvalidTagParameter, TooManyTags, Kms, RepositoryAlreadyExists, LimitExceeded.
func (r *Registry) CreateRepository(ctx context.Context, n NewRepository) (*Repository, error) {
	if err := CheckName(n.Name); err != nil {
		return nil, err
	}
	repo := &Repository{Place: n.Place, Name: n.Name, ID: newID(), CreatedAt: r.now().UTC().Truncate(time.Microsecond), ScanOnPush: n.ScanOnPush,
		Resource: n.Resource, Policy: n.Policy, Lifecycle: n.Lifecycle, Template: n.template}
	var err error
	if repo.Tags, err = n.Tags.normal(); err != nil {
		return nil, err
	}
	if repo.Encryption, repo.KMSKey, err = r.encryption(n.Place, n.Encryption, n.KMSKey); err != nil {
		return nil, err
	}
	if err := r.checkResourceTags(nil, n.Resource); err != nil {
		return nil, err
	}
	by := r.createdBy(ctx, &n)
	allowed := r.allowances.take(n.Place, r.now())
	err = r.write(ctx, func(tx *sqldb.Tx) error {
		if !allowed {
			if err := r.countRoom(tx, n.Place); err != nil {
				return err
			}
		}
		if err := insertRepository(tx, repo, by); err != nil || r.watcher == nil {
			return err
		}
		return r.watcher.Repository(tx, repo)
	})
	r.guards.Forget()
	if errors.Is(err, sqldb.ErrUnique) {
		return nil, fail(RepositoryAlreadyExists, "The repository with name '%s' already exists in the registry with id '%s'", n.Name, n.Place.Account)
	}
	if err != nil {
		return nil, storage(err)
	}
	return repo, nil
}

// countRoom fails when there may be no further repository.
func (r *Registry) countRoom(tx *sqldb.Tx, p arn.Place) error {
	count, err := countRepositories(tx, p, r.limits.Repositories)
	if err != nil {
		return err
	}
	if count >= r.limits.Repositories {
		return fail(LimitExceeded, "The maximum number of repositories per registry (%d) has been reached in the registry with id '%s'", r.limits.Repositories, p.Account)
	}
	r.allowances.counted(p, r.limits.Repositories-count, r.now())
	return nil
}

// encryption settles type and key: the key's ARN, so that replies show it.
func (r *Registry) encryption(p arn.Place, kind, key string) (string, string, error) {
	switch kind {
	case "", AES256:
		if key != "" {
			return "", "", constraint("encryptionConfiguration", "kmsKey can only be given with encryptionType KMS")
		}
		return AES256, "", nil
	case KMS:
		if r.keys == nil {
			return "", "", fail(Kms, "This registry has no key ring.")
		}
		full, err := r.keys.Resolve(p, key)
		if err != nil {
			return "", "", &Error{Code: Kms, Message: fmt.Sprintf("The key '%s' does not exist in this deployment's key ring.", key), Err: err}
		}
		return KMS, full, nil
	}
	return "", "", constraint("encryptionConfiguration.encryptionType", "Member must satisfy enum value set: [%s, %s]", AES256, KMS)
}

// checkResourceTags checks tags to add to those that are there.
func (r *Registry) checkResourceTags(have, add map[string]string) error {
	for k, v := range add {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128:
			return fail(InvalidTagParameter, "Invalid parameter at 'tags' failed to satisfy constraint: 'A tag key must have 1 to 128 characters'")
		case utf8.RuneCountInString(v) > 256:
			return fail(InvalidTagParameter, "Invalid parameter at 'tags' failed to satisfy constraint: 'The value of tag %q has more than 256 characters'", k)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return fail(InvalidTagParameter, "Invalid parameter at 'tags' failed to satisfy constraint: 'The tag prefix aws: is reserved'")
		}
	}
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, add)
	if len(all) > r.limits.ResourceTags {
		return fail(TooManyTags, "The repository would have %d tags, %d are allowed", len(all), r.limits.ResourceTags)
	}
	return nil
}

// Repository returns one repository: RepositoryNotFound.
func (r *Registry) Repository(ctx context.Context, p arn.Place, name string) (*Repository, error) {
	repo, err := r.readRepository(ctx, p, name)
	if sqldb.IsNoRows(err) {
		return nil, errRepositoryNotFound(p, name)
	}
	return repo, storage(err)
}

// Repositories returns those of a registry in order of name, after the name
// given, at most limit.
func (r *Registry) Repositories(ctx context.Context, p arn.Place, after string, limit int) ([]*Repository, error) {
	list, err := r.listRepositories(ctx, p, after, limit)
	return list, storage(err)
}

// DeleteRepository removes a repository, and with force the images in it:
// RepositoryNotFound, RepositoryNotEmpty. It returns what was removed.
func (r *Registry) DeleteRepository(ctx context.Context, p arn.Place, name string, force bool) (*Repository, error) {
	var gone *Repository
	err := r.write(ctx, func(tx *sqldb.Tx) error {
		repo, err := lockRepository(tx, p, name)
		if err != nil {
			return err
		}
		if repo.Images > 0 && !force {
			return fail(RepositoryNotEmpty, "The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", name, p.Account)
		}
		gone = repo
		return r.deleteRepository(tx, repo, sqldb.Micros(r.now()))
	})
	if err != nil {
		return nil, storage(err)
	}
	r.cache.dropAll()
	r.guards.Forget()
	r.live.dropRepository(gone.ID)
	return gone, nil
}

// deleteRepository makes a repository invisible and tells the watcher.
func (r *Registry) deleteRepository(tx *sqldb.Tx, repo *Repository, now int64) error {
	if err := deleteRepository(tx, repo, now); err != nil || r.watcher == nil {
		return err
	}
	return r.watcher.RepositoryGone(tx, repo)
}

// change runs fn on a repository's settings and stores them: the repository is
// locked, so that no two changes lose each other.
func (r *Registry) change(ctx context.Context, p arn.Place, name string, fn func(*Repository) error) (*Repository, error) {
	var out *Repository
	err := r.write(ctx, func(tx *sqldb.Tx) error {
		repo, err := lockRepository(tx, p, name)
		if err != nil {
			return err
		}
		if err := fn(repo); err != nil {
			return err
		}
		out = repo
		if err := updateRepository(tx, repo); err != nil || r.watcher == nil {
			return err
		}
		return r.watcher.Repository(tx, repo)
	})
	r.guards.Forget()
	if err != nil {
		return nil, storage(err)
	}
	return out, nil
}

// SetTagRule changes a repository's mutability: RepositoryNotFound,
// InvalidParameter.
func (r *Registry) SetTagRule(ctx context.Context, p arn.Place, name string, rule TagRule) (*Repository, error) {
	rule, err := rule.normal()
	if err != nil {
		return nil, err
	}
	return r.change(ctx, p, name, func(repo *Repository) error { repo.Tags = rule; return nil })
}

// SetScanOnPush changes whether pushed images are to be scanned.
func (r *Registry) SetScanOnPush(ctx context.Context, p arn.Place, name string, on bool) (*Repository, error) {
	return r.change(ctx, p, name, func(repo *Repository) error { repo.ScanOnPush = on; return nil })
}

// SetPolicy stores a repository's policy text, checked before.
func (r *Registry) SetPolicy(ctx context.Context, p arn.Place, name, text string) (*Repository, error) {
	if err := CheckPolicy("PolicyText", text, policy.Repository); err != nil {
		return nil, err
	}
	return r.change(ctx, p, name, func(repo *Repository) error { repo.Policy = text; return nil })
}

// DeletePolicy removes a repository's policy and returns its text:
// RepositoryPolicyNotFound.
func (r *Registry) DeletePolicy(ctx context.Context, p arn.Place, name string) (string, error) {
	var text string
	_, err := r.change(ctx, p, name, func(repo *Repository) error {
		if repo.Policy == "" {
			return NoPolicy(p, name)
		}
		text, repo.Policy = repo.Policy, ""
		return nil
	})
	return text, err
}

// NoPolicy is the error for a repository without a policy.
func NoPolicy(p arn.Place, name string) error {
	return fail(RepositoryPolicyNotFound, "Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", name, p.Account)
}

// SetLifecycle stores a repository's lifecycle policy text, checked before.
func (r *Registry) SetLifecycle(ctx context.Context, p arn.Place, name, text string) (*Repository, error) {
	if err := checkLifecycle(text); err != nil {
		return nil, err
	}
	return r.change(ctx, p, name, func(repo *Repository) error { repo.Lifecycle = text; return nil })
}

// DeleteLifecycle removes a repository's lifecycle policy and returns the
// repository as it was: LifecyclePolicyNotFound.
func (r *Registry) DeleteLifecycle(ctx context.Context, p arn.Place, name string) (*Repository, error) {
	var was Repository
	_, err := r.change(ctx, p, name, func(repo *Repository) error {
		if repo.Lifecycle == "" {
			return NoLifecycle(p, name)
		}
		was = *repo
		repo.Lifecycle, repo.EvaluatedAt = "", time.Time{}
		return nil
	})
	return &was, err
}

// NoLifecycle is the error for a repository without a lifecycle policy.
func NoLifecycle(p arn.Place, name string) error {
	return fail(LifecyclePolicyNotFound, "Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", name, p.Account)
}

// TagResource adds resource tags or changes their values: InvalidTagParameter,
// TooManyTags.
func (r *Registry) TagResource(ctx context.Context, p arn.Place, name string, add map[string]string) error {
	_, err := r.change(ctx, p, name, func(repo *Repository) error {
		if err := r.checkResourceTags(repo.Resource, add); err != nil {
			return err
		}
		if repo.Resource == nil {
			repo.Resource = map[string]string{}
		}
		maps.Copy(repo.Resource, add)
		return nil
	})
	return err
}

// UntagResource removes resource tags; those that are not there are no error.
func (r *Registry) UntagResource(ctx context.Context, p arn.Place, name string, keys []string) error {
	_, err := r.change(ctx, p, name, func(repo *Repository) error {
		for _, k := range keys {
			delete(repo.Resource, k)
		}
		return nil
	})
	return err
}
