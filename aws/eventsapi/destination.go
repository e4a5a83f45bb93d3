package eventsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/bus"
)

// resource is a resource of a kind in the caller's account and region.
func (q *request) resource(k bus.Kind, name *string) bus.Resource {
	return bus.Resource{Place: q.place, Kind: k, Name: aws.ToString(name)}
}

// anyARN is what policies name of a resource whose ARN has an id that a request does not
// have.
func anyARN(q *request, r *bus.Resource) string { return q.any(string(r.Kind) + "/" + r.Name) }

func parameters(p *types.ConnectionHttpParameters) (headers, query, body []bus.Parameter) {
	if p == nil {
		return nil, nil, nil
	}
	for _, x := range p.HeaderParameters {
		headers = append(headers, bus.Parameter{Key: aws.ToString(x.Key), Value: aws.ToString(x.Value), Secret: x.IsValueSecret})
	}
	for _, x := range p.QueryStringParameters {
		query = append(query, bus.Parameter{Key: aws.ToString(x.Key), Value: aws.ToString(x.Value), Secret: x.IsValueSecret})
	}
	for _, x := range p.BodyParameters {
		body = append(body, bus.Parameter{Key: aws.ToString(x.Key), Value: aws.ToString(x.Value), Secret: x.IsValueSecret})
	}
	return headers, query, body
}

// authorise applies the parameters of a request to a connection.
func authorise(c *bus.Connection, kind types.ConnectionAuthorizationType, p *types.CreateConnectionAuthRequestParameters) error {
	if kind != "" {
		c.Auth = string(kind)
	}
	if p == nil {
		return nil
	}
	if p.ConnectivityParameters != nil {
		return invalid("This server has no private connectivity for connections.")
	}
	switch {
	case p.BasicAuthParameters != nil:
		c.User, c.Secret = aws.ToString(p.BasicAuthParameters.Username), aws.ToString(p.BasicAuthParameters.Password)
	case p.ApiKeyAuthParameters != nil:
		c.User, c.Secret = aws.ToString(p.ApiKeyAuthParameters.ApiKeyName), aws.ToString(p.ApiKeyAuthParameters.ApiKeyValue)
	case p.OAuthParameters != nil:
		o := p.OAuthParameters
		if o.OAuthHttpParameters != nil {
			return invalid("This server sends no further parameters to authorization endpoints: leave OAuthHttpParameters out.")
		}
		c.Endpoint, c.Method = aws.ToString(o.AuthorizationEndpoint), string(o.HttpMethod)
		if o.ClientParameters != nil {
			c.User, c.Secret = aws.ToString(o.ClientParameters.ClientID), aws.ToString(o.ClientParameters.ClientSecret)
		}
	}
	if p.InvocationHttpParameters != nil {
		c.Headers, c.Query, c.Body = parameters(p.InvocationHttpParameters)
	}
	return nil
}

// CreateConnection implements the API operation of its name, as do the methods below.
func (s *Service) CreateConnection(ctx context.Context, in *eventbridge.CreateConnectionInput, _ ...options) (*eventbridge.CreateConnectionOutput, error) {
	q := begin(ctx)
	c := &bus.Connection{Resource: q.resource(bus.ConnectionKind, in.Name), Description: aws.ToString(in.Description)}
	if in.InvocationConnectivityParameters != nil {
		return nil, invalid("This server has no private connectivity for connections.")
	}
	if err := authorise(c, in.AuthorizationType, in.AuthParameters); err != nil {
		return nil, err
	}
	out := &eventbridge.CreateConnectionOutput{}
	return out, s.do(ctx, q, "CreateConnection", anyARN(&q, &c.Resource), func(ctx context.Context) error {
		err := s.bus.Create(ctx, c)
		out.ConnectionArn, out.ConnectionState, out.CreationTime, out.LastModifiedTime = aws.String(c.ARN()), types.ConnectionState(c.State), aws.Time(c.CreatedAt), aws.Time(c.UpdatedAt)
		return err
	})
}

func (s *Service) UpdateConnection(ctx context.Context, in *eventbridge.UpdateConnectionInput, _ ...options) (*eventbridge.UpdateConnectionOutput, error) {
	q := begin(ctx)
	c := &bus.Connection{Resource: q.resource(bus.ConnectionKind, in.Name)}
	out := &eventbridge.UpdateConnectionOutput{}
	return out, s.do(ctx, q, "UpdateConnection", anyARN(&q, &c.Resource), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, c); err != nil {
			return err
		}
		err := s.bus.Change(ctx, c, func() error {
			if in.Description != nil {
				c.Description = *in.Description
			}
			return authorise(c, in.AuthorizationType, asCreate(in.AuthParameters))
		})
		out.ConnectionArn, out.ConnectionState, out.CreationTime, out.LastModifiedTime = aws.String(c.ARN()), types.ConnectionState(c.State), aws.Time(c.CreatedAt), aws.Time(c.UpdatedAt)
		return err
	})
}

// asCreate turns the parameters of an update into those of a creation: they have the same
// members.
func asCreate(p *types.UpdateConnectionAuthRequestParameters) *types.CreateConnectionAuthRequestParameters {
	if p == nil {
		return nil
	}
	out := &types.CreateConnectionAuthRequestParameters{InvocationHttpParameters: p.InvocationHttpParameters, ConnectivityParameters: p.ConnectivityParameters}
	if b := p.BasicAuthParameters; b != nil {
		out.BasicAuthParameters = &types.CreateConnectionBasicAuthRequestParameters{Username: b.Username, Password: b.Password}
	}
	if k := p.ApiKeyAuthParameters; k != nil {
		out.ApiKeyAuthParameters = &types.CreateConnectionApiKeyAuthRequestParameters{ApiKeyName: k.ApiKeyName, ApiKeyValue: k.ApiKeyValue}
	}
	if o := p.OAuthParameters; o != nil {
		out.OAuthParameters = &types.CreateConnectionOAuthRequestParameters{AuthorizationEndpoint: o.AuthorizationEndpoint, HttpMethod: o.HttpMethod, OAuthHttpParameters: o.OAuthHttpParameters}
		if o.ClientParameters != nil {
			out.OAuthParameters.ClientParameters = &types.CreateConnectionOAuthClientRequestParameters{ClientID: o.ClientParameters.ClientID, ClientSecret: o.ClientParameters.ClientSecret}
		}
	}
	return out
}

// shown is a connection's parameters without its secrets.
func shown(c *bus.Connection) *types.ConnectionAuthResponseParameters {
	out := &types.ConnectionAuthResponseParameters{}
	switch c.Auth {
	case bus.Basic:
		out.BasicAuthParameters = &types.ConnectionBasicAuthResponseParameters{Username: &c.User}
	case bus.APIKey:
		out.ApiKeyAuthParameters = &types.ConnectionApiKeyAuthResponseParameters{ApiKeyName: &c.User}
	default:
		out.OAuthParameters = &types.ConnectionOAuthResponseParameters{AuthorizationEndpoint: &c.Endpoint, HttpMethod: types.ConnectionOAuthHttpMethod(c.Method),
			ClientParameters: &types.ConnectionOAuthClientResponseParameters{ClientID: &c.User}}
	}
	if len(c.Headers)+len(c.Query)+len(c.Body) == 0 {
		return out
	}
	value := func(p bus.Parameter) *string {
		if p.Secret {
			return nil
		}
		return aws.String(p.Value)
	}
	h := &types.ConnectionHttpParameters{}
	for _, p := range c.Headers {
		h.HeaderParameters = append(h.HeaderParameters, types.ConnectionHeaderParameter{Key: aws.String(p.Key), Value: value(p), IsValueSecret: p.Secret})
	}
	for _, p := range c.Query {
		h.QueryStringParameters = append(h.QueryStringParameters, types.ConnectionQueryStringParameter{Key: aws.String(p.Key), Value: value(p), IsValueSecret: p.Secret})
	}
	for _, p := range c.Body {
		h.BodyParameters = append(h.BodyParameters, types.ConnectionBodyParameter{Key: aws.String(p.Key), Value: value(p), IsValueSecret: p.Secret})
	}
	out.InvocationHttpParameters = h
	return out
}

func (s *Service) DescribeConnection(ctx context.Context, in *eventbridge.DescribeConnectionInput, _ ...options) (*eventbridge.DescribeConnectionOutput, error) {
	q := begin(ctx)
	c := &bus.Connection{Resource: q.resource(bus.ConnectionKind, in.Name)}
	out := &eventbridge.DescribeConnectionOutput{}
	return out, s.do(ctx, q, "DescribeConnection", anyARN(&q, &c.Resource), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, c); err != nil {
			return err
		}
		*out = eventbridge.DescribeConnectionOutput{ConnectionArn: aws.String(c.ARN()), Name: &c.Name, Description: awsproto.Text(c.Description), AuthorizationType: types.ConnectionAuthorizationType(c.Auth),
			ConnectionState: types.ConnectionState(c.State), CreationTime: aws.Time(c.CreatedAt), LastModifiedTime: aws.Time(c.UpdatedAt), LastAuthorizedTime: aws.Time(c.UpdatedAt),
			AuthParameters: shown(c)}
		return nil
	})
}

func (s *Service) DeleteConnection(ctx context.Context, in *eventbridge.DeleteConnectionInput, _ ...options) (*eventbridge.DeleteConnectionOutput, error) {
	q := begin(ctx)
	r := q.resource(bus.ConnectionKind, in.Name)
	return &eventbridge.DeleteConnectionOutput{ConnectionState: types.ConnectionStateDeleting}, s.do(ctx, q, "DeleteConnection", anyARN(&q, &r), func(ctx context.Context) error {
		return s.bus.Remove(ctx, &r)
	})
}

func (s *Service) ListConnections(ctx context.Context, in *eventbridge.ListConnectionsInput, _ ...options) (*eventbridge.ListConnectionsOutput, error) {
	q := begin(ctx)
	out := &eventbridge.ListConnectionsOutput{Connections: []types.Connection{}}
	list, next, err := listed(ctx, s, q, "ListConnections", bus.ConnectionKind, in.NamePrefix, in.Limit, in.NextToken, func() *bus.Connection { return &bus.Connection{} },
		func(c *bus.Connection) string { return c.Name })
	for _, c := range list {
		if asked(string(in.ConnectionState), c.State) {
			out.Connections = append(out.Connections, types.Connection{ConnectionArn: aws.String(c.ARN()), Name: &c.Name, AuthorizationType: types.ConnectionAuthorizationType(c.Auth),
				ConnectionState: types.ConnectionState(c.State), CreationTime: aws.Time(c.CreatedAt), LastModifiedTime: aws.Time(c.UpdatedAt)})
		}
	}
	out.NextToken = next
	return out, err
}

// asked tells whether a list that a request asks for holds something: what is asked of
// it, if anything, is what it has.
func asked(want, have string) bool { return want == "" || want == have }

// listed is a page of the resources of a kind.
func listed[T bus.Any](ctx context.Context, s *Service, q request, op string, k bus.Kind, prefix *string, limit *int32, token *string, empty func() T,
	name func(T) string) (list []T, next *string, err error) {
	query := op + " " + string(q.place.Account) + " " + string(q.place.Region) + " " + aws.ToString(prefix)
	size, after, err := s.page(query, limit, token)
	if err != nil {
		return nil, nil, err
	}
	err = s.do(ctx, q, op, q.any(string(k)), func(ctx context.Context) error {
		var err error
		if list, err = bus.List(ctx, s.bus, q.place, k, aws.ToString(prefix), after, size+1, empty); err == nil {
			list, next = cut(s, list, size, query, name)
		}
		return err
	})
	return list, next, err
}

func (s *Service) CreateApiDestination(ctx context.Context, in *eventbridge.CreateApiDestinationInput, _ ...options) (*eventbridge.CreateApiDestinationOutput, error) {
	q := begin(ctx)
	d := &bus.Destination{Resource: q.resource(bus.DestinationKind, in.Name), Description: aws.ToString(in.Description), Connection: aws.ToString(in.ConnectionArn),
		Endpoint: aws.ToString(in.InvocationEndpoint), Method: string(in.HttpMethod), Rate: int(aws.ToInt32(in.InvocationRateLimitPerSecond))}
	out := &eventbridge.CreateApiDestinationOutput{}
	return out, s.do(ctx, q, "CreateApiDestination", anyARN(&q, &d.Resource), func(ctx context.Context) error {
		err := s.bus.Create(ctx, d)
		out.ApiDestinationArn, out.ApiDestinationState, out.CreationTime, out.LastModifiedTime = aws.String(d.ARN()), types.ApiDestinationState(d.State), aws.Time(d.CreatedAt), aws.Time(d.UpdatedAt)
		return err
	})
}

func (s *Service) UpdateApiDestination(ctx context.Context, in *eventbridge.UpdateApiDestinationInput, _ ...options) (*eventbridge.UpdateApiDestinationOutput, error) {
	q := begin(ctx)
	d := &bus.Destination{Resource: q.resource(bus.DestinationKind, in.Name)}
	out := &eventbridge.UpdateApiDestinationOutput{}
	return out, s.do(ctx, q, "UpdateApiDestination", anyARN(&q, &d.Resource), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, d); err != nil {
			return err
		}
		err := s.bus.Change(ctx, d, func() error {
			for _, x := range []struct{ dest, from *string }{{&d.Description, in.Description}, {&d.Connection, in.ConnectionArn}, {&d.Endpoint, in.InvocationEndpoint}} {
				if x.from != nil {
					*x.dest = *x.from
				}
			}
			if in.HttpMethod != "" {
				d.Method = string(in.HttpMethod)
			}
			if in.InvocationRateLimitPerSecond != nil {
				d.Rate = int(*in.InvocationRateLimitPerSecond)
			}
			return nil
		})
		out.ApiDestinationArn, out.ApiDestinationState, out.CreationTime, out.LastModifiedTime = aws.String(d.ARN()), types.ApiDestinationState(d.State), aws.Time(d.CreatedAt), aws.Time(d.UpdatedAt)
		return err
	})
}

func (s *Service) DescribeApiDestination(ctx context.Context, in *eventbridge.DescribeApiDestinationInput, _ ...options) (*eventbridge.DescribeApiDestinationOutput, error) {
	q := begin(ctx)
	d := &bus.Destination{Resource: q.resource(bus.DestinationKind, in.Name)}
	out := &eventbridge.DescribeApiDestinationOutput{}
	return out, s.do(ctx, q, "DescribeApiDestination", anyARN(&q, &d.Resource), func(ctx context.Context) error {
		if err := s.bus.Find(ctx, d); err != nil {
			return err
		}
		*out = eventbridge.DescribeApiDestinationOutput{ApiDestinationArn: aws.String(d.ARN()), Name: &d.Name, Description: awsproto.Text(d.Description), ConnectionArn: &d.Connection,
			InvocationEndpoint: &d.Endpoint, HttpMethod: types.ApiDestinationHttpMethod(d.Method), InvocationRateLimitPerSecond: aws.Int32(int32(d.Rate)),
			ApiDestinationState: types.ApiDestinationState(d.State), CreationTime: aws.Time(d.CreatedAt), LastModifiedTime: aws.Time(d.UpdatedAt)}
		return nil
	})
}

func (s *Service) DeleteApiDestination(ctx context.Context, in *eventbridge.DeleteApiDestinationInput, _ ...options) (*eventbridge.DeleteApiDestinationOutput, error) {
	q := begin(ctx)
	r := q.resource(bus.DestinationKind, in.Name)
	return &eventbridge.DeleteApiDestinationOutput{}, s.do(ctx, q, "DeleteApiDestination", anyARN(&q, &r), func(ctx context.Context) error { return s.bus.Remove(ctx, &r) })
}

func (s *Service) ListApiDestinations(ctx context.Context, in *eventbridge.ListApiDestinationsInput, _ ...options) (*eventbridge.ListApiDestinationsOutput, error) {
	q := begin(ctx)
	out := &eventbridge.ListApiDestinationsOutput{ApiDestinations: []types.ApiDestination{}}
	list, next, err := listed(ctx, s, q, "ListApiDestinations", bus.DestinationKind, in.NamePrefix, in.Limit, in.NextToken, func() *bus.Destination { return &bus.Destination{} },
		func(d *bus.Destination) string { return d.Name })
	for _, d := range list {
		if asked(aws.ToString(in.ConnectionArn), d.Connection) {
			out.ApiDestinations = append(out.ApiDestinations, types.ApiDestination{ApiDestinationArn: aws.String(d.ARN()), Name: &d.Name, ConnectionArn: &d.Connection,
				InvocationEndpoint: &d.Endpoint, HttpMethod: types.ApiDestinationHttpMethod(d.Method), InvocationRateLimitPerSecond: aws.Int32(int32(d.Rate)),
				ApiDestinationState: types.ApiDestinationState(d.State), CreationTime: aws.Time(d.CreatedAt), LastModifiedTime: aws.Time(d.UpdatedAt)})
		}
	}
	out.NextToken = next
	return out, err
}
