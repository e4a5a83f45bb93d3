output "role_arn" {
  description = "ARN of the role that GitHub workflows assume, null without github_access."
  value       = one(aws_iam_role.github[*].arn)
}

output "repository_urls" {
  description = "What images are called, by repository."
  value       = { for name, r in aws_ecr_repository.this : name => r.repository_url }
}

output "repository_arns" {
  description = "ARNs, by repository."
  value       = { for name, r in aws_ecr_repository.this : name => r.arn }
}
