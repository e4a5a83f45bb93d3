package main

import (
	"os"
	"testing"

	"github.com/berth-registry/berth/internal/latecollect"
)

func TestMain(m *testing.M) {
	latecollect.Begin()
	os.Exit(m.Run())
}
