# The guide's block with further ones, applied by terraform here and by berth apply
# elsewhere: what they make must be the same.

variable "endpoint" { type = string }

provider "aws" {
  region                      = "us-east-1"
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_credentials_validation = true
  endpoints {
    ecr = var.endpoint
    iam = var.endpoint
    sts = var.endpoint
  }
}

locals {
  untagged = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "old builds"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}

module "ecr-koa" {
  source = "./ecr-repos"

  ecr-repositories = [ "giftcard-service" ]

  account_access = [
    {
      description = "aws-koa-dev"
      account_id  = "931827427725"
      can_write   = false
    },
    {
      description = "aws-koa-test"
      account_id  = "615205931730"
      can_write   = false
    },
    {
      description = "aws-koa-prod"
      account_id  = "151484623076"
      can_write   = false
  }]

  github_access = {
    role_name = "koa-github-ecr-access"
    github_repositories = [
      {
        "organisation" = "JPPOL-KOA"
        "repository"   = "GiftCardService"
      }
    ]
  }

  create_github_oidc_provider = true
}

module "ecr-full" {
  source           = "./ecr-repos"
  account_id       = "000000000000"
  region           = "us-east-1"
  ecr-repositories = ["team/api", "team/web", "team/sealed"]
  account_access   = [{ account_id = "931827427725", can_write = true }, { account_id = "615205931730" }]
  github_access = {
    role_name = "team-push"
    github_repositories = [
      { organisation = "team", repository = "*", subjects = ["ref:refs/heads/main", "environment:production"] },
      { organisation = "team", repository = "infra", organisation_id = "77", repository_id = "88" },
    ]
  }
  image_tag_mutability = "IMMUTABLE"
  scan_on_push         = true
  lifecycle_policy     = local.untagged
  tags                 = { port-auth-service = "", owner = "team" }
  repository_settings = {
    "team/web"    = { image_tag_mutability = "MUTABLE", scan_on_push = false, tags = { owner = "web" } }
    "team/sealed" = { encryption_type = "KMS", repository_policy = local.reader }
  }
}

module "ecr-plain" {
  source           = "./ecr-repos"
  ecr-repositories = ["plain"]
  creation_templates = [
    { prefix = "mirror", applied_for = ["PULL_THROUGH_CACHE"], description = "mirrors", lifecycle_policy = local.untagged, tags = { mirror = "yes" } },
  ]
  registry_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "replicate", Effect = "Allow", Principal = { AWS = "arn:aws:iam::931827427725:root" }, Action = ["ecr:CreateRepository", "ecr:ReplicateImage"], Resource = ["arn:aws:ecr:us-east-1:000000000000:repository/*"] }]
  })
}

locals {
  reader = jsonencode({
    Version   = "2012-10-17"
    Statement = { Sid = "scanner", Effect = "Allow", Principal = { AWS = "arn:aws:iam::151484623076:root" }, Action = "ecr:DescribeImages" }
  })
}

output "role" {
  value = module.ecr-koa.role_arn
}
