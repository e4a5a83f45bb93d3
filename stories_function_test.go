package berth_test

import (
	"archive/zip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	// What the functions under testdata import, where the go command does not look.
	_ "github.com/aws/aws-lambda-go/lambda"
	_ "github.com/aws/aws-sdk-go-v2/config"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-registry/berth/internal/berthtest"
)

// writeZip is "zip FILE NAME=SOURCE ...": an archive of code.
func writeZip(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: zip FILE NAME=SOURCE ...")
	}
	out, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w := zip.NewWriter(out)
	for _, a := range args[1:] {
		name, source, _ := strings.Cut(a, "=")
		b, err := os.ReadFile(ts.MkAbs(source))
		ts.Check(err)
		f, err := w.Create(name)
		ts.Check(err)
		_, err = f.Write(b)
		ts.Check(err)
	}
	ts.Check(w.Close())
	ts.Check(out.Close())
}

// goFunction is "go-function FILE PACKAGE": builds a function of testdata/functions as a
// bootstrap, in an archive.
func goFunction(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: go-function FILE PACKAGE")
	}
	dir := filepath.Dir(ts.MkAbs(args[0]))
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", filepath.Join(dir, "bootstrap"), "./testdata/functions/"+args[1])
	cmd.Dir = berthtest.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("go build: %v\n%s", err, out)
	}
	writeZip(ts, false, []string{args[0], "bootstrap=" + filepath.Join(dir, "bootstrap")})
}
