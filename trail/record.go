package trail

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
)

// Record tells of one API call, in the account and region whose trail it stands in.
type Record struct {
	ID     string    `json:"i"` // begins with the time
	At     time.Time `json:"t"`
	Source string    `json:"s"` // such as ecr.amazonaws.com
	Name   string    `json:"n"` // of the API's operation
	// Action is IAM's, such as ecr:PutImage, and Targets the ARNs that it was asked
	// for.
	Action   string    `json:"a,omitempty"`
	Targets  []string  `json:"g,omitempty"`
	ReadOnly bool      `json:"r,omitempty"`
	Who      Who       `json:"w"`
	Place    arn.Place `json:"-"` // of the trail it stands in
	// Home is the account and region that the call was about, which may be
	// another's.
	Home         arn.Place           `json:"h"`
	SourceIP     string              `json:"ip,omitempty"`
	UserAgent    string              `json:"ua,omitempty"`
	RequestID    string              `json:"q,omitempty"`
	ErrorCode    string              `json:"e,omitempty"`
	ErrorMessage string              `json:"m,omitempty"`
	Params       json.RawMessage     `json:"p,omitempty"`
	Response     json.RawMessage     `json:"o,omitempty"`
	Keys         map[string][]string `json:"k,omitempty"`
	// Additional is what Berth tells beside CloudTrail's own members, such as the run
	// of a function that made the call.
	Additional map[string]string `json:"x,omitempty"`
	// Shared is the id that both records of a call between accounts have.
	Shared string `json:"z,omitempty"`
}

// Who made a call, in CloudTrail's words.
type Who struct {
	Type        arn.Kind `json:"t"`
	PrincipalID string   `json:"p,omitempty"`
	ARN         string   `json:"a,omitempty"`
	AccountID   string   `json:"c,omitempty"`
	AccessKeyID string   `json:"k,omitempty"`
	UserName    string   `json:"u,omitempty"`
	// Role is the ARN of an assumed role, RoleID its unique id, Since when the session
	// began, and Provider the identity provider whose token asked for it.
	Role     string    `json:"r,omitempty"`
	RoleID   string    `json:"i,omitempty"`
	Since    time.Time `json:"s,omitzero"`
	Provider string    `json:"f,omitempty"`
}

// Username is what LookupEvents finds a caller by.
func (w *Who) Username() string {
	switch {
	case w.UserName != "":
		return w.UserName
	case w.Type == arn.KindRoot:
		return "root"
	}
	return w.ARN[strings.LastIndexByte(w.ARN, '/')+1:]
}

// Resource is a thing that a call was about, as LookupEvents names it.
type Resource struct{ Type, Name, ARN string }

// resourceTypes are the types of resources by service and first word.
var resourceTypes = map[string]string{
	"ecr:repository": "AWS::ECR::Repository", "iam:role": "AWS::IAM::Role", "iam:user": "AWS::IAM::User", "iam:group": "AWS::IAM::Group",
	"iam:policy": "AWS::IAM::Policy", "iam:oidc-provider": "AWS::IAM::OIDCProvider", "lambda:function": "AWS::Lambda::Function",
	"events:rule": "AWS::Events::Rule", "events:event-bus": "AWS::Events::EventBus", "events:connection": "AWS::Events::Connection",
	"events:api-destination": "AWS::Events::ApiDestination", "events:archive": "AWS::Events::Archive", "logs:log-group": "AWS::Logs::LogGroup",
}

// Resources are the things that the call was about.
func (r *Record) Resources() []Resource {
	var out []Resource
	for _, t := range r.Targets {
		a, err := arn.Parse(t)
		if err != nil {
			continue
		}
		a.Resource = strings.TrimSuffix(a.Resource, ":*") // everything of a log group
		i := strings.IndexAny(a.Resource, "/:")
		if i < 0 || strings.HasSuffix(a.Resource, "*") {
			continue
		}
		out = append(out, Resource{resourceTypes[a.Service+":"+a.Resource[:i]], a.Resource[i+1:], t})
	}
	return out
}

type object = map[string]any

// detail is the record in CloudTrail's shape (event reference, version 1.11).
func (r *Record) detail() object {
	o := object{"eventVersion": "1.11", "userIdentity": r.identity(), "eventTime": stamp(r.At), "eventSource": r.Source, "eventName": r.Name,
		"awsRegion": r.Home.Region, "sourceIPAddress": r.SourceIP, "userAgent": r.UserAgent, "requestParameters": r.Params, "responseElements": r.Response,
		"requestID": r.RequestID, "eventID": r.ID, "readOnly": r.ReadOnly, "eventType": "AwsApiCall", "managementEvent": true,
		"recipientAccountId": r.Place.Account, "eventCategory": "Management"}
	for k, v := range map[string]json.RawMessage{"requestParameters": r.Params, "responseElements": r.Response} {
		if len(v) == 0 {
			o[k] = nil
		}
	}
	if r.ErrorCode != "" {
		o["errorCode"], o["errorMessage"] = r.ErrorCode, r.ErrorMessage
	}
	if r.Shared != "" {
		o["sharedEventID"] = r.Shared
	}
	if len(r.Additional) > 0 {
		o["additionalEventData"] = r.Additional
	}
	var resources []object
	for _, x := range r.Resources() {
		a, _ := arn.Parse(x.ARN)
		one := object{"accountId": a.Account, "ARN": x.ARN}
		if x.Type != "" {
			one["type"] = x.Type
		}
		resources = append(resources, one)
	}
	if resources != nil {
		o["resources"] = resources
	}
	return o
}

// heading gives texts of a record's detail that rules tell records apart by. It belongs to
// one goroutine.
type heading struct {
	*Record
	params map[string]json.RawMessage // once it was asked for one
}

// text is a pattern.Head.
func (h *heading) text(object, name string) (value string, known bool) {
	switch object {
	case "":
		switch name {
		case "eventName":
			return h.Name, true
		case "eventSource":
			return h.Source, true
		case "errorCode":
			return h.ErrorCode, true
		}
	case "requestParameters":
		if h.params == nil && json.Unmarshal(h.Params, &h.params) != nil {
			h.params = map[string]json.RawMessage{}
		}
		if raw := h.params[name]; len(raw) > 2 && raw[0] == '"' {
			known = json.Unmarshal(raw, &value) == nil
		}
	}
	return value, known
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func (r *Record) identity() object {
	w := &r.Who
	o := object{"type": w.Type}
	for k, v := range map[string]string{"principalId": w.PrincipalID, "arn": w.ARN, "accountId": w.AccountID, "accessKeyId": w.AccessKeyID, "userName": w.UserName} {
		if v != "" {
			o[k] = v
		}
	}
	if w.Role != "" {
		session := object{"sessionIssuer": object{"type": "Role", "principalId": w.RoleID, "arn": w.Role, "accountId": w.AccountID,
			"userName": w.Role[strings.LastIndexByte(w.Role, '/')+1:]},
			"attributes": object{"creationDate": stamp(w.Since), "mfaAuthenticated": "false"}}
		if w.Provider != "" {
			session["webIdFederationData"] = object{"federatedProvider": w.Provider, "attributes": object{}}
		}
		o["sessionContext"] = session
	}
	return o
}

// JSON is the record in CloudTrail's shape.
func (r *Record) JSON() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.detail()); err != nil {
		panic(err) // Params and Response were made by encoders
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// The attributes that records are found by.
const (
	byName      = "n"
	bySource    = "s"
	byUsername  = "u"
	byAccessKey = "k"
	byReadOnly  = "r"
	byResource  = "o"
	byType      = "t"
)

// attributes are the values that the record is found by, as the index has them.
func (r *Record) attributes() []string {
	out := []string{byName + r.Name, bySource + r.Source, byUsername + r.Who.Username(), byReadOnly + word(r.ReadOnly)}
	if r.Who.AccessKeyID != "" {
		out = append(out, byAccessKey+r.Who.AccessKeyID)
	}
	for _, x := range r.Resources() {
		out = append(out, byResource+x.Name, byResource+x.ARN)
		if x.Type != "" {
			out = append(out, byType+x.Type)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func word(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// source is what records call a service.
func source(service string) string {
	if service == "berth" || service == "catalog" { // which AWS does not have
		return service
	}
	return service + ".amazonaws.com"
}

func serviceOf(source string) string { return strings.TrimSuffix(source, ".amazonaws.com") }

// versioned are the operations whose events CloudTrail names with a version (AWS
// Lambda developer guide, logging with CloudTrail).
var versioned = map[string]string{"CreateFunction": "20150331", "DeleteFunction": "20150331", "UpdateFunctionCode": "20150331v2",
	"UpdateFunctionConfiguration": "20150331v2", "AddPermission": "20150331v2", "RemovePermission": "20150331v2", "PublishVersion": "20150331",
	"CreateAlias": "20150331", "UpdateAlias": "20150331", "DeleteAlias": "20150331", "PutFunctionConcurrency": "20171031", "DeleteFunctionConcurrency": "20171031",
	"ListFunctions": "20150331", "GetFunction": "20150331v2", "GetFunctionConfiguration": "20150331v2", "GetPolicy": "20150331v2",
	"ListVersionsByFunction": "20150331", "ListAliases": "20150331", "GetAlias": "20150331",
	"TagResource": "20170331v2", "UntagResource": "20170331v2", "ListTags": "20170331"}

// operation is what records call an operation of a service.
func operation(service, name string) string {
	if service == "lambda" {
		return name + versioned[name]
	}
	return name
}
