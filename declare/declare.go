// Package declare compares what files declare with what a registry has, and makes the
// registry so: repositories, their access, the role that GitHub workflows push with,
// creation templates.
//
// It acts through the AWS APIs, by interfaces of the SDK clients' shape, so that it
// works on Berth over the network, inside a server, and on an account of AWS alike; and
// through a ledger of which file declares what, where there is one. It reads no files
// (package config does), prints nothing and holds no credentials.
package declare

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/declare/entry"
)

// ECR is what is used of Amazon ECR.
type ECR interface {
	CreateRepository(context.Context, *ecr.CreateRepositoryInput, ...func(*ecr.Options)) (*ecr.CreateRepositoryOutput, error)
	DeleteRepository(context.Context, *ecr.DeleteRepositoryInput, ...func(*ecr.Options)) (*ecr.DeleteRepositoryOutput, error)
	DescribeRepositories(context.Context, *ecr.DescribeRepositoriesInput, ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error)
	ListImages(context.Context, *ecr.ListImagesInput, ...func(*ecr.Options)) (*ecr.ListImagesOutput, error)
	PutImageTagMutability(context.Context, *ecr.PutImageTagMutabilityInput, ...func(*ecr.Options)) (*ecr.PutImageTagMutabilityOutput, error)
	PutImageScanningConfiguration(context.Context, *ecr.PutImageScanningConfigurationInput, ...func(*ecr.Options)) (*ecr.PutImageScanningConfigurationOutput, error)
	GetRepositoryPolicy(context.Context, *ecr.GetRepositoryPolicyInput, ...func(*ecr.Options)) (*ecr.GetRepositoryPolicyOutput, error)
	SetRepositoryPolicy(context.Context, *ecr.SetRepositoryPolicyInput, ...func(*ecr.Options)) (*ecr.SetRepositoryPolicyOutput, error)
	DeleteRepositoryPolicy(context.Context, *ecr.DeleteRepositoryPolicyInput, ...func(*ecr.Options)) (*ecr.DeleteRepositoryPolicyOutput, error)
	GetLifecyclePolicy(context.Context, *ecr.GetLifecyclePolicyInput, ...func(*ecr.Options)) (*ecr.GetLifecyclePolicyOutput, error)
	PutLifecyclePolicy(context.Context, *ecr.PutLifecyclePolicyInput, ...func(*ecr.Options)) (*ecr.PutLifecyclePolicyOutput, error)
	DeleteLifecyclePolicy(context.Context, *ecr.DeleteLifecyclePolicyInput, ...func(*ecr.Options)) (*ecr.DeleteLifecyclePolicyOutput, error)
	ListTagsForResource(context.Context, *ecr.ListTagsForResourceInput, ...func(*ecr.Options)) (*ecr.ListTagsForResourceOutput, error)
	TagResource(context.Context, *ecr.TagResourceInput, ...func(*ecr.Options)) (*ecr.TagResourceOutput, error)
	UntagResource(context.Context, *ecr.UntagResourceInput, ...func(*ecr.Options)) (*ecr.UntagResourceOutput, error)
	GetRegistryPolicy(context.Context, *ecr.GetRegistryPolicyInput, ...func(*ecr.Options)) (*ecr.GetRegistryPolicyOutput, error)
	PutRegistryPolicy(context.Context, *ecr.PutRegistryPolicyInput, ...func(*ecr.Options)) (*ecr.PutRegistryPolicyOutput, error)
	DeleteRegistryPolicy(context.Context, *ecr.DeleteRegistryPolicyInput, ...func(*ecr.Options)) (*ecr.DeleteRegistryPolicyOutput, error)
	DescribeRepositoryCreationTemplates(context.Context, *ecr.DescribeRepositoryCreationTemplatesInput, ...func(*ecr.Options)) (*ecr.DescribeRepositoryCreationTemplatesOutput, error)
	CreateRepositoryCreationTemplate(context.Context, *ecr.CreateRepositoryCreationTemplateInput, ...func(*ecr.Options)) (*ecr.CreateRepositoryCreationTemplateOutput, error)
	UpdateRepositoryCreationTemplate(context.Context, *ecr.UpdateRepositoryCreationTemplateInput, ...func(*ecr.Options)) (*ecr.UpdateRepositoryCreationTemplateOutput, error)
	DeleteRepositoryCreationTemplate(context.Context, *ecr.DeleteRepositoryCreationTemplateInput, ...func(*ecr.Options)) (*ecr.DeleteRepositoryCreationTemplateOutput, error)
}

// IAM is what is used of AWS IAM.
type IAM interface {
	CreateRole(context.Context, *iam.CreateRoleInput, ...func(*iam.Options)) (*iam.CreateRoleOutput, error)
	GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error)
	DeleteRole(context.Context, *iam.DeleteRoleInput, ...func(*iam.Options)) (*iam.DeleteRoleOutput, error)
	UpdateAssumeRolePolicy(context.Context, *iam.UpdateAssumeRolePolicyInput, ...func(*iam.Options)) (*iam.UpdateAssumeRolePolicyOutput, error)
	GetRolePolicy(context.Context, *iam.GetRolePolicyInput, ...func(*iam.Options)) (*iam.GetRolePolicyOutput, error)
	PutRolePolicy(context.Context, *iam.PutRolePolicyInput, ...func(*iam.Options)) (*iam.PutRolePolicyOutput, error)
	ListRolePolicies(context.Context, *iam.ListRolePoliciesInput, ...func(*iam.Options)) (*iam.ListRolePoliciesOutput, error)
	DeleteRolePolicy(context.Context, *iam.DeleteRolePolicyInput, ...func(*iam.Options)) (*iam.DeleteRolePolicyOutput, error)
	ListAttachedRolePolicies(context.Context, *iam.ListAttachedRolePoliciesInput, ...func(*iam.Options)) (*iam.ListAttachedRolePoliciesOutput, error)
	DetachRolePolicy(context.Context, *iam.DetachRolePolicyInput, ...func(*iam.Options)) (*iam.DetachRolePolicyOutput, error)
	GetOpenIDConnectProvider(context.Context, *iam.GetOpenIDConnectProviderInput, ...func(*iam.Options)) (*iam.GetOpenIDConnectProviderOutput, error)
	CreateOpenIDConnectProvider(context.Context, *iam.CreateOpenIDConnectProviderInput, ...func(*iam.Options)) (*iam.CreateOpenIDConnectProviderOutput, error)
	AddClientIDToOpenIDConnectProvider(context.Context, *iam.AddClientIDToOpenIDConnectProviderInput, ...func(*iam.Options)) (*iam.AddClientIDToOpenIDConnectProviderOutput, error)
	DeleteOpenIDConnectProvider(context.Context, *iam.DeleteOpenIDConnectProviderInput, ...func(*iam.Options)) (*iam.DeleteOpenIDConnectProviderOutput, error)
}

var (
	_ ECR = (*ecr.Client)(nil)
	_ IAM = (*iam.Client)(nil)
)

// Clients are the APIs of one account in one region.
type Clients struct {
	ECR ECR
	IAM IAM
}

// Ledger remembers which file declares what (package ledger says more). Account-wide
// things have a place without a region.
type Ledger interface {
	List(ctx context.Context, p arn.Place) ([]entry.Entry, error)
	Put(ctx context.Context, p arn.Place, source string, entries []entry.Entry, from []string) error
	Delete(ctx context.Context, p arn.Place, source string, keys []entry.Key) error
}

// Accounts are those that the deployment hosts.
type Accounts interface {
	List(ctx context.Context) ([]arn.Account, error)
	Create(ctx context.Context, id arn.Account, name string) error
}

// Backend is what plans are made and applied with.
type Backend struct {
	// Connect returns the APIs of an account in a region.
	Connect func(ctx context.Context, p arn.Place) (Clients, error)
	// Ledger is nil where none is kept: then nothing has an owner.
	Ledger Ledger
	// Accounts is nil for those who do not keep the accounts, and on AWS.
	Accounts Accounts
	// Progress is told how far a reading or an applying is; it may be nil.
	Progress func(what string, done, total int)
}

func (b *Backend) progress(what string, done, total int) {
	if b.Progress != nil {
		b.Progress(what, done, total)
	}
}

// Kind is what sort of thing is declared.
type Kind = entry.Kind

// Account is a kind that no ledger keeps: accounts are made when they are missing, and
// stay.
const Account Kind = "account"

// The other kinds, and what names them.
const (
	Provider       = entry.Provider
	Role           = entry.Role
	Repository     = entry.Repository
	Template       = entry.Template
	RegistryPolicy = entry.RegistryPolicy
)

// order is that in which things are made.
var order = []Kind{Account, Provider, Role, Repository, Template, RegistryPolicy}

type (
	key  = entry.Key
	line = entry.Entry
)

// Resource is one thing that is declared.
type Resource struct {
	entry.Key
	Place  arn.Place // without a region for what belongs to the account
	Source string
	Module string
	Pos    config.Pos
	// Fields are what is declared of it; what is not is left as it is.
	Fields map[string]string
}

// spec is what the ledger keeps of fields: long values as digests of their meaning.
func spec(fields map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range fields {
		if v = canonical(k, v); len(v) > 100 {
			sum := sha256.Sum256([]byte(v))
			v = "sha256:" + hex.EncodeToString(sum[:])
		}
		out[k] = v
	}
	return out
}

// Action is what a change does.
type Action string

// The actions. Adopt takes over what was there undeclared, with what changes of it.
const (
	Create Action = "create"
	Update Action = "update"
	Adopt  Action = "adopt"
	Delete Action = "delete"
)

// FieldChange is one field's.
type FieldChange struct {
	Field  string `json:"field"`
	Before string `json:"before"`
	After  string `json:"after"`
	// Removed says that the file no longer says anything of it.
	Removed bool `json:"removed,omitempty"`
	// Drift says that the declaration has not changed since it was applied: somebody
	// changed the thing itself.
	Drift bool `json:"drift,omitempty"`
}

// Change is what is to be done to one thing.
type Change struct {
	Action  Action        `json:"action"`
	Kind    Kind          `json:"kind"`
	Name    string        `json:"name"`
	Account arn.Account   `json:"account"`
	Region  arn.Region    `json:"region,omitempty"`
	Source  string        `json:"source,omitempty"`
	Module  string        `json:"module,omitempty"`
	Line    int           `json:"line,omitempty"`
	From    string        `json:"from,omitempty"` // the source that declared it before
	Drift   bool          `json:"drift,omitempty"`
	Fields  []FieldChange `json:"fields,omitempty"`

	resource *Resource
	spec     map[string]string // what the ledger says now
	adopted  bool
}

func (c *Change) place() arn.Place { return arn.Place{Account: c.Account, Region: c.Region} }
func (c *Change) key() key         { return key{Kind: c.Kind, Name: c.Name} }

// Kept is something that its file no longer declares and that stays.
type Kept struct {
	Kind    Kind        `json:"kind"`
	Name    string      `json:"name"`
	Account arn.Account `json:"account"`
	Region  arn.Region  `json:"region,omitempty"`
	Source  string      `json:"source"`
}

// Grant is what a block with access for GitHub gives out.
type Grant struct {
	Module string     `json:"module"`
	Source string     `json:"source"`
	Role   string     `json:"roleArn"`
	Region arn.Region `json:"region"`
	// Repositories are those of the registry, GitHub those of GitHub.
	Repositories []string `json:"repositories"`
	GitHub       []string `json:"github"`
}

// Plan is what has to change.
type Plan struct {
	Changes  []*Change `json:"changes"`
	Kept     []Kept    `json:"kept"`
	Same     int       `json:"unchanged"`
	Warnings []string  `json:"warnings"`
	Grants   []Grant   `json:"grants"`

	record []note // what only the ledger has to learn
	from   map[arn.Place][]string
	force  bool
}

// note is a line to write or to strike.
type note struct {
	place  arn.Place
	entry  line
	strike bool
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// Count counts the changes that do something.
func (p *Plan) Count(a Action) int {
	n := 0
	for _, c := range p.Changes {
		if c.Action == a {
			n++
		}
	}
	return n
}

// Drift reports whether somebody changed what is declared behind the files' back.
func (p *Plan) Drift() bool {
	return slices.ContainsFunc(p.Changes, func(c *Change) bool { return c.Drift })
}

func (p *Plan) sort() {
	slices.SortStableFunc(p.Changes, func(a, b *Change) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), strings.Compare(string(a.Account), string(b.Account)), strings.Compare(string(a.Region), string(b.Region)),
			cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), strings.Compare(a.Name, b.Name))
	})
}

// parallel is how many calls are made at a time.
const parallel = 16

// each does something for 0 to n-1, several at a time, and joins what goes wrong.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error, done func(int)) error {
	work, results := make(chan int), make(chan error)
	for range min(parallel, n) {
		go func() {
			for i := range work {
				results <- do(ctx, i)
			}
		}()
	}
	go func() {
		defer close(work)
		for i := range n {
			work <- i
		}
	}()
	var failed failures
	for i := range n {
		failed.add(<-results)
		done(i + 1)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return failed.err()
}
