package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// concurrency is how many clients the scenarios with small requests have.
const concurrency = 8

// measure is what one scenario gave on one target.
type measure struct {
	rate     float64 // operations, images or MiB a second
	p50, p99 time.Duration
	cpu      time.Duration // of the server per operation (per GiB for bytes)
	peak     int64         // KiB
	value    float64       // for scenarios that are one number: ms or KiB
}

type scenario struct {
	name, unit string
	run        func(ctx context.Context, b *bench, t *target) (measure, error)
}

// all lists the scenarios in the order of the table.
var all = []scenario{
	{"push-large-stream", "MiB/s", pushLarge(true)},
	{"push-large-put", "MiB/s", pushLarge(false)},
	{"pull-large-c32", "MiB/s", pullLarge},
	{"push-small", "images/s", pushSmall(0)},
	{"push-deep", "images/s", pushSmall(1000)},
	{"pull-small", "images/s", pullSmall},
	{"head-manifest", "1/s", headManifest},
	{"head-blob", "1/s", headBlob},
	{"mount", "1/s", mountBlobs},
	{"tags-create", "1/s", tagsCreate},
	{"tags-list", "ms", tagsList},
	{"tags-page", "ms", tagsPage},
	{"delete-deep", "1/s", deleteDeep},
	{"declared-plan-new", "ms", declared("plan")},
	{"declared-apply", "ms", declared("apply")},
	{"declared-plan-same", "ms", declared("apply", "plan")},
	{"declared-apply-edited", "ms", declared("apply", "edit", "apply")},
	{"cold-start", "ms", coldStart},
	{"restart-10000", "ms", restart},
	{"rss-idle", "KiB", rssIdle},
}

// bench runs scenarios and keeps what they gave.
type bench struct {
	seconds time.Duration
	results map[string]map[string][]measure // scenario -> target
}

func (b *bench) one(ctx context.Context, k kind, s scenario, dir string) error {
	t, err := k.start(ctx, dir)
	if err != nil {
		return err
	}
	defer t.stop()
	m, err := s.run(ctx, b, t)
	if errors.Is(err, errNoDeclarations) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.peak == 0 {
		m.peak = t.usage().peakRSS
	}
	if b.results[s.name] == nil {
		b.results[s.name] = map[string][]measure{}
	}
	b.results[s.name][k.name] = append(b.results[s.name][k.name], m)
	return nil
}

// load runs op from n clients for the bench's time and measures it.
func (b *bench) load(t *target, n int, op func(client, i int) error) (measure, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		took  []time.Duration
		first atomic.Pointer[error]
	)
	before := t.usage()
	began := time.Now()
	for c := range n {
		wg.Go(func() {
			var mine []time.Duration
			for i := 0; time.Since(began) < b.seconds && first.Load() == nil; i++ {
				at := time.Now()
				if err := op(c, i); err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	wall := time.Since(began)
	if p := first.Load(); p != nil {
		return measure{}, *p
	}
	return summarise(took, wall, t.usage().cpu-before.cpu), nil
}

func summarise(took []time.Duration, wall, cpu time.Duration) measure {
	if len(took) == 0 {
		return measure{}
	}
	slices.Sort(took)
	return measure{rate: float64(len(took)) / wall.Seconds(), p50: took[len(took)/2], p99: took[len(took)*99/100], cpu: cpu / time.Duration(len(took))}
}

const largeSize = 256 << 20

// pattern is an endless body: one MiB of random bytes, repeated.
type pattern struct {
	block []byte
	n     int64
}

func newPattern(seed byte) *pattern {
	p := &pattern{block: make([]byte, 1<<20)}
	rand.NewChaCha8([32]byte{seed}).Read(p.block)
	return p
}

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, p.block[p.n%int64(len(p.block)):])
	p.n += int64(n)
	return n, nil
}

func largeDigest(seed byte) string {
	h := sha256.New()
	_, _ = io.CopyN(h, newPattern(seed), largeSize)
	return fmt.Sprintf("sha256:%x", h.Sum(nil))
}

func (t *target) pushLargeBlob(seed byte, d string, stream bool) error {
	h, err := t.call(202, "POST", "/v2/bench/large/blobs/uploads/", nil, "")
	if err != nil {
		return err
	}
	l := location(h)
	if stream {
		res, err := t.do("PATCH", l, io.LimitReader(newPattern(seed), largeSize), -1, "application/octet-stream")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != 202 {
			return fmt.Errorf("PATCH: %s", res.Status)
		}
		_, err = t.call(201, "PUT", withDigest(location(res.Header), d), nil, "")
		return err
	}
	res, err := t.do("PUT", withDigest(l, d), io.LimitReader(newPattern(seed), largeSize), largeSize, "application/octet-stream")
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != 201 {
		return fmt.Errorf("PUT: %s", res.Status)
	}
	return nil
}

func pushLarge(stream bool) func(context.Context, *bench, *target) (measure, error) {
	return func(_ context.Context, _ *bench, t *target) (measure, error) {
		digests := [3]bool{}
		if err := t.pushLargeBlob(0, largeDigest(0), stream); err != nil { // warms the page cache
			return measure{}, err
		}
		before := t.usage()
		var total time.Duration
		for i := range digests {
			d := largeDigest(byte(i + 1)) // outside the time
			at := time.Now()
			if err := t.pushLargeBlob(byte(i+1), d, stream); err != nil {
				return measure{}, err
			}
			total += time.Since(at)
		}
		gib := float64(len(digests)) * largeSize / (1 << 30)
		return measure{rate: float64(len(digests)) * largeSize / (1 << 20) / total.Seconds(), cpu: time.Duration(float64(t.usage().cpu-before.cpu) / gib)}, nil
	}
}

func pullLarge(_ context.Context, b *bench, t *target) (measure, error) {
	d := largeDigest(1)
	if err := t.pushLargeBlob(1, d, false); err != nil {
		return measure{}, err
	}
	var bytesRead atomic.Int64
	before := t.usage()
	began := time.Now()
	m, err := b.load(t, 32, func(int, int) error {
		res, err := t.do("GET", "/v2/bench/large/blobs/"+d, nil, 0, "")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		n, err := io.Copy(discard{}, res.Body)
		bytesRead.Add(n)
		if err == nil && n != largeSize {
			err = fmt.Errorf("pulled %d bytes", n)
		}
		return err
	})
	m.rate = float64(bytesRead.Load()) / (1 << 20) / time.Since(began).Seconds()
	m.cpu = time.Duration(float64(t.usage().cpu-before.cpu) / (float64(bytesRead.Load()) / (1 << 30)))
	return m, err
}

// discard reads in large pieces, so that the client does not decide the figure.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// ReadFrom implements io.ReaderFrom.
func (discard) ReadFrom(r io.Reader) (n int64, err error) {
	b := make([]byte, 256<<10)
	for {
		m, err := r.Read(b)
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// pushSmall pushes small images, into one repository that holds depth already.
func pushSmall(depth int) func(context.Context, *bench, *target) (measure, error) {
	return func(_ context.Context, b *bench, t *target) (measure, error) {
		if err := fill(t, "bench/small", depth); err != nil {
			return measure{}, err
		}
		return b.load(t, concurrency, func(c, i int) error {
			_, err := t.smallImage(rand.New(rand.NewPCG(uint64(c)+100, uint64(i))), "bench/small", fmt.Sprintf("c%d-%d", c, i))
			return err
		})
	}
}

// fill pushes n images from all clients.
func fill(t *target, repo string, n int) error {
	errs := make(chan error, concurrency)
	for c := range concurrency {
		go func() {
			for i := c; i < n; i += concurrency {
				if _, err := t.smallImage(rand.New(rand.NewPCG(1, uint64(i))), repo, fmt.Sprintf("t%06d", i)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var out error
	for range concurrency {
		if err := <-errs; err != nil {
			out = err
		}
	}
	return out
}

func pullSmall(_ context.Context, b *bench, t *target) (measure, error) {
	const n = 200
	images := make([][]string, n)
	for i := range n {
		d, err := t.smallImage(rand.New(rand.NewPCG(1, uint64(i))), "bench/pull", fmt.Sprintf("t%d", i))
		if err != nil {
			return measure{}, err
		}
		images[i] = d
	}
	return b.load(t, concurrency, func(c, i int) error {
		at := (c*31 + i) % n
		if _, err := t.call(200, "GET", fmt.Sprintf("/v2/bench/pull/manifests/t%d", at), nil, ""); err != nil {
			return err
		}
		for _, d := range images[at][:4] {
			if _, err := t.call(200, "GET", "/v2/bench/pull/blobs/"+d, nil, ""); err != nil {
				return err
			}
		}
		return nil
	})
}

func headManifest(_ context.Context, b *bench, t *target) (measure, error) {
	if err := fill(t, "bench/head", 100); err != nil {
		return measure{}, err
	}
	return b.load(t, concurrency, func(c, i int) error {
		_, err := t.call(200, "HEAD", fmt.Sprintf("/v2/bench/head/manifests/t%06d", (c*13+i)%100), nil, "")
		return err
	})
}

func headBlob(_ context.Context, b *bench, t *target) (measure, error) {
	d, err := t.smallImage(rand.New(rand.NewPCG(1, 1)), "bench/head", "x")
	if err != nil {
		return measure{}, err
	}
	return b.load(t, concurrency, func(_, i int) error {
		_, err := t.call(200, "HEAD", "/v2/bench/head/blobs/"+d[i%4], nil, "")
		return err
	})
}

func mountBlobs(_ context.Context, b *bench, t *target) (measure, error) {
	d, err := t.smallImage(rand.New(rand.NewPCG(1, 1)), "bench/from", "x")
	if err != nil {
		return measure{}, err
	}
	if _, err := t.smallImage(rand.New(rand.NewPCG(2, 1)), "bench/to", "x"); err != nil {
		return measure{}, err
	}
	return b.load(t, concurrency, func(_, i int) error {
		_, err := t.call(201, "POST", "/v2/bench/to/blobs/uploads/?mount="+d[i%4]+"&from=bench/from", nil, "")
		return err
	})
}

// tagMany points n tags at one image.
func tagMany(t *target, repo string, n int) (measure, error) {
	d, err := t.smallImage(rand.New(rand.NewPCG(1, 1)), repo, "base")
	if err != nil {
		return measure{}, err
	}
	res, err := t.do("GET", "/v2/"+repo+"/manifests/"+d[4], nil, 0, "")
	if err != nil {
		return measure{}, err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return measure{}, err
	}
	// An image has at most 1,000 tags, so each 500 get an image of their own.
	bodies := [][]byte{}
	for i := 0; i*500 < n; i++ {
		bodies = append(bodies, bytes.Replace(body, []byte(`{`), fmt.Appendf(nil, `{"annotations":{"n":"%d"},`, i), 1))
	}
	var (
		next atomic.Int64
		mu   sync.Mutex
		took []time.Duration
		errs = make(chan error, concurrency)
	)
	before, began := t.usage(), time.Now()
	for range concurrency {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					errs <- nil
					return
				}
				at := time.Now()
				if _, err := t.call(201, "PUT", fmt.Sprintf("/v2/%s/manifests/tag%06d", repo, i), bodies[i/500], manifestType); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				took = append(took, time.Since(at))
				mu.Unlock()
			}
		}()
	}
	for range concurrency {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return summarise(took, time.Since(began), t.usage().cpu-before.cpu), err
}

const manyTags = 10_000

func tagsCreate(_ context.Context, _ *bench, t *target) (measure, error) {
	return tagMany(t, "bench/tags", manyTags)
}

// tagsList reads all tags, by the pages that the registry gives.
func tagsList(_ context.Context, _ *bench, t *target) (measure, error) {
	if _, err := tagMany(t, "bench/tags", manyTags); err != nil {
		return measure{}, err
	}
	var best time.Duration
	for range 20 {
		began, seen := time.Now(), 0
		for path := "/v2/bench/tags/tags/list"; path != ""; {
			res, err := t.do("GET", path, nil, 0, "")
			if err != nil {
				return measure{}, err
			}
			var doc struct{ Tags []string }
			err = json.NewDecoder(res.Body).Decode(&doc)
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if err != nil {
				return measure{}, err
			}
			seen += len(doc.Tags)
			next, _, _ := strings.Cut(res.Header.Get("Link"), ";")
			path = strings.Trim(next, "<>")
		}
		if seen < manyTags {
			return measure{}, fmt.Errorf("%d tags listed", seen)
		}
		if took := time.Since(began); best == 0 || took < best {
			best = took
		}
	}
	return measure{value: float64(best.Microseconds()) / 1000}, nil
}

func tagsPage(_ context.Context, b *bench, t *target) (measure, error) {
	if _, err := tagMany(t, "bench/tags", manyTags); err != nil {
		return measure{}, err
	}
	m, err := b.load(t, 1, func(_, i int) error {
		_, err := t.call(200, "GET", fmt.Sprintf("/v2/bench/tags/tags/list?n=100&last=tag%06d", 5000+i%100), nil, "")
		return err
	})
	m.value = float64(m.p50.Microseconds()) / 1000
	return m, err
}

func deleteDeep(_ context.Context, _ *bench, t *target) (measure, error) {
	const n = 1000
	digests := make([]string, n)
	for i := range n {
		d, err := t.smallImage(rand.New(rand.NewPCG(1, uint64(i))), "bench/delete", fmt.Sprintf("t%d", i))
		if err != nil {
			return measure{}, err
		}
		digests[i] = d[4]
	}
	var next atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	errs := make(chan error, concurrency)
	before, began := t.usage(), time.Now()
	for range concurrency {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					errs <- nil
					return
				}
				at := time.Now()
				if _, err := t.call(202, "DELETE", "/v2/bench/delete/manifests/"+digests[i], nil, ""); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				took = append(took, time.Since(at))
				mu.Unlock()
			}
		}()
	}
	var err error
	for range concurrency {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return summarise(took, time.Since(began), t.usage().cpu-before.cpu), err
}
