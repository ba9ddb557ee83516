// Owns pods/NAME/log: parameters checked here, bytes streamed from the kubelet as they come.
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Api } from "../context.ts";
import { isClosed, type ApiResponse, type Exchange } from "../http/exchange.ts";
import { isTrue, type ResourceRequest } from "../http/route.ts";
import type { Row } from "../registry/row.ts";
import { ApiError, invalid, invalidValue, methodNotAllowed, type FieldProblem } from "../status.ts";
import { requireEntry } from "../verbs/read.ts";
import { chooseContainer, kubeletOf } from "./kubelet.ts";

/** Longest error text of a kubelet that is passed on. */
const MAX_ERROR_BYTES = 64 * 1024;
const COUNTS = ["sinceSeconds", "tailLines", "limitBytes"];
const PASSED = ["follow", "previous", "timestamps", "sinceTime", ...COUNTS];

export async function serveLog(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  if (target.verb !== "get" && target.verb !== "watch") throw methodNotAllowed();
  const pod = requireEntry(api, row, target.namespace, target.name).object;
  const query = readLogQuery(exchange.query, target.name);
  const container = chooseContainer(pod, exchange.query.get("container") ?? "");
  const address = kubeletOf(api, pod);
  const socket = await api.kubelet.dial(address);
  const names = [target.namespace, target.name, container].map(encodeURIComponent).join("/");
  const upstream = httpRequest({
    createConnection: () => socket,
    method: "GET",
    path: `/containerLogs/${names}?${query.toString()}`,
    headers: { host: `${address.host}:${address.port}` },
  });
  exchange.response.on("close", () => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    upstream.on("error", (error) => reject(new ApiError(500, "InternalError", `reading logs from node ${address.node}: ${error.message}`)));
    upstream.on("response", (message) => {
      // A client that stops following ends the upstream too: that is no error.
      relay(exchange, message).then(resolve, (error: unknown) => (isClosed(exchange.response) ? resolve() : reject(error)));
    });
    upstream.end();
  });
}

function readLogQuery(query: URLSearchParams, name: string): URLSearchParams {
  const passed = new URLSearchParams();
  const problems: FieldProblem[] = [];
  for (const key of PASSED) {
    const value = query.get(key);
    if (value === null) continue;
    if (COUNTS.includes(key)) {
      const least = key === "tailLines" ? 0 : 1;
      if (!/^-?\d{1,15}$/.test(value) || Number(value) < least) {
        problems.push(invalidValue(key, value, `must be an integer greater than or equal to ${least}`));
      }
      passed.set(key, value);
    } else if (key === "sinceTime") {
      if (Number.isNaN(Date.parse(value))) problems.push(invalidValue(key, value, "must be an RFC 3339 time"));
      passed.set(key, value);
    } else passed.set(key, String(isTrue(value)));
  }
  if (passed.has("sinceSeconds") && passed.has("sinceTime")) {
    problems.push({ field: "", type: "FieldValueForbidden", message: "at most one of `sinceTime` or `sinceSeconds` may be specified" });
  }
  if (problems.length > 0) throw invalid({ group: "", resource: "pods", kind: "PodLogOptions" }, name, problems);
  return passed;
}

/** Resolves when the response takes more, or never will. */
function writable(response: ApiResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off("drain", go);
      response.off("close", go);
      resolve();
    };
    response.on("drain", go);
    response.on("close", go);
  });
}

async function relay(exchange: Exchange, message: IncomingMessage): Promise<void> {
  const { response } = exchange;
  if (message.statusCode !== 200) {
    let text = "";
    for await (const chunk of message) if (text.length < MAX_ERROR_BYTES) text += String(chunk);
    const code = message.statusCode ?? 500;
    const reason = code === 404 ? "NotFound" : code === 400 ? "BadRequest" : "InternalError";
    throw new ApiError(code, reason, text.trim() === "" ? `the kubelet answered ${code}` : text.trim());
  }
  response.writeHead(200, exchange.headers("text/plain") as Record<string, string>);
  response.flushHeaders();
  for await (const chunk of message) {
    if (response.write(chunk as Buffer)) continue;
    await writable(response);
    if (isClosed(response)) return;
  }
  response.end();
}
