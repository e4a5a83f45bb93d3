package server

import (
	"bytes"
	"os"
	"strconv"
	"testing"
)

// TestDropProgram: pages of the program leave memory, and it goes on.
func TestDropProgram(t *testing.T) {
	mapped := func() (kib int) {
		b, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := bytes.Cut(b, []byte("RssFile:"))
		kib, err = strconv.Atoi(string(bytes.Fields(after)[0]))
		if err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := mapped()
	if err := dropProgram(); err != nil {
		t.Fatal(err)
	}
	if after := mapped(); after >= before {
		t.Errorf("%d KiB of files before, %d after", before, after)
	}
}
