package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// descriptor is one of a manifest (OCI image specification, descriptor).
type descriptor struct {
	MediaType    string
	Digest       string
	Size         int64
	ArtifactType string
	Annotations  map[string]string
	Platform     *struct{ OS, Architecture, Variant string }
}

// manifest is what of a manifest is shown.
type manifest struct {
	MediaType    string
	ArtifactType string
	Config       *descriptor
	Layers       []descriptor
	Manifests    []descriptor
	Subject      *descriptor
	Annotations  map[string]string
}

// imageConfig is what of a config is shown (OCI image specification, config).
type imageConfig struct {
	Created      *time.Time
	Architecture string
	OS           string
	Config       struct {
		User       string
		Env        []string
		Entrypoint []string
		Cmd        []string
		WorkingDir string
		Labels     map[string]string
	}
	History []struct {
		CreatedBy  string `json:"created_by"`
		EmptyLayer bool   `json:"empty_layer"`
	}
}

// layerLine is a layer with the step of the build that made it.
type layerLine struct {
	descriptor
	Step string
}

type imageBody struct {
	Region, Name, Ref, Digest string
	Tags                      []string
	Detail                    *types.ImageDetail
	M                         manifest
	Config                    *imageConfig
	Layers                    []layerLine
	Strip                     template.HTML
	Total                     int64
	Children                  []platform
	Referrers                 []types.ImageReferrer
	Origin                    *imageOrigin
	Pulls                     []*record
	PullPart, ContentPart     *part
	Raw, RawConfig            string
	Host, Entity              string
	Labels                    []tagRow
	Impact                    *impact
}

type imageOrigin struct {
	PushedAt unixTime
	PushedBy string
	Claims   map[string]string
}

// image shows one image.
func (c *Console) image(q *request) (*page, error) {
	b := &imageBody{Region: q.PathValue("region"), Name: q.PathValue("name"), Ref: q.in("ref")}
	id := types.ImageIdentifier{ImageTag: aws.String(b.Ref)}
	if strings.Contains(b.Ref, ":") {
		id = types.ImageIdentifier{ImageDigest: aws.String(b.Ref)}
	}
	out, err := ask[ecr.DescribeImagesOutput](q.ctx, c.api, &ecr.DescribeImagesInput{RepositoryName: aws.String(b.Name), ImageIds: []types.ImageIdentifier{id}})
	if err != nil {
		return nil, err
	}
	b.Detail = &out.ImageDetails[0]
	b.Digest, b.Tags = aws.ToString(b.Detail.ImageDigest), b.Detail.ImageTags
	r, err := c.describe(q, b.Name)
	if err != nil {
		return nil, err
	}
	b.Host = aws.ToString(r.RepositoryUri)
	b.ContentPart = c.part(q, c.loadContents(q, b))
	refs, err := ask[ecr.ListImageReferrersOutput](q.optional().ctx, c.api, &ecr.ListImageReferrersInput{RepositoryName: aws.String(b.Name), SubjectId: &types.SubjectIdentifier{ImageDigest: aws.String(b.Digest)}})
	if err == nil { // who may not see them has the rest
		b.Referrers = refs.Referrers
	}
	var origin imageOrigin
	if c.api.Berth(q.optional().ctx, "DescribeImageOrigin", map[string]any{"repositoryName": b.Name, "reference": b.Digest}, &origin) == nil {
		b.Origin = &origin
	}
	b.Pulls, err = c.pullsOf(q.optional(), b)
	b.PullPart = c.part(q.optional(), err)
	var i struct{ Impact *impact }
	if c.api.Catalog(q.optional().ctx, "GET", query("berth/impact", "repository", b.Name, "digest", b.Digest), nil, &i) == nil {
		b.Impact = i.Impact
	}
	title := b.Name + "@" + short(b.Digest)
	if len(b.Tags) > 0 {
		title = b.Name + ":" + b.Tags[0]
	}
	return &page{Title: title, Section: "repositories", view: "image", Live: liveChanges, Body: b}, nil
}

// loadContents reads the manifest and config.
func (c *Console) loadContents(q *request, b *imageBody) error {
	var out struct{ Manifest, Config, MediaType string }
	if err := c.api.Berth(q.ctx, "DescribeImageContents", map[string]any{"repositoryName": b.Name, "reference": b.Digest}, &out); err != nil {
		return err
	}
	b.Raw, b.RawConfig = indented(out.Manifest), out.Config
	if err := json.Unmarshal([]byte(out.Manifest), &b.M); err != nil {
		return wrong("The manifest does not parse: %v", err)
	}
	b.M.MediaType = cmp.Or(out.MediaType, b.M.MediaType)
	var config imageConfig
	if out.Config != "" && json.Unmarshal([]byte(out.Config), &config) == nil {
		b.Config, b.RawConfig = &config, indented(out.Config)
	}
	b.layers()
	for _, m := range b.M.Manifests {
		p := platform{ImageDigest: m.Digest, Bytes: m.Size, Name: "unknown"}
		if m.Platform != nil {
			p.Name = strings.Trim(m.Platform.OS+"/"+m.Platform.Architecture+"/"+m.Platform.Variant, "/")
		}
		b.Children = append(b.Children, p)
	}
	labels := map[string]string{}
	for k, v := range b.M.Annotations {
		labels[k] = v
	}
	if b.Config != nil {
		for k, v := range b.Config.Config.Labels {
			labels[k] = v
		}
	}
	for k, v := range labels {
		b.Labels = append(b.Labels, tagRow{k, v})
	}
	slices.SortFunc(b.Labels, func(x, y tagRow) int { return strings.Compare(x.Key, y.Key) })
	return nil
}

// layers joins the manifest's layers with the steps of the config's history.
func (b *imageBody) layers() {
	var steps []string
	if b.Config != nil {
		for _, h := range b.Config.History {
			if !h.EmptyLayer {
				steps = append(steps, h.CreatedBy)
			}
		}
	}
	var parts []slice
	for i, l := range b.M.Layers {
		line := layerLine{descriptor: l}
		if len(steps) == len(b.M.Layers) {
			line.Step = steps[i]
		}
		if t := l.Annotations["org.opencontainers.image.title"]; line.Step == "" {
			line.Step = t
		}
		b.Layers, b.Total = append(b.Layers, line), b.Total+l.Size
		parts = append(parts, slice{fmt.Sprintf("Layer %d: %s %s", i+1, bytesText(l.Size), line.Step), l.Size})
	}
	b.Strip = strip(parts)
}

// pullsOf are the last pulls of an image that the trail still knows.
func (c *Console) pullsOf(q *request, b *imageBody) ([]*record, error) {
	list, _, err := c.events(q, b.Region, eventQuery{Key: "ResourceName", Value: b.Name, Limit: 300})
	var out []*record
	for _, r := range list {
		if r.EventName != "BatchGetImage" || r.ErrorCode != "" || len(out) == 10 {
			continue
		}
		ids, _ := r.RequestParameters["imageIds"].([]any)
		for _, v := range ids {
			id, _ := v.(map[string]any)
			tag, _ := id["imageTag"].(string)
			if id["imageDigest"] == b.Digest || tag != "" && slices.Contains(b.Tags, tag) {
				out = append(out, r)
				break
			}
		}
	}
	return out, err
}

// tagCommand gives an image a further tag.
const tagCommand = `aws ecr put-image --repository-name {name} --image-tag {tag} --region {region} --image-manifest \
  "$(aws ecr batch-get-image --repository-name {name} --image-ids imageDigest={digest} --region {region} --query 'images[0].imageManifest' --output text)"`

// changeImage gives an image a further tag.
func (c *Console) changeImage(q *request) (*page, error) {
	name, region, digest, tag := q.PathValue("name"), q.PathValue("region"), q.in("digest"), q.in("tag")
	var got struct{ Manifest, MediaType string }
	if err := c.api.Berth(q.ctx, "DescribeImageContents", map[string]any{"repositoryName": name, "reference": digest}, &got); err != nil {
		return nil, err
	}
	if _, err := ask[ecr.PutImageOutput](q.ctx, c.api, &ecr.PutImageInput{RepositoryName: aws.String(name), ImageManifest: aws.String(got.Manifest),
		ImageManifestMediaType: aws.String(got.MediaType), ImageTag: aws.String(tag)}); err != nil {
		return nil, err
	}
	return q.done(query(pathOf("/images", region, name), "ref", digest), "The tag "+tag+" stands for this image now.",
		command(tagCommand, map[string]string{"name": name, "region": region, "digest": digest, "tag": tag}))
}
