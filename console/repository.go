package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
)

// foundImage is an image as FindImages shows it.
type foundImage struct {
	ImageDigest                  string
	ImageTags                    []string
	MediaType, ArtifactMediaType string
	Bytes                        int64
	PushedAt, LastPulledAt       unixTime
	PushedBy                     string
	Platforms                    []platform
	Attached                     int64
}

type platform struct {
	Name, ImageDigest string
	Bytes             int64
}

// step is one thing that led to a repository.
type step struct {
	At             unixTime
	What, Text, ID string
}

// tagMoved is a change of a tag.
type tagMoved struct {
	At     time.Time
	Digest string
	Who    string
	What   string
}

// tagPlace is a tag and what it stands for.
type tagPlace struct{ Tag, Digest string }

type repositoryBody struct {
	Region, Name string
	R            *types.Repository
	Entity       *entity
	Services     []string
	Tab          string
	Tabs         []crumb
	Part         *part
	Account      string

	// images
	Text        string
	Images      []foundImage
	First, Next string
	// tags
	Tags    []tagPlace
	Tag     string
	History []tagMoved
	// push
	Host, Endpoint string
	Insecure       bool
	// permissions and lifecycle
	Policy, Sample string
	// settings
	ResourceTags []tagRow
	Filters      string
	Mutable      bool
	Scan         bool
	// events and origin
	Events []*record
	Steps  []step
	Impact *impact
}

// impact is what a deletion would take.
type impact struct {
	Images, Services, BasedOn []string
	Running                   []map[string]any
}

var repositoryTabs = []crumb{{"Images", "images"}, {"Tags", "tags"}, {"Push and pull", "push"}, {"Permissions", "permissions"}, {"Lifecycle", "lifecycle"},
	{"Settings", "settings"}, {"Events", "events"}, {"Origin", "origin"}}

// formTabs are the tabs that forms stand on.
var formTabs = map[string]string{"tag": "settings", "untag": "settings", "policy": "permissions", "delete-policy": "permissions", "lifecycle": "lifecycle",
	"delete-lifecycle": "lifecycle", "mutability": "settings", "scan": "settings", "delete-tag": "tags", "delete": "settings"}

func (c *Console) repository(q *request) (*page, error) {
	name := q.PathValue("name")
	r, err := c.describe(q, name)
	if err != nil {
		return nil, err
	}
	b := &repositoryBody{Region: q.PathValue("region"), Name: name, R: r, Tab: cmp.Or(q.in("tab"), formTabs[q.in("do")], "images"), Tabs: repositoryTabs, Account: string(q.me.Principal.Account)}
	if b.Entity = c.entityOf(q, name); b.Entity != nil {
		b.Services = names(b.Entity.Relations["service"])
	}
	return c.repositoryPage(q, b), nil
}

// repositoryPage loads what the chosen tab shows.
func (c *Console) repositoryPage(q *request, b *repositoryBody) *page {
	load := map[string]func(*request, *repositoryBody) error{"images": c.loadImages, "tags": c.loadTags, "push": c.loadPush, "permissions": c.loadPolicy,
		"lifecycle": c.loadLifecycle, "settings": c.loadSettings, "events": c.loadEvents, "origin": c.loadOrigin}[b.Tab]
	if load == nil {
		b.Tab, load = "images", c.loadImages
	}
	if err := load(q, b); err != nil {
		b.Part = c.part(q, err)
	}
	return &page{Title: b.Name, Section: "repositories", view: "repository", Live: liveChanges, Body: b}
}

func (c *Console) loadImages(q *request, b *repositoryBody) error {
	b.Text = q.in("q")
	in := map[string]any{"repositoryName": b.Name, "maxResults": 50}
	for k, v := range map[string]string{"text": b.Text, "nextToken": q.in("next")} {
		if v != "" {
			in[k] = v
		}
	}
	var out struct {
		Images    []foundImage
		NextToken string
	}
	err := c.api.Berth(q.ctx, "FindImages", in, &out)
	b.Images = out.Images
	base := pathOf("/repositories", b.Region, b.Name)
	if out.NextToken != "" {
		b.Next = query(base, "q", b.Text, "next", out.NextToken)
	}
	if q.in("next") != "" {
		b.First = query(base, "q", b.Text)
	}
	return err
}

func (c *Console) loadTags(q *request, b *repositoryBody) error {
	b.Tag = q.in("tag")
	in := &ecr.ListImagesInput{RepositoryName: aws.String(b.Name), MaxResults: aws.Int32(100), Filter: &types.ListImagesFilter{TagStatus: types.TagStatusTagged}}
	if t := q.in("next"); t != "" {
		in.NextToken = aws.String(t)
	}
	out, err := ask[ecr.ListImagesOutput](q.ctx, c.api, in)
	if err != nil {
		return err
	}
	for _, i := range out.ImageIds {
		b.Tags = append(b.Tags, tagPlace{aws.ToString(i.ImageTag), aws.ToString(i.ImageDigest)})
	}
	base := pathOf("/repositories", b.Region, b.Name)
	if out.NextToken != nil {
		b.Next = query(base, "tab", "tags", "next", *out.NextToken)
	}
	if in.NextToken != nil {
		b.First = query(base, "tab", "tags")
	}
	if b.Tag == "" {
		return nil
	}
	b.History, err = c.tagHistory(q, b)
	return err
}

// historyEvents is how many events of a repository are looked through for a tag's history.
const historyEvents = 1000

// tagHistory is what a tag stood for, as far as the trail still knows, the newest first.
func (c *Console) tagHistory(q *request, b *repositoryBody) ([]tagMoved, error) {
	list, _, err := c.events(q, b.Region, eventQuery{Key: "ResourceName", Value: b.Name, Limit: historyEvents})
	var out []tagMoved
	for _, r := range list {
		if r.ErrorCode != "" {
			continue
		}
		m := tagMoved{At: r.EventTime, Who: r.Who(), What: "moved to"}
		switch r.EventName {
		case "PutImage":
			if r.RequestParameters["imageTag"] != b.Tag {
				continue
			}
			m.Digest, _ = r.RequestParameters["imageDigest"].(string)
			if image, ok := r.ResponseElements["image"].(map[string]any); ok {
				if id, ok := image["imageId"].(map[string]any); ok {
					m.Digest, _ = id["imageDigest"].(string)
				}
			}
		case "BatchDeleteImage":
			ids, _ := r.RequestParameters["imageIds"].([]any)
			if !slices.ContainsFunc(ids, func(v any) bool { id, _ := v.(map[string]any); return id["imageTag"] == b.Tag }) {
				continue
			}
			m.What = "deleted"
		default:
			continue
		}
		out = append(out, m)
	}
	return out, err
}

func (c *Console) loadPush(_ *request, b *repositoryBody) error {
	host, _, _ := strings.Cut(aws.ToString(b.R.RepositoryUri), "/")
	b.Host, b.Endpoint = host, c.host.Endpoint()
	b.Insecure = strings.HasPrefix(b.Endpoint, "http://")
	return nil
}

const samplePolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "Pull",
      "Effect": "Allow",
      "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
      "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    }
  ]
}`

const sampleLifecycle = `{
  "rules": [
    {
      "rulePriority": 1,
      "description": "Keep the last 20 images",
      "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 20},
      "action": {"type": "expire"}
    }
  ]
}`

// absent leaves out the error of what may be missing.
func absent(err error, code string) error {
	if codeOf(err) == code {
		return nil
	}
	return err
}

func (c *Console) loadPolicy(q *request, b *repositoryBody) error {
	out, err := ask[ecr.GetRepositoryPolicyOutput](q.ctx, c.api, &ecr.GetRepositoryPolicyInput{RepositoryName: aws.String(b.Name)})
	if b.Sample = samplePolicy; err == nil {
		b.Policy = indented(aws.ToString(out.PolicyText))
	}
	return absent(err, "RepositoryPolicyNotFoundException")
}

func (c *Console) loadLifecycle(q *request, b *repositoryBody) error {
	out, err := ask[ecr.GetLifecyclePolicyOutput](q.ctx, c.api, &ecr.GetLifecyclePolicyInput{RepositoryName: aws.String(b.Name)})
	if b.Sample = sampleLifecycle; err == nil {
		b.Policy = indented(aws.ToString(out.LifecyclePolicyText))
	}
	return absent(err, "LifecyclePolicyNotFoundException")
}

func (c *Console) loadSettings(q *request, b *repositoryBody) error {
	out, err := ask[ecr.ListTagsForResourceOutput](q.ctx, c.api, &ecr.ListTagsForResourceInput{ResourceArn: b.R.RepositoryArn})
	if err != nil {
		return err
	}
	b.ResourceTags = sortedTags(out.Tags)
	var filters []string
	for _, f := range b.R.ImageTagMutabilityExclusionFilters {
		filters = append(filters, aws.ToString(f.Filter))
	}
	b.Filters, b.Mutable = strings.Join(filters, " "), strings.HasPrefix(string(b.R.ImageTagMutability), "MUTABLE")
	b.Scan = b.R.ImageScanningConfiguration != nil && b.R.ImageScanningConfiguration.ScanOnPush
	var i struct{ Impact *impact }
	if c.api.Catalog(q.optional().ctx, http.MethodGet, query("berth/impact", "repository", b.Name), nil, &i) == nil {
		b.Impact = i.Impact
	}
	return nil
}

func (c *Console) loadEvents(q *request, b *repositoryBody) error {
	list, next, err := c.events(q, b.Region, eventQuery{Key: "ResourceName", Value: b.Name, Limit: 50, Next: q.in("next")})
	b.Events = list
	base := pathOf("/repositories", b.Region, b.Name)
	if next != "" {
		b.Next = query(base, "tab", "events", "next", next)
	}
	if q.in("next") != "" {
		b.First = query(base, "tab", "events")
	}
	return err
}

func (c *Console) loadOrigin(q *request, b *repositoryBody) error {
	var out struct{ Steps []step }
	err := c.api.Berth(q.ctx, "DescribeRepositoryOrigin", map[string]any{"repositoryName": b.Name}, &out)
	b.Steps = out.Steps
	return err
}

// repositoryForms are the forms of a repository's pages.
var repositoryForms = forms{
	"tag": {text: "The tag {tag_key} was set.", to: "/repositories/{region}/{name}?tab=settings",
		cli: "aws ecr tag-resource --resource-arn {arn} --tags Key={tag_key},Value={tag_value} --region {region}",
		in: call(func(q *request) any {
			return &ecr.TagResourceInput{ResourceArn: aws.String(q.in("arn")), Tags: ecrTags(q.formTags())}
		})},
	"untag": {text: "The tag {tag_key} was removed.", to: "/repositories/{region}/{name}?tab=settings",
		cli: "aws ecr untag-resource --resource-arn {arn} --tag-keys {tag_key} --region {region}",
		in: call(func(q *request) any {
			return &ecr.UntagResourceInput{ResourceArn: aws.String(q.in("arn")), TagKeys: []string{q.in("tag_key")}}
		})},
	"policy": {text: "The repository policy was set.", to: "/repositories/{region}/{name}?tab=permissions",
		cli: "aws ecr set-repository-policy --repository-name {name} --policy-text {policy} --region {region}",
		in: call(func(q *request) any {
			return &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String(q.PathValue("name")), PolicyText: aws.String(q.in("policy"))}
		})},
	"delete-policy": {lost: loses("the repository policy of {name}", "Other accounts that it lets in are refused from now on."), text: "The repository policy was deleted.", to: "/repositories/{region}/{name}?tab=permissions",
		cli: "aws ecr delete-repository-policy --repository-name {name} --region {region}",
		in: call(func(q *request) any {
			return &ecr.DeleteRepositoryPolicyInput{RepositoryName: aws.String(q.PathValue("name"))}
		})},
	"lifecycle": {text: "The lifecycle policy was set.", to: "/repositories/{region}/{name}?tab=lifecycle",
		cli: "aws ecr put-lifecycle-policy --repository-name {name} --lifecycle-policy-text {policy} --region {region}",
		in: call(func(q *request) any {
			return &ecr.PutLifecyclePolicyInput{RepositoryName: aws.String(q.PathValue("name")), LifecyclePolicyText: aws.String(q.in("policy"))}
		})},
	"delete-lifecycle": {lost: loses("the lifecycle policy of {name}"), text: "The lifecycle policy was deleted.", to: "/repositories/{region}/{name}?tab=lifecycle",
		cli: "aws ecr delete-lifecycle-policy --repository-name {name} --region {region}",
		in: call(func(q *request) any {
			return &ecr.DeleteLifecyclePolicyInput{RepositoryName: aws.String(q.PathValue("name"))}
		})},
	"mutability": {text: "The rule for tags was changed.", to: "/repositories/{region}/{name}?tab=settings",
		cli: "aws ecr put-image-tag-mutability --repository-name {name} --image-tag-mutability {mutability}[_WITH_EXCLUSION --image-tag-mutability-exclusion-filters {filters*filterType=WILDCARD,filter=}] --region {region}", in: call(mutability)},
	"scan": {text: "The setting was changed.", to: "/repositories/{region}/{name}?tab=settings",
		cli: "aws ecr put-image-scanning-configuration --repository-name {name} --image-scanning-configuration scanOnPush={scan} --region {region}",
		in: call(func(q *request) any {
			return &ecr.PutImageScanningConfigurationInput{RepositoryName: aws.String(q.PathValue("name")), ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: q.in("scan") == "true"}}
		})},
	"delete-tag": {lost: tagLost, text: "The tag {image_tag} was deleted.", to: "/repositories/{region}/{name}?tab=tags", result: imageDeleted,
		cli: "aws ecr batch-delete-image --repository-name {name} --image-ids imageTag={image_tag} --region {region}",
		in: call(func(q *request) any {
			return deletion(q, types.ImageIdentifier{ImageTag: aws.String(q.in("image_tag"))})
		})},
	"delete-image": {text: "The image {digest} was deleted.", to: "/repositories/{region}/{name}", result: imageDeleted,
		cli: "aws ecr batch-delete-image --repository-name {name} --image-ids imageDigest={digest} --region {region}",
		in: call(func(q *request) any {
			return deletion(q, types.ImageIdentifier{ImageDigest: aws.String(q.in("digest"))})
		})},
	"delete": {text: "The repository {name} was deleted.", to: "/repositories", cli: "aws ecr delete-repository --repository-name {name} [--force{force=on}] --region {region}",
		in: func(q *request) (any, error) {
			name := q.PathValue("name")
			if q.in("confirm") != name {
				return nil, wrong("To delete the repository, type its name, %s.", name)
			}
			return &ecr.DeleteRepositoryInput{RepositoryName: aws.String(name), Force: q.in("force") != ""}, nil
		}},
}

// tagLost tells whether the image goes with its last tag, as it does in ECR.
func tagLost(c *Console, q *request) (*loss, error) {
	l := &loss{What: "the tag " + q.in("image_tag")}
	out, err := ask[ecr.DescribeImagesOutput](q.ctx, c.api, &ecr.DescribeImagesInput{RepositoryName: aws.String(q.PathValue("name")), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String(q.in("image_tag"))}}})
	if err != nil {
		return nil, err
	}
	for _, i := range out.ImageDetails {
		if len(i.ImageTags) == 1 {
			l.With = append(l.With, "It is the last tag of "+aws.ToString(i.ImageDigest)+": the image goes with it.")
		} else {
			l.With = append(l.With, "The image stays, with "+plural(len(i.ImageTags)-1, "other tag.", "other tags."))
		}
	}
	return l, nil
}

func mutability(q *request) any {
	in := &ecr.PutImageTagMutabilityInput{RepositoryName: aws.String(q.PathValue("name")), ImageTagMutability: types.ImageTagMutability(q.in("mutability"))}
	for _, f := range strings.Fields(q.in("filters")) {
		in.ImageTagMutabilityExclusionFilters = append(in.ImageTagMutabilityExclusionFilters,
			types.ImageTagMutabilityExclusionFilter{FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard, Filter: aws.String(f)})
	}
	if len(in.ImageTagMutabilityExclusionFilters) > 0 {
		in.ImageTagMutability += "_WITH_EXCLUSION"
	}
	return in
}

func deletion(q *request, id types.ImageIdentifier) any {
	return &ecr.BatchDeleteImageInput{RepositoryName: aws.String(q.PathValue("name")), ImageIds: []types.ImageIdentifier{id}}
}

// imageDeleted looks at the failures that BatchDeleteImage answers beside what it did.
func imageDeleted(_ *Console, q *request, out any) (*page, error) {
	for _, f := range out.(*ecr.BatchDeleteImageOutput).Failures {
		return nil, &smithy.GenericAPIError{Code: string(f.FailureCode), Message: aws.ToString(f.FailureReason)}
	}
	return nil, nil
}

// changeRepository takes the forms of a repository's pages.
func (c *Console) changeRepository(q *request) (*page, error) {
	return c.submit(q, repositoryForms, (*Console).repository)
}
