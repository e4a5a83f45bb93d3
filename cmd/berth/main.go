// Command berth is the registry server and the commands beside it: one file per
// subcommand, flags and output only; what they do is in the packages they call.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/berth-registry/berth/catalog/mapping/runner"
	"github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/internal/latecollect"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != serveCommand { // which has more to set up
		latecollect.Begin()
	}
	if len(os.Args) > 1 && os.Args[1] == worker.InitCommand {
		os.Exit(worker.Init(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == runner.Command {
		os.Exit(runner.Process(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// version is set by the linker in releases.
var version = "" //nolint:gochecknoglobals // the linker can set nothing else

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// env is what commands act on; tests give their own.
type env struct {
	ctx    context.Context
	in     io.Reader
	out    io.Writer
	errOut io.Writer
}

// cli is the command line; every flag can be set in the environment as BERTH_…
// and in the YAML file of --config.
type cli struct {
	serveCLI `embed:""`

	Env     envCmd     `cmd:"" help:"Print what AWS clients need in their environment."`
	Login   loginCmd   `cmd:"" help:"Log docker, podman and skopeo in, without the AWS CLI."`
	Plan    planCmd    `cmd:"" help:"Show what declared repositories would change."`
	Apply   applyCmd   `cmd:"" help:"Make repositories, access and roles as files declare them."`
	Destroy destroyCmd `cmd:"" help:"Delete what files declare."`
	Import  importCmd  `cmd:"" help:"Write files that declare what a registry has."`
	Export  exportCmd  `cmd:"" help:"Make an account of AWS, or another Berth, like this registry."`
	Catalog catalogCmd `cmd:"" help:"The software catalog: credentials, entities, what is wrong."`
	Mapping mappingCmd `cmd:"" help:"How repositories and images become entities of the catalog."`
	Sync    syncCmd    `cmd:"" help:"Map every repository and image into the catalog again."`
	Console consoleCmd `cmd:"" help:"Print a link that signs a browser in to the console."`
	Account accountCmd `cmd:"" help:"Make, list and close accounts."`
	Explain explainCmd `cmd:"" help:"Tell why a call was denied or allowed, or would be."`
	Events  eventsCmd  `cmd:"" help:"Show and export the records of API calls."`
	Image   imageCmd   `cmd:"" help:"Tell who pushed an image, and from which workflow."`
	Doctor  doctorCmd  `cmd:"" help:"Check the server and the clients on this machine."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// serveCommand is the name of the field below.
const serveCommand = "serve"

// serveCLI is the part of it that runs a server.
type serveCLI struct {
	Config kong.ConfigFlag `help:"YAML file with values for flags." placeholder:"FILE" env:"BERTH_CONFIG"`
	Serve  serveCmd        `cmd:"" help:"Run the registry."`
}

// grammar is what arguments are parsed by. A server's start does not wait until all commands
// are laid out, which takes milliseconds.
func grammar(args []string) any {
	if len(args) > 0 && args[0] == serveCommand {
		return &serveCLI{}
	}
	return &cli{}
}

const about = `Berth is a container registry that speaks Amazon ECR: one binary, used with the AWS CLI and SDKs, terraform,
docker, podman, skopeo and crane.

Start here:
  berth serve
  eval "$(berth env)"          # in a second terminal
  berth login && docker push localhost:5100/team/app:1.0

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 explained and denied. berth plan: 0 no changes, 2 changes, 1 else.`

// exitError ends the command with a code without printing anything more.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// run is main without the process around it.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) (code int) {
	exited := -1
	parser, err := kong.New(grammar(args), kong.Name("berth"), kong.Description(about), kong.Writers(out, errOut), kong.UsageOnError(),
		kong.Exit(func(code int) { exited = code }), kong.DefaultEnvars("BERTH"), kong.Configuration(loadYAML),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}))
	if err != nil {
		fmt.Fprintln(errOut, "berth:", err)
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if exited >= 0 { // help was asked for and printed
		return exited
	}
	if err != nil {
		fmt.Fprintf(errOut, "berth: %v\nRun 'berth --help', or 'berth COMMAND --help' for a command's flags and an example.\n", err)
		if args[0] == "plan" { // whose 2 says that there are changes
			return 1
		}
		return 2
	}
	err = k.Run(&env{ctx, in, out, errOut})
	var exit exitError
	switch {
	case errors.As(err, &exit):
		return int(exit)
	case err != nil:
		var problems config.Problems
		if errors.As(err, &problems) { // each line has its place
			fmt.Fprintln(errOut, err)
			return 1
		}
		fmt.Fprintln(errOut, "berth:", err)
		return 1
	}
	return 0
}

// loadYAML reads a flat YAML file whose keys are flag names, for any command.
func loadYAML(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		v, ok := values[flag.Name]
		if !ok {
			v, ok = values[strings.ReplaceAll(flag.Name, "-", "_")]
		}
		if !ok {
			return nil, nil
		}
		if list, isList := v.([]any); isList {
			parts := make([]string, len(list))
			for i, e := range list {
				parts[i] = fmt.Sprint(e)
			}
			return strings.Join(parts, ","), nil
		}
		return fmt.Sprint(v), nil
	}), nil
}

type versionCmd struct {
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (versionCmd) Help() string { return "Example:\n  berth version --output json" }

// Run prints the version.
func (v *versionCmd) Run(e *env) error {
	info, _ := debug.ReadBuildInfo()
	goVersion := ""
	if info != nil {
		goVersion = info.GoVersion
	}
	if v.Output == "json" {
		return printJSON(e.out, map[string]string{"version": versionText(), "go": goVersion})
	}
	_, err := fmt.Fprintf(e.out, "berth %s (%s)\n", versionText(), goVersion)
	return err
}
