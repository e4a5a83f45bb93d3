package registry_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/berth-registry/berth/registry"
)

// TestFind: repositories by a part of their name, a tag, names and region, page by page.
func TestFind(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		tagged := func(tags map[string]string) func(*registry.NewRepository) {
			return func(n *registry.NewRepository) { n.Resource = tags }
		}
		elsewhere := func(n *registry.NewRepository) { n.Place.Region = "eu-north-1" }
		b.create("team/app", tagged(map[string]string{"owner": "ann", "port-shop": ""}))
		b.create("team/app-two", tagged(map[string]string{"owner": "bob"}))
		b.create("team/app", elsewhere)
		b.create("other_x", tagged(map[string]string{"note": `"owner":"ann"`}))
		b.create("otherax")
		for _, c := range []struct {
			name string
			f    registry.Find
			want []string
		}{
			{"all", registry.Find{}, []string{"other_x home", "otherax home", "team/app eu-north-1", "team/app home", "team/app-two home"}},
			{"a part", registry.Find{Text: "APP"}, []string{"team/app eu-north-1", "team/app home", "team/app-two home"}},
			{"what likes would fit", registry.Find{Text: "r_x"}, []string{"other_x home"}},
			{"a percent sign", registry.Find{Text: "%"}, nil},
			{"a region", registry.Find{Region: "eu-north-1"}, []string{"team/app eu-north-1"}},
			{"a tag", registry.Find{TagKey: "owner"}, []string{"team/app home", "team/app-two home"}},
			{"a tag's value", registry.Find{TagKey: "owner", Tag: "ann"}, []string{"team/app home"}},
			{"an empty value", registry.Find{TagKey: "port-shop"}, []string{"team/app home"}},
			{"names", registry.Find{Names: []string{"otherax", "team/app", "none"}}, []string{"otherax home", "team/app eu-north-1", "team/app home"}},
			{"names and a part", registry.Find{Names: []string{"otherax", "team/app"}, Text: "oth"}, []string{"otherax home"}},
			{"another account", registry.Find{Account: "999999999999"}, nil},
		} {
			for _, limit := range []int{1, 2, 100} {
				f := c.f
				if f.Limit = limit; f.Account == "" {
					f.Account = here.Account
				}
				var got []string
				for {
					list, err := b.Find(t.Context(), f)
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range list {
						at := string(r.Place.Region)
						if r.Place == here {
							at = "home"
						}
						got = append(got, r.Name+" "+at)
						f.After = registry.FindKey{Name: r.Name, Region: r.Place.Region}
					}
					if len(list) < limit {
						break
					}
				}
				if slices.Sort(got); !slices.Equal(got, c.want) {
					t.Errorf("%s, %d at a time: %q, want %q", c.name, limit, got, c.want)
				}
			}
		}
	})
}

// TestFindImages: an index is one image, with its parts; what is attached is counted.
func TestFindImages(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.create("repo")
		one, two := b.mustPut("repo", "", b.image("repo", 1)), b.mustPut("repo", "part", b.image("repo", 2))
		descriptor := func(p *registry.Put, arch string) map[string]any {
			return map[string]any{"mediaType": p.MediaType, "digest": p.Digest, "size": len(p.Body), "platform": map[string]string{"os": "linux", "architecture": arch}}
		}
		index := b.mustPut("repo", "v1", encode(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{descriptor(one, "amd64"), descriptor(two, "arm64")}}))
		config := b.layer("repo", []byte("{}"))
		b.mustPut("repo", "", encode(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "application/signature", "layers": []any{},
			"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2}, "subject": map[string]any{"mediaType": index.MediaType, "digest": index.Digest, "size": len(index.Body)}}))
		alone := b.mustPut("repo", "", b.image("repo", 3))
		find := func(text string) map[string]*registry.FoundImage {
			t.Helper()
			out := map[string]*registry.FoundImage{}
			var after registry.ImageKey
			for {
				list, err := b.FindImages(t.Context(), here, "repo", text, after, 2)
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range list {
					if out[i.Digest] != nil {
						t.Errorf("%s comes twice", i.Digest)
					}
					out[i.Digest], after = i, i.Key()
				}
				if len(list) < 2 {
					return out
				}
			}
		}
		got := find("")
		if len(got) != 3 || got[index.Digest] == nil || got[two.Digest] == nil || got[alone.Digest] == nil {
			t.Fatalf("%v", got)
		}
		if i := got[index.Digest]; i.Attached != 1 || len(i.Children) != 2 || i.Total != i.Size+one.Size+two.Size || fmt.Sprint(i.Tags) != "[v1]" {
			t.Errorf("%+v", i)
		}
		for text, want := range map[string]string{"v1": index.Digest, "par": two.Digest, alone.Digest[7:20]: alone.Digest, "v_": "", "zzz": ""} {
			got := find(text)
			if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[want] == nil) {
				t.Errorf("%q: %v", text, got)
			}
		}
		_, err := b.FindImages(t.Context(), here, "none", "", registry.ImageKey{}, 2)
		wantCode(t, err, registry.RepositoryNotFound)

		usage, err := b.Usage(t.Context(), here.Account)
		if err != nil || len(usage) != 1 || usage[0].Repositories != 1 || usage[0].Images != 5 || usage[0].Bytes == 0 {
			t.Errorf("%+v %v", usage, err)
		}
	})
}
