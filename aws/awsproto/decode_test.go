package awsproto

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

func ecrCodec() *codec { return &codec{name: LowerCamel} }

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"", ""}, {"  ", ""}, {"{}", ""}, {`{"unknown":{"a":[1,{"b":null}]}}`, ""}, {`{"repositoryName":null}`, ""},
		{`{"repositoryName":1}`, "repositoryName: a number can not be converted to a string"},
		{`{"tags":{}}`, "tags: an object can not be converted to a list"},
		{`{"imageScanningConfiguration":{"scanOnPush":"x"}}`, "scanOnPush: a string can not be converted to a boolean"},
		{`{`, "not JSON"}, {`[]`, "not an object"}, {`null`, "not an object"}, {`{} {}`, "not JSON"}, {"{\"a\":\"\xff\"}", "UTF-8"},
		{`{"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "nests deeper"},
	} {
		err := ecrCodec().decode([]byte(c.body), &ecr.CreateRepositoryInput{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.60q: %v, want %q", c.body, err, c.want)
		}
	}
	if err := ecrCodec().decode([]byte(`{"maxResults":99999999999}`), &ecr.ListImagesInput{}); err == nil {
		t.Error("a number over 32 bits was taken")
	}
}

// FuzzDecode: no bytes panic, and whatever is not JSON is refused.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"repositoryName":"a","tags":[{"Key":"k","Value":"v"}],"imageScanningConfiguration":{"scanOnPush":true}}`))
	f.Add([]byte(`{"imageManifest":"{\"a\":\"\\u00e9\"}"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, in := range []any{&ecr.CreateRepositoryInput{}, &ecr.PutImageInput{}, &ecr.UploadLayerPartInput{}, &ecr.DescribeImagesInput{}} {
			err := ecrCodec().decode(body, in)
			if err == nil && len(strings.TrimSpace(string(body))) > 0 && !json.Valid(body) {
				t.Errorf("%q was taken", body)
			}
			if errors.Is(err, errDepth) && len(body) < maxDepth {
				t.Errorf("%q is not deep", body)
			}
			if err == nil {
				if _, err := ecrCodec().encode(nil, in); err != nil {
					t.Errorf("%q decodes and does not encode: %v", body, err)
				}
			}
		}
	})
}
