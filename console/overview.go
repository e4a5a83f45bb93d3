package console

import (
	"cmp"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
)

// usage is what an account holds in a region.
type usage struct {
	Region                      string
	Repositories, Images, Bytes int64
}

// usageOf counts what the account holds, by region and in all.
func (c *Console) usageOf(q *request) (list []usage, total usage, err error) {
	var out struct{ Regions []usage }
	err = c.api.Berth(q.ctx, "DescribeUsage", struct{}{}, &out)
	for _, u := range out.Regions {
		total.Repositories += u.Repositories
		total.Images += u.Images
		total.Bytes += u.Bytes
	}
	return out.Regions, total, err
}

// regions are those in which the account has something, and the home region.
func (c *Console) regions(q *request) []string {
	out := []string{string(c.host.Home().Region)}
	list, _, err := c.usageOf(q.optional())
	if err != nil { // who may not ask sees the home region
		return out
	}
	for _, u := range list {
		if !slices.Contains(out, u.Region) {
			out = append(out, u.Region)
		}
	}
	slices.Sort(out)
	return out
}

// record is one of the trail, in CloudTrail's shape.
type record struct {
	EventTime    time.Time
	EventName    string
	EventSource  string
	EventID      string
	RequestID    string
	ErrorCode    string
	ErrorMessage string
	ReadOnly     bool
	AWSRegion    string
	SourceIP     string `json:"sourceIPAddress"`
	UserAgent    string
	UserIdentity struct {
		ARN, Type, UserName string
	}
	RequestParameters map[string]any
	ResponseElements  map[string]any
	Resources         []struct{ ARN, Type string }
	// AdditionalEventData names the run of a function that made the call.
	AdditionalEventData map[string]string
	raw                 string
}

// Who is the caller in short.
func (r *record) Who() string {
	if a := r.UserIdentity.ARN; a != "" {
		if strings.HasSuffix(a, ":root") {
			return "root"
		}
		_, rest, _ := strings.Cut(a, "/")
		return rest
	}
	return strings.ToLower(r.UserIdentity.Type)
}

// Service is the short name of the source.
func (r *record) Service() string { return strings.TrimSuffix(r.EventSource, ".amazonaws.com") }

// What is what the call was about, and To its page.
func (r *record) What() string {
	for _, k := range []string{"repositoryName", "functionName", "roleName", "userName", "groupName", "policyName", "name", "path", "logGroupName", "prefix", "id"} {
		if s, ok := r.RequestParameters[k].(string); ok && s != "" {
			return s
		}
	}
	for _, x := range r.Resources {
		return lastOf(x.ARN)
	}
	return ""
}

func lastOf(a string) string {
	if i := strings.LastIndexByte(a, ':'); i >= 0 {
		a = a[i+1:]
	}
	if _, rest, ok := strings.Cut(a, "/"); ok {
		return rest
	}
	return a
}

// To is the page of what the call was about.
func (r *record) To() string {
	if name, ok := r.RequestParameters["repositoryName"].(string); ok {
		return pathOf("/repositories", r.AWSRegion, name)
	}
	for _, x := range r.Resources {
		if to := pageOf(x.ARN); to != "" {
			return to
		}
	}
	return ""
}

func (r *record) Denied() bool { return strings.HasPrefix(r.ErrorCode, "AccessDenied") }

// eventQuery asks for records.
type eventQuery struct {
	Key, Value string
	Limit      int
	Next       string
	Since      time.Time
}

// events reads a page of records of a region.
func (c *Console) events(q *request, region string, e eventQuery) ([]*record, string, error) {
	in := map[string]any{"maxResults": e.Limit}
	if e.Key != "" {
		in["attributeKey"], in["attributeValue"] = e.Key, e.Value
	}
	if e.Next != "" {
		in["nextToken"] = e.Next
	}
	if !e.Since.IsZero() {
		in["startTime"] = float64(e.Since.UnixMilli()) / 1000
	}
	var out struct {
		Events    []string
		NextToken string
	}
	if err := c.api.Berth(q.at(region), "ListEvents", in, &out); err != nil {
		return nil, "", err
	}
	list := make([]*record, 0, len(out.Events))
	for _, text := range out.Events {
		r := &record{raw: text}
		if err := json.Unmarshal([]byte(text), r); err != nil {
			return nil, "", err
		}
		list = append(list, r)
	}
	return list, out.NextToken, nil
}

// uploading are the parts of a push, which is told by its PutImage.
var uploading = []string{"InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"}

// lately are the last changes of an account in all its regions.
func (c *Console) lately(q *request, n int) ([]*record, error) {
	var all []*record
	for _, region := range c.regions(q) {
		list, _, err := c.events(q, region, eventQuery{Key: "ReadOnly", Value: "false", Limit: 8 * n})
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if r.ErrorCode != "" || !slices.Contains(uploading, r.EventName) {
				all = append(all, r)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *record) int { return b.EventTime.Compare(a.EventTime) })
	return all[:min(n, len(all))], nil
}

// activity is how many calls there were within an hour.
type activity struct {
	Hour          unixTime
	Name, Outcome string
	Calls         int64
}

// span is a time that charts are over.
type span struct {
	Key, Text string
	Step      time.Duration
	Bars      int
}

var spans = []span{{"day", "24 hours", time.Hour, 24}, {"week", "7 days", 6 * time.Hour, 28}, {"month", "30 days", 24 * time.Hour, 30}}

type overviewBody struct {
	Usage     usage
	UsagePart *part
	Regions   []usage
	Services  int64
	Span      string
	Spans     []crumb
	Chart     template.HTML
	Series    []series
	ChartPart *part
	Events    []*record
	EventPart *part
	Denials   []explanation
	Notices   int
	Registry  string
	Endpoint  string
}

func (c *Console) overview(q *request) (*page, error) {
	b := overviewBody{Span: cmp.Or(q.FormValue("span"), "day"), Registry: c.host.Registry(arn.Place{Account: q.me.Principal.Account, Region: q.caller.Region}), Endpoint: c.host.Endpoint()}
	q = q.optional() // it is where everybody begins, whatever they may see
	list, total, err := c.usageOf(q)
	b.Regions, b.Usage, b.UsagePart = list, total, c.part(q, err)
	b.Chart, b.Series, err = c.activityChart(q, b.Span)
	b.ChartPart = c.part(q, err)
	for _, s := range spans {
		b.Spans = append(b.Spans, crumb{s.Text, s.Key})
	}
	b.Events, err = c.lately(q, 12)
	b.EventPart = c.part(q, err)
	b.Denials = c.denials(q, 5)
	var notices struct{ Notices []any }
	if c.api.Catalog(q.ctx, http.MethodGet, "berth/notices?links=false", nil, &notices) == nil {
		b.Notices = len(notices.Notices)
	}
	var count struct{ Count int64 }
	if c.api.Catalog(q.ctx, http.MethodGet, "blueprints/service/entities-count", nil, &count) == nil {
		b.Services = count.Count
	}
	return &page{Title: "Overview", Section: "overview", view: "overview", Live: liveChanges, Body: b}, nil
}

// activityChart draws pushes, pulls and refusals over time.
func (c *Console) activityChart(q *request, key string) (template.HTML, []series, error) {
	s := spans[max(0, slices.IndexFunc(spans, func(s span) bool { return s.Key == key }))]
	from := c.now().UTC().Truncate(s.Step).Add(-time.Duration(s.Bars-1) * s.Step)
	var out struct{ Activity []activity }
	if err := c.api.Berth(q.ctx, "ListActivity", map[string]any{"startTime": from.Unix()}, &out); err != nil {
		return "", nil, err
	}
	list := []series{{"pushes", "s1", make([]int64, s.Bars)}, {"pulls", "s4", make([]int64, s.Bars)}, {"refused", "s3", make([]int64, s.Bars)}}
	for _, a := range out.Activity {
		n := int(a.Hour.Time().Sub(from) / s.Step)
		if n < 0 || n >= s.Bars {
			continue
		}
		switch {
		case a.Outcome == "denied":
			list[2].Values[n] += a.Calls
		case a.Outcome == "ok" && a.Name == "PutImage":
			list[0].Values[n] += a.Calls
		case a.Outcome == "ok" && a.Name == "BatchGetImage":
			list[1].Values[n] += a.Calls
		}
	}
	return bars(from, s.Step, list), list, nil
}

// pageOf is the page of an ARN, "" for things that have none.
func pageOf(text string) string {
	a, err := arn.Parse(text)
	if err != nil {
		return ""
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	if a.Service == "lambda" || a.Service == "logs" {
		kind, name, _ = strings.Cut(a.Resource, ":")
	}
	region := string(a.Region)
	switch a.Service + ":" + kind {
	case "ecr:repository":
		return pathOf("/repositories", region, name)
	case "iam:user", "iam:group", "iam:role":
		return pathOf("/"+kind+"s", name[strings.LastIndexByte(name, '/')+1:])
	case "iam:policy":
		return query("/policies/view", "arn", text)
	case "lambda:function":
		name, _, _ = strings.Cut(name, ":")
		return pathOf("/functions", region, name)
	case "logs:log-group":
		name, _, _ = strings.Cut(name, ":")
		return query("/logs", "region", region, "group", name)
	case "events:rule":
		return pathOf("/rules", region, name)
	case "catalog:entity", "catalog:blueprint":
		return pathOf("/catalog", name)
	}
	return ""
}

// goView answers the address that the guide's link property names: it goes to the page of
// an ARN.
func (c *Console) goView(q *request) (*page, error) {
	text := q.in("arn")
	to := pageOf(text)
	if to == "" {
		return errorPage(http.StatusNotFound, "No page for that", "The console has no page for the ARN "+text+"."), nil
	}
	if a, err := arn.Parse(text); err == nil && a.Account != q.me.Principal.Account {
		return errorPage(http.StatusNotFound, "Another account's", "This belongs to account "+string(a.Account)+". Sign in there, or switch under Accounts, to see it."), nil
	}
	http.Redirect(q.w, q.Request, to, http.StatusSeeOther)
	return nil, nil
}
