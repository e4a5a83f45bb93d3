data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  repositories = length(var.prefixes) == 0 ? ["*"] : [for p in var.prefixes : "${p}*"]
  missed = merge(
    {
      eventSource = ["ecr.amazonaws.com"]
      eventName   = ["InitiateLayerUpload"]
      errorCode   = ["RepositoryNotFoundException"]
    },
    length(var.prefixes) == 0 ? {} : { requestParameters = { repositoryName = [for p in var.prefixes : { prefix = p }] } },
  )
}

# The log group comes first, so that the function does not make one without an end.
resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_in_days
  tags              = var.tags
}

resource "aws_iam_role" "function" {
  name = var.name
  tags = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  name = "create-repositories"
  role = aws_iam_role.function.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["ecr:CreateRepository", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:TagResource"]
        Resource = [for r in local.repositories : "arn:${data.aws_partition.current.partition}:ecr:*:${data.aws_caller_identity.current.account_id}:repository/${r}"]
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.function.arn}:*"
      },
    ]
  })
}

resource "aws_lambda_function" "create" {
  function_name    = var.name
  description      = "Creates the repository that a push has missed."
  role             = aws_iam_role.function.arn
  runtime          = var.runtime
  handler          = "index.handler"
  filename         = "${path.module}/function.zip"
  source_code_hash = filebase64sha256("${path.module}/function.zip")
  timeout          = 10
  tags             = var.tags
  environment {
    variables = {
      PREFIXES          = jsonencode(var.prefixes)
      MUTABILITY        = var.image_tag_mutability
      SCAN_ON_PUSH      = tostring(var.scan_on_push)
      ENCRYPTION        = var.encryption_type
      KMS_KEY           = var.kms_key
      TAGS              = jsonencode(var.repository_tags)
      LIFECYCLE_POLICY  = var.lifecycle_policy
      REPOSITORY_POLICY = var.repository_policy
    }
  }
  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy.function]
}

resource "aws_cloudwatch_event_rule" "missed" {
  name        = var.name
  description = "Pushes to repositories that do not exist."
  tags        = var.tags
  event_pattern = jsonencode({
    source      = ["aws.ecr"]
    detail-type = ["AWS API Call via CloudTrail"]
    detail      = local.missed
  })
}

resource "aws_cloudwatch_event_target" "create" {
  rule = aws_cloudwatch_event_rule.missed.name
  arn  = aws_lambda_function.create.arn
}

resource "aws_lambda_permission" "events" {
  statement_id  = "events"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.create.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.missed.arn
}
