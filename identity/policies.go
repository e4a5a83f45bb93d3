package identity

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

// ManagedPolicy is a policy with an ARN of its own and versions.
type ManagedPolicy struct {
	Account     arn.Account // "" for AWS's own
	AWS         bool        // one that AWS provides: it cannot be changed
	Name, Path  string
	ID          string
	Description string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Default     int // version
	Tags        map[string]string
	Attachments int // to users, groups and roles
	Boundaries  int // that it is
	last        int
}

// ARN is the policy's ARN.
func (p *ManagedPolicy) ARN() string {
	if p.AWS {
		return awsPolicyPrefix + strings.TrimPrefix(p.Path, "/") + p.Name
	}
	return PolicyARN(p.Account, p.Path+p.Name)
}

// PolicyARN is the ARN of a managed policy with a path, such as /team/push.
func PolicyARN(a arn.Account, pathAndName string) string {
	return arn.ARN{Service: "iam", Account: a, Resource: "policy/" + strings.TrimPrefix(pathAndName, "/")}.String()
}

// Version is a version of a managed policy.
type Version struct {
	Number    int
	Document  string
	CreatedAt time.Time
}

// VersionID is a version's number as the API has it.
func VersionID(n int) string { return "v" + strconv.Itoa(n) }

func versionNumber(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	if err != nil || n < 1 || VersionID(n) != s {
		return 0, fail(ValidationError, "Value '%.60s' at 'versionId' failed to satisfy constraint: it must look like v1", s)
	}
	return n, nil
}

func noPolicy(policyARN string) error {
	return fail(NoSuchEntity, "Policy %s does not exist or is not attachable.", policyARN)
}

// policyName splits a customer managed policy's ARN of this account.
func policyName(a arn.Account, policyARN string) (name string, ok bool) {
	p, err := arn.Parse(policyARN)
	rest, isPolicy := strings.CutPrefix(p.Resource, "policy/")
	if err != nil || p.Service != "iam" || p.Account != a || !isPolicy {
		return "", false
	}
	return rest[strings.LastIndexByte(rest, '/')+1:], true
}

// checkIdentityPolicy checks a policy to be attached to somebody. White space does
// not count against the limit, as in IAM.
func checkIdentityPolicy(text string, limit int, what string) error {
	n := 0
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	if n > limit {
		return fail(LimitExceeded, "Cannot exceed quota for %s: %d", what, limit)
	}
	if _, err := policy.Parse(text, policy.Identity); err != nil {
		return malformed(err)
	}
	return nil
}

// CreatePolicy makes a managed policy: ValidationError, LimitExceeded,
// MalformedPolicyDocument, EntityAlreadyExists.
func (id *Identity) CreatePolicy(ctx context.Context, p ManagedPolicy, document string) (*ManagedPolicy, error) {
	if err := checkWord("policyName", p.Name, 128); err != nil {
		return nil, err
	}
	var err error
	if p.Path, err = checkPath(p.Path); err != nil {
		return nil, err
	}
	if err := errors.Join(checkTags(nil, p.Tags), checkDescription(p.Description), checkIdentityPolicy(document, maxManaged, "PolicySize")); err != nil {
		return nil, err
	}
	p.ID, p.Default, p.last = newKeyID("ANPA"), 1, 1
	p.CreatedAt = id.now().UTC().Truncate(time.Second)
	p.UpdatedAt = p.CreatedAt
	err = id.write(ctx, func(tx *sqldb.Tx) error {
		if err := insertPolicy(tx, &p); err != nil {
			return err
		}
		return insertVersion(tx, &p, Version{1, document, p.CreatedAt})
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return nil, fail(EntityAlreadyExists, "A policy called %s already exists. Duplicate names are not allowed.", p.Name)
	}
	return &p, err
}

// Policy returns a managed policy by ARN, AWS's too, with how often it is used in
// an account: NoSuchEntity.
func (id *Identity) Policy(ctx context.Context, a arn.Account, policyARN string) (*ManagedPolicy, error) {
	p, _, ok := awsPolicy(policyARN)
	if !ok {
		name, ours := policyName(a, policyARN)
		if !ours {
			return nil, noPolicy(policyARN)
		}
		var err error
		if p, err = id.readPolicy(ctx, a, name); sqldb.IsNoRows(err) || err == nil && p.ARN() != policyARN {
			return nil, noPolicy(policyARN)
		} else if err != nil {
			return nil, storage(err)
		}
	}
	var err error
	p.Attachments, p.Boundaries, err = id.countUses(ctx, a, policyARN)
	return p, storage(err)
}

// Policies lists managed policies in order of name, an account's own or AWS's,
// after the name given, at most limit.
func (id *Identity) Policies(ctx context.Context, a arn.Account, aws bool, prefix, after string, limit int) ([]*ManagedPolicy, error) {
	var list []*ManagedPolicy
	var err error
	if aws {
		for _, end := range slices.Sorted(maps.Keys(awsPolicies)) {
			p, _, _ := awsPolicy(awsPolicyPrefix + end)
			if strings.HasPrefix(p.Path, prefix) && strings.ToLower(p.Name) > strings.ToLower(after) {
				list = append(list, p)
			}
		}
		slices.SortFunc(list, func(x, y *ManagedPolicy) int {
			return strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name))
		})
		list = list[:min(limit, len(list))]
	} else if list, err = id.listPolicies(ctx, a, prefix, after, limit); err != nil {
		return nil, storage(err)
	}
	for _, p := range list {
		if p.Attachments, p.Boundaries, err = id.countUses(ctx, a, p.ARN()); err != nil {
			return nil, storage(err)
		}
	}
	return list, nil
}

// PolicyVersion returns a version, "" for the default one: NoSuchEntity.
func (id *Identity) PolicyVersion(ctx context.Context, a arn.Account, policyARN, version string) (*ManagedPolicy, Version, error) {
	p, err := id.Policy(ctx, a, policyARN)
	if err != nil {
		return nil, Version{}, err
	}
	n := p.Default
	if version != "" {
		if n, err = versionNumber(version); err != nil {
			return nil, Version{}, err
		}
	}
	all, err := id.PolicyVersions(ctx, p)
	if err != nil {
		return nil, Version{}, err
	}
	for _, v := range all {
		if v.Number == n {
			return p, v, nil
		}
	}
	return nil, Version{}, fail(NoSuchEntity, "Policy %s version %s does not exist or is not attachable.", policyARN, version)
}

// PolicyVersions lists a policy's versions, the newest first.
func (id *Identity) PolicyVersions(ctx context.Context, p *ManagedPolicy) ([]Version, error) {
	if p.AWS {
		_, text, _ := awsPolicy(p.ARN())
		return []Version{{1, text, p.CreatedAt}}, nil
	}
	list, err := id.listVersions(ctx, p)
	return list, storage(err)
}

// changePolicy runs fn on a policy of the account, locked: NoSuchEntity,
// AccessDenied for AWS's own.
func (id *Identity) changePolicy(ctx context.Context, a arn.Account, policyARN string, fn func(*sqldb.Tx, *ManagedPolicy) error) error {
	if _, _, ok := awsPolicy(policyARN); ok {
		return fail(AccessDenied, "Policy %s is managed by AWS and cannot be changed.", policyARN)
	}
	return id.write(ctx, func(tx *sqldb.Tx) error {
		p, err := lockPolicy(tx, a, policyARN)
		if err != nil {
			return err
		}
		return fn(tx, p)
	})
}

// AddPolicyVersion adds a version, the default one if asked: LimitExceeded,
// MalformedPolicyDocument.
func (id *Identity) AddPolicyVersion(ctx context.Context, a arn.Account, policyARN, document string, makeDefault bool) (v Version, err error) {
	if err := checkIdentityPolicy(document, maxManaged, "PolicySize"); err != nil {
		return v, err
	}
	return v, id.changePolicy(ctx, a, policyARN, func(tx *sqldb.Tx, p *ManagedPolicy) error {
		n, err := countVersions(tx, p)
		if err != nil {
			return err
		}
		if n >= maxVersions {
			return fail(LimitExceeded, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.last++
		p.UpdatedAt = id.now().UTC().Truncate(time.Second)
		v = Version{p.last, document, p.UpdatedAt}
		if makeDefault {
			p.Default = p.last
		}
		if err := insertVersion(tx, p, v); err != nil {
			return err
		}
		return updatePolicy(tx, p)
	})
}

// SetDefaultVersion makes a version the one that counts: NoSuchEntity.
func (id *Identity) SetDefaultVersion(ctx context.Context, a arn.Account, policyARN, version string) error {
	n, err := versionNumber(version)
	if err != nil {
		return err
	}
	return id.changePolicy(ctx, a, policyARN, func(tx *sqldb.Tx, p *ManagedPolicy) error {
		if have, err := hasVersion(tx, p, n); err != nil || !have {
			return errors.Join(err, fail(NoSuchEntity, "Policy %s version %s does not exist or is not attachable.", policyARN, version))
		}
		p.Default, p.UpdatedAt = n, id.now().UTC().Truncate(time.Second)
		return updatePolicy(tx, p)
	})
}

// DeletePolicyVersion removes a version that is not the default: NoSuchEntity,
// DeleteConflict.
func (id *Identity) DeletePolicyVersion(ctx context.Context, a arn.Account, policyARN, version string) error {
	n, err := versionNumber(version)
	if err != nil {
		return err
	}
	return id.changePolicy(ctx, a, policyARN, func(tx *sqldb.Tx, p *ManagedPolicy) error {
		if p.Default == n {
			return fail(DeleteConflict, "Cannot delete the default version of a policy.")
		}
		gone, err := deleteVersions(tx, p, n)
		if err == nil && gone == 0 {
			err = fail(NoSuchEntity, "Policy %s version %s does not exist or is not attachable.", policyARN, version)
		}
		return err
	})
}

// DeletePolicy removes a policy that nothing uses: DeleteConflict.
func (id *Identity) DeletePolicy(ctx context.Context, a arn.Account, policyARN string) error {
	return id.changePolicy(ctx, a, policyARN, func(tx *sqldb.Tx, p *ManagedPolicy) error {
		used, err := policyUsed(tx, a, policyARN)
		switch {
		case err != nil:
			return err
		case used:
			return fail(DeleteConflict, "Cannot delete a policy attached to entities.")
		}
		n, err := countVersions(tx, p)
		switch {
		case err != nil:
			return err
		case n > 1:
			return fail(DeleteConflict, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		return deletePolicy(tx, p)
	})
}

// TagPolicy adds and removes tags of a managed policy.
func (id *Identity) TagPolicy(ctx context.Context, a arn.Account, policyARN string, add map[string]string, remove []string) error {
	return id.changePolicy(ctx, a, policyARN, func(tx *sqldb.Tx, p *ManagedPolicy) error {
		if err := checkTags(p.Tags, add); err != nil {
			return err
		}
		maps.Copy(p.Tags, add)
		for _, k := range remove {
			delete(p.Tags, k)
		}
		return updatePolicy(tx, p)
	})
}

// Attach attaches a managed policy to an entity: NoSuchEntity, LimitExceeded.
// Attaching it again changes nothing.
func (id *Identity) Attach(ctx context.Context, a arn.Account, k EntityKind, name, policyARN string) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		e, err := holdEntity(tx, a, k, name)
		if err != nil {
			return err
		}
		if _, err := holdPolicy(tx, a, policyARN); err != nil {
			return err
		}
		n, err := countAttached(tx, e, policyARN)
		if err != nil {
			return err
		}
		if n >= maxAttached {
			return fail(LimitExceeded, "Cannot exceed quota for PoliciesPer%s: %d", k.Title(), maxAttached)
		}
		return insertAttachment(tx, e, policyARN)
	})
}

// Detach takes a managed policy away: NoSuchEntity.
func (id *Identity) Detach(ctx context.Context, a arn.Account, k EntityKind, name, policyARN string) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		e, err := holdEntity(tx, a, k, name)
		if err != nil {
			return err
		}
		n, err := deleteAttachment(tx, e, policyARN)
		if err == nil && n == 0 {
			err = fail(NoSuchEntity, "Policy %s was not found.", policyARN)
		}
		return err
	})
}

// Attached lists the ARNs of an entity's managed policies.
func (id *Identity) Attached(ctx context.Context, e *Entity) ([]string, error) {
	list, err := id.listAttached(ctx, e.Account, e.ID)
	return list, storage(err)
}

// Users of a managed policy: those it is attached to, or those it bounds.
func (id *Identity) PolicyEntities(ctx context.Context, a arn.Account, policyARN string, boundary bool) ([]*Entity, error) {
	list, err := id.listUsers(ctx, a, policyARN, boundary)
	return list, storage(err)
}

// PutInline stores an inline policy of an entity: NoSuchEntity, ValidationError,
// LimitExceeded, MalformedPolicyDocument.
func (id *Identity) PutInline(ctx context.Context, a arn.Account, k EntityKind, name, policyName, document string) error {
	if err := checkWord("policyName", policyName, 128); err != nil {
		return err
	}
	limit := map[EntityKind]int{User: maxUserInline, Group: maxGroupInline, Role: maxRoleInline}[k]
	if err := checkIdentityPolicy(document, limit, k.Title()+"PolicySize"); err != nil {
		return err
	}
	return id.write(ctx, func(tx *sqldb.Tx) error {
		e, err := lockEntity(tx, a, k, name) // locked, so that two together do not pass the limit
		if err != nil {
			return err
		}
		others, err := inlineSize(tx, e, policyName)
		if err != nil {
			return err
		}
		if others+len(strings.Join(strings.Fields(document), "")) > limit {
			return fail(LimitExceeded, "Maximum policy size of %d bytes exceeded for %s %s", limit, k, name)
		}
		return upsertInline(tx, e, policyName, document)
	})
}

// Inline returns an inline policy: NoSuchEntity.
func (id *Identity) Inline(ctx context.Context, e *Entity, name string) (string, error) {
	text, err := id.readInline(ctx, e, name)
	if sqldb.IsNoRows(err) {
		return "", fail(NoSuchEntity, "The %s policy with name %s cannot be found.", e.Kind, name)
	}
	return text, storage(err)
}

// InlineNames lists the names of an entity's inline policies.
func (id *Identity) InlineNames(ctx context.Context, e *Entity) ([]string, error) {
	m, err := id.listInline(ctx, e.Account, e.ID)
	return slices.Sorted(maps.Keys(m)), storage(err)
}

// DeleteInline removes an inline policy: NoSuchEntity.
func (id *Identity) DeleteInline(ctx context.Context, a arn.Account, k EntityKind, name, policyName string) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		e, err := holdEntity(tx, a, k, name)
		if err != nil {
			return err
		}
		n, err := deleteInline(tx, e, policyName)
		if err == nil && n == 0 {
			err = fail(NoSuchEntity, "The %s policy with name %s cannot be found.", k, policyName)
		}
		return err
	})
}
