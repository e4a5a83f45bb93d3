package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/internal/latecollect"
	"github.com/berth-registry/berth/server"
)

type serveCmd struct {
	Listen         string        `default:"127.0.0.1:5100" placeholder:"HOST:PORT" help:"Where to listen (${default}). Use 0.0.0.0:5100 to let other machines in."`
	Admin          string        `default:"127.0.0.1:5101" placeholder:"HOST:PORT" help:"Where to serve metrics, health and profiles (${default}); none to switch off."`
	Data           string        `default:"./berth-data" type:"path" placeholder:"DIR" help:"Directory that holds everything (${default})."`
	DB             string        `name:"db" placeholder:"URL" help:"PostgreSQL database (postgres://user@host/name) in place of SQLite in the data directory."`
	MasterKey      string        `type:"path" placeholder:"FILE" help:"File with the key that seals secrets, made on first start (default: master.key in the data directory). Servers on one database share it."`
	Account        string        `default:"000000000000" placeholder:"ID" help:"Account made at first start, 12 digits (${default})."`
	Region         string        `default:"us-east-1" placeholder:"NAME" help:"Region of requests that name none (${default})."`
	Advertise      string        `placeholder:"HOST[:PORT]" help:"Name under which clients reach this server, if it is not the listen address."`
	Domain         []string      `placeholder:"NAME" help:"Serve ACCOUNT.dkr.ecr.REGION.NAME as registry hosts; the first is the one that replies show."`
	HostAlias      []string      `placeholder:"HOST[:PORT]=ACCOUNT/REGION" help:"Serve a registry under a host of its own. Repeatable."`
	TLS            string        `name:"tls" enum:"off,auto" default:"off" help:"auto makes a local CA at first start and keeps a certificate of it current."`
	TLSCert        string        `name:"tls-cert" type:"path" placeholder:"FILE" help:"Certificate chain, PEM; reloaded when it changes."`
	TLSKey         string        `name:"tls-key" type:"path" placeholder:"FILE" help:"Key of the certificate, PEM."`
	KMSKey         []string      `name:"kms-key" placeholder:"ARN" help:"Further keys for repositories with encryption type KMS. Repeatable."`
	OIDCJWKS       []string      `name:"oidc-jwks" sep:"none" placeholder:"ISSUER=FILE|URL" help:"Where the keys of an identity provider are, for those that cannot be reached under their own address. Repeatable."`
	Functions      string        `enum:"on,unsandboxed,off" default:"on" help:"How Lambda functions run: on is in a sandbox (bubblewrap), unsandboxed without, off not at all."`
	HoldTime       time.Duration `default:"10s" help:"How long a push waits for a function to create its repository (${default})."`
	WebhookHost    []string      `sep:"none" placeholder:"HOST:PORT" help:"A receiver of events that is not on the public internet, or speaks plain HTTP. Repeatable."`
	TrailRetention time.Duration `default:"2160h" help:"How long records of API calls are kept (${default})."`
	ConfigDir      string        `type:"path" placeholder:"DIR" help:"Files that declare repositories, as berth apply reads them; the server keeps them true."`
	ConfigInterval time.Duration `default:"30s" help:"How often it looks whether they are (${default}); changes of the files count within seconds."`
	SSOIssuer      string        `name:"sso-issuer" placeholder:"URL" help:"OpenID Connect provider that signs people in to the console."`
	SSOClientID    string        `name:"sso-client-id" placeholder:"ID" help:"What the provider calls the console."`
	SSOSecretFile  string        `name:"sso-client-secret-file" type:"path" placeholder:"FILE" help:"File with the client's secret, for providers that want one."`
	SSORole        string        `name:"sso-role" placeholder:"ARN" help:"The role that those who sign in act as; its trust policy decides who may."`
	SSOName        string        `name:"sso-name" placeholder:"TEXT" help:"What the button says (default: the provider's host)."`
	SSOSession     time.Duration `name:"sso-session" placeholder:"TIME" help:"How long such a session lasts (default: an hour), within the role's limit."`
	LogLevel       string        `enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error."`
	AccessLog      string        `default:"-" placeholder:"FILE" help:"Where the access log goes: - for standard error, off, or a file."`
}

func (serveCmd) Help() string {
	return `Examples:
  berth serve
  berth serve --listen 0.0.0.0:5100 --advertise registry.example.com:5100 --tls auto
  berth serve --config-dir /etc/berth/declared
  berth serve --db postgres://berth@db.internal/berth --data /var/lib/berth

The root keys are in DATA/credentials, made at first start. SIGTERM stops the server after running requests.`
}

// Run serves until a signal.
func (c *serveCmd) Run(e *env) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(e.errOut, &slog.HandlerOptions{Level: level}))
	access, closeAccess, err := c.accessLog(e)
	if err != nil {
		return err
	}
	defer closeAccess()
	limitMemory()
	cfg := server.Config{Listen: c.Listen, Admin: c.Admin, Data: c.Data, DB: c.DB, MasterKey: c.MasterKey, Account: arn.Account(c.Account),
		Region: arn.Region(c.Region), Advertise: c.Advertise, Domains: c.Domain, Aliases: c.HostAlias, TLSCert: c.TLSCert, TLSKey: c.TLSKey,
		TLSAuto: c.TLS == "auto", KMSKeys: c.KMSKey, OIDCKeys: c.OIDCJWKS, Functions: c.Functions, WebhookHosts: c.WebhookHost, HoldTime: c.HoldTime, Retention: c.TrailRetention, ConfigDir: c.ConfigDir, ConfigInterval: c.ConfigInterval, Version: versionText()}
	if c.SSOIssuer != "" {
		cfg.SSO = &server.SSO{Name: c.SSOName, Issuer: c.SSOIssuer, ClientID: c.SSOClientID, SecretFile: c.SSOSecretFile, Role: c.SSORole, Session: c.SSOSession}
	}
	if c.Admin == "none" {
		cfg.Admin = ""
	}
	s, err := server.New(e.ctx, cfg, log, access)
	latecollect.Begin() // not before: what a start makes is little, and most of it stays
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "berth %s is ready at %s (registry %s). Next: eval \"$(berth env --data %s)\"\n", versionText(), s.Endpoint(), s.RegistryHost(), c.Data)
	err = s.Run(e.ctx)
	return errors.Join(err, s.Close())
}

func (c *serveCmd) accessLog(e *env) (io.Writer, func(), error) {
	switch c.AccessLog {
	case "-":
		return e.errOut, func() {}, nil
	case "off":
		return nil, func() {}, nil
	}
	f, err := os.OpenFile(c.AccessLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("access log: %w", err)
	}
	return f, func() { f.Close() }, nil
}

// limitMemory tells the Go runtime how much memory its cgroup grants, unless
// GOMEMLIMIT says it already.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && n < 1<<50 {
			debug.SetMemoryLimit(n / 10 * 9)
		}
		return
	}
}
