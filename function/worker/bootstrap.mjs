// Runs a Lambda handler: asks the Runtime API for invocations, calls the handler and
// answers. It needs nothing but node itself.
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const root = "/2018-06-01/runtime/";

function call(method, where, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, agent, method, path: root + where, headers: body ? { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) } : {} }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(parts).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function failure(error) {
  const e = error instanceof Error ? error : new Error(String(error));
  return JSON.stringify({ errorType: e.name, errorMessage: e.message, trace: (e.stack || "").split("\n") });
}

let requestId = "";
for (const level of ["debug", "info", "log", "warn", "error"]) {
  const name = level === "log" ? "INFO" : level.toUpperCase();
  const print = console[level].bind(console);
  console[level] = (...args) => print(`${new Date().toISOString()}\t${requestId}\t${name}\t` + (typeof args[0] === "string" ? args.shift() : "%o"), ...args);
}

async function load(handler) {
  const dot = handler.lastIndexOf(".");
  const base = path.resolve(process.cwd(), handler.slice(0, dot));
  const file = [".mjs", ".js", ".cjs"].map((end) => base + end).find(existsSync);
  if (!file) throw new Error(`Cannot find module '${handler.slice(0, dot)}'`);
  let loaded;
  try {
    loaded = await import(pathToFileURL(file).href);
  } catch (error) {
    if (file.endsWith(".mjs")) throw error;
    loaded = createRequire(file)(file);
  }
  const name = handler.slice(dot + 1);
  const found = loaded[name] ?? loaded.default?.[name];
  if (typeof found !== "function") throw new Error(`${handler} is undefined or not exported`);
  return found;
}

let handle;
try {
  handle = await load(process.env._HANDLER);
} catch (error) {
  console.error(error.stack || String(error));
  await call("POST", "init/error", failure(error));
  process.exit(1);
}
for (;;) {
  const { headers, body } = await call("GET", "invocation/next");
  requestId = headers["lambda-runtime-aws-request-id"];
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const context = {
    awsRequestId: requestId, invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"], functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION, memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME, logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    callbackWaitsForEmptyEventLoop: true, getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
  };
  let answer, where = "/response";
  try {
    const result = await new Promise((resolve, reject) => {
      const done = (error, value) => (error ? reject(error) : resolve(value));
      context.done = done;
      context.succeed = resolve;
      context.fail = reject;
      const returned = handle(JSON.parse(body), context, done);
      if (returned && typeof returned.then === "function") returned.then(resolve, reject);
      else if (handle.length < 3) resolve(returned);
    });
    answer = JSON.stringify(result === undefined ? null : result);
  } catch (error) {
    console.error(error?.stack || String(error));
    answer = failure(error);
    where = "/error";
  }
  await call("POST", "invocation/" + requestId + where, answer);
}
