package catalog

import (
	"errors"
	"fmt"

	"github.com/berth-registry/berth/sqldb"
)

// Code is what went wrong. The set is closed: Codes lists it, and portapi has a table
// over it.
type Code string

// The codes.
const (
	NotFound      Code = "not_found"
	TargetMissing Code = "target_not_found" // a relation's entity
	Taken         Code = "identifier_taken"
	HasDependents Code = "has_dependents"
	Invalid       Code = "invalid_request"
	LimitExceeded Code = "limit_exceeded"
	StorageFull   Code = "storage_full"
	Unavailable   Code = "unavailable"
)

// Codes lists every code.
func Codes() []Code {
	return []Code{NotFound, TargetMissing, Taken, HasDependents, Invalid, LimitExceeded, StorageFull, Unavailable}
}

// Error is a refusal, with a text for the caller.
type Error struct {
	Code    Code
	Message string
	Err     error
	// missing is the entity that a TargetMissing is about.
	missing Ref
}

// Ref names an entity.
type Ref struct {
	Blueprint  string `json:"blueprint"`
	Identifier string `json:"identifier"`
}

func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

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

func fail(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// storage turns a failure of the database into its code.
func storage(err error) error {
	var own *Error
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.Is(err, sqldb.ErrFull):
		return &Error{Code: StorageFull, Message: "There is no space left to store this. Free some space on the server and try again.", Err: err}
	case errors.Is(err, sqldb.ErrUnavailable), errors.Is(err, sqldb.ErrFailed):
		return &Error{Code: Unavailable, Message: "The catalog's storage cannot answer at the moment. Try again in a few seconds.", Err: err}
	}
	return err
}

func errNoBlueprint(id string) *Error { return fail(NotFound, "There is no blueprint %q", id) }

func errNoEntity(blueprint, id string) *Error {
	return fail(NotFound, "There is no entity %q of blueprint %q", id, blueprint)
}
