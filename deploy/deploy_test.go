package deploy

import (
	"archive/zip"
	"bytes"
	"flag"
	"os"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the archives anew")

// TestArchive: the archive of the function holds its source.
func TestArchive(t *testing.T) {
	const dir = "terraform/create-on-push/"
	source, err := os.ReadFile(dir + "function/index.py")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "index.py", Method: zip.Store, Modified: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o644)
	f, err := w.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(source); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(dir+"function.zip", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(dir + "function.zip")
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("function.zip does not hold function/index.py (%v): run go test ./deploy -update", err)
	}
}
