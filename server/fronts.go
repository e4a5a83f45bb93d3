package server

import (
	"context"

	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/aws/controlapi"
	"github.com/berth-registry/berth/aws/ecrapi"
	"github.com/berth-registry/berth/aws/eventsapi"
	"github.com/berth-registry/berth/aws/iamapi"
	"github.com/berth-registry/berth/aws/lambdaapi"
	"github.com/berth-registry/berth/aws/logsapi"
	"github.com/berth-registry/berth/aws/stsapi"
	"github.com/berth-registry/berth/aws/trailapi"
	"github.com/berth-registry/berth/berthapi"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/mapping/runner"
	"github.com/berth-registry/berth/console"
	"github.com/berth-registry/berth/function"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/oci"
	"github.com/berth-registry/berth/portapi"
	"github.com/berth-registry/berth/requests"
	"github.com/berth-registry/berth/secret"
)

// fronts joins the planes with the front ends.
func (s *Server) fronts(master *secret.Master) error {
	a := auditor{s.trail, s.log}
	g := gate.New(s.identity, a)
	f := newFailures()
	s.oci = oci.New(s.registry, s.identity, g, s.hosts, f, s.log)
	refused := func(address string) bool {
		_, tooMany := f.Failed(address, "web identity")
		return tooMany
	}
	warn := func(_ context.Context, role, text string) {
		s.log.Warn("a trust policy is wider than it looks", "role", role, "warning", text)
	}
	s.port = portapi.New(s.catalog, s.identity, g, f, master, s.log)
	repositories := ecrapi.New(s.registry, s.identity, g, s.hosts)
	services := map[string]*awsproto.Service{
		ecrapi.SigningName:     repositories.Handler(),
		controlapi.SigningName: controlapi.New(repositories, requests.New(s.db, master, nil), g).Handler(),
		iamapi.SigningName:     iamapi.New(s.identity, g, warn).Handler(),
		stsapi.SigningName:     stsapi.New(s.identity, g, refused).Handler(),
		berthapi.SigningName:   berthapi.New(s.identity, s.registry, s.trail, history{s}, s.ledger, s.port, g, s.cfg.Account).Handler(),
		trailapi.SigningName:   trailapi.New(s.trail, g).Handler(),
		eventsapi.SigningName:  eventsapi.New(s.bus, g).Handler(),
		lambdaapi.SigningName:  lambdaapi.New(s.functions, g, function.DefaultConcurrency).Handler(),
		logsapi.SigningName:    logsapi.New(s.logs, g).Handler(),
	}
	s.aws = newAWSFront(s.identity, services, a, f, s.log)
	o := console.Options{API: consoleAPI{services, s.port}, Host: consoleHost{s, make(chan struct{}, triesMost)}, Identity: s.identity, Failures: f, Master: master, Log: s.log}
	if s.cfg.SSO != nil {
		var err error
		if o.OIDC, err = s.cfg.SSO.client(); err != nil {
			return err
		}
	}
	s.console = console.New(o)
	return nil
}

// openCatalog opens the catalog and what brings the registry into it.
func (s *Server) openCatalog(master *secret.Master) error {
	var err error
	if s.ingest, err = newIngester(s); err != nil {
		return err
	}
	s.calc = &calculator{program: s.ingest.program, runners: map[string]*runner.Runner{}}
	s.catalog = catalog.New(s.db, master, catalog.Options{Calculator: s.calc, Retention: s.cfg.Retention, Log: s.log})
	return nil
}
