package declare

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// maxErrors is how many failures are told one by one.
const maxErrors = 10

// failures gathers errors.
type failures struct {
	list []error
	more int
}

func (e *failures) add(err error) {
	switch {
	case err == nil:
	case len(e.list) < maxErrors:
		e.list = append(e.list, err)
	default:
		e.more++
	}
}

func (e *failures) err() error {
	if e.more > 0 {
		return errors.Join(append(e.list, fmt.Errorf("and %d more", e.more))...)
	}
	return errors.Join(e.list...)
}

// plain takes away what SDK clients put around an API's error.
func plain(err error) error {
	var op *smithy.OperationError
	var api smithy.APIError
	if errors.As(err, &op) && errors.As(err, &api) {
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	return err
}

// is reports whether an API answered with one of these codes.
func is(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c {
			return true
		}
	}
	return false
}
