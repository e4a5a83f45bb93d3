// Package lifecycle parses lifecycle policies and refuses those that break ECR's
// rules. It is pure. It does not evaluate policies against images yet.
package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of a policy (ECR API, PutLifecyclePolicy).
const (
	maxText  = 30_720
	maxRules = 50
)

// Policy is a lifecycle policy.
type Policy struct {
	Rules []Rule `json:"rules"`
}

// Rule selects images and says what happens to them.
type Rule struct {
	Priority    int       `json:"rulePriority"`
	Description string    `json:"description,omitempty"`
	Selection   Selection `json:"selection"`
	Action      Action    `json:"action"`
}

// Selection is what a rule applies to.
type Selection struct {
	TagStatus      string   `json:"tagStatus"`
	TagPatternList []string `json:"tagPatternList,omitempty"`
	TagPrefixList  []string `json:"tagPrefixList,omitempty"`
	StorageClass   string   `json:"storageClass,omitempty"`
	CountType      string   `json:"countType"`
	CountUnit      string   `json:"countUnit,omitempty"`
	CountNumber    int      `json:"countNumber"`
}

// Action is what happens.
type Action struct {
	Type               string `json:"type"`
	TargetStorageClass string `json:"targetStorageClass,omitempty"`
}

// schema describes the JSON form, so that errors read like ECR's.
type schema struct {
	required []string
	members  map[string]any // *schema, []string (an enumeration), "integer", "string", "strings", []*schema
}

var policySchema = &schema{required: []string{"rules"}, members: map[string]any{"rules": []*schema{{
	required: []string{"rulePriority", "selection", "action"},
	members: map[string]any{"rulePriority": "integer", "description": "string",
		"selection": &schema{required: []string{"tagStatus", "countType", "countNumber"}, members: map[string]any{
			"tagStatus": []string{"any", "tagged", "untagged"}, "tagPatternList": "strings", "tagPrefixList": "strings",
			"storageClass": []string{"archive", "standard"},
			"countType":    []string{"imageCountMoreThan", "sinceImagePulled", "sinceImagePushed", "sinceImageTransitioned"},
			"countUnit":    []string{"days"}, "countNumber": "integer"}},
		"action": &schema{required: []string{"type"}, members: map[string]any{"type": []string{"expire", "transition"},
			"targetStorageClass": []string{"archive"}}},
	}}}}}

// errUnmapped is ECR's own text.
//
//lint:ignore ST1005 clients compare it
var errUnmapped = errors.New("Could not map policyString into LifecyclePolicy.")

// Parse checks a policy text. Its errors read like ECR's detail texts.
func Parse(text string) (*Policy, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the policy has %d characters, %d are allowed", len(text), maxText)
	}
	var doc any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil || dec.More() {
		return nil, errUnmapped
	}
	if err := policySchema.check(doc); err != nil {
		return nil, err
	}
	var p Policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, errUnmapped
	}
	return &p, p.check()
}

func (s *schema) check(v any) error {
	obj, ok := v.(map[string]any)
	if !ok {
		return errUnmapped
	}
	var unknown, missing []string
	for k := range obj {
		if _, ok := s.members[k]; !ok {
			unknown = append(unknown, fmt.Sprintf("%q", k))
		}
	}
	for _, k := range s.required {
		if _, ok := obj[k]; !ok {
			missing = append(missing, fmt.Sprintf("%q", k))
		}
	}
	slices.Sort(unknown)
	slices.Sort(missing)
	if len(unknown) > 0 {
		return fmt.Errorf("object instance has properties which are not allowed by the schema: ([%s])", strings.Join(unknown, ","))
	}
	if len(missing) > 0 {
		return fmt.Errorf("object has missing required properties ([%s])", strings.Join(missing, ","))
	}
	for k, v := range obj {
		if err := checkMember(s.members[k], v); err != nil {
			return err
		}
	}
	return nil
}

func checkMember(want, v any) error {
	switch want := want.(type) {
	case *schema:
		return want.check(v)
	case []*schema:
		list, ok := v.([]any)
		if !ok {
			return errors.New("instance type does not match any allowed primitive type (allowed: [\"array\"])")
		}
		for _, e := range list {
			if err := want[0].check(e); err != nil {
				return err
			}
		}
	case []string:
		s, ok := v.(string)
		if !ok || !slices.Contains(want, s) {
			quoted := make([]string, len(want))
			for i, w := range want {
				quoted[i] = fmt.Sprintf("%q", w)
			}
			return fmt.Errorf("instance value (%q) not found in enum :(possible values: [%s])", fmt.Sprint(v), strings.Join(quoted, ","))
		}
	case string:
		return checkPrimitive(want, v)
	}
	return nil
}

func checkPrimitive(want string, v any) error {
	bad := fmt.Errorf("instance type does not match any allowed primitive type (allowed: [%q])", want)
	switch want {
	case "string":
		if _, ok := v.(string); !ok {
			return bad
		}
	case "strings":
		list, ok := v.([]any)
		if !ok {
			return errors.New("instance type does not match any allowed primitive type (allowed: [\"array\"])")
		}
		for _, e := range list {
			if s, ok := e.(string); !ok || s == "" {
				return errors.New("instance type does not match any allowed primitive type (allowed: [\"string\"])")
			}
		}
	case "integer":
		n, ok := v.(json.Number)
		if !ok {
			return bad
		}
		i, err := n.Int64()
		if err != nil {
			return bad
		}
		if i < 1 {
			return fmt.Errorf("numeric instance is lower than the required minimum (minimum: 1, found: %d)", i)
		}
	}
	return nil
}

// check applies the rules that a schema does not express.
func (p *Policy) check() error {
	if len(p.Rules) == 0 || len(p.Rules) > maxRules {
		return fmt.Errorf("a policy has 1 to %d rules, this one has %d", maxRules, len(p.Rules))
	}
	priorities := map[int]bool{}
	type class struct {
		any, highest int
		untagged     bool
		prefixes     map[string]bool
	}
	classes := map[string]*class{}
	for i := range p.Rules {
		r := &p.Rules[i]
		if priorities[r.Priority] {
			return fmt.Errorf("two rules have rulePriority %d", r.Priority)
		}
		priorities[r.Priority] = true
		if err := r.check(); err != nil {
			return fmt.Errorf("rule %d: %w", r.Priority, err)
		}
		name := r.Selection.StorageClass
		if name == "" {
			name = "standard"
		}
		c := classes[name]
		if c == nil {
			c = &class{prefixes: map[string]bool{}}
			classes[name] = c
		}
		c.highest = max(c.highest, r.Priority)
		switch r.Selection.TagStatus {
		case "any":
			if c.any != 0 {
				return errors.New("only one rule may have tagStatus any")
			}
			c.any = r.Priority
		case "untagged":
			if c.untagged {
				return errors.New("only one rule may have tagStatus untagged")
			}
			c.untagged = true
		}
		for _, prefix := range r.Selection.TagPrefixList {
			if c.prefixes[prefix] {
				return fmt.Errorf("tag prefix %q is used more than once", prefix)
			}
			c.prefixes[prefix] = true
		}
	}
	for _, c := range classes {
		if c.any != 0 && c.any < c.highest {
			return errors.New("the rule with tagStatus any must have the highest rulePriority")
		}
	}
	return nil
}

func (r *Rule) check() error {
	s, a := r.Selection, r.Action
	lists := 0
	for _, l := range [][]string{s.TagPatternList, s.TagPrefixList} {
		if len(l) > 0 {
			lists++
		}
	}
	switch {
	case s.TagStatus == "tagged" && lists != 1:
		return errors.New("tagStatus tagged needs one of tagPatternList and tagPrefixList")
	case s.TagStatus != "tagged" && lists != 0:
		return fmt.Errorf("tagStatus %s takes neither tagPatternList nor tagPrefixList", s.TagStatus)
	case (a.Type == "transition") != (a.TargetStorageClass != ""):
		return errors.New("targetStorageClass goes with the action type transition, and only with it")
	}
	for _, pattern := range s.TagPatternList {
		if strings.Count(pattern, "*") > 4 {
			return fmt.Errorf("tag pattern %q has more than 4 wildcards", pattern)
		}
	}
	archive := s.StorageClass == "archive"
	switch s.CountType {
	case "imageCountMoreThan":
		if s.CountUnit != "" {
			return errors.New("countType imageCountMoreThan takes no countUnit")
		}
	default:
		if s.CountUnit == "" {
			return fmt.Errorf("countType %s needs countUnit", s.CountType)
		}
	}
	switch s.CountType {
	case "sinceImageTransitioned":
		if !archive || a.Type != "expire" || s.CountNumber < 90 {
			return errors.New("countType sinceImageTransitioned needs storageClass archive, the action expire and a countNumber of 90 or more")
		}
	case "sinceImagePulled":
		if a.Type != "transition" {
			return errors.New("countType sinceImagePulled only goes with the action transition")
		}
		fallthrough
	default:
		if archive {
			return fmt.Errorf("countType %s does not apply to storageClass archive", s.CountType)
		}
	}
	return nil
}
