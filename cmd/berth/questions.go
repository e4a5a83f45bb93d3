package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

type catalogUnownedCmd struct {
	remote
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (catalogUnownedCmd) Help() string {
	return `Lists repositories without a service and without a team, with services that may own them: by a tag, by the workflow or the
user that pushes, by the source that images are built from, by name.

Example:
  berth catalog unowned

Exit codes: 0 every repository has an owner, 1 failure, 3 some have none.`
}

// Run lists them.
func (c *catalogUnownedCmd) Run(e *env) error {
	var out struct {
		Repositories []struct {
			Repository, LastPushBy, LastPushAt string
			Suggestions                        []struct{ Service, Why string }
		}
	}
	reply, err := c.ask(e, "berth/unowned", &out)
	if err != nil {
		return err
	}
	switch {
	case c.Output == "json":
		err = printJSON(e.out, reply)
	case len(out.Repositories) == 0:
		_, err = fmt.Fprintln(e.out, "Every repository has an owner.")
	default:
		rows := [][]string{{"REPOSITORY", "LAST PUSH", "BY", "MAY BELONG TO"}}
		for _, r := range out.Repositories {
			var may []string
			for _, s := range r.Suggestions {
				may = append(may, s.Service+" ("+s.Why+")")
			}
			rows = append(rows, []string{r.Repository, word(r.LastPushAt), word(r.LastPushBy), word(strings.Join(may, ", "))})
		}
		err = printTable(e.out, rows)
	}
	if err == nil && len(out.Repositories) > 0 {
		err = exitError(3)
	}
	return err
}

// ask gets one of Berth's own answers of the catalog.
func (c *remote) ask(e *env, path string, out any) (json.RawMessage, error) {
	api, err := c.catalog(e.ctx)
	if err != nil {
		return nil, err
	}
	return api.do(e.ctx, http.MethodGet, path, nil, out)
}

// deployment is what runs somewhere.
type deployment struct {
	Deployment, Environment, Image, Digest, DeployedAt, Repository, TagNow, Newest, NewestAt string
	Services                                                                                 []string
	Gone                                                                                     bool
}

// drift says how a deployment differs from the registry.
func (d *deployment) drift() string {
	var parts []string
	if d.Gone {
		parts = append(parts, "the image is no longer in the registry")
	}
	if d.TagNow != "" {
		parts = append(parts, "the tag is on "+short(d.TagNow)+" now")
	}
	if d.Newest != "" && d.Newest != d.TagNow {
		parts = append(parts, "newest is "+short(d.Newest)+" of "+d.NewestAt)
	}
	return word(strings.Join(parts, "; "))
}

// short is a digest as tables show it.
func short(digest string) string {
	if algorithm, sum, ok := strings.Cut(digest, ":"); ok && len(sum) > 12 {
		return algorithm + ":" + sum[:12]
	}
	return digest
}

func deploymentRows(list []deployment) [][]string {
	rows := [][]string{{"DEPLOYMENT", "SERVICE", "ENVIRONMENT", "IMAGE", "RUNS", "DRIFT"}}
	for i := range list {
		d := &list[i]
		rows = append(rows, []string{d.Deployment, word(strings.Join(d.Services, ",")), word(d.Environment), word(d.Image), word(short(d.Digest)), d.drift()})
	}
	return rows
}

type catalogRunningCmd struct {
	remote
	Digest string `arg:"" optional:"" help:"Only what runs this digest."`
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (catalogRunningCmd) Help() string {
	return `Lists deployments with the digest that runs, and how that differs from the registry: a tag that has moved on, a newer push, an
image that is gone. Deployments are entities of the blueprint deployment, written by whoever deploys:

  curl -X POST $PORT_BASE_URL/v1/blueprints/deployment/entities?upsert=true -H "Authorization: Bearer $TOKEN" \
    -d '{"identifier":"shop-production","properties":{"image":"localhost:5100/team/shop:1.4","digest":"sha256:..."},
         "relations":{"service":"shop","environment":"production","runs":"team/shop@sha256:..."}}'

Examples:
  berth catalog running
  berth catalog running sha256:9b2a...`
}

// Run lists them.
func (c *catalogRunningCmd) Run(e *env) error {
	var out struct{ Deployments []deployment }
	reply, err := c.ask(e, "berth/running?digest="+url.QueryEscape(c.Digest), &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	return printTable(e.out, deploymentRows(out.Deployments))
}

type catalogImpactCmd struct {
	remote
	Repository string `arg:"" help:"A repository's name."`
	Digest     string `arg:"" optional:"" help:"Only this image of it."`
	Output     string `enum:"table,json" default:"table" help:"table or json."`
}

func (catalogImpactCmd) Help() string {
	return `Tells what deleting a repository, or one of its images, would take from whom: services, deployments that run it, images that
were built on it. Nothing is deleted.

Example:
  berth catalog impact team/base

Exit codes: 0 nobody would miss it, 1 failure, 3 somebody would.`
}

// Run tells.
func (c *catalogImpactCmd) Run(e *env) error {
	var out struct {
		Impact struct {
			Images, Services, BasedOn []string
			Running                   []deployment
		}
	}
	reply, err := c.ask(e, "berth/impact?repository="+url.QueryEscape(c.Repository)+"&digest="+url.QueryEscape(c.Digest), &out)
	if err != nil {
		return err
	}
	i := &out.Impact
	missed := len(i.Services) + len(i.BasedOn) + len(i.Running)
	if c.Output == "json" {
		err = printJSON(e.out, reply)
	} else {
		fmt.Fprintf(e.out, "images: %d\nservices: %s\n", len(i.Images), word(strings.Join(i.Services, ", ")))
		fmt.Fprintf(e.out, "built on it: %s\n", word(strings.Join(i.BasedOn, ", ")))
		if len(i.Running) > 0 {
			err = printTable(e.out, deploymentRows(i.Running))
		} else {
			fmt.Fprintln(e.out, "running: -")
		}
	}
	if err == nil && missed > 0 {
		err = exitError(3)
	}
	return err
}
