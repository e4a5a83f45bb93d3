// Command bench measures Berth beside its peers in one run and prints ratios.
//
// Targets run one at a time as processes of their own; rounds interleave them, so
// that a slow moment of the machine hits all. The floor is this program itself
// doing what no registry can avoid (hash, write, one flush a blob, one
// group-committed record a change, sendfile), so that a figure means the same on
// every machine: only ratios within one run count.
//
//	go run ./bench                         # everything, three rounds
//	go run ./bench -targets floor,berth-before,berth,berth-user -before OLD -scenarios push-small
//	go run ./bench -targets berth,floor -scenarios push-small,pull-small -rounds 1
//
// Peers are found on PATH: registry (distribution 3), docker-registry (Debian's
// 2.8), zot; those that are missing are left out and said so.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "floor" {
		if err := floorMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "floor:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	targets := flag.String("targets", "floor,berth,berth-all,distribution,docker-registry,zot", "what to measure")
	scenarios := flag.String("scenarios", "", "which scenarios; all but the long ones when empty")
	rounds := flag.Int("rounds", 3, "rounds; the median counts")
	seconds := flag.Float64("seconds", 3, "how long a timed scenario runs")
	dir := flag.String("dir", "", "where data goes; a temporary directory when empty")
	berth := flag.String("berth", "", "berth binary; built when empty")
	before := flag.String("before", "", "an older berth binary, measured as berth-before")
	out := flag.String("out", "", "write the table as Markdown, too")
	charts := flag.String("charts", "", "draw charts into this directory")
	deep := flag.Bool("depth", false, "measure what calls cost as a registry grows, and nothing else")
	flag.Parse()
	if *deep {
		return measureDepth(ctx, *charts)
	}
	if *dir == "" {
		tmp, err := os.MkdirTemp("", "berth-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		*dir = tmp
	}
	if *berth == "" {
		*berth = filepath.Join(*dir, "berth")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *berth, "./cmd/berth")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build berth: %w\n%s", err, msg)
		}
	}
	pg := &postgres{}
	defer pg.stop()
	kinds, err := findTargets(strings.Split(*targets, ","), *berth, *before, pg)
	if err != nil {
		return err
	}
	b := &bench{seconds: time.Duration(*seconds * float64(time.Second)), results: map[string]map[string][]measure{}}
	for round := range *rounds {
		for _, s := range all {
			if *scenarios == "" && s.long || *scenarios != "" && !slices.Contains(strings.Split(*scenarios, ","), s.name) {
				continue
			}
			for _, k := range kinds {
				if s.own && !strings.HasPrefix(k.name, "berth") {
					continue
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				where := filepath.Join(*dir, fmt.Sprintf("%s-%s-%d", k.name, s.name, round))
				if err := b.one(ctx, k, s, where); err != nil {
					fmt.Fprintf(os.Stderr, "%s, %s: %v\n", k.name, s.name, err)
				}
				if err := os.RemoveAll(where); err != nil {
					return err
				}
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, *rounds, s.name)
		}
	}
	table := b.table(kinds)
	fmt.Printf("%d cores, %s, %d rounds\n\n%s", runtime.NumCPU(), runtime.Version(), *rounds, table)
	if *charts != "" {
		if err := b.draw(kinds, *charts); err != nil {
			return err
		}
	}
	if *out != "" {
		return os.WriteFile(*out, []byte(table), 0o644)
	}
	return nil
}
