variable "ecr-repositories" {
  description = "Names of the repositories."
  type        = list(string)
}

variable "account_access" {
  description = "Accounts that may pull from the repositories, and push if they can write."
  type = list(object({
    description = optional(string)
    account_id  = string
    can_write   = optional(bool, false)
  }))
  default = []
  validation {
    condition     = alltrue([for a in var.account_access : can(regex("^[0-9]{12}$", a.account_id))])
    error_message = "An account_id must have 12 digits."
  }
  validation {
    condition     = length(distinct(var.account_access[*].account_id)) == length(var.account_access)
    error_message = "An account is listed twice."
  }
}

variable "github_access" {
  description = "GitHub repositories whose workflows may push, and the role that they assume. Both names may have asterisks."
  type = object({
    role_name = string
    github_repositories = list(object({
      organisation    = string
      repository      = string
      organisation_id = optional(string)
      repository_id   = optional(string)
      subjects        = optional(list(string), ["*"])
    }))
  })
  default = null
  validation {
    condition     = var.github_access == null ? true : length(var.github_access.github_repositories) > 0
    error_message = "Name at least one GitHub repository."
  }
  validation {
    condition     = var.github_access == null ? true : alltrue([for r in var.github_access.github_repositories : trim(r.organisation, "*") != "" || r.organisation_id != null])
    error_message = "An organisation must be named, or have its organisation_id: an asterisk alone is everybody on GitHub."
  }
}

variable "create_github_oidc_provider" {
  description = "Make the account's identity provider for GitHub Actions. One block in an account does."
  type        = bool
  default     = false
}

variable "image_tag_mutability" {
  description = "MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION or IMMUTABLE_WITH_EXCLUSION."
  type        = string
  default     = "MUTABLE"
}

variable "image_tag_mutability_exclusions" {
  description = "Wildcards over tags that follow the other rule. Only berth apply can set them."
  type        = list(string)
  default     = []
}

variable "scan_on_push" {
  description = "Scan images when they are pushed."
  type        = bool
  default     = false
}

variable "encryption_type" {
  description = "AES256 or KMS. Fixed when a repository is made."
  type        = string
  default     = "AES256"
}

variable "kms_key" {
  description = "Key for the encryption type KMS. Empty: the account's own."
  type        = string
  default     = ""
}

variable "lifecycle_policy" {
  description = "Lifecycle policy of the repositories, as JSON. Empty: none."
  type        = string
  default     = ""
}

variable "repository_policy" {
  description = "Policy whose statements the repositories have beside those of account_access and github_access, as JSON. Empty: none."
  type        = string
  default     = ""
}

variable "tags" {
  description = "Tags of the repositories, such as port-SERVICE."
  type        = map(string)
  default     = {}
}

variable "repository_settings" {
  description = "Settings of single repositories, by name, in place of those above; tags are added."
  type = map(object({
    image_tag_mutability            = optional(string)
    image_tag_mutability_exclusions = optional(list(string))
    scan_on_push                    = optional(bool)
    encryption_type                 = optional(string)
    kms_key                         = optional(string)
    lifecycle_policy                = optional(string)
    repository_policy               = optional(string)
    tags                            = optional(map(string), {})
  }))
  default = {}
}

variable "create_on_push_prefixes" {
  description = "Prefixes under which a push creates the repository, with the settings above. Needs version 6.28 of the provider."
  type        = list(string)
  default     = []
}

variable "creation_templates" {
  description = "Further creation templates."
  type = list(object({
    prefix                          = string
    applied_for                     = list(string)
    description                     = optional(string)
    custom_role_arn                 = optional(string)
    image_tag_mutability            = optional(string, "MUTABLE")
    image_tag_mutability_exclusions = optional(list(string), [])
    encryption_type                 = optional(string, "AES256")
    kms_key                         = optional(string)
    lifecycle_policy                = optional(string)
    repository_policy               = optional(string)
    tags                            = optional(map(string), {})
  }))
  default = []
}

variable "registry_policy" {
  description = "Policy of the whole registry, as JSON. Empty: none. One block in an account and region may have it."
  type        = string
  default     = ""
}

variable "account_id" {
  description = "Account that this must land in. Empty: any."
  type        = string
  default     = ""
}

variable "region" {
  description = "Region that this must land in. Empty: any."
  type        = string
  default     = ""
}

variable "force_delete" {
  description = "Delete repositories even when they hold images."
  type        = bool
  default     = false
}
