package bus

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// Kind is a kind of resource beside buses and rules.
type Kind string

// The kinds.
const (
	ConnectionKind  Kind = "connection"
	DestinationKind Kind = "api-destination"
	ArchiveKind     Kind = "archive"
	ReplayKind      Kind = "replay"
)

// Resource is what all of them have.
type Resource struct {
	Place     arn.Place `json:"-"`
	Kind      Kind      `json:"-"`
	Name      string    `json:"-"`
	ID        string    `json:"-"`
	State     string    `json:"-"`
	CreatedAt time.Time `json:"-"`
	UpdatedAt time.Time `json:"-"`
	version   int64
}

// ARN is the resource's ARN.
func (r *Resource) ARN() string {
	name := string(r.Kind) + "/" + r.Name
	if r.Kind == ConnectionKind || r.Kind == DestinationKind {
		name += "/" + r.ID
	}
	return arn.ARN{Service: "events", Region: r.Place.Region, Account: r.Place.Account, Resource: name}.String()
}

// Named reads the name of a resource of a kind out of its ARN; ok is false when the ARN
// is none of them.
func Named(text string, kind Kind) (p arn.Place, name string, ok bool) {
	a, err := arn.Parse(text)
	if err != nil || a.Service != "events" {
		return p, "", false
	}
	rest, ok := strings.CutPrefix(a.Resource, string(kind)+"/")
	name, _, _ = strings.Cut(rest, "/")
	return arn.Place{Account: a.Account, Region: a.Region}, name, ok && name != ""
}

// Parameter is a header or a member of a query or body that goes with every call.
type Parameter struct {
	Key    string `json:"k"`
	Value  string `json:"v,omitempty"`
	Secret bool   `json:"s,omitempty"`
}

// The ways to authorise calls.
const (
	Basic  = "BASIC"
	APIKey = "API_KEY"
	OAuth  = "OAUTH_CLIENT_CREDENTIALS"
)

// Signature is the name of an API key that signs calls and does not travel with them, as
// the Standard Webhooks specification has it.
const Signature = "Webhook-Signature"

// Connection is how calls to destinations are authorised.
type Connection struct {
	Resource
	Description string `json:"description,omitempty"`
	Auth        string `json:"auth"`
	// User is the user's name, the key's name, or the client's id; Secret belongs to it.
	User     string      `json:"user"`
	Endpoint string      `json:"endpoint,omitempty"` // of OAuth
	Method   string      `json:"method,omitempty"`
	Headers  []Parameter `json:"headers,omitempty"`
	Query    []Parameter `json:"query,omitempty"`
	Body     []Parameter `json:"body,omitempty"`
	// Secret, and the values of secret parameters, are sealed at rest.
	Secret string `json:"-"`
}

// Destination is where events are sent by HTTP.
type Destination struct {
	Resource
	Description string `json:"description,omitempty"`
	Connection  string `json:"connection"` // ARN
	Endpoint    string `json:"endpoint"`   // each * stands for a path parameter
	Method      string `json:"method"`
	Rate        int    `json:"rate"` // calls a second
}

// Archive keeps the events of a bus that match a pattern.
type Archive struct {
	Resource
	Description string `json:"description,omitempty"`
	Source      string `json:"source"` // ARN of the bus
	Pattern     string `json:"pattern,omitempty"`
	Retention   int    `json:"retention,omitempty"` // days, 0 for ever
}

// Replay puts the events of an archive on its bus again.
type Replay struct {
	Resource
	Description string   `json:"description,omitempty"`
	Archive     string   `json:"archive"` // ARN
	Bus         string   `json:"bus"`     // ARN
	Rules       []string `json:"rules,omitempty"`
	From        int64    `json:"from"` // microseconds
	To          int64    `json:"to"`
	LastAt      int64    `json:"lastAt,omitempty"`
	LastID      string   `json:"lastId,omitempty"`
	EndedAt     int64    `json:"endedAt,omitempty"`
}

// The states of replays; the other kinds have those of the API's documentation.
const (
	Running    = "RUNNING"
	Completed  = "COMPLETED"
	Cancelled  = "CANCELLED"
	authorized = "AUTHORIZED"
	active     = "ACTIVE"
	enabled    = "ENABLED"
)

var resourceName = regexp.MustCompile(`^[.\-_A-Za-z0-9]+$`)

// maxResources bounds the resources of a kind in a region of an account.
const maxResources = 1000

// Any is a resource of any kind.
type Any interface {
	ARN() string
	common() *Resource
}

func (r *Resource) common() *Resource { return r }

func errMissing(kind Kind, name string) error {
	return fail(NotFound, "%s %.80s does not exist.", map[Kind]string{ConnectionKind: "Connection", DestinationKind: "An api-destination", ArchiveKind: "Archive", ReplayKind: "Replay"}[kind], name)
}

// Create stores a new connection, destination, archive or replay: Validation,
// AlreadyExists, LimitExceeded, InvalidPattern, NotFound.
func (b *Bus) Create(ctx context.Context, x Any) error {
	r := x.common()
	if len(r.Name) > 64 || !resourceName.MatchString(r.Name) {
		return fail(Validation, "1 validation error detected: Value '%.80s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+", r.Name)
	}
	if err := b.checkResource(ctx, x); err != nil {
		return err
	}
	r.ID, r.CreatedAt = uuid.NewString(), b.now().UTC().Truncate(time.Microsecond)
	r.UpdatedAt = r.CreatedAt
	err := b.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := countResources(tx, r.Place, r.Kind)
		if err != nil {
			return err
		}
		if n >= maxResources {
			return fail(LimitExceeded, "The account has %d of them here, no more are allowed.", n)
		}
		return b.insertResource(tx, x)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return fail(AlreadyExists, "%s %s already exists.", r.Kind, r.Name)
	}
	if r.Kind == ReplayKind {
		defer b.Wake()
	}
	return b.changed(ctx, err)
}

// Change applies fn to what was read by Find and stores it: Validation, Concurrent.
func (b *Bus) Change(ctx context.Context, x Any, fn func() error) error {
	if err := fn(); err != nil {
		return err
	}
	if err := b.checkResource(ctx, x); err != nil {
		return err
	}
	x.common().UpdatedAt = b.now().UTC().Truncate(time.Microsecond)
	return b.changed(ctx, b.db.Write(ctx, func(tx *sqldb.Tx) error {
		ok, err := b.updateResource(tx, x)
		if err == nil && !ok {
			err = fail(Concurrent, "%s %s was changed by somebody else at the same time.", x.common().Kind, x.common().Name)
		}
		return err
	}))
}

// Find reads a resource into x, which names it: NotFound.
func (b *Bus) Find(ctx context.Context, x Any) error {
	err := b.readResource(ctx, x)
	if sqldb.IsNoRows(err) {
		return errMissing(x.common().Kind, x.common().Name)
	}
	return err
}

// Remove deletes a resource, and with an archive its events: NotFound.
func (b *Bus) Remove(ctx context.Context, r *Resource) error {
	return b.changed(ctx, b.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := deleteResource(tx, r)
		if err == nil && n == 0 {
			return errMissing(r.Kind, r.Name)
		}
		return err
	}))
}

func (b *Bus) checkResource(ctx context.Context, x Any) error {
	switch v := x.(type) {
	case *Connection:
		return v.check()
	case *Destination:
		return b.checkDestination(ctx, v)
	case *Archive:
		if v.State = enabled; v.Pattern != "" {
			if err := CheckPattern(v.Pattern); err != nil {
				return err
			}
		}
		p, name, ok := Named(v.Source, "event-bus")
		if !ok || p != v.Place {
			return fail(Validation, "Parameter EventSourceArn is not valid: %.200q is not the ARN of an event bus here.", v.Source)
		}
		if v.Retention < 0 {
			return fail(Validation, "RetentionDays must not be negative.")
		}
		_, err := b.Bus(ctx, v.Place, name)
		return err
	case *Replay:
		return b.checkReplay(ctx, v)
	}
	return nil
}

func (c *Connection) check() error {
	c.State = authorized
	switch {
	case !slices.Contains([]string{Basic, APIKey, OAuth}, c.Auth):
		return fail(Validation, "AuthorizationType must be BASIC, API_KEY or OAUTH_CLIENT_CREDENTIALS.")
	case c.User == "" || c.Secret == "":
		return fail(Validation, "AuthParameters must hold both parts of what authorizes a call of the type %s.", c.Auth)
	case len(c.User) > 512 || len(c.Secret) > 512:
		return fail(Validation, "Names and secrets of a connection may have 512 characters.")
	}
	for _, list := range [][]Parameter{c.Headers, c.Query, c.Body, {{Key: c.User, Value: c.Secret}}} {
		if len(list) > 100 {
			return fail(Validation, "A connection may have 100 parameters of a kind.")
		}
		for _, p := range list {
			if p.Key == "" || strings.ContainsAny(p.Key+p.Value, "\r\n\x00") {
				return fail(Validation, "A parameter of a connection has a name, and no line ends.")
			}
		}
	}
	if c.Auth == OAuth {
		return checkURL("AuthorizationEndpoint", c.Endpoint)
	}
	return nil
}

func checkURL(member, text string) error {
	u, err := url.Parse(strings.ReplaceAll(text, "*", "x"))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || len(text) > 2048 {
		return fail(Validation, "Parameter %s is not valid: %.200q is not the address of an HTTP endpoint.", member, text)
	}
	return nil
}

func (b *Bus) checkDestination(ctx context.Context, d *Destination) error {
	d.State = active
	if !slices.Contains([]string{"POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"}, d.Method) {
		return fail(Validation, "HttpMethod %.20q is not one of POST, GET, HEAD, OPTIONS, PUT, PATCH, DELETE.", d.Method)
	}
	if d.Rate == 0 {
		d.Rate = 300
	}
	if d.Rate < 1 || d.Rate > 300 {
		return fail(Validation, "InvocationRateLimitPerSecond must be between 1 and 300.")
	}
	if err := checkURL("InvocationEndpoint", d.Endpoint); err != nil {
		return err
	}
	p, name, ok := Named(d.Connection, ConnectionKind)
	if !ok || p != d.Place {
		return fail(Validation, "Parameter ConnectionArn is not valid: %.200q is not the ARN of a connection here.", d.Connection)
	}
	return b.Find(ctx, &Connection{Resource: Resource{Place: p, Kind: ConnectionKind, Name: name}})
}

// Endpoint finds a destination by its ARN, with its connection: NotFound.
func (b *Bus) Endpoint(ctx context.Context, text string) (*Destination, *Connection, error) {
	p, name, ok := Named(text, DestinationKind)
	if !ok {
		return nil, nil, fail(NotFound, "%.200q is not the ARN of an API destination.", text)
	}
	d := &Destination{Resource: Resource{Place: p, Kind: DestinationKind, Name: name}}
	if err := b.Find(ctx, d); err != nil {
		return nil, nil, err
	}
	if d.ARN() != text {
		return nil, nil, errMissing(DestinationKind, name)
	}
	_, name, _ = Named(d.Connection, ConnectionKind)
	c := &Connection{Resource: Resource{Place: p, Kind: ConnectionKind, Name: name}}
	return d, c, b.Find(ctx, c)
}

// secrets are what is sealed of a resource.
type secrets struct {
	Secret  string
	Headers []string
	Query   []string
	Body    []string
}

// conceal takes the secrets out of a connection's visible part.
func (c *Connection) conceal() (*Connection, []byte, error) {
	v := *c
	s := secrets{Secret: c.Secret}
	for _, x := range []struct {
		from *[]Parameter
		to   *[]string
	}{{&v.Headers, &s.Headers}, {&v.Query, &s.Query}, {&v.Body, &s.Body}} {
		list := slices.Clone(*x.from)
		for i := range list {
			if list[i].Secret {
				*x.to = append(*x.to, list[i].Value)
				list[i].Value = ""
			}
		}
		*x.from = list
	}
	plain, err := json.Marshal(s)
	return &v, plain, err
}

func (c *Connection) reveal(plain []byte) error {
	var s secrets
	if err := json.Unmarshal(plain, &s); err != nil {
		return err
	}
	c.Secret = s.Secret
	for _, x := range []struct {
		to   []Parameter
		from []string
	}{{c.Headers, s.Headers}, {c.Query, s.Query}, {c.Body, s.Body}} {
		n := 0
		for i := range x.to {
			if x.to[i].Secret && n < len(x.from) {
				x.to[i].Value = x.from[n]
				n++
			}
		}
	}
	return nil
}
