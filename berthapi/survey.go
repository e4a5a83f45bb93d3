package berthapi

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
)

// Usage is what an account's registry holds in one region. Bytes counts each layer once
// a repository.
type Usage struct {
	Region       string
	Repositories int64
	Images       int64
	Bytes        int64
}

// DescribeUsageInput asks what the caller's account holds.
type DescribeUsageInput struct{}

// DescribeUsageOutput tells it by region. The numbers may be three seconds old.
type DescribeUsageOutput struct{ Regions []Usage }

// DescribeUsage counts repositories, images and bytes. Who may describe all repositories
// may ask.
func (s *Service) DescribeUsage(ctx context.Context, _ *DescribeUsageInput, _ ...options) (*DescribeUsageOutput, error) {
	out := &DescribeUsageOutput{Regions: []Usage{}}
	every, err := s.everyRepository(ctx, "")
	if err != nil {
		return nil, exception(err)
	}
	return out, s.doAll(ctx, "ecr", "DescribeRepositories", every, true, func(ctx context.Context) error {
		list, err := s.registry.Usage(ctx, gate.CallerFrom(ctx).Principal.Account)
		for _, u := range list {
			out.Regions = append(out.Regions, Usage{string(u.Region), u.Repositories, u.Images, u.Bytes})
		}
		return err
	})
}

// everyRepository are the ARNs of all repositories of the caller's account, in a region or,
// with "", in the caller's and all others where there are some.
func (s *Service) everyRepository(ctx context.Context, region arn.Region) ([]string, error) {
	p := gate.CallerFrom(ctx).Place()
	if region != "" {
		return []string{arn.Repository(arn.Place{Account: p.Account, Region: region}, "*").String()}, nil
	}
	regions, err := s.registry.Regions(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	out := []string{arn.Repository(p, "*").String()}
	for _, r := range regions {
		if r != p.Region {
			out = append(out, arn.Repository(arn.Place{Account: p.Account, Region: r}, "*").String())
		}
	}
	return out, nil
}

// maxActivity is how far back ListActivity goes.
const maxActivity = 92 * 24 * time.Hour

// ListActivityInput asks how many calls there were since a time, at most 92 days ago.
type ListActivityInput struct{ StartTime *time.Time }

// Activity is how many calls of one operation ended in one way within an hour.
type Activity struct {
	Hour    time.Time
	Name    string
	Outcome string // ok, denied or failed
	Calls   int64
}

// ListActivityOutput holds the counts of all regions, the oldest hour first.
type ListActivityOutput struct{ Activity []Activity }

// ListActivity counts the calls that the trail has. Who may look up events may ask.
func (s *Service) ListActivity(ctx context.Context, in *ListActivityInput, _ ...options) (*ListActivityOutput, error) {
	since := time.Now().Add(-24 * time.Hour)
	if in.StartTime != nil {
		since = *in.StartTime
	}
	if time.Since(since) > maxActivity {
		return nil, invalid("startTime must be within the last 92 days")
	}
	out := &ListActivityOutput{Activity: []Activity{}}
	return out, s.do(ctx, "cloudtrail", "LookupEvents", arn.Any, true, func(ctx context.Context) error {
		list, err := s.trail.Activity(ctx, gate.CallerFrom(ctx).Principal.Account, since)
		for _, a := range list {
			out.Activity = append(out.Activity, Activity{a.Hour, a.Name, string(a.Outcome), a.Calls})
		}
		return err
	})
}

// Pages of FindRepositories.
const (
	defaultFound = 50
	maxFound     = 1000
)

// FindRepositoriesInput asks for repositories by a part of their name or by a tag, in all
// regions or one.
type FindRepositoriesInput struct {
	Region *string
	// RepositoryNames are at most 200.
	RepositoryNames []string
	Text            *string
	TagKey          *string
	TagValue        *string
	MaxResults      *int32
	NextToken       *string
}

// FoundRepository is a repository with what people ask of it first.
type FoundRepository struct {
	Region             string
	RepositoryName     string
	RepositoryARN      string
	CreatedAt          time.Time
	ImageTagMutability string
	ImageCount         int64
	Bytes              int64
	LastPushedAt       *time.Time
	Tags               map[string]string
}

// FindRepositoriesOutput holds a page in order of name.
type FindRepositoriesOutput struct {
	Repositories []FoundRepository
	NextToken    *string
}

// FindRepositories searches the caller's repositories. Who may describe all of them may
// ask.
func (s *Service) FindRepositories(ctx context.Context, in *FindRepositoriesInput, _ ...options) (*FindRepositoriesOutput, error) {
	f := registry.Find{Account: gate.CallerFrom(ctx).Principal.Account, Limit: defaultFound, Region: arn.Region(text(in.Region)),
		Names: in.RepositoryNames, Text: text(in.Text), TagKey: text(in.TagKey), Tag: text(in.TagValue)}
	if f.Region != "" && !f.Region.Valid() {
		return nil, invalid("%.100q is no region", f.Region)
	}
	if f.Tag != "" && f.TagKey == "" {
		return nil, invalid("tagValue needs tagKey")
	}
	if in.MaxResults != nil {
		if f.Limit = int(*in.MaxResults); f.Limit < 1 || f.Limit > maxFound {
			return nil, invalid("maxResults must be between 1 and %d", maxFound)
		}
	}
	if len(f.Names) > registry.MaxNames {
		return nil, invalid("repositoryNames must have at most %d names", registry.MaxNames)
	}
	query := "find " + string(f.Account) + " " + string(f.Region) + " " + strings.Join(append([]string{f.Text, f.TagKey, f.Tag}, f.Names...), "\x00")
	if err := s.registry.OpenPageToken(query, text(in.NextToken), &f.After); err != nil {
		return nil, exception(err)
	}
	out := &FindRepositoriesOutput{Repositories: []FoundRepository{}}
	every, err := s.everyRepository(ctx, f.Region)
	if err != nil {
		return nil, exception(err)
	}
	return out, s.doAll(ctx, "ecr", "DescribeRepositories", every, true, func(ctx context.Context) error {
		f.Limit++
		list, err := s.registry.Find(ctx, f)
		if len(list) == f.Limit {
			list = list[:f.Limit-1]
			last := list[len(list)-1]
			next := s.registry.PageToken(query, registry.FindKey{Name: last.Name, Region: last.Place.Region})
			out.NextToken = &next
		}
		for _, r := range list {
			one := FoundRepository{Region: string(r.Place.Region), RepositoryName: r.Name, RepositoryARN: r.ARN(), CreatedAt: r.CreatedAt,
				ImageTagMutability: string(r.Tags.Mode), ImageCount: r.Images, Bytes: r.Bytes, Tags: r.Resource}
			if !r.PushedAt.IsZero() {
				one.LastPushedAt = &r.PushedAt
			}
			out.Repositories = append(out.Repositories, one)
		}
		return err
	})
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// maxConfig is the longest config that DescribeImageContents gives, in bytes.
const maxConfig = 256 << 10

// DescribeImageContentsInput names an image by tag or digest.
type DescribeImageContentsInput struct {
	RepositoryName *string
	Reference      *string
}

// DescribeImageContentsOutput holds the manifest as it was pushed and, of an image, its
// config, "" when that is missing or longer than 256 KiB.
type DescribeImageContentsOutput struct {
	ImageDigest *string
	MediaType   *string
	Manifest    *string
	Config      *string
}

// DescribeImageContents reads an image's manifest and config to look at them: unlike
// ecr:BatchGetImage it is not noted as a pull. Who may pull the image may ask.
func (s *Service) DescribeImageContents(ctx context.Context, in *DescribeImageContentsInput, _ ...options) (*DescribeImageContentsOutput, error) {
	place := gate.CallerFrom(ctx).Place()
	if in.RepositoryName == nil || !registry.ValidName(*in.RepositoryName) || in.Reference == nil {
		return nil, invalid("give the name of a repository, and a tag or digest")
	}
	ref, ok := registry.ParseReference(*in.Reference)
	if !ok {
		return nil, invalid("%.200q is neither a tag nor a digest", *in.Reference)
	}
	out := &DescribeImageContentsOutput{}
	return out, s.do(ctx, "ecr", "BatchGetImage", arn.Repository(place, *in.RepositoryName).String(), true, func(ctx context.Context) error {
		img, err := s.registry.Image(ctx, place, *in.RepositoryName, ref)
		if err != nil {
			return err
		}
		body := string(img.Body)
		out.ImageDigest, out.MediaType, out.Manifest = &img.Digest, &img.MediaType, &body
		m, err := s.registry.ParseManifest(img)
		if err != nil || m.ConfigType == "" || len(m.Blobs) == 0 || m.Blobs[0].Size > maxConfig {
			return err
		}
		_, r, err := s.registry.OpenLayer(ctx, place, *in.RepositoryName, m.Blobs[0].Digest)
		if err != nil {
			return nil //nolint:nilerr // the manifest is worth showing without it
		}
		defer r.Close()
		if b, err := io.ReadAll(io.LimitReader(r, maxConfig)); err == nil {
			config := string(b)
			out.Config = &config
		}
		return nil
	})
}

// CreateConsoleLinkInput asks for a link into the console.
type CreateConsoleLinkInput struct{}

// CreateConsoleLinkOutput holds a code that signs one browser in as the caller, within ten
// minutes, at /signin/link?code=.
type CreateConsoleLinkOutput struct{ ConsoleCode *string }

// CreateConsoleLink makes a link that signs a browser in as the caller.
func (s *Service) CreateConsoleLink(ctx context.Context, _ *CreateConsoleLinkInput, _ ...options) (*CreateConsoleLinkOutput, error) {
	out := &CreateConsoleLinkOutput{}
	return out, s.do(ctx, SigningName, "CreateConsoleLink", arn.Any, false, func(ctx context.Context) error {
		code, err := s.identity.CreateLink(ctx, gate.CallerFrom(ctx).Principal)
		plain := code.Reveal()
		out.ConsoleCode = &plain
		return err
	})
}

// FindImagesInput asks for images of a repository by a part of a tag or of the digest.
type FindImagesInput struct {
	RepositoryName *string
	Text           *string
	MaxResults     *int32
	NextToken      *string
}

// Platform is a part of an image for several platforms.
type Platform struct {
	Name        string // such as linux/arm64
	ImageDigest string
	Bytes       int64
}

// FoundImage is an image as people name it.
type FoundImage struct {
	ImageDigest       string
	ImageTags         []string
	MediaType         string
	ArtifactMediaType string
	Bytes             int64
	PushedAt          time.Time
	LastPulledAt      *time.Time
	PushedBy          string
	Platforms         []Platform
	// Attached is how many signatures, SBOMs and the like refer to it.
	Attached int64
}

// FindImagesOutput holds a page, the newest first.
type FindImagesOutput struct {
	Images    []FoundImage
	NextToken *string
}

// FindImages lists images with those for several platforms as one, and without what is
// attached to others. Who may describe images may ask.
func (s *Service) FindImages(ctx context.Context, in *FindImagesInput, _ ...options) (*FindImagesOutput, error) {
	place, limit := gate.CallerFrom(ctx).Place(), defaultFound
	if in.RepositoryName == nil || !registry.ValidName(*in.RepositoryName) {
		return nil, invalid("give the name of a repository")
	}
	if in.MaxResults != nil {
		if limit = int(*in.MaxResults); limit < 1 || limit > maxFound {
			return nil, invalid("maxResults must be between 1 and %d", maxFound)
		}
	}
	var after registry.ImageKey
	query := "images " + string(place.Account) + " " + string(place.Region) + " " + *in.RepositoryName + "\x00" + text(in.Text)
	if err := s.registry.OpenPageToken(query, text(in.NextToken), &after); err != nil {
		return nil, exception(err)
	}
	out := &FindImagesOutput{Images: []FoundImage{}}
	return out, s.do(ctx, "ecr", "DescribeImages", arn.Repository(place, *in.RepositoryName).String(), true, func(ctx context.Context) error {
		list, err := s.registry.FindImages(ctx, place, *in.RepositoryName, text(in.Text), after, limit+1)
		if len(list) > limit {
			list = list[:limit]
			next := s.registry.PageToken(query, list[limit-1].Key())
			out.NextToken = &next
		}
		for _, i := range list {
			out.Images = append(out.Images, foundImage(i))
		}
		return err
	})
}

func foundImage(i *registry.FoundImage) FoundImage {
	f := FoundImage{ImageDigest: i.Digest, ImageTags: i.Tags, MediaType: i.MediaType, ArtifactMediaType: i.ArtifactType, Bytes: i.Total,
		PushedAt: i.PushedAt, PushedBy: i.PushedBy, Attached: i.Attached}
	if !i.PulledAt.IsZero() {
		f.LastPulledAt = &i.PulledAt
	}
	for _, c := range i.Children {
		var p struct{ OS, Architecture, Variant string }
		_ = json.Unmarshal(c.Platform, &p) // one without a platform has no name
		name := strings.Trim(p.OS+"/"+p.Architecture, "/")
		if p.Variant != "" {
			name += "/" + p.Variant
		}
		f.Platforms = append(f.Platforms, Platform{name, c.Digest, c.Size})
	}
	return f
}
