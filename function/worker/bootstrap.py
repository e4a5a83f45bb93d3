"""Runs a Lambda handler: asks the Runtime API for invocations, calls the handler and
answers. It needs nothing but the standard library."""
import http.client
import importlib
import io
import json
import logging
import os
import sys
import time
import traceback

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
ROOT = "/2018-06-01/runtime/"


class Context:
    """What a handler's second argument tells."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = None
        self.client_context = None
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(self._deadline - int(time.time() * 1000), 0)

    def log(self, message):
        print(message)


class Formatter(logging.Formatter):
    """Lambda's own form of a record."""

    converter = time.gmtime
    request_id = ""

    def format(self, record):
        record.aws_request_id = Formatter.request_id
        return super().format(record)


def set_up_logging():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.getLogger().addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "WARNING")
    logging.getLogger().setLevel(getattr(logging, level, logging.WARNING))


def use_endpoint():
    """botocore before 1.31 does not read AWS_ENDPOINT_URL: tell it where the API is."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return

    class Finder:
        """Changes botocore when, and only when, the function imports it."""

        def find_spec(self, name, path=None, target=None):
            if name != "botocore.session":
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def patched(module):
                execute(module)
                import botocore

                version = tuple(int(x) for x in botocore.__version__.split(".")[:2])
                if version >= (1, 31):
                    return
                create = module.Session.create_client

                def create_client(self, service_name, *args, **kwargs):
                    if len(args) < 5 and kwargs.get("endpoint_url") is None:
                        kwargs["endpoint_url"] = os.environ.get("AWS_ENDPOINT_URL_" + service_name.upper().replace("-", "_"), endpoint)
                    return create(self, service_name, *args, **kwargs)

                module.Session.create_client = create_client

            spec.loader.exec_module = patched
            return spec

    import importlib.util

    sys.meta_path.insert(0, Finder())


def post(connection, path, document):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    connection.request("POST", ROOT + path, body, {"Content-Type": "application/json"})
    connection.getresponse().read()


def failure(error):
    trace = traceback.format_exception(type(error), error, error.__traceback__)
    return {"errorMessage": str(error), "errorType": type(error).__name__, "requestId": Formatter.request_id,
            "stackTrace": [line for line in traceback.format_tb(error.__traceback__)[1:]]}, "".join(trace)


def load(name):
    module, _, function = name.rpartition(".")
    if not module:
        raise ValueError("Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name)
    return getattr(importlib.import_module(module.replace("/", ".")), function)


def encode(result):
    if isinstance(result, io.IOBase):
        return result.read()
    return json.dumps(result).encode()


def main():
    sys.path.insert(0, os.getcwd())
    sys.stdout.reconfigure(line_buffering=True)
    set_up_logging()
    use_endpoint()
    connection = http.client.HTTPConnection(API)
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as error:
        document, trace = failure(error)
        print("[ERROR] " + trace.strip())
        post(connection, "init/error", document)
        sys.exit(1)
    while True:
        connection.request("GET", ROOT + "invocation/next")
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            sys.exit(1)
        context = Context(response.headers)
        Formatter.request_id = context.aws_request_id
        try:
            result = encode(handler(json.loads(body), context))
        except BaseException as error:
            document, trace = failure(error)
            print("[ERROR] " + trace.strip())
            sys.stdout.flush()
            post(connection, "invocation/" + context.aws_request_id + "/error", document)
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                sys.exit(1)
            continue
        sys.stdout.flush()
        post(connection, "invocation/" + context.aws_request_id + "/response", result)


main()
