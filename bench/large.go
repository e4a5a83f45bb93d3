package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

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

// pushLargeParallel pushes layers from four clients at once.
func pushLargeParallel(_ context.Context, _ *bench, t *target) (measure, error) {
	const clients = 4
	if err := t.pushLargeBlob(0, largeDigest(0), true); err != nil { // warms the page cache
		return measure{}, err
	}
	var digests [clients]string
	for c := range clients {
		digests[c] = largeDigest(byte(c + 1)) // outside the time
	}
	before, began := t.usage(), time.Now()
	errs := make(chan error, clients)
	for c := range clients {
		go func() { errs <- t.pushLargeBlob(byte(c+1), digests[c], true) }()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-errs)
	}
	took := time.Since(began)
	gib := float64(clients) * largeSize / (1 << 30)
	return measure{rate: clients * largeSize / (1 << 20) / took.Seconds(), cpu: time.Duration(float64(t.usage().cpu-before.cpu) / gib)}, err
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
