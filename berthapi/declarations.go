package berthapi

import (
	"context"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare/entry"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/ledger"
)

// Declaration is what a file says of one thing: a repository, role, oidc-provider,
// creation-template or registry-policy.
type Declaration struct {
	Kind      string
	Name      string
	Source    string
	Module    string
	Line      int32
	Spec      map[string]string
	Pending   bool
	Adopted   bool
	ChangedAt *time.Time
}

// where is the account and region that declarations are kept under.
func where(ctx context.Context, accountWide *bool) arn.Place {
	p := gate.CallerFrom(ctx).Place()
	if accountWide != nil && *accountWide {
		p.Region = ""
	}
	return p
}

func sourceARN(p arn.Place, source string) string {
	return arn.ARN{Service: SigningName, Region: p.Region, Account: p.Account, Resource: "declaration/" + source}.String()
}

// ListDeclarationsInput asks for the declarations of the caller's account and region, or
// those that belong to no region; of one source, if it is given.
type ListDeclarationsInput struct {
	AccountWide *bool
	Source      *string
	MaxResults  *int32
	NextToken   *string
}

// ListDeclarationsOutput holds them in order of kind and name.
type ListDeclarationsOutput struct {
	Declarations []Declaration
	NextToken    *string
}

// ListDeclarations lists which file declares what.
func (s *Service) ListDeclarations(ctx context.Context, in *ListDeclarationsInput, _ ...options) (*ListDeclarationsOutput, error) {
	p, limit, source, token := where(ctx, in.AccountWide), ledger.MaxEntries, "", ""
	if in.MaxResults != nil {
		if limit = int(*in.MaxResults); limit < 1 || limit > ledger.MaxEntries {
			return nil, invalid("maxResults must be between 1 and %d", ledger.MaxEntries)
		}
	}
	if in.Source != nil {
		source = *in.Source
	}
	if in.NextToken != nil {
		token = *in.NextToken
	}
	out := &ListDeclarationsOutput{Declarations: []Declaration{}}
	return out, s.do(ctx, SigningName, "ListDeclarations", arn.Any, true, func(ctx context.Context) error {
		list, next, err := s.ledger.List(ctx, p, source, token, limit)
		for i := range list {
			e := &list[i]
			out.Declarations = append(out.Declarations, Declaration{Kind: string(e.Kind), Name: e.Name, Source: e.Source, Module: e.Module, Line: int32(e.Line), //nolint:gosec // checked when put
				Spec: e.Spec, Pending: e.Pending, Adopted: e.Adopted, ChangedAt: &e.ChangedAt})
		}
		if next != "" {
			out.NextToken = &next
		}
		return err
	})
}

// PutDeclarationsInput holds what one source declares, at most 1,000 at a time. What the
// sources in From declared of the same names ends.
type PutDeclarationsInput struct {
	AccountWide  *bool
	Source       *string
	From         []string
	Declarations []Declaration
}

// PutDeclarationsOutput is empty.
type PutDeclarationsOutput struct{}

// PutDeclarations writes declarations, all or none: a name that another source declares
// is a DeclaredElsewhereException that says where.
func (s *Service) PutDeclarations(ctx context.Context, in *PutDeclarationsInput, _ ...options) (*PutDeclarationsOutput, error) {
	if in.Source == nil {
		return nil, invalid("declarations need a source")
	}
	p := where(ctx, in.AccountWide)
	entries := make([]entry.Entry, len(in.Declarations))
	for i, d := range in.Declarations {
		entries[i] = entry.Entry{Key: entry.Key{Kind: entry.Kind(d.Kind), Name: d.Name}, Source: *in.Source, Module: d.Module, Line: int(d.Line), Spec: d.Spec, Pending: d.Pending, Adopted: d.Adopted}
	}
	return &PutDeclarationsOutput{}, s.do(ctx, SigningName, "PutDeclarations", sourceARN(p, *in.Source), false, func(ctx context.Context) error {
		for _, from := range in.From { // taking from a source is changing it
			c := gate.Call{Principal: gate.CallerFrom(ctx).Principal, Service: SigningName, Place: p, Resources: []string{sourceARN(p, from)}}
			if err := s.gate.Check(ctx, c, "DeleteDeclarations"); err != nil {
				return err
			}
		}
		return s.ledger.Put(ctx, p, entries, in.From...)
	})
}

// DeleteDeclarationsInput names what a source declares no longer.
type DeleteDeclarationsInput struct {
	AccountWide *bool
	Source      *string
	Keys        []DeclarationKey
}

// DeclarationKey names a declaration of a source.
type DeclarationKey struct {
	Kind string
	Name string
}

// DeleteDeclarationsOutput is empty.
type DeleteDeclarationsOutput struct{}

// DeleteDeclarations ends declarations. What they declared stays.
func (s *Service) DeleteDeclarations(ctx context.Context, in *DeleteDeclarationsInput, _ ...options) (*DeleteDeclarationsOutput, error) {
	if in.Source == nil {
		return nil, invalid("declarations need a source")
	}
	p := where(ctx, in.AccountWide)
	keys := make([]entry.Key, len(in.Keys))
	for i, k := range in.Keys {
		keys[i] = entry.Key{Kind: entry.Kind(k.Kind), Name: k.Name}
	}
	return &DeleteDeclarationsOutput{}, s.do(ctx, SigningName, "DeleteDeclarations", sourceARN(p, *in.Source), false, func(ctx context.Context) error {
		return s.ledger.Delete(ctx, p, *in.Source, keys)
	})
}
