package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/ecrapi"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/sqldb"
)

// BenchmarkDepth measures what calls cost in small and in large registries. At a size of n
// there are a repository with n images and n tags, n repositories, 10n layers, and 100n
// records of calls; of images and repositories a twentieth less, since 100,000 are the limit. It runs once, and "go run ./bench -depth" draws what it prints:
//
//	go test ./server -run xxx -bench Depth -benchtime 1x -timeout 60m
//
// BERTH_DEPTH lists other sizes than 1000 10000 100000.
func BenchmarkDepth(b *testing.B) {
	sizes := []int{1000, 10_000, 100_000}
	if text := os.Getenv("BERTH_DEPTH"); text != "" {
		sizes = nil
		for _, f := range bytes.Fields([]byte(text)) {
			n, err := strconv.Atoi(string(f))
			if err != nil {
				b.Fatal(err)
			}
			sizes = append(sizes, n)
		}
	}
	d := &depth{b: b, cfg: Config{Listen: "127.0.0.1:0", Data: filepath.Join(b.TempDir(), "data"), Account: homeAccount, Region: "us-east-1", Retention: 365 * 24 * time.Hour},
		here: arn.Place{Account: homeAccount, Region: "us-east-1"}, config: []byte(`{"architecture":"amd64","os":"linux"}`)}
	d.open()
	defer func() { d.s.Close() }()
	for _, n := range sizes {
		d.grow(n)
		d.size = n
		d.measure()
	}
}

type depth struct {
	b      *testing.B
	cfg    Config
	s      *Server
	here   arn.Place
	config []byte
	token  string
	keys   aws.Credentials
	web    *httptest.Server
	repo   int64 // of the layers
	size   int   // how far it has grown
	round  int
}

func (d *depth) must(err error) {
	d.b.Helper()
	if err != nil {
		d.b.Fatal(err)
	}
}

func (d *depth) open() {
	var err error
	began := time.Now()
	d.s, err = New(d.b.Context(), d.cfg, slog.New(slog.DiscardHandler), io.Discard)
	d.must(err)
	if d.size > 0 {
		d.tell("restart", float64(time.Since(began).Microseconds()))
	}
	d.web = httptest.NewServer(d.s.Handler())
	cred, err := ReadCredentials(d.cfg.Data)
	d.must(err)
	d.keys = aws.Credentials{AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.Secret.Reveal()}
	var out struct {
		AuthorizationData []struct{ AuthorizationToken string }
	}
	d.must(d.call("GetAuthorizationToken", map[string]any{}, &out))
	d.token = out.AuthorizationData[0].AuthorizationToken
}

// call makes a call of ECR's API.
func (d *depth) call(operation string, in map[string]any, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(d.b.Context(), http.MethodPost, d.web.URL+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", ecrapi.Target+"."+operation)
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(d.b.Context(), d.keys, r, hex.EncodeToString(sum[:]), "ecr", "us-east-1", time.Now()); err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", operation, res.Status, b)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

// tell prints a figure: microseconds, or bytes.
func (d *depth) tell(what string, v float64) { fmt.Printf("depth\t%d\t%s\t%.1f\n", d.size, what, v) }

func (d *depth) manifest(n int) []byte {
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []any{},
		"config":      map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": fmt.Sprintf("sha256:%x", sha256.Sum256(d.config)), "size": len(d.config)},
		"annotations": map[string]string{"n": strconv.Itoa(n)}})
	d.must(err)
	return b
}

// each runs fn for the numbers from what there is up to n, by many at once.
func (d *depth) each(n int, fn func(i int) error) {
	from, to := d.size-d.size/20, n-n/20
	next, failed := make(chan int), make(chan error, 1)
	var work sync.WaitGroup
	for range 32 {
		work.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for i := from; i < to; i++ {
		next <- i
	}
	close(next)
	work.Wait()
	select {
	case err := <-failed:
		d.b.Fatal(err)
	default:
	}
}

// grow fills the registry up to a size.
func (d *depth) grow(n int) {
	ctx, r := d.b.Context(), d.s.registry
	if d.size == 0 {
		for _, name := range []string{"deep/app", "deep/blobs"} {
			repo, err := r.CreateRepository(ctx, registry.NewRepository{Place: d.here, Name: name})
			d.must(err)
			d.repo = repo.ID
		}
		d.layer("deep/app", d.config)
	}
	before := d.disk()
	d.each(n, func(i int) error {
		_, err := r.PutImage(ctx, registry.NewImage{Place: d.here, Repository: "deep/app", Tag: fmt.Sprintf("t%06d", i), Body: d.manifest(i), Principal: arn.Root(homeAccount)})
		return err
	})
	fmt.Printf("depth\t%d\tdisk of an image with its tag\t%.1f\n", n, float64(d.disk()-before)/float64((n-d.size)*19/20))
	first := d.manifest(0)
	if d.size == 0 { // up to 1,000 tags an image
		before = d.disk()
		d.each(900, func(i int) error {
			_, err := r.PutImage(ctx, registry.NewImage{Place: d.here, Repository: "deep/app", Tag: fmt.Sprintf("more%06d", i), Body: first, Principal: arn.Root(homeAccount)})
			return err
		})
		fmt.Printf("depth\t%d\tdisk of a further tag\t%.1f\n", n, float64(d.disk()-before)/(900*19/20))
	}
	d.each(n, func(i int) error {
		_, err := r.CreateRepository(ctx, registry.NewRepository{Place: d.here, Name: fmt.Sprintf("many/r%06d", i)})
		return err
	})
	d.layers(10*d.size, 10*n)
	d.records(100 * (n - d.size))
	d.must(d.s.trail.Seal(ctx))
	syscall.Sync() // what was filled in is not to be written out while calls are timed
}

// layers adds small layers, as rows.
func (d *depth) layers(from, to int) {
	const batch = 1000
	for ; from < to; from += batch {
		d.must(d.s.db.WriteRelaxed(d.b.Context(), func(tx *sqldb.Tx) error {
			for i := from; i < min(from+batch, to); i++ {
				digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(strconv.Itoa(i))))
				if _, err := tx.Exec(`insert into blobs (digest, encryption, size, stored_size, store_key, created_at, touched_at, leased_until, inline_bytes)
					values ($1, '', $2, $2, '', 1, 1, 1, $3)`, digest, len(strconv.Itoa(i)), []byte(strconv.Itoa(i))); err != nil {
					return err
				}
				if _, err := tx.Exec("insert into layers (account, region, repo, digest, size, linked_at) values ($1, $2, $3, $4, $5, 1)",
					d.here.Account, d.here.Region, d.repo, digest, len(strconv.Itoa(i))); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// records adds records of reads.
func (d *depth) records(n int) {
	ctx := gate.WithCaller(d.b.Context(), gate.Caller{Principal: arn.Root(homeAccount), RequestID: "depth", SourceIP: "10.0.0.1", UserAgent: "docker/28"})
	for i := range n {
		d.s.trail.Record(ctx, gate.Call{Principal: arn.Root(homeAccount), Service: "ecr", Action: "BatchGetImage", Place: d.here, ReadOnly: true,
			Resources: []string{arn.Repository(d.here, fmt.Sprintf("many/r%06d", i%1000)).String()}}, 0, nil)
		if i%2000 == 1999 || i == n-1 {
			d.must(d.s.trail.Flush(ctx))
		}
	}
}

func (d *depth) layer(repo string, content []byte) string {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	ref, err := d.s.registry.StartUpload(d.b.Context(), d.here, repo, arn.Root(homeAccount), nil)
	d.must(err)
	_, err = d.s.registry.FinishUpload(d.b.Context(), ref, digest, registry.Chunk{Body: bytes.NewReader(content), From: -1, Length: int64(len(content))})
	d.must(err)
	return digest
}

// disk is what the data directory takes, once the log is folded in.
func (d *depth) disk() (n int64) {
	time.Sleep(500 * time.Millisecond) // for the background to have done so
	d.must(filepath.WalkDir(d.cfg.Data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) == ".db-wal" {
			return nil //nolint:nilerr // files come and go
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return nil
	}))
	return n
}

func (d *depth) ask(want int, method, path string, body []byte, kind string) error {
	r, err := http.NewRequestWithContext(d.b.Context(), method, d.web.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Basic "+d.token)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, b)
	}
	return err
}

const depthCalls = 400

// measure times calls of each kind, one after the other: the median of many.
func (d *depth) measure() {
	n := d.size - d.size/20
	d.round++
	kind := "application/vnd.oci.image.manifest.v1+json"
	fresh := func(i int) []byte { return d.manifest(1_000_000*d.round + i) }
	digestOf := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	tokens := map[string]string{}
	page := func(operation string, in map[string]any) error {
		if in["maxResults"] = 100; tokens[operation] != "" {
			in["nextToken"] = tokens[operation]
		}
		var out struct{ NextToken string }
		err := d.call(operation, in, &out)
		tokens[operation] = out.NextToken
		return err
	}
	for _, op := range []struct {
		name string
		do   func(i int) error
	}{
		{"push of a layer", func(i int) error {
			content := fmt.Appendf(nil, "layer %d %d", d.round, i)
			return d.ask(201, "POST", "/v2/deep/blobs/blobs/uploads/?digest="+digestOf(content), content, "application/octet-stream")
		}},
		{"push of a manifest", func(i int) error {
			return d.ask(201, "PUT", fmt.Sprintf("/v2/deep/app/manifests/pushed%d", i), fresh(i), kind)
		}},
		{"new tag of an image", func(i int) error {
			return d.ask(201, "PUT", fmt.Sprintf("/v2/deep/app/manifests/again%d", i), fresh(i), kind)
		}},
		{"pull by tag", func(i int) error {
			return d.ask(200, "GET", fmt.Sprintf("/v2/deep/app/manifests/t%06d", i*7919%n), nil, "")
		}},
		{"HEAD by tag", func(i int) error {
			return d.ask(200, "HEAD", fmt.Sprintf("/v2/deep/app/manifests/t%06d", i*104729%n), nil, "")
		}},
		{"pull of a layer", func(i int) error {
			return d.ask(200, "GET", "/v2/deep/blobs/blobs/"+digestOf([]byte(strconv.Itoa(i*104729%(10*d.size)))), nil, "")
		}},
		{"HEAD of a layer that is not there", func(i int) error {
			return d.ask(404, "HEAD", "/v2/deep/blobs/blobs/"+digestOf(fmt.Appendf(nil, "none %d", i)), nil, "")
		}},
		{"page of 100 tags in the middle", func(i int) error {
			return d.ask(200, "GET", fmt.Sprintf("/v2/deep/app/tags/list?n=100&last=t%06d", n/2+i), nil, "")
		}},
		{"DescribeImages, page of 100 after others", func(int) error {
			return page("DescribeImages", map[string]any{"repositoryName": "deep/app"})
		}},
		{"DescribeImages of one", func(i int) error {
			return d.call("DescribeImages", map[string]any{"repositoryName": "deep/app", "imageIds": []any{map[string]string{"imageTag": fmt.Sprintf("t%06d", i*31%n)}}}, &struct{}{})
		}},
		{"DescribeRepositories, page of 100 after others", func(int) error {
			return page("DescribeRepositories", map[string]any{})
		}},
		{"CreateRepository", func(i int) error {
			return d.call("CreateRepository", map[string]any{"repositoryName": fmt.Sprintf("new/r%d-%d", d.round, i)}, &struct{}{})
		}},
		{"delete of a tag", func(i int) error {
			return d.ask(202, "DELETE", fmt.Sprintf("/v2/deep/app/manifests/again%d", i), nil, "")
		}},
		{"delete of an image", func(i int) error {
			return d.ask(202, "DELETE", "/v2/deep/app/manifests/"+digestOf(fresh(i)), nil, "")
		}},
	} {
		var took []time.Duration
		for i := range depthCalls {
			at := time.Now()
			d.must(op.do(i))
			took = append(took, time.Since(at))
		}
		slices.Sort(took)
		d.tell(op.name, float64(took[len(took)/2].Nanoseconds())/1000)
	}
	d.tell("disk of everything", float64(d.disk()))
	d.web.Close()
	d.must(d.s.Close())
	d.open()
}
