package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// costSmall prints what the server does for a small image: the figures are those of its own
// metrics, whose address is BENCH_ADMIN.
func costSmall(clients int) func(context.Context, *bench, *target) (measure, error) {
	return func(_ context.Context, b *bench, t *target) (measure, error) {
		if os.Getenv("BENCH_ADMIN") == "" {
			return measure{}, errors.New("this reads the server's metrics: set BENCH_ADMIN to an address such as 127.0.0.1:6060")
		}
		if err := fill(t, "bench/small", 100); err != nil {
			return measure{}, err
		}
		before, err := metrics()
		if err != nil {
			return measure{}, err
		}
		m, err := b.load(t, clients, func(c, i int) error {
			_, err := t.smallImage(rand.New(rand.NewPCG(uint64(c)+100, uint64(i))), "bench/small", fmt.Sprintf("c%d-%d", c, i))
			return err
		})
		if err != nil {
			return measure{}, err
		}
		after, err := metrics()
		images := m.rate * b.seconds.Seconds()
		for _, name := range []string{"berth_db_transactions_total", "berth_db_commits_total", "berth_db_flushes_total", "go_memstats_mallocs_total", "go_memstats_alloc_bytes_total", "process_cpu_seconds_total"} {
			fmt.Fprintf(os.Stderr, "%s, %d clients: %s %.4g an image\n", t.name, clients, name, (after[name]-before[name])/images)
		}
		return m, err
	}
}

// metrics reads the numbers of the server that have no labels.
func metrics() (map[string]float64, error) {
	res, err := http.Get("http://" + os.Getenv("BENCH_ADMIN") + "/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	out := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			out[name] = v
		}
	}
	return out, lines.Err()
}
