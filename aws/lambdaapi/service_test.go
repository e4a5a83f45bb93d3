package lambdaapi

import (
	"slices"
	"testing"
)

// TestOperations: what is listed is what is served.
func TestOperations(t *testing.T) {
	served := (&Service{}).Handler().Operations()
	slices.Sort(served)
	if !slices.Equal(served, Operations()) {
		t.Errorf("served %v\nlisted %v", served, Operations())
	}
}
