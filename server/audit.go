package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/trail"
)

// auditor is the gate's recorder: the trail, and a line in the log for denials and,
// at debug level, for changes.
type auditor struct {
	*trail.Trail
	log *slog.Logger
}

var _ gate.Recorder = auditor{}

// Record implements gate.Recorder.
func (a auditor) Record(ctx context.Context, c gate.Call, took time.Duration, err error) {
	a.Trail.Record(ctx, c, took, err)
	var denied *gate.Denied
	level := slog.LevelDebug
	switch {
	case errors.As(err, &denied):
		level = slog.LevelWarn
	case c.ReadOnly:
		return
	}
	if !a.log.Enabled(ctx, level) {
		return
	}
	attrs := []any{"principal", c.Principal.ARN, "action", c.Service + ":" + c.Action, "resources", c.Resources, "request", gate.CallerFrom(ctx).RequestID, "took", took}
	if err != nil {
		attrs = append(attrs, "error", err, "code", string(registry.CodeOf(err)))
	}
	a.log.Log(ctx, level, "call", attrs...)
}

// who describes a caller to the trail.
func who(ctx context.Context, id *identity.Identity, p arn.Principal) trail.Who {
	w := trail.Who{Type: p.Kind, PrincipalID: p.ID, ARN: p.ARN, AccountID: string(p.Account), AccessKeyID: p.AccessKeyID}
	switch p.Kind {
	case arn.KindUser:
		w.UserName = p.ARN[strings.LastIndexByte(p.ARN, '/')+1:]
	case arn.KindAssumedRole:
		about := id.About(ctx, p)
		w.Role, w.RoleID, w.Since, w.Provider = about.Role, about.RoleID, about.Since, about.Provider
	case arn.KindWebIdentity:
		w.UserName = p.ID
	}
	return w
}

// secrets are the members of requests and answers that nobody may read in a record,
// and bodies that would only make it long.
var secrets = map[string]bool{"SecretAccessKey": true, "SessionToken": true, "Password": true, "NewPassword": true, "OldPassword": true,
	"AuthorizationToken": true, "AccessToken": true, "ConsoleCode": true, "WebIdentityToken": true, "LayerPartBlob": true, "ZipFile": true, "AuthParameters": true, "Environment": true,
	"Payload": true, "LogEvents": true, "Detail": true}

// redact is what records do not hold of a request or its answer.
func redact(in any) awsproto.Redact {
	repository := ""
	if f := reflect.Indirect(reflect.ValueOf(in)).FieldByName("RepositoryName"); f.IsValid() {
		if name, ok := f.Interface().(*string); ok && name != nil {
			repository = *name
		}
	}
	return func(typeName, field string, value any) (any, bool) {
		if typeName == "Declaration" && field == "Spec" { // the changes themselves tell it
			return nil, false
		}
		if secrets[field] {
			return awsproto.Hidden, false
		}
		if text, ok := value.(*string); ok && field == "ImageManifest" {
			sum := sha256.Sum256([]byte(*text))
			return trail.ManifestRef(repository, "sha256:"+hex.EncodeToString(sum[:])), false
		}
		return nil, true
	}
}

// observe has every operation of a service recorded, those too that never become a
// call at the gate.
func observe(service string, a auditor) func(context.Context, string, any) (context.Context, func(any, error)) {
	return func(ctx context.Context, op string, in any) (context.Context, func(any, error)) {
		hide := redact(in)
		x := &gate.Exchange{Operation: op, Params: func() json.RawMessage { return awsproto.Describe(in, hide) }}
		inner := gate.WithExchange(ctx, x)
		return inner, func(out any, err error) {
			recorded := x.Done(func() json.RawMessage {
				if err != nil {
					return nil
				}
				return awsproto.Describe(out, hide)
			})
			caller := gate.CallerFrom(ctx)
			if recorded || caller.Principal.IsZero() {
				return
			}
			c := gate.Call{Principal: caller.Principal, Service: service, Action: op, ReadOnly: reads(op),
				Place: caller.Place()}
			a.Refused(inner, c, err)
		}
	}
}

// reads tells by its name that an operation changes nothing.
func reads(op string) bool {
	for _, verb := range []string{"Get", "List", "Describe", "BatchGet", "BatchCheck", "Lookup", "Explain", "Review", "Filter", "Test", "Validate", "Find"} {
		if strings.HasPrefix(op, verb) {
			return true
		}
	}
	return false
}
