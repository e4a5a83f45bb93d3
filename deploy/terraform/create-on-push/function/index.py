"""Creates the repository that a push has missed, with the settings of its environment.

It is called with the record of the failed call. It may be called more than once for the
same repository, by the layers of one push and by retries: whoever comes second finds the
repository and is content.
"""
import json
import logging
import os

import boto3

logger = logging.getLogger()
logger.setLevel(logging.INFO)

PREFIXES = tuple(json.loads(os.environ.get("PREFIXES") or "[]"))
ecr = boto3.client("ecr")


def settings():
    """The arguments of CreateRepository that the environment asks for."""
    encryption = {"encryptionType": os.environ.get("ENCRYPTION") or "AES256"}
    if encryption["encryptionType"] == "KMS" and os.environ.get("KMS_KEY"):
        encryption["kmsKey"] = os.environ["KMS_KEY"]
    tags = json.loads(os.environ.get("TAGS") or "{}")
    return {
        "imageTagMutability": os.environ.get("MUTABILITY") or "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": os.environ.get("SCAN_ON_PUSH") == "true"},
        "encryptionConfiguration": encryption,
        "tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())],
    }


def handler(event, context):
    detail = event["detail"]
    name = detail["requestParameters"]["repositoryName"]
    if detail.get("errorCode") != "RepositoryNotFoundException":
        logger.info("nothing to do for %s: the call did not miss its repository", name)
        return {"repository": name, "created": False}
    if PREFIXES and not name.startswith(PREFIXES):
        logger.warning("not creating %s: its name begins with none of %s", name, ", ".join(PREFIXES))
        return {"repository": name, "created": False}
    registry = {"registryId": event["account"], "repositoryName": name}
    try:
        ecr.create_repository(repositoryName=name, **settings())
    except ecr.exceptions.RepositoryAlreadyExistsException:
        logger.info("repository %s exists already", name)
        return {"repository": name, "created": False}
    logger.info("created %s repository", name)
    if os.environ.get("LIFECYCLE_POLICY"):
        ecr.put_lifecycle_policy(lifecyclePolicyText=os.environ["LIFECYCLE_POLICY"], **registry)
    if os.environ.get("REPOSITORY_POLICY"):
        ecr.set_repository_policy(policyText=os.environ["REPOSITORY_POLICY"], **registry)
    return {"repository": name, "created": True}
