package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/arn"
)

// foundRepository is a repository as FindRepositories shows it.
type foundRepository struct {
	Region, RepositoryName, RepositoryARN string
	CreatedAt, LastPushedAt               unixTime
	ImageTagMutability                    string
	ImageCount, Bytes                     int64
	Tags                                  map[string]string
	Services                              []string `json:"-"`
}

type repositoriesBody struct {
	Text, Region, Tag, Service string
	Regions                    []string
	List                       []foundRepository
	Part                       *part
	First, Next                string
	Filtered                   bool
	Total                      int64
	Registry                   string
}

// repositories lists and filters them.
func (c *Console) repositories(q *request) (*page, error) {
	b := repositoriesBody{Text: q.in("q"), Region: q.in("region"), Tag: q.in("tag"), Service: q.in("service"), Regions: c.regions(q),
		Registry: c.host.Registry(arn.Place{Account: q.me.Principal.Account, Region: q.caller.Region})}
	b.Filtered = b.Text+b.Region+b.Tag+b.Service != ""
	in := map[string]any{"maxResults": 50}
	for k, v := range map[string]string{"text": b.Text, "region": b.Region, "nextToken": q.in("next")} {
		if v != "" {
			in[k] = v
		}
	}
	if key, value, ok := strings.Cut(b.Tag, "="); b.Tag != "" {
		if in["tagKey"] = strings.TrimSpace(key); ok && strings.TrimSpace(value) != "" {
			in["tagValue"] = strings.TrimSpace(value)
		}
	}
	if b.Service != "" {
		names, err := c.repositoriesOf(q, b.Service)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return &page{Title: "Repositories", Section: "repositories", view: "repositories", Body: b}, nil
		}
		in["repositoryNames"] = names
	}
	var out struct {
		Repositories []foundRepository
		NextToken    string
	}
	err := c.api.Berth(q.ctx, "FindRepositories", in, &out)
	b.Part, b.List = c.part(q, err), out.Repositories
	if err == nil {
		c.fillServices(q, b.List)
	}
	base := query("/repositories", "q", b.Text, "region", b.Region, "tag", b.Tag, "service", b.Service)
	if out.NextToken != "" {
		b.Next = query("/repositories", "q", b.Text, "region", b.Region, "tag", b.Tag, "service", b.Service, "next", out.NextToken)
	}
	if q.in("next") != "" {
		b.First = base
	}
	return &page{Title: "Repositories", Section: "repositories", view: "repositories", Live: liveChanges, Body: b}, nil
}

// entity is one of the catalog, as its API shows it.
type entity struct {
	Identifier string
	Title      string
	Blueprint  string
	Icon       string
	Team       []string
	Properties map[string]any
	Relations  map[string]any
	CreatedAt  string
	UpdatedAt  string
	CreatedBy  string
	UpdatedBy  string
	Scorecards map[string]any
}

// Name is what people call it.
func (e *entity) Name() string {
	if e.Title != "" {
		return e.Title
	}
	return e.Identifier
}

// names are a relation's value as a list.
func names(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

const repositoryBlueprint = "ecr_repository"

// found searches entities of a blueprint; rules are ANDed.
func (c *Console) found(q *request, blueprint string, limit int, rules ...map[string]any) ([]entity, string, error) {
	in := map[string]any{"limit": limit}
	if len(rules) > 0 {
		in["query"] = map[string]any{"combinator": "and", "rules": rules}
	}
	var out struct {
		Entities []entity
		Next     string
	}
	err := c.api.Catalog(q.ctx, http.MethodPost, "blueprints"+pathOne(blueprint)+"/entities/search", in, &out)
	return out.Entities, out.Next, err
}

// repositoriesOf are the names of a service's repositories.
func (c *Console) repositoriesOf(q *request, service string) ([]string, error) {
	list, _, err := c.found(q, repositoryBlueprint, 200, map[string]any{"relation": "service", "targetProperty": "$identifier", "operator": "=", "value": service})
	var out []string
	for _, e := range list {
		out = append(out, e.Identifier)
	}
	return out, err
}

// fillServices tells of each repository to which services it is linked. The list is worth
// showing without that.
func (c *Console) fillServices(q *request, list []foundRepository) {
	if len(list) == 0 {
		return
	}
	var ids []string
	for _, r := range list {
		ids = append(ids, r.RepositoryName)
	}
	found, _, err := c.found(q.optional(), repositoryBlueprint, 200, map[string]any{"property": "$identifier", "operator": "in", "value": ids})
	if err != nil {
		return
	}
	by := map[string][]string{}
	for _, e := range found {
		by[e.Identifier] = names(e.Relations["service"])
	}
	for i := range list {
		list[i].Services = by[list[i].RepositoryName]
	}
}

// tagRow is a tag in a form.
type tagRow struct{ Key, Value string }

type newRepositoryBody struct {
	Name, Region, Mutability, Encryption, KMSKey string
	Scan                                         bool
	Tags                                         []tagRow
	Regions                                      []string
	Problem                                      string
	CLI                                          string
}

// formTags are the tags of a form, in order; empty keys are left out.
func (q *request) formTags() []tagRow {
	var out []tagRow
	keys, values := q.PostForm["tag_key"], q.PostForm["tag_value"]
	for i, k := range keys {
		if k = strings.TrimSpace(k); k != "" && i < len(values) {
			out = append(out, tagRow{k, strings.TrimSpace(values[i])})
		}
	}
	return out
}

func ecrTags(list []tagRow) []types.Tag {
	var out []types.Tag
	for _, t := range list {
		out = append(out, types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
	}
	return out
}

// newRepository shows the form and takes it.
func (c *Console) newRepository(q *request) (*page, error) {
	b := newRepositoryBody{Region: string(q.caller.Region), Regions: c.regions(q), Mutability: "MUTABLE", Encryption: "AES256", Name: q.in("name"), CLI: createCommand}
	p := &page{Title: "Create a repository", Section: "repositories", view: "new-repository"}
	if q.Method == http.MethodGet {
		p.Body = b
		return p, nil
	}
	b.Region, b.Mutability, b.Encryption, b.KMSKey, b.Scan, b.Tags = q.in("region"), q.in("mutability"), q.in("encryption"), q.in("kms_key"), q.in("scan") != "", q.formTags()
	in := &ecr.CreateRepositoryInput{RepositoryName: aws.String(b.Name), ImageTagMutability: types.ImageTagMutability(b.Mutability),
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: b.Scan}, Tags: ecrTags(b.Tags)}
	if b.Encryption == "KMS" {
		in.EncryptionConfiguration = &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeKms}
		if b.KMSKey != "" {
			in.EncryptionConfiguration.KmsKey = aws.String(b.KMSKey)
		}
	}
	var err error
	if !arn.Region(b.Region).Valid() {
		err = wrong("The region %q is no name of a region, such as us-east-1.", b.Region)
	} else {
		_, err = ask[ecr.CreateRepositoryOutput](q.at(b.Region), c.api, in)
	}
	if err != nil {
		b.Problem, p.Body, p.Status = c.tell(err), b, http.StatusBadRequest
		return p, nil
	}
	return q.done(pathOf("/repositories", b.Region, b.Name)+"?tab=push", "Repository "+b.Name+" was created. Push to it with these commands.",
		command(createCommand, q.values()))
}

const createCommand = "aws ecr create-repository --repository-name {name} [--image-tag-mutability {mutability}] [--encryption-configuration encryptionType=KMS{encryption=KMS}]" +
	" [--image-scanning-configuration scanOnPush={scan}] [--tags Key={tag_key},Value={tag_value}] --region {region}"

var errNoRepository = errors.New("the repository is gone")

// describe reads one repository.
func (c *Console) describe(q *request, name string) (*types.Repository, error) {
	out, err := ask[ecr.DescribeRepositoriesOutput](q.ctx, c.api, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
	if err != nil {
		return nil, err
	}
	if len(out.Repositories) == 0 {
		return nil, errNoRepository
	}
	return &out.Repositories[0], nil
}

// entityOf is the catalog's entity of a repository, nil when there is none.
func (c *Console) entityOf(q *request, name string) *entity {
	var out struct{ Entity *entity }
	if c.api.Catalog(q.optional().ctx, http.MethodGet, "blueprints/"+repositoryBlueprint+"/entities"+pathOne(name), nil, &out) != nil {
		return nil
	}
	return out.Entity
}

func sortedTags(list []types.Tag) []tagRow {
	var out []tagRow
	for _, t := range list {
		out = append(out, tagRow{aws.ToString(t.Key), aws.ToString(t.Value)})
	}
	slices.SortFunc(out, func(a, b tagRow) int { return strings.Compare(a.Key, b.Key) })
	return out
}
