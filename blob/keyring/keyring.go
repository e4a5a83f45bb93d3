// Package keyring is the local key ring behind encryption type KMS: keys with
// ARNs that wrap the data keys of blobs.
//
// It is not a key management service: it has no API, and its keys are derived
// from the deployment's master key and their ARN, so that every node has them
// and nothing has to be stored. Each account and region has one key that exists
// without being made (aws/ecr, the "AWS managed key" of ECR's replies); further
// keys are named in the configuration.
package keyring

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/secret"
)

// ErrUnknownKey is a key that the ring does not hold.
var ErrUnknownKey = errors.New("the key does not exist in this deployment's key ring")

// Ring holds keys by ARN.
type Ring struct {
	master *secret.Master
	named  []string
}

// New makes a ring; named lists the ARNs of the configured keys.
func New(master *secret.Master, named []string) (*Ring, error) {
	for _, k := range named {
		a, err := arn.Parse(k)
		if err != nil || a.Service != "kms" || !strings.HasPrefix(a.Resource, "key/") || a.Account == "" || a.Region == "" {
			return nil, fmt.Errorf("key %q: want arn:aws:kms:REGION:ACCOUNT:key/ID", k)
		}
	}
	return &Ring{master, named}, nil
}

// Default is the ARN of the key that exists in every account and region.
func (r *Ring) Default(p arn.Place) string {
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("berth:kms:"+string(p.Account)+":"+string(p.Region)))
	return arn.Key(p, id.String()).String()
}

// Resolve finds the key that a user means by an ARN, a key id or an alias, "" and
// alias/aws/ecr being the default. ErrUnknownKey.
func (r *Ring) Resolve(p arn.Place, name string) (string, error) {
	def := r.Default(p)
	aliasARN := arn.ARN{Service: "kms", Region: p.Region, Account: p.Account, Resource: "alias/aws/ecr"}.String()
	switch name {
	case "", "alias/aws/ecr", aliasARN, def:
		return def, nil
	}
	full := name
	if !strings.HasPrefix(name, "arn:") {
		full = arn.Key(p, name).String()
	}
	if full == def || slices.Contains(r.named, full) {
		return full, nil
	}
	return "", fmt.Errorf("%w: %s", ErrUnknownKey, name)
}

func (r *Ring) box(keyARN string) *secret.Box { return r.master.Box("kms/" + keyARN) }

// Wrap implements blob.Keys.
func (r *Ring) Wrap(keyARN string, dataKey []byte, context string) ([]byte, error) {
	return r.box(keyARN).Seal(dataKey, context), nil
}

// Unwrap implements blob.Keys.
func (r *Ring) Unwrap(keyARN string, wrapped []byte, context string) ([]byte, error) {
	return r.box(keyARN).Open(wrapped, context)
}
