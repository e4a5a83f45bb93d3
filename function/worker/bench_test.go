package worker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-registry/berth/function/worker"
)

// hello makes a function in Go of what is in testdata/hello.
func hello(b *testing.B, x *worker.Box) worker.Spec {
	b.Helper()
	dir, err := os.MkdirTemp(x.Dir(), "code")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, "bootstrap"), "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return worker.Spec{Runtime: "provided.al2023", Code: dir, Handler: "bootstrap", Memory: 128 << 20, Output: func(string) {},
		Env: map[string]string{"_HANDLER": "bootstrap", "PATH": "/usr/bin:/bin", "AWS_LAMBDA_FUNCTION_NAME": "f"}}
}

// BenchmarkColdStart is how long the first invocation of a function takes.
func BenchmarkColdStart(b *testing.B) {
	x := box(b)
	imports, _ := python(b, x, "import boto3\ndef handler(event, context):\n    return 1\n")
	plain, _ := python(b, x, "def handler(event, context):\n    return 1\n")
	for _, c := range []struct {
		name string
		spec worker.Spec
	}{{"python", plain}, {"python-boto3", imports}, {"go", hello(b, x)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				w := start(b, x, c.spec)
				if _, err := invoke(b, w, "{}", 10*time.Second); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				w.Stop()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkWarm is how long a further one takes.
func BenchmarkWarm(b *testing.B) {
	x := box(b)
	spec, _ := python(b, x, "def handler(event, context):\n    return 1\n")
	w := start(b, x, spec)
	for b.Loop() {
		if _, err := invoke(b, w, "{}", 10*time.Second); err != nil {
			b.Fatal(err)
		}
	}
}
