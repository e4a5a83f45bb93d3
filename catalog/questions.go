package catalog

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/query"
)

// The blueprints and relations of the default model that the questions are about.
const (
	repositoryBlueprint = "ecr_repository"
	imageBlueprint      = "ecr_image"
	serviceBlueprint    = "service"
	deploymentBlueprint = "deployment"
)

// all finds the entities of a blueprint that fit every rule; none when the account has no
// such blueprint.
func (c *Catalog) all(ctx context.Context, account arn.Account, blueprint string, limit int, rules ...query.Rule) ([]*Entity, error) {
	g := &query.Group{}
	for i := range rules {
		g.Nodes = append(g.Nodes, query.Node{Rule: &rules[i]})
	}
	f, err := c.Search(ctx, account, Search{Blueprint: blueprint, Query: g, Limit: limit})
	if CodeOf(err) == NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return f.Entities, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// related is a relation's value as a list.
func related(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := []string{}
		for _, item := range v {
			out = append(out, text(item))
		}
		return out
	}
	return []string{}
}

// Suggestion is a service that a repository may belong to, and why.
type Suggestion struct {
	Service string `json:"service"`
	Why     string `json:"why"`
}

// Unowned is a repository without a service and a team.
type Unowned struct {
	Repository  string       `json:"repository"`
	LastPushBy  string       `json:"lastPushBy,omitempty"`
	LastPushAt  string       `json:"lastPushAt,omitempty"`
	Workflow    string       `json:"workflow,omitempty"`
	Suggestions []Suggestion `json:"suggestions"`
}

// Unowned returns repositories of which nobody is the owner, each with services that may
// be: by their tags, by who pushes to them, by the workflow, and by their names.
func (c *Catalog) Unowned(ctx context.Context, account arn.Account) ([]Unowned, error) {
	list, err := c.all(ctx, account, repositoryBlueprint, 0, query.Rule{Relation: "service", TargetProperty: "$identifier", Operator: query.IsEmpty},
		query.Rule{Property: "$team", Operator: query.IsEmpty})
	if err != nil {
		return nil, err
	}
	services, err := c.all(ctx, account, serviceBlueprint, 0)
	if err != nil {
		return nil, err
	}
	out := []Unowned{}
	for _, e := range list {
		u := Unowned{Repository: e.Identifier, Suggestions: []Suggestion{}}
		newest, err := c.newest(ctx, account, e.Identifier)
		if err != nil {
			return nil, err
		}
		if newest != nil {
			u.LastPushBy, u.LastPushAt, u.Workflow = text(newest.Properties["pushedBy"]), text(newest.Properties["pushedAt"]), text(newest.Properties["workflow"])
		}
		for _, s := range services {
			if why := suggests(e, newest, s); why != "" {
				u.Suggestions = append(u.Suggestions, Suggestion{s.Identifier, why})
			}
		}
		slices.SortStableFunc(u.Suggestions, func(a, b Suggestion) int { return cmp.Compare(rank(a.Why), rank(b.Why)) })
		out = append(out, u)
	}
	return out, nil
}

// The reasons for a suggestion, the best first.
const (
	byTag      = "a tag names it"
	byWorkflow = "its workflow pushes here"
	bySource   = "the images are built from its repository"
	byPusher   = "who pushes here is called like it"
	byName     = "the repository is called like it"
)

func rank(why string) int {
	return slices.Index([]string{byTag, byWorkflow, bySource, byPusher, byName}, why)
}

// suggests says why a service may own a repository, "" for no reason.
func suggests(repository, newest, service *Entity) string {
	names := []string{strings.ToLower(service.Identifier), strings.ToLower(service.Title)}
	is := func(s string) bool { return s != "" && slices.Contains(names, strings.ToLower(s)) }
	if tags, ok := repository.Properties["tags"].([]any); ok {
		for _, t := range tags {
			m, _ := t.(map[string]any)
			if is(text(m["Value"])) || is(text(m["Key"])) || slices.ContainsFunc(strings.FieldsFunc(text(m["Key"]), func(r rune) bool { return r == ':' || r == '/' }), is) {
				return byTag
			}
		}
	}
	if newest != nil {
		if parts := strings.Split(text(newest.Properties["workflow"]), "/"); len(parts) > 1 && is(parts[1]) {
			return byWorkflow
		}
		source := strings.TrimSuffix(strings.TrimRight(text(newest.Properties["source"]), "/"), ".git")
		if source != "" && (is(source[strings.LastIndexByte(source, '/')+1:]) || source == strings.TrimRight(text(service.Properties["url"]), "/")) {
			return bySource
		}
		if slices.ContainsFunc(strings.FieldsFunc(text(newest.Properties["pushedBy"]), func(r rune) bool { return r == '/' || r == ':' }), is) {
			return byPusher
		}
	}
	if slices.ContainsFunc(strings.Split(repository.Identifier, "/"), is) {
		return byName
	}
	return ""
}

// newest is the image of a repository that was pushed last, nil for none.
func (c *Catalog) newest(ctx context.Context, account arn.Account, repository string) (*Entity, error) {
	list, err := c.imagesOf(ctx, account, repository)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return slices.MaxFunc(list, func(a, b *Entity) int {
		return cmp.Compare(text(a.Properties["pushedAt"]), text(b.Properties["pushedAt"]))
	}), nil
}

func (c *Catalog) imagesOf(ctx context.Context, account arn.Account, repository string) ([]*Entity, error) {
	return c.all(ctx, account, imageBlueprint, 0, query.Rule{Relation: "repository", TargetProperty: "$identifier", Operator: query.Equal, Value: repository})
}

// Running is a deployment beside what the registry has.
type Running struct {
	Deployment  string   `json:"deployment"`
	Services    []string `json:"services"`
	Environment string   `json:"environment,omitempty"`
	Image       string   `json:"image,omitempty"`  // as it was deployed
	Digest      string   `json:"digest,omitempty"` // what runs
	DeployedAt  string   `json:"deployedAt,omitempty"`
	Repository  string   `json:"repository,omitempty"`
	// TagNow is the digest that the deployed tag is on now, when that is another one.
	TagNow string `json:"tagNow,omitempty"`
	// Newest is the digest pushed last, when that is another one.
	Newest   string `json:"newest,omitempty"`
	NewestAt string `json:"newestAt,omitempty"`
	// Gone says that the registry has the image no more.
	Gone bool `json:"gone,omitempty"`
}

// Running returns what runs where, of one digest or, with "", of all.
func (c *Catalog) Running(ctx context.Context, account arn.Account, digest string) ([]Running, error) {
	deployments, err := c.all(ctx, account, deploymentBlueprint, 0)
	if err != nil {
		return nil, err
	}
	images := map[string][]*Entity{} // by repository
	out := []Running{}
	for _, d := range deployments {
		r := Running{Deployment: d.Identifier, Services: related(d.Relations["service"]), Image: text(d.Properties["image"]), Digest: text(d.Properties["digest"]),
			DeployedAt: text(d.Properties["deployedAt"])}
		if list := related(d.Relations["environment"]); len(list) > 0 {
			r.Environment = list[0]
		}
		repository, tag := splitReference(r.Image)
		if list := related(d.Relations["runs"]); len(list) > 0 {
			name, sum, _ := strings.Cut(list[0], "@")
			if repository = name; r.Digest == "" {
				r.Digest = sum
			}
		}
		r.Repository = repository
		if _, known := images[repository]; !known && repository != "" {
			if images[repository], err = c.imagesOf(ctx, account, repository); err != nil {
				return nil, err
			}
		}
		compare(&r, images[repository], tag)
		if digest == "" || r.Digest == digest {
			out = append(out, r)
		}
	}
	return out, nil
}

// compare says how what runs differs from what a repository has.
func compare(r *Running, images []*Entity, tag string) {
	r.Gone = r.Digest != ""
	at := ""
	for _, i := range images {
		digest, pushed := text(i.Properties["digest"]), text(i.Properties["pushedAt"])
		tags, _ := i.Properties["tags"].([]any)
		if tag != "" && slices.Contains(tags, any(tag)) {
			if r.Digest == "" { // nobody said what runs: what the tag is on
				r.Digest = digest
			} else if digest != r.Digest {
				r.TagNow = digest
			}
		}
		if pushed > at {
			at, r.Newest, r.NewestAt = pushed, digest, pushed
		}
		r.Gone = r.Gone && digest != r.Digest
	}
	if r.Newest == r.Digest {
		r.Newest, r.NewestAt = "", ""
	}
}

// splitReference takes repository and tag out of an image's reference.
func splitReference(image string) (repository, tag string) {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image, tag = image[:i], image[i+1:]
	}
	if host, rest, ok := strings.Cut(image, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		image = rest
	}
	return image, tag
}

// Impact is what deleting a repository, or an image of it, would take from whom.
type Impact struct {
	Images   []string  `json:"images"`
	Services []string  `json:"services"`
	Running  []Running `json:"running"`
	BasedOn  []string  `json:"basedOn"` // images of other repositories that were built on these
}

// Impact looks at a repository, or with a digest at one of its images: NotFound.
func (c *Catalog) Impact(ctx context.Context, account arn.Account, repository, digest string) (*Impact, error) {
	e, err := c.Entity(ctx, account, repositoryBlueprint, repository, View{})
	if err != nil {
		return nil, err
	}
	images, err := c.imagesOf(ctx, account, repository)
	if err != nil {
		return nil, err
	}
	out := &Impact{Images: []string{}, Services: related(e.Relations["service"]), Running: []Running{}, BasedOn: []string{}}
	var refs []string
	for _, i := range images {
		if d := text(i.Properties["digest"]); digest == "" || d == digest {
			out.Images = append(out.Images, d)
			refs = append(refs, i.Identifier)
		}
	}
	if digest != "" && len(refs) == 0 {
		return nil, errNoEntity(imageBlueprint, repository+"@"+digest)
	}
	running, err := c.Running(ctx, account, "")
	if err != nil {
		return nil, err
	}
	for _, r := range running {
		if r.Repository == repository && slices.Contains(out.Images, r.Digest) {
			out.Running = append(out.Running, r)
		}
	}
	for len(refs) > 0 {
		n := min(len(refs), 500)
		names := make([]any, n)
		for i := range names {
			names[i] = refs[i]
		}
		refs = refs[n:]
		list, err := c.all(ctx, account, imageBlueprint, 0, query.Rule{Relation: "base", TargetProperty: "$identifier", Operator: query.In, Value: names})
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			if digest != "" || !slices.Contains(related(i.Relations["repository"]), repository) {
				out.BasedOn = append(out.BasedOn, i.Identifier)
			}
		}
	}
	return out, nil
}
