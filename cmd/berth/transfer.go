package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare"
	"github.com/berth-registry/berth/declare/config"
)

// foreign is an account elsewhere: of AWS, or of another Berth.
type foreign struct {
	Profile  string   `placeholder:"NAME" help:"Profile of the AWS configuration. With it, AWS_ENDPOINT_URL and keys in the environment do not count."`
	Endpoint string   `name:"endpoint-url" placeholder:"URL" help:"Address, if it is not AWS."`
	Region   []string `placeholder:"NAME" help:"Region. Repeatable (default: the profile's, or the environment's)."`
}

// open reads the AWS configuration, and asks whose account it is.
func (f *foreign) open(ctx context.Context) (aws.Config, arn.Account, error) {
	var opts []func(*awsconfig.LoadOptions) error
	endpoint := f.Endpoint
	if f.Profile != "" {
		opts = append(opts, awsconfig.WithSharedConfigProfile(f.Profile))
	} else if endpoint == "" {
		endpoint = os.Getenv("AWS_ENDPOINT_URL")
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return cfg, "", fmt.Errorf("read the AWS configuration: %w", err)
	}
	for _, from := range cfg.ConfigSources {
		if p, ok := from.(awsconfig.SharedConfig); ok && f.Profile != "" && endpoint == "" {
			endpoint = p.BaseEndpoint
		}
	}
	if len(f.Region) == 0 && cfg.Region != "" {
		f.Region = []string{cfg.Region}
	}
	if len(f.Region) == 0 {
		return cfg, "", errors.New("no region is configured: give --region")
	}
	cfg.Region = f.Region[0]
	if cfg.BaseEndpoint = nil; endpoint != "" {
		cfg.BaseEndpoint = &endpoint
	}
	out, err := sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = cfg.BaseEndpoint }).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return cfg, "", fmt.Errorf("ask whose account this is: %w", err)
	}
	return cfg, arn.Account(aws.ToString(out.Account)), nil
}

// connect makes the clients of a region. An endpoint in the environment does not count:
// the configuration has it, if it shall.
func connect(cfg aws.Config) func(context.Context, arn.Place) (declare.Clients, error) {
	return func(_ context.Context, p arn.Place) (declare.Clients, error) {
		c := cfg.Copy()
		if p.Region != "" {
			c.Region = string(p.Region)
		}
		return declare.Clients{ECR: ecr.NewFromConfig(c, func(o *ecr.Options) { o.BaseEndpoint = cfg.BaseEndpoint }),
			IAM: iam.NewFromConfig(c, func(o *iam.Options) { o.BaseEndpoint = cfg.BaseEndpoint })}, nil
	}
}

type importCmd struct {
	AWS importAWSCmd `cmd:"" name:"aws" help:"From an account of AWS, or of another Berth."`
}

type importAWSCmd struct {
	foreign
	written
}

func (importAWSCmd) Help() string {
	return `Reads repositories with their settings, tags, policies and lifecycles, creation templates, the registry policy and the
roles of GitHub workflows, and writes DIR/accounts/NAME/ID/REGION/ecr.tf, which berth apply and terraform read. Keys that may
read are enough (AmazonEC2ContainerRegistryReadOnly and IAMReadOnlyAccess, and for templates and the registry policy
ecr:DescribeRepositoryCreationTemplates and ecr:GetRegistryPolicy). Images are not copied: skopeo sync does that.

Examples:
  berth import aws --profile shared --region eu-west-1 --region eu-central-1
  berth import aws --profile shared --format yaml --dir declared`
}

// Run imports.
func (c *importAWSCmd) Run(e *env) error {
	cfg, account, err := c.open(e.ctx)
	if err != nil {
		return err
	}
	s := newScreen(e, "never")
	name := string(account)
	if got, err := iam.NewFromConfig(cfg, func(o *iam.Options) { o.BaseEndpoint = cfg.BaseEndpoint }).ListAccountAliases(e.ctx, &iam.ListAccountAliasesInput{}); err == nil && len(got.AccountAliases) > 0 {
		name = got.AccountAliases[0]
	}
	return c.write(e, s, &declare.Backend{Connect: connect(cfg), Progress: s.progress}, account, name, c.Region, nil)
}

// written is where files go.
type written struct {
	Dir       string `default:"." type:"path" placeholder:"DIR" help:"Where to write (default: here)."`
	Format    string `enum:"hcl,yaml" default:"hcl" help:"hcl or yaml."`
	Overwrite bool   `help:"Write over files that are there."`
	Output    string `enum:"table,json" default:"table" help:"table or json."`
}

// writtenFile is one line of the report.
type writtenFile struct {
	Account      arn.Account `json:"account"`
	Region       string      `json:"region"`
	Repositories int         `json:"repositories"`
	Blocks       int         `json:"blocks"`
	File         string      `json:"file"`
	Notes        []string    `json:"notes"`
}

func (w *written) write(e *env, s *screen, b *declare.Backend, account arn.Account, name string, regions []string, names map[arn.Account]string) error {
	report := []writtenFile{}
	for _, region := range regions {
		if !arn.Region(region).Valid() {
			return fmt.Errorf("--region %q is no name of a region", region)
		}
		got, err := b.Collect(e.ctx, arn.Place{Account: account, Region: arn.Region(region)}, names)
		s.clear()
		if err != nil {
			return err
		}
		file := filepath.Join(w.Dir, "accounts", name, string(account), region, "ecr.tf")
		text := config.HCL(got.Modules)
		if w.Format == "yaml" {
			file, text = strings.TrimSuffix(file, ".tf")+".yaml", config.YAML(got.Modules)
		}
		report = append(report, writtenFile{account, region, got.Repositories, len(got.Modules), file, append([]string{}, got.Notes...)})
		if len(got.Modules) == 0 {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			return err
		}
		flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
		if w.Overwrite {
			flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		}
		f, err := os.OpenFile(file, flags, 0o640)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already: give --overwrite, or another --dir", file)
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	if w.Output == "json" {
		return printJSON(e.out, report)
	}
	rows := [][]string{{"ACCOUNT", "REGION", "REPOSITORIES", "BLOCKS", "FILE"}}
	for _, r := range report {
		if r.Blocks == 0 {
			r.File = "-"
		}
		rows = append(rows, []string{string(r.Account), r.Region, fmt.Sprint(r.Repositories), fmt.Sprint(r.Blocks), r.File})
	}
	if err := printTable(e.out, rows); err != nil {
		return err
	}
	for _, r := range report {
		for _, n := range r.Notes {
			fmt.Fprintf(e.out, "note: %s\n", n)
		}
	}
	return nil
}

type exportCmd struct {
	Files exportFilesCmd `cmd:"" help:"Write files that declare what this registry has."`
	AWS   exportAWSCmd   `cmd:"" name:"aws" help:"Make an account of AWS, or of another Berth, like this registry."`
	Port  exportPortCmd  `cmd:"" help:"Send the catalog's repositories and images to a Port account."`
}

type exportFilesCmd struct {
	remote
	written
	Account string   `placeholder:"ID" help:"Account (default: that of the credentials)."`
	Region  []string `placeholder:"NAME" help:"Region. Repeatable (default: that of the credentials)."`
}

func (exportFilesCmd) Help() string {
	return `Writes what this registry has as DIR/accounts/NAME/ID/REGION/ecr.tf, which berth apply reads here and elsewhere, and
terraform with the ecr-repos module on AWS.

Example:
  berth export files --dir declared`
}

// Run writes files.
func (c *exportFilesCmd) Run(e *env) error {
	f, account, regions, err := source(e, &c.remote, c.Account, c.Region)
	if err != nil {
		return err
	}
	s := newScreen(e, "never")
	names, _ := f.listAccounts(e.ctx) // who may not list them has no names
	name := string(account)
	if names[account] != "" {
		name = strings.ReplaceAll(names[account], "/", "-")
	}
	return c.write(e, s, &declare.Backend{Connect: f.connect, Progress: s.progress}, account, name, regions, names)
}

// source is the registry that an export reads.
func source(e *env, r *remote, account string, regions []string) (*fleet, arn.Account, []string, error) {
	api, err := r.client()
	if err != nil {
		return nil, "", nil, err
	}
	f, err := newFleet(e.ctx, api)
	if err != nil {
		return nil, "", nil, err
	}
	a := f.account
	if account != "" {
		if a = arn.Account(account); !a.Valid() {
			return nil, "", nil, fmt.Errorf("--account %q must have 12 digits", account)
		}
	}
	if len(regions) == 0 {
		regions = []string{api.server.Region}
	}
	return f, a, regions, nil
}

type exportAWSCmd struct {
	remote
	foreign
	Account string `placeholder:"ID" help:"Account of this registry (default: that of the credentials)."`
	Yes     bool   `help:"Do not ask."`
	Full    bool   `help:"Show every change, however many there are."`
	Colour  string `name:"color" enum:"auto,always,never" default:"auto" help:"auto, always or never."`
	Output  string `enum:"table,json" default:"table" help:"table or json."`
}

func (exportAWSCmd) Help() string {
	return `Shows what is missing or different in the account of the profile, asks, and makes it so: repositories with settings,
tags, policies and lifecycles, templates, the registry policy, the roles of GitHub workflows. Nothing is deleted there, and
what only it has stays. Images are not copied: skopeo sync does that.

Examples:
  berth export aws --profile shared --region eu-west-1
  berth export aws --profile other-berth --endpoint-url https://berth.example.com:5100`
}

// Run exports.
func (c *exportAWSCmd) Run(e *env) error {
	if c.Profile == "" {
		return errors.New("say with --profile whose account shall be changed")
	}
	cfg, to, err := c.open(e.ctx)
	if err != nil {
		return err
	}
	f, from, regions, err := source(e, &c.remote, c.Account, c.Region)
	if err != nil {
		return err
	}
	names, _ := f.listAccounts(e.ctx)
	s := &session{declared: &declared{Full: c.Full, Output: c.Output}, screen: newScreen(e, c.Colour), api: f.api}
	s.backend = &declare.Backend{Connect: connect(cfg), Progress: s.screen.progress}
	for _, region := range regions {
		got, err := (&declare.Backend{Connect: f.connect, Progress: s.screen.progress}).Collect(e.ctx, arn.Place{Account: from, Region: arn.Region(region)}, names)
		if err != nil {
			return err
		}
		file := &config.File{Source: fmt.Sprintf("account %s of %s", from, f.api.server.Endpoint), Modules: got.Modules}
		for _, m := range file.Modules {
			m.Source = file.Source
		}
		p, err := s.backend.Make(e.ctx, []*config.File{file}, declare.Options{Account: to, Region: arn.Region(region)})
		s.screen.clear()
		if err != nil {
			return err
		}
		p.Warnings = append(p.Warnings, got.Notes...)
		if err := s.do(e, p, c.Yes, "Make account "+string(to)+" so?"); err != nil {
			return err
		}
		if c.Output == "json" {
			if err := printJSON(e.out, p); err != nil {
				return err
			}
		}
	}
	return nil
}
