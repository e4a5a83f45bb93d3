package registry

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/internal/wildcard"
	"github.com/berth-registry/berth/registry/lifecycle"
	"github.com/berth-registry/berth/registry/name"
	"github.com/berth-registry/berth/sqldb"
)

// The names of account settings, with what they can be; the first is the default.
var accountSettings = map[string][]string{
	"BASIC_SCAN_TYPE_VERSION": {"AWS_NATIVE"},
	"REGISTRY_POLICY_SCOPE":   {"V2", "V1"},
	"BLOB_MOUNTING":           {"ENABLED", "DISABLED"},
}

// BlobMounting is the account setting that allows cross-repository mounts.
const BlobMounting = "BLOB_MOUNTING"

// AccountSetting returns an account setting: Validation for an unknown name.
func (r *Registry) AccountSetting(ctx context.Context, p arn.Place, name string) (string, error) {
	values, ok := accountSettings[name]
	if !ok {
		return "", settingName()
	}
	key := cacheKey{place: p, kind: 's', ref: name}
	cached, ticket := r.cache.get(key)
	if v, ok := cached.(string); ok {
		return v, nil
	}
	v, err := r.readSetting(ctx, p, "account/"+name)
	if v == "" {
		v = values[0]
	}
	if err == nil {
		r.cache.put(key, ticket, v, 0)
	}
	return v, storage(err)
}

func settingName() error {
	return fail(Validation, "Invalid parameter at 'name' failed to satisfy constraint: 'Member must satisfy enum value set: [BASIC_SCAN_TYPE_VERSION, REGISTRY_POLICY_SCOPE, BLOB_MOUNTING]'")
}

// PutAccountSetting changes an account setting: Validation.
func (r *Registry) PutAccountSetting(ctx context.Context, p arn.Place, name, value string) error {
	values, ok := accountSettings[name]
	if !ok {
		return settingName()
	}
	if !slices.Contains(values, value) {
		return fail(Validation, "Invalid parameter at 'value' failed to satisfy constraint: 'Member must satisfy enum value set: [%s]'", strings.Join(values, ", "))
	}
	err := r.writeSetting(ctx, p, "account/"+name, value)
	r.guards.Forget()
	r.cache.drop(cacheKey{place: p, kind: 's', ref: name})
	return err
}

// RegistryPolicy returns the registry's policy text: RegistryPolicyNotFound.
func (r *Registry) RegistryPolicy(ctx context.Context, p arn.Place) (string, error) {
	text, err := r.readSetting(ctx, p, "policy")
	if err == nil && text == "" {
		return "", noRegistryPolicy(p)
	}
	return text, storage(err)
}

func noRegistryPolicy(p arn.Place) error {
	return fail(RegistryPolicyNotFound, "Registry policy does not exist in the registry with id '%s'", p.Account)
}

// PutRegistryPolicy stores the registry's policy text, checked before.
func (r *Registry) PutRegistryPolicy(ctx context.Context, p arn.Place, text string) error {
	if err := CheckPolicy("policyText", text, policy.Registry); err != nil {
		return err
	}
	defer r.guards.Forget()
	return r.writeSetting(ctx, p, "policy", text)
}

// DeleteRegistryPolicy removes the registry's policy and returns its text:
// RegistryPolicyNotFound.
func (r *Registry) DeleteRegistryPolicy(ctx context.Context, p arn.Place) (string, error) {
	var text string
	err := r.db.Write(ctx, func(tx *sqldb.Tx) error {
		var err error
		if text, err = txSetting(tx, p, "policy"); err != nil {
			return err
		}
		if text == "" {
			return noRegistryPolicy(p)
		}
		return putSetting(tx, p, "policy", "")
	})
	r.guards.Forget()
	return text, storage(err)
}

// ScanFilter selects repositories by name.
type ScanFilter struct {
	Filter string `json:"filter"`
	Type   string `json:"type"`
}

// ScanRule says how often the repositories that match are scanned.
type ScanRule struct {
	Frequency string       `json:"frequency"`
	Filters   []ScanFilter `json:"filters"`
}

// ScanConfig is a registry's scanning configuration.
type ScanConfig struct {
	Type  string     `json:"type"` // BASIC or ENHANCED
	Rules []ScanRule `json:"rules"`
}

// The frequencies of scanning rules.
const (
	ScanOnPush     = "SCAN_ON_PUSH"
	ContinuousScan = "CONTINUOUS_SCAN"
	ManualScan     = "MANUAL"
)

var filterPattern = regexp.MustCompile(`^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$`)

// ScanConfiguration returns the registry's scanning configuration.
func (r *Registry) ScanConfiguration(ctx context.Context, p arn.Place) (ScanConfig, error) {
	c := ScanConfig{Type: "BASIC", Rules: []ScanRule{}}
	text, err := r.readSetting(ctx, p, "scanning")
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &c)
	}
	return c, storage(err)
}

// PutScanConfiguration stores the registry's scanning configuration: Validation.
func (r *Registry) PutScanConfiguration(ctx context.Context, p arn.Place, c ScanConfig) error {
	if c.Type == "" {
		c.Type = "BASIC"
	}
	allowed := map[string][]string{"BASIC": {ScanOnPush, ManualScan}, "ENHANCED": {ScanOnPush, ContinuousScan, ManualScan}}[c.Type]
	if allowed == nil {
		return fail(Validation, "Invalid parameter at 'scanType' failed to satisfy constraint: 'Member must satisfy enum value set: [BASIC, ENHANCED]'")
	}
	if len(c.Rules) > 2 {
		return fail(Validation, "Invalid parameter at 'rules' failed to satisfy constraint: 'Member must have length less than or equal to 2'")
	}
	for _, rule := range c.Rules {
		if !slices.Contains(allowed, rule.Frequency) {
			return fail(Validation, "Invalid parameter at 'scanFrequency' failed to satisfy constraint: 'Scan type %s allows [%s]'", c.Type, strings.Join(allowed, ", "))
		}
		if len(rule.Filters) > 100 {
			return fail(Validation, "Invalid parameter at 'repositoryFilters' failed to satisfy constraint: 'Member must have length less than or equal to 100'")
		}
		for _, f := range rule.Filters {
			if f.Type != "WILDCARD" || len(f.Filter) == 0 || len(f.Filter) > name.Max || !filterPattern.MatchString(f.Filter) {
				return fail(Validation, "Invalid parameter at 'repositoryFilters' failed to satisfy constraint: 'filter %q of type %q is not a WILDCARD filter'", f.Filter, f.Type)
			}
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return r.writeSetting(ctx, p, "scanning", string(text))
}

// Frequency is how a repository is scanned under a configuration, with the
// filters that decided; MANUAL when none did.
func (c ScanConfig) Frequency(repository string) (string, []ScanFilter) {
	for _, want := range []string{ContinuousScan, ScanOnPush} {
		for _, rule := range c.Rules {
			if rule.Frequency != want {
				continue
			}
			for _, f := range rule.Filters {
				pattern := f.Filter
				if !strings.Contains(pattern, "*") { // matches any name that contains it
					pattern = "*" + pattern + "*"
				}
				if wildcard.Match(pattern, repository) {
					return want, []ScanFilter{f}
				}
			}
		}
	}
	return ManualScan, nil
}

// checkLifecycle checks a lifecycle policy text as it is stored.
func checkLifecycle(text string) error {
	if _, err := lifecycle.Parse(text); err != nil {
		return constraint("LifecyclePolicyText", "Lifecycle policy validation failure: %s", err)
	}
	return nil
}

// maxPolicy is the longest repository or registry policy, in characters.
const maxPolicy = 10_240

// CheckPolicy checks the text of a repository or registry policy: InvalidParameter,
// naming the parameter. Whom it names is the front end's to resolve.
func CheckPolicy(parameter, text string, kind policy.Kind) error {
	if utf8.RuneCountInString(text) > maxPolicy {
		return constraint(parameter, "Member must have length less than or equal to %d", maxPolicy)
	}
	if _, err := policy.Parse(text, kind); err != nil {
		return constraint(parameter, "Invalid policy: %s", policy.Why(err))
	}
	return nil
}

func (r *Registry) writeSetting(ctx context.Context, p arn.Place, name, value string) error {
	return storage(r.db.Write(ctx, func(tx *sqldb.Tx) error { return putSetting(tx, p, name, value) }))
}
