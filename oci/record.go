package oci

import (
	"encoding/json"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/trail"
)

// Parameters and answers of calls, as ECR's API would have them: the record is the same
// whichever protocol carried the call.
type (
	parameters struct {
		RegistryID   arn.Account `json:"registryId"`
		Repository   string      `json:"repositoryName,omitempty"`
		LayerDigests []string    `json:"layerDigests,omitempty"`
		LayerDigest  string      `json:"layerDigest,omitempty"`
		UploadID     string      `json:"uploadId,omitempty"`
		ImageIDs     []imageID   `json:"imageIds,omitempty"`
		imageID
		Manifest  string `json:"imageManifest,omitempty"`
		MediaType string `json:"imageManifestMediaType,omitempty"`
	}
	imageID struct {
		Digest string `json:"imageDigest,omitempty"`
		Tag    string `json:"imageTag,omitempty"`
	}
	imageAnswer struct {
		Image struct {
			RegistryID arn.Account `json:"registryId"`
			Repository string      `json:"repositoryName"`
			ImageID    imageID     `json:"imageId"`
			Manifest   string      `json:"imageManifest"`
			MediaType  string      `json:"imageManifestMediaType"`
		} `json:"image"`
	}
)

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // texts and lists of them always marshal
	}
	return b
}

func (x *exchange) imageID() imageID {
	if strings.Contains(x.Reference, ":") {
		return imageID{Digest: x.Reference}
	}
	return imageID{Tag: x.Reference}
}

// params are the request's parameters.
func (x *exchange) params() json.RawMessage {
	p := parameters{RegistryID: x.place.Account, Repository: x.Repository}
	switch x.call.Action {
	case "BatchCheckLayerAvailability":
		p.LayerDigests = []string{x.Reference}
	case "GetDownloadUrlForLayer":
		p.LayerDigest = x.Reference
	case "BatchGetImage", "BatchDeleteImage":
		p.ImageIDs = []imageID{x.imageID()}
	case "PutImage":
		if p.imageID = x.imageID(); x.digest != "" {
			p.Manifest, p.MediaType = trail.ManifestRef(x.Repository, x.digest), x.r.Header.Get("Content-Type")
		}
	case "UploadLayerPart", "CompleteLayerUpload":
		if p.UploadID = x.Reference; x.digest != "" {
			p.LayerDigests = []string{x.digest}
		}
	}
	return encode(p)
}

// answer is what the call answers, as far as it is known before the change.
func (x *exchange) answer() json.RawMessage {
	switch {
	case x.digest == "":
		return nil
	case x.call.Action == "CompleteLayerUpload":
		return encode(parameters{RegistryID: x.place.Account, Repository: x.Repository, UploadID: x.Reference, LayerDigest: x.digest})
	case x.call.Action == "PutImage":
		a := imageAnswer{}
		a.Image.RegistryID, a.Image.Repository, a.Image.ImageID = x.place.Account, x.Repository, imageID{Digest: x.digest, Tag: x.imageID().Tag}
		a.Image.Manifest, a.Image.MediaType = trail.ManifestRef(x.Repository, x.digest), x.r.Header.Get("Content-Type")
		return encode(a)
	}
	return nil
}
