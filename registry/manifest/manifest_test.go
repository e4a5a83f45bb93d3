package manifest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var (
	dg  = "sha256:" + strings.Repeat("a", 64)
	dg2 = "sha256:" + strings.Repeat("b", 64)
)

func cfg(size int) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d}`, dg, size)
}

func layer(extra string) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":5%s}`, dg2, extra)
}

func TestParse(t *testing.T) {
	image := `{"schemaVersion":2,"config":` + cfg(3) + `,"layers":[` + layer("") + `]}`
	for _, c := range []struct {
		name, contentType, body string
		bad                     string // part of the error, "" for none
		check                   func(*Manifest) bool
	}{
		{name: "image", contentType: OCIManifest, body: image, check: func(m *Manifest) bool {
			return len(m.Blobs) == 2 && m.Size == 8 && !m.IsIndex() && m.ArtifactType == "application/vnd.oci.image.config.v1+json"
		}},
		{name: "no Content-Type", body: image, check: func(m *Manifest) bool { return m.MediaType == OCIManifest }},
		{name: "parameters", contentType: OCIManifest + "; charset=utf-8", body: image},
		{name: "same layer twice", contentType: OCIManifest, body: `{"schemaVersion":2,"config":` + cfg(3) + `,"layers":[` + layer("") + "," + layer("") + `]}`,
			check: func(m *Manifest) bool { return len(m.Blobs) == 2 && m.Size == 13 }},
		{name: "foreign layer", contentType: DockerManifest, body: `{"schemaVersion":2,"mediaType":"` + DockerManifest + `","config":` + cfg(3) +
			`,"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"` + dg2 + `","size":1}]}`,
			check: func(m *Manifest) bool { return len(m.Blobs) == 1 }},
		{name: "artifact", contentType: OCIManifest, body: `{"schemaVersion":2,"artifactType":"a/b","config":` + cfg(2) + `,"layers":[],"subject":` + cfg(1) + `}`,
			check: func(m *Manifest) bool { return m.ArtifactType == "a/b" && m.Subject.Digest == dg }},
		{name: "index", contentType: OCIIndex, body: `{"schemaVersion":2,"manifests":[` + cfg(1) + "," + cfg(1) + `]}`,
			check: func(m *Manifest) bool { return m.IsIndex() && len(m.Children) == 1 }},
		{name: "empty index", contentType: OCIIndex, body: `{"schemaVersion":2,"manifests":[]}`},
		{name: "empty", contentType: OCIManifest, bad: "not a JSON object"},
		{name: "null", contentType: OCIManifest, body: "null", bad: "not a JSON object"},
		{name: "list", contentType: OCIManifest, body: "[]", bad: "not a JSON object"},
		{name: "BOM", contentType: OCIManifest, body: "\ufeff" + image, bad: "not a JSON object"},
		{name: "cut", contentType: OCIManifest, body: image[:len(image)-1], bad: "not JSON"},
		{name: "trailing", contentType: OCIManifest, body: image + "{}", bad: "follows"},
		{name: "duplicate key", contentType: OCIManifest, body: strings.Replace(image, `"layers"`, `"schemaVersion":2,"layers"`, 1), bad: "appears twice"},
		{name: "nested duplicate", contentType: OCIManifest, body: strings.Replace(image, `"size":5`, `"size":5,"size":6`, 1), bad: "appears twice"},
		{name: "deep", contentType: OCIManifest, body: `{"a":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + "}", bad: "nests"},
		{name: "NaN", contentType: OCIManifest, body: `{"schemaVersion":NaN}`, bad: "not JSON"},
		{name: "bad UTF-8", contentType: OCIManifest, body: "{\"a\":\"\xff\"}", bad: "UTF-8"},
		{name: "unknown type", contentType: "text/plain", body: image, bad: "not that of a manifest"},
		{name: "schema 1", contentType: "application/vnd.docker.distribution.manifest.v1+prettyjws", body: `{"schemaVersion":1}`, bad: "schema 1"},
		{name: "other mediaType", contentType: OCIManifest, body: strings.Replace(image, `{`, `{"mediaType":"`+DockerManifest+`",`, 1), bad: "differs"},
		{name: "Docker without mediaType", contentType: DockerManifest, body: image, bad: "mediaType is missing"},
		{name: "schemaVersion", contentType: OCIManifest, body: `{"schemaVersion":1}`, bad: "schemaVersion"},
		{name: "layers in an index", contentType: OCIIndex, body: `{"schemaVersion":2,"manifests":[],"layers":[]}`, bad: "neither"},
		{name: "manifests in an image", contentType: OCIManifest, body: strings.Replace(image, `"layers"`, `"manifests":[],"layers"`, 1), bad: "no manifests"},
		{name: "no config", contentType: OCIManifest, body: `{"schemaVersion":2,"layers":[]}`, bad: "config is missing"},
		{name: "index without manifests", contentType: OCIIndex, body: `{"schemaVersion":2}`, bad: "manifests is missing"},
		{name: "bad digest", contentType: OCIManifest, body: strings.Replace(image, dg2, "sha256:XYZ", 1), bad: "not a digest"},
		{name: "upper case digest", contentType: OCIManifest, body: strings.Replace(image, dg2, "sha256:"+strings.Repeat("A", 64), 1), bad: "not a digest"},
		{name: "negative size", contentType: OCIManifest, body: strings.Replace(image, `"size":5`, `"size":-5`, 1), bad: "negative"},
		{name: "wrong JSON type", contentType: OCIManifest, body: strings.Replace(image, `"size":5`, `"size":"5"`, 1), bad: "size"},
		{name: "too many layers", contentType: OCIManifest, body: `{"schemaVersion":2,"config":` + cfg(3) + `,"layers":[` +
			strings.TrimSuffix(strings.Repeat(layer("")+",", MaxLayers+1), ",") + `]}`, bad: "layers"},
		{name: "too large", contentType: OCIManifest, body: `{"a":"` + strings.Repeat("x", MaxSize) + `"}`, bad: "bytes"},
	} {
		m, err := Parse(c.contentType, []byte(c.body))
		switch {
		case c.bad == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.bad != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%s: %v, want %q", c.name, err, c.bad)
		case c.check != nil && !c.check(m):
			t.Errorf("%s: %+v", c.name, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(OCIManifest, []byte(`{"schemaVersion":2,"config":`+cfg(3)+`,"layers":[`+layer("")+`]}`))
	f.Add(OCIIndex, []byte(`{"schemaVersion":2,"manifests":[`+cfg(1)+`]}`))
	f.Add("", []byte(`{"a":{"b":[1,{"c":null}]}}`))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		m, err := Parse(contentType, body)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v does not wrap ErrInvalid", err)
			}
			return
		}
		if m.Size < 0 || (m.IsIndex() && len(m.Blobs) > 0) || (!m.IsIndex() && len(m.Blobs) == 0) {
			t.Errorf("impossible manifest %+v", m)
		}
	})
}
