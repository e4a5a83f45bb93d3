// Package arn holds the leaf vocabulary every plane shares: accounts, regions,
// Amazon resource names and principals.
//
// It is not a client of anything and knows no service: it parses, prints and
// compares. Every package may import it; it imports only the standard library.
package arn

import (
	"errors"
	"strings"
)

// Partition is the only ARN partition Berth uses.
const Partition = "aws"

// Account is a 12 digit account id (also called a registry id). It is a string
// because leading zeros matter.
type Account string

// Valid reports whether a has exactly 12 decimal digits.
func (a Account) Valid() bool {
	if len(a) != 12 {
		return false
	}
	for i := range len(a) {
		if a[i] < '0' || a[i] > '9' {
			return false
		}
	}
	return true
}

// Region is a region name such as us-east-1. Regions need not exist in AWS.
type Region string

// Valid reports whether r has the shape of a region name: 2 to 32 lower-case
// letters, digits and single hyphens, starting with a letter.
func (r Region) Valid() bool {
	if len(r) < 2 || len(r) > 32 || r[0] < 'a' || r[0] > 'z' || r[len(r)-1] == '-' {
		return false
	}
	for i := range len(r) {
		c := r[i]
		lower, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9'
		if !lower && !digit && (c != '-' || r[i-1] == '-') {
			return false
		}
	}
	return true
}

// Place is where regional things live: one account's registry in one region.
type Place struct {
	Account Account
	Region  Region
}

// ARN is an Amazon resource name, split at its first five colons. Resource
// keeps whatever colons and slashes follow.
type ARN struct {
	Service  string
	Region   Region
	Account  Account
	Resource string
}

// ErrMalformed is returned by Parse.
var ErrMalformed = errors.New("malformed ARN: want arn:aws:service:region:account:resource")

// Parse splits s. Region and account may be empty, as IAM's and S3's are.
func Parse(s string) (ARN, error) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] != Partition || p[2] == "" || p[5] == "" {
		return ARN{}, ErrMalformed
	}
	a := ARN{Service: p[2], Region: Region(p[3]), Account: Account(p[4]), Resource: p[5]}
	if a.Account != "" && !a.Account.Valid() {
		return ARN{}, ErrMalformed
	}
	return a, nil
}

// String prints the ARN in its usual form.
func (a ARN) String() string {
	return "arn:" + Partition + ":" + a.Service + ":" + string(a.Region) + ":" + string(a.Account) + ":" + a.Resource
}

// Repository is the ARN of an ECR repository; the name may be "*".
func Repository(p Place, name string) ARN {
	return ARN{Service: "ecr", Region: p.Region, Account: p.Account, Resource: "repository/" + name}
}

// RepositoryName returns the name in a repository ARN, and whether it is one.
func (a ARN) RepositoryName() (string, bool) {
	name, ok := strings.CutPrefix(a.Resource, "repository/")
	return name, ok && a.Service == "ecr" && name != ""
}

// Key is the ARN of a KMS key.
func Key(p Place, id string) ARN {
	return ARN{Service: "kms", Region: p.Region, Account: p.Account, Resource: "key/" + id}
}

// Any is the resource of calls that act on no particular resource.
const Any = "*"

// Kind says what sort of identity a principal is, with CloudTrail's words.
type Kind string

// The kinds of principal.
const (
	KindRoot        Kind = "Root"
	KindUser        Kind = "IAMUser"
	KindAssumedRole Kind = "AssumedRole"
	// KindWebIdentity is the holder of an identity provider's token, who may
	// only ask for a role.
	KindWebIdentity Kind = "WebIdentityUser"
)

// Principal is who makes a call. The zero value is nobody.
type Principal struct {
	Kind    Kind
	Account Account
	// ARN is the caller's ARN: of the root, a user or a role session.
	ARN string
	// ID is the unique id: the account for root, AIDA… or AROA…:session.
	ID string
	// AccessKeyID is the key that the call was signed with or that asked for
	// the registry token.
	AccessKeyID string
}

// Root is the root principal of an account.
func Root(a Account) Principal {
	return Principal{Kind: KindRoot, Account: a, ID: string(a),
		ARN: ARN{Service: "iam", Account: a, Resource: "root"}.String()}
}

// IsZero reports whether nobody was authenticated.
func (p Principal) IsZero() bool { return p.ARN == "" }
