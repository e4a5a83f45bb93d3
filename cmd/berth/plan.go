package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare"
	"github.com/berth-registry/berth/declare/config"
)

// declared is what plan, apply and destroy have in common.
type declared struct {
	remote
	Files     []string          `arg:"" type:"path" name:"file" help:"Files or directories: terraform files with the ecr-repos module's blocks, or YAML."`
	Account   string            `placeholder:"ID" help:"Account to land in, whatever files and directories say."`
	Region    string            `placeholder:"NAME" help:"Region to land in, whatever files and directories say."`
	Project   string            `placeholder:"NAME" help:"What files are called after (default: the address of their git repository, or without one their whole path)."`
	Var       map[string]string `placeholder:"NAME=VALUE" help:"Value of a variable. Repeatable."`
	Adopt     bool              `help:"Take over what is there already and no file declares."`
	AdoptFrom []string          `sep:"none" placeholder:"FILE" help:"Take over what that file declares, such as one that was renamed. Repeatable."`
	Force     bool              `help:"Delete repositories that hold images, too."`
	Full      bool              `help:"Show every change, however many there are."`
	Colour    string            `name:"color" enum:"auto,always,never" default:"auto" help:"auto, always or never."`
	Output    string            `enum:"table,json" default:"table" help:"table or json."`
}

const declaredHelp = `
A file lands in the account and region that --account and --region say, else its block (account_id, region), else its
directory (accounts/NAME/ID/… or accounts/NAME/ID/REGION/…), else those of the credentials. Accounts that do not exist are
made by who keeps the accounts; berth account key makes keys for them. What is declared belongs to its file, which is known
by the address of its git repository and its path there.`

// session is one run of a command on declared things.
type session struct {
	*declared
	screen  *screen
	backend *declare.Backend
	opts    declare.Options
	api     *client
}

func (d *declared) open(e *env, prune bool) (*session, error) {
	api, err := d.client()
	if err != nil {
		return nil, err
	}
	if d.Account != "" && !arn.Account(d.Account).Valid() {
		return nil, fmt.Errorf("--account %q must have 12 digits", d.Account)
	}
	if d.Region != "" && !arn.Region(d.Region).Valid() {
		return nil, fmt.Errorf("--region %q is no name of a region", d.Region)
	}
	f, err := newFleet(e.ctx, api)
	if err != nil {
		return nil, err
	}
	s := &session{declared: d, screen: newScreen(e, d.Colour), api: api}
	if s.backend, err = f.backend(e.ctx, s.screen.progress); err != nil {
		return nil, err
	}
	s.opts = declare.Options{Account: arn.Account(d.Account), Region: arn.Region(d.Region), DefaultAccount: f.account, DefaultRegion: arn.Region(api.server.Region),
		Adopt: d.Adopt, AdoptFrom: d.AdoptFrom, Prune: prune, Force: d.Force}
	return s, nil
}

func (d *declared) load() ([]*config.File, error) {
	return config.Load(d.Files, config.Options{Project: d.Project, Vars: d.Var})
}

// plan reads the files and plans.
func (s *session) plan(e *env) (*declare.Plan, error) {
	files, err := s.load()
	if err != nil {
		return nil, err
	}
	p, err := s.backend.Make(e.ctx, files, s.opts)
	s.screen.clear()
	return p, err
}

type planCmd struct {
	declared
	Prune    bool          `help:"Plan to delete repositories that their file no longer lists."`
	Watch    bool          `help:"Go on, and print the plan whenever it changes."`
	Interval time.Duration `default:"10s" help:"How often --watch looks (${default})."`
}

func (planCmd) Help() string {
	return `Reads what files declare, compares it with the registry and prints the difference. Nothing is changed.
` + declaredHelp + `

Examples:
  berth plan main.tf
  berth plan --region eu-west-1 infrastructure/accounts
  berth plan --output json repositories.yaml

Exit codes: 0 nothing to do, 2 there are changes, 1 failure or wrong usage.`
}

// Run plans.
func (c *planCmd) Run(e *env) error {
	s, err := c.open(e, c.Prune)
	if err != nil {
		return err
	}
	if c.Watch {
		return c.watch(e, s)
	}
	p, err := s.plan(e)
	if err != nil {
		return err
	}
	if err := s.show(e, p); err != nil {
		return err
	}
	if !p.Empty() {
		return exitError(2)
	}
	return nil
}

// watch plans until it is interrupted.
func (c *planCmd) watch(e *env, s *session) error {
	last := ""
	for {
		text := ""
		p, err := s.plan(e)
		switch {
		case e.ctx.Err() != nil:
			return nil
		case err != nil:
			text = err.Error()
		default:
			text = s.text(p)
		}
		if text != last {
			s.screen.print("%s\n%s\n", s.screen.paint(faint, time.Now().Format("2006-01-02 15:04:05")), strings.TrimSpace(text))
			last = text
		}
		select {
		case <-time.After(c.Interval):
		case <-e.ctx.Done():
			return nil
		}
	}
}

type applyCmd struct {
	declared
	Prune bool `help:"Delete repositories that their file no longer lists."`
	Yes   bool `help:"Do not ask."`
}

func (applyCmd) Help() string {
	return `Shows the plan, asks, and makes the registry as the files declare it. Applying again changes nothing; after an
interruption it goes on. Repositories that a file no longer lists stay unless --prune, and those with images unless --force.
` + declaredHelp + `

Examples:
  berth apply main.tf
  berth apply --yes --prune infrastructure/accounts
  berth apply --adopt --region eu-west-1 main.tf

Exit codes: 0 applied, 1 failure or not confirmed, 2 wrong usage.`
}

// Run applies.
func (c *applyCmd) Run(e *env) error {
	s, err := c.open(e, c.Prune)
	if err != nil {
		return err
	}
	p, err := s.plan(e)
	if err != nil {
		return err
	}
	if err := s.do(e, p, c.Yes, "Apply these changes?"); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, p)
	}
	return s.grants(e, p)
}

// do shows a plan, asks and applies it.
func (s *session) do(e *env, p *declare.Plan, yes bool, question string) error {
	if s.Output == "table" {
		if err := s.show(e, p); err != nil {
			return err
		}
	}
	if !p.Empty() {
		if !yes {
			if err := confirm(e, s.screen, question); err != nil {
				return err
			}
		}
	}
	started := time.Now()
	err := s.backend.Apply(e.ctx, p) // also of an empty plan: the ledger may have to learn
	s.screen.clear()
	if err != nil {
		return fmt.Errorf("%w\nWhat was done stays; run the command again to go on", err)
	}
	if !p.Empty() && s.Output == "table" {
		s.screen.print("\n%s in %s.\n", s.screen.paint(green, "Done"), time.Since(started).Round(time.Millisecond))
	}
	return nil
}

// confirm asks. Where nobody can answer, --yes has to be given.
func confirm(e *env, s *screen, question string) error {
	if f, ok := e.in.(*os.File); ok && !terminal(f) {
		return errors.New("nobody can be asked here: give --yes")
	}
	s.print("\n%s [y/N] ", s.paint(bold, question))
	line, _ := bufio.NewReader(e.in).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

type destroyCmd struct {
	declared
	Yes bool `help:"Do not ask."`
}

func (destroyCmd) Help() string {
	return `Deletes what the files declare: repositories, roles, templates. A repository that holds images stops it, unless --force.
Accounts stay. A file that is gone can be named as it was, with --account and --region.
` + declaredHelp + `

Example:
  berth destroy main.tf

Exit codes: 0 deleted, 1 failure or not confirmed, 2 wrong usage.`
}

// Run destroys.
func (c *destroyCmd) Run(e *env) error {
	s, err := c.open(e, true)
	if err != nil {
		return err
	}
	files, err := c.named(s)
	if err != nil {
		return err
	}
	s.opts.Destroy = true
	p, err := s.backend.Make(e.ctx, files, s.opts)
	s.screen.clear()
	if err != nil {
		return err
	}
	if err := s.do(e, p, c.Yes, "Delete all this?"); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, p)
	}
	return nil
}

// named reads the files; those that are gone count by their names.
func (c *destroyCmd) named(s *session) ([]*config.File, error) {
	var there []string
	for _, f := range c.Files {
		if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) {
			there = append(there, f)
			continue
		}
		source, err := config.SourceOf(f, c.Project)
		if err != nil {
			return nil, err
		}
		s.opts.Sources = append(s.opts.Sources, source)
	}
	return config.Load(there, config.Options{Project: c.Project, Vars: c.Var})
}

// grants prints what GitHub's workflows need.
func (s *session) grants(e *env, p *declare.Plan) error {
	for _, g := range p.Grants {
		a, err := arn.Parse(g.Role)
		if err != nil {
			return err
		}
		host := fmt.Sprintf("%s.dkr.ecr.%s.amazonaws.com", a.Account, g.Region)
		name := "REPOSITORY"
		if len(g.Repositories) > 0 {
			name = g.Repositories[0]
			c, err := s.backend.Connect(e.ctx, arn.Place{Account: a.Account, Region: g.Region})
			if err != nil {
				return err
			}
			if uri, err := declare.URI(e.ctx, c.ECR, name); err == nil {
				host = strings.TrimSuffix(uri, "/"+name)
			}
		}
		s.screen.print("\n%s %s\n%s\n\n%s", s.screen.paint(bold, "Role for GitHub Actions:"), g.Role, s.screen.paint(faint, "Workflow for "+cmp.Or(strings.Join(g.GitHub, ", "), "nobody yet")+":"),
			workflow(s.api.server.Endpoint, g, string(a.Account), host, name))
	}
	return nil
}

// workflow is what a workflow has to say; docs/github-actions.md explains it.
func workflow(endpoint string, g declare.Grant, account, host, repository string) string {
	return fmt.Sprintf(`    permissions:
      id-token: write
      contents: read
    env:
      AWS_ENDPOINT_URL: %s
    steps:
      - uses: actions/checkout@v4
      - uses: aws-actions/configure-aws-credentials@v4
        with:
          role-to-assume: %s
          aws-region: %s
      - uses: aws-actions/amazon-ecr-login@v2
        with:
          registries: "%s"
      - run: |
          docker build -t "$IMAGE" .
          docker push "$IMAGE"
        env:
          IMAGE: %s/%s:${{ github.sha }}
`, endpoint, g.Role, g.Region, account, host, repository)
}
