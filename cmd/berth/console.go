package main

import (
	"encoding/json"
	"fmt"
	"net/url"
)

type consoleCmd struct {
	remote
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

func (consoleCmd) Help() string {
	return `Examples:
  berth console
  open "$(berth console --output json | jq -r .url)"

The link signs one browser in as you, within ten minutes: with the keys of the environment, else as the root of --data.`
}

// Run asks for a link and prints it.
func (c *consoleCmd) Run(e *env) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var out struct{ ConsoleCode string }
	if _, err := api.call(e.ctx, "CreateConsoleLink", map[string]any{}, &out); err != nil {
		return err
	}
	link := api.server.Endpoint + "/signin/link?" + url.Values{"code": {out.ConsoleCode}}.Encode()
	if c.Output == "json" {
		return json.NewEncoder(e.out).Encode(map[string]string{"url": link})
	}
	_, err = fmt.Fprintf(e.out, "%s\n\nThe link is good for one browser and ten minutes.\n", link)
	return err
}
