// Tests that no request, however malformed, ends the server or is answered with a mistake of ours (500).
import assert from "node:assert/strict";
import fc from "fast-check";
import { connect } from "node:tls";
import { cloneJson, dig, type Json, type JsonObject } from "./json.ts";
import { CM, configMap, pod, PODS, startRig, type Rig } from "./test-client.ts";

const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io";
const RUNS = { numRuns: 150, seed: 11 };
const BASES: readonly [path: string, object: JsonObject][] = [
  [PODS, pod("f", { volumes: [{ name: "v", emptyDir: {} }], nodeSelector: { a: "b" } })],
  ["/api/v1/namespaces/default/services", { metadata: { name: "f" }, spec: { ports: [{ port: 80, nodePort: 0 }], selector: { a: "b" }, type: "NodePort" } }],
  ["/apis/apps/v1/namespaces/default/deployments", deployment()],
  ["/apis/batch/v1/namespaces/default/cronjobs", { metadata: { name: "f" }, spec: { schedule: "* * * * *", jobTemplate: { spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } } } } } }],
  ["/apis/rbac.authorization.k8s.io/v1/clusterroles", { metadata: { name: "f" }, rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }], aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: "b" } }] } }],
  ["/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition()],
  ["/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token: "a.b.c", audiences: ["x"] } }],
  ["/apis/authorization.k8s.io/v1/subjectaccessreviews", { spec: { user: "x", resourceAttributes: { verb: "get" } } }],
  ["/api/v1/namespaces/default/serviceaccounts/default/token", { spec: { expirationSeconds: 600, boundObjectRef: { kind: "Pod", name: "x" } } }],
  [`${PODS}/held/eviction`, { metadata: { name: "held" }, deleteOptions: { preconditions: { uid: "x" } } }],
  [`${PODS}/held/binding`, { metadata: { name: "held" }, target: { kind: "Node", name: "n" } }],
];

function deployment(): JsonObject {
  const template = { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i", ports: [{ containerPort: 1 }], readinessProbe: { httpGet: { port: 1 } } }] } };
  return { metadata: { name: "f", labels: { a: "b" }, ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: "x", uid: "y" }] }, spec: { replicas: 1, selector: { matchLabels: { a: "b" } }, template } };
}

function definition(): JsonObject {
  const schema = { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties: { a: { type: "array", items: { type: "string" } } } } } } };
  const columns = [{ name: "A", type: "string", jsonPath: ".spec.a[0]" }];
  const versions = [{ name: "v1", served: true, storage: true, schema, additionalPrinterColumns: columns, subresources: { status: {}, scale: { specReplicasPath: ".spec.a", statusReplicasPath: ".status.a" } } }];
  return { metadata: { name: "fuzzes.ex.io" }, spec: { group: "ex.io", scope: "Namespaced", names: { plural: "fuzzes", kind: "Fuzz" }, versions } };
}

const replacement = fc.oneof(
  fc.constantFrom<Json>(null, "", 0, -1, 2 ** 53, true, [], {}, [[]], [null], [{}], { a: null }, "../..", "\u0000", "a".repeat(300)),
  fc.jsonValue().map((value) => value as Json),
);

/** Replaces one value somewhere in the document. */
function mutate(document: JsonObject, choices: readonly number[], value: Json): JsonObject {
  const copy = cloneJson(document);
  let at: Json = copy;
  for (const choice of choices) {
    const keys: string[] = typeof at === "object" && at !== null ? Object.keys(at) : [];
    if (keys.length === 0) break;
    const key = keys[choice % keys.length] as string;
    const holder = at as JsonObject;
    const next = holder[key] as Json;
    if (typeof next !== "object" || next === null || choice % 5 === 0) {
      holder[key] = value;
      break;
    }
    at = next;
  }
  return copy;
}

describe("apiserver: hostile input", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    await rig.admin.ask("POST", "/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
    await rig.admin.ask("POST", PODS, pod("held"));
    await rig.admin.ask("POST", CM, configMap("target", { a: "b" }));
  });
  after(() => rig.close());

  for (const [path, object] of BASES) {
    it(`survives changed bodies to ${path}`, async () => {
      const numbers = fc.array(fc.nat(40), { minLength: 1, maxLength: 8 });
      await fc.assert(
        fc.asyncProperty(numbers, replacement, async (choices, value) => {
          const dry = path.includes("/held/") ? "&dryRun=All" : "";
          const answer = await rig.admin.ask("POST", `${path}?fieldValidation=Ignore${dry}`, mutate(object, choices, value));
          assert.ok(answer.code < 500, answer.text);
          assert.equal(typeof answer.body["kind"], "string");
          if (answer.code !== 201) return;
          // What was let in must also come out again, as a table too.
          const shown = await rig.admin.ask("GET", path, undefined, { accept: TABLE });
          assert.ok([200, 400, 405].includes(shown.code), shown.text);
          const name = dig(answer.body, "metadata", "name");
          if (typeof name === "string" && dry === "") await rig.admin.ask("DELETE", `${path}/${encodeURIComponent(name)}?gracePeriodSeconds=0`);
        }),
        RUNS,
      );
    });
  }

  it("survives any patch", async () => {
    const types = ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"];
    const operation = fc.record({ op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test"), path: fc.constantFrom("/data/a", "/metadata/labels/x", "/metadata", "", "/kind", "nope"), from: fc.constantFrom("/data", "/metadata"), value: replacement });
    const patch = fc.oneof(fc.array(operation, { maxLength: 3 }), fc.dictionary(fc.constantFrom("metadata", "data", "kind", "$patch", "$setElementOrder/data", "apiVersion"), replacement));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...types), patch, async (type, body) => {
        const answer = await rig.admin.ask("PATCH", `${CM}/target?dryRun=All&fieldManager=f&force=true`, body, { type });
        assert.ok(answer.code < 500, answer.text);
      }),
      { numRuns: 400, seed: 12 },
    );
  });

  it("survives any address and query", async () => {
    const part = fc.oneof(fc.constantFrom("api", "apis", "v1", "apps", "namespaces", "default", "pods", "held", "log", "exec", "status", "scale", "openapi", "v3", "..", "%00", "%2F"), fc.string({ maxLength: 6 }).map(encodeURIComponent));
    const key = fc.constantFrom("watch", "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch", "timeoutSeconds", "dryRun", "fieldManager", "container", "sendInitialEvents", "x");
    const query = fc.array(fc.tuple(key, fc.oneof(fc.constantFrom("1", "0", "true", "a=b", "a in (b", "eyJ", "-1", "All"), fc.string({ maxLength: 8 }))), { maxLength: 4 });
    const method = fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "LINK");
    await fc.assert(
      fc.asyncProperty(method, fc.array(part, { maxLength: 8 }), query, async (verb, parts, pairs) => {
        const search = new URLSearchParams([...pairs, ["timeoutSeconds", "0"]]);
        const answer = await rig.admin.ask(verb, `/${parts.join("/")}?${search.toString()}`, verb === "GET" || verb === "HEAD" ? undefined : {});
        // 504 is the answer to a version from the future, 500 to a pod without a way to its kubelet.
        assert.ok(answer.code < 500 || answer.code === 504, `${verb} ${parts.join("/")} ${answer.text}`);
      }),
      { numRuns: 1500, seed: 13 },
    );
  });

  it("survives bytes that are no HTTP", async () => {
    const url = new URL(rig.server.url);
    for (const [protocol, text] of [["http/1.1", "\x00\x01\x02garbage\r\n\r\n"], ["http/1.1", "GET / HTTP/9.9\r\n\r\n"], ["h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense and more of it"], ["http/1.1", `GET / HTTP/1.1\r\nA: ${"x".repeat(100_000)}\r\n\r\n`]] as const) {
      await new Promise<void>((resolve) => {
        const socket = connect({ host: url.hostname, port: Number(url.port), ca: rig.server.ca, ALPNProtocols: [protocol] }, () => socket.write(text));
        socket.on("error", () => undefined);
        socket.on("close", () => resolve());
        socket.on("data", () => socket.end());
      });
    }
    assert.equal((await rig.admin.ask("GET", "/readyz")).text, "ok");
  });
});
