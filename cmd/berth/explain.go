package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-registry/berth/identity"
)

type explainCmd struct {
	remote
	What    string            `arg:"" optional:"" help:"A request id; or push, pull or an action such as ecr:PutImage, with --as and --on; or repository; nothing lists the last denials."`
	Name    string            `arg:"" optional:"" help:"After repository: its name."`
	As      string            `placeholder:"WHO" help:"Who would do it: user/NAME, role/NAME, root or an ARN."`
	On      string            `placeholder:"RESOURCE" help:"A repository's name, an ARN, or * (default)."`
	Context map[string]string `placeholder:"KEY=VALUE" help:"Further condition keys, such as aws:RequestTag/team=core. Repeatable."`
	Output  string            `enum:"table,json" default:"table" help:"table or json."`
}

func (explainCmd) Help() string {
	return `Tells why a call was denied or allowed, or whether one would be: each policy that was read, the statement that decided,
and the smallest statement that would allow what is missing. The request id is at the end of docker's error line, and in
the aws CLI's --debug output.

Without a request id it lists the last denials: for clients, such as crane, that ask by HEAD and cannot show a reason.

With the word repository and a name it tells how the repository came to be: the push that missed it, the rule, the
function's run and its log, or the template or call that made it.

Examples:
  berth explain
  berth explain repository team/app
  berth explain 3f0c1b52-7c6e-4c6e-9a40-0f3d1b6f2a11
  berth explain push --as role/github-builder --on team/app
  berth explain ecr:DeleteRepository --as user/alice --on team/app --output json

Exit codes: 0 allowed, 3 denied, 1 failure.`
}

// explanation is the API's reply.
type explanation struct {
	RequestID, Principal, Missing, Suggestion, Where, SourceIP, UserAgent string
	Time                                                                  unixTime
	Now, Allowed                                                          bool
	Answers                                                               []identity.Answer
}

// exitDenied is the exit code of a denial that was explained.
const exitDenied = exitError(3)

// Run explains.
func (c *explainCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if c.What == "" {
		return c.list(e, api)
	}
	if c.What == "repository" && c.Name != "" {
		return c.repository(e, api)
	}
	in := map[string]any{"requestId": c.What}
	if planned := c.What == "push" || c.What == "pull" || strings.Contains(c.What, ":"); planned {
		if c.As == "" {
			return fmt.Errorf("say who would %s: --as user/NAME, role/NAME, root or an ARN", c.What)
		}
		who, err := c.principal(e, api)
		if err != nil {
			return err
		}
		on := c.On
		if on == "" {
			on = "*"
		}
		keys := map[string][]string{}
		for k, v := range c.Context {
			keys[k] = []string{v}
		}
		in = map[string]any{"principal": who, "actions": []string{c.What}, "resource": strings.SplitN(on, "@", 2)[0], "context": keys}
		if !strings.HasPrefix(on, "arn:") {
			in["resource"] = strings.SplitN(in["resource"].(string), ":", 2)[0] // a tag has no rights of its own
		}
	}
	var out struct{ Explanation explanation }
	reply, err := api.call(e.ctx, "Explain", in, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = printJSON(e.out, reply)
	} else {
		err = out.Explanation.print(e)
	}
	if err == nil && !out.Explanation.Allowed {
		err = exitDenied
	}
	return err
}

// list prints the last denials.
func (c *explainCmd) list(e *env, api *client) error {
	var out struct{ Denials []explanation }
	reply, err := api.call(e.ctx, "ListDenials", map[string]any{}, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	rows := [][]string{{"TIME", "REQUEST", "PRINCIPAL", "ACTION", "RESOURCE", "WHY"}}
	for _, d := range out.Denials {
		for _, a := range d.Answers {
			rows = append(rows, []string{d.Time.String(), d.RequestID, d.Principal, a.Action, a.Resource, a.Reason})
		}
	}
	return printTable(e.out, rows)
}

// repository tells how a repository came to be.
func (c *explainCmd) repository(e *env, api *client) error {
	var out struct {
		RepositoryName string
		CreatedAt      unixTime
		Origin         map[string]string
		Steps          []struct {
			At             unixTime
			What, Text, ID string
		}
	}
	reply, err := api.call(e.ctx, "DescribeRepositoryOrigin", map[string]any{"repositoryName": c.Name}, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	fmt.Fprintf(e.out, "%s was created at %s\n\n", out.RepositoryName, out.CreatedAt)
	rows := [][]string{{"TIME", "WHAT", "", "ID"}}
	for _, s := range out.Steps {
		rows = append(rows, []string{s.At.String(), s.What, s.Text, s.ID})
	}
	if len(out.Steps) > 0 {
		return printTable(e.out, rows)
	}
	rows = nil
	for _, k := range slices.Sorted(maps.Keys(out.Origin)) {
		rows = append(rows, []string{k, out.Origin[k]})
	}
	if rows == nil {
		rows = [][]string{{"Nothing is known of how it came to be: it is older than that is kept."}}
	}
	return printTable(e.out, rows)
}

// principal completes a short name with the caller's account.
func (c *explainCmd) principal(e *env, api *client) (string, error) {
	if strings.HasPrefix(c.As, "arn:") {
		return c.As, nil
	}
	account := api.server.Account
	if account == "" {
		var err error
		if account, err = api.account(e.ctx); err != nil {
			return "", err
		}
	}
	return "arn:aws:iam::" + account + ":" + c.As, nil
}

func (x *explanation) print(e *env) error {
	verdict := "ALLOWED"
	if !x.Allowed {
		verdict = "DENIED"
	}
	fmt.Fprintf(e.out, "%s  %s\n", verdict, x.Principal)
	if x.RequestID != "" {
		fmt.Fprintf(e.out, "request %s at %s from %s (%s)\n", x.RequestID, x.Time, x.SourceIP, x.UserAgent)
	}
	if x.Now && x.RequestID != "" {
		fmt.Fprintln(e.out, "The policies are those of now; they may have been others at that time.")
	}
	fmt.Fprintln(e.out)
	rows := [][]string{{"ACTION", "RESOURCE", "ANSWER", "DECIDED BY"}}
	for _, a := range x.Answers {
		answer, by := "allowed", "-"
		if !a.Allowed {
			answer = "denied"
		}
		if a.Policy != "" {
			by = fmt.Sprintf("statement %d of %s", a.Statement, a.Policy)
		} else if a.Reason != "" {
			by = a.Reason
		}
		rows = append(rows, []string{a.Action, a.Resource, answer, by})
	}
	if err := printTable(e.out, rows); err != nil {
		return err
	}
	for _, a := range x.Answers {
		if a.Action != x.Missing && (x.Missing != "" || len(x.Answers) > 1) {
			continue
		}
		if err := printReadings(e, a); err != nil {
			return err
		}
		break
	}
	switch {
	case x.Suggestion != "":
		fmt.Fprintf(e.out, "\nTo allow it, add to %s:\n  %s\n", x.Where, x.Suggestion)
	case x.Where != "":
		fmt.Fprintf(e.out, "\nTo allow it: %s.\n", x.Where)
	}
	return nil
}

func printReadings(e *env, a identity.Answer) error {
	if len(a.Read) == 0 {
		fmt.Fprintf(e.out, "\n%s: no policy has a say in it.\n", a.Action)
		return nil
	}
	fmt.Fprintln(e.out)
	rows := [][]string{{"POLICIES READ FOR " + a.Action, "KIND", "STATEMENT", "EFFECT", "APPLIES"}}
	for _, r := range a.Read {
		applies := "yes"
		if !r.Applies {
			applies = "no: " + r.Because
		}
		number := fmt.Sprint(r.Statement)
		if r.Sid != "" {
			number += " " + r.Sid
		}
		rows = append(rows, []string{r.Policy, r.Layer, number, r.Effect, applies})
	}
	if err := printTable(e.out, rows); err != nil {
		return err
	}
	if a.Text != "" {
		fmt.Fprintf(e.out, "\nThe statement that decided:\n  %s\n", a.Text)
	}
	return nil
}

type imageCmd struct {
	remote
	Image  string `arg:"" help:"REPOSITORY:TAG or REPOSITORY@DIGEST."`
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (imageCmd) Help() string {
	return `Tells who pushed an image and, if a workflow did, which: its repository, ref, run and actor, as its token claimed.

Example:
  berth image team/app:1.0`
}

// Run shows an image's origin.
func (c *imageCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	name, ref, ok := strings.Cut(c.Image, "@")
	if !ok {
		if name, ref, ok = strings.Cut(c.Image, ":"); !ok {
			name, ref = c.Image, "latest"
		}
	}
	var out struct {
		ImageDigest, PushedBy string
		ImageTags             []string
		PushedAt              unixTime
		Claims                map[string]string
	}
	reply, err := api.call(e.ctx, "DescribeImageOrigin", map[string]any{"repositoryName": name, "reference": ref}, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	rows := [][]string{{"repository", name}, {"digest", out.ImageDigest}, {"tags", strings.Join(out.ImageTags, ", ")}, {"pushed at", out.PushedAt.String()}, {"pushed by", out.PushedBy}}
	for _, k := range slices.Sorted(maps.Keys(out.Claims)) {
		rows = append(rows, []string{"token's " + k, out.Claims[k]})
	}
	return printTable(e.out, rows)
}
