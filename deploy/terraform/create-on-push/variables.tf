variable "name" {
  description = "Name of the function, its role, its rule and its log group."
  type        = string
  default     = "ecr-create-on-push"
}

variable "prefixes" {
  description = "Repositories are created only when their name begins with one of these. Empty: any name."
  type        = list(string)
  default     = []
}

variable "image_tag_mutability" {
  description = "MUTABLE or IMMUTABLE."
  type        = string
  default     = "IMMUTABLE"
  validation {
    condition     = contains(["MUTABLE", "IMMUTABLE"], var.image_tag_mutability)
    error_message = "Give MUTABLE or IMMUTABLE."
  }
}

variable "scan_on_push" {
  description = "Scan images when they are pushed."
  type        = bool
  default     = true
}

variable "encryption_type" {
  description = "AES256 or KMS."
  type        = string
  default     = "AES256"
  validation {
    condition     = contains(["AES256", "KMS"], var.encryption_type)
    error_message = "Give AES256 or KMS."
  }
}

variable "kms_key" {
  description = "ARN of the key for the encryption type KMS. Empty: the account's own."
  type        = string
  default     = ""
}

variable "repository_tags" {
  description = "Tags of the repositories that are created."
  type        = map(string)
  default     = {}
}

variable "lifecycle_policy" {
  description = "Lifecycle policy of the repositories that are created, as JSON. Empty: none."
  type        = string
  default     = ""
}

variable "repository_policy" {
  description = "Access policy of the repositories that are created, as JSON. Empty: none."
  type        = string
  default     = ""
}

variable "log_retention_in_days" {
  description = "How long the function's log is kept."
  type        = number
  default     = 30
}

variable "runtime" {
  description = "Runtime of the function."
  type        = string
  default     = "python3.12"
}

variable "tags" {
  description = "Tags of the function, its role, its rule and its log group."
  type        = map(string)
  default     = {}
}
