package function

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
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
