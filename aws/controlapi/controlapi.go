// Package controlapi is AWS's Cloud Control API in front of Amazon ECR's: the resources of
// the types AWS::ECR::… are listed, read, made, changed and deleted as CloudFormation's
// types have them, so that exporters and tools built on it read Berth.
//
// It acts through ECR's API as the caller, whose policies must allow both the action of
// the service cloudformation and those of ECR that it comes to. Requests are done before
// they are answered; their status can be asked for a week.
package controlapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/declare"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/requests"
)

// SigningName is the service's name in signatures; in policies it is cloudformation.
const SigningName = "cloudcontrolapi"

// service is its name in policies.
const service = "cloudformation"

// Target is the prefix of X-Amz-Target.
const Target = "CloudApiService"

// Limits of pages and documents (API reference).
const (
	maxPage  = 100
	maxModel = 256 << 10
)

// ECR is what is used of Amazon ECR's API.
type ECR interface {
	declare.ECR
	DescribeImages(context.Context, *ecr.DescribeImagesInput, ...func(*ecr.Options)) (*ecr.DescribeImagesOutput, error)
	DescribeRegistry(context.Context, *ecr.DescribeRegistryInput, ...func(*ecr.Options)) (*ecr.DescribeRegistryOutput, error)
	GetRegistryScanningConfiguration(context.Context, *ecr.GetRegistryScanningConfigurationInput, ...func(*ecr.Options)) (*ecr.GetRegistryScanningConfigurationOutput, error)
	PutRegistryScanningConfiguration(context.Context, *ecr.PutRegistryScanningConfigurationInput, ...func(*ecr.Options)) (*ecr.PutRegistryScanningConfigurationOutput, error)
}

// Service serves the API.
type Service struct {
	ecr      ECR
	requests *requests.Requests
	gate     *gate.Gate
	kinds    map[string]kind
}

// New makes the front end.
func New(e ECR, r *requests.Requests, g *gate.Gate) *Service {
	s := &Service{ecr: e, requests: r, gate: g}
	s.kinds = s.table()
	return s
}

// Handler serves the API.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.New(Target, awsproto.JSON10, Naming, s)
}

// Naming is that of the API: members are called as in Go.
func Naming(_, field string) string { return field }

// Operations lists the operations, for tests and documentation.
func Operations() []string {
	return []string{"CreateResource", "DeleteResource", "GetResource", "GetResourceRequestStatus", "ListResourceRequests", "ListResources", "UpdateResource"}
}

type options = func(*cloudcontrol.Options)

// model is a resource's properties.
type model = map[string]any

// kind is a type of resource. What it cannot do is nil.
type kind struct {
	key    []string // the properties that make the identifier
	list   func(ctx context.Context, given model, token *string, limit int32) (ids []string, next *string, err error)
	get    func(ctx context.Context, id string) (model, error)
	create func(ctx context.Context, m model) (id string, err error)
	update func(ctx context.Context, id string, was, m model) error
	remove func(ctx context.Context, id string) error
}

func fault(code, format string, args ...any) error {
	return &smithy.GenericAPIError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// handlerCodes are the errors of ECR in the words of resource handlers.
var handlerCodes = map[string]types.HandlerErrorCode{
	"RepositoryNotFoundException": types.HandlerErrorCodeNotFound, "ImageNotFoundException": types.HandlerErrorCodeNotFound, "TemplateNotFoundException": types.HandlerErrorCodeNotFound,
	"RegistryPolicyNotFoundException": types.HandlerErrorCodeNotFound, "ResourceNotFoundException": types.HandlerErrorCodeNotFound,
	"RepositoryAlreadyExistsException": types.HandlerErrorCodeAlreadyExists, "TemplateAlreadyExistsException": types.HandlerErrorCodeAlreadyExists,
	"AlreadyExistsException":      types.HandlerErrorCodeAlreadyExists,
	"RepositoryNotEmptyException": types.HandlerErrorCodeResourceConflict, "LimitExceededException": types.HandlerErrorCodeServiceLimitExceeded,
	"TooManyTagsException": types.HandlerErrorCodeServiceLimitExceeded, "AccessDeniedException": types.HandlerErrorCodeAccessDenied,
	"InvalidParameterException": types.HandlerErrorCodeInvalidRequest, "ValidationException": types.HandlerErrorCodeInvalidRequest,
	"InvalidTagParameterException": types.HandlerErrorCodeInvalidRequest, "KmsException": types.HandlerErrorCodeInvalidRequest, "InvalidRequestException": types.HandlerErrorCodeInvalidRequest,
	"NotUpdatableException": types.HandlerErrorCodeNotUpdatable,
}

// outcome is how an operation's error is told in a request's status.
func outcome(err error) (types.HandlerErrorCode, string) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return types.HandlerErrorCodeServiceInternalError, "Something went wrong here; the server's log has it."
	}
	code, known := handlerCodes[api.ErrorCode()]
	if !known {
		code = types.HandlerErrorCodeGeneralServiceException
	}
	return code, api.ErrorMessage()
}

// exception is how it is told when the operation only reads.
func exception(err error) error {
	var denied *gate.Denied
	if errors.As(err, &denied) {
		return fault("AccessDeniedException", "%s", denied.Error())
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch code, message := outcome(err); code {
	case types.HandlerErrorCodeNotFound:
		return fault("ResourceNotFoundException", "%s", message)
	case types.HandlerErrorCodeInvalidRequest:
		return fault("InvalidRequestException", "%s", message)
	}
	return err
}

func (s *Service) kind(name *string, roleARN *string) (kind, string, error) {
	n := aws.ToString(name)
	k, ok := s.kinds[n]
	switch {
	case n == "":
		return kind{}, n, fault("ValidationException", "TypeName is missing.")
	case !ok:
		return kind{}, n, fault("TypeNotFoundException", "The type '%.100s' does not exist here: Berth has those of Amazon ECR.", n)
	case aws.ToString(roleARN) != "":
		return kind{}, n, fault("InvalidRequestException", "RoleArn is not taken: the request is done as its caller.")
	}
	return k, n, nil
}

// do passes the gate, and keeps the calls below from being taken for this one in records.
func (s *Service) do(ctx context.Context, op, typeName string, reads bool, act func(context.Context) error) error {
	caller := gate.CallerFrom(ctx)
	c := gate.Call{Principal: caller.Principal, Service: service, Action: op, Place: caller.Place(), Resources: []string{arn.Any}, ReadOnly: reads, Params: map[string]any{"typeName": typeName}}
	return exception(s.gate.Do(ctx, c, func(ctx context.Context) error {
		x := &gate.Exchange{}
		defer x.Done(nil)
		return act(gate.WithExchange(ctx, x))
	}))
}

// ListResources implements the API operation of its name, as do the methods below.
func (s *Service) ListResources(ctx context.Context, in *cloudcontrol.ListResourcesInput, _ ...options) (*cloudcontrol.ListResourcesOutput, error) {
	k, name, err := s.kind(in.TypeName, in.RoleArn)
	if err != nil {
		return nil, err
	}
	given, err := read("ResourceModel", in.ResourceModel)
	if err != nil {
		return nil, err
	}
	limit := int32(maxPage)
	if in.MaxResults != nil {
		if limit = *in.MaxResults; limit < 1 || limit > maxPage {
			return nil, fault("ValidationException", "MaxResults must be between 1 and %d.", maxPage)
		}
	}
	out := &cloudcontrol.ListResourcesOutput{TypeName: &name, ResourceDescriptions: []types.ResourceDescription{}}
	return out, s.do(ctx, "ListResources", name, true, func(ctx context.Context) error {
		ids, next, err := k.list(ctx, given, in.NextToken, limit)
		for _, id := range ids {
			properties := model{}
			for i, v := range split(id, len(k.key)) {
				properties[k.key[i]] = v
			}
			text, err := write(properties)
			if err != nil {
				return err
			}
			out.ResourceDescriptions = append(out.ResourceDescriptions, types.ResourceDescription{Identifier: aws.String(id), Properties: &text})
		}
		out.NextToken = next
		return err
	})
}

// GetResource reads one resource.
func (s *Service) GetResource(ctx context.Context, in *cloudcontrol.GetResourceInput, _ ...options) (*cloudcontrol.GetResourceOutput, error) {
	k, name, err := s.kind(in.TypeName, in.RoleArn)
	if err != nil {
		return nil, err
	}
	id := aws.ToString(in.Identifier)
	out := &cloudcontrol.GetResourceOutput{TypeName: &name}
	return out, s.do(ctx, "GetResource", name, true, func(ctx context.Context) error {
		m, err := k.get(ctx, id)
		if err != nil {
			return err
		}
		text, err := write(m)
		out.ResourceDescription = &types.ResourceDescription{Identifier: &id, Properties: &text}
		return err
	})
}

// CreateResource makes one.
func (s *Service) CreateResource(ctx context.Context, in *cloudcontrol.CreateResourceInput, _ ...options) (*cloudcontrol.CreateResourceOutput, error) {
	k, name, err := s.kind(in.TypeName, in.RoleArn)
	if err != nil {
		return nil, err
	}
	desired, err := read("DesiredState", in.DesiredState)
	if err != nil {
		return nil, err
	}
	if k.create == nil {
		return nil, fault("UnsupportedActionException", "Resource type %s does not support CREATE action", name)
	}
	q := requests.Request{Type: name, Operation: string(types.OperationCreate), Client: aws.ToString(in.ClientToken), Asked: hash(name, "CREATE", aws.ToString(in.DesiredState))}
	event, err := s.request(ctx, "CreateResource", q, func(ctx context.Context, q *requests.Request) error {
		var err error
		if q.Identifier, err = k.create(ctx, desired); err != nil {
			return err
		}
		return s.show(ctx, k, q)
	})
	return &cloudcontrol.CreateResourceOutput{ProgressEvent: event}, err
}

// UpdateResource changes one by a JSON Patch document (RFC 6902).
func (s *Service) UpdateResource(ctx context.Context, in *cloudcontrol.UpdateResourceInput, _ ...options) (*cloudcontrol.UpdateResourceOutput, error) {
	k, name, err := s.kind(in.TypeName, in.RoleArn)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch([]byte(aws.ToString(in.PatchDocument)))
	if err != nil || len(aws.ToString(in.PatchDocument)) > maxModel {
		return nil, fault("ValidationException", "PatchDocument must be a JSON Patch document.")
	}
	if k.update == nil {
		return nil, fault("UnsupportedActionException", "Resource type %s does not support UPDATE action", name)
	}
	q := requests.Request{Type: name, Operation: string(types.OperationUpdate), Identifier: aws.ToString(in.Identifier), Client: aws.ToString(in.ClientToken),
		Asked: hash(name, "UPDATE", aws.ToString(in.Identifier), aws.ToString(in.PatchDocument))}
	event, err := s.request(ctx, "UpdateResource", q, func(ctx context.Context, q *requests.Request) error {
		was, err := k.get(ctx, q.Identifier)
		if err != nil {
			return err
		}
		m, err := apply(patch, was)
		if err != nil {
			return err
		}
		if err := k.update(ctx, q.Identifier, was, m); err != nil {
			return err
		}
		return s.show(ctx, k, q)
	})
	return &cloudcontrol.UpdateResourceOutput{ProgressEvent: event}, err
}

// apply patches a resource's properties.
func apply(patch jsonpatch.Patch, was model) (model, error) {
	text, err := write(was)
	if err != nil {
		return nil, err
	}
	o := jsonpatch.NewApplyOptions()
	o.AccumulatedCopySizeLimit = maxModel
	changed, err := patch.ApplyWithOptions([]byte(text), o)
	if err != nil {
		return nil, fault("InvalidRequestException", "The patch does not fit the resource: %v", err)
	}
	var m model
	if err := json.Unmarshal(changed, &m); err != nil {
		return nil, fault("InvalidRequestException", "The patch does not leave an object: %v", err)
	}
	return m, nil
}

// DeleteResource deletes one.
func (s *Service) DeleteResource(ctx context.Context, in *cloudcontrol.DeleteResourceInput, _ ...options) (*cloudcontrol.DeleteResourceOutput, error) {
	k, name, err := s.kind(in.TypeName, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if k.remove == nil {
		return nil, fault("UnsupportedActionException", "Resource type %s does not support DELETE action", name)
	}
	q := requests.Request{Type: name, Operation: string(types.OperationDelete), Identifier: aws.ToString(in.Identifier), Client: aws.ToString(in.ClientToken),
		Asked: hash(name, "DELETE", aws.ToString(in.Identifier))}
	event, err := s.request(ctx, "DeleteResource", q, func(ctx context.Context, q *requests.Request) error { return k.remove(ctx, q.Identifier) })
	return &cloudcontrol.DeleteResourceOutput{ProgressEvent: event}, err
}

func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// request does what is requested and remembers how it ended.
func (s *Service) request(ctx context.Context, op string, q requests.Request, act func(context.Context, *requests.Request) error) (*types.ProgressEvent, error) {
	place := gate.CallerFrom(ctx).Place()
	var out *types.ProgressEvent
	err := s.do(ctx, op, q.Type, false, func(ctx context.Context) error {
		q.Status = string(types.OperationStatusInProgress)
		done, began, err := s.requests.Begin(ctx, place, q)
		if err != nil {
			return err
		}
		if !began {
			if done.Asked != q.Asked {
				return fault("ClientTokenConflictException", "The client token was used for another request.")
			}
			out = event(done)
			return nil
		}
		done.Status = string(types.OperationStatusSuccess)
		if failed := act(ctx, done); failed != nil {
			code, message := outcome(failed)
			done.Status, done.Code, done.Message = string(types.OperationStatusFailed), string(code), message
		}
		out = event(done)
		return s.requests.End(ctx, place, done)
	})
	return out, err
}

// show reads what a resource has become.
func (s *Service) show(ctx context.Context, k kind, q *requests.Request) error {
	m, err := k.get(ctx, q.Identifier)
	if err != nil {
		return err
	}
	q.Model, err = write(m)
	return err
}

func event(q *requests.Request) *types.ProgressEvent {
	e := &types.ProgressEvent{EventTime: aws.Time(q.At), Operation: types.Operation(q.Operation), OperationStatus: types.OperationStatus(q.Status), RequestToken: &q.Token, TypeName: &q.Type,
		ErrorCode: types.HandlerErrorCode(q.Code)}
	for from, dest := range map[*string]**string{&q.Identifier: &e.Identifier, &q.Message: &e.StatusMessage, &q.Model: &e.ResourceModel} {
		if *from != "" {
			*dest = from
		}
	}
	return e
}

// GetResourceRequestStatus tells how a request ended.
func (s *Service) GetResourceRequestStatus(ctx context.Context, in *cloudcontrol.GetResourceRequestStatusInput, _ ...options) (*cloudcontrol.GetResourceRequestStatusOutput, error) {
	out := &cloudcontrol.GetResourceRequestStatusOutput{}
	return out, s.do(ctx, "GetResourceRequestStatus", "", true, func(ctx context.Context) error {
		q, err := s.requests.Find(ctx, gate.CallerFrom(ctx).Place(), aws.ToString(in.RequestToken))
		if errors.Is(err, requests.ErrNotFound) {
			return fault("RequestTokenNotFoundException", "Request with token %.128s was not found", aws.ToString(in.RequestToken))
		}
		if err == nil {
			out.ProgressEvent = event(q)
		}
		return err
	})
}

// ListResourceRequests lists requests, the newest first.
func (s *Service) ListResourceRequests(ctx context.Context, in *cloudcontrol.ListResourceRequestsInput, _ ...options) (*cloudcontrol.ListResourceRequestsOutput, error) {
	limit := 20
	if in.MaxResults != nil {
		if limit = int(*in.MaxResults); limit < 1 || limit > maxPage {
			return nil, fault("ValidationException", "MaxResults must be between 1 and %d.", maxPage)
		}
	}
	out := &cloudcontrol.ListResourceRequestsOutput{ResourceRequestStatusSummaries: []types.ProgressEvent{}}
	return out, s.do(ctx, "ListResourceRequests", "", true, func(ctx context.Context) error {
		token := aws.ToString(in.NextToken)
		for { // pages may have nothing that fits
			list, next, err := s.requests.List(ctx, gate.CallerFrom(ctx).Place(), token, limit)
			if errors.Is(err, requests.ErrNotFound) {
				return fault("ValidationException", "NextToken is not of this list.")
			}
			if err != nil {
				return err
			}
			for _, q := range list {
				if fits(in.ResourceRequestStatusFilter, q) {
					out.ResourceRequestStatusSummaries = append(out.ResourceRequestStatusSummaries, *event(q))
				}
			}
			if token = next; token == "" || len(out.ResourceRequestStatusSummaries) > 0 {
				break
			}
		}
		if token != "" {
			out.NextToken = &token
		}
		return nil
	})
}

func fits(f *types.ResourceRequestStatusFilter, q *requests.Request) bool {
	if f == nil {
		return true
	}
	return (len(f.Operations) == 0 || slices.Contains(f.Operations, types.Operation(q.Operation))) &&
		(len(f.OperationStatuses) == 0 || slices.Contains(f.OperationStatuses, types.OperationStatus(q.Status)))
}

func read(where string, text *string) (model, error) {
	if aws.ToString(text) == "" {
		return model{}, nil
	}
	var m model
	if err := json.Unmarshal([]byte(*text), &m); err != nil || m == nil || len(*text) > maxModel {
		return nil, fault("ValidationException", "%s must be a JSON object of at most %d bytes.", where, maxModel)
	}
	return m, nil
}

func write(m model) (string, error) {
	b, err := json.Marshal(m)
	return string(b), err
}
