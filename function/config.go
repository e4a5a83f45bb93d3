package function

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// check tells what is wrong with a configuration, and fills in defaults:
// InvalidParameter.
func (s *Functions) check(ctx context.Context, f *Function) error {
	if f.Timeout == 0 {
		f.Timeout = defaultTimeout
	}
	if f.Memory == 0 {
		f.Memory = defaultMemory
	}
	if f.Scratch == 0 {
		f.Scratch = 512
	}
	if f.Arch == "" {
		f.Arch = "x86_64"
	}
	size := 0
	for k, v := range f.Env {
		size += len(k) + len(v)
		if reserved[k] {
			return fail(InvalidParameter, "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", k)
		}
		if !envName.MatchString(k) || strings.ContainsRune(v, 0) {
			return fail(InvalidParameter, "The environment variable name %.80q is not valid: it must begin with a letter and hold letters, digits and underscores.", k)
		}
	}
	switch {
	case len(f.Name) > 64 || !functionName.MatchString(f.Name):
		return fail(InvalidParameter, "1 validation error detected: Value '%.100s' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-_]{1,64}", f.Name)
	case !roleARN.MatchString(f.Role):
		return fail(InvalidParameter, "1 validation error detected: Value '%.200s' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+", f.Role)
	case f.Timeout < 1 || f.Timeout > maxTimeout:
		return fail(InvalidParameter, "1 validation error detected: Value '%d' at 'timeout' failed to satisfy constraint: Member must have value between 1 and %d", f.Timeout, maxTimeout)
	case f.Memory < defaultMemory || f.Memory > maxMemory:
		return fail(InvalidParameter, "1 validation error detected: Value '%d' at 'memorySize' failed to satisfy constraint: Member must have value between %d and %d", f.Memory, defaultMemory, maxMemory)
	case size > maxEnvironment:
		return fail(InvalidParameter, "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit.")
	case len(f.Handler) > 128 || strings.ContainsAny(f.Handler, " \t\r\n\v\f\x00"):
		return fail(InvalidParameter, "1 validation error detected: Value '%.150s' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\\s]+", f.Handler)
	case len(f.Description) > 256:
		return fail(InvalidParameter, "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 256")
	case f.LogGroup != "" && (len(f.LogGroup) > 512 || !groupName.MatchString(f.LogGroup)):
		return fail(InvalidParameter, "1 validation error detected: Value '%.150s' at 'loggingConfig.logGroup' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+", f.LogGroup)
	case f.Handler == "" && !strings.HasPrefix(f.Runtime, "provided"):
		return fail(InvalidParameter, "The handler must be given for the runtime %s.", f.Runtime)
	case f.Runtime == "":
		return fail(InvalidParameter, "Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	if err := s.able(); err != nil {
		return fail(InvalidParameter, "Functions cannot run on this server: %v", err)
	}
	if err := s.box.Check(f.Runtime); err != nil {
		return fail(InvalidParameter, "The runtime %s cannot run on this server: %v", f.Runtime, err)
	}
	a, err := arn.Parse(f.Role)
	if err != nil || a.Account != f.Place.Account {
		return fail(InvalidParameter, "Cross-account pass role is not allowed.")
	}
	if err := s.options.MayAssume(ctx, f.Role, f.ARN()); err != nil {
		return &Error{Code: InvalidParameter, Message: "The role defined for the function cannot be assumed by Lambda.", Err: err}
	}
	return nil
}

// able fails if functions cannot run on this server, and says what is missing.
func (s *Functions) able() error {
	if s.box == nil {
		return errors.New("they are switched off (--functions=off)")
	}
	return s.box.Prepare()
}

// touch gives a changed configuration its revision.
func (s *Functions) touch(f *Function) {
	f.Revision, f.LastModified = uuid.NewString(), s.now().UTC()
}

// Archive checks an archive of code and returns what names it: InvalidParameter,
// RequestTooLarge.
func Archive(zip []byte) (sha string, err error) {
	if len(zip) > maxZip {
		return "", fail(RequestTooLarge, "The archive has %d bytes, %d are allowed.", len(zip), maxZip)
	}
	if err := checkZip(zip); err != nil {
		return "", &Error{Code: InvalidParameter, Message: "Could not unzip uploaded file. Please check your file, then try to upload again.", Err: err}
	}
	sum := sha256.Sum256(zip)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// Create makes a function: Conflict, InvalidParameter and those of Archive. publish also
// makes its first version, which is then returned.
func (s *Functions) Create(ctx context.Context, f *Function, zip []byte, publish bool) (*Function, error) {
	sha, err := Archive(zip)
	if err != nil {
		return nil, err
	}
	f.CodeSHA, f.CodeSize, f.Version, f.Reserved = sha, int64(len(zip)), Latest, -1
	if err := s.check(ctx, f); err != nil {
		return nil, err
	}
	if len(f.Tags) > maxTags {
		return nil, fail(InvalidParameter, "A function may have %d tags.", maxTags)
	}
	s.touch(f)
	err = s.db.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := countFunctions(tx, f.Place)
		if err != nil {
			return err
		}
		if n >= maxFunctions {
			return fail(StorageExceeded, "The account has %d functions here, no more are allowed.", n)
		}
		if err := putCode(tx, f, zip, s.now()); err != nil {
			return err
		}
		return s.insert(tx, f)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return nil, fail(Conflict, "Function already exist: %s", f.Name)
	}
	if err != nil || !publish {
		return f, err
	}
	return s.Publish(ctx, f.Place, f.Name, "", "", f.Description)
}

// Get returns a function as a qualifier names it: "" or $LATEST, a version, or an alias:
// NotFound.
func (s *Functions) Get(ctx context.Context, p arn.Place, name, qualifier string) (*Function, error) {
	f, err := s.read(ctx, p, name)
	if sqldb.IsNoRows(err) {
		return nil, errFunction(p, name, qualifier)
	}
	if err != nil || qualifier == "" || qualifier == Latest {
		return f, err
	}
	v := version(qualifier)
	if v == 0 {
		a, err := s.Alias(ctx, p, name, qualifier)
		if CodeOf(err) == NotFound {
			return nil, errFunction(p, name, qualifier)
		}
		if err != nil {
			return nil, err
		}
		if a.pick() == Latest {
			return f, nil
		}
		v = version(a.pick())
	}
	g, err := s.readVersion(ctx, f, v)
	if sqldb.IsNoRows(err) {
		return nil, errFunction(p, name, qualifier)
	}
	return g, err
}

// Update applies fn to a function's configuration and, when zip is not nil, gives it new
// code: NotFound, Precondition, InvalidParameter. revision, unless "", must be the
// current one.
func (s *Functions) Update(ctx context.Context, p arn.Place, name, revision string, zip []byte, fn func(*Function)) (*Function, error) {
	f, err := s.Get(ctx, p, name, "")
	if err != nil {
		return nil, err
	}
	if revision != "" && revision != f.Revision {
		return nil, errRevision()
	}
	was := f.Revision
	fn(f)
	if zip != nil {
		sha, err := Archive(zip)
		if err != nil {
			return nil, err
		}
		f.CodeSHA, f.CodeSize = sha, int64(len(zip))
	}
	if err := s.check(ctx, f); err != nil {
		return nil, err
	}
	s.touch(f)
	return f, s.db.Write(ctx, func(tx *sqldb.Tx) error {
		if zip != nil {
			if err := putCode(tx, f, zip, s.now()); err != nil {
				return err
			}
		}
		ok, err := s.replace(tx, f, was)
		if err == nil && !ok {
			return fail(Conflict, "The operation cannot be performed at this time. An update is in progress for resource: %s", f.ARN())
		}
		return err
	})
}

// Delete removes a function with its versions and aliases, or one version: NotFound,
// Conflict.
func (s *Functions) Delete(ctx context.Context, p arn.Place, name, qualifier string) error {
	f, err := s.Get(ctx, p, name, qualifier)
	if err != nil {
		return err
	}
	v := version(qualifier)
	if qualifier != "" && v == 0 {
		return fail(InvalidParameter, "$LATEST version cannot be deleted without deleting the function.")
	}
	if v > 0 {
		return s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error { return deleteVersion(tx, f, v) })
	}
	defer s.pool.drop(f)
	return s.db.Write(ctx, func(tx *sqldb.Tx) error { return deleteFunction(tx, f) })
}

// Publish makes a version of what a function is now. Without a change since the last one
// it returns that: NotFound, Precondition, InvalidParameter.
func (s *Functions) Publish(ctx context.Context, p arn.Place, name, codeSHA, revision, description string) (*Function, error) {
	f, err := s.Get(ctx, p, name, "")
	if err != nil {
		return nil, err
	}
	if revision != "" && revision != f.Revision {
		return nil, errRevision()
	}
	if codeSHA != "" && codeSHA != f.CodeSHA {
		return nil, fail(InvalidParameter, "CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.", codeSHA, f.CodeSHA)
	}
	if f.last > 0 {
		if g, err := s.readVersion(ctx, f, f.last); err == nil && same(f, g) {
			return g, nil
		}
	}
	g := *f
	g.Version = fmt.Sprint(f.last + 1)
	if description != "" {
		g.Description = description
	}
	s.touch(&g)
	return &g, s.db.Write(ctx, func(tx *sqldb.Tx) error {
		ok, err := s.insertVersion(tx, &g, f.last)
		if err == nil && !ok {
			return fail(Conflict, "The operation cannot be performed at this time. An update is in progress for resource: %s", f.ARN())
		}
		return err
	})
}

func same(f, g *Function) bool {
	return f.CodeSHA == g.CodeSHA && f.Handler == g.Handler && f.Runtime == g.Runtime && f.Role == g.Role && f.Timeout == g.Timeout && f.Memory == g.Memory &&
		maps.Equal(f.Env, g.Env) && f.LogGroup == g.LogGroup
}

// Tag changes a function's tags: NotFound, InvalidParameter.
func (s *Functions) Tag(ctx context.Context, p arn.Place, name string, add map[string]string, remove []string) error {
	return s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		maps.Copy(f.Tags, add)
		for _, k := range remove {
			delete(f.Tags, k)
		}
		if len(f.Tags) > maxTags {
			return fail(InvalidParameter, "A function may have %d tags.", maxTags)
		}
		return updateTags(tx, f)
	})
}

// with runs fn on a function, which nobody else changes meanwhile: NotFound.
func (s *Functions) with(ctx context.Context, p arn.Place, name string, fn func(*sqldb.Tx, *Function) error) error {
	return s.db.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.lock(tx, p, name)
		if sqldb.IsNoRows(err) {
			return errFunction(p, name, "")
		}
		if err != nil {
			return err
		}
		return fn(tx, f)
	})
}

// Reserve sets how many invocations of a function may run at once, -1 for no limit of
// its own: NotFound, InvalidParameter.
func (s *Functions) Reserve(ctx context.Context, p arn.Place, name string, n int) error {
	return s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		if n < -1 || n > s.options.Concurrency {
			return fail(InvalidParameter, "ReservedConcurrentExecutions must be between 0 and %d.", s.options.Concurrency)
		}
		f.Reserved = n
		return updateReserved(tx, f)
	})
}

// Alias is a name for a version.
type Alias struct {
	Name        string             `json:"-"`
	Version     string             `json:"version"`
	Description string             `json:"description,omitempty"`
	Weights     map[string]float64 `json:"weights,omitempty"` // of another version
	Revision    string             `json:"revision"`
}

// pick is the version that an invocation gets.
func (a *Alias) pick() string {
	for v, w := range a.Weights {
		if rand.Float64() < w {
			return v
		}
	}
	return a.Version
}

// CreateAlias makes an alias: NotFound, Conflict, InvalidParameter.
func (s *Functions) CreateAlias(ctx context.Context, p arn.Place, name string, a *Alias) error {
	if len(a.Name) > 128 || !functionName.MatchString(a.Name) || version(a.Name) > 0 {
		return fail(InvalidParameter, "1 validation error detected: Value '%.150s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)", a.Name)
	}
	a.Revision = uuid.NewString()
	err := s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		if err := checkVersions(tx, f, a); err != nil {
			return err
		}
		return insertAlias(tx, f, a)
	})
	if errors.Is(err, sqldb.ErrUnique) {
		return fail(Conflict, "Alias already exists: %s:%s", ARN(p, name), a.Name)
	}
	return err
}

// ChangeAlias applies fn to an alias. revision, unless "", must be the current one:
// NotFound, Precondition.
func (s *Functions) ChangeAlias(ctx context.Context, p arn.Place, name, alias, revision string, fn func(*Alias)) (*Alias, error) {
	var a *Alias
	err := s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		var err error
		if a, err = txAlias(tx, f, alias); sqldb.IsNoRows(err) {
			return errAlias(p, name, alias)
		}
		if err != nil {
			return err
		}
		if revision != "" && revision != a.Revision {
			return errRevision()
		}
		fn(a)
		if err := checkVersions(tx, f, a); err != nil {
			return err
		}
		a.Revision = uuid.NewString()
		return updateAlias(tx, f, a)
	})
	return a, err
}

// checkVersions finds the versions that an alias points to: NotFound.
func checkVersions(tx *sqldb.Tx, f *Function, a *Alias) error {
	for _, v := range append(slices.Collect(maps.Keys(a.Weights)), a.Version) {
		if v == Latest {
			continue
		}
		if there, err := hasVersion(tx, f, version(v)); err != nil {
			return err
		} else if !there {
			return errFunction(f.Place, f.Name, v)
		}
	}
	return nil
}

func errAlias(p arn.Place, name, alias string) error {
	return fail(NotFound, "Cannot find alias arn: %s:%s", ARN(p, name), alias)
}

func errRevision() error {
	return fail(Precondition, "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve the latest RevisionId")
}

// Alias returns an alias: NotFound.
func (s *Functions) Alias(ctx context.Context, p arn.Place, name, alias string) (*Alias, error) {
	a, err := s.readAlias(ctx, p, name, alias)
	if sqldb.IsNoRows(err) {
		return nil, errAlias(p, name, alias)
	}
	return a, err
}

// DeleteAlias removes an alias; one that is not there is no error: NotFound (the
// function).
func (s *Functions) DeleteAlias(ctx context.Context, p arn.Place, name, alias string) error {
	f, err := s.Get(ctx, p, name, "")
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error { return deleteAlias(tx, f, alias) })
}

// EventConfig says how asynchronous invocations are tried again; -1 is the default.
type EventConfig struct {
	Retries   int    `json:"retries"`
	Age       int    `json:"age"` // seconds
	OnSuccess string `json:"onSuccess,omitempty"`
	OnFailure string `json:"onFailure,omitempty"`
	Modified  int64  `json:"modified"` // milliseconds
}

// PutEventConfig sets how asynchronous invocations of a qualifier are tried again: fn
// changes the default or, unless anew, what was set before. NotFound, InvalidParameter.
func (s *Functions) PutEventConfig(ctx context.Context, p arn.Place, name, qualifier string, anew bool, fn func(*EventConfig)) (*EventConfig, error) {
	if _, err := s.Get(ctx, p, name, qualifier); err != nil {
		return nil, err
	}
	var c *EventConfig
	err := s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		var err error
		if c = defaultConfig(); !anew {
			if c, err = txEventConfig(tx, f, canonical(qualifier)); sqldb.IsNoRows(err) {
				return errEventConfig(f, qualifier)
			}
		}
		if err != nil {
			return err
		}
		fn(c)
		if err := c.check(); err != nil {
			return err
		}
		c.Modified = s.now().UnixMilli()
		return upsertEventConfig(tx, f, canonical(qualifier), c)
	})
	return c, err
}

func defaultConfig() *EventConfig { return &EventConfig{Retries: -1, Age: -1} }

func errEventConfig(f *Function, qualifier string) error {
	return fail(NotFound, "The function %s:%s doesn't have an EventInvokeConfig", f.ARN(), canonical(qualifier))
}

func (c *EventConfig) check() error {
	if c.Retries < -1 || c.Retries > 2 || c.Age != -1 && (c.Age < 60 || c.Age > 21600) {
		return fail(InvalidParameter, "MaximumRetryAttempts must be between 0 and 2, MaximumEventAgeInSeconds between 60 and 21600.")
	}
	for _, d := range []string{c.OnSuccess, c.OnFailure} {
		if a, err := arn.Parse(d); d != "" && (err != nil || a.Service != "lambda" && a.Service != "logs") {
			return fail(InvalidParameter, "The provided destination config DestinationConfig is invalid: this server delivers to functions and log groups, not to %.200s.", d)
		}
	}
	return nil
}

func canonical(qualifier string) string {
	if qualifier == "" {
		return Latest
	}
	return qualifier
}

// EventConfigOf returns how asynchronous invocations are tried again: NotFound when
// nobody has said.
func (s *Functions) EventConfigOf(ctx context.Context, p arn.Place, name, qualifier string) (*EventConfig, error) {
	f, err := s.Get(ctx, p, name, qualifier)
	if err != nil {
		return nil, err
	}
	c, err := s.readEventConfig(ctx, f, canonical(qualifier))
	if sqldb.IsNoRows(err) {
		return nil, errEventConfig(f, qualifier)
	}
	return c, err
}

// DeleteEventConfig goes back to the default: NotFound.
func (s *Functions) DeleteEventConfig(ctx context.Context, p arn.Place, name, qualifier string) error {
	if _, err := s.EventConfigOf(ctx, p, name, qualifier); err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error { return deleteEventConfig(tx, p, name, canonical(qualifier)) })
}
