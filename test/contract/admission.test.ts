// The contract of admission webhooks: what they are shown, what they may change or refuse, whom they are asked about, and what happens when they fail.
import assert from "node:assert/strict";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { fakeCa } from "@ambit/testkit";
import { contract, type Talk } from "./contract.fixture.ts";
import { at } from "./masks.fixture.ts";
import { configMap, MERGE } from "./objects.fixture.ts";
import type { Json, JsonObject } from "./wire.fixture.ts";

const GROUP = "/apis/admissionregistration.k8s.io/v1";
/** A webhook reaches the API server's admission through a watch. */
const SETTLE_MS = 15_000;

contract("admission", ({ it }) => {
  const ca = fakeCa("contract webhook");
  const seen: JsonObject[] = [];
  let behave: (request: JsonObject) => JsonObject | null = () => ({ allowed: true });
  let server: Server;
  let url: string;

  before(async () => {
    const leaf = ca.issue({ ipv4: ["127.0.0.1"], usages: ["server"] });
    server = createServer({ key: leaf.keyPem, cert: leaf.chainPem }, (message, response) => {
      let text = "";
      message.on("data", (chunk) => (text += String(chunk)));
      message.on("end", () => {
        const review = JSON.parse(text) as JsonObject;
        const request = review["request"] as JsonObject;
        seen.push(request);
        const answer = behave(request);
        if (answer === null) return void response.destroy();
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify({ kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1", response: { uid: request["uid"] ?? "", ...answer } }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/admit`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const mutation = (...operations: Json[]): JsonObject => ({ allowed: true, patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(operations)).toString("base64") });

  /** Runs `body` with one webhook of this namespace's ConfigMaps, from when it is asked until it no longer is. */
  async function withHook(t: Talk, kind: "validating" | "mutating", webhook: JsonObject, body: () => Promise<void>): Promise<void> {
    const name = `ct-hook-${t.ns.slice(-8)}`;
    t.mask(name, "HOOK");
    t.mask(url, "URL");
    t.mask(url.replace("/admit", ""), "ADDRESS");
    const path = `${GROUP}/${kind}webhookconfigurations`;
    const rules = [{ operations: ["CREATE", "UPDATE", "DELETE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }];
    const namespaceSelector = { matchLabels: { "kubernetes.io/metadata.name": t.ns } };
    const hook = { name: "hook.contract.example", sideEffects: "None", admissionReviewVersions: ["v1"], timeoutSeconds: 5, rules, namespaceSelector, clientConfig: { url, caBundle: Buffer.from(ca.rootPem).toString("base64") }, ...webhook };
    await t.quiet("POST", path, { metadata: { name }, webhooks: [hook] });
    try {
      const probe = configMap("probe", {}, { labels: { contract: "probe", on: "yes" } });
      const asked = seen.length;
      for (const deadline = Date.now() + SETTLE_MS; seen.length === asked;) {
        const { code, text } = await t.raw("POST", "~/configmaps?dryRun=All", probe);
        if (code >= 400 && text.includes("hook.contract.example")) break;
        if (Date.now() > deadline) assert.fail("the webhook is not asked");
      }
      seen.length = 0;
      await body();
    } finally {
      behave = () => ({ allowed: true });
      await t.raw("DELETE", `${path}/${name}`);
    }
  }

  const shown = (request: JsonObject | undefined): Json => ({
    keys: Object.keys(request ?? {}).sort(), kind: at(request, "kind"), resource: at(request, "resource"), requestKind: at(request, "requestKind"), name: at(request, "name"), namespace: at(request, "namespace"),
    operation: at(request, "operation"), dryRun: at(request, "dryRun"), options: at(request, "options"), object: at(request, "object.data"), oldObject: at(request, "oldObject.data"), user: at(request, "userInfo.username"),
  });

  it("shows what is asked", async (t) => {
    await t.namespace();
    await withHook(t, "validating", {}, async () => {
      await t.ask("POST", "~/configmaps?fieldManager=m", configMap("a", { x: "1" }), { show: "code", as: { user: "ann", groups: ["system:masters"] } });
      await t.ask("PATCH", "~/configmaps/a?fieldManager=m&dryRun=All", { data: { x: "2" } }, { ...MERGE, show: "code", as: { user: "ann", groups: ["system:masters"] } });
      await t.ask("DELETE", "~/configmaps/a?propagationPolicy=Background", undefined, { show: "code", as: { user: "ann", groups: ["system:masters"] } });
      const own = seen.filter((request) => at(request, "userInfo.username") === "ann");
      for (const request of own) t.note(String(request["operation"]), shown(request));
    });
  });

  it("refuses, and warns", async (t) => {
    await t.namespace();
    await withHook(t, "validating", {}, async () => {
      behave = (request) => (request["operation"] === "DELETE" ? { allowed: true } : { allowed: false, status: { message: "not today", code: 418, reason: "Teapot" }, warnings: ["careful"] });
      await t.ask("POST", "~/configmaps", configMap("no"));
      behave = () => ({ allowed: false });
      await t.ask("POST", "~/configmaps", configMap("no"));
      behave = () => ({ allowed: false, status: { message: "bare" } });
      await t.ask("POST", "~/configmaps", configMap("no"));
      behave = () => ({ allowed: true, warnings: ["one", "two"] });
      await t.ask("POST", "~/configmaps", configMap("yes"), { show: "code" });
      await t.ask("GET", "~/configmaps/no", undefined, { show: "code" });
    });
  });

  it("changes objects", async (t) => {
    await t.namespace();
    await withHook(t, "mutating", {}, async () => {
      behave = () => mutation({ op: "add", path: "/metadata/labels", value: { by: "hook" } }, { op: "add", path: "/data/added", value: "yes" });
      await t.ask("POST", "~/configmaps?fieldManager=m", configMap("m", { x: "1" }), { managed: true });
      behave = (request) => (request["operation"] === "UPDATE" ? mutation({ op: "replace", path: "/data/x", value: "9" }) : { allowed: true });
      await t.ask("PATCH", "~/configmaps/m?fieldManager=n", { data: { x: "2" } }, { ...MERGE, show: ["data"] });
      behave = () => mutation({ op: "add", path: "/metadata/labels", value: { "bad key": "x" } });
      await t.ask("POST", "~/configmaps", configMap("bad"));
      behave = () => mutation({ op: "remove", path: "/no/where" });
      await t.ask("POST", "~/configmaps", configMap("bad"), { brief: true });
      behave = () => ({ allowed: true, patch: "e30=", patchType: "Other" });
      await t.ask("POST", "~/configmaps", configMap("bad"), { brief: true });
    });
  });

  it("fails closed or open", async (t) => {
    await t.namespace();
    await withHook(t, "validating", { failurePolicy: "Fail" }, async () => {
      behave = () => null;
      await t.ask("POST", "~/configmaps", configMap("closed"), { brief: true });
    });
    await t.namespace();
    await withHook(t, "validating", { failurePolicy: "Ignore" }, async () => {
      behave = () => null;
      await t.ask("POST", "~/configmaps", configMap("open"), { show: ["metadata.name"] });
    });
  });

  it("is asked about what it selects", async (t) => {
    await t.namespace();
    await withHook(t, "validating", { objectSelector: { matchLabels: { on: "yes" } } }, async () => {
      behave = () => ({ allowed: false });
      await t.ask("POST", "~/configmaps", configMap("off"), { show: "code" });
      await t.ask("POST", "~/configmaps", configMap("on", {}, { labels: { on: "yes" } }), { brief: true });
      await t.ask("POST", "~/secrets", { metadata: { name: "s", labels: { on: "yes" } } }, { show: "code" });
      await t.ask("PATCH", "~/configmaps/off", { metadata: { labels: { on: "yes" } } }, { ...MERGE, brief: true });
    });
  });

  const bad: readonly [what: string, webhook: JsonObject][] = [
    ["a bare name", { name: "bare" }],
    ["no side effects said", { sideEffects: null }],
    ["some side effects", { sideEffects: "Some" }],
    ["no versions", { admissionReviewVersions: [] }],
    ["unknown versions only", { admissionReviewVersions: ["v9"] }],
    ["neither address nor service", { clientConfig: {} }],
    ["an address that is not https", { clientConfig: { url: "http://127.0.0.1/x" } }],
    ["a time-out out of range", { timeoutSeconds: 31 }],
    ["an unknown failure policy", { failurePolicy: "Maybe" }],
    ["a rule without operations", { rules: [{ operations: [], apiGroups: [""], apiVersions: ["v1"], resources: ["pods"] }] }],
    ["an unknown operation", { rules: [{ operations: ["LOOK"], apiGroups: [""], apiVersions: ["v1"], resources: ["pods"] }] }],
  ];
  for (const [what, webhook] of bad) {
    it(`refuses a webhook with ${what}`, async (t) => {
      const hook = { name: "hook.contract.example", sideEffects: "None", admissionReviewVersions: ["v1"], rules: [], clientConfig: { url: "https://127.0.0.1/x" }, ...webhook };
      await t.ask("POST", `${GROUP}/validatingwebhookconfigurations?dryRun=All`, { metadata: { name: "ct-bad" }, webhooks: [hook] }, { brief: true });
    });
  }

  it("fills the defaults of a webhook in", async (t) => {
    const hook = { name: "hook.contract.example", sideEffects: "None", admissionReviewVersions: ["v1"], clientConfig: { service: { name: "s", namespace: "n" } }, rules: [{ operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"] }] };
    for (const kind of ["validating", "mutating"]) await t.ask("POST", `${GROUP}/${kind}webhookconfigurations?dryRun=All`, { metadata: { name: "ct-defaults" }, webhooks: [hook] });
  });
});
