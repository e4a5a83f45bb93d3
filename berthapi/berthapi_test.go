package berthapi

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

func TestNaming(t *testing.T) {
	for field, want := range map[string]string{"ID": "id", "RequestID": "requestId", "AccessKeyID": "accessKeyId", "SourceIP": "sourceIp", "ImageTags": "imageTags", "Now": "now"} {
		if got := naming("", field); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
}
