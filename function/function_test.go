package function_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/function"
	"github.com/berth-registry/berth/function/worker"
	"github.com/berth-registry/berth/internal/berthtest"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

func TestMain(m *testing.M) { os.Exit(berthtest.Main(m)) }

var here = arn.Place{Account: "000000000012", Region: "eu-west-1"}

const role = "arn:aws:iam::000000000012:role/runner"

// bed is a plane with what it needs of others.
type bed struct {
	*function.Functions
	mu    sync.Mutex
	lines []string
	later [][]byte
	dir   string       // of the sandboxes
	ahead atomic.Int64 // of the clock, nanoseconds
}

func open(t *testing.T, db *sqldb.DB) *bed {
	t.Helper()
	if err := db.Migrate(t.Context(), "function", function.Migrations()); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "berth-function")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	box, err := worker.NewBox(dir, worker.BoxOptions{Program: berthtest.Binary(t)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{dir: dir}
	b.Functions = function.New(db, secret.NewMaster(make([]byte, 32)), function.Options{Box: box, Concurrency: 3,
		Now: func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) },
		MayAssume: func(_ context.Context, r, _ string) error {
			if r != role {
				return errors.New("the role does not trust Lambda")
			}
			return nil
		},
		Credentials: func(context.Context, string, string, string) (function.Credentials, error) {
			return function.Credentials{AccessKeyID: "ASIAX", Secret: "s", SessionToken: "t", Expires: time.Now().Add(time.Hour)}, nil
		},
		Log: func(_ context.Context, _ arn.Place, group, _ string, lines []function.Line) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, l := range lines {
				b.lines = append(b.lines, group+" "+l.Text)
			}
			return nil
		},
		Later: func(_ context.Context, _ arn.Place, _ string, payload []byte, _ *function.EventConfig) error {
			b.later = append(b.later, payload)
			return nil
		}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; box.Close() })
	return b
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func code(t *testing.T, err error, want function.Code) {
	t.Helper()
	if function.CodeOf(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func (b *bed) create(t *testing.T, name, python string) *function.Function {
	t.Helper()
	f, err := b.Create(t.Context(), &function.Function{Place: here, Name: name, Runtime: "python3.12", Handler: "index.handler", Role: role, Timeout: 5,
		Env: map[string]string{"GREETING": "hello"}, Tags: map[string]string{}}, archive(t, map[string]string{"index.py": python}), false)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (b *bed) invoke(t *testing.T, name, qualifier, payload string) string {
	t.Helper()
	out, err := b.Invoke(t.Context(), function.Invocation{Place: here, Name: name, Qualifier: qualifier, Payload: []byte(payload)})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Payload)
}

// TestVersions: versions stay what they were, aliases point at them, and updates are
// felt at once.
func TestVersions(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		b.create(t, "f", "import os\ndef handler(e, c): return os.environ['GREETING'] + ' 1'\n")
		if got := b.invoke(t, "f", "", "{}"); got != `"hello 1"` {
			t.Fatal(got)
		}
		v1, err := b.Publish(ctx, here, "f", "", "", "")
		if err != nil || v1.Version != "1" {
			t.Fatalf("%+v %v", v1, err)
		}
		if again, err := b.Publish(ctx, here, "f", "", "", ""); err != nil || again.Version != "1" {
			t.Errorf("without a change: %+v %v", again, err)
		}
		f, err := b.Update(ctx, here, "f", "", archive(t, map[string]string{"index.py": "def handler(e, c): return 2\n"}), func(*function.Function) {})
		if err != nil || f.CodeSHA == v1.CodeSHA {
			t.Fatal(f, err)
		}
		_, err = b.Update(ctx, here, "f", v1.Revision, nil, func(*function.Function) {})
		code(t, err, function.Precondition)
		if got := b.invoke(t, "f", "", "{}"); got != "2" {
			t.Error(got)
		}
		if got := b.invoke(t, "f", "1", "{}"); got != `"hello 1"` {
			t.Error(got)
		}
		if err := b.CreateAlias(ctx, here, "f", &function.Alias{Name: "live", Version: "1"}); err != nil {
			t.Fatal(err)
		}
		code(t, b.CreateAlias(ctx, here, "f", &function.Alias{Name: "live", Version: "1"}), function.Conflict)
		code(t, b.CreateAlias(ctx, here, "f", &function.Alias{Name: "more", Version: "9"}), function.NotFound)
		if got := b.invoke(t, "f", "live", "{}"); got != `"hello 1"` {
			t.Error(got)
		}
		code(t, b.Delete(ctx, here, "f", "1"), function.Conflict)
		if err := errors.Join(b.DeleteAlias(ctx, here, "f", "live"), b.Delete(ctx, here, "f", "1"), b.Delete(ctx, here, "f", "")); err != nil {
			t.Fatal(err)
		}
		_, err = b.Invoke(ctx, function.Invocation{Place: here, Name: "f"})
		code(t, err, function.NotFound)
	})
}

// TestPermissions: services are let in by the statements for their resource.
func TestPermissions(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b, ctx := open(t, db), t.Context()
		f := b.create(t, "f", "def handler(e, c): pass\n")
		rule := "arn:aws:events:eu-west-1:000000000012:rule/r"
		may := func(service, source string) bool {
			t.Helper()
			ok, err := b.ServiceMay(ctx, here, "f", "", service, source)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if may("events.amazonaws.com", rule) {
			t.Error("without a permission")
		}
		st := `{"Sid":"s","Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + f.ARN() + `","Condition":{"ArnLike":{"AWS:SourceArn":"` + rule + `"}}}`
		if err := b.AddPermission(ctx, here, "f", &function.Permission{ID: "s", Statement: json.RawMessage(st)}); err != nil {
			t.Fatal(err)
		}
		code(t, b.AddPermission(ctx, here, "f", &function.Permission{ID: "s", Statement: json.RawMessage(st)}), function.Conflict)
		code(t, b.AddPermission(ctx, here, "f", &function.Permission{ID: "x", Statement: json.RawMessage(`{"Effect":"Maybe"}`)}), function.InvalidParameter)
		if !may("events.amazonaws.com", rule) || may("events.amazonaws.com", rule+"2") || may("s3.amazonaws.com", rule) {
			t.Error("the permission lets in others than it should")
		}
		if err := b.RemovePermission(ctx, here, "f", "", "s"); err != nil {
			t.Fatal(err)
		}
		code(t, b.RemovePermission(ctx, here, "f", "", "s"), function.NotFound)
		if may("events.amazonaws.com", rule) {
			t.Error("after the permission was removed")
		}
	})
}

// TestRuns: what a run leaves, and what happens when too many are asked for.
func TestRuns(t *testing.T) {
	b, ctx := open(t, sqldbtest.SQLite(t)), t.Context()
	b.create(t, "f", "import time\ndef handler(e, c):\n    print('working')\n    time.sleep(e.get('sleep', 0))\n    if e.get('fail'): raise ValueError('no')\n    return c.log_group_name\n")
	out, err := b.Invoke(ctx, function.Invocation{Place: here, Name: "f", Payload: []byte(`{"fail":1}`), Delivery: "d"})
	if err != nil || out.FunctionError != "Unhandled" || !strings.Contains(out.Tail, "ValueError: no") {
		t.Errorf("%+v %v", out, err)
	}
	run, err := b.RunByID(ctx, here, out.ID)
	if err != nil || run.Outcome != "failed" || run.Error != "ValueError: no" || run.Delivery != "d" || run.Group != "/aws/lambda/f" || run.Stream == "" {
		t.Errorf("%+v %v", run, err)
	}
	if got := b.invoke(t, "f", "", "{}"); got != `"/aws/lambda/f"` {
		t.Error(got)
	}
	b.mu.Lock()
	text := strings.Join(b.lines, "\n")
	b.mu.Unlock()
	for _, want := range []string{"/aws/lambda/f START RequestId: " + out.ID + " Version: $LATEST", "/aws/lambda/f working", "/aws/lambda/f END RequestId: " + out.ID,
		"Billed Duration:", "Init Duration:"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q was not logged:\n%s", want, text)
		}
	}
	slow, err := b.Invoke(ctx, function.Invocation{Place: here, Name: "f", Payload: []byte(`{"sleep":60}`)})
	if err != nil || slow.Outcome != "timed out" || !strings.Contains(string(slow.Payload), "Task timed out after 5.00 seconds") {
		t.Errorf("%+v %v", slow, err)
	}
	if err := b.Reserve(ctx, here, "f", 1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for range 3 {
		wg.Go(func() {
			_, err := b.Invoke(ctx, function.Invocation{Place: here, Name: "f", Payload: []byte(`{"sleep":1}`)})
			if function.CodeOf(err) == function.TooManyRequests {
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if refused != 2 {
		t.Errorf("%d of 3 were refused with a concurrency of 1", refused)
	}
	_, err = b.Invoke(ctx, function.Invocation{Place: here, Name: "f", Payload: []byte("{")})
	code(t, err, function.InvalidContent)
	if err := b.Later(ctx, &function.Invocation{Place: here, Name: "f"}); err != nil || len(b.later) != 1 || string(b.later[0]) != "{}" {
		t.Errorf("%q %v", b.later, err)
	}
}

// TestRefused: configurations and archives that are not acceptable change nothing.
func TestRefused(t *testing.T) {
	b, ctx := open(t, sqldbtest.SQLite(t)), t.Context()
	good := archive(t, map[string]string{"index.py": "x = 1"})
	for name, c := range map[string]struct {
		change func(*function.Function)
		zip    []byte
		want   function.Code
	}{
		"name":               {func(f *function.Function) { f.Name = "a b" }, good, function.InvalidParameter},
		"name's length":      {func(f *function.Function) { f.Name = strings.Repeat("x", 65) }, good, function.InvalidParameter},
		"handler":            {func(f *function.Function) { f.Handler = "index.handler x" }, good, function.InvalidParameter},
		"a NUL":              {func(f *function.Function) { f.Handler = "index.handler\x00--bind" }, good, function.InvalidParameter},
		"log group":          {func(f *function.Function) { f.LogGroup = "a b" }, good, function.InvalidParameter},
		"description":        {func(f *function.Function) { f.Description = strings.Repeat("x", 257) }, good, function.InvalidParameter},
		"role":               {func(f *function.Function) { f.Role = "runner" }, good, function.InvalidParameter},
		"role of another":    {func(f *function.Function) { f.Role = "arn:aws:iam::000000000034:role/runner" }, good, function.InvalidParameter},
		"role without trust": {func(f *function.Function) { f.Role += "2" }, good, function.InvalidParameter},
		"runtime":            {func(f *function.Function) { f.Runtime = "cobol" }, good, function.InvalidParameter},
		"timeout":            {func(f *function.Function) { f.Timeout = 901 }, good, function.InvalidParameter},
		"memory":             {func(f *function.Function) { f.Memory = 64 }, good, function.InvalidParameter},
		"environment":        {func(f *function.Function) { f.Env = map[string]string{"AWS_REGION": "x"} }, good, function.InvalidParameter},
		"environment's size": {func(f *function.Function) { f.Env = map[string]string{"X": strings.Repeat("x", 5000)} }, good, function.InvalidParameter},
		"no archive":         {func(*function.Function) {}, []byte("PK"), function.InvalidParameter},
		"a path up":          {func(*function.Function) {}, archive(t, map[string]string{"../x": "x"}), function.InvalidParameter},
		"an absolute path":   {func(*function.Function) {}, archive(t, map[string]string{"/etc/x": "x"}), function.InvalidParameter},
		"a backslash":        {func(*function.Function) {}, archive(t, map[string]string{`..\x`: "x"}), function.InvalidParameter},
		"a symlink":          {func(*function.Function) {}, link(t), function.InvalidParameter},
		"a bomb":             {func(*function.Function) {}, bomb(t), function.InvalidParameter},
	} {
		f := &function.Function{Place: here, Name: "f", Runtime: "python3.12", Handler: "index.handler", Role: role}
		c.change(f)
		_, err := b.Create(ctx, f, c.zip, false)
		if function.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := b.List(ctx, here, "", 10); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

// bomb is an archive whose one file says that it is larger than all may be.
func bomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&zip.FileHeader{Name: "x", Method: zip.Deflate, CompressedSize64: 4, UncompressedSize64: 260 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("bomb")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func link(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "x"}
	h.SetMode(os.ModeSymlink | 0o777)
	f, err := w.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("/etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func FuzzArchive(f *testing.F) {
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := function.Archive(b); err != nil && function.CodeOf(err) == "" {
			t.Error(err)
		}
	})
}
