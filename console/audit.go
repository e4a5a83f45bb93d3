package console

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

type auditBody struct {
	Region      string
	Regions     []string
	Key, Value  string
	Changes     bool
	List        []*record
	First, Next string
	Part        *part
	R           *record
	Raw         string
}

// audit is the log of calls.
func (c *Console) audit(q *request) (*page, error) {
	b := &auditBody{Region: cmp.Or(q.in("region"), string(c.host.Home().Region)), Regions: c.regions(q), Key: cmp.Or(q.in("key"), "EventName"), Value: q.in("value"), Changes: q.in("all") == ""}
	e := eventQuery{Limit: 50, Next: q.in("next")}
	switch {
	case b.Value != "":
		e.Key, e.Value = b.Key, b.Value
	case b.Changes:
		e.Key, e.Value = "ReadOnly", "false"
	}
	list, next, err := c.events(q, b.Region, e)
	b.List, b.Part = list, c.part(q, err)
	base := []string{"region", b.Region, "key", b.Key, "value", b.Value, "all", q.in("all")}
	if next != "" {
		b.Next = query("/audit", append(slices.Clone(base), "next", next)...)
	}
	if e.Next != "" {
		b.First = query("/audit", base...)
	}
	return &page{Title: "Audit log", Section: "audit", view: "audit", Live: liveChanges, Body: b}, nil
}

// auditRecord is one record, whole.
func (c *Console) auditRecord(q *request) (*page, error) {
	b := &auditBody{Region: q.PathValue("region")}
	list, _, err := c.events(q, b.Region, eventQuery{Key: "EventId", Value: q.PathValue("id"), Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return errorPage(http.StatusNotFound, "No such record", "The record is not there, or is older than records are kept."), nil
	}
	b.R, b.Raw = list[0], indented(list[0].raw)
	return &page{Title: b.R.EventName, Section: "audit", view: "audit-record", Body: b}, nil
}

// pushTrace is the way of one push into a repository that was not there.
type pushTrace struct {
	Region, Name string
	Missed       []*record
	Steps        []step
	Exists       bool
	Services     []string
	Entity       *entity
	Events       []*record
	Part         *part
	Since        time.Time
}

type pushesBody struct {
	List []*pushTrace
	Part *part
}

// pushes are those that made their repository, or waited for it.
func (c *Console) pushes(q *request) (*page, error) {
	b := &pushesBody{}
	seen := map[string]*pushTrace{}
	for _, region := range c.regions(q) {
		for _, name := range []string{"CreateRepository", "InitiateLayerUpload"} {
			list, _, err := c.events(q, region, eventQuery{Key: "EventName", Value: name, Limit: 100})
			if err != nil {
				b.Part = c.part(q, err)
				break
			}
			for _, r := range list {
				missed := name == "InitiateLayerUpload" && r.ErrorCode == "RepositoryNotFoundException"
				byPush := name == "CreateRepository" && r.ErrorCode == "" && r.pushed()
				if !missed && !byPush {
					continue
				}
				key := region + "/" + r.What()
				t := seen[key]
				if t == nil {
					t = &pushTrace{Region: region, Name: r.What()}
					seen[key] = t
					b.List = append(b.List, t)
				}
				if r.EventTime.After(t.Since) {
					t.Since = r.EventTime
				}
				if missed {
					t.Missed = append(t.Missed, r)
				}
				t.Exists = t.Exists || byPush
			}
		}
	}
	slices.SortStableFunc(b.List, func(x, y *pushTrace) int { return y.Since.Compare(x.Since) })
	for _, t := range b.List {
		if !t.Exists {
			_, err := c.describe(&request{Request: q.Request, w: q.w, ctx: q.at(t.Region), caller: q.caller, me: q.me}, t.Name)
			t.Exists = err == nil
		}
	}
	return &page{Title: "Pushes that create", Section: "pushes", view: "pushes", Live: liveChanges, Body: b}, nil
}

// pushed reports whether the record of a creation tells of a push: a function made the
// repository, or a template did within the push, which has no document of its own.
func (r *record) pushed() bool {
	return len(r.AdditionalEventData) > 0 || len(r.RequestParameters) == 0
}

// push follows one push, live: what missed the repository, the event, the rule, the
// function with its log, the repository, the entity.
func (c *Console) push(q *request) (*page, error) {
	t := &pushTrace{Region: q.PathValue("region"), Name: q.PathValue("name")}
	list, _, err := c.events(q, t.Region, eventQuery{Key: "ResourceName", Value: t.Name, Limit: 100})
	t.Part = c.part(q, err)
	for _, r := range list {
		if r.EventName == "InitiateLayerUpload" && r.ErrorCode == "RepositoryNotFoundException" {
			t.Missed = append(t.Missed, r)
		}
		if !r.ReadOnly && !slices.Contains(uploading, r.EventName) {
			t.Events = append(t.Events, r)
		}
	}
	slices.Reverse(t.Events)
	slices.Reverse(t.Missed)
	if _, err := c.describe(q, t.Name); err == nil {
		t.Exists = true
		var out struct{ Steps []step }
		if err := c.api.Berth(q.ctx, "DescribeRepositoryOrigin", map[string]any{"repositoryName": t.Name}, &out); err == nil {
			t.Steps = out.Steps
		}
		if t.Entity = c.entityOf(q, t.Name); t.Entity != nil {
			t.Services = names(t.Entity.Relations["service"])
		}
	}
	return &page{Title: "Push to " + t.Name, Section: "pushes", view: "push", Live: liveChanges, Body: t}, nil
}
