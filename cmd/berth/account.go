package main

import "fmt"

type accountCmd struct {
	Create accountCreateCmd `cmd:"" help:"Make an account and print its root's key."`
	Key    accountKeyCmd    `cmd:"" help:"Make a further key of an account's root and print it."`
	List   accountListCmd   `cmd:"" help:"List the accounts."`
	Close  accountCloseCmd  `cmd:"" help:"End every credential of an account. What it owns stays."`
}

type accountCreateCmd struct {
	remote
	Name   string `arg:"" help:"What the account is called."`
	ID     string `placeholder:"ID" help:"12 digits (default: a new number)."`
	Output string `enum:"shell,json" default:"shell" help:"shell (lines to eval) or json."`
}

func (accountCreateCmd) Help() string {
	return `The keys are shown this once. Only the account that the server was started with can make others.

Example:
  berth account create payments --id 111122223333
  eval "$(berth account create payments)"`
}

// Run makes an account.
func (c *accountCreateCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	in := map[string]any{"name": c.Name}
	if c.ID != "" {
		in["id"] = c.ID
	}
	var out struct {
		Account                      struct{ ID, Name string }
		AccessKeyID, SecretAccessKey string
	}
	reply, err := api.call(e.ctx, "CreateAccount", in, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	return printKeys(e, api, fmt.Sprintf("%s (%s)", out.Account.ID, out.Account.Name), out.AccessKeyID, out.SecretAccessKey)
}

// printKeys prints an account's keys as lines to eval.
func printKeys(e *env, api *client, account, keyID, secretKey string) error {
	_, err := fmt.Fprintf(e.out, "# Account %s. These are its root's keys; they are not shown again.\nunset AWS_SESSION_TOKEN\nexport AWS_ENDPOINT_URL=%s\nexport AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_REGION=%s\n",
		account, api.server.Endpoint, keyID, secretKey, api.server.Region)
	return err
}

type accountKeyCmd struct {
	remote
	ID     string `arg:"" help:"12 digits."`
	Output string `enum:"shell,json" default:"shell" help:"shell (lines to eval) or json."`
}

func (accountKeyCmd) Help() string {
	return `For accounts that berth apply has made, which have no key, and for new keys in place of old ones. A root has two keys at
most; aws iam delete-access-key removes one.

Example:
  eval "$(berth account key 931827427725)"`
}

// Run makes a key.
func (c *accountKeyCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var out struct{ AccessKeyID, SecretAccessKey string }
	reply, err := api.call(e.ctx, "CreateAccountKey", map[string]any{"id": c.ID}, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	return printKeys(e, api, c.ID, out.AccessKeyID, out.SecretAccessKey)
}

type accountListCmd struct {
	remote
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (accountListCmd) Help() string { return "Example:\n  berth account list --output json" }

// Run lists accounts.
func (c *accountListCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var out struct {
		Accounts []struct {
			ID, Name, Alias string
			CreatedAt       unixTime
			ClosedAt        *unixTime
		}
	}
	reply, err := api.call(e.ctx, "ListAccounts", map[string]any{}, &out)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.out, reply)
	}
	rows := [][]string{{"ACCOUNT", "NAME", "ALIAS", "CREATED", "STATE"}}
	for _, a := range out.Accounts {
		state := "open"
		if a.ClosedAt != nil {
			state = "closed " + a.ClosedAt.String()
		}
		rows = append(rows, []string{a.ID, a.Name, a.Alias, a.CreatedAt.String(), state})
	}
	return printTable(e.out, rows)
}

type accountCloseCmd struct {
	remote
	ID string `arg:"" help:"12 digits."`
}

func (accountCloseCmd) Help() string { return "Example:\n  berth account close 111122223333" }

// Run closes an account.
func (c *accountCloseCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if _, err := api.call(e.ctx, "CloseAccount", map[string]any{"id": c.ID}, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "Account %s is closed: its keys and sessions do not work any more.\n", c.ID)
	return err
}
