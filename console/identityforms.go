package console

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// personForms are the forms of a user's, a group's and a role's page.
var personForms = map[string]forms{"users": userForms, "groups": groupForms, "roles": roleForms}

func named(q *request) *string { return aws.String(q.PathValue("name")) }

func field(q *request, name string) *string { return aws.String(q.in(name)) }

var userForms = forms{
	"create-key": {cli: "aws iam create-access-key --user-name {name}", result: newKeyShown,
		in: call(func(q *request) any { return &iam.CreateAccessKeyInput{UserName: named(q)} })},
	"key-status": {text: "The access key {key} is {status} now.", to: "/users/{name}", cli: "aws iam update-access-key --user-name {name} --access-key-id {key} --status {status}",
		in: call(func(q *request) any {
			return &iam.UpdateAccessKeyInput{UserName: named(q), AccessKeyId: field(q, "key"), Status: types.StatusType(q.in("status"))}
		})},
	"delete-key": {lost: loses("the access key {key}", "Programs that sign with it are refused at once.", "Sessions of the console that stand on it end."), text: "The access key {key} was deleted.", to: "/users/{name}", cli: "aws iam delete-access-key --user-name {name} --access-key-id {key}",
		in: call(func(q *request) any {
			return &iam.DeleteAccessKeyInput{UserName: named(q), AccessKeyId: field(q, "key")}
		})},
	"set-password": {text: "The user may sign in with a password.", to: "/users/{name}", cli: "aws iam create-login-profile --user-name {name} --password ...",
		in: call(func(q *request) any {
			return &iam.CreateLoginProfileInput{UserName: named(q), Password: field(q, "password"), PasswordResetRequired: q.in("reset") != ""}
		})},
	"change-password": {text: "The password was changed.", to: "/users/{name}", cli: "aws iam update-login-profile --user-name {name} --password ...",
		in: call(func(q *request) any {
			return &iam.UpdateLoginProfileInput{UserName: named(q), Password: field(q, "password"), PasswordResetRequired: aws.Bool(q.in("reset") != "")}
		})},
	"delete-password": {lost: loses("the password of {name}", "The user cannot sign in here by name any more."), text: "The user has no password any more.", to: "/users/{name}", cli: "aws iam delete-login-profile --user-name {name}",
		in: call(func(q *request) any { return &iam.DeleteLoginProfileInput{UserName: named(q)} })},
	"join": {text: "{name} is a member of {group}.", to: "/users/{name}", cli: "aws iam add-user-to-group --user-name {name} --group-name {group}",
		in: call(func(q *request) any {
			return &iam.AddUserToGroupInput{UserName: named(q), GroupName: field(q, "group")}
		})},
	"leave": {text: "{name} is no member of {group} any more.", to: "/users/{name}", cli: "aws iam remove-user-from-group --user-name {name} --group-name {group}",
		in: call(func(q *request) any {
			return &iam.RemoveUserFromGroupInput{UserName: named(q), GroupName: field(q, "group")}
		})},
	"attach": {text: "The policy was attached.", to: "/users/{name}", cli: "aws iam attach-user-policy --user-name {name} --policy-arn {policy}",
		in: call(func(q *request) any {
			return &iam.AttachUserPolicyInput{UserName: named(q), PolicyArn: field(q, "policy")}
		})},
	"detach": {text: "The policy was detached.", to: "/users/{name}", cli: "aws iam detach-user-policy --user-name {name} --policy-arn {policy}",
		in: call(func(q *request) any {
			return &iam.DetachUserPolicyInput{UserName: named(q), PolicyArn: field(q, "policy")}
		})},
	"inline": {text: "The policy {policy_name} was set.", to: "/users/{name}", cli: "aws iam put-user-policy --user-name {name} --policy-name {policy_name} --policy-document {document}",
		in: call(func(q *request) any {
			return &iam.PutUserPolicyInput{UserName: named(q), PolicyName: field(q, "policy_name"), PolicyDocument: field(q, "document")}
		})},
	"delete-inline": {lost: loses("the policy {policy_name} of {name}", "What it allows is refused from now on."), text: "The policy {policy_name} was deleted.", to: "/users/{name}", cli: "aws iam delete-user-policy --user-name {name} --policy-name {policy_name}",
		in: call(func(q *request) any {
			return &iam.DeleteUserPolicyInput{UserName: named(q), PolicyName: field(q, "policy_name")}
		})},
	"delete": {lost: loses("the user {name}", "It must have no keys, password, groups and policies left."), text: "The user {name} was deleted.", to: "/users", cli: "aws iam delete-user --user-name {name}",
		in: call(func(q *request) any { return &iam.DeleteUserInput{UserName: named(q)} })},
}

var groupForms = forms{
	"attach": {text: "The policy was attached.", to: "/groups/{name}", cli: "aws iam attach-group-policy --group-name {name} --policy-arn {policy}",
		in: call(func(q *request) any {
			return &iam.AttachGroupPolicyInput{GroupName: named(q), PolicyArn: field(q, "policy")}
		})},
	"detach": {text: "The policy was detached.", to: "/groups/{name}", cli: "aws iam detach-group-policy --group-name {name} --policy-arn {policy}",
		in: call(func(q *request) any {
			return &iam.DetachGroupPolicyInput{GroupName: named(q), PolicyArn: field(q, "policy")}
		})},
	"inline": {text: "The policy {policy_name} was set.", to: "/groups/{name}", cli: "aws iam put-group-policy --group-name {name} --policy-name {policy_name} --policy-document {document}",
		in: call(func(q *request) any {
			return &iam.PutGroupPolicyInput{GroupName: named(q), PolicyName: field(q, "policy_name"), PolicyDocument: field(q, "document")}
		})},
	"delete-inline": {lost: loses("the policy {policy_name} of {name}", "What it allows is refused from now on."), text: "The policy {policy_name} was deleted.", to: "/groups/{name}", cli: "aws iam delete-group-policy --group-name {name} --policy-name {policy_name}",
		in: call(func(q *request) any {
			return &iam.DeleteGroupPolicyInput{GroupName: named(q), PolicyName: field(q, "policy_name")}
		})},
	"leave": {text: "{user} is no member any more.", to: "/groups/{name}", cli: "aws iam remove-user-from-group --user-name {user} --group-name {name}",
		in: call(func(q *request) any {
			return &iam.RemoveUserFromGroupInput{UserName: field(q, "user"), GroupName: named(q)}
		})},
	"delete": {lost: loses("the group {name}", "It must have no members and policies left."), text: "The group {name} was deleted.", to: "/groups", cli: "aws iam delete-group --group-name {name}",
		in: call(func(q *request) any { return &iam.DeleteGroupInput{GroupName: named(q)} })},
}

var roleForms = forms{
	"trust": {text: "Who may assume the role was changed.", to: "/roles/{name}", cli: "aws iam update-assume-role-policy --role-name {name} --policy-document {trust}",
		in: call(func(q *request) any {
			return &iam.UpdateAssumeRolePolicyInput{RoleName: named(q), PolicyDocument: field(q, "trust")}
		})},
	"attach": {text: "The policy was attached.", to: "/roles/{name}", cli: "aws iam attach-role-policy --role-name {name} --policy-arn {policy}",
		in: call(func(q *request) any {
			return &iam.AttachRolePolicyInput{RoleName: named(q), PolicyArn: field(q, "policy")}
		})},
	"detach": {text: "The policy was detached.", to: "/roles/{name}", cli: "aws iam detach-role-policy --role-name {name} --policy-arn {policy}",
		in: call(func(q *request) any {
			return &iam.DetachRolePolicyInput{RoleName: named(q), PolicyArn: field(q, "policy")}
		})},
	"inline": {text: "The policy {policy_name} was set.", to: "/roles/{name}", cli: "aws iam put-role-policy --role-name {name} --policy-name {policy_name} --policy-document {document}",
		in: call(func(q *request) any {
			return &iam.PutRolePolicyInput{RoleName: named(q), PolicyName: field(q, "policy_name"), PolicyDocument: field(q, "document")}
		})},
	"delete-inline": {lost: loses("the policy {policy_name} of {name}", "What it allows is refused from now on."), text: "The policy {policy_name} was deleted.", to: "/roles/{name}", cli: "aws iam delete-role-policy --role-name {name} --policy-name {policy_name}",
		in: call(func(q *request) any {
			return &iam.DeleteRolePolicyInput{RoleName: named(q), PolicyName: field(q, "policy_name")}
		})},
	"delete": {lost: loses("the role {name}", "Who acts as it loses its rights within seconds.", "It must have no policies left."), text: "The role {name} was deleted.", to: "/roles", cli: "aws iam delete-role --role-name {name}",
		in: call(func(q *request) any { return &iam.DeleteRoleInput{RoleName: named(q)} })},
}

var policyForms = forms{
	"create": {text: "The policy {name} was created.", to: "/policies", cli: "aws iam create-policy --policy-name {name} --policy-document {document}",
		in: call(func(q *request) any {
			return &iam.CreatePolicyInput{PolicyName: field(q, "name"), PolicyDocument: field(q, "document")}
		})},
	"version": {text: "The policy has a new version, which counts now.", to: "/policies/view?arn={arn}", cli: "aws iam create-policy-version --policy-arn {arn} --policy-document {document} --set-as-default",
		in: call(func(q *request) any {
			return &iam.CreatePolicyVersionInput{PolicyArn: field(q, "arn"), PolicyDocument: field(q, "document"), SetAsDefault: true}
		})},
	"default": {text: "{version} counts now.", to: "/policies/view?arn={arn}", cli: "aws iam set-default-policy-version --policy-arn {arn} --version-id {version}",
		in: call(func(q *request) any {
			return &iam.SetDefaultPolicyVersionInput{PolicyArn: field(q, "arn"), VersionId: field(q, "version")}
		})},
	"delete-version": {lost: loses("{version} of {arn}"), text: "{version} was deleted.", to: "/policies/view?arn={arn}", cli: "aws iam delete-policy-version --policy-arn {arn} --version-id {version}",
		in: call(func(q *request) any {
			return &iam.DeletePolicyVersionInput{PolicyArn: field(q, "arn"), VersionId: field(q, "version")}
		})},
	"delete": {lost: loses("the policy {arn}", "It must be attached to nobody."), text: "The policy was deleted.", to: "/policies", cli: "aws iam delete-policy --policy-arn {arn}",
		in: call(func(q *request) any { return &iam.DeletePolicyInput{PolicyArn: field(q, "arn")} })},
}

// myForms are those of one's own access keys and password.
var myForms = forms{
	"create-key": {cli: "aws iam create-access-key", result: newKeyShown, in: call(func(*request) any { return &iam.CreateAccessKeyInput{} })},
	"key-status": {text: "The access key {key} is {status} now.", to: "/me", cli: "aws iam update-access-key --access-key-id {key} --status {status}",
		in: call(func(q *request) any {
			return &iam.UpdateAccessKeyInput{AccessKeyId: field(q, "key"), Status: types.StatusType(q.in("status"))}
		})},
	"delete-key": {lost: loses("the access key {key}", "Programs that sign with it are refused at once.", "Sessions of the console that stand on it end."), text: "The access key {key} was deleted.", to: "/me", cli: "aws iam delete-access-key --access-key-id {key}",
		in: call(func(q *request) any { return &iam.DeleteAccessKeyInput{AccessKeyId: field(q, "key")} })},
	"password": {text: "Your password was changed.", to: "/me", cli: "aws iam change-password --old-password ... --new-password ...",
		in: call(func(q *request) any {
			return &iam.ChangePasswordInput{OldPassword: aws.String(q.PostFormValue("old")), NewPassword: aws.String(q.PostFormValue("new"))}
		})},
}
