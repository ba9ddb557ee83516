// Owns a Kubernetes API server that is nothing but fast: paged lists, watches with bookmarks, writes kept, every token believed. A process of its own.
import { createServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import { fakeCa } from "@ambit/testkit";
import { monotonicMs, type ApiCommand, type ApiReport } from "./messages.ts";
import { changedPod, podName, namespaceOf, serviceOf, world, type Size } from "./world.ts";

type Json = Record<string, unknown>;
interface Kind { readonly path: string; readonly apiVersion: string; readonly kind: string; readonly objects: Map<string, string>; readonly watchers: Set<ServerResponse> }

const PODS = "/api/v1/pods";
const kinds = new Map<string, Kind>();
const single = new Map<string, Json>();
let version = 1_000_000;
let size: Size = { pods: 0, services: 0, nodes: 0 };

const keyOf = (o: Json): string => { const m = o["metadata"] as Json; return `${(m["namespace"] as string | undefined) ?? ""}/${m["name"] as string}`; };
const report = (message: ApiReport): void => void process.send?.(message);

function load(wanted: Size): void {
  size = wanted;
  for (const { path, apiVersion, kind, objects } of world(size)) kinds.set(path, { path, apiVersion, kind, watchers: new Set(), objects: new Map(objects.map((o) => [keyOf(o), JSON.stringify(o)])) });
}

function kindOf(path: string): Kind {
  let known = kinds.get(path);
  if (known === undefined) {
    const [, , group = "", , plural = ""] = path.startsWith("/apis/") ? path.split("/") : ["", "", "", "", path.split("/").at(-1) ?? ""];
    known = { path, apiVersion: group === "" ? "v1" : `${group}/v1`, kind: plural, objects: new Map(), watchers: new Set() };
    kinds.set(path, known);
  }
  return known;
}

function list(k: Kind, query: URLSearchParams, response: ServerResponse): void {
  const limit = Number(query.get("limit") ?? 0) || Infinity;
  const from = Number(query.get("continue") ?? 0);
  const items = [...k.objects.values()];
  const page = items.slice(from, from + limit);
  const next = from + page.length < items.length ? `,"continue":"${from + page.length}"` : "";
  response.setHeader("content-type", "application/json");
  response.end(`{"kind":"${k.kind}List","apiVersion":"${k.apiVersion}","metadata":{"resourceVersion":"${version}"${next}},"items":[${page.join(",")}]}`);
}

function watch(k: Kind, response: ServerResponse): void {
  response.setHeader("content-type", "application/json");
  response.flushHeaders();
  k.watchers.add(response);
  response.on("close", () => k.watchers.delete(response));
}

function tell(k: Kind, type: string, object: string): void {
  const head = `{"type":"${type}","object":{"kind":"${k.kind}","apiVersion":"${k.apiVersion}",`;
  for (const w of k.watchers) w.write(`${head}${object.slice(1)}}\n`);
}

async function bodyOf(request: IncomingMessage): Promise<Json> {
  let text = "";
  for await (const chunk of request as AsyncIterable<Buffer>) text += chunk.toString("utf8");
  return text === "" ? {} : JSON.parse(text) as Json;
}

/** Tokens are `namespace:serviceaccount:pod:uid`. */
function tokenReview(body: Json): Json {
  const [namespace, account, pod, uid] = String((body["spec"] as Json)["token"]).split(":");
  return { ...body, status: { authenticated: true, audiences: ["istio-ca"], user: { username: `system:serviceaccount:${namespace}:${account}`, extra: { "authentication.kubernetes.io/pod-name": [pod], "authentication.kubernetes.io/pod-uid": [uid] } } } };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "", "https://api");
  const send = (status: number, body: Json): void => { response.writeHead(status, { "content-type": "application/json" }); response.end(JSON.stringify(body)); };
  const named = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/[^/]+)?\/([a-z]+)(\/[^/]+)?(\/status)?$/.exec(url.pathname);
  if (request.method === "GET" && named !== null && named[3] === undefined) {
    const k = kindOf(`${named[1]}/${named[2]}`);
    return url.searchParams.get("watch") === "true" ? watch(k, response) : list(k, url.searchParams, response);
  }
  if (request.method === "GET") {
    const found = single.get(url.pathname);
    return found === undefined ? send(404, { kind: "Status", status: "Failure", reason: "NotFound", code: 404, message: "not found" }) : send(200, found);
  }
  const body = await bodyOf(request);
  if (url.pathname.endsWith("/tokenreviews")) return send(201, tokenReview(body));
  const name = ((body["metadata"] as Json | undefined)?.["name"] as string | undefined) ?? "";
  const at = request.method === "POST" ? `${url.pathname}/${name}` : url.pathname.replace(/\/status$/, "");
  const stored = { ...single.get(at), ...body };
  single.set(at, stored);
  send(request.method === "POST" ? 201 : 200, stored);
}

async function churn(from: number, count: number, everyMs: number): Promise<void> {
  const pods = kindOf(PODS);
  const at: [number, number][] = [];
  const begin = monotonicMs();
  for (let i = 0; i < count; i++) {
    const due = begin + i * everyMs;
    while (monotonicMs() < due) await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - monotonicMs())));
    const pod = (from + i) % size.pods;
    const key = `${namespaceOf(serviceOf(size, pod))}/${podName(size, pod)}`;
    const text = JSON.stringify(changedPod(JSON.parse(pods.objects.get(key) ?? "{}") as Json, ++version, version));
    pods.objects.set(key, text);
    at.push([pod, monotonicMs()]);
    tell(pods, "MODIFIED", text);
  }
  report({ kind: "churned", at });
}

const ca = fakeCa("scale API server");
const serving = ca.issue({ ipv4: ["127.0.0.1"] });
const server = createServer({ key: serving.keyPem, cert: serving.certPem }, (request, response) => void answer(request, response));
process.on("message", (command: ApiCommand) => {
  if (command.kind === "churn") return void churn(command.from, command.count, command.everyMs);
  load(command.size);
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    const pods = [...kindOf(PODS).objects.values()];
    report({ kind: "listening", port: typeof address === "object" ? address?.port ?? 0 : 0, caPem: ca.rootPem, pods: pods.length, bytes: pods.reduce((n, p) => n + p.length, 0) });
  });
});
process.on("disconnect", () => process.exit(0));
