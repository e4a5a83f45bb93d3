package registry_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/registry"
)

func TestTemplates(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		add := func(prefix string, causes ...string) {
			t.Helper()
			if _, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: prefix, AppliedFor: causes}); err != nil {
				t.Fatal(err)
			}
		}
		add("ROOT", registry.CreateOnPush)
		add("prod", registry.CreateOnPush, registry.Replication)
		add("prod/team/", registry.CreateOnPush)
		add("pull", registry.PullThroughCache)
		for name, want := range map[string]string{"prod/a": "prod", "prod/team/b": "prod/team/", "prod/teams/b": "prod", "production/a": "ROOT", "prod": "ROOT", "pull/x": "ROOT", "zz": "ROOT"} {
			got, err := b.MatchTemplate(b.ctx, here, name, registry.CreateOnPush)
			if err != nil || got == nil || got.Prefix != want {
				t.Errorf("%s: %v %v, want %s", name, got, err, want)
			}
		}
		if got, _ := b.MatchTemplate(b.ctx, here, "zz", registry.Replication); got != nil {
			t.Errorf("replication takes %s", got.Prefix)
		}
		_, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: "prod", AppliedFor: []string{registry.CreateOnPush}})
		wantCode(t, err, registry.TemplateAlreadyExists)
		for _, bad := range []registry.Template{
			{Prefix: "UPPER", AppliedFor: []string{registry.CreateOnPush}}, {Prefix: "xx"}, {Prefix: "xx", AppliedFor: []string{"NONSENSE"}},
			{Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, Policy: "{"}, {Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, Lifecycle: "{}"},
			{Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, Tags: registry.TagRule{Mode: "SOMETIMES"}},
			{Prefix: "xx", AppliedFor: []string{registry.CreateOnPush}, CustomRole: "arn:aws:iam::1:user/x"},
		} {
			bad.Place = here
			_, err := b.CreateTemplate(b.ctx, bad)
			wantCode(t, err, registry.Validation)
		}
		up, err := b.UpdateTemplate(b.ctx, here, "prod", func(t *registry.Template) { t.Description = "new" })
		if err != nil || up.Description != "new" || len(up.AppliedFor) != 2 {
			t.Errorf("%+v %v", up, err)
		}
		_, err = b.UpdateTemplate(b.ctx, here, "none", func(*registry.Template) {})
		wantCode(t, err, registry.TemplateNotFound)
		if _, err := b.DeleteTemplate(b.ctx, here, "prod"); err != nil {
			t.Error(err)
		}
		_, err = b.DeleteTemplate(b.ctx, here, "prod")
		wantCode(t, err, registry.TemplateNotFound)
	})
}

func TestCreateOnPush(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		if _, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: "team", AppliedFor: []string{registry.CreateOnPush},
			Tags: registry.TagRule{Mode: registry.Immutable}, Encryption: registry.KMS, Resource: map[string]string{"owner": "x"}}); err != nil {
			t.Fatal(err)
		}
		_, err := b.StartUpload(b.ctx, here, "other/app", root, never)
		wantCode(t, err, registry.RepositoryNotFound)
		var asked []string
		denied := errors.New("denied")
		deny := func(_ context.Context, a string, act func(context.Context) error) error {
			asked = append(asked, a)
			if act == nil {
				return nil
			}
			return denied
		}
		if _, err := b.StartUpload(b.ctx, here, "team/app", root, deny); !errors.Is(err, denied) {
			t.Errorf("got %v, want the gate's answer", err)
		}
		_, err = b.Repository(b.ctx, here, "team/app")
		wantCode(t, err, registry.RepositoryNotFound) // authorised before anything exists
		// The layers of one push race.
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := b.StartUpload(b.ctx, here, "team/app", root, allow); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		r, err := b.Repository(b.ctx, here, "team/app")
		if err != nil || r.Tags.Mode != registry.Immutable || r.Encryption != registry.KMS || r.Resource["owner"] != "x" || r.Template != "team" {
			t.Errorf("%+v %v", r, err)
		}
		if !slices.Contains(asked, "CreateRepository") {
			t.Errorf("asked for %v", asked)
		}
	})
}

// TestLeftovers: what a template made and nobody filled goes after its term, and
// nothing else does.
func TestLeftovers(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		if _, err := b.CreateTemplate(b.ctx, registry.Template{Place: here, Prefix: "ROOT", AppliedFor: []string{registry.CreateOnPush}}); err != nil {
			t.Fatal(err)
		}
		made := func(name string) registry.UploadRef {
			t.Helper()
			ref, err := b.StartUpload(b.ctx, here, name, root, allow)
			if err != nil {
				t.Fatal(err)
			}
			return ref
		}
		if err := b.CancelUpload(b.ctx, made("left")); err != nil {
			t.Fatal(err)
		}
		if err := b.CancelUpload(b.ctx, made("changed")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.SetScanOnPush(b.ctx, here, "changed", true); err != nil {
			t.Fatal(err)
		}
		if err := b.CancelUpload(b.ctx, made("filled")); err != nil {
			t.Fatal(err)
		}
		b.mustPut("filled", "v1", b.image("filled", 1))
		b.create("by-user")
		exists := func(name string) bool { _, err := b.Repository(b.ctx, here, name); return err == nil }
		b.advance(23 * time.Hour)
		if err := b.CancelUpload(b.ctx, made("busy")); err != nil {
			t.Fatal(err)
		}
		b.layer("busy", random(9, 200))
		open := made("open")
		if err := b.Sweep(b.ctx); err != nil || !exists("left") {
			t.Fatalf("gone before its term (%v)", err)
		}
		b.advance(2 * time.Hour)
		if err := b.Sweep(b.ctx); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"left": false, "changed": true, "filled": true, "by-user": true, "busy": true, "open": true} {
			if exists(name) != want {
				t.Errorf("%s exists: %v, want %v", name, !want, want)
			}
		}
		// Uploads end after a day without use, and their repository then follows.
		b.advance(25 * time.Hour)
		if err := b.Sweep(b.ctx); err != nil {
			t.Fatal(err)
		}
		_, err := b.UploadSize(b.ctx, open)
		if code := registry.CodeOf(err); code != registry.UploadNotFound {
			t.Errorf("an expired upload: %v", err)
		}
		if err := b.Sweep(b.ctx); err != nil || exists("open") || exists("busy") {
			t.Errorf("open %v, busy %v (%v)", exists("open"), exists("busy"), err)
		}
	})
}
