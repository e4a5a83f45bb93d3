// Package server joins the planes into one process: it opens storage, builds each
// core and front end with what it needs, and serves them on one listener. It is
// the only package that imports all of them, and holds no rule of its own.
package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/blob/fsblob"
	"github.com/berth-registry/berth/blob/keyring"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/console"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/function"
	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/identity/webtoken"
	"github.com/berth-registry/berth/internal/egress"
	"github.com/berth-registry/berth/internal/vfs"
	"github.com/berth-registry/berth/ledger"
	"github.com/berth-registry/berth/logs"
	"github.com/berth-registry/berth/oci"
	"github.com/berth-registry/berth/portapi"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/requests"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/trail"
)

const (
	// stopTime is how long running requests may take to end at a stop.
	stopTime = 10 * time.Second
	// filesAhead is how many blob files are kept ready.
	filesAhead = 32
)

// Server is a whole Berth. New opens it, Run serves until its context ends, Close
// lets go of storage.
type Server struct {
	cfg              Config
	log              *slog.Logger
	lock             *os.File
	db               *sqldb.DB
	root             *vfs.OS
	store            blob.Store
	registry         *registry.Registry
	identity         *identity.Identity
	trail            *trail.Trail
	outbox           *event.Outbox
	logs             *logs.Logs
	ledger           *ledger.Ledger
	catalog          *catalog.Catalog
	ingest           *ingester
	calc             *calculator
	port             *portapi.Service
	console          *console.Console
	functions        *function.Functions
	bus              *bus.Bus
	box              *worker.Box
	holds            *holds
	functionListener net.Listener // what functions reach
	hosts            *hosts
	oci              *oci.Handler
	aws              *awsFront
	metrics          *metrics
	access           *accessLog
	listener         net.Listener
	tls              *tls.Config
	stopping         atomic.Bool
}

// New opens a server: it takes the data directory, migrates the database, makes
// the account on first start, and listens, so that the address is known. access
// receives the access log; nil keeps none.
func New(ctx context.Context, cfg Config, log *slog.Logger, access io.Writer) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	log = slog.New(quiet{log.Handler()})
	s := &Server{cfg: cfg, log: log, metrics: newMetrics(), access: newAccessLog(access)}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	if err := s.takeData(); err != nil {
		return err
	}
	keyFile := s.cfg.MasterKey
	if keyFile == "" {
		keyFile = filepath.Join(s.cfg.Data, "master.key")
	}
	master, err := secret.LoadOrCreate(keyFile)
	if err != nil {
		return err
	}
	if err := s.openStorage(ctx); err != nil {
		return err
	}
	ring, err := keyring.New(master, s.cfg.KMSKeys)
	if err != nil {
		return err
	}
	s.outbox = &event.Outbox{}
	s.trail = trail.New(s.db, master, trail.Options{Who: func(ctx context.Context, p arn.Principal) trail.Who { return who(ctx, s.identity, p) },
		Denied: func(ctx context.Context, c gate.Call, d *gate.Denied) error {
			return s.identity.RecordDenial(ctx, c, d)
		},
		Manifest: s.manifest, Additional: s.additional, Events: s.outbox, Retention: s.cfg.Retention, Log: s.log})
	s.holds = newHolds()
	if err := s.openCatalog(master); err != nil {
		return err
	}
	s.registry = registry.New(s.db, blob.New(s.store, blob.Options{Keys: ring}), master, registry.Options{Keys: ring, Missing: s.missing, Origin: s.origin,
		Events: s.outbox, Watcher: s.ingest, Log: s.log})
	keys, trusted, err := s.cfg.issuers()
	if err != nil {
		return err
	}
	s.identity = identity.New(s.db, master, identity.Options{Guards: guards{s}, Log: s.log,
		Keys: webtoken.NewKeySets(egress.New(egress.Options{Trusted: trusted}), keys, nil)})
	s.ledger = ledger.New(s.db, master, nil)
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := s.openEvents(ctx, master); err != nil {
		return err
	}
	return s.fronts(master)
}

// manifest finds a manifest that a record refers to.
func (s *Server) manifest(ctx context.Context, p arn.Place, repository, digest string) (string, error) {
	ref, ok := registry.ParseReference(digest)
	if !ok {
		return "", fmt.Errorf("%q is no digest", digest)
	}
	image, err := s.registry.Image(ctx, p, repository, ref)
	if err != nil {
		return "", err
	}
	return string(image.Body), nil
}

func (s *Server) openStorage(ctx context.Context) error {
	address := s.cfg.DB
	if address == "" {
		address = filepath.Join(s.cfg.Data, "berth.db")
		if err := refuseLostDatabase(address, s.cfg.Data); err != nil {
			return err
		}
	}
	var err error
	if s.db, err = sqldb.Open(ctx, address, s.log); err != nil {
		return err
	}
	s.metrics.watchDB(s.db)
	if err := s.db.MigrateAll(ctx, planes()); err != nil {
		return err
	}
	if s.root, err = vfs.OpenOS(s.cfg.Data); err != nil {
		return err
	}
	s.store, err = fsblob.Open(s.root, fsblob.Options{Ahead: filesAhead, Room: room(s.cfg.Data)})
	return err
}

// planes are the schemas of all that keeps something.
func planes() map[string]fs.FS {
	return map[string]fs.FS{"identity": identity.Migrations(), "registry": registry.Migrations(), "trail": trail.Migrations(),
		"event": event.Migrations(), "bus": bus.Migrations(), "function": function.Migrations(), "logs": logs.Migrations(),
		"ledger": ledger.Migrations(), "catalog": catalog.Migrations(), "requests": requests.Migrations()}
}

// refuseLostDatabase keeps a server from starting empty over blobs whose database
// has gone.
func refuseLostDatabase(file, data string) error {
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, "blobs")); err == nil {
		return fmt.Errorf("%s is missing, but %s holds blobs: restore the database from a backup, or start with another --data", file, filepath.Join(data, "blobs"))
	}
	return nil
}

// bootstrap makes the account and its credentials file on first start.
func (s *Server) bootstrap(ctx context.Context) error {
	file := credentialsFile(s.cfg.Data)
	offered, err := ReadCredentials(s.cfg.Data)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	have := err == nil
	c, err := s.identity.EnsureAccount(ctx, s.cfg.Account, "default", offered)
	if err != nil {
		return fmt.Errorf("make account %s: %w", s.cfg.Account, err)
	}
	if have {
		if offered.AccessKeyID != c.AccessKeyID {
			s.log.Warn("the credentials file belongs to another account or was replaced; its key may not work here", "file", file, "account", s.cfg.Account)
		}
		return nil
	}
	return writeCredentials(file, c, s.cfg.Region)
}

func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	var err error
	if s.listener, err = lc.Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	if s.hosts, err = newHosts(&s.cfg, s.listener.Addr().String()); err != nil {
		return err
	}
	switch {
	case s.cfg.TLSAuto:
		a, err := openAuthority(s.cfg.Data, s.hosts.certificateNames())
		if err != nil {
			return err
		}
		s.tls = tlsConfig(a.get)
	case s.cfg.TLSCert != "":
		f, err := newFileCertificate(s.cfg.TLSCert, s.cfg.TLSKey, func(err error) { s.log.Warn("keeping the old certificate", "error", err) })
		if err != nil {
			return err
		}
		s.tls = tlsConfig(f.get)
	}
	return nil
}

// Endpoint is the address for AWS clients, with scheme.
func (s *Server) Endpoint() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if s.tls != nil {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// RegistryHost is the host[:port] of the home registry, as image references have
// it.
func (s *Server) RegistryHost() string {
	host, _ := s.hosts.Registry(context.Background(), s.hosts.home)
	return host
}

// Handler is everything the first listener serves.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.wrap) }

// Ready reports whether requests would succeed.
func (s *Server) Ready(ctx context.Context) error {
	if s.stopping.Load() {
		return errors.New("the server is stopping")
	}
	return s.db.Ping(ctx)
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second, MaxHeaderBytes: 64 << 10,
		TLSConfig: s.tls, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 250}}
}

// Run serves until ctx ends, then stops: no new requests, those that run may end,
// nothing acknowledged is lost.
func (s *Server) Run(ctx context.Context) error {
	main := s.httpServer(s.Handler())
	main.RegisterOnShutdown(s.console.CloseStreams)
	servers := []*http.Server{main}
	failed := make(chan error, 2)
	serve := func(srv *http.Server, l net.Listener, secure bool) {
		var err error
		if secure {
			err = srv.ServeTLS(l, "", "")
		} else {
			err = srv.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}
	if s.cfg.Admin != "" {
		l, err := net.Listen("tcp", s.cfg.Admin)
		if err != nil {
			return fmt.Errorf("listen on %s for metrics: %w", s.cfg.Admin, err)
		}
		admin := &http.Server{Handler: s.admin(), ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, admin)
		go serve(admin, l, false)
	}
	go serve(main, s.listener, s.tls != nil)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { s.registry.Run(background) })
	work.Go(func() { s.identity.Run(background) })
	for _, run := range []func(context.Context){s.bus.Run, s.functions.Run, s.logs.Run, s.catalog.Run, s.ingest.run} {
		work.Go(func() { run(background) })
	}
	trailing, stopTrail := context.WithCancel(context.WithoutCancel(ctx))
	var last sync.WaitGroup
	last.Go(func() { s.trail.Run(trailing) })
	servers = append(servers, s.serveFunctions())
	work.Go(func() { s.flushLogs(background) })
	work.Go(func() { s.settle(background) })
	if s.cfg.ConfigDir != "" {
		work.Go(func() { newKeeper(s).run(background) })
	}
	if err := s.writeRuntime(); err != nil {
		s.log.Warn("the runtime file cannot be written; berth env will not find this server", "error", err)
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.stopping.Store(true)
	deadline, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	for _, srv := range servers {
		if serr := srv.Shutdown(deadline); serr != nil {
			s.log.Warn("some requests did not end in time", "error", serr)
			_ = srv.Close()
		}
	}
	stop()
	work.Wait()
	stopTrail() // after all that may still be recorded
	last.Wait()
	s.access.flush()
	return err
}

func (s *Server) flushLogs(ctx context.Context) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.access.flush()
		case <-ctx.Done():
			return
		}
	}
}

// Close lets go of everything. It may be called on a server that did not open.
func (s *Server) Close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.box != nil {
		errs = append(errs, s.box.Close(), os.Remove(filepath.Join(s.cfg.Data, "functions.path")))
	}
	if s.calc != nil {
		s.ingest.close()
		s.calc.close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.root != nil {
		errs = append(errs, s.root.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Runtime describes a running server to the commands beside it.
type Runtime struct {
	PID      int    `json:"pid"`
	Version  string `json:"version"`
	Endpoint string `json:"endpoint"`
	Registry string `json:"registry"`
	Region   string `json:"region"`
	Account  string `json:"account"`
	CA       string `json:"ca,omitempty"` // file, with --tls auto
}

func runtimeFile(data string) string { return filepath.Join(data, "server.json") }

func (s *Server) writeRuntime() error {
	r := Runtime{PID: os.Getpid(), Version: s.cfg.Version, Endpoint: s.Endpoint(), Registry: s.RegistryHost(), Region: string(s.cfg.Region),
		Account: string(s.cfg.Account)}
	if s.cfg.TLSAuto {
		ca, err := filepath.Abs(caFile(s.cfg.Data))
		if err != nil {
			return err
		}
		r.CA = ca
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp := runtimeFile(s.cfg.Data) + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, runtimeFile(s.cfg.Data))
}

// ReadRuntime reads what the server of a data directory wrote about itself.
func ReadRuntime(data string) (*Runtime, error) {
	b, err := os.ReadFile(runtimeFile(data))
	if err != nil {
		return nil, err
	}
	var r Runtime
	return &r, json.Unmarshal(b, &r)
}

func credentialsFile(data string) string { return filepath.Join(data, "credentials") }

func writeCredentials(file string, c identity.Credentials, region any) error {
	text := fmt.Sprintf("# The root keys of this Berth. Whoever holds them may do everything.\n[default]\naws_access_key_id = %s\naws_secret_access_key = %s\nregion = %s\n",
		c.AccessKeyID, c.Secret.Reveal(), region)
	if err := secret.WriteFile(file, []byte(text)); err != nil {
		return fmt.Errorf("write the root credentials: %w", err)
	}
	return nil
}

// ReadCredentials reads the root keys of a data directory.
func ReadCredentials(data string) (*identity.Credentials, error) {
	b, err := os.ReadFile(credentialsFile(data))
	if err != nil {
		return nil, err
	}
	c := &identity.Credentials{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, "=")
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "aws_access_key_id":
			c.AccessKeyID = v
		case "aws_secret_access_key":
			c.Secret = secret.String(v)
		}
	}
	if c.AccessKeyID == "" || c.Secret == "" {
		return nil, fmt.Errorf("%s holds no access key", credentialsFile(data))
	}
	return c, nil
}
