data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  region  = data.aws_region.current.id
  issuer  = "token.actions.githubusercontent.com"
  iam     = "arn:${data.aws_partition.current.partition}:iam::"

  pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
  push = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]

  # What a repository has: its own settings, else the block's.
  settings = { for name in toset(var.ecr-repositories) : name => {
    image_tag_mutability = try(coalesce(var.repository_settings[name].image_tag_mutability), var.image_tag_mutability)
    scan_on_push         = try(coalesce(var.repository_settings[name].scan_on_push), var.scan_on_push)
    encryption_type      = try(coalesce(var.repository_settings[name].encryption_type), var.encryption_type)
    kms_key              = try(var.repository_settings[name].encryption_type, null) == null ? var.kms_key : try(coalesce(var.repository_settings[name].kms_key), "")
    lifecycle_policy     = try(coalesce(var.repository_settings[name].lifecycle_policy), var.lifecycle_policy)
    repository_policy    = try(coalesce(var.repository_settings[name].repository_policy), var.repository_policy)
    tags                 = merge(var.tags, try(var.repository_settings[name].tags, {}))
  } }

  roots   = [for a in var.account_access : "${local.iam}${a.account_id}:root"]
  writers = [for a in var.account_access : "${local.iam}${a.account_id}:root" if a.can_write]

  # GitHub's subjects have names alone, or names and ids. Where ids are given, only the
  # subjects that have them are taken.
  subjects = var.github_access == null ? [] : flatten([for r in var.github_access.github_repositories : [for s in r.subjects : concat(
    r.organisation_id == null && r.repository_id == null ? ["repo:${r.organisation}/${r.repository}:${s}"] : [],
    ["repo:${r.organisation}@${r.organisation_id == null ? "*" : r.organisation_id}/${r.repository}@${r.repository_id == null ? "*" : r.repository_id}:${s}"],
  )]])

  access = concat(
    length(local.roots) == 0 ? [] : [{ Sid = "pull", Effect = "Allow", Principal = { AWS = local.roots }, Action = local.pull }],
    length(local.writers) == 0 ? [] : [{ Sid = "push", Effect = "Allow", Principal = { AWS = local.writers }, Action = local.push }],
    var.github_access == null ? [] : [{ Sid = "github", Effect = "Allow", Principal = { AWS = [aws_iam_role.github[0].arn] }, Action = concat(local.pull, local.push) }],
  )
  policies = { for name, s in local.settings : name => jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.access, flatten([for p in compact([s.repository_policy]) : jsondecode(p).Statement]))
  }) }
  # Known before anything is made: whether a repository has a policy.
  restricted = length(var.account_access) > 0 || var.github_access != null

  prefixes = [for p in var.create_on_push_prefixes : "arn:${data.aws_partition.current.partition}:ecr:${local.region}:${local.account}:repository/${trimsuffix(p, "/")}/*" if p != "ROOT"]
}

resource "terraform_data" "landing" {
  lifecycle {
    precondition {
      condition     = contains(["", local.account], var.account_id)
      error_message = "This is for account ${var.account_id}, and the provider is of ${local.account}."
    }
    precondition {
      condition     = contains(["", local.region], var.region)
      error_message = "This is for region ${var.region}, and the provider is of ${local.region}."
    }
    precondition {
      condition     = length(var.image_tag_mutability_exclusions) == 0 && alltrue([for s in var.repository_settings : s.image_tag_mutability_exclusions == null]) && alltrue([for t in var.creation_templates : length(t.image_tag_mutability_exclusions) == 0])
      error_message = "This module works with version 5 of the provider, which cannot exclude tags from a rule; berth apply can."
    }
    precondition {
      condition     = alltrue([for name, s in var.repository_settings : contains(var.ecr-repositories, name)])
      error_message = "repository_settings has a repository that ecr-repositories does not list."
    }
  }
}

resource "aws_ecr_repository" "this" {
  for_each             = local.settings
  name                 = each.key
  image_tag_mutability = each.value.image_tag_mutability
  force_delete         = var.force_delete
  tags                 = each.value.tags
  image_scanning_configuration {
    scan_on_push = each.value.scan_on_push
  }
  encryption_configuration {
    encryption_type = each.value.encryption_type
    kms_key         = each.value.kms_key == "" ? null : each.value.kms_key
  }
  depends_on = [terraform_data.landing]
}

resource "aws_ecr_repository_policy" "this" {
  for_each   = { for name, s in local.settings : name => local.policies[name] if local.restricted || s.repository_policy != "" }
  repository = each.key # a reference to the repository would have terraform look at all of them for each
  policy     = each.value
  depends_on = [aws_ecr_repository.this]
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = { for name, s in local.settings : name => s.lifecycle_policy if s.lifecycle_policy != "" }
  repository = each.key
  policy     = each.value
  depends_on = [aws_ecr_repository.this]
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.create_github_oidc_provider ? 1 : 0
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "github" {
  count       = var.github_access == null ? 0 : 1
  name        = var.github_access.role_name
  description = "Lets GitHub Actions push to ECR"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = "${local.iam}${local.account}:oidc-provider/${local.issuer}" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = { "${local.issuer}:aud" = "sts.amazonaws.com" }
        StringLike   = { "${local.issuer}:sub" = local.subjects }
      }
    }]
  })
  depends_on = [aws_iam_openid_connect_provider.github, terraform_data.landing]
}

# The repositories' policies say what the role may push to, so that their number has no
# limit. The role's own policy holds what has no repository.
resource "aws_iam_role_policy" "github" {
  count = var.github_access == null ? 0 : 1
  name  = "ecr"
  role  = aws_iam_role.github[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{ Sid = "login", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] }],
      length(local.prefixes) == 0 ? [] : [{
        Sid      = "create"
        Effect   = "Allow"
        Action   = concat(["ecr:CreateRepository"], local.pull, local.push, length(var.tags) == 0 ? [] : ["ecr:TagResource"])
        Resource = local.prefixes
      }],
    )
  })
}

locals {
  own_templates = [for p in var.create_on_push_prefixes : {
    prefix               = p
    applied_for          = ["CREATE_ON_PUSH"]
    description          = "Creates repositories on push"
    custom_role_arn      = null
    image_tag_mutability = var.image_tag_mutability
    encryption_type      = var.encryption_type
    kms_key              = var.kms_key
    lifecycle_policy     = var.lifecycle_policy
    repository_policy    = local.restricted || var.repository_policy != "" ? jsonencode({ Version = "2012-10-17", Statement = concat(local.access, flatten([for d in compact([var.repository_policy]) : jsondecode(d).Statement])) }) : null
    tags                 = var.tags
  }]
  templates = { for t in concat(local.own_templates, var.creation_templates) : t.prefix => t }
}

resource "aws_ecr_repository_creation_template" "this" {
  for_each             = local.templates
  prefix               = each.key
  applied_for          = each.value.applied_for
  description          = each.value.description
  custom_role_arn      = each.value.custom_role_arn
  image_tag_mutability = each.value.image_tag_mutability
  lifecycle_policy     = each.value.lifecycle_policy == "" ? null : each.value.lifecycle_policy
  repository_policy    = each.value.repository_policy == "" ? null : each.value.repository_policy
  resource_tags        = each.value.tags
  encryption_configuration {
    encryption_type = each.value.encryption_type
    kms_key         = each.value.kms_key == "" ? null : each.value.kms_key
  }
  depends_on = [terraform_data.landing]
}

resource "aws_ecr_registry_policy" "this" {
  count      = var.registry_policy == "" ? 0 : 1
  policy     = var.registry_policy
  depends_on = [terraform_data.landing]
}
