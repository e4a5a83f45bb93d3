package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/declare"
	declared "github.com/berth-registry/berth/declare/config"
	"github.com/berth-registry/berth/declare/entry"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/ledger"
)

// keeper keeps true what the files of a directory declare: it applies them when they
// change, and mends what was changed behind their back. It deletes no repositories and
// takes nothing from a file that is not its own.
type keeper struct {
	s       *Server
	log     *slog.Logger
	dir     string
	every   time.Duration
	backend *declare.Backend
	mu      sync.Mutex
	keys    map[arn.Account]identity.Credentials
	told    map[string]bool // problems that stand in the log already
	once    map[string]bool // problems that were there the last time
	waits   int             // how often some were not told yet, since they may pass
}

const (
	keepEvery = 30 * time.Second
	// filesEvery is how often the files are looked at for changes.
	filesEvery = time.Second
	// keeperSession is how long the credentials last with which an account's
	// repositories are kept, and keeperMargin when they are made anew.
	keeperSession = time.Hour
	keeperMargin  = 10 * time.Minute
	keeperAgent   = "berth-config-dir"
	// maxWaits is for how many looks a problem that is another each time is not told.
	maxWaits = 3
)

func newKeeper(s *Server) *keeper {
	k := &keeper{s: s, log: s.log.With("directory", s.cfg.ConfigDir), dir: s.cfg.ConfigDir, every: cmp.Or(s.cfg.ConfigInterval, keepEvery),
		keys: map[arn.Account]identity.Credentials{}, told: map[string]bool{}}
	k.backend = &declare.Backend{Connect: k.connect, Ledger: keeperLedger{s.ledger}, Accounts: keeperAccounts{s.identity}}
	return k
}

func (k *keeper) run(ctx context.Context) {
	t := time.NewTicker(filesEvery)
	defer t.Stop()
	var last time.Time
	seen, before := uint64(0), k.fingerprint()
	for {
		now := k.fingerprint()
		due := now != seen || time.Since(last) >= k.every || k.waits > 0
		if due && now == before { // files that are being written are left alone
			k.keep(ctx)
			last, seen = time.Now(), now
		}
		before = now
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// fingerprint changes when a file does.
func (k *keeper) fingerprint() uint64 {
	h := fnv.New64a()
	err := filepath.WalkDir(k.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != k.dir && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if info, err := os.Stat(p); err == nil && !d.IsDir() {
			fmt.Fprintf(h, "%s %d %d\n", p, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	fmt.Fprint(h, err)
	return h.Sum64()
}

// keep makes what the files declare true, as far as they can be read. One that cannot,
// or that wants what another has, does not stop the others.
func (k *keeper) keep(ctx context.Context) {
	problems := map[string]bool{}
	files, err := declared.Load([]string{k.dir}, declared.Options{})
	for files = without(files, err, problems); len(files) > 0; {
		err := k.make(ctx, files)
		left := without(files, err, problems)
		if err == nil || len(left) == len(files) {
			break
		}
		files = left
	}
	if ctx.Err() == nil {
		k.tell(problems)
	}
}

// make plans and applies files. When that fails for a reason that is of no file, such as
// an account that is closed, each is tried alone.
func (k *keeper) make(ctx context.Context, files []*declared.File) error {
	p, err := k.backend.Make(ctx, files, declare.Options{DefaultAccount: k.s.cfg.Account, DefaultRegion: k.s.cfg.Region})
	if err == nil {
		err = k.apply(ctx, p)
	}
	var list declared.Problems
	if err == nil || errors.As(err, &list) || len(files) == 1 {
		return err
	}
	var errs []error
	for _, f := range files {
		if err := k.make(ctx, []*declared.File{f}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Path, err))
		}
	}
	return errors.Join(errs...)
}

// without leaves out the files that have problems, and notes what is wrong.
func without(files []*declared.File, err error, problems map[string]bool) []*declared.File {
	var list declared.Problems
	if err != nil && !errors.As(err, &list) {
		problems[err.Error()] = true
	}
	bad := map[string]bool{}
	for _, p := range list {
		bad[p.File], problems[p.Error()] = true, true
	}
	return slices.DeleteFunc(slices.Clone(files), func(f *declared.File) bool { return bad[f.Path] })
}

// tell logs the problems that are new and do not pass by themselves, as those do that
// come of another node that does the same; and counts them all.
func (k *keeper) tell(seen map[string]bool) {
	problems, fresh := map[string]bool{}, false
	for p := range seen {
		if !k.once[p] && k.waits < maxWaits { // looked at again soon
			fresh = true
			continue
		}
		if problems[p] = true; !k.told[p] {
			k.log.Error("what is declared cannot be kept", "problem", p)
		}
	}
	k.once = seen
	if k.waits++; !fresh {
		k.waits = 0
	}
	for p := range k.told {
		if !problems[p] {
			k.log.Info("a problem of what is declared is gone", "problem", p)
		}
	}
	k.told = problems
	k.s.metrics.problems.Set(float64(len(problems)))
}

func (k *keeper) apply(ctx context.Context, p *declare.Plan) error {
	for _, c := range p.Changes {
		if !c.Drift {
			continue
		}
		k.s.metrics.drift.Inc()
		var fields []string
		for _, f := range c.Fields {
			if f.Drift {
				fields = append(fields, f.Field)
			}
		}
		k.log.Warn("what is declared was changed outside the files", "kind", c.Kind, "name", c.Name, "account", c.Account, "region", c.Region, "source", c.Source,
			"fields", strings.Join(fields, ", "), "deleted", c.Action == declare.Create)
	}
	err := k.backend.Apply(ctx, p)
	if !p.Empty() && err == nil {
		k.log.Info("applied what is declared", "created", p.Count(declare.Create), "changed", p.Count(declare.Update), "deleted", p.Count(declare.Delete))
	}
	return err
}

// connect makes clients that reach this server without a network.
func (k *keeper) connect(ctx context.Context, p arn.Place) (declare.Clients, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.keys[p.Account]
	if !ok || time.Until(c.Expires) < keeperMargin {
		var err error
		if c, err = k.s.identity.AccountSession(ctx, p.Account, keeperSession); err != nil {
			return declare.Clients{}, err
		}
		k.keys[p.Account] = c
	}
	cfg := aws.Config{Region: cmp.Or(string(p.Region), string(k.s.cfg.Region)), BaseEndpoint: aws.String("http://" + k.s.RegistryHost()), HTTPClient: within{k.s.Handler()},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.Secret.Reveal(), c.SessionToken)}
	return declare.Clients{ECR: ecr.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg)}, nil
}

// within is an HTTP client of a handler in the same process.
type within struct{ http.Handler }

// Do implements aws.HTTPClient.
func (w within) Do(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), cmp.Or(r.Host, r.URL.Host)
	in.Header.Set("User-Agent", keeperAgent)
	if in.Body == nil {
		in.Body = http.NoBody
	}
	out := &answer{header: http.Header{}, status: http.StatusOK}
	w.ServeHTTP(out, in)
	return &http.Response{StatusCode: out.status, Status: http.StatusText(out.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out.header,
		Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()), Request: r}, nil
}

// answer is a response that is kept.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// keeperAccounts are the accounts as package declare wants them.
type keeperAccounts struct{ id *identity.Identity }

func (a keeperAccounts) List(ctx context.Context) ([]arn.Account, error) {
	list, err := a.id.Accounts(ctx)
	var out []arn.Account
	for _, one := range list {
		out = append(out, one.ID)
	}
	return out, err
}

func (a keeperAccounts) Create(ctx context.Context, id arn.Account, name string) error {
	_, err := a.id.CreateAccountWithoutKey(ctx, id, name)
	if identity.CodeOf(err) == identity.EntityAlreadyExists { // another node was faster
		return nil
	}
	return err
}

// keeperLedger is the ledger as package declare wants it.
type keeperLedger struct{ *ledger.Ledger }

func (l keeperLedger) List(ctx context.Context, p arn.Place) ([]entry.Entry, error) {
	var all []entry.Entry
	for token := ""; ; {
		list, next, err := l.Ledger.List(ctx, p, "", token, ledger.MaxEntries)
		if err != nil {
			return nil, err
		}
		if all, token = append(all, list...), next; token == "" {
			return all, nil
		}
	}
}

func (l keeperLedger) Put(ctx context.Context, p arn.Place, _ string, entries []entry.Entry, from []string) error {
	return l.Ledger.Put(ctx, p, entries, from...)
}
