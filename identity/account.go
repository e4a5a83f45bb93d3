package identity

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// AccountInfo describes an account.
type AccountInfo struct {
	ID        arn.Account
	Name      string
	Alias     string
	CreatedAt time.Time
	ClosedAt  time.Time // zero while it is open
}

// CreateAccount makes an account, with a new id when none is given, and its
// root's key: ValidationError, EntityAlreadyExists.
func (id *Identity) CreateAccount(ctx context.Context, account arn.Account, name string) (arn.Account, Credentials, error) {
	return id.createAccount(ctx, account, name, true)
}

// CreateAccountWithoutKey is CreateAccount for an account that nobody signs in to yet.
func (id *Identity) CreateAccountWithoutKey(ctx context.Context, account arn.Account, name string) (arn.Account, error) {
	account, _, err := id.createAccount(ctx, account, name, false)
	return account, err
}

func (id *Identity) createAccount(ctx context.Context, account arn.Account, name string, key bool) (arn.Account, Credentials, error) {
	fresh := account == ""
	if !fresh && !account.Valid() {
		return "", Credentials{}, fail(ValidationError, "The account id must have 12 digits")
	}
	if len(name) == 0 || len(name) > 50 {
		return "", Credentials{}, fail(ValidationError, "The account's name must have between 1 and 50 characters")
	}
	for {
		if fresh {
			account = arn.Account(fmt.Sprintf("%012d", 100_000_000_000+rand.Int64N(900_000_000_000)))
		}
		var c Credentials
		if key {
			c = Credentials{AccessKeyID: newKeyID("AKIA"), Secret: newSecret()}
		}
		err := id.insertAccount(ctx, arn.Root(account), name, c)
		switch {
		case errors.Is(err, sqldb.ErrUnique) && fresh:
			continue
		case errors.Is(err, sqldb.ErrUnique):
			return "", Credentials{}, fail(EntityAlreadyExists, "The account %s exists already.", account)
		}
		id.forget()
		return account, c, storage(err)
	}
}

// CreateRootKey makes a further key of an account's root: NoSuchEntity,
// LimitExceeded.
func (id *Identity) CreateRootKey(ctx context.Context, account arn.Account) (Credentials, error) {
	if err := id.mustBeOpen(ctx, account); err != nil {
		return Credentials{}, err
	}
	c, _, err := id.CreateKey(ctx, account, "")
	return c, err
}

// AccountSession makes temporary credentials of an account's root, for those who keep
// the accounts: NoSuchEntity.
func (id *Identity) AccountSession(ctx context.Context, account arn.Account, life time.Duration) (Credentials, error) {
	if err := id.mustBeOpen(ctx, account); err != nil {
		return Credentials{}, err
	}
	root := arn.Root(account)
	return id.issue(ctx, &Session{Principal: root, EntityID: root.ID}, life)
}

func (id *Identity) mustBeOpen(ctx context.Context, account arn.Account) error {
	open, err := id.accountOpen(ctx, account)
	if err == nil && !open {
		return fail(NoSuchEntity, "There is no open account %s.", account)
	}
	return storage(err)
}

// Accounts lists the accounts in order of id.
func (id *Identity) Accounts(ctx context.Context) ([]AccountInfo, error) {
	list, err := id.listAccounts(ctx)
	return list, storage(err)
}

// CloseAccount ends every credential of an account; what it owns stays, unseen:
// NoSuchEntity. The home account cannot be closed, nor one that is closed.
func (id *Identity) CloseAccount(ctx context.Context, account arn.Account) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		n, err := closeAccount(tx, account, id.now())
		if err == nil && n == 0 {
			err = fail(NoSuchEntity, "There is no open account %s.", account)
		}
		return err
	})
}

// accountOpen reports whether an account is hosted and not closed.
func (id *Identity) accountOpen(ctx context.Context, a arn.Account) (bool, error) {
	return id.open.Get(a, func() (bool, error) { return id.readOpen(ctx, a) })
}

// SetAlias gives an account another name for its console, "" for none:
// EntityAlreadyExists.
func (id *Identity) SetAlias(ctx context.Context, a arn.Account, alias string) error {
	err := id.write(ctx, func(tx *sqldb.Tx) error { return putAlias(tx, a, alias) })
	if errors.Is(err, sqldb.ErrUnique) {
		return fail(EntityAlreadyExists, "The account alias %s already exists.", alias)
	}
	return err
}

// Alias returns an account's alias, "" for none.
func (id *Identity) Alias(ctx context.Context, a arn.Account) (string, error) {
	s, err := id.readAlias(ctx, a)
	return s, storage(err)
}

// Summary counts what an account has, by IAM's names.
func (id *Identity) Summary(ctx context.Context, a arn.Account) (map[string]int32, error) {
	out := map[string]int32{"UsersQuota": 5000, "GroupsQuota": 300, "RolesQuota": 1000, "PoliciesQuota": 1500, "AccessKeysPerUserQuota": maxKeys,
		"GroupsPerUserQuota": maxGroups, "AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerGroupQuota": maxAttached,
		"AttachedPoliciesPerRoleQuota": maxAttached, "UserPolicySizeQuota": maxUserInline, "GroupPolicySizeQuota": maxGroupInline,
		"RolePolicySizeQuota": maxRoleInline, "PolicySizeQuota": maxManaged, "VersionsPerPolicyQuota": maxVersions,
		"AssumeRolePolicySizeQuota": maxTrust, "AccountMFAEnabled": 0, "MFADevices": 0, "InstanceProfiles": 0, "ServerCertificates": 0}
	for name, k := range map[string]EntityKind{"Users": User, "Groups": Group, "Roles": Role} {
		n, err := id.countEntities(ctx, a, k)
		if err != nil {
			return nil, storage(err)
		}
		out[name] = n
	}
	counts, err := id.countMisc(ctx, a)
	for k, n := range counts {
		out[k] = n
	}
	return out, storage(err)
}
