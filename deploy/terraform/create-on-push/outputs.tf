output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.create.function_name
}

output "role_arn" {
  description = "ARN of the role that creates repositories."
  value       = aws_iam_role.function.arn
}

output "rule_name" {
  description = "Name of the rule."
  value       = aws_cloudwatch_event_rule.missed.name
}

output "log_group_name" {
  description = "Name of the function's log group."
  value       = aws_cloudwatch_log_group.function.name
}
