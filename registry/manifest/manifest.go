// Package manifest parses and checks image manifests and indexes, in OCI's and
// Docker's forms. It is pure: bytes in, a description or an error out. It stores
// nothing and never rewrites what it reads; what a client pushed is what others
// pull.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/berth-registry/berth/internal/digest"
	"github.com/berth-registry/berth/internal/strictjson"
)

// The accepted media types.
const (
	OCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex       = "application/vnd.oci.image.index.v1+json"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Limits on what a manifest may hold.
const (
	MaxSize   = 4 << 20 // bytes
	MaxLayers = 4200
	maxDepth  = 64
)

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("manifest invalid")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// Descriptor points to content.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"`
	Data         json.RawMessage   `json:"data,omitempty"`
}

// foreign reports content that lives elsewhere and need not be in the registry.
func (d Descriptor) foreign() bool {
	return strings.Contains(d.MediaType, ".nondistributable.") || strings.HasSuffix(d.MediaType, ".foreign.diff.tar.gzip")
}

// Manifest describes a checked manifest.
type Manifest struct {
	MediaType string
	// ArtifactType is the manifest's own, else its config's media type.
	ArtifactType string
	// ConfigType is the config's media type, "" for an index.
	ConfigType string
	// Blobs are the config and the layers that must be in the repository, each
	// digest once; Children the manifests that an index needs.
	Blobs    []Descriptor
	Children []Descriptor
	Subject  *Descriptor
	// Size is the sum of config and layers; an index counts its own bytes.
	Size        int64
	Annotations map[string]string
}

// IsIndex reports whether the manifest lists manifests.
func (m *Manifest) IsIndex() bool { return m.MediaType == OCIIndex || m.MediaType == DockerList }

// document is the union of the forms.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
}

// Parse checks body as the media type given in contentType. With contentType ""
// the body's own mediaType, or else its form, decides.
func Parse(contentType string, body []byte) (*Manifest, error) {
	if len(body) > MaxSize {
		return nil, invalid("it has %d bytes, %d are allowed", len(body), MaxSize)
	}
	if err := strictjson.Check(body, maxDepth); err != nil {
		return nil, invalid("%w", err)
	}
	return Stored(contentType, body)
}

// Stored is Parse for a body that passed it before: whether its JSON is unambiguous, half of
// the work, is not looked at again.
func Stored(contentType string, body []byte) (*Manifest, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, invalid("%v", err)
	}
	mediaType, err := d.mediaType(contentType)
	if err != nil {
		return nil, err
	}
	m := &Manifest{MediaType: mediaType, ArtifactType: d.ArtifactType, Subject: d.Subject, Annotations: d.Annotations}
	if d.Subject != nil {
		if err := check("subject", *d.Subject); err != nil {
			return nil, err
		}
	}
	if m.IsIndex() {
		m.Size = int64(len(body))
		return m, d.index(m)
	}
	return m, d.image(m)
}

// mediaType settles which form the document claims and has.
func (d *document) mediaType(contentType string) (string, error) {
	t := contentType
	if t != "" {
		parsed, _, err := mime.ParseMediaType(t)
		if err != nil {
			return "", invalid("Content-Type %.100q does not parse", t)
		}
		t = parsed
	} else if t = d.MediaType; t == "" {
		t = OCIManifest
		if d.Manifests != nil {
			t = OCIIndex
		}
	}
	switch t {
	case OCIManifest, OCIIndex:
	case DockerManifest, DockerList:
		if d.MediaType == "" {
			return "", invalid("mediaType is missing")
		}
	case "application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json":
		return "", invalid("Docker schema 1 is not accepted; push the image with a client of 2017 or later")
	default:
		return "", invalid("media type %.100q is not that of a manifest", t)
	}
	if d.MediaType != "" && d.MediaType != t {
		return "", invalid("mediaType %.100q differs from Content-Type %.100q", d.MediaType, t)
	}
	if d.SchemaVersion != 2 {
		return "", invalid("schemaVersion is %d, want 2", d.SchemaVersion)
	}
	if len(d.FSLayers) > 0 {
		return "", invalid("fsLayers belong to Docker schema 1")
	}
	return t, nil
}

func (d *document) index(m *Manifest) error {
	if d.Config != nil || d.Layers != nil {
		return invalid("an index has neither config nor layers")
	}
	if d.Manifests == nil {
		return invalid("manifests is missing")
	}
	if len(d.Manifests) > MaxLayers {
		return invalid("it lists %d manifests, %d are allowed", len(d.Manifests), MaxLayers)
	}
	seen := map[string]bool{}
	for i, c := range d.Manifests {
		if err := check(fmt.Sprintf("manifests[%d]", i), c); err != nil {
			return err
		}
		if !seen[c.Digest] {
			seen[c.Digest] = true
			m.Children = append(m.Children, c)
		}
	}
	return nil
}

func (d *document) image(m *Manifest) error {
	if d.Manifests != nil {
		return invalid("an image manifest has no manifests")
	}
	if d.Config == nil {
		return invalid("config is missing")
	}
	if d.Config.MediaType == "" {
		return invalid("config.mediaType is missing")
	}
	if len(d.Layers) > MaxLayers {
		return invalid("it has %d layers, %d are allowed", len(d.Layers), MaxLayers)
	}
	m.ConfigType = d.Config.MediaType
	if m.ArtifactType == "" {
		m.ArtifactType = d.Config.MediaType
	}
	if err := check("config", *d.Config); err != nil {
		return err
	}
	seen := map[string]int64{d.Config.Digest: d.Config.Size}
	m.Blobs = append(m.Blobs, *d.Config)
	m.Size = d.Config.Size
	for i, l := range d.Layers {
		if err := check(fmt.Sprintf("layers[%d]", i), l); err != nil {
			return err
		}
		m.Size += l.Size
		if m.Size < 0 {
			return invalid("the sizes of its layers overflow")
		}
		if l.foreign() {
			continue
		}
		if size, ok := seen[l.Digest]; ok {
			if size != l.Size {
				return invalid("layers[%d] gives %s another size than before", i, l.Digest)
			}
			continue
		}
		seen[l.Digest] = l.Size
		m.Blobs = append(m.Blobs, l)
	}
	return nil
}

func check(where string, d Descriptor) error {
	if !digest.Valid(d.Digest) {
		return invalid("%s.digest %.100q is not a digest", where, d.Digest)
	}
	if d.Size < 0 {
		return invalid("%s.size is negative", where)
	}
	return nil
}
