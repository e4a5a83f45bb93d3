package bus

import (
	"context"
	"hash/fnv"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/event/pattern"
	"github.com/berth-registry/berth/sqldb"
)

// ruleSet are the rules and archives in force, as this node knows them.
type ruleSet struct {
	rules    map[busKey][]*compiled
	archives map[busKey][]*compiledArchive
}

// compiledArchive is an archive with its pattern, nil for everything.
type compiledArchive struct {
	*Archive
	pattern *pattern.Pattern
}

func (a *compiledArchive) keeps(e *event.Event, decoded any) bool {
	return !e.ReadOnly && (a.pattern == nil || a.pattern.Match(decoded))
}

type busKey struct {
	place arn.Place
	name  string
}

// compiled is a rule that can match, with its targets.
type compiled struct {
	*Rule
	pattern *pattern.Pattern
	// late says that the pattern looks at the answer of a call, which is not known when
	// the call's record is written.
	late    bool
	targets []*Target
}

// loadRules reads the rules that match events.
func (b *Bus) loadRules(ctx context.Context) error {
	b.reload.Lock()
	defer b.reload.Unlock()
	rules, err := b.allRules(ctx)
	if err != nil {
		return err
	}
	targets, err := b.allTargets(ctx)
	if err != nil {
		return err
	}
	byRule := map[string][]*Target{}
	for _, t := range targets {
		k := RuleARN(t.place, t.bus, t.rule)
		byRule[k] = append(byRule[k], t.target)
	}
	set := ruleSet{rules: map[busKey][]*compiled{}, archives: map[busKey][]*compiledArchive{}}
	archives, err := b.allArchives(ctx)
	if err != nil {
		return err
	}
	for _, a := range archives {
		c := &compiledArchive{Archive: a}
		if a.Pattern != "" {
			if c.pattern, err = pattern.Parse(a.Pattern); err != nil {
				b.log.Error("a stored archive's pattern does not parse; the archive keeps nothing", "archive", a.ARN(), "error", err)
				continue
			}
		}
		_, name, _ := Named(a.Source, "event-bus")
		k := busKey{a.Place, name}
		set.archives[k] = append(set.archives[k], c)
	}
	for _, r := range rules {
		if r.Pattern == "" {
			continue
		}
		p, err := pattern.Parse(r.Pattern)
		if err != nil {
			b.log.Error("a stored rule's pattern does not parse; the rule matches nothing", "rule", r.ARN(), "error", err)
			continue
		}
		if c := (&compiled{r, p, p.Mentions("detail", "responseElements"), byRule[r.ARN()]}); len(c.targets) > 0 {
			k := busKey{r.Place, r.Bus}
			set.rules[k] = append(set.rules[k], c)
		}
	}
	b.rules.Store(&set)
	return nil
}

func keyOf(e *event.Event) busKey {
	if e.Bus == "" {
		return busKey{e.Place, event.DefaultBus}
	}
	return busKey{e.Place, e.Bus}
}

func (b *Bus) rulesOf(e *event.Event) []*compiled { return b.rules.Load().rules[keyOf(e)] }

// archivesOf are the archives that keep an event; those of its bus, as far as is known
// without its detail.
func (b *Bus) archivesOf(e *event.Event) []*compiledArchive {
	if e.Replay != "" {
		return nil
	}
	var out []*compiledArchive
	var decoded any
	for _, a := range b.rules.Load().archives[keyOf(e)] {
		if a.pattern != nil && len(e.Detail) > 0 && decoded == nil {
			var err error
			if decoded, err = pattern.Decode(e.JSON()); err != nil {
				return nil
			}
		}
		if len(e.Detail) == 0 && !e.ReadOnly || a.keeps(e, decoded) {
			out = append(out, a)
		}
	}
	return out
}

// sees reports whether a rule looks at events like this at all.
func (c *compiled) sees(e *event.Event) bool {
	return (!e.ReadOnly || c.State == EnabledAll) && c.pattern.Could(e.Source, e.DetailType, e.Head)
}

// Wants implements event.Consumer.
func (b *Bus) Wants(e *event.Event) bool {
	if len(b.archivesOf(e)) > 0 {
		return true
	}
	var decoded any
	for _, c := range b.rulesOf(e) {
		if !c.sees(e) {
			continue
		}
		if len(e.Detail) == 0 || e.Ref != "" && c.late {
			return true
		}
		if decoded == nil {
			var err error
			if decoded, err = pattern.Decode(e.JSON()); err != nil {
				return false
			}
		}
		if c.pattern.Match(decoded) {
			return true
		}
	}
	return false
}

// Holds reports whether a push waits for what receivers make of an event: whether a
// rule matches it that has such a receiver. The event's detail must be filled in.
func (b *Bus) Holds(e *event.Event) bool {
	for _, c := range b.matching(e) {
		for _, t := range c.targets {
			if b.holds(t) {
				return true
			}
		}
	}
	return false
}

func (b *Bus) holds(t *Target) bool {
	kind, err := receiverKind(t.ARN)
	return err == nil && slices.Contains(b.options.Holds, kind)
}

func (b *Bus) matching(e *event.Event) []*compiled {
	var out []*compiled
	var decoded any
	for _, c := range b.rulesOf(e) {
		if !c.sees(e) {
			continue
		}
		if decoded == nil {
			var err error
			if decoded, err = pattern.Decode(e.JSON()); err != nil {
				b.log.Error("an event is not JSON", "event", e.ID, "error", err)
				return nil
			}
		}
		if c.pattern.Match(decoded) {
			out = append(out, c)
		}
	}
	return out
}

// batch is how many events are matched in one transaction.
const batch = 64

// matchAll turns what the outbox holds into deliveries.
func (b *Bus) matchAll(ctx context.Context) error {
	for {
		queued, err := event.Read(ctx, b.db, batch)
		if err != nil || len(queued) == 0 {
			return err
		}
		deliveries, archives := make([][]*pending, len(queued)), make([][]*compiledArchive, len(queued))
		for i, q := range queued {
			if q.Ref != "" && len(q.Detail) == 0 {
				if err := b.options.Expand(ctx, &q.Event); err != nil {
					return err
				}
			}
			deliveries[i], archives[i] = b.deliveriesOf(q), b.archivesOf(&q.Event)
		}
		err = b.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error { // if it is lost, the events are still in the outbox
			for i, q := range queued {
				mine, err := event.Take(tx, q)
				if err != nil {
					return err
				}
				if !mine {
					continue
				}
				for _, a := range archives[i] {
					if err := insertArchived(tx, a.Archive, &q.Event); err != nil {
						return err
					}
				}
				if err := b.queue(tx, &q.Event, deliveries[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(queued) < batch { // what comes now wakes the bus
			return err
		}
	}
}

func (b *Bus) queue(tx *sqldb.Tx, e *event.Event, list []*pending) error {
	if len(list) == 0 {
		return nil
	}
	if err := insertEvent(tx, e); err != nil {
		return err
	}
	for _, d := range list {
		if err := insertDelivery(tx, d, sqldb.Micros(b.now())); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bus) deliveriesOf(q *event.Queued) []*pending {
	var out []*pending
	for _, c := range b.matching(&q.Event) {
		for _, t := range c.targets {
			out = append(out, b.delivery(&q.Event, c.Rule, t, q.Seq))
		}
	}
	return out
}

func (b *Bus) delivery(e *event.Event, r *Rule, t *Target, seq int64) *pending {
	d := &pending{Delivery: Delivery{ID: event.NewID(), Place: r.Place, Rule: r.ARN(), EventID: e.ID, Receiver: t.ARN, Target: t}, bus: r.Bus, rule: r.Name,
		seq: seq, held: b.holds(t)}
	if e.Key != "" {
		h := fnv.New64a()
		for _, s := range []string{d.Rule, t.ID, e.Key} {
			_, _ = h.Write([]byte(s + "\n")) // it never fails
		}
		d.lane = int64(h.Sum64()>>1 | 1)
	}
	return d
}

// scheduled makes the events of rules whose time has come.
func (b *Bus) scheduled(ctx context.Context) error {
	now := b.now()
	rules, err := b.dueRules(ctx, sqldb.Micros(now))
	if err != nil || len(rules) == 0 {
		return err
	}
	for _, r := range rules {
		s, err := ParseSchedule(r.Schedule)
		if err != nil {
			return err
		}
		next := int64(0)
		if at := s.Next(now); !at.IsZero() {
			next = sqldb.Micros(at)
		}
		targets, err := b.listTargets(ctx, r.Place, r.Bus, r.Name)
		if err != nil {
			return err
		}
		e := &event.Event{ID: event.NewID(), Place: r.Place, Bus: r.Bus, Source: "aws.events", DetailType: "Scheduled Event", Time: sqldb.Time(r.next),
			Resources: []string{r.ARN()}}
		err = b.db.Write(ctx, func(tx *sqldb.Tx) error {
			mine, err := takeDue(tx, r, next)
			if err != nil || !mine {
				return err
			}
			var list []*pending
			for _, t := range targets {
				list = append(list, b.delivery(e, r, t, r.next))
			}
			return b.queue(tx, e, list)
		})
		if err != nil {
			return err
		}
	}
	b.Wake()
	return nil
}
