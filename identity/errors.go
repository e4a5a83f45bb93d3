package identity

import (
	"errors"
	"fmt"

	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

// Code is what went wrong, in the words of IAM's and STS's APIs.
type Code string

// The codes.
const (
	NoSuchEntity            Code = "NoSuchEntity"
	EntityAlreadyExists     Code = "EntityAlreadyExists"
	DeleteConflict          Code = "DeleteConflict"
	LimitExceeded           Code = "LimitExceeded"
	MalformedPolicyDocument Code = "MalformedPolicyDocument"
	InvalidInput            Code = "InvalidInput"
	ValidationError         Code = "ValidationError"
	PasswordPolicyViolation Code = "PasswordPolicyViolation"
	AccessDenied            Code = "AccessDenied"
	PackedPolicyTooLarge    Code = "PackedPolicyTooLarge"
	InvalidIdentityToken    Code = "InvalidIdentityToken"
	ExpiredToken            Code = "ExpiredTokenException"
	IDPCommunicationError   Code = "IDPCommunicationError"
	InvalidMessage          Code = "InvalidAuthorizationMessageException"
	Unavailable             Code = "ServiceUnavailable"
)

// Codes lists the codes, for tests that no table has a gap.
func Codes() []Code {
	return []Code{NoSuchEntity, EntityAlreadyExists, DeleteConflict, LimitExceeded, MalformedPolicyDocument, InvalidInput, ValidationError,
		PasswordPolicyViolation, AccessDenied, PackedPolicyTooLarge, InvalidIdentityToken, ExpiredToken, IDPCommunicationError, InvalidMessage, Unavailable}
}

// Error is a refusal, with a text for the caller.
type Error struct {
	Code    Code
	Message string
	Err     error // what caused it, for the log
}

func (e *Error) Error() string { return e.Message }

// Unwrap serves errors.Is.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode and ErrorMessage are what a record of the call says.
func (e *Error) ErrorCode() string { return string(e.Code) }

// ErrorMessage is the text for the caller.
func (e *Error) ErrorMessage() string { return e.Message }

func fail(c Code, format string, args ...any) error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of an error of this package, or "".
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// storage turns the database's errors into this package's.
func storage(err error) error {
	if errors.Is(err, sqldb.ErrUnavailable) || errors.Is(err, sqldb.ErrFull) || errors.Is(err, sqldb.ErrFailed) {
		return &Error{Code: Unavailable, Message: "The request could not be stored at the moment. Try again.", Err: err}
	}
	return err
}

func malformed(err error) error {
	return &Error{Code: MalformedPolicyDocument, Message: "Malformed policy: " + policy.Why(err) + ".", Err: err}
}
