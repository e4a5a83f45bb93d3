package memblob_test

import (
	"testing"

	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/blob/blobtest"
	"github.com/berth-registry/berth/blob/memblob"
)

func TestSuite(t *testing.T) {
	blobtest.Test(t, func(*testing.T) blob.Store { return memblob.New() })
}
