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
	OnPush  bool
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
	return &page{Title: "Templates", Section: "templates", view: "templates", Live: "changes", Body: b}, nil
}

// template shows the form of one; a prefix that is not there is a new one.
func (c *Console) template(q *request) (*page, error) {
	b := &templatesBody{Region: q.PathValue("region"), Regions: c.regions(q), OnPush: true}
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
		title, b.Tags = "Template "+prefix, sortedTags(b.Edit.ResourceTags)
		b.OnPush = false
		for _, f := range b.Edit.AppliedFor {
			b.OnPush = b.OnPush || string(f) == onPush
		}
	}
	return &page{Title: title, Section: "templates", view: "template", Body: b}, nil
}

const onPush = "CREATE_ON_PUSH"

// templateForms make, change and delete templates.
var templateForms = forms{
	"create": {text: "The template for {prefix} was made.", to: "/templates", cli: "aws ecr create-repository-creation-template --prefix {prefix} --applied-for CREATE_ON_PUSH --image-tag-mutability {mutability} --region {region}",
		in: call(func(q *request) any {
			t := templateOf(q)
			return &ecr.CreateRepositoryCreationTemplateInput{Prefix: field(q, "prefix"), AppliedFor: []types.RCTAppliedFor{onPush}, Description: t.Description, ImageTagMutability: t.ImageTagMutability,
				EncryptionConfiguration: t.EncryptionConfiguration, RepositoryPolicy: t.RepositoryPolicy, LifecyclePolicy: t.LifecyclePolicy, ResourceTags: t.ResourceTags}
		})},
	"update": {text: "The template for {prefix} was changed.", to: "/templates", cli: "aws ecr update-repository-creation-template --prefix {prefix} --applied-for CREATE_ON_PUSH --image-tag-mutability {mutability} --region {region}",
		in: call(func(q *request) any {
			t := templateOf(q)
			return &ecr.UpdateRepositoryCreationTemplateInput{Prefix: field(q, "prefix"), AppliedFor: []types.RCTAppliedFor{onPush}, Description: t.Description, ImageTagMutability: t.ImageTagMutability,
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
