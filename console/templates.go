package console

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// regional is a list of things that are of regions.
type regionalTemplate struct {
	Region string
	types.RepositoryCreationTemplate
}

type templatesBody struct {
	List    []regionalTemplate
	Part    *part
	Regions []string
	Region  string
	Edit    *types.RepositoryCreationTemplate
	Tags    []tagRow
	CLI     string
}

// templates lists the templates that repositories are made by.
func (c *Console) templates(q *request) (*page, error) {
	b := &templatesBody{Regions: c.regions(q), Region: string(q.caller.Region)}
	for _, region := range b.Regions {
		for token := (*string)(nil); ; {
			out, err := ask[ecr.DescribeRepositoryCreationTemplatesOutput](q.at(region), c.api, &ecr.DescribeRepositoryCreationTemplatesInput{NextToken: token})
			if err != nil {
				b.Part = c.part(q, err)
				break
			}
			for _, t := range out.RepositoryCreationTemplates {
				b.List = append(b.List, regionalTemplate{region, t})
			}
			if token = out.NextToken; token == nil {
				break
			}
		}
	}
	return &page{Title: "Templates", Section: "templates", view: "templates", Live: liveChanges, Body: b}, nil
}

// template shows the form of one; a prefix that is not there is a new one.
func (c *Console) template(q *request) (*page, error) {
	b := &templatesBody{Region: q.PathValue("region"), Regions: c.regions(q), CLI: templateCommand("create", " --applied-for CREATE_ON_PUSH")}
	title := "Create a template"
	if prefix := q.in("prefix"); prefix != "" && q.in("do") != "create" {
		out, err := ask[ecr.DescribeRepositoryCreationTemplatesOutput](q.ctx, c.api, &ecr.DescribeRepositoryCreationTemplatesInput{Prefixes: []string{prefix}})
		if err != nil {
			return nil, err
		}
		if len(out.RepositoryCreationTemplates) == 0 {
			return errorPage(http.StatusNotFound, "No such template", "There is no template for "+prefix+" in "+b.Region+"."), nil
		}
		b.Edit = &out.RepositoryCreationTemplates[0]
		title, b.Tags, b.CLI = "Template "+prefix, sortedTags(b.Edit.ResourceTags), templateCommand("update", "")
	}
	return &page{Title: title, Section: "templates", view: "template", Body: b}, nil
}

const onPush = "CREATE_ON_PUSH"

// templateCommand is the command that makes or changes a template as the form does.
func templateCommand(do, more string) string {
	return "aws ecr " + do + "-repository-creation-template --prefix {prefix}" + more + " --image-tag-mutability {mutability} [--encryption-configuration encryptionType=KMS{encryption=KMS}]" +
		" [--description {description}] [--repository-policy {policy}] [--lifecycle-policy {lifecycle}] [--resource-tags Key={tag_key},Value={tag_value}] --region {region}"
}

// templateForms make, change and delete templates.
var templateForms = forms{
	"create": {text: "The template for {prefix} was made.", to: "/templates", cli: templateCommand("create", " --applied-for CREATE_ON_PUSH"),
		in: call(func(q *request) any {
			t := templateOf(q)
			return &ecr.CreateRepositoryCreationTemplateInput{Prefix: field(q, "prefix"), AppliedFor: []types.RCTAppliedFor{onPush}, Description: t.Description, ImageTagMutability: t.ImageTagMutability,
				EncryptionConfiguration: t.EncryptionConfiguration, RepositoryPolicy: t.RepositoryPolicy, LifecyclePolicy: t.LifecyclePolicy, ResourceTags: t.ResourceTags}
		})},
	"update": {text: "The template for {prefix} was changed.", to: "/templates", cli: templateCommand("update", ""),
		in: call(func(q *request) any {
			t := templateOf(q) // what the form does not show, such as what it is applied for, stays
			if t.ResourceTags == nil {
				t.ResourceTags = []types.Tag{} // all were removed
			}
			return &ecr.UpdateRepositoryCreationTemplateInput{Prefix: field(q, "prefix"), Description: t.Description, ImageTagMutability: t.ImageTagMutability,
				EncryptionConfiguration: t.EncryptionConfiguration, RepositoryPolicy: t.RepositoryPolicy, LifecyclePolicy: t.LifecyclePolicy, ResourceTags: t.ResourceTags}
		})},
	"delete": {lost: loses("the template for {prefix}", "Pushes to names that it fits make no repositories by it any more. Repositories that it made stay."), text: "The template for {prefix} was deleted.", to: "/templates", cli: "aws ecr delete-repository-creation-template --prefix {prefix} --region {region}",
		in: call(func(q *request) any { return &ecr.DeleteRepositoryCreationTemplateInput{Prefix: field(q, "prefix")} })},
}

// templateOf reads a template's form.
func templateOf(q *request) types.RepositoryCreationTemplate {
	t := types.RepositoryCreationTemplate{Description: field(q, "description"), ImageTagMutability: types.ImageTagMutability(q.in("mutability")), ResourceTags: ecrTags(q.formTags()),
		RepositoryPolicy: field(q, "policy"), LifecyclePolicy: field(q, "lifecycle"),
		EncryptionConfiguration: &types.EncryptionConfigurationForRepositoryCreationTemplate{EncryptionType: types.EncryptionType(q.in("encryption"))}}
	if k := q.in("kms_key"); k != "" {
		t.EncryptionConfiguration.KmsKey = aws.String(k)
	}
	return t
}

func (c *Console) changeTemplate(q *request) (*page, error) {
	return c.submit(q, templateForms, (*Console).template)
}
