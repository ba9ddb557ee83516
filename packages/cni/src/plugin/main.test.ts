// The plugin as the container runtime sees it: a program with environment, stdin, stdout and an exit code.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@ambit/runtime";
import { serveEvents, type EventServer } from "./event-server.ts";
import type { PodEvent } from "./event.ts";

interface Outcome { readonly code: number | null; readonly out: string }
const ADD = { CNI_COMMAND: "ADD", CNI_NETNS: "/var/run/netns/x", CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=p" };

describe("the CNI plugin as a program", function () {
  this.timeout(20_000);
  let dir: string;
  let api: Server;
  let agent: EventServer | undefined;
  let told: PodEvent[];
  /** By path: status and body of the API server. */
  let answers: Record<string, readonly [number, unknown]>;

  before(async () => {
    api = createServer((req, res) => {
      const [status, body] = answers[req.url ?? ""] ?? [404, { reason: "NotFound", message: "not found" }];
      res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => api.listen(0, "127.0.0.1", resolve));
  });
  after(() => { api.close(); api.closeAllConnections(); });
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "cni-plugin-"));
    told = [];
    cluster({}, {});
    const server = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
    writeFileSync(join(dir, "istio-cni-kubeconfig"), JSON.stringify({
      apiVersion: "v1", kind: "Config", "current-context": "c", clusters: [{ name: "c", cluster: { server } }], users: [{ name: "u", user: { token: "t" } }], contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    }));
  });
  afterEach(async () => { await agent?.close(); agent = undefined; rmSync(dir, { recursive: true }); });

  const cluster = (nsLabels: object, podLabels: object, spec: object = {}) => {
    answers = { "/api/v1/namespaces/shop": [200, { metadata: { name: "shop", labels: nsLabels } }], "/api/v1/namespaces/shop/pods/p": [200, { metadata: { name: "p", namespace: "shop", uid: "u-1", labels: podLabels }, spec: { containers: [], ...spec } }] };
  };
  const listen = async (refuse?: string) => {
    agent = await serveEvents(dir, createLogger("test", { write: () => undefined }), async (event) => {
      told.push(event);
      if (refuse !== undefined) throw new Error(refuse);
    });
  };
  const conf = (more: object = {}) => JSON.stringify({ cniVersion: "0.3.1", name: "net", type: "istio-cni", cni_agent_run_dir: dir, ambient_enabled: true, exclude_namespaces: ["kube-system"], prevResult: PREVIOUS, ...more });
  const run = (env: Record<string, string>, stdin: string): Promise<Outcome> => new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts")], { env, stdio: ["pipe", "pipe", "inherit"] });
    let out = "";
    child.stdout.on("data", (b: Buffer) => { out += b.toString("utf8"); });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out }));
    child.stdin.on("error", () => undefined);
    child.stdin.end(stdin);
  });
  const refused = (o: Outcome, code: number, says: RegExp) => {
    assert.equal(o.code, 1, o.out);
    const error = JSON.parse(o.out) as { code: number; msg: string };
    assert.equal(error.code, code, o.out);
    assert.match(error.msg, says);
  };
  const passed = (o: Outcome) => {
    assert.equal(o.code, 0, o.out);
    assert.deepEqual(JSON.parse(o.out), PREVIOUS);
  };
  const PREVIOUS = { cniVersion: "0.3.1", ips: [{ version: "4", address: "10.244.1.7/24" }, { version: "6", address: "fd99::7/64" }] };
  const AMBIENT = { "istio.io/dataplane-mode": "ambient" };

  it("tells the agent of a pod of the mesh, and hands on the previous result", async () => {
    cluster(AMBIENT, {});
    await listen();
    passed(await run(ADD, conf()));
    assert.deepEqual(told, [{ netns: "/var/run/netns/x", name: "p", namespace: "shop", uid: "u-1", ips: ["10.244.1.7", "fd99::7"] }]);
  });
  it("agent down: a pod of the mesh does not start, and the error names the agent", async () => {
    cluster(AMBIENT, {});
    refused(await run(ADD, conf()), 11, /agent on this node \(istio-cni-node\) does not answer/);
  });
  it("agent refuses: its words come through", async () => {
    cluster({}, AMBIENT);
    await listen("no ztunnel is connected");
    refused(await run(ADD, conf()), 11, /refuses: no ztunnel is connected/);
  });
  for (const [what, set, env] of [
    ["without the label", () => undefined, {}], ["that says none", () => cluster(AMBIENT, { "istio.io/dataplane-mode": "none" }), {}], ["on the node's network", () => cluster(AMBIENT, {}, { hostNetwork: true }), {}],
    ["that the API server does not know any more", () => { answers = {}; }, {}],
    ["in an excluded namespace, API server or not", () => { answers = {}; }, { CNI_ARGS: "K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=p" }],
    ["that is the agent itself", () => { answers = {}; }, { CNI_ARGS: "K8S_POD_NAMESPACE=istio-system;K8S_POD_NAME=istio-cni-node-x" }],
    ["of no orchestrator", () => { answers = {}; }, { CNI_ARGS: "" }],
  ] as const) it(`agent down: a pod ${what} starts`, async () => {
    set();
    passed(await run({ ...ADD, ...env }, conf()));
  });
  it("nobody can say whether the pod belongs to the mesh: it does not start", async () => {
    answers = { "/api/v1/namespaces/shop": [500, {}], "/api/v1/namespaces/shop/pods/p": [500, {}] };
    refused(await run(ADD, conf()), 11, /cannot find out whether pod shop\/p belongs/);
    rmSync(join(dir, "istio-cni-kubeconfig"));
    refused(await run(ADD, conf()), 11, /cannot find out.*ENOENT/);
  });
  it("a token that is not accepted any more is called that", async () => {
    answers = { "/api/v1/namespaces/shop": [401, { reason: "Unauthorized" }], "/api/v1/namespaces/shop/pods/p": [401, { reason: "Unauthorized" }] };
    refused(await run(ADD, conf()), 11, /CNI token/);
  });
  for (const [what, stdin, code, says] of [
    ["nothing", "", 6, /not JSON/], ["half a document", '{"cniVersion":', 6, /not JSON/], ["a list", "[]", 7, /must be a JSON object/], ["null", "null", 7, /must be a JSON object/],
    ["a selector with a typing error", { enablement_selectors: [{ podSelectr: {} }] }, 7, /podSelectr/], ["excluded namespaces as text", { exclude_namespaces: "x" }, 7, /exclude_namespaces/],
    ["a previous result of another shape", { prevResult: { ips: "x" } }, 7, /prevResult\.ips/], ["an address that is no text", { prevResult: { ips: [{ address: 7 }] } }, 7, /ips\[0\]\.address/], ["a folder that is no text", { cni_agent_run_dir: 7 }, 7, /cni_agent_run_dir/],
  ] as const) it(`ADD with ${what} on stdin is refused`, async () => refused(await run(ADD, typeof stdin === "string" ? stdin : conf(stdin)), code, says));
  it("an unknown command is refused", async () => refused(await run({ CNI_COMMAND: "SUB" }, conf()), 4, /SUB/));
  for (const command of ["DEL", "CHECK", "GC", "STATUS"]) it(`${command} succeeds whatever is there`, async () => assert.deepEqual(await run({ CNI_COMMAND: command }, "{"), { code: 0, out: "" }));
  it("VERSION says what is spoken", async () => {
    const { code, out } = await run({ CNI_COMMAND: "VERSION" }, "");
    assert.equal(code, 0);
    assert.ok((JSON.parse(out) as { supportedVersions: string[] }).supportedVersions.includes("1.0.0"));
  });
});
