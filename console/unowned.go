package console

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-registry/berth/arn"
)

// unowned is a repository that belongs to no service, and to which it may.
type unowned struct {
	Repository             string
	LastPushBy, LastPushAt string
	Workflow               string
	Suggestions            []struct{ Service, Why string }
}

type unownedBody struct {
	List     []unowned
	Services []entity
}

// unowned lists repositories of which nobody is the owner.
func (c *Console) unowned(q *request) (*page, error) {
	b := &unownedBody{}
	var out struct{ Repositories []unowned }
	if err := c.api.Catalog(q.ctx, http.MethodGet, "berth/unowned", nil, &out); err != nil {
		return nil, err
	}
	b.List = out.Repositories[:min(len(out.Repositories), pageSize)]
	if list, _, err := c.found(q.optional(), "service", 200); err == nil { // suggestions
		b.Services = list
	}
	return &page{Title: "Without an owner", Section: "catalog", view: "unowned", Live: liveChanges, Body: b}, nil
}

// linkUnowned gives a repository the tag that links it to a service.
func (c *Console) linkUnowned(q *request) (*page, error) {
	return c.submit(q, forms{"link": {text: "{name} is linked to {service}.", to: "/unowned", cli: "aws ecr tag-resource --resource-arn {arn} --tags Key=port-{service},Value= --region {region}",
		in: func(q *request) (any, error) {
			service := q.in("service")
			if service == "" {
				return nil, wrong("Say to which service %s belongs.", q.in("name"))
			}
			a := arn.Repository(q.caller.Place(), q.in("name")).String()
			q.Form.Set("arn", a)
			return &ecr.TagResourceInput{ResourceArn: aws.String(a), Tags: []types.Tag{{Key: aws.String("port-" + service), Value: aws.String("")}}}, nil
		}}}, (*Console).unowned)
}
