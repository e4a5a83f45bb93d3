// Package imagedoc writes the document of an image that mappings of the kind
// AWS::ECR::Image are evaluated on: what ECR's DescribeImages says of it and, beside that,
// facts from its annotations and its config's labels.
//
// CloudFormation has no type for images; the kind is Berth's own. The package is pure: it
// is given the manifest and the config, and asks nobody.
package imagedoc

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is the kind of images.
const Kind = "AWS::ECR::Image"

// Limits of what goes into a document.
const (
	maxText  = 1024 // bytes
	maxPairs = 100
	// MaxConfig is the longest config that is read, in bytes.
	MaxConfig = 256 << 10
)

// Facts are what an image says of itself.
type Facts struct {
	Source, Revision, Version, BaseName, BaseDigest string
	Platform                                        string
	Created                                         string // RFC 3339
	Labels, Annotations                             map[string]string
}

// config is what of an image's config is looked at (OCI image specification, config).
type config struct {
	Created      string `json:"created"`
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant"`
	Config       struct {
		Labels map[string]string `json:"Labels"`
	} `json:"config"`
}

// ReadFacts reads them from a manifest's annotations and a config, which may be nil. An
// annotation counts more than a label.
func ReadFacts(annotations map[string]string, configText []byte) Facts {
	var c config
	if len(configText) > 0 && json.Unmarshal(configText, &c) != nil {
		c = config{} // it is somebody's own format
	}
	f := Facts{Labels: short(c.Config.Labels), Annotations: short(annotations)}
	say := func(keys ...string) string {
		for _, from := range []map[string]string{f.Annotations, f.Labels} {
			for _, k := range keys {
				if v := from[k]; v != "" {
					return v
				}
			}
		}
		return ""
	}
	const oci = "org.opencontainers.image."
	f.Source = say(oci+"source", "org.label-schema.vcs-url")
	f.Revision = say(oci+"revision", "org.label-schema.vcs-ref")
	f.Version = say(oci+"version", "org.label-schema.version")
	f.BaseName, f.BaseDigest = say(oci+"base.name"), say(oci+"base.digest")
	if f.Created = say(oci + "created"); f.Created == "" {
		f.Created = c.Created
	}
	if t, err := time.Parse(time.RFC3339Nano, f.Created); err != nil || t.Year() < 1980 { // reproducible builds say 1970
		f.Created = ""
	}
	if c.OS != "" && c.Architecture != "" {
		f.Platform = text(c.OS + "/" + c.Architecture)
		if c.Variant != "" {
			f.Platform = text(f.Platform + "/" + c.Variant)
		}
	}
	return f
}

// short copies what is not too long.
func short(in map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range in {
		if len(out) < maxPairs && len(k) <= maxText {
			out[k] = text(v)
		}
	}
	return out
}

// text cuts a text to what documents hold.
func text(s string) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) > maxText {
		s = s[:maxText]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return s
}

// Image is an image as the registry has it.
type Image struct {
	RegistryID, Region, Repository, RepositoryARN, RepositoryURI string
	Digest, MediaType, ArtifactType, Subject                     string
	Tags                                                         []string
	Size                                                         int64
	PushedAt                                                     time.Time
	PushedBy                                                     string
	Claims                                                       map[string]string // of the pusher's workload identity
	Facts
}

// Document is the image's document, made of what encoding/json makes. Unset texts are null.
func (i *Image) Document() map[string]any {
	tags := make([]any, len(i.Tags))
	name := i.Repository + "@" + i.Digest
	for n, t := range i.Tags {
		tags[n] = t
	}
	if len(i.Tags) > 0 {
		name = i.Repository + ":" + i.Tags[0]
	}
	doc := map[string]any{
		"registryId": i.RegistryID, "region": i.Region, "repositoryName": i.Repository, "repositoryArn": i.RepositoryARN, "repositoryUri": i.RepositoryURI, "name": name,
		"imageDigest": i.Digest, "imageTags": tags, "imageSizeInBytes": float64(i.Size), "imagePushedAt": i.PushedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		"imageManifestMediaType": null(i.MediaType), "artifactMediaType": null(i.ArtifactType), "subjectManifestDigest": null(i.Subject),
		"platform": null(i.Platform), "created": null(i.Created), "source": null(i.Source), "revision": null(i.Revision), "version": null(i.Version),
		"pushedBy": null(i.PushedBy), "labels": pairs(i.Labels), "annotations": pairs(i.Annotations)}
	base := map[string]any{"name": null(i.BaseName), "digest": null(i.BaseDigest), "image": nil}
	if repo := inRegistry(i.BaseName); repo != "" && i.BaseDigest != "" {
		base["image"] = repo + "@" + i.BaseDigest
	}
	doc["base"] = base
	doc["origin"] = origin(i.Claims)
	return doc
}

// origin is the workflow that pushed, from the claims of GitHub's tokens.
func origin(claims map[string]string) any {
	if len(claims) == 0 {
		return nil
	}
	out := pairs(claims)
	repository := claims["repository"]
	if ref := claims["workflow_ref"]; ref != "" {
		out["workflow"] = text(ref)
	}
	if id := claims["run_id"]; id != "" && repository != "" {
		out["run"] = text("https://github.com/" + repository + "/actions/runs/" + id)
	}
	return out
}

// inRegistry is the repository in an image's name, without host, tag and digest.
func inRegistry(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	if host, rest, ok := strings.Cut(name, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return rest
	}
	return name
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func pairs(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
