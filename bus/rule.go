package bus

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/event/input"
	"github.com/berth-registry/berth/event/pattern"
	"github.com/berth-registry/berth/sqldb"
)

// EventBus is a bus. The default one is always there.
type EventBus struct {
	Place       arn.Place
	Name        string
	Description string
	Policy      string
	Tags        map[string]string
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// ARN is the bus's ARN.
func (b *EventBus) ARN() string { return busARN(b.Place, b.Name) }

func busARN(p arn.Place, name string) string {
	return arn.ARN{Service: "events", Region: p.Region, Account: p.Account, Resource: "event-bus/" + name}.String()
}

// The states of a rule. EnabledAll also sees records of calls that changed nothing.
const (
	Enabled    = "ENABLED"
	Disabled   = "DISABLED"
	EnabledAll = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
)

// Rule says which events go to its targets, or when an event of its own does.
type Rule struct {
	Place       arn.Place
	Bus         string
	Name        string
	Pattern     string // "" for none
	Schedule    string // "" for none
	State       string
	Description string
	Role        string // ARN
	Tags        map[string]string
	CreatedAt   time.Time
	next        int64
}

// ARN is the rule's ARN.
func (r *Rule) ARN() string { return RuleARN(r.Place, r.Bus, r.Name) }

// RuleARN is the ARN of a rule of a bus.
func RuleARN(p arn.Place, bus, name string) string {
	if bus != event.DefaultBus {
		name = bus + "/" + name
	}
	return arn.ARN{Service: "events", Region: p.Region, Account: p.Account, Resource: "rule/" + name}.String()
}

// Target is whom a rule sends its events to.
type Target struct {
	ID  string `json:"id"`
	ARN string `json:"arn"`
	// Role is used in the place of the receiver's own policy.
	Role string `json:"role,omitempty"`
	// Input, InputPath and Transform say what the receiver gets; at most one is set.
	Input     string           `json:"input,omitempty"`
	InputPath string           `json:"path,omitempty"`
	Transform *input.Transform `json:"transform,omitempty"`
	// DeadLetter is the ARN of where events go that could not be delivered.
	DeadLetter string `json:"dead,omitempty"`
	// Retries and Age (seconds) end the attempts; -1 is the default.
	Retries int `json:"retries"`
	Age     int `json:"age"`
	// HTTP are further parameters for receivers that are called by HTTP.
	HTTP *HTTP `json:"http,omitempty"`
	// Failed and Dead are set on dead letters: whom the event did not reach, and why.
	Failed string `json:"failed,omitempty"`
	Dead   string `json:"error,omitempty"`
}

// HTTP are the parameters of a call by HTTP.
type HTTP struct {
	Path    []string          `json:"path,omitempty"` // for each * of the endpoint
	Headers map[string]string `json:"headers,omitempty"`
	Query   map[string]string `json:"query,omitempty"`
}

// Defaults and bounds of retry policies (API reference, RetryPolicy).
const (
	maxRetries = 185
	maxAge     = 86400
	minAge     = 60
)

var (
	// The lengths are checked apart: counted repetitions compile into large programs.
	ruleName   = regexp.MustCompile(`^[.\-_A-Za-z0-9]+$`)
	targetName = ruleName
	busName    = regexp.MustCompile(`^[/.\-_A-Za-z0-9]+$`)
)

// PutBus makes a bus: AlreadyExists, LimitExceeded, Validation.
func (b *Bus) PutBus(ctx context.Context, n *EventBus) error {
	if len(n.Name) > 256 || !busName.MatchString(n.Name) || strings.HasPrefix(n.Name, "aws.") {
		return fail(Validation, "1 validation error detected: Value '%.60s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [/\\.\\-_A-Za-z0-9]+", n.Name)
	}
	n.CreatedAt = b.now().UTC().Truncate(time.Microsecond)
	n.UpdatedAt = n.CreatedAt
	err := b.db.Write(ctx, func(tx *sqldb.Tx) error {
		count, err := countBuses(tx, n.Place)
		if err != nil {
			return err
		}
		if count >= b.limits.Buses {
			return fail(LimitExceeded, "The requested resource exceeds the maximum number allowed: %d event buses", b.limits.Buses)
		}
		return insertBus(tx, n)
	})
	if n.Name == event.DefaultBus || errors.Is(err, sqldb.ErrUnique) {
		return fail(AlreadyExists, "Event bus %s already exists.", n.Name)
	}
	return err
}

// Bus returns a bus: NotFound.
func (b *Bus) Bus(ctx context.Context, p arn.Place, name string) (*EventBus, error) {
	n, err := b.readBus(ctx, p, name)
	if sqldb.IsNoRows(err) {
		if name == event.DefaultBus {
			return &EventBus{Place: p, Name: name, Tags: map[string]string{}}, nil
		}
		return nil, errBus(name)
	}
	return n, err
}

// UpdateBus applies fn to a bus, which for the default one makes its row: NotFound.
func (b *Bus) UpdateBus(ctx context.Context, p arn.Place, name string, fn func(*EventBus) error) (*EventBus, error) {
	var n *EventBus
	err := b.db.Write(ctx, func(tx *sqldb.Tx) error {
		if name == event.DefaultBus {
			if err := ensureBus(tx, &EventBus{Place: p, Name: name, Tags: map[string]string{}}); err != nil {
				return err
			}
		}
		var err error
		if n, err = lockBus(tx, p, name); sqldb.IsNoRows(err) {
			return errBus(name)
		}
		if err == nil {
			err = fn(n)
		}
		if err != nil {
			return err
		}
		n.UpdatedAt = b.now().UTC().Truncate(time.Microsecond)
		return updateBus(tx, n)
	})
	return n, err
}

func errBus(name string) error { return fail(NotFound, "Event bus %s does not exist.", name) }

// DeleteBus removes a bus. One that is not there is no error; the default bus and one
// with rules stay: Validation.
func (b *Bus) DeleteBus(ctx context.Context, p arn.Place, name string) error {
	if name == event.DefaultBus {
		return fail(Validation, "Cannot delete event bus default.")
	}
	return b.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := countRules(tx, p, name)
		if err != nil {
			return err
		}
		if n > 0 {
			return fail(Validation, "Event bus can't be deleted since it has rules.")
		}
		return deleteBus(tx, p, name)
	})
}

// PutRule makes a rule or replaces what it says: NotFound (the bus), InvalidPattern,
// Validation, LimitExceeded. Tags are those of a new rule only.
func (b *Bus) PutRule(ctx context.Context, r *Rule) error {
	if len(r.Name) > 64 || !ruleName.MatchString(r.Name) {
		return fail(Validation, "1 validation error detected: Value '%.80s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+", r.Name)
	}
	if r.State == "" {
		r.State = Enabled
	}
	if !slices.Contains([]string{Enabled, Disabled, EnabledAll}, r.State) {
		return fail(Validation, "%.60q is not a state of a rule.", r.State)
	}
	if err := b.checkRule(r); err != nil {
		return err
	}
	if _, err := b.Bus(ctx, r.Place, r.Bus); err != nil {
		return err
	}
	r.CreatedAt = b.now().UTC().Truncate(time.Microsecond)
	err := b.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := countRules(tx, r.Place, r.Bus)
		if err != nil {
			return err
		}
		fresh, err := upsertRule(tx, r)
		if err == nil && fresh && n >= b.limits.Rules {
			return fail(LimitExceeded, "The requested resource exceeds the maximum number allowed: %d rules on an event bus", b.limits.Rules)
		}
		return err
	})
	return b.changed(ctx, err)
}

func (b *Bus) checkRule(r *Rule) error {
	if r.Pattern == "" && r.Schedule == "" {
		return fail(Validation, "Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if r.Pattern != "" {
		if err := CheckPattern(r.Pattern); err != nil {
			return err
		}
	}
	r.next = 0
	if r.Schedule == "" {
		return nil
	}
	if r.Bus != event.DefaultBus {
		return fail(Validation, "ScheduleExpression is supported only on the default event bus.")
	}
	s, err := ParseSchedule(r.Schedule)
	if err != nil {
		return fail(Validation, "Parameter ScheduleExpression is not valid. %s", err)
	}
	if r.State != Disabled {
		if at := s.Next(b.now()); !at.IsZero() {
			r.next = at.UnixMicro()
		}
	}
	return nil
}

// CheckPattern reads a pattern: InvalidPattern.
func CheckPattern(text string) error {
	if _, err := pattern.Parse(text); err != nil {
		return fail(InvalidPattern, "%s", err)
	}
	return nil
}

// changed makes this node match by the rules as they are now.
func (b *Bus) changed(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	if err := b.loadRules(ctx); err != nil {
		b.log.Error("reading the rules after a change", "error", err) // the next reading has it
	}
	return nil
}

func errRule(name string) error { return fail(NotFound, "Rule %.80s does not exist.", name) }

// Rule returns a rule: NotFound.
func (b *Bus) Rule(ctx context.Context, p arn.Place, bus, name string) (*Rule, error) {
	r, err := b.readRule(ctx, p, bus, name)
	if sqldb.IsNoRows(err) {
		if _, err := b.Bus(ctx, p, bus); err != nil {
			return nil, err
		}
		return nil, errRule(name)
	}
	return r, err
}

// SetState enables or disables a rule: NotFound.
func (b *Bus) SetState(ctx context.Context, p arn.Place, bus, name, state string) error {
	return b.changed(ctx, b.withRule(ctx, p, bus, name, func(tx *sqldb.Tx, r *Rule) error {
		r.State = state
		if err := b.checkRule(r); err != nil {
			return err
		}
		return setState(tx, r)
	}))
}

// withRule runs fn on a rule, which nobody else changes meanwhile: NotFound.
func (b *Bus) withRule(ctx context.Context, p arn.Place, bus, name string, fn func(*sqldb.Tx, *Rule) error) error {
	if _, err := b.Bus(ctx, p, bus); err != nil {
		return err
	}
	return b.db.Write(ctx, func(tx *sqldb.Tx) error {
		r, err := lockRule(tx, p, bus, name)
		if sqldb.IsNoRows(err) {
			return errRule(name)
		}
		if err != nil {
			return err
		}
		return fn(tx, r)
	})
}

// TagRule changes a rule's tags: NotFound.
func (b *Bus) TagRule(ctx context.Context, p arn.Place, bus, name string, fn func(map[string]string) error) error {
	return b.withRule(ctx, p, bus, name, func(tx *sqldb.Tx, r *Rule) error {
		if err := fn(r.Tags); err != nil {
			return err
		}
		return setTags(tx, r)
	})
}

// DeleteRule removes a rule without targets. One that is not there is no error.
func (b *Bus) DeleteRule(ctx context.Context, p arn.Place, bus, name string) error {
	return b.changed(ctx, b.db.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := lockRule(tx, p, bus, name); err != nil {
			if sqldb.IsNoRows(err) {
				return nil
			}
			return err
		}
		n, err := countTargets(tx, p, bus, name)
		if err != nil {
			return err
		}
		if n > 0 {
			return fail(Validation, "Rule can't be deleted since it has targets.")
		}
		return deleteRule(tx, p, bus, name)
	}))
}

// Rules lists rules by name from after on, of those with a prefix.
func (b *Bus) Rules(ctx context.Context, p arn.Place, bus, prefix, after string, limit int) ([]*Rule, error) {
	if _, err := b.Bus(ctx, p, bus); err != nil {
		return nil, err
	}
	return b.listRules(ctx, p, bus, prefix, after, limit)
}

// CheckTarget tells what is wrong with a target: Validation.
func (b *Bus) CheckTarget(t *Target) error {
	if len(t.ID) > 64 || !targetName.MatchString(t.ID) {
		return fail(Validation, "1 validation error detected: Value '%.80s' at 'targets.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+", t.ID)
	}
	if err := b.checkReceiver(t.ARN, "Target "+t.ID); err != nil {
		return err
	}
	if t.DeadLetter != "" {
		kind, err := receiverKind(t.DeadLetter)
		if err != nil || kind != "logs:log-group" && kind != "lambda:function" {
			return fail(Validation, "The dead-letter queue %.200s of target %s is of a service that this server does not have: give a log group or a function.", t.DeadLetter, t.ID)
		}
	}
	if t.Retries < -1 || t.Retries > maxRetries {
		return fail(Validation, "MaximumRetryAttempts must be between 0 and %d.", maxRetries)
	}
	if t.Age != -1 && (t.Age < minAge || t.Age > maxAge) {
		return fail(Validation, "MaximumEventAgeInSeconds must be between %d and %d.", minAge, maxAge)
	}
	set := 0
	for _, given := range []bool{t.Input != "", t.InputPath != "", t.Transform != nil} {
		if given {
			set++
		}
	}
	if set > 1 {
		return fail(Validation, "Only one of Input, InputPath, or InputTransformer must be provided for target %s.", t.ID)
	}
	if err := input.Check(t.Input, t.InputPath, t.Transform); err != nil {
		return fail(Validation, "Target %s: %s.", t.ID, err)
	}
	return nil
}

func (b *Bus) checkReceiver(receiver, what string) error {
	kind, err := receiverKind(receiver)
	if err != nil {
		return fail(Validation, "Parameter %.200s is not valid. Reason: Provided Arn is not in correct format.", receiver)
	}
	if b.options.Receivers[kind] == nil {
		return fail(Validation, "%s: this server cannot send events to %s. It has functions, log groups, event buses and API destinations.", what, strings.Replace(kind, ":", " ", 1))
	}
	return nil
}

// receiverKind is the service of an ARN and the first word of its resource.
func receiverKind(text string) (string, error) {
	a, err := arn.Parse(text)
	if err != nil {
		return "", err
	}
	word := a.Resource
	if i := strings.IndexAny(word, ":/"); i >= 0 {
		word = word[:i]
	}
	return a.Service + ":" + word, nil
}

// PutTargets adds targets to a rule or replaces those with the same id: NotFound,
// LimitExceeded, Validation.
func (b *Bus) PutTargets(ctx context.Context, p arn.Place, bus, rule string, targets []*Target) error {
	for _, t := range targets {
		if err := b.CheckTarget(t); err != nil {
			return err
		}
	}
	return b.changed(ctx, b.withRule(ctx, p, bus, rule, func(tx *sqldb.Tx, _ *Rule) error {
		for _, t := range targets {
			if err := upsertTarget(tx, p, bus, rule, t); err != nil {
				return err
			}
		}
		n, err := countTargets(tx, p, bus, rule)
		if err == nil && n > b.limits.Targets {
			return fail(LimitExceeded, "The requested resource exceeds the maximum number allowed: %d targets of a rule", b.limits.Targets)
		}
		return err
	}))
}

// RemoveTargets removes targets of a rule; it returns those that were not there.
func (b *Bus) RemoveTargets(ctx context.Context, p arn.Place, bus, rule string, ids []string) (missing []string, err error) {
	err = b.changed(ctx, b.withRule(ctx, p, bus, rule, func(tx *sqldb.Tx, _ *Rule) error {
		missing = nil
		for _, id := range ids {
			n, err := deleteTarget(tx, p, bus, rule, id)
			if err != nil {
				return err
			}
			if n == 0 {
				missing = append(missing, id)
			}
		}
		return nil
	}))
	return missing, err
}

// Targets lists the targets of a rule by id: NotFound.
func (b *Bus) Targets(ctx context.Context, p arn.Place, bus, rule string) ([]*Target, error) {
	if _, err := b.Rule(ctx, p, bus, rule); err != nil {
		return nil, err
	}
	return b.listTargets(ctx, p, bus, rule)
}
