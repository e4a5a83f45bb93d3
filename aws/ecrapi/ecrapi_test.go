package ecrapi

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
	"github.com/berth-registry/berth/blob/keyring"
	"github.com/berth-registry/berth/blob/memblob"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

const account = arn.Account("000000000012")

type fixed struct{}

func (fixed) Registry(context.Context, arn.Place) (string, bool) { return "registry.test:5100", true }

type silent struct{}

func (silent) Prepare(ctx context.Context, _ gate.Call) context.Context { return ctx }
func (silent) Record(context.Context, gate.Call, time.Duration, error)  {}

// service is the whole stack below the protocol, called in process.
func service(t *testing.T, db *sqldb.DB) (*Service, context.Context) {
	t.Helper()
	if err := errors.Join(db.Migrate(t.Context(), "identity", identity.Migrations()), db.Migrate(t.Context(), "registry", registry.Migrations())); err != nil {
		t.Fatal(err)
	}
	master := secret.NewMaster(make([]byte, 32))
	ring, err := keyring.New(master, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := registry.New(db, blob.New(memblob.New(), blob.Options{Keys: ring}), master, registry.Options{Keys: ring})
	id := identity.New(db, master, identity.Options{Guards: r})
	if _, err := id.EnsureAccount(t.Context(), account, "test", nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := id.CreateAccount(t.Context(), "999999999999", "other"); err != nil {
		t.Fatal(err)
	}
	return New(r, id, gate.New(id, silent{}), fixed{}), as(t.Context(), arn.Root(account))
}

func as(ctx context.Context, p arn.Principal) context.Context {
	return gate.WithCaller(ctx, gate.Caller{Principal: p, Region: "eu-west-1"})
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return "not modelled: " + err.Error()
	}
	return ""
}

// TestEveryOperationHasARow: an operation without a row, or a row without an
// operation, is a mistake.
func TestEveryOperationHasARow(t *testing.T) {
	s := &Service{}
	served := s.Handler().Operations()
	slices.Sort(served)
	if !slices.Equal(served, Operations()) {
		t.Errorf("served %v\nrows %v", served, Operations())
	}
	for op, w := range table {
		reads := strings.HasPrefix(op, "Get") || strings.HasPrefix(op, "List") || strings.HasPrefix(op, "Describe") || strings.HasPrefix(op, "BatchGet") || strings.HasPrefix(op, "BatchCheck")
		if w.reads != reads {
			t.Errorf("%s: reads is %v", op, w.reads)
		}
	}
}

// TestEveryCodeHasAnException: the table has no gap, and each exception carries
// its message.
func TestEveryCodeHasAnException(t *testing.T) {
	for _, c := range registry.Codes() {
		err := exception(&registry.Error{Code: c, Message: "text"}, request{names: []string{"x"}})
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorMessage() != "text" {
			t.Errorf("%s: %v", c, err)
			continue
		}
		if strings.HasSuffix(string(c), "Exception") && api.ErrorCode() != string(c) {
			t.Errorf("%s becomes %s", c, api.ErrorCode())
		}
	}
}

// TestDeniedEverywhere calls every operation as the root of another account and
// as nobody: none may act, and existing and missing things answer alike.
func TestDeniedEverywhere(t *testing.T) {
	s, ctx := service(t, sqldbtest.SQLite(t))
	if _, err := s.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("there")}); err != nil {
		t.Fatal(err)
	}
	stranger := as(t.Context(), arn.Root("999999999999"))
	n := 0
	for _, op := range Operations() {
		m := reflect.ValueOf(s).MethodByName(op)
		answers := map[string]string{}
		for _, name := range []string{"there", "missing"} {
			in := reflect.New(m.Type().In(1).Elem())
			set := func(field string, v any) {
				if f := in.Elem().FieldByName(field); f.IsValid() && f.Kind() == reflect.Pointer {
					f.Set(reflect.ValueOf(v))
				}
			}
			set("RegistryId", aws.String(string(account)))
			set("RepositoryName", aws.String(name))
			set("ResourceArn", aws.String("arn:aws:ecr:eu-west-1:"+string(account)+":repository/"+name))
			fillRequired(in.Elem(), name)
			out := m.Call([]reflect.Value{reflect.ValueOf(stranger), in})
			err, _ := out[1].Interface().(error)
			answers[name] = strings.ReplaceAll(code(err)+" "+errText(err), name, "NAME")
			nobody := m.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
			if err, _ := nobody[1].Interface().(error); err == nil {
				t.Errorf("%s: nobody may call it", op)
			}
		}
		if table[op].registry || op == "BatchGetRepositoryScanningConfiguration" { // is about the caller's own registry
			continue
		}
		n++
		if answers["there"] != answers["missing"] {
			t.Errorf("%s tells existing from missing: %v", op, answers)
		}
		if !strings.HasPrefix(answers["there"], "AccessDeniedException ") || !strings.Contains(answers["there"], "because no resource-based policy allows the ecr:") {
			t.Errorf("%s: %s", op, answers["there"])
		}
	}
	if n < 25 {
		t.Errorf("only %d operations were tried", n)
	}
}

func errText(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return ""
}

// fillRequired sets what an operation checks before it asks for rights.
func fillRequired(in reflect.Value, name string) {
	values := map[string]any{
		"ImageIds": []types.ImageIdentifier{{ImageTag: aws.String("x")}}, "ImageId": &types.ImageIdentifier{ImageTag: aws.String("x")},
		"LayerDigests": []string{"sha256:" + strings.Repeat("a", 64)}, "LayerDigest": aws.String("sha256:" + strings.Repeat("a", 64)),
		"UploadId": aws.String("00000000-0000-4000-8000-000000000000"), "LayerPartBlob": []byte("x"), "PartFirstByte": aws.Int64(0), "PartLastByte": aws.Int64(0),
		"PolicyText": aws.String("{}"), "LifecyclePolicyText": aws.String("{}"), "ImageManifest": aws.String("{}"),
		"ImageScanningConfiguration": &types.ImageScanningConfiguration{}, "ImageTagMutability": types.ImageTagMutabilityMutable,
		"SubjectId":       &types.SubjectIdentifier{ImageDigest: aws.String("sha256:" + strings.Repeat("a", 64))},
		"RepositoryNames": []string{name},
	}
	for field, v := range values {
		if f := in.FieldByName(field); f.IsValid() && f.Type() == reflect.TypeOf(v) {
			f.Set(reflect.ValueOf(v))
		}
	}
}

// TestParameters: bad values get ECR's exception and change nothing.
func TestParameters(t *testing.T) {
	s, ctx := service(t, sqldbtest.SQLite(t))
	if _, err := s.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("aa")}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err  func() error
		want string
		text string
	}{
		"no name": {func() error { _, e := s.CreateRepository(ctx, &ecr.CreateRepositoryInput{}); return e }, "InvalidParameterException", "repositoryName"},
		"bad name": {func() error {
			_, e := s.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("UPPER")})
			return e
		}, "InvalidParameterException", "must satisfy regular expression"},
		"page size": {func() error {
			_, e := s.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1001)})
			return e
		}, "InvalidParameterException", "maxResults"},
		"page and names": {func() error {
			_, e := s.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1), RepositoryNames: []string{"aa"}})
			return e
		}, "InvalidParameterException", "together"},
		"forged token": {func() error {
			_, e := s.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{NextToken: aws.String("x")})
			return e
		}, "InvalidParameterException", "nextToken"},
		"one unknown of two": {func() error {
			_, e := s.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"aa", "bb"}})
			return e
		}, "RepositoryNotFoundException", "'bb'"},
		"tag twice": {func() error {
			_, e := s.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("bb"), Tags: []types.Tag{{Key: aws.String("k")}, {Key: aws.String("k")}}})
			return e
		}, "InvalidTagParameterException", "more than once"},
		"foreign ARN": {func() error {
			_, e := s.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:s3:::bucket")})
			return e
		}, "InvalidParameterException", "resourceArn"},
		"no policy": {func() error {
			_, e := s.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: aws.String("aa")})
			return e
		}, "RepositoryPolicyNotFoundException", "Repository policy does not exist for the repository with name 'aa' in the registry with id '000000000012'"},
		"no lifecycle": {func() error {
			_, e := s.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: aws.String("aa")})
			return e
		}, "LifecyclePolicyNotFoundException", "Lifecycle policy does not exist for the repository with name 'aa' in the registry with id '000000000012'"},
		"bad lifecycle": {func() error {
			_, e := s.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: aws.String("aa"), LifecyclePolicyText: aws.String("{}")})
			return e
		}, "InvalidParameterException", `Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: object has missing required properties (["rules"])'`},
		"missing image": {func() error {
			_, e := s.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: aws.String("aa"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("t")}}})
			return e
		}, "ImageNotFoundException", "The image with imageId {imageDigest:null, imageTag:'t'} does not exist within the repository with name 'aa' in the registry with id '000000000012'"},
		"bad manifest": {func() error {
			_, e := s.PutImage(ctx, &ecr.PutImageInput{RepositoryName: aws.String("aa"), ImageManifest: aws.String("{}")})
			return e
		}, "InvalidParameterException", "manifest invalid"},
		"unknown key": {func() error {
			_, e := s.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("bb"), EncryptionConfiguration: &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeKms, KmsKey: aws.String("nope")}})
			return e
		}, "KmsException", "nope"},
		"token for too many": {func() error {
			//lint:ignore SA1019 deprecated, and in use
			_, e := s.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{RegistryIds: make([]string, 11)})
			return e
		}, "InvalidParameterException", "registryIds"},
		"no template": {func() error {
			_, e := s.DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("zz")})
			return e
		}, "TemplateNotFoundException", "'zz'"},
	} {
		if err := c.err(); code(err) != c.want || !strings.Contains(errText(err), c.text) {
			t.Errorf("%s: %s %q, want %s with %q", name, code(err), errText(err), c.want, c.text)
		}
	}
	list, err := s.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
	if err != nil || len(list.Repositories) != 1 {
		t.Errorf("refused calls left %d repositories (%v)", len(list.Repositories), err)
	}
}

// TestPaging walks DescribeRepositories with the SDK's own paginator.
func TestPaging(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := service(t, db)
		for _, n := range []string{"aa", "bb", "cc", "dd", "ee"} {
			if _, err := s.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(n)}); err != nil {
				t.Fatal(err)
			}
		}
		p := ecr.NewDescribeRepositoriesPaginator(s, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(2)})
		var names []string
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Repositories {
				names = append(names, *r.RepositoryName)
			}
		}
		if !slices.Equal(names, []string{"aa", "bb", "cc", "dd", "ee"}) {
			t.Errorf("%v", names)
		}
		first, err := s.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1)})
		if err != nil || first.NextToken == nil {
			t.Fatal(err)
		}
		if _, err := s.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{NextToken: first.NextToken}); code(err) != "InvalidParameterException" {
			t.Errorf("another operation's token: %v", err)
		}
	})
}

// TestAuthorizationToken: one entry for each registry asked for.
func TestAuthorizationToken(t *testing.T) {
	s, ctx := service(t, sqldbtest.SQLite(t))
	//lint:ignore SA1019 deprecated, and in use
	out, err := s.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{RegistryIds: []string{"000000000012", "123456789012"}})
	if err != nil || len(out.AuthorizationData) != 2 {
		t.Fatal(err)
	}
	for _, a := range out.AuthorizationData {
		if *a.ProxyEndpoint != "https://registry.test:5100" || time.Until(*a.ExpiresAt) < 11*time.Hour {
			t.Errorf("%+v", a)
		}
	}
}
