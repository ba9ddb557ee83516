// What `ambit check` and `ambit bugreport` say of a real cluster: nothing of a healthy one, the name and the mend of what is broken in it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { load } from "js-yaml";
import { createSelfSigned } from "@ambit/istiod-lite/testing";
import { KINDS } from "@ambit/kube";
import { ambitLater, type Ran } from "./cli.fixture.ts";
import { accountOf, documents, namespaceOf, samplePod, saidUntil, serviceOf } from "./client-log.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

const MARKER = "hunter2-of-the-tenant";
const YEAR_MS = 365 * 86_400_000;
const object = (apiVersion: string, kind: string, name: string, fields: object): string => JSON.stringify({ apiVersion, kind, metadata: { name, namespace: "t" }, ...fields });

interface Found { readonly code: string; readonly level: string; readonly where: string; readonly what: string; readonly mend: string }

describe("ambit check", function () {
  this.timeout(120_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestLab;
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "ac-"));
    lab = await TestLab.start();
    await lab.apply(documents(
      namespaceOf("t", true), namespaceOf("other", false), accountOf("server"), accountOf("client"), serviceOf("server"),
      samplePod({ name: "server", account: "server", node: "node-2", args: ["serve", "--name", "server"] }),
      samplePod({ name: "client", account: "client", node: "node-1", args: ["client", "--url", "http://server.t:8080/"] }),
    ));
    await lab.ready("t", { enrolled: true, count: 2 });
    // Both identities have their certificates then.
    await saidUntil(lab, "t", "client", (said) => said.some((s) => s.ok === true));
  });
  after(async () => {
    await lab?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const ask = (...args: string[]): Promise<Ran> => ambitLater([...args, "--state", dirname(lab.kubeconfig)]);
  async function check(...args: string[]): Promise<{ found: Found[]; code: number | null }> {
    const said = await ask("check", "-o", "json", ...args);
    assert.equal(said.err, "");
    return { found: JSON.parse(said.out) as Found[], code: said.code };
  }
  const shown = (found: readonly Found[]): string => JSON.stringify(found, undefined, 1);

  it("finds nothing wrong in a healthy mesh, whoever asks in whichever format", async () => {
    const [table, json, yaml, pre] = await Promise.all([ask("check"), ask("check", "-o", "json"), ask("check", "-o", "yaml"), ask("check", "--pre")]);
    assert.match(table.out, /^nothing is wrong: 2 nodes, \d+ pods looked at\n$/);
    assert.deepEqual([JSON.parse(json.out), load(yaml.out)], [[], []]);
    assert.match(pre.out, /^the mesh can be installed/);
    assert.deepEqual([table, json, yaml, pre].map((s) => [s.code, s.err]), Array(4).fill([0, ""]));
  });

  it("--pre names what a user may not do", async () => {
    const config = load(await lab.kubectl("config", "view", "--raw", "-o", "yaml")) as { users: { user: object }[] };
    const token = (await lab.kubectl("-n", "t", "create", "token", "client")).trim();
    assert.ok(config.users.length > 0);
    const path = join(folder, "kubeconfig");
    writeFileSync(path, JSON.stringify({ ...config, users: config.users.map((u) => ({ ...u, user: { token } })) }));
    const said = await ambitLater(["check", "--pre", "-o", "json", "--kubeconfig", path]);
    const found = JSON.parse(said.out) as Found[];
    assert.equal(said.code, 1, said.err);
    assert.match(found.find((f) => f.code === "AMB0102")?.what ?? "", /create and patch clusterroles\.rbac\.authorization\.k8s\.io/);
    assert.ok(found.some((f) => f.code === "AMB0111" && f.where === "nodes"), shown(found));
  });

  it("names what was broken, where, and the mend", async () => {
    await lab.apply(documents(
      JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "other", labels: { "istio.io/dataplane-mode": "Ambient" } } }),
      object("networking.k8s.io/v1", "NetworkPolicy", "server", { spec: { podSelector: { matchLabels: { app: "server" } }, ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 8080 }] }] } }),
      object("security.istio.io/v1", "PeerAuthentication", "default", { spec: { mtls: { mode: "STRICT" } } }),
      object("v1", "Service", "public", { spec: { type: "NodePort", selector: { app: "server" }, ports: [{ name: "http", port: 8080 }] } }),
      object("gateway.networking.k8s.io/v1", "HTTPRoute", "echo", { spec: { parentRefs: [{ group: "", kind: "Service", name: "server", port: 9080 }], rules: [{ backendRefs: [{ name: "server", port: 9080 }] }] } }),
      object("security.istio.io/v1", "AuthorizationPolicy", "old", { spec: { rules: [{ from: [{ source: { principals: ["old.example/ns/t/sa/client"] } }] }] } }),
    ));
    const { found, code } = await check();
    assert.equal(code, 1);
    const seeded: readonly (readonly [string, RegExp, RegExp])[] = [
      ["AMB0404", /^Namespace other$/, /label namespace other --overwrite istio\.io\/dataplane-mode=ambient/], ["AMB0501", /^NetworkPolicy t\/server$/, /15008\/TCP/], ["AMB0504", /^Service t\/public$/, /PERMISSIVE/],
      ["AMB0603", /^HTTPRoute t\/echo$/, /appProtocol/], ["AMB0307", /^AuthorizationPolicy t\/old$/, /trustDomainAliases/],
    ];
    for (const [wanted, where, mend] of seeded) {
      const one = found.find((f) => f.code === wanted);
      assert.match(one?.where ?? `no ${wanted} in ${shown(found)}`, where);
      assert.match(one?.mend ?? "", mend);
    }
  });

  it("bugreport: logs, dumps and objects, and nothing secret", async () => {
    await lab.apply(documents(
      object("v1", "Secret", "app", { stringData: { password: MARKER } }),
      JSON.stringify({ apiVersion: "v1", kind: "Service", metadata: { name: "server", namespace: "t", annotations: { "example.com/api-key": MARKER } }, spec: JSON.parse(serviceOf("server")).spec as object }),
    ));
    const path = join(folder, "report.tar.gz");
    const said = await ask("bugreport", "-o", path);
    assert.equal(said.code, 0, said.err);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const names = execFileSync("tar", ["tzf", path], { encoding: "utf8" });
    for (const expected of [/^check\.json$/m, /^objects\/pods\.yaml$/m, /ztunnel-\w+\/config_dump\.json$/m, /ztunnel-\w+\/istio-proxy\.log$/m, /istiod-[\w-]+\/discovery\.log$/m, /install-cni\.log$/m]) assert.match(names, expected);
    const all = execFileSync("tar", ["xzOf", path], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
    assert.match(all, /nothing is missing/);
    assert.match(all, /example\.com\/api-key: '\[redacted\]'/);
    for (const secret of [MARKER, Buffer.from(MARKER).toString("base64"), "PRIVATE KEY"]) assert.ok(!all.includes(secret), secret);
  });

  it("works when the mesh's authority has ended and no istiod runs", async () => {
    await lab.kubectl("-n", "istio-system", "scale", "deployment", "istiod", "--replicas", "0");
    await lab.until(KINDS.pods, "istio-system", (pods) => !pods.some((p) => p.metadata.labels?.["app"] === "istiod"));
    const ended = (await createSelfSigned("cluster.local", Date.now() - 20 * YEAR_MS)).toSecret();
    await lab.client.patch(KINDS.secrets, "istio-system", "istio-ca-secret", { data: Object.fromEntries(Object.entries(ended).map(([k, v]) => [k, Buffer.from(v).toString("base64")])) });
    const { found, code } = await check();
    assert.equal(code, 1);
    assert.match(found.find((f) => f.code === "AMB0301")?.mend ?? shown(found), /delete secret istio-ca-secret; .*rollout restart deployment istiod/);
    assert.match(found.find((f) => f.code === "AMB0208")?.what ?? shown(found), /no ready pod is behind it/);
  });
});
