package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/catalog/mapping"
)

type catalogCmd struct {
	Credentials catalogCredentialsCmd `cmd:"" help:"Make a client id and secret for clients of Port's API."`
	Entities    catalogEntitiesCmd    `cmd:"" help:"List entities, or show one."`
	Problems    catalogProblemsCmd    `cmd:"" help:"Tell which links and entities could not be made, and why."`
	Import      catalogImportCmd      `cmd:"" help:"Take services and owners from Backstage."`
	Export      catalogExportCmd      `cmd:"" help:"Give links to Backstage."`
	Unowned     catalogUnownedCmd     `cmd:"" help:"List repositories without an owner, and who it may be."`
	Running     catalogRunningCmd     `cmd:"" help:"List which services and environments run which digest, and how that differs from the registry."`
	Impact      catalogImpactCmd      `cmd:"" help:"Tell what deleting a repository or image would take from whom."`
}

type catalogCredentialsCmd struct {
	remote
	Name   string `arg:"" optional:"" default:"client" help:"What the client is called."`
	Role   string `enum:"admin,member,reader" default:"member" help:"admin changes the model too, member writes entities, reader reads."`
	Output string `enum:"shell,json" default:"shell" help:"shell (lines to eval) or json."`
}

func (catalogCredentialsCmd) Help() string {
	return `Makes the IAM user catalog-NAME, if there is none, with a policy for the role, and an access key. Its id and secret are the
client id and client secret of the catalog's API; deleting the key ends them. Any access key whose policies allow actions of
the service "catalog" works as well.

Examples:
  eval "$(berth catalog credentials)"          # PORT_CLIENT_ID, PORT_CLIENT_SECRET, PORT_BASE_URL
  berth catalog credentials exporter --output json > credentials.json`
}

// rolePolicies are the actions of each role.
func rolePolicy(role string) string {
	actions := []string{"catalog:Read*"}
	switch role {
	case "admin":
		actions = []string{"catalog:*"}
	case "member":
		actions = append(actions, "catalog:WriteEntities", "catalog:DeleteEntities", "catalog:WriteIntegrations")
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Action": actions, "Resource": "*"}}})
	if err != nil {
		return "" // texts always marshal
	}
	return string(b)
}

// Run makes the credentials.
func (c *catalogCredentialsCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	client := iam.NewFromConfig(aws.Config{Region: api.server.Region, BaseEndpoint: aws.String(api.server.Endpoint), HTTPClient: api.http,
		Credentials: credentials.StaticCredentialsProvider{Value: api.keys}})
	user := aws.String("catalog-" + c.Name)
	if _, err := client.CreateUser(e.ctx, &iam.CreateUserInput{UserName: user}); err != nil && codeOf(err) != "EntityAlreadyExists" {
		return fmt.Errorf("make the user %s: %w", *user, err)
	}
	if _, err := client.PutUserPolicy(e.ctx, &iam.PutUserPolicyInput{UserName: user, PolicyName: aws.String("catalog"), PolicyDocument: aws.String(rolePolicy(c.Role))}); err != nil {
		return fmt.Errorf("give %s its policy: %w", *user, err)
	}
	key, err := client.CreateAccessKey(e.ctx, &iam.CreateAccessKeyInput{UserName: user})
	if err != nil {
		return fmt.Errorf("make a key for %s (a user has two at most; aws iam delete-access-key removes one): %w", *user, err)
	}
	id, secret := aws.ToString(key.AccessKey.AccessKeyId), aws.ToString(key.AccessKey.SecretAccessKey)
	if c.Output == "json" {
		return printJSON(e.out, map[string]string{"clientId": id, "clientSecret": secret, "id": id, "baseUrl": api.server.Endpoint})
	}
	_, err = fmt.Fprintf(e.out, "export PORT_CLIENT_ID=%s\nexport PORT_CLIENT_SECRET=%s\nexport PORT_BASE_URL=%s\n", id, secret, api.server.Endpoint)
	return err
}

type catalogEntitiesCmd struct {
	remote
	Blueprint string `arg:"" help:"Such as service or ecr_repository."`
	ID        string `arg:"" optional:"" help:"An entity's identifier."`
	Output    string `enum:"table,json" default:"table" help:"table or json."`
}

func (catalogEntitiesCmd) Help() string {
	return `Examples:
  berth catalog entities service
  berth catalog entities ecr_repository team/app`
}

// Run lists or shows.
func (c *catalogEntitiesCmd) Run(e *env) error {
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	if c.ID != "" {
		return c.show(e, api)
	}
	list, err := api.search(e.ctx, c.Blueprint)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		if list == nil {
			list = []entity{}
		}
		return printJSON(e.out, list)
	}
	var relations []string
	for _, item := range list {
		for r := range item.Relations {
			if !slices.Contains(relations, r) {
				relations = append(relations, r)
			}
		}
	}
	slices.Sort(relations)
	head := []string{"IDENTIFIER", "TITLE", "TEAM"}
	for _, r := range relations {
		head = append(head, strings.ToUpper(r))
	}
	rows := [][]string{head}
	for _, item := range list {
		row := []string{item.Identifier, item.Title, word(strings.Join(item.Team, ","))}
		for _, r := range relations {
			row = append(row, word(strings.Join(names(item.Relations[r]), ",")))
		}
		rows = append(rows, row)
	}
	return printTable(e.out, rows)
}

func (c *catalogEntitiesCmd) show(e *env, api *catalogClient) error {
	var out struct{ Entity entity }
	reply, err := api.do(e.ctx, http.MethodGet, "blueprints/"+url.PathEscape(c.Blueprint)+"/entities/"+url.PathEscape(c.ID), nil, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	rows := [][]string{{"identifier", out.Entity.Identifier}, {"title", out.Entity.Title}, {"team", word(strings.Join(out.Entity.Team, ", "))}}
	for _, k := range slices.Sorted(maps.Keys(out.Entity.Properties)) {
		if v := out.Entity.Properties[k]; v != nil {
			rows = append(rows, []string{k, word(v)})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(out.Entity.Relations)) {
		rows = append(rows, []string{"→ " + k, word(strings.Join(names(out.Entity.Relations[k]), ", "))})
	}
	return printTable(e.out, rows)
}

type catalogProblemsCmd struct {
	remote
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (catalogProblemsCmd) Help() string {
	return `Links to entities that do not exist are made as soon as they do.

Example:
  berth catalog problems

Exit codes: 0 nothing is wrong, 1 failure, 3 something is.`
}

// Run prints what is wrong.
func (c *catalogProblemsCmd) Run(e *env) error {
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	var out struct {
		Notices    []struct{ Region, Kind, Resource, Blueprint, Entity, Code, Path, Message string }
		Pending    []struct{ Region, Kind, Resource, Reason string }
		Unresolved []struct {
			Blueprint, Identifier, Relation, Target string
			Names                                   []string
		}
	}
	reply, err := api.do(e.ctx, http.MethodGet, "berth/notices", nil, &out)
	if err != nil {
		return err
	}
	n := len(out.Notices) + len(out.Pending) + len(out.Unresolved)
	switch {
	case c.Output == "json":
		err = printJSON(e.out, reply)
	case n == 0:
		_, err = fmt.Fprintln(e.out, "Every link and entity is made.")
	default:
		rows := [][]string{{"WHAT", "PROBLEM"}}
		for _, u := range out.Unresolved {
			rows = append(rows, []string{fmt.Sprintf("%s %s → %s", u.Blueprint, u.Identifier, u.Relation), fmt.Sprintf("there is no %s %s", u.Target, strings.Join(u.Names, " or "))})
		}
		for _, p := range out.Pending {
			rows = append(rows, []string{p.Resource, "yet to be mapped: " + p.Reason})
		}
		for _, p := range out.Notices {
			rows = append(rows, []string{p.Resource, p.Code + " " + p.Path + ": " + p.Message})
		}
		err = printTable(e.out, rows)
	}
	if err == nil && n > 0 {
		err = exitError(3)
	}
	return err
}

type syncCmd struct {
	remote
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (syncCmd) Help() string {
	return `Maps every repository and image again, and removes entities of those that are gone. The catalog follows the registry by itself;
this is for after a restored backup, and to see that nothing differs.

Example:
  berth sync

Exit codes: 0 done, 1 failure.`
}

// syncReport is what a synchronisation did.
type syncReport struct {
	Done      int    `json:"done"`
	Total     int    `json:"total"`
	Created   int    `json:"created"`
	Updated   int    `json:"updated"`
	Deleted   int    `json:"deleted"`
	Unchanged int    `json:"unchanged"`
	Failed    int    `json:"failed"`
	Error     string `json:"error"`
	Skipped   string `json:"skipped"`
}

// integrationState is the built-in integration's.
type integrationState struct {
	Integration struct {
		Config      json.RawMessage
		ResyncState struct {
			Status, LastResyncStart string
			Report                  syncReport
		}
	}
}

// Run synchronises.
func (c *syncCmd) Run(e *env) error {
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	r, err := runSync(e, api, map[string]any{})
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, r)
	}
	return r.print(e)
}

func (r *syncReport) print(e *env) error {
	fmt.Fprintf(e.out, "%d resources: %d entities created, %d updated, %d deleted, %d unchanged, %d failed\n", r.Total, r.Created, r.Updated, r.Deleted, r.Unchanged, r.Failed)
	if r.Skipped != "" {
		fmt.Fprintln(e.out, "note:", r.Skipped)
	}
	if r.Failed > 0 {
		fmt.Fprintln(e.out, "berth catalog problems tells why.")
	}
	return nil
}

// runSync changes the built-in integration, by which it asks for a synchronisation, and
// waits for its end.
func runSync(e *env, api *catalogClient, change map[string]any) (*syncReport, error) {
	var before, now integrationState
	if _, err := api.do(e.ctx, http.MethodGet, "integration/berth", nil, &before); err != nil {
		return nil, err
	}
	if _, err := api.do(e.ctx, http.MethodPatch, "integration/berth", change, nil); err != nil {
		return nil, err
	}
	s := newScreen(e, "never")
	defer s.clear()
	for {
		if _, err := api.do(e.ctx, http.MethodGet, "integration/berth", nil, &now); err != nil {
			return nil, err
		}
		state := &now.Integration.ResyncState
		s.progress("synchronising", state.Report.Done, state.Report.Total)
		if state.LastResyncStart != before.Integration.ResyncState.LastResyncStart && (state.Status == "completed" || state.Status == "failed") {
			if state.Report.Error != "" {
				return nil, fmt.Errorf("the synchronisation ended early: %s", state.Report.Error)
			}
			return &state.Report, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-e.ctx.Done():
			return nil, e.ctx.Err()
		}
	}
}

type mappingSetCmd struct {
	remote
	File string `arg:"" optional:"" type:"existingfile" help:"An exporter's config.json."`
	// Default goes back to what a new catalog has.
	Default bool `help:"Go back to Berth's own mapping."`
}

func (mappingSetCmd) Help() string {
	return `Stores the configuration, and maps every repository and image by it. It takes the config.json of Port's AWS exporter as it is.

Examples:
  berth mapping set config.json
  berth mapping set --default

Exit codes: 0 stored and mapped, 1 failure, or the configuration has an error.`
}

// Run stores and synchronises.
func (c *mappingSetCmd) Run(e *env) error {
	if (c.File == "") == !c.Default {
		return fmt.Errorf("give a file, or --default")
	}
	var config any
	if !c.Default {
		text, err := os.ReadFile(c.File)
		if err != nil {
			return err
		}
		read, err := mapping.Read(text)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		for _, n := range read.Notices() {
			printNotice(e, "", n)
		}
		config = json.RawMessage(text)
	}
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	r, err := runSync(e, api, map[string]any{"config": config})
	if err != nil {
		return err
	}
	return r.print(e)
}

type mappingShowCmd struct{ remote }

func (mappingShowCmd) Help() string { return "Example:\n  berth mapping show > config.json" }

// Run prints the configuration.
func (c *mappingShowCmd) Run(e *env) error {
	api, err := c.catalog(e.ctx)
	if err != nil {
		return err
	}
	var out integrationState
	if _, err := api.do(e.ctx, http.MethodGet, "integration/berth", nil, &out); err != nil {
		return err
	}
	return printJSON(e.out, out.Integration.Config)
}
