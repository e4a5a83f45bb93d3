# The module of ours that makes repositories appear when somebody pushes to them.
variable "endpoint" { type = string }

provider "aws" {
  region                      = "us-east-1"
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_credentials_validation = true
  endpoints {
    ecr    = var.endpoint
    events = var.endpoint
    iam    = var.endpoint
    lambda = var.endpoint
    logs   = var.endpoint
    sts    = var.endpoint
  }
}

module "create_on_push" {
  source           = "./create-on-push"
  prefixes         = ["team/", "tools/"]
  repository_tags  = { made-by = "push" }
  lifecycle_policy = jsonencode({ rules = [{ rulePriority = 1, selection = { tagStatus = "untagged", countType = "imageCountMoreThan", countNumber = 5 }, action = { type = "expire" } }] })
  tags             = { component = "create-on-push" }
}

resource "aws_lambda_function_event_invoke_config" "create" {
  function_name                = module.create_on_push.function_name
  maximum_retry_attempts       = 1
  maximum_event_age_in_seconds = 120
}
