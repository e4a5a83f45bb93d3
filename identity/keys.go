package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/argon2"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

// AccessKey describes a long-term key without its secret.
type AccessKey struct {
	ID          string
	PrincipalID string
	Active      bool
	CreatedAt   time.Time
	UsedAt      time.Time // zero for never
	UsedService string
	UsedRegion  string
}

// CreateKey makes an access key of a user, or of the account's root with no name:
// NoSuchEntity, LimitExceeded.
func (id *Identity) CreateKey(ctx context.Context, a arn.Account, user string) (Credentials, *AccessKey, error) {
	c := Credentials{AccessKeyID: newKeyID("AKIA"), Secret: newSecret()}
	k := &AccessKey{ID: c.AccessKeyID, Active: true, CreatedAt: id.now().UTC().Truncate(time.Second)}
	err := id.write(ctx, func(tx *sqldb.Tx) error {
		p, err := keyOwner(tx, a, user)
		if err != nil {
			return err
		}
		n, err := countKeys(tx, a, p.ID)
		if err != nil {
			return err
		}
		if n >= maxKeys {
			return fail(LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
		}
		k.PrincipalID = p.ID
		return id.insertKey(tx, p, c, k.CreatedAt)
	})
	return c, k, err
}

// keyOwner is the principal that a user name stands for, "" being the root.
func keyOwner(tx *sqldb.Tx, a arn.Account, user string) (arn.Principal, error) {
	if user == "" {
		return arn.Root(a), nil
	}
	e, err := lockEntity(tx, a, User, user) // locked, so that two together do not pass the limit
	if err != nil {
		return arn.Principal{}, err
	}
	return userPrincipal(e), nil
}

func userPrincipal(e *Entity) arn.Principal {
	return arn.Principal{Kind: arn.KindUser, Account: e.Account, ARN: e.ARN(), ID: e.ID}
}

// Keys lists the access keys of a user, or of the root with no name.
func (id *Identity) Keys(ctx context.Context, a arn.Account, user string) ([]AccessKey, error) {
	principal := string(a)
	if user != "" {
		e, err := id.Entity(ctx, a, User, user)
		if err != nil {
			return nil, err
		}
		principal = e.ID
	}
	list, err := id.listKeys(ctx, a, principal)
	return list, storage(err)
}

// KeyByID returns an account's access key and its user's name: NoSuchEntity.
func (id *Identity) KeyByID(ctx context.Context, a arn.Account, keyID string) (AccessKey, string, error) {
	k, principalARN, err := id.readKeyInfo(ctx, a, keyID)
	if sqldb.IsNoRows(err) {
		return k, "", noKey(keyID)
	}
	return k, principalARN[strings.LastIndexByte(principalARN, '/')+1:], storage(err)
}

func noKey(keyID string) error {
	return fail(NoSuchEntity, "The Access Key with id %s cannot be found.", keyID)
}

// SetKeyActive switches a key on or off: NoSuchEntity.
func (id *Identity) SetKeyActive(ctx context.Context, a arn.Account, user, keyID string, active bool) error {
	return id.changeKey(ctx, a, user, keyID, func(tx *sqldb.Tx, p arn.Principal) (int64, error) {
		return updateKey(tx, p, keyID, active)
	})
}

// DeleteKey removes a key: NoSuchEntity.
func (id *Identity) DeleteKey(ctx context.Context, a arn.Account, user, keyID string) error {
	return id.changeKey(ctx, a, user, keyID, func(tx *sqldb.Tx, p arn.Principal) (int64, error) {
		return deleteKey(tx, p, keyID)
	})
}

func (id *Identity) changeKey(ctx context.Context, a arn.Account, user, keyID string, fn func(*sqldb.Tx, arn.Principal) (int64, error)) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		p, err := keyOwner(tx, a, user)
		if err != nil {
			return err
		}
		n, err := fn(tx, p)
		if err == nil && n == 0 {
			err = noKey(keyID)
		}
		return err
	})
}

// KeyAccount says which account an access key id belongs to, temporary or not:
// NoSuchEntity (STS GetAccessKeyInfo).
func (id *Identity) KeyAccount(ctx context.Context, keyID string) (arn.Account, error) {
	a, err := id.findKeyAccount(ctx, keyID)
	if sqldb.IsNoRows(err) {
		return "", noKey(keyID)
	}
	return a, storage(err)
}

// Groups.

// AddToGroup makes a user a member: NoSuchEntity, LimitExceeded.
func (id *Identity) AddToGroup(ctx context.Context, a arn.Account, group, user string) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		u, err := lockEntity(tx, a, User, user)
		if err != nil {
			return err
		}
		g, err := holdEntity(tx, a, Group, group)
		if err != nil {
			return err
		}
		n, err := countGroups(tx, a, u.ID)
		if err != nil {
			return err
		}
		if n >= maxGroups {
			return fail(LimitExceeded, "Cannot exceed quota for GroupsPerUser: %d", maxGroups)
		}
		return insertMember(tx, a, u.ID, g.ID)
	})
}

// RemoveFromGroup ends a membership: NoSuchEntity.
func (id *Identity) RemoveFromGroup(ctx context.Context, a arn.Account, group, user string) error {
	return id.write(ctx, func(tx *sqldb.Tx) error {
		u, err := holdEntity(tx, a, User, user)
		if err != nil {
			return err
		}
		g, err := holdEntity(tx, a, Group, group)
		if err != nil {
			return err
		}
		n, err := deleteMember(tx, a, u.ID, g.ID)
		if err == nil && n == 0 {
			err = fail(NoSuchEntity, "The user with name %s is not in the group with name %s.", user, group)
		}
		return err
	})
}

// GroupsOf lists a user's groups.
func (id *Identity) GroupsOf(ctx context.Context, user *Entity) ([]*Entity, error) {
	list, err := id.groupsOf(ctx, user.Account, user.ID)
	return list, storage(err)
}

// Members lists a group's users in order of name, after the name given.
func (id *Identity) Members(ctx context.Context, group *Entity, after string, limit int) ([]*Entity, error) {
	list, err := id.membersOf(ctx, group.Account, group.ID, after, limit)
	return list, storage(err)
}

// Passwords.

// argon2id parameters: 19 MiB, two passes (OWASP's second set). About 30 ms.
const (
	argonTime, argonMemory, argonThreads, argonKey = 2, 19 << 10, 1, 32
	minPassword                                    = 8
	maxPassword                                    = 128
)

func hashPassword(password string, salt []byte) string {
	if salt == nil {
		salt = make([]byte, 16)
		rand.Read(salt)
	}
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", argonMemory, argonTime, argonThreads, enc.EncodeToString(salt), enc.EncodeToString(key))
}

func passwordMatches(hash, password string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	return err == nil && subtle.ConstantTimeCompare([]byte(hashPassword(password, salt)), []byte(hash)) == 1
}

func checkPassword(p string) error {
	if len(p) < minPassword || len(p) > maxPassword {
		return fail(PasswordPolicyViolation, "Password should have between %d and %d characters", minPassword, maxPassword)
	}
	classes := 0
	for _, in := range []func(rune) bool{unicode.IsUpper, unicode.IsLower, unicode.IsDigit, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }} {
		if strings.ContainsFunc(p, in) {
			classes++
		}
	}
	if classes < 3 {
		return fail(PasswordPolicyViolation, "Password should have characters of at least three kinds: upper case, lower case, digits, others")
	}
	return nil
}

// SetPassword gives a user a password for the console. With create it must not
// have one (EntityAlreadyExists), else it must (NoSuchEntity); an empty password
// then keeps the old one. PasswordPolicyViolation.
func (id *Identity) SetPassword(ctx context.Context, a arn.Account, user string, password secret.String, reset *bool, create bool) (*Entity, error) {
	hash := ""
	if password != "" || create {
		if err := checkPassword(password.Reveal()); err != nil {
			return nil, err
		}
		hash = hashPassword(password.Reveal(), nil)
	}
	return id.ChangeEntity(ctx, a, User, user, func(e *Entity) error {
		switch {
		case create && e.password != "":
			return fail(EntityAlreadyExists, "Login Profile for user %s already exists.", user)
		case !create && e.password == "":
			return noLogin(user)
		case hash != "":
			e.password, e.PasswordAt = hash, id.now().UTC().Truncate(time.Second)
		}
		if reset != nil {
			e.PasswordReset = *reset
		}
		return nil
	})
}

func noLogin(user string) error {
	return fail(NoSuchEntity, "Login Profile for User %s cannot be found.", user)
}

// LoginProfile returns a user that has a password: NoSuchEntity.
func (id *Identity) LoginProfile(ctx context.Context, a arn.Account, user string) (*Entity, error) {
	e, err := id.Entity(ctx, a, User, user)
	if err == nil && e.password == "" {
		return nil, noLogin(user)
	}
	return e, err
}

// DeletePassword takes a user's password away: NoSuchEntity.
func (id *Identity) DeletePassword(ctx context.Context, a arn.Account, user string) error {
	_, err := id.ChangeEntity(ctx, a, User, user, func(e *Entity) error {
		if e.password == "" {
			return noLogin(user)
		}
		e.password, e.PasswordAt, e.PasswordReset = "", time.Time{}, false
		return nil
	})
	return err
}

// CheckPassword returns the principal that a user name and password belong to, and whether
// the password has to be changed before anything else: AccessDenied. An unknown user costs
// the same time as a known one.
func (id *Identity) CheckPassword(ctx context.Context, a arn.Account, user string, password secret.String) (p arn.Principal, change bool, err error) {
	e, err := id.Entity(ctx, a, User, user)
	if err != nil && CodeOf(err) != NoSuchEntity {
		return arn.Principal{}, false, err
	}
	if len(password) > maxPassword {
		password = ""
	}
	if err != nil || e.password == "" {
		hashPassword(password.Reveal(), make([]byte, 16))
		return arn.Principal{}, false, errLogin()
	}
	if !passwordMatches(e.password, password.Reveal()) {
		return arn.Principal{}, false, errLogin()
	}
	if open, err := id.accountOpen(ctx, a); err != nil || !open {
		return arn.Principal{}, false, errors.Join(err, errLogin())
	}
	return userPrincipal(e), e.PasswordReset, nil
}

func errLogin() error {
	return fail(AccessDenied, "The account, user name or password is wrong.")
}
