package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

type catalogImportCmd struct {
	Backstage importBackstageCmd `cmd:"" help:"Services and teams of Backstage's catalog-info.yaml files."`
}

type catalogExportCmd struct {
	Backstage exportBackstageCmd `cmd:"" help:"Repositories and what they belong to, as Backstage entities."`
}

// descriptor is an entity in Backstage's format (descriptor format of catalog entities).
type descriptor struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		Namespace   string            `yaml:"namespace,omitempty"`
		Title       string            `yaml:"title,omitempty"`
		Description string            `yaml:"description,omitempty"`
		Annotations map[string]string `yaml:"annotations,omitempty"`
		Links       []descriptorLink  `yaml:"links,omitempty"`
		Tags        []string          `yaml:"tags,omitempty"`
	} `yaml:"metadata"`
	Spec map[string]any `yaml:"spec"`
}

type descriptorLink struct {
	URL   string `yaml:"url"`
	Title string `yaml:"title,omitempty"`
}

// name is how the catalog calls what a descriptor describes: with its namespace, unless
// that is the default one.
func (d *descriptor) name() string {
	if ns := d.Metadata.Namespace; ns != "" && ns != "default" {
		return ns + "/" + d.Metadata.Name
	}
	return d.Metadata.Name
}

// refName is the name in a reference such as group:default/core.
func refName(ref string) string {
	if _, rest, ok := strings.Cut(ref, ":"); ok {
		ref = rest
	}
	return strings.TrimPrefix(ref, "default/")
}

type importBackstageCmd struct {
	remote
	Path   []string `arg:"" type:"path" help:"Files, or directories in which catalog-info.yaml files are looked for."`
	Output string   `enum:"table,json" default:"table" help:"table or json."`
}

func (importBackstageCmd) Help() string {
	return `Components become services, groups become teams, and a component's owner becomes the service's team. What is there already is
changed, not replaced; other kinds are left out. Nothing is deleted.

Example:
  berth catalog import backstage ~/src

Exit codes: 0 all were taken, 1 failure, or some were refused.`
}

// imported is one entity that was written, or why it was not.
type imported struct {
	File      string `json:"file"`
	Blueprint string `json:"blueprint"`
	Entity    string `json:"entity"`
	Error     string `json:"error,omitempty"`
}

// Run writes entities.
func (c *importBackstageCmd) Run(e *env) error {
	files, err := descriptorFiles(c.Path)
	if err != nil {
		return err
	}
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	out := []imported{}
	failed := false
	for _, groups := range []bool{true, false} { // teams first
		for _, file := range files {
			list, err := readDescriptors(file)
			if err != nil {
				return err
			}
			for i := range list {
				d := &list[i]
				if (d.Kind == "Group") != groups || d.Kind != "Group" && d.Kind != "Component" {
					continue
				}
				one := imported{File: file, Blueprint: "service", Entity: d.name()}
				body := service(d)
				if groups {
					one.Blueprint, body = "_team", team(d)
				}
				if _, err := api.do(e.ctx, http.MethodPost, "blueprints/"+one.Blueprint+"/entities?upsert=true&merge=true", body, nil); err != nil {
					var refusal *apiError
					if !errors.As(err, &refusal) {
						return err
					}
					one.Error, failed = err.Error(), true
				}
				out = append(out, one)
			}
		}
	}
	if c.Output == "json" {
		err = printJSON(e.out, out)
	} else {
		rows := [][]string{{"BLUEPRINT", "ENTITY", "FILE", "PROBLEM"}}
		for _, o := range out {
			rows = append(rows, []string{o.Blueprint, o.Entity, o.File, word(o.Error)})
		}
		err = printTable(e.out, rows)
	}
	if err == nil && failed {
		err = exitError(1)
	}
	return err
}

// descriptorFiles are the files that are named, and those of their name in directories.
func descriptorFiles(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, p)
			continue
		}
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && path != p && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			if !d.IsDir() && (d.Name() == "catalog-info.yaml" || d.Name() == "catalog-info.yml") {
				out = append(out, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// maxDescriptor is the longest file that is read, in bytes.
const maxDescriptor = 4 << 20

func readDescriptors(file string) ([]descriptor, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []descriptor
	for dec := yaml.NewDecoder(io.LimitReader(f, maxDescriptor)); ; {
		var d descriptor
		err := dec.Decode(&d)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if strings.HasPrefix(d.APIVersion, "backstage.io/") && d.Metadata.Name != "" {
			out = append(out, d)
		}
	}
}

func service(d *descriptor) map[string]any {
	properties := map[string]any{}
	if d.Metadata.Description != "" {
		properties["description"] = d.Metadata.Description
	}
	if u := strings.TrimPrefix(d.Metadata.Annotations["backstage.io/source-location"], "url:"); u != "" {
		properties["url"] = u
	} else if len(d.Metadata.Links) > 0 {
		properties["url"] = d.Metadata.Links[0].URL
	}
	body := map[string]any{"identifier": d.name(), "title": title(d), "properties": properties}
	if owner, ok := d.Spec["owner"].(string); ok && owner != "" {
		body["team"] = refName(owner)
	}
	return body
}

func team(d *descriptor) map[string]any {
	properties, relations := map[string]any{}, map[string]any{}
	if d.Metadata.Description != "" {
		properties["description"] = d.Metadata.Description
	}
	if profile, ok := d.Spec["profile"].(map[string]any); ok {
		if email, ok := profile["email"].(string); ok && email != "" {
			properties["email"] = email
		}
	}
	return map[string]any{"identifier": d.name(), "title": title(d), "properties": properties, "relations": relations}
}

func title(d *descriptor) string {
	if d.Metadata.Title != "" {
		return d.Metadata.Title
	}
	return d.Metadata.Name
}

type exportBackstageCmd struct{ remote }

func (exportBackstageCmd) Help() string {
	return `Prints each repository as a Backstage Resource of type container-repository, with its owner and the components that it belongs
to. A location that serves the file brings them into Backstage's catalog.

Example:
  berth catalog export backstage > repositories.yaml`
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// backstageName is a name as Backstage allows it: letters, digits and - _ . up to 63.
func backstageName(s string) string {
	s = strings.Trim(notInName.ReplaceAllString(s, "-"), "-_.")
	return strings.TrimRight(s[:min(len(s), 63)], "-_.")
}

// componentRef is the reference to a service's component.
func componentRef(service string) string {
	namespace, name, ok := strings.Cut(service, "/")
	if !ok {
		namespace, name = "default", service
	}
	return "component:" + backstageName(namespace) + "/" + backstageName(name)
}

// Run prints the entities.
func (c *exportBackstageCmd) Run(e *env) error {
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	list, err := api.search(e.ctx, "ecr_repository")
	if err != nil {
		return err
	}
	enc := yaml.NewEncoder(e.out)
	enc.SetIndent(2)
	owners := map[string]string{}
	for _, r := range list {
		var d descriptor
		d.APIVersion, d.Kind = "backstage.io/v1alpha1", "Resource"
		d.Metadata.Name, d.Metadata.Title = backstageName(r.Identifier), r.Title
		uri, _ := r.Properties["repositoryUri"].(string)
		arn, _ := r.Properties["repositoryArn"].(string)
		d.Metadata.Annotations = map[string]string{"amazonaws.com/arn": arn}
		if uri != "" {
			d.Metadata.Annotations["berth/repository-uri"] = uri
		}
		services := names(r.Relations["service"])
		owner, err := c.owner(e, api, owners, &r, services)
		if err != nil {
			return err
		}
		d.Spec = map[string]any{"type": "container-repository", "owner": owner}
		if len(services) > 0 {
			refs := make([]string, len(services))
			for i, s := range services {
				refs[i] = componentRef(s)
			}
			d.Spec["dependencyOf"] = refs
		}
		if err := enc.Encode(d); err != nil {
			return err
		}
	}
	return enc.Close()
}

// owner is the team of a repository or of its services.
func (c *exportBackstageCmd) owner(e *env, api *catalogClient, known map[string]string, r *entity, services []string) (string, error) {
	if len(r.Team) > 0 {
		return "group:default/" + backstageName(r.Team[0]), nil
	}
	for _, s := range services {
		if _, ok := known[s]; !ok {
			var out struct{ Entity entity }
			reply, err := api.do(e.ctx, http.MethodGet, "blueprints/service/entities/"+url.PathEscape(s), nil, nil)
			if err == nil {
				err = json.Unmarshal(reply, &out)
			}
			if err != nil {
				return "", err
			}
			if known[s] = ""; len(out.Entity.Team) > 0 {
				known[s] = "group:default/" + backstageName(out.Entity.Team[0])
			}
		}
		if known[s] != "" {
			return known[s], nil
		}
	}
	return "unknown", nil
}
