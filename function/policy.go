package function

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

// Permission is a statement of a function's policy: who may invoke it.
type Permission struct {
	ID        string          `json:"id"`
	Qualifier string          `json:"qualifier,omitempty"`
	Statement json.RawMessage `json:"statement"`
}

// AddPermission adds a statement to a function's policy: NotFound, Conflict,
// InvalidParameter, PolicyTooLong.
func (s *Functions) AddPermission(ctx context.Context, p arn.Place, name string, n *Permission) error {
	f, err := s.Get(ctx, p, name, n.Qualifier)
	if err != nil {
		return err
	}
	if _, err := policy.Parse(document(n.Statement), policy.Registry); err != nil {
		return fail(InvalidParameter, "The permission is not valid: %v", err)
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error {
		list, err := lockPolicy(tx, f)
		if err != nil {
			return err
		}
		size := len(n.Statement)
		for _, have := range list {
			size += len(have.Statement)
			if have.ID == n.ID && have.Qualifier == n.Qualifier {
				return fail(Conflict, "The statement id (%.100s) provided already exists. Please provide a new statement id, or remove the existing statement.", n.ID)
			}
		}
		if size > maxPolicy {
			return fail(PolicyTooLong, "The final policy size (%d) is bigger than the limit (%d).", size, maxPolicy)
		}
		return updatePolicy(tx, f, append(list, *n))
	})
}

// RemovePermission removes a statement: NotFound.
func (s *Functions) RemovePermission(ctx context.Context, p arn.Place, name, qualifier, id string) error {
	f, err := s.Get(ctx, p, name, qualifier)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error {
		list, err := lockPolicy(tx, f)
		if err != nil {
			return err
		}
		kept := slices.DeleteFunc(slices.Clone(list), func(x Permission) bool { return x.ID == id && x.Qualifier == qualifier })
		if len(kept) == len(list) {
			return fail(NotFound, "Statement %.100s is not found in resource policy.", id)
		}
		return updatePolicy(tx, f, kept)
	})
}

func document(statements ...json.RawMessage) string {
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Id": "default", "Statement": statements})
	if err != nil {
		return "{}" // a statement that is not JSON is refused as a policy
	}
	return string(b)
}

// Policy is the policy of a function, or of a version or alias of it, as a document:
// NotFound when it has none.
func (s *Functions) Policy(ctx context.Context, p arn.Place, name, qualifier string) (string, error) {
	f, err := s.Get(ctx, p, name, qualifier)
	if err != nil {
		return "", err
	}
	list, err := s.readPolicy(ctx, f)
	if err != nil {
		return "", err
	}
	var statements []json.RawMessage
	for _, x := range list {
		if x.Qualifier == qualifier {
			statements = append(statements, x.Statement)
		}
	}
	if len(statements) == 0 {
		return "", fail(NotFound, "The resource you requested does not exist.")
	}
	return document(statements...), nil
}

// ServiceMay tells whether a service of AWS may invoke a function on behalf of a
// resource, such as a rule: whether the function's policy lets it.
func (s *Functions) ServiceMay(ctx context.Context, p arn.Place, name, qualifier, service, source string) (bool, error) {
	text, err := s.Policy(ctx, p, name, qualifier)
	if CodeOf(err) == NotFound {
		if _, err := s.Get(ctx, p, name, qualifier); err != nil {
			return false, err
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d, err := policy.Parse(text, policy.Registry)
	if err != nil {
		return false, err
	}
	resource := ARN(p, name)
	if qualifier != "" {
		resource += ":" + qualifier
	}
	values := map[string][]string{"aws:sourcearn": {source}, "aws:sourceaccount": {string(p.Account)}}
	decision := policy.Decide(&policy.Request{Caller: policy.Caller{Service: service}, Action: "lambda:InvokeFunction", Resource: resource,
		Values: func(key string) []string { return values[key] }}, &policy.Set{Resource: []policy.Attached{{Name: "policy of " + resource, Doc: d}}, ResourceMust: true, SameAccount: true})
	return decision.Allowed, nil
}

// Guard returns the policy of a function for the gate; a function that does not exist
// has none.
func (s *Functions) Guard(ctx context.Context, p arn.Place, name, qualifier string) ([]policy.Attached, map[string]string, error) {
	f, err := s.Get(ctx, p, name, "")
	if CodeOf(err) == NotFound {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := s.Policy(ctx, p, name, qualifier)
	if CodeOf(err) == NotFound {
		return nil, f.Tags, nil
	}
	if err != nil {
		return nil, nil, err
	}
	d, err := policy.Parse(text, policy.Registry)
	if err != nil {
		return nil, nil, err
	}
	return []policy.Attached{{Name: "policy of " + f.ARN(), Doc: d}}, f.Tags, nil
}
