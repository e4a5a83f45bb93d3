package main

import (
	"context"
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

// pullSmall pulls small images, one after the other of n.
func pullSmall(n int) func(context.Context, *bench, *target) (measure, error) {
	return func(_ context.Context, b *bench, t *target) (measure, error) {
		images := make([][]string, n)
		for i := range n {
			d, err := t.smallImage(rand.New(rand.NewPCG(1, uint64(i))), "bench/pull", fmt.Sprintf("t%d", i))
			if err != nil {
				return measure{}, err
			}
			images[i] = d
		}
		return b.load(t, concurrency, func(c, i int) error {
			at := (c*131 + i) % n
			return t.pullImage("bench/pull", fmt.Sprintf("t%d", at), images[at])
		})
	}
}

// manifests asks for manifests by tag.
func manifests(method string) func(context.Context, *bench, *target) (measure, error) {
	return func(_ context.Context, b *bench, t *target) (measure, error) {
		if err := fill(t, "bench/head", 100); err != nil {
			return measure{}, err
		}
		return b.load(t, concurrency, func(c, i int) error {
			_, err := t.call(200, method, fmt.Sprintf("/v2/bench/head/manifests/t%06d", (c*13+i)%100), nil, "")
			return err
		})
	}
}

// headUnderPush measures how long the slowest hundredth of HEAD requests takes while four
// clients push.
func headUnderPush(_ context.Context, b *bench, t *target) (measure, error) {
	if err := fill(t, "bench/head", 100); err != nil {
		return measure{}, err
	}
	var stop atomic.Bool
	pushed := make(chan error, 4)
	for c := range 4 {
		go func() {
			var err error
			for i := 0; !stop.Load() && err == nil; i++ {
				_, err = t.smallImage(rand.New(rand.NewPCG(uint64(c)+50, uint64(i))), "bench/under", fmt.Sprintf("c%d-%d", c, i))
			}
			pushed <- err
		}()
	}
	m, err := b.load(t, 1, func(_, i int) error {
		_, err := t.call(200, "HEAD", fmt.Sprintf("/v2/bench/head/manifests/t%06d", i%100), nil, "")
		return err
	})
	stop.Store(true)
	for range 4 {
		err = errors.Join(err, <-pushed)
	}
	m.value, m.cpu = float64(m.p99.Microseconds())/1000, 0 // most of the work was the pushes'
	return m, err
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
		bodies = append(bodies, noted(body, int64(i)))
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

// tagsHead asks for manifests by tag where there are many tags.
func tagsHead(_ context.Context, b *bench, t *target) (measure, error) {
	if _, err := tagMany(t, "bench/tags", manyTags); err != nil {
		return measure{}, err
	}
	return b.load(t, concurrency, func(c, i int) error {
		_, err := t.call(200, "HEAD", fmt.Sprintf("/v2/bench/tags/manifests/tag%06d", (c*1237+i*7)%manyTags), nil, "")
		return err
	})
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
