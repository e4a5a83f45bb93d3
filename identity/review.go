package identity

import (
	"context"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
)

// Warning is something that is allowed and probably wider than meant.
type Warning struct {
	Role string // ARN
	Text string
}

// reviewPage is how many roles are looked at together.
const reviewPage = 200

// Review looks at the trust policies of an account's roles.
func (id *Identity) Review(ctx context.Context, a arn.Account) ([]Warning, error) {
	out := []Warning{}
	for after := ""; ; {
		roles, err := id.Entities(ctx, a, Role, "/", after, reviewPage)
		if err != nil {
			return nil, err
		}
		for _, r := range roles {
			d, err := policy.Parse(r.Trust, policy.Trust)
			if err != nil {
				return nil, err
			}
			texts, err := policy.ReviewTrust(d)
			if err != nil {
				texts = append(texts, policy.Why(err))
			}
			for _, text := range texts {
				out = append(out, Warning{r.ARN(), text})
			}
			after = r.Name
		}
		if len(roles) < reviewPage {
			return out, nil
		}
	}
}
