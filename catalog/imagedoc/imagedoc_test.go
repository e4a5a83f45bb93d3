package imagedoc_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/catalog/imagedoc"
)

func TestFacts(t *testing.T) {
	config := `{"architecture":"arm64","variant":"v8","os":"linux","created":"2026-11-01T10:00:00Z","config":{"Labels":{"org.opencontainers.image.source":"https://git.example/label",
		"org.opencontainers.image.revision":"abc","org.label-schema.version":"1.2"}}}`
	for _, c := range []struct {
		annotations map[string]string
		config      string
		want        imagedoc.Facts
	}{
		{nil, config, imagedoc.Facts{Source: "https://git.example/label", Revision: "abc", Version: "1.2", Platform: "linux/arm64/v8", Created: "2026-11-01T10:00:00Z"}},
		{map[string]string{"org.opencontainers.image.source": "https://git.example/annotation", "org.opencontainers.image.base.name": "localhost:5100/team/base:1", "org.opencontainers.image.base.digest": "sha256:b"},
			config, imagedoc.Facts{Source: "https://git.example/annotation", Revision: "abc", Version: "1.2", Platform: "linux/arm64/v8", Created: "2026-11-01T10:00:00Z", BaseName: "localhost:5100/team/base:1", BaseDigest: "sha256:b"}},
		{nil, `{"created":"1970-01-01T00:00:00Z"}`, imagedoc.Facts{}},
		{nil, `not JSON`, imagedoc.Facts{}},
		{nil, ``, imagedoc.Facts{}},
	} {
		got := imagedoc.ReadFacts(c.annotations, []byte(c.config))
		got.Labels, got.Annotations = nil, nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v %s: %s", c.annotations, c.config, diff)
		}
	}
}

func TestDocument(t *testing.T) {
	i := imagedoc.Image{RegistryID: "111111111111", Repository: "team/app", Digest: "sha256:a", Tags: []string{"1", "2"}, Size: 5, PushedAt: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC),
		Claims: map[string]string{"repository": "org/app", "run_id": "7", "workflow_ref": "org/app/.github/workflows/x.yml@main"},
		Facts:  imagedoc.Facts{BaseName: "localhost:5100/team/base:1", BaseDigest: "sha256:b"}}
	doc := i.Document()
	want := map[string]any{"name": "team/app:1", "imagePushedAt": "2026-11-21T01:02:03.000Z", "imageSizeInBytes": 5.0, "platform": nil,
		"base": map[string]any{"name": "localhost:5100/team/base:1", "digest": "sha256:b", "image": "team/base@sha256:b"}}
	for k, v := range want {
		if diff := cmp.Diff(v, doc[k]); diff != "" {
			t.Errorf("%s: %s", k, diff)
		}
	}
	if o := doc["origin"].(map[string]any); o["run"] != "https://github.com/org/app/actions/runs/7" {
		t.Errorf("%v", o)
	}
}

func FuzzFacts(f *testing.F) {
	f.Add(`{"org.opencontainers.image.source":"x"}`, `{"architecture":"arm64","os":"linux","config":{"Labels":{"a":"b"}}}`)
	f.Fuzz(func(t *testing.T, annotations, config string) {
		var m map[string]string
		_ = json.Unmarshal([]byte(annotations), &m) // anything may stand there
		facts := imagedoc.ReadFacts(m, []byte(config))
		for _, s := range []string{facts.Source, facts.Platform, facts.BaseName, facts.Created} {
			if len(s) > 1100 || !strings.EqualFold(s, strings.ToValidUTF8(s, "")) {
				t.Errorf("%q", s)
			}
		}
		b, err := json.Marshal((&imagedoc.Image{Facts: facts}).Document())
		if err != nil || !json.Valid(b) {
			t.Error(err)
		}
	})
}
