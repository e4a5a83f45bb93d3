package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/cloudshape"
	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/catalog/mapping/runner"
	"github.com/berth-registry/berth/declare"
)

type mappingCmd struct {
	Test mappingTestCmd `cmd:"" help:"Show what a configuration makes of this registry's repositories."`
	Set  mappingSetCmd  `cmd:"" help:"Map the registry by a configuration from now on."`
	Show mappingShowCmd `cmd:"" help:"Print the configuration that the registry is mapped by."`
}

type mappingTestCmd struct {
	remote
	File       string   `arg:"" type:"existingfile" help:"An exporter's config.json."`
	Repository []string `placeholder:"NAME" help:"Only this repository. Repeatable."`
	Explain    bool     `help:"Show each expression with its results."`
	Output     string   `enum:"table,json" default:"table" help:"table or json."`
}

func (mappingTestCmd) Help() string {
	return `Reads the configuration of Port's AWS exporter, says what in it will not do what it seems to, and evaluates it on the
repositories as the Cloud Control API shows them. Nothing is written anywhere.

A relation that selects tags by a prefix and slices off more or less of it is evaluated both ways: "uth-service (or
auth-service)" links to whichever exists.

Examples:
  berth mapping test config.json
  berth mapping test --repository team/app --explain config.json

Exit codes: 0 evaluated, 1 failure, or the configuration or an expression has an error.`
}

// mapped is what became of one repository.
type mapped struct {
	Repository string           `json:"repository"`
	Error      string           `json:"error,omitempty"`
	Results    []mapping.Result `json:"results"`
}

// Run tries the mappings.
func (c *mappingTestCmd) Run(e *env) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	config, err := mapping.Read(text)
	var problems mapping.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintf(e.errOut, "%s: %v\n", c.File, p)
		}
		return exitError(1)
	}
	if err != nil {
		return err
	}
	list, err := c.evaluate(e, text)
	if err != nil {
		return err
	}
	var other []string
	for _, r := range config.Resources {
		if r.Kind != cloudshape.Repository && !slices.Contains(other, r.Kind) {
			other = append(other, r.Kind)
		}
	}
	if c.Output == "json" {
		err = printJSON(e.out, map[string]any{"notices": config.Notices(), "repositories": list, "otherKinds": other})
	} else {
		err = c.print(e, config.Notices(), list, other)
	}
	if err == nil && slices.ContainsFunc(list, mapped.failed) {
		err = exitError(1)
	}
	return err
}

// failed reports whether an expression ended in an error.
func (m mapped) failed() bool {
	bad := func(n mapping.Notice) bool { return n.Code == mapping.Failed }
	return m.Error != "" || slices.ContainsFunc(m.Results, func(r mapping.Result) bool {
		return r.Failed || slices.ContainsFunc(r.Notices, bad) || slices.ContainsFunc(r.Entities, func(e mapping.Entity) bool {
			return slices.ContainsFunc(e.Steps, func(s mapping.Step) bool { return slices.ContainsFunc(s.Notices, bad) })
		})
	})
}

// processes is how many evaluate at a time.
const processes = 2

// evaluate maps every repository that is asked for.
func (c *mappingTestCmd) evaluate(e *env, config []byte) ([]mapped, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	f, err := newFleet(e.ctx, api)
	if err != nil {
		return nil, err
	}
	clients, err := f.connect(e.ctx, arn.Place{Account: f.account, Region: arn.Region(api.server.Region)})
	if err != nil {
		return nil, err
	}
	repositories, err := declare.Repositories(e.ctx, clients.ECR, c.Repository)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := runner.New(self, config, processes)
	defer r.Close()
	s := newScreen(e, "never")
	out := make([]mapped, len(repositories))
	next := make(chan int)
	var work sync.WaitGroup
	for range 2 * processes { // some read while others evaluate
		work.Go(func() {
			for i := range next {
				out[i] = mapOne(e.ctx, clients.ECR, r, &repositories[i])
			}
		})
	}
	for i := range repositories {
		s.progress("evaluating", i+1, len(repositories))
		next <- i
	}
	close(next)
	work.Wait()
	s.clear()
	return out, e.ctx.Err()
}

func mapOne(ctx context.Context, api declare.ECR, r *runner.Runner, repository *types.Repository) mapped {
	m := mapped{Repository: aws.ToString(repository.RepositoryName), Results: []mapping.Result{}}
	doc, err := cloudshape.Read(ctx, api, repository)
	var text []byte
	if err == nil {
		text, err = json.Marshal(doc)
	}
	if err == nil {
		m.Results, err = r.Map(ctx, cloudshape.Repository, text)
	}
	if err != nil {
		m.Error = err.Error()
	}
	return m
}

func (c *mappingTestCmd) print(e *env, notices []mapping.Notice, list []mapped, other []string) error {
	for _, n := range notices {
		printNotice(e, "", n)
	}
	for _, kind := range other {
		fmt.Fprintf(e.out, "note: kind %s is not a registry's and is left out\n", kind)
	}
	known := map[string]bool{} // said above, of the configuration
	for _, n := range notices {
		known[n.Path+string(n.Code)] = true
	}
	for _, m := range list {
		fmt.Fprintf(e.out, "\n%s\n", m.Repository)
		if m.Error != "" {
			fmt.Fprintf(e.out, "  error: %s\n", m.Error)
		}
		for _, r := range m.Results {
			if !r.Selected && !r.Failed {
				fmt.Fprintln(e.out, "  not selected")
			}
			for _, n := range r.Notices {
				printNotice(e, "  ", n)
			}
			for _, entity := range r.Entities {
				if err := c.printEntity(e, entity, known); err != nil {
					return err
				}
			}
		}
	}
	word := "repositories"
	if len(list) == 1 {
		word = "repository"
	}
	fmt.Fprintf(e.out, "\n%d %s\n", len(list), word)
	return nil
}

func printNotice(e *env, indent string, n mapping.Notice) {
	fmt.Fprintf(e.out, "%s%s %s: %s\n", indent, n.Code, n.Path, n.Text)
	if n.Fix != "" {
		fmt.Fprintf(e.out, "%s  better: %s\n", indent, n.Fix)
	}
}

func (c *mappingTestCmd) printEntity(e *env, entity mapping.Entity, known map[string]bool) error {
	fmt.Fprintf(e.out, "  %s %q\n", entity.Blueprint, entity.Identifier)
	var rows [][]string
	for _, k := range []struct {
		name  string
		value any
	}{{"title", entity.Title}, {"icon", entity.Icon}, {"team", entity.Team}} {
		if k.value != nil {
			rows = append(rows, []string{"    " + k.name, value(k.value)})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(entity.Properties)) {
		rows = append(rows, []string{"    " + k, value(entity.Properties[k])})
	}
	for _, k := range slices.Sorted(maps.Keys(entity.Relations)) {
		rows = append(rows, []string{"    → " + k, link(entity.Relations[k])})
	}
	if err := printTable(e.out, rows); err != nil {
		return err
	}
	for _, s := range entity.Steps {
		if c.Explain {
			fmt.Fprintf(e.out, "    %s\n      %s\n", s.Path, s.Text)
			for _, o := range s.Outputs {
				fmt.Fprintf(e.out, "        = %s\n", value(o))
			}
		}
		for _, n := range s.Notices {
			if c.Explain || !known[n.Path+string(n.Code)] {
				printNotice(e, "    ", n)
			}
		}
	}
	return nil
}

// maxShown is how much of a value a line shows, in characters.
const maxShown = 100

func value(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if r := []rune(string(b)); len(r) > maxShown {
		return string(r[:maxShown]) + "…"
	}
	return string(b)
}

func link(l mapping.Link) string {
	if len(l.Names) == 0 {
		return "nothing"
	}
	parts := slices.Clone(l.Names)
	for i := range l.Fixed {
		if l.Fixed[i] != parts[i] {
			parts[i] += " (or " + l.Fixed[i] + ")"
		}
	}
	return strings.Join(parts, ", ")
}
