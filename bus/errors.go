package bus

import (
	"errors"
	"fmt"
)

// Code is what went wrong, in EventBridge's own names. The set is closed.
type Code string

// The codes.
const (
	NotFound       Code = "ResourceNotFoundException"
	AlreadyExists  Code = "ResourceAlreadyExistsException"
	Validation     Code = "ValidationException"
	InvalidPattern Code = "InvalidEventPatternException"
	LimitExceeded  Code = "LimitExceededException"
	Concurrent     Code = "ConcurrentModificationException"
	InvalidState   Code = "InvalidStateException"
	IllegalStatus  Code = "IllegalStatusException"
)

// Codes lists every code, for the table's test.
func Codes() []Code {
	return []Code{NotFound, AlreadyExists, Validation, InvalidPattern, LimitExceeded, Concurrent, InvalidState, IllegalStatus}
}

// Error is a refusal, with a text for the caller.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// ErrorCode and ErrorMessage are what a record of the call says.
func (e *Error) ErrorCode() string { return string(e.Code) }

// ErrorMessage is the text for the caller.
func (e *Error) ErrorMessage() string { return e.Message }

// CodeOf returns the code of an error of this package, or "".
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func fail(c Code, format string, args ...any) error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}
