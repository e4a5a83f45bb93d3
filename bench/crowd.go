package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// crowd has 1,000 clients at once, each with connections of its own: half of them push
// small images, half pull them. An error of one is an error of the scenario.
func crowd(_ context.Context, b *bench, t *target) (measure, error) {
	const clients, images = 1000, 200
	digests := make([][]string, images)
	for i := range images {
		d, err := t.smallImage(rand.New(rand.NewPCG(1, uint64(i))), "bench/crowd", fmt.Sprintf("t%d", i))
		if err != nil {
			return measure{}, err
		}
		digests[i] = d
	}
	t.client.Transport.(*http.Transport).MaxIdleConnsPerHost = clients
	long := *b
	long.seconds = max(b.seconds, 20*time.Second)
	return long.load(t, clients, func(c, i int) error {
		if c%2 == 0 {
			_, err := t.smallImage(rand.New(rand.NewPCG(uint64(c)+100, uint64(i))), fmt.Sprint("bench/crowd-", c%50), fmt.Sprintf("c%d-%d", c, i))
			return err
		}
		at := (c*131 + i) % images
		return t.pullImage("bench/crowd", fmt.Sprintf("t%d", at), digests[at])
	})
}

const (
	hugeSize  = 10 << 30
	hugePulls = 8
)

// hugeLayer pushes a layer of 10 GiB and pulls it by eight clients at once.
func hugeLayer(_ context.Context, _ *bench, t *target) (measure, error) {
	h := sha256.New()
	_, _ = io.CopyN(h, newPattern(9), hugeSize)
	d := fmt.Sprintf("sha256:%x", h.Sum(nil))
	began := time.Now()
	head, err := t.call(202, "POST", "/v2/bench/huge/blobs/uploads/", nil, "")
	if err != nil {
		return measure{}, err
	}
	res, err := t.do("PUT", withDigest(location(head), d), io.LimitReader(newPattern(9), hugeSize), hugeSize, "application/octet-stream")
	if err != nil {
		return measure{}, err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return measure{}, fmt.Errorf("PUT: %s", res.Status)
	}
	errs := make(chan error, hugePulls)
	for range hugePulls {
		go func() {
			res, err := t.do("GET", "/v2/bench/huge/blobs/"+d, nil, 0, "")
			if err == nil {
				defer res.Body.Close()
				var n int64
				if n, err = io.Copy(discard{}, res.Body); err == nil && n != hugeSize {
					err = fmt.Errorf("pulled %d bytes", n)
				}
			}
			errs <- err
		}()
	}
	for range hugePulls {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return measure{rate: (1 + hugePulls) * hugeSize / (1 << 20) / time.Since(began).Seconds()}, err
}
