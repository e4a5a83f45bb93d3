package runner_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/catalog/mapping/runner"
	"github.com/berth-registry/berth/internal/berthtest"
)

// The processes are the real program: a test binary with the race detector wants more
// memory than they may have.
func TestMain(m *testing.M) { os.Exit(berthtest.Main(m)) }

func config(t *testing.T, expressions map[string]string) []byte {
	t.Helper()
	var resources []any
	for kind, x := range expressions {
		resources = append(resources, map[string]any{"kind": kind, "port": map[string]any{"entity": map[string]any{"mappings": []any{
			map[string]any{"identifier": ".id", "blueprint": "b", "properties": map[string]any{"x": x}}}}}})
	}
	b, err := json.Marshal(map[string]any{"resources": resources})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hostile are expressions that have no end, or want everything there is.
var hostile = []string{
	`[range(1e9)]`, `[range(infinite)]`, `"x" * 1e9`, `"x" * 1e12`, `[limit(1e9; repeat("x"))]`, `def f: [f]; f`, `def f: f, f; [f]`, `def f: 1 + f; f`, `last(repeat(1))`, `last(range(infinite))`,
	`[recurse(if . then [.] else empty end)]`, `reduce range(infinite) as $i ([]; . + [$i])`, `reduce range(1e8) as $i (""; . + "xxxxxxxxxxxxxxxx")`, `[.. | ..] | [.. | ..] | [.. | ..] | [repeat(..)]`,
	`last(foreach range(infinite) as $i (0; . + $i))`, `until(false; .)`, `while(true; .) | empty`, `[while(true; [.])]`, `label $f | last(repeat(1))`, `[splits("a"; repeat("g"))]`, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 100000 | test("(a*)*b")`,
	`("a" * 10000000) | [match("a"; "g")] | length`, `("a" * 1000000) | explode | implode | explode | [.[] | tostring * 100000]`, `[range(1e7)] | combinations(5)`, `[[range(100)], [range(100)], [range(100)], [range(100)]] | [combinations] | length`,
	`[range(1e7)] | sort_by(-.) | group_by(. % 2)`, `[range(1e8)] | map(tojson) | add`, `([range(1e6)] | tojson) * 1000`, `[limit(100000000; repeat({a: [1, 2, 3]}))]`, `{} | until(false; .a = .)`, `[] | until(false; [., .])`,
	`[1] | until(false; . + .)`, `{a: 1} | until(false; . * {b: .})`, `"a" | until(false; . + .)`, `"a" | until(false; @json)`, `"&" | until(false; @html)`, `[range(1e6)] | [permutations?]`, `[range(1e6)] | until(false; map([.]))`,
	`input`, `[inputs]`, `$__prog_args`, `$__loc__ | repeat(.)`, `halt_error`, `"x" | halt_error(1)`, `error`, `error(null)`, `error([range(1e9)])`, `env.PATH`, `$ENV | tojson`, `input_filename`, `import "a" as a; 1`, `include "x"; 1`,
	`getpath([range(1e7)])`, `[paths(..)] | repeat(.)`, `[range(1e6)] | tostream`, `fromstream(repeat(1))`, `[limit(1e9; range(1e9))] | transpose`, `@base64d | repeat(.)`, `ltrimstr("a" * 1e9)`, `now | until(false; strftime("%A" * 1000000))`,
	`debug | repeat(.)`, `stderr | [repeat(.)]`, `[splits("")] | repeat(.)`, `limit(1e18; repeat("a" * 1000)) | length`, `walk(repeat(.))`, `[.[]?, repeat(1)] | any`, `getpath(["a"] | until(false; . + ["a"]))`,
}

// TestHostile: each ends in time, without harm to this process, and others go on.
func TestHostile(t *testing.T) {
	expressions := map[string]string{"good": ".id"}
	bad := 0
	var kinds []string
	for i, x := range hostile {
		kind := fmt.Sprint("k", i)
		if _, err := runnerFor(t, map[string]string{kind: x}).Map(t.Context(), "none", json.RawMessage(`{}`)); err != nil {
			bad++ // it is refused when it is read, which is as well
			continue
		}
		expressions[kind] = x
		kinds = append(kinds, kind)
	}
	r := runnerFor(t, expressions)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	done := make(chan struct{})
	good := 0
	all.Go(func() { // beside them
		for {
			select {
			case <-done:
				return
			default:
			}
			got, err := r.Map(t.Context(), "good", json.RawMessage(`{"id":"a"}`))
			if err != nil || len(got) != 1 || got[0].Entities[0].Properties["x"] != "a" {
				t.Errorf("another mapping: %+v %v", got, err)
				return
			}
			good++
		}
	})
	// Which limit an expression meets, time or memory, is a matter of how fast the
	// machine is; that it meets one is not.
	var stopped, late atomic.Int32
	var hostiles sync.WaitGroup
	next := make(chan string)
	for range 2 {
		hostiles.Go(func() {
			for kind := range next {
				began := time.Now()
				got, err := r.Map(t.Context(), kind, json.RawMessage(`{"id":"a"}`))
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("%s took %s", expressions[kind], took)
				}
				if err != nil {
					if !errors.Is(err, runner.ErrLimit) {
						t.Errorf("%s: %v", expressions[kind], err)
					}
					stopped.Add(1)
				} else if said, _ := json.Marshal(got); strings.Contains(string(said), mapping.ErrLate.Error()) {
					late.Add(1)
				}
			}
		})
	}
	for _, kind := range kinds {
		next <- kind
	}
	close(next)
	hostiles.Wait()
	close(done)
	all.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("this process grew by %d MiB", grown>>20)
	}
	held := int(stopped.Load() + late.Load())
	t.Logf("%d expressions: %d refused when read, %d stopped, %d out of time, %d ended by themselves; %d good ones beside them",
		len(hostile), bad, stopped.Load(), late.Load(), len(kinds)-held, good)
	if stopped.Load() == 0 || late.Load() == 0 || held < 20 || good < 10 {
		t.Error("too little happened to prove anything")
	}
}

func runnerFor(t *testing.T, expressions map[string]string) *runner.Runner {
	t.Helper()
	r := runner.New(berthtest.Binary(t), config(t, expressions), 3)
	t.Cleanup(r.Close)
	return r
}

// TestProcesses: one that has ended is replaced, a bad document harms nobody.
func TestProcesses(t *testing.T) {
	r := runnerFor(t, map[string]string{"k": ".v"})
	for range 5 {
		if _, err := r.Map(t.Context(), "k", json.RawMessage(`{`)); err == nil {
			t.Error("a broken document was taken")
		}
		got, err := r.Map(t.Context(), "k", json.RawMessage(`{"id":"a","v":[1,"x"]}`))
		if err != nil || len(got) != 1 || fmt.Sprint(got[0].Entities[0].Properties["x"]) != "[1 x]" {
			t.Errorf("%+v %v", got, err)
		}
	}
	if _, err := r.Map(t.Context(), "k", json.RawMessage(`"`+strings.Repeat("x", 5<<20)+`"`)); !errors.Is(err, runner.ErrLimit) {
		t.Errorf("a large document: %v", err)
	}
	if _, err := r.Map(t.Context(), "k", json.RawMessage(`{"id":"a","v":"`+strings.Repeat("x", 2<<20)+`"}`)); !errors.Is(err, runner.ErrLimit) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a large result: %v", err)
	}
	if _, err := r.Map(t.Context(), "k", json.RawMessage(`{"id":"a"}`)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	bad := runner.New(berthtest.Binary(t), []byte("{}"), 1)
	t.Cleanup(bad.Close)
	if _, err := bad.Map(t.Context(), "k", json.RawMessage(`{}`)); err == nil || !strings.Contains(err.Error(), "resources: must be a list") {
		t.Errorf("a bad configuration: %v", err)
	}
}
