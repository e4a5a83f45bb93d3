package berthapi

import (
	"context"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
)

// CatalogTokens makes access tokens of the catalog's API for a caller whose signature has
// been verified.
type CatalogTokens interface {
	TokenFor(caller gate.Caller) (token string, life time.Duration, err error)
}

// GetCatalogTokenInput asks for a token for the caller.
type GetCatalogTokenInput struct{}

// GetCatalogTokenOutput holds an access token for /v1/, and for how many seconds it
// serves. It may what the caller may.
type GetCatalogTokenOutput struct {
	AccessToken *string
	ExpiresIn   *int32
}

// GetCatalogToken gives who signs requests a token for the catalog's API, so that neither
// secrets nor temporary keys are sent there.
func (s *Service) GetCatalogToken(ctx context.Context, _ *GetCatalogTokenInput, _ ...options) (*GetCatalogTokenOutput, error) {
	out := &GetCatalogTokenOutput{}
	return out, s.do(ctx, SigningName, "GetCatalogToken", arn.Any, true, func(ctx context.Context) error {
		token, life, err := s.tokens.TokenFor(gate.CallerFrom(ctx))
		seconds := int32(life / time.Second)
		out.AccessToken, out.ExpiresIn = &token, &seconds
		return err
	})
}
