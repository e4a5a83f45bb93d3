package oci

import (
	"encoding/json"
	"strings"

	"github.com/berth-registry/berth/trail"
)

func encode(m map[string]any) json.RawMessage {
	b, err := json.Marshal(m)
	if err != nil {
		return nil // texts and lists of them always marshal
	}
	return b
}

// params are the request's parameters as ECR's API would have them: the record is the
// same whichever protocol carried the call.
func (x *exchange) params() json.RawMessage {
	p := map[string]any{"registryId": x.place.Account}
	if x.Repository != "" {
		p["repositoryName"] = x.Repository
	}
	id := map[string]string{"imageTag": x.Reference}
	if strings.Contains(x.Reference, ":") {
		id = map[string]string{"imageDigest": x.Reference}
	}
	switch x.call.Action {
	case "BatchCheckLayerAvailability":
		p["layerDigests"] = []string{x.Reference}
	case "GetDownloadUrlForLayer":
		p["layerDigest"] = x.Reference
	case "BatchGetImage", "BatchDeleteImage":
		p["imageIds"] = []any{id}
	case "PutImage":
		for k, v := range id {
			p[k] = v
		}
		if x.digest != "" {
			p["imageManifest"], p["imageManifestMediaType"] = trail.ManifestRef(x.Repository, x.digest), x.r.Header.Get("Content-Type")
		}
	case "UploadLayerPart", "CompleteLayerUpload":
		p["uploadId"] = x.Reference
		if x.digest != "" {
			p["layerDigests"] = []string{x.digest}
		}
	}
	return encode(p)
}
