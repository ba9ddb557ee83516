// The control plane without Kubernetes: folders and files in, proxies and certificates out.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { createLogger, LogLevels } from "@ambit/runtime";
import { fakeCsr } from "@ambit/testkit";
import { build, type App } from "./app.ts";
import { eventually, Proxy } from "./app.fixture.ts";
import { createCertificateMethod as method } from "./ca/decode.ts";
import { readConfig } from "./config.ts";

const ZTUNNEL = "z".repeat(40);
const MESH = `apiVersion: v1
kind: Pod
metadata: {name: ztunnel-1, namespace: istio-system}
spec: {nodeName: vm-1, serviceAccountName: ztunnel, containers: []}
status: {phase: Running, podIP: 192.0.2.1}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: app, annotations: {ambient.istio.io/redirection: enabled}}
spec: {nodeName: vm-1, serviceAccountName: db, containers: []}
status: {phase: Running, podIP: 192.0.2.1, conditions: [{type: Ready, status: "True"}]}
`;
const POLICY = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny-x, namespace: app}\nspec: {action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/app/sa/x]}}]}]}\n";

describe("the control plane without Kubernetes", function () {
  this.timeout(20_000);
  let folder: string;
  let lines: string[];
  const apps: App[] = [];
  const proxies: Proxy[] = [];
  const start = (): Promise<App> => {
    const levels = new LogLevels("info");
    const config = readConfig({
      AMBIT_CONFIG_DIR: join(folder, "mesh"), AMBIT_TOKENS_FILE: join(folder, "tokens"), ROOT_CA_DIR: join(folder, "ca"),
      GRPC_PORT: "0", HTTP_PORT: "0", MONITORING_PORT: "0", DEBUG_PORT: "0", HTTPS_PORT: "0", LISTEN_ADDRESS: "127.0.0.1",
    });
    return build({ config, levels, log: createLogger("istiod", { levels, write: (l) => lines.push(l) }) }).then((app) => { apps.push(app); return app; });
  };
  const proxy = (app: App): Proxy => {
    const p = new Proxy(app, ZTUNNEL, "ztunnel-1", "vm-1");
    proxies.push(p);
    return p;
  };
  const certificate = async (app: App, token: string, identity: string): Promise<readonly string[]> => {
    const client = new Client(`127.0.0.1:${app.grpcPort}`, credentials.createSsl(Buffer.from(app.rootsPem)), { "grpc.ssl_target_name_override": "istiod.istio-system.svc", "grpc.use_local_subchannel_pool": 1 });
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${token}`);
    metadata.set("clusterid", "Kubernetes");
    const request = { csrPem: fakeCsr({ trustDomain: "cluster.local", namespace: "app", serviceAccount: "db" }).csrPem, ttlSeconds: 3600n, impersonated: identity, certSigner: undefined };
    try {
      return await new Promise((resolve, reject) =>
        client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, metadata, (error, value) => (error === null ? resolve(value?.chain ?? []) : reject(error))));
    } finally {
      client.close();
    }
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "ambit-files-"));
    lines = [];
    mkdirSync(join(folder, "mesh"));
    writeFileSync(join(folder, "tokens"), `${ZTUNNEL},istio-system/ztunnel,ztunnel-1\n`, { mode: 0o600 });
    writeFileSync(join(folder, "mesh", "pods.yaml"), MESH);
  });
  afterEach(async () => {
    for (const p of proxies.splice(0)) p.close();
    await Promise.all(apps.splice(0).map((a) => a.drain()));
    rmSync(folder, { recursive: true });
  });

  it("serves what the files say, and what they say next", async () => {
    const app = await start();
    await app.readiness.whenReady();
    const p = proxy(app);
    await p.client.whenReady();
    assert.equal(p.workload("Kubernetes//Pod/app/db")?.tunnelProtocol, 1);
    writeFileSync(join(folder, "mesh", "policy.yaml"), POLICY);
    await eventually("the policy arrives", () => p.policies.has("app/deny-x"));
    rmSync(join(folder, "mesh", "policy.yaml"));
    await eventually("and is gone", () => !p.policies.has("app/deny-x"));
  });

  it("issues by the same rules: only pods of the caller's node, only by a trusted account", async () => {
    const app = await start();
    await app.readiness.whenReady();
    const chain = await certificate(app, ZTUNNEL, "spiffe://cluster.local/ns/app/sa/db");
    assert.match(new X509Certificate(chain[0] ?? "").subjectAltName ?? "", /spiffe:\/\/cluster\.local\/ns\/app\/sa\/db/);
    await assert.rejects(certificate(app, ZTUNNEL, "spiffe://cluster.local/ns/app/sa/other"), /impersonation/);
    await assert.rejects(certificate(app, "z".repeat(41), "spiffe://cluster.local/ns/app/sa/db"), /authenticate/);
  });

  it("makes its root once, readable by nobody else, and keeps it", async () => {
    const [one, two] = await Promise.all([start(), start()]);
    assert.equal(one.rootsPem, two.rootsPem);
    assert.equal(readFileSync(join(folder, "ca", "root-cert.pem"), "utf8").trim(), one.rootsPem.trim());
    assert.equal(statSync(join(folder, "ca", "ca-key.pem")).mode & 0o777, 0o600);
    writeFileSync(join(folder, "ca", "ca-cert.pem"), "not a certificate");
    await assert.rejects(start(), /is not a usable authority: ca-cert\.pem/);
  });

  it("is not ready while a file has a mistake", async () => {
    writeFileSync(join(folder, "mesh", "policy.yaml"), POLICY.replace("spec: {", "spec: {{"));
    const app = await start();
    assert.equal(app.readiness.ready, false);
    writeFileSync(join(folder, "mesh", "policy.yaml"), POLICY);
    await app.readiness.whenReady();
  });

  it("says in its log what is not as written", async () => {
    writeFileSync(join(folder, "mesh", "policy.yaml"), POLICY.replace("principals: [cluster.local/ns/app/sa/x]", "principal: [x]"));
    const app = await start();
    await app.readiness.whenReady();
    await eventually("the refusal is logged", () => lines.some((l) => l.includes("not as written") && l.includes("spec.rules[0].from[0].source.principal")));
  });

  it("needs to know who vouches for callers", () => assert.throws(() => readConfig({ AMBIT_CONFIG_DIR: folder }), /AMBIT_TOKENS_FILE is required/));
});
