package berthapi

import (
	"context"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity"
)

// Account is an account of the deployment.
type Account struct {
	ID        string
	Name      string
	Alias     string
	CreatedAt time.Time
	ClosedAt  *time.Time
}

// CreateAccountInput asks for an account; without an id one is made up. WithoutKey
// makes no key of its root.
type CreateAccountInput struct {
	ID         *string
	Name       *string
	WithoutKey *bool
}

// CreateAccountOutput holds the account and its root's key, if it has one, shown this
// once.
type CreateAccountOutput struct {
	Account         *Account
	AccessKeyID     *string
	SecretAccessKey *string
}

func accountID(in *string) (arn.Account, error) {
	if in == nil || !arn.Account(*in).Valid() {
		return "", invalid("the account id must have 12 digits")
	}
	return arn.Account(*in), nil
}

func (s *Service) accountARN(id string) string {
	return arn.ARN{Service: SigningName, Account: s.home, Resource: "account/" + id}.String()
}

// CreateAccount makes an account.
func (s *Service) CreateAccount(ctx context.Context, in *CreateAccountInput, _ ...options) (*CreateAccountOutput, error) {
	if in.Name == nil {
		return nil, invalid("an account needs a name")
	}
	id := arn.Account("")
	if in.ID != nil {
		var err error
		if id, err = accountID(in.ID); err != nil {
			return nil, err
		}
	}
	out := &CreateAccountOutput{}
	return out, s.do(ctx, SigningName, "CreateAccount", s.accountARN("*"), false, func(ctx context.Context) error {
		var c identity.Credentials
		var err error
		if in.WithoutKey != nil && *in.WithoutKey {
			id, err = s.identity.CreateAccountWithoutKey(ctx, id, *in.Name)
		} else {
			id, c, err = s.identity.CreateAccount(ctx, id, *in.Name)
		}
		if err != nil {
			return err
		}
		out.Account = &Account{ID: string(id), Name: *in.Name, CreatedAt: time.Now().UTC()}
		if c.AccessKeyID != "" {
			secret := c.Secret.Reveal()
			out.AccessKeyID, out.SecretAccessKey = &c.AccessKeyID, &secret
		}
		return nil
	})
}

// CreateAccountKeyInput names the account whose root shall have a further key.
type CreateAccountKeyInput struct{ ID *string }

// CreateAccountKeyOutput holds the key, shown this once.
type CreateAccountKeyOutput struct {
	AccessKeyID     *string
	SecretAccessKey *string
}

// CreateAccountKey makes a key of an account's root, who has two at most.
func (s *Service) CreateAccountKey(ctx context.Context, in *CreateAccountKeyInput, _ ...options) (*CreateAccountKeyOutput, error) {
	id, err := accountID(in.ID)
	if err != nil {
		return nil, err
	}
	out := &CreateAccountKeyOutput{}
	return out, s.do(ctx, SigningName, "CreateAccountKey", s.accountARN(string(id)), false, func(ctx context.Context) error {
		c, err := s.identity.CreateRootKey(ctx, id)
		if err != nil {
			return err
		}
		secret := c.Secret.Reveal()
		out.AccessKeyID, out.SecretAccessKey = &c.AccessKeyID, &secret
		return nil
	})
}

// AssumeAccountInput names the account to act as.
type AssumeAccountInput struct{ ID *string }

// AssumeAccountOutput holds credentials of the account's root for one hour.
type AssumeAccountOutput struct {
	AccessKeyID     *string
	SecretAccessKey *string
	SessionToken    *string
	Expiration      *time.Time
}

// assumeTime is how long the credentials of AssumeAccount last.
const assumeTime = time.Hour

// AssumeAccount lets who keeps the accounts act as the root of one, for a while.
func (s *Service) AssumeAccount(ctx context.Context, in *AssumeAccountInput, _ ...options) (*AssumeAccountOutput, error) {
	id, err := accountID(in.ID)
	if err != nil {
		return nil, err
	}
	out := &AssumeAccountOutput{}
	return out, s.do(ctx, SigningName, "AssumeAccount", s.accountARN(string(id)), false, func(ctx context.Context) error {
		c, err := s.identity.AccountSession(ctx, id, assumeTime)
		if err != nil {
			return err
		}
		secret := c.Secret.Reveal()
		out.AccessKeyID, out.SecretAccessKey, out.SessionToken, out.Expiration = &c.AccessKeyID, &secret, &c.SessionToken, &c.Expires
		return nil
	})
}

// ListAccountsInput asks for all accounts.
type ListAccountsInput struct{}

// ListAccountsOutput holds them in order of id.
type ListAccountsOutput struct{ Accounts []Account }

// ListAccounts lists the accounts.
func (s *Service) ListAccounts(ctx context.Context, _ *ListAccountsInput, _ ...options) (*ListAccountsOutput, error) {
	out := &ListAccountsOutput{Accounts: []Account{}}
	return out, s.do(ctx, SigningName, "ListAccounts", s.accountARN("*"), true, func(ctx context.Context) error {
		list, err := s.identity.Accounts(ctx)
		for _, a := range list {
			info := Account{ID: string(a.ID), Name: a.Name, Alias: a.Alias, CreatedAt: a.CreatedAt}
			if !a.ClosedAt.IsZero() {
				info.ClosedAt = &a.ClosedAt
			}
			out.Accounts = append(out.Accounts, info)
		}
		return err
	})
}

// CloseAccountInput names the account to close.
type CloseAccountInput struct{ ID *string }

// CloseAccountOutput is empty.
type CloseAccountOutput struct{}

// CloseAccount ends every credential of an account. What it owns stays.
func (s *Service) CloseAccount(ctx context.Context, in *CloseAccountInput, _ ...options) (*CloseAccountOutput, error) {
	id, err := accountID(in.ID)
	if err != nil {
		return nil, err
	}
	return &CloseAccountOutput{}, s.do(ctx, SigningName, "CloseAccount", s.accountARN(string(id)), false, func(ctx context.Context) error {
		if id == s.home {
			return invalid("account %s is the one that keeps the others; it cannot be closed", s.home)
		}
		return s.identity.CloseAccount(ctx, id)
	})
}
