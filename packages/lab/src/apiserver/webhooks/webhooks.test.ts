// Tests admission webhooks against a real HTTPS server: mutation, refusal, failure policies, selection, conflicts.
import assert from "node:assert/strict";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { asObject, asObjects, dig, type Json, type JsonObject } from "../json.ts";
import { issueCertificate } from "../../pki.ts";
import { CM, configMap, startRig, type Rig } from "../test-client.ts";

const GROUP = "/apis/admissionregistration.k8s.io/v1";
type Behaviour = (request: JsonObject) => JsonObject | string | null;

describe("apiserver: admission webhooks", () => {
  let rig: Rig;
  let server: Server;
  let url: string;
  let behave: Behaviour;
  let seen: JsonObject[];
  let meanwhile: (() => Promise<unknown>) | null;

  before(async () => {
    rig = await startRig();
    const made = await issueCertificate(rig.server.pkiDir, { commonName: "hook", dnsNames: ["hook.default.svc"], ips: ["127.0.0.1"], usage: "server" });
    server = createServer({ key: made.key, cert: made.cert }, (message, response) => {
      let text = "";
      message.on("data", (chunk) => (text += String(chunk)));
      message.on("end", async () => {
        const request = asObject((JSON.parse(text) as JsonObject)["request"]);
        seen.push(request);
        await meanwhile?.();
        const answer = behave(request);
        if (answer === null) return void response.destroy();
        const body = typeof answer === "string" ? answer : JSON.stringify({ kind: "AdmissionReview", response: { uid: request["uid"] ?? "", ...answer } });
        response.end(body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/admit`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rig.close();
  });
  beforeEach(() => {
    seen = [];
    meanwhile = null;
    behave = () => ({ allowed: true });
  });
  afterEach(async () => {
    for (const resource of ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]) await rig.admin.ask("DELETE", `${GROUP}/${resource}`);
    await rig.admin.ask("DELETE", CM);
  });

  const configure = async (resource: string, webhook: JsonObject = {}, name = "one") => {
    const rules = [{ operations: ["*"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }];
    const clientConfig = { url, caBundle: Buffer.from(rig.server.ca).toString("base64") };
    const hook = { name: "a.hook.test", sideEffects: "None", admissionReviewVersions: ["v1"], rules, clientConfig, timeoutSeconds: 2, ...webhook };
    const made = await rig.admin.ask("POST", `${GROUP}/${resource}`, { metadata: { name }, webhooks: [hook] });
    assert.equal(made.code, 201, made.text);
  };
  const validating = (webhook: JsonObject = {}) => configure("validatingwebhookconfigurations", webhook);
  const mutating = (webhook: JsonObject = {}, name = "one") => configure("mutatingwebhookconfigurations", webhook, name);
  const patch = (...operations: Json[]) => ({ allowed: true, patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(operations)).toString("base64") });

  it("shows the request and lets it pass", async () => {
    await validating();
    assert.equal((await rig.admin.ask("POST", CM, configMap("a", { x: "1" }))).code, 201);
    const [request] = seen;
    assert.equal(request?.["operation"], "CREATE");
    assert.equal(request?.["namespace"], "default");
    assert.deepEqual(request?.["kind"], { group: "", version: "v1", kind: "ConfigMap" });
    assert.equal(dig(request, "object", "data", "x"), "1");
    assert.equal(request?.["oldObject"], null);
    assert.equal(dig(request, "userInfo", "username"), "kubernetes-admin");
    await rig.admin.ask("PATCH", `${CM}/a`, { data: { x: "2" } }, { type: "application/merge-patch+json" });
    assert.equal(dig(seen[1], "oldObject", "data", "x"), "1");
    await rig.admin.ask("DELETE", `${CM}/a`);
    assert.equal(seen[2]?.["operation"], "DELETE");
    assert.equal(seen[2]?.["object"], null);
  });

  it("refuses with upstream's words, and changes nothing", async () => {
    await validating();
    behave = () => ({ allowed: false, status: { code: 403, message: "not today" }, warnings: ["look out"] });
    const answer = await rig.admin.ask("POST", CM, configMap("a"));
    assert.equal(answer.code, 403);
    assert.equal(answer.body["message"], 'admission webhook "a.hook.test" denied the request: not today');
    assert.match(String(answer.headers["warning"]), /look out/);
    behave = () => ({ allowed: false });
    const bare = await rig.admin.ask("POST", CM, configMap("a"));
    assert.equal(bare.code, 400);
    assert.match(String(bare.body["message"]), /denied the request without explanation/);
    assert.equal((await rig.admin.ask("GET", `${CM}/a`)).code, 404);
  });

  it("applies patches in order, defaults and checks the result, and keeps who the object is", async () => {
    await mutating({}, "first");
    await mutating({ name: "b.hook.test" }, "second");
    behave = (request) => {
      const data = asObject(dig(request, "object", "data"));
      return patch({ op: "add", path: "/data", value: { ...data, [`n${Object.keys(data).length}`]: "x" } }, { op: "replace", path: "/metadata/uid", value: "mine" });
    };
    const answer = await rig.admin.ask("POST", CM, configMap("a"));
    assert.deepEqual(answer.body["data"], { n0: "x", n1: "x" });
    assert.notEqual(dig(answer.body, "metadata", "uid"), "mine");
    behave = () => patch({ op: "add", path: "/data", value: { "bad key": 5 } });
    assert.equal((await rig.admin.ask("POST", CM, configMap("b"))).code, 400);
    behave = () => patch({ op: "remove", path: "/nowhere" });
    const invalid = await rig.admin.ask("POST", CM, configMap("b"));
    assert.equal(invalid.code, 500);
    assert.match(String(invalid.body["message"]), /attempted an invalid patch/);
  });

  const failures: readonly [what: string, behaviour: Behaviour, message: RegExp][] = [
    ["breaks the connection", () => null, /failed calling webhook "a\.hook\.test": /],
    ["answers nonsense", () => "nonsense", /the answer is not JSON/],
    ["answers another request", () => ({ uid: "x", allowed: true }), /expected response\.uid=/],
    ["answers without a response", () => "{}", /the answer has no response/],
  ];
  for (const [what, behaviour, message] of failures) {
    it(`closes or stays open, as configured, when the webhook ${what}`, async () => {
      behave = behaviour;
      await validating();
      const closed = await rig.admin.ask("POST", CM, configMap("a"));
      assert.equal(closed.code, 500);
      assert.match(String(closed.body["message"]), message);
      await rig.admin.ask("DELETE", `${GROUP}/validatingwebhookconfigurations/one`);
      await validating({ failurePolicy: "Ignore" });
      assert.equal((await rig.admin.ask("POST", CM, configMap("a"))).code, 201);
    });
  }

  it("gives up on a webhook that does not answer in time", async () => {
    await validating({ timeoutSeconds: 1 });
    let release: () => void = () => undefined;
    meanwhile = () => new Promise<void>((resolve) => (release = resolve));
    const answer = await rig.admin.ask("POST", CM, configMap("a"));
    assert.match(String(answer.body["message"]), /no answer within 1s/);
    release();
  });

  it("refuses a webhook that it cannot trust", async () => {
    const other = await startRig();
    await validating({ clientConfig: { url, caBundle: Buffer.from(other.server.ca).toString("base64") } });
    assert.equal((await rig.admin.ask("POST", CM, configMap("a"))).code, 500);
    await other.close();
  });

  const selections: readonly [what: string, webhook: JsonObject, calls: number][] = [
    ["another resource", { rules: [{ operations: ["*"], apiGroups: [""], apiVersions: ["v1"], resources: ["secrets"] }] }, 0],
    ["every resource", { rules: [{ operations: ["CREATE"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*/*"] }] }, 1],
    ["another operation", { rules: [{ operations: ["DELETE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }] }, 0],
    ["another scope", { rules: [{ operations: ["*"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"], scope: "Cluster" }] }, 0],
    ["another namespace", { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "other" } } }, 0],
    ["this namespace", { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "default" } } }, 1],
    ["other labels", { objectSelector: { matchExpressions: [{ key: "x", operator: "Exists" }] } }, 0],
  ];
  for (const [what, webhook, calls] of selections) {
    it(`asks ${calls} time(s) with a rule for ${what}`, async () => {
      await validating(webhook);
      assert.equal((await rig.admin.ask("POST", CM, configMap("a"))).code, 201);
      assert.equal(seen.length, calls);
    });
  }

  it("makes a patch anew when the object changed meanwhile", async () => {
    await rig.admin.ask("POST", CM, configMap("race", { n: "0" }));
    await mutating();
    let once = true;
    meanwhile = async () => {
      if (!once) return;
      once = false;
      const inner = await rig.admin.ask("PATCH", `${CM}/race`, { data: { other: "1" } }, { type: "application/merge-patch+json" });
      assert.equal(inner.code, 200);
    };
    const answer = await rig.admin.ask("PATCH", `${CM}/race`, { data: { n: "9" } }, { type: "application/merge-patch+json" });
    assert.deepEqual(answer.body["data"], { n: "9", other: "1" });
  });

  it("reaches a Service through its endpoints", async () => {
    const { port } = server.address() as AddressInfo;
    await rig.admin.ask("POST", "/api/v1/namespaces/default/services", { metadata: { name: "hook" }, spec: { ports: [{ name: "https", port: 443 }] } });
    const caBundle = Buffer.from(rig.server.ca).toString("base64");
    await validating({ clientConfig: { service: { name: "hook", namespace: "default", path: "/x" }, caBundle } });
    const lost = await rig.admin.ask("POST", CM, configMap("a"));
    assert.match(String(lost.body["message"]), /no endpoints available for service "hook"/);
    await rig.admin.ask("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
      metadata: { name: "hook", labels: { "kubernetes.io/service-name": "hook" } },
      addressType: "IPv4",
      endpoints: [{ addresses: ["127.0.0.1"] }],
      ports: [{ name: "https", port }],
    });
    assert.equal((await rig.admin.ask("POST", CM, configMap("a"))).code, 201);
    assert.equal(seen.length, 1);
  });

  it("refuses configurations it could not honour", async () => {
    const base = { name: "a.hook.test", sideEffects: "None", admissionReviewVersions: ["v1"], clientConfig: { url } };
    for (const [change, message] of [
      [{ name: "short" }, /at least three segments/],
      [{ matchConditions: [{ name: "x", expression: "true" }] }, /does not evaluate match conditions/],
      [{ sideEffects: "Some" }, /webhooks\[0\]\.sideEffects/],
      [{ admissionReviewVersions: ["v1beta1"] }, /must include v1/],
      [{ clientConfig: { url: "http://x" } }, /'https' is the only allowed URL scheme/],
      [{ clientConfig: {} }, /exactly one of url or service/],
      [{ timeoutSeconds: 60 }, /between 1 and 30/],
    ] as const) {
      const answer = await rig.admin.ask("POST", `${GROUP}/validatingwebhookconfigurations`, { metadata: { name: "bad" }, webhooks: [{ ...base, ...change }] });
      assert.equal(answer.code, 422, answer.text);
      assert.match(String(answer.body["message"]), message);
    }
    assert.equal(asObjects((await rig.admin.ask("GET", `${GROUP}/validatingwebhookconfigurations`)).body["items"]).length, 0);
  });
});
