package lambdaapi

import (
	"errors"
	"slices"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/function"
)

// TestOperations: what is listed is what is served.
func TestOperations(t *testing.T) {
	served := (&Service{}).Handler().Operations()
	slices.Sort(served)
	if !slices.Equal(served, Operations()) {
		t.Errorf("served %v\nlisted %v", served, Operations())
	}
}

// TestEveryCode: each of the plane's codes becomes the error of the API that has its name.
func TestEveryCode(t *testing.T) {
	for _, c := range function.Codes() {
		var api smithy.APIError
		if exceptions[c] == nil || !errors.As(exception(&function.Error{Code: c, Message: "x"}), &api) || api.ErrorCode() != string(c) || api.ErrorMessage() != "x" {
			t.Errorf("%s becomes %v", c, api)
		}
	}
}
