package identity

import (
	"strings"
	"time"
)

// awsPolicyPrefix begins the ARNs of the policies that AWS provides.
const awsPolicyPrefix = "arn:aws:iam::aws:policy/"

const readActions = `"ecr:GetAuthorizationToken","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:GetRepositoryPolicy",` +
	`"ecr:DescribeRepositories","ecr:ListImages","ecr:DescribeImages","ecr:BatchGetImage","ecr:GetLifecyclePolicy",` +
	`"ecr:GetLifecyclePolicyPreview","ecr:ListTagsForResource","ecr:DescribeImageScanFindings"`

// awsPolicies are AWS-managed policies by the end of their ARN: those that people
// attach for a registry. They cannot be changed.
var awsPolicies = map[string]string{
	"AdministratorAccess":                allowAll(`"*"`),
	"IAMFullAccess":                      allowAll(`"iam:*"`),
	"IAMReadOnlyAccess":                  allowAll(`"iam:Get*","iam:List*","iam:Simulate*"`),
	"AmazonEC2ContainerRegistryReadOnly": allowAll(readActions),
	"AmazonEC2ContainerRegistryPullOnly": allowAll(`"ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchImportUpstreamImage"`),
	"AmazonEC2ContainerRegistryPowerUser": allowAll(readActions +
		`,"ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:PutImage"`),
	"AmazonEC2ContainerRegistryFullAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:*","cloudtrail:LookupEvents"],"Resource":"*"},` +
		`{"Effect":"Allow","Action":["iam:CreateServiceLinkedRole"],"Resource":"*","Condition":{"StringEquals":{"iam:AWSServiceName":["replication.ecr.amazonaws.com"]}}}]}`,
	"service-role/AWSLambdaBasicExecutionRole": allowAll(`"logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"`),
}

func allowAll(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`
}

// awsPolicy returns an AWS-managed policy by its ARN.
func awsPolicy(policyARN string) (*ManagedPolicy, string, bool) {
	rest, ok := strings.CutPrefix(policyARN, awsPolicyPrefix)
	text, known := awsPolicies[rest]
	if !ok || !known {
		return nil, "", false
	}
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	at := time.Date(2015, 12, 21, 17, 6, 48, 0, time.UTC)
	return &ManagedPolicy{AWS: true, Name: name, Path: "/" + rest[:len(rest)-len(name)], ID: "ANPA" + strings.ToUpper((name + "BERTHBERTHBERTH")[:16]),
		CreatedAt: at, UpdatedAt: at, Default: 1, Tags: map[string]string{}}, text, true
}
