package identity

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/webtoken"
	"github.com/berth-registry/berth/sqldb"
)

// WebIdentity is who a verified token of an identity provider stands for.
type WebIdentity struct {
	Principal arn.Principal
	Provider  string // ARN
	Subject   string
	Audience  string
	// Keys are the token's claims as condition keys, Claims those that are kept
	// with the session.
	Keys   map[string][]string
	Claims map[string]string
}

// keptClaims are the claims that tell where an image came from: GitHub's,
// GitLab's, Buildkite's and Kubernetes'.
var keptClaims = []string{"iss", "sub", "aud", "repository", "repository_id", "repository_owner", "repository_owner_id", "workflow", "workflow_ref",
	"job_workflow_ref", "ref", "sha", "run_id", "run_number", "run_attempt", "actor", "actor_id", "event_name", "environment",
	"project_path", "pipeline_id", "job_id", "user_login", "organization_slug", "pipeline_slug", "build_number", "step_key"}

// WebIdentityOf verifies a token for use in an account: InvalidIdentityToken,
// ExpiredToken, IDPCommunicationError. The account must have the issuer as a
// provider, with the token's audience among its client ids.
func (id *Identity) WebIdentityOf(ctx context.Context, a arn.Account, token string) (*WebIdentity, error) {
	issuer, err := webtoken.Issuer(token)
	if err != nil {
		return nil, &Error{Code: InvalidIdentityToken, Message: "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)", Err: err}
	}
	p, err := id.readProvider(ctx, a, issuer)
	if sqldb.IsNoRows(err) || id.issuer == nil {
		return nil, fail(InvalidIdentityToken, "No OpenIDConnect provider found in your account for https://%.200s", issuer)
	}
	if err != nil {
		return nil, storage(err)
	}
	t, err := webtoken.Verify(ctx, token, id.issuer, id.now())
	switch {
	case errors.Is(err, webtoken.ErrExpired):
		return nil, &Error{Code: ExpiredToken, Message: "Token expired: current date/time must be before the expiration date/time", Err: err}
	case errors.Is(err, webtoken.ErrUnreachable):
		return nil, &Error{Code: IDPCommunicationError, Message: "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements", Err: err}
	case err != nil:
		return nil, &Error{Code: InvalidIdentityToken, Message: "Couldn't verify the token: " + err.Error(), Err: err}
	}
	w := &WebIdentity{Provider: p.ARN(), Subject: t.Subject, Keys: t.ConditionKeys(), Claims: map[string]string{}}
	if w.Audience = audience(t, p.Clients); w.Audience == "" {
		return nil, fail(InvalidIdentityToken, "Incorrect token audience")
	}
	w.Keys[strings.ToLower(t.Issuer)+":aud"] = []string{w.Audience} // not what else the token is for
	w.Principal = arn.Principal{Kind: arn.KindWebIdentity, Account: a, ARN: w.Provider, ID: w.Provider + ":" + w.Audience + ":" + w.Subject}
	for _, name := range keptClaims {
		if v := t.Claims[name]; len(v) == 1 && len(v[0]) <= 1024 {
			w.Claims[name] = v[0]
		}
	}
	return w, nil
}

// audience is the token's authorised party, or its audience, if the provider has
// it as a client id.
func audience(t *webtoken.Token, clients []string) string {
	offered := t.Audience
	if t.Party != "" {
		offered = []string{t.Party}
	}
	for _, a := range offered {
		if slices.Contains(clients, a) {
			return a
		}
	}
	return ""
}
