// Package function is Lambda's plane: functions, their versions, aliases and
// permissions, and the running of them.
//
// Code runs in workers (package worker), one process per invocation at a time, reused
// while it is fresh. A function acts with the credentials of its role; what it prints
// goes to its log group. The package does not know events or rules: whoever invokes a
// function calls Invoke.
package function

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// Code is what went wrong, in Lambda's own names. The set is closed.
type Code string

// The codes.
const (
	NotFound         Code = "ResourceNotFoundException"
	Conflict         Code = "ResourceConflictException"
	InvalidParameter Code = "InvalidParameterValueException"
	Precondition     Code = "PreconditionFailedException"
	PolicyTooLong    Code = "PolicyLengthExceededException"
	TooManyRequests  Code = "TooManyRequestsException"
	StorageExceeded  Code = "CodeStorageExceededException"
	InvalidContent   Code = "InvalidRequestContentException"
	RequestTooLarge  Code = "RequestTooLargeException"
	ServiceFailed    Code = "ServiceException"
)

// Codes lists every code, for the table's test.
func Codes() []Code {
	return []Code{NotFound, Conflict, InvalidParameter, Precondition, PolicyTooLong, TooManyRequests, StorageExceeded, InvalidContent, RequestTooLarge,
		ServiceFailed}
}

// Error is a refusal, with a text for the caller.
type Error struct {
	Code    Code
	Message string
	Err     error // the cause, for the log
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap serves errors.Is.
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

func fail(c Code, format string, args ...any) error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Latest is the version of a function that can be changed.
const Latest = "$LATEST"

// Function is a function's configuration, of one version.
type Function struct {
	Place        arn.Place         `json:"-"`
	Name         string            `json:"-"`
	Version      string            `json:"version"`
	Runtime      string            `json:"runtime"`
	Handler      string            `json:"handler"`
	Role         string            `json:"role"` // ARN
	Description  string            `json:"description,omitempty"`
	Timeout      int               `json:"timeout"` // seconds
	Memory       int               `json:"memory"`  // MiB
	Scratch      int               `json:"scratch"` // MiB, as it was asked for
	Env          map[string]string `json:"-"`
	HasEnv       bool              `json:"hasEnv,omitempty"`
	SealedEnv    []byte            `json:"env,omitempty"`
	Arch         string            `json:"arch"`
	LogGroup     string            `json:"logGroup,omitempty"` // "" for the usual one
	LogFormat    string            `json:"logFormat,omitempty"`
	DeadLetter   string            `json:"deadLetter,omitempty"`
	Tracing      string            `json:"tracing,omitempty"`
	CodeSHA      string            `json:"codeSha"` // base64 of SHA-256
	CodeSize     int64             `json:"codeSize"`
	Revision     string            `json:"revision"`
	LastModified time.Time         `json:"modified"`

	Tags     map[string]string `json:"-"`
	Reserved int               `json:"-"` // concurrency, -1 for none
	last     int64
}

// ARN is the function's ARN, without a version.
func (f *Function) ARN() string { return ARN(f.Place, f.Name) }

// ARN is the ARN of a function.
func ARN(p arn.Place, name string) string {
	return arn.ARN{Service: "lambda", Region: p.Region, Account: p.Account, Resource: "function:" + name}.String()
}

// Number is the version's number, 0 for $LATEST.
func (f *Function) Number() int64 { return version(f.Version) }

// Group is the log group that the function's output goes to.
func (f *Function) Group() string {
	if f.LogGroup != "" {
		return f.LogGroup
	}
	return "/aws/lambda/" + f.Name
}

// Limits (Lambda quotas).
const (
	maxFunctions   = 1000
	maxZip         = 50 << 20
	maxUnzipped    = 250 << 20
	maxFiles       = 20_000
	maxEnvironment = 4 << 10
	maxPolicy      = 20 << 10
	maxPayload     = 6 << 20
	maxAsync       = 1 << 20
	maxTags        = 50
	defaultTimeout = 3
	maxTimeout     = 900
	defaultMemory  = 128
	maxMemory      = 10240
	codePart       = 1 << 20
)

// DefaultConcurrency is how many invocations run at once on a node unless Options say
// otherwise.
const DefaultConcurrency = 100

// Credentials are what a function acts with.
type Credentials struct {
	AccessKeyID  string
	Secret       secret.String
	SessionToken string
	Expires      time.Time
}

// Line is a line that a function prints.
type Line struct {
	At   time.Time
	Text string
}

// Options configures Functions.
type Options struct {
	// Box makes sandboxes; nil when functions are switched off.
	Box *worker.Box
	// MayAssume fails if Lambda may not act with a role for a function, and Credentials
	// makes a session of it.
	MayAssume   func(ctx context.Context, role, function string) error
	Credentials func(ctx context.Context, role, function, session string) (Credentials, error)
	// Log takes what functions print.
	Log func(ctx context.Context, p arn.Place, group, stream string, lines []Line) error
	// Later queues an asynchronous invocation: it survives this process.
	Later func(ctx context.Context, p arn.Place, function string, payload []byte, c *EventConfig) error
	// Socket is the unix socket that leads to the API, and Port where functions find it
	// on 127.0.0.1. URL is the endpoint as functions without a sandbox find it.
	Socket string
	Port   int
	URL    string
	// Concurrency is how many invocations run at once on this node; 0 is
	// DefaultConcurrency.
	Concurrency int
	Now         func() time.Time
	Logger      *slog.Logger
}

// Functions is the plane. It is safe for concurrent use.
type Functions struct {
	db      *sqldb.DB
	options Options
	box     *worker.Box
	sealed  *secret.Box
	pages   *secret.Box
	now     func() time.Time
	log     *slog.Logger
	pool    *pool

	codesMu sync.Mutex
	codes   map[codeKey]*unpacking
}

// New makes the plane on a migrated database.
func New(db *sqldb.DB, master *secret.Master, o Options) *Functions {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	return &Functions{db: db, options: o, box: o.Box, sealed: master.Box("function-environment"), pages: master.Box("function-pages"), now: o.Now,
		log: o.Logger, codes: map[codeKey]*unpacking{}, pool: newPool()}
}

// PageToken makes the token for what follows key in the results of query.
func (s *Functions) PageToken(query string, key any) string { return s.pages.Token(query, key) }

// OpenPageToken reads a token back into key: InvalidParameter.
func (s *Functions) OpenPageToken(query, token string, key any) error {
	if s.pages.Untoken(query, token, key) != nil {
		return fail(InvalidParameter, "Invalid Marker: it was not made for this request.")
	}
	return nil
}

var (
	functionName = regexp.MustCompile(`^[a-zA-Z0-9-_]+$`)
	groupName    = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]+$`)
	envName      = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)
	roleARN      = regexp.MustCompile(`^arn:aws:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-/]+$`)
)

// reserved are environment variables that Lambda sets itself.
var reserved = map[string]bool{"_HANDLER": true, "_X_AMZN_TRACE_ID": true, "AWS_DEFAULT_REGION": true, "AWS_REGION": true, "AWS_EXECUTION_ENV": true,
	"AWS_LAMBDA_FUNCTION_NAME": true, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": true, "AWS_LAMBDA_FUNCTION_VERSION": true, "AWS_LAMBDA_INITIALIZATION_TYPE": true,
	"AWS_LAMBDA_LOG_GROUP_NAME": true, "AWS_LAMBDA_LOG_STREAM_NAME": true, "AWS_ACCESS_KEY": true, "AWS_ACCESS_KEY_ID": true, "AWS_SECRET_ACCESS_KEY": true,
	"AWS_SESSION_TOKEN": true, "AWS_LAMBDA_RUNTIME_API": true, "LAMBDA_TASK_ROOT": true, "LAMBDA_RUNTIME_DIR": true}

func errFunction(p arn.Place, name, qualifier string) error {
	resource := ARN(p, name)
	if qualifier != "" {
		resource += ":" + qualifier
	}
	return fail(NotFound, "Function not found: %s", resource)
}

// version reads a version's number, 0 when it is none.
func version(qualifier string) int64 {
	n, err := strconv.ParseInt(qualifier, 10, 64)
	if err != nil || n < 1 {
		return 0
	}
	return n
}
