// Owns one call of a webhook: where it is, the HTTPS request with its bounds, and the reading of its answer.
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { systemRandom } from "@ambit/runtime";
import type { Api } from "../context.ts";
import { asBoolean, asNumber, asObject, asObjects, asString, asStrings, dig, isObject, type JsonObject } from "../json.ts";
import type { Hook } from "./hooks.ts";

/** An answer holds at most a patch of an object and its review. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const DEFAULT_PORT = 443;

export interface Verdict {
  readonly allowed: boolean;
  readonly status: JsonObject;
  /** A decoded JSON Patch, or null. */
  readonly patch: unknown;
  readonly warnings: readonly string[];
}

/** Sends an AdmissionReview and returns its verdict; throws with what went wrong. */
export async function callHook(api: Api, hook: Hook, review: JsonObject, uid: string): Promise<Verdict> {
  const endpoint = locate(api, hook.client);
  const text = await post(endpoint, hook, JSON.stringify(review));
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error("the answer is not JSON");
  }
  const response = isObject(answer) ? answer["response"] : undefined;
  if (!isObject(response)) throw new Error("the answer has no response");
  if (response["uid"] !== uid) throw new Error(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response["uid"])}`);
  return {
    allowed: asBoolean(response["allowed"]),
    status: asObject(response["status"]),
    patch: readPatch(response),
    warnings: asStrings(response["warnings"]),
  };
}

function readPatch(response: JsonObject): unknown {
  const patch = asString(response["patch"]);
  if (patch === "") return null;
  if (response["patchType"] !== "JSONPatch") throw new Error(`patchType must be JSONPatch, not ${JSON.stringify(response["patchType"])}`);
  try {
    return JSON.parse(Buffer.from(patch, "base64").toString("utf8"));
  } catch {
    throw new Error("the patch is not base64 of JSON");
  }
}

interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly serverName: string;
}

function locate(api: Api, client: JsonObject): Endpoint {
  const url = asString(client["url"]);
  if (url !== "") {
    const { hostname, port, pathname, search } = new URL(url);
    return { host: hostname, port: port === "" ? DEFAULT_PORT : Number(port), path: pathname + search, serverName: hostname };
  }
  const reference = asObject(client["service"]);
  const namespace = asString(reference["namespace"]);
  const name = asString(reference["name"]);
  const wanted = asNumber(reference["port"], DEFAULT_PORT);
  const service = api.store.get("/services", `${namespace}/${name}`);
  if (service === undefined) throw new Error(`service ${JSON.stringify(name)} not found in namespace ${JSON.stringify(namespace)}`);
  const port = asObjects(dig(service.object, "spec", "ports")).find((item) => item["port"] === wanted);
  if (port === undefined) throw new Error(`service ${namespace}/${name} has no port ${wanted}`);
  const { host, port: target } = pickEndpoint(api, namespace, name, asString(port["name"]));
  return { host, port: target, path: asString(reference["path"]) || "/", serverName: `${name}.${namespace}.svc` };
}

/** A ready endpoint straight from the slices: the server's own network has no Service addresses. */
function pickEndpoint(api: Api, namespace: string, service: string, portName: string): { host: string; port: number } {
  const found: { host: string; port: number }[] = [];
  for (const entry of api.store.list("discovery.k8s.io/endpointslices", `${namespace}/`)) {
    if (dig(entry.object, "metadata", "labels", "kubernetes.io/service-name") !== service) continue;
    const port = asObjects(entry.object["ports"]).find((item) => asString(item["name"]) === portName);
    if (port === undefined) continue;
    for (const endpoint of asObjects(entry.object["endpoints"])) {
      const host = asStrings(endpoint["addresses"])[0];
      const ready = asObject(endpoint["conditions"])["ready"] !== false;
      if (ready && host !== undefined) found.push({ host, port: asNumber(port["port"]) });
    }
  }
  const picked = found[Math.floor(systemRandom() * found.length)];
  if (picked === undefined) throw new Error(`no endpoints available for service ${JSON.stringify(service)}`);
  return picked;
}

function post(endpoint: Endpoint, hook: Hook, body: string): Promise<string> {
  const separator = endpoint.path.includes("?") ? "&" : "?";
  const bundle = asString(hook.client["caBundle"]);
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(
      {
        host: endpoint.host,
        port: endpoint.port,
        path: `${endpoint.path}${separator}timeout=${hook.timeoutS}s`,
        method: "POST",
        agent: false,
        // An address is no server name; the certificate is then checked against the host.
        servername: isIP(endpoint.serverName) === 0 ? endpoint.serverName : "",
        ...(bundle === "" ? {} : { ca: Buffer.from(bundle, "base64") }),
        headers: { "content-type": "application/json", accept: "application/json", "content-length": Buffer.byteLength(body) },
        signal: AbortSignal.timeout(hook.timeoutS * 1000),
      },
      (message) => {
        const chunks: Buffer[] = [];
        let size = 0;
        message.on("data", (chunk: Buffer) => {
          size += chunk.length;
          chunks.push(chunk);
          if (size > MAX_ANSWER_BYTES) message.destroy(new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`));
        });
        message.on("error", reject);
        message.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          if (message.statusCode === 200) resolve(text);
          else reject(new Error(`the server answered ${message.statusCode}: ${text.slice(0, 200)}`));
        });
      },
    );
    sent.on("error", (error) => {
      reject(error.name === "TimeoutError" || error.name === "AbortError" ? new Error(`no answer within ${hook.timeoutS}s`) : error);
    });
    sent.end(body);
  });
}
