// Tests create, read, update, delete and their refusals over real HTTPS.
import { systemClock } from "@ambit/runtime";
import assert from "node:assert/strict";
import { asObjects, dig, type JsonObject } from "./json.ts";
import { CM, configMap, pod, PODS, startRig, type Rig } from "./test-client.ts";

describe("apiserver: objects", () => {
  let rig: Rig;
  let sweep: () => void = () => undefined;
  before(async () => {
    rig = await startRig();
    await rig.admin.ask("POST", "/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
  });
  after(() => rig.close());

  it("fills system fields in and keeps them", async () => {
    const made = await rig.admin.ask("POST", CM, configMap("system", { a: "1" }));
    assert.equal(made.code, 201);
    const metadata = made.body["metadata"] as JsonObject;
    assert.match(String(metadata["creationTimestamp"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(metadata["namespace"], "default");
    const changed = { ...made.body, metadata: { ...metadata, uid: metadata["uid"] as string, creationTimestamp: "2001-01-01T00:00:00Z" } };
    const put = await rig.admin.ask("PUT", `${CM}/system`, { ...changed, data: { a: "2" } });
    assert.equal(put.code, 200);
    assert.equal(dig(put.body, "metadata", "creationTimestamp"), metadata["creationTimestamp"]);
    assert.ok(Number(dig(put.body, "metadata", "resourceVersion")) > Number(metadata["resourceVersion"]));
    const same = await rig.admin.ask("PUT", `${CM}/system`, put.body);
    assert.equal(dig(same.body, "metadata", "resourceVersion"), dig(put.body, "metadata", "resourceVersion"), "no change, no new version");
  });

  const invalidPod = pod("bad", { restartPolicy: "Sometimes", containers: [{ name: "Main", image: "" }] });
  const refusals: readonly [what: string, method: string, path: string, body: unknown, code: number, reason: string, message: RegExp][] = [
    ["missing object", "GET", `${CM}/none`, undefined, 404, "NotFound", /^configmaps "none" not found$/],
    ["missing object of a group", "GET", "/apis/apps/v1/namespaces/default/deployments/none", undefined, 404, "NotFound", /^deployments\.apps "none" not found$/],
    ["unknown resource", "GET", "/api/v1/namespaces/default/gadgets", undefined, 404, "NotFound", /could not find the requested resource/],
    ["second of a name", "POST", "/api/v1/namespaces", { metadata: { name: "default" } }, 409, "AlreadyExists", /^namespaces "default" already exists$/],
    ["missing namespace", "POST", "/api/v1/namespaces/nowhere/configmaps", configMap("a"), 404, "NotFound", /^namespaces "nowhere" not found$/],
    ["no name", "POST", CM, { data: {} }, 422, "Invalid", /metadata\.name: Required value: name or generateName is required/],
    ["bad name", "POST", CM, configMap("Bad_Name"), 422, "Invalid", /^ConfigMap "Bad_Name" is invalid: metadata\.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain/],
    ["bad label", "POST", CM, { metadata: { name: "x", labels: { "a b": "c" } } }, 422, "Invalid", /metadata\.labels: Invalid value: "a b"/],
    ["wrong namespace in body", "POST", CM, { metadata: { name: "x", namespace: "other" } }, 400, "BadRequest", /namespace of the provided object does not match/],
    ["wrong kind", "POST", CM, { kind: "Secret", apiVersion: "v1", metadata: { name: "x" } }, 400, "BadRequest", /Secret in version "v1" cannot be handled as a ConfigMap/],
    ["wrong apiVersion", "POST", CM, { kind: "ConfigMap", apiVersion: "v2", metadata: { name: "x" } }, 400, "BadRequest", /API version in the data \(v2\)/],
    ["wrong type", "POST", CM, { metadata: { name: "x" }, data: "text" }, 400, "BadRequest", /data/],
    ["labels of wrong type", "POST", CM, { metadata: { name: "x", labels: { a: 1 } } }, 400, "BadRequest", /metadata\.labels\.a must be a string/],
    ["not JSON", "POST", CM, "{", 400, "BadRequest", /not valid JSON/],
    ["a list", "POST", CM, [], 400, "BadRequest", /must be one JSON or YAML object/],
    ["an empty body", "POST", CM, "", 400, "BadRequest", /empty/],
    ["a dangerous key", "POST", CM, '{"metadata":{"name":"x"},"data":{"__proto__":"y"}}', 400, "BadRequest", /data\.__proto__/],
    ["deep nesting", "POST", CM, `{"data":${"[".repeat(5000)}${"]".repeat(5000)}}`, 400, "BadRequest", /nested deeper/],
    ["stale version", "PUT", `${CM}/kube-root`, { ...configMap("kube-root"), metadata: { name: "kube-root", resourceVersion: "1" } }, 409, "Conflict", /the object has been modified; please apply your changes to the latest version/],
    ["name unlike the address", "PUT", `${CM}/kube-root`, configMap("other"), 400, "BadRequest", /name of the object \(other\) does not match the name on the URL \(kube-root\)/],
    ["bad pod", "POST", PODS, invalidPod, 422, "Invalid", /spec\.containers\[0\]\.name: Invalid value: "Main".*spec\.containers\[0\]\.image: Required value.*spec\.restartPolicy: Unsupported value/],
    ["pod of an unknown account", "POST", PODS, pod("x", { serviceAccountName: "nobody" }), 403, "Forbidden", /error looking up service account default\/nobody/],
    ["unknown dryRun", "POST", `${CM}?dryRun=Some`, configMap("x"), 422, "Invalid", /dryRun/],
    ["bad percent-encoding", "GET", "/api/v1/namespaces/%zz/pods", undefined, 400, "BadRequest", /percent-encoding/],
    ["bad selector", "GET", `${CM}?labelSelector=%3D%3D`, undefined, 400, "BadRequest", /unable to parse requirement/],
    ["unknown field", "GET", `${PODS}?fieldSelector=spec.color%3Dred`, undefined, 400, "BadRequest", /field label not supported: spec\.color/],
    ["bad limit", "GET", `${CM}?limit=many`, undefined, 400, "BadRequest", /parsing "many": invalid syntax/],
    ["foreign continue token", "GET", `${CM}?continue=abc`, undefined, 400, "BadRequest", /continue key is not valid/],
    ["version from the future", "GET", `${CM}?resourceVersion=99999999`, undefined, 504, "Timeout", /Too large resource version/],
    ["delete all namespaces' objects", "DELETE", "/api/v1/configmaps", undefined, 405, "MethodNotAllowed", /does not allow this method/],
    ["unknown propagation", "DELETE", `${CM}/kube-root?propagationPolicy=Maybe`, undefined, 422, "Invalid", /propagationPolicy/],
    ["taken cluster IP", "POST", "/api/v1/namespaces/default/services", { metadata: { name: "x" }, spec: { clusterIP: "10.96.0.1", ports: [{ port: 1 }] } }, 422, "Invalid", /provided IP is already allocated/],
    ["foreign cluster IP", "POST", "/api/v1/namespaces/default/services", { metadata: { name: "x" }, spec: { clusterIP: "1.2.3.4", ports: [{ port: 1 }] } }, 422, "Invalid", /does not match the current range/],
  ];

  before(() => rig.admin.ask("POST", CM, configMap("kube-root")));

  for (const [what, method, path, body, code, reason, message] of refusals) {
    it(`refuses ${what}`, async () => {
      const answer = await rig.admin.ask(method, path, body);
      assert.equal(answer.code, code, answer.text);
      assert.equal(answer.body["kind"], "Status");
      assert.equal(answer.body["reason"], reason);
      assert.match(String(answer.body["message"]), message);
      assert.equal(answer.body["code"], code);
    });
  }

  it("refuses a body over the limit", async () => {
    const answer = await rig.admin.ask("POST", CM, Buffer.alloc(3 * 1024 * 1024 + 1, 32));
    assert.equal(answer.code, 413);
  });

  it("reports unknown fields as fieldValidation says", async () => {
    const object = { ...configMap("strict"), spec: { a: 1 } };
    const strict = await rig.admin.ask("POST", `${CM}?fieldValidation=Strict`, object);
    assert.equal(strict.code, 400);
    assert.match(String(strict.body["message"]), /strict decoding error: unknown field "spec"/);
    const warned = await rig.admin.ask("POST", CM, object);
    assert.equal(warned.code, 201);
    assert.match(String(warned.headers["warning"]), /299 - "unknown field \\"spec\\""/);
    assert.equal(warned.body["spec"], undefined);
    const ignored = await rig.admin.ask("PUT", `${CM}/strict?fieldValidation=Ignore`, object);
    assert.equal(ignored.headers["warning"], undefined);
  });

  it("dry run changes nothing", async () => {
    const answer = await rig.admin.ask("POST", `${CM}?dryRun=All`, configMap("dry"));
    assert.equal(answer.code, 201);
    assert.equal((await rig.admin.ask("GET", `${CM}/dry`)).code, 404);
    await rig.admin.ask("DELETE", `${CM}/kube-root?dryRun=All`);
    assert.equal((await rig.admin.ask("GET", `${CM}/kube-root`)).code, 200);
  });

  it("raises the generation for spec only", async () => {
    const path = "/apis/apps/v1/namespaces/default/deployments";
    const template = { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } };
    await rig.admin.ask("POST", path, { metadata: { name: "gen" }, spec: { selector: { matchLabels: { a: "b" } }, template } });
    const merge = (body: unknown, sub = "") => rig.admin.ask("PATCH", `${path}/gen${sub}`, body, { type: "application/merge-patch+json" });
    assert.equal(dig((await merge({ metadata: { labels: { x: "y" } } })).body, "metadata", "generation"), 1);
    assert.equal(dig((await merge({ spec: { replicas: 3 } })).body, "metadata", "generation"), 2);
    const status = await merge({ status: { replicas: 3 }, spec: { replicas: 9 } }, "/status");
    assert.equal(dig(status.body, "metadata", "generation"), 2);
    assert.equal(dig(status.body, "spec", "replicas"), 3, "status changes nothing but the status");
    assert.equal(dig((await merge({ status: { replicas: 7 } })).body, "status", "replicas"), 3, "nothing but status changes the status");
  });

  it("scales through the subresource", async () => {
    const path = "/apis/apps/v1/namespaces/default/deployments/gen/scale";
    const scale = await rig.admin.ask("GET", path);
    assert.equal(scale.body["kind"], "Scale");
    assert.equal(dig(scale.body, "status", "selector"), "a=b");
    const put = await rig.admin.ask("PUT", path, { ...scale.body, spec: { replicas: 5 } });
    assert.equal(dig(put.body, "spec", "replicas"), 5);
    assert.equal((await rig.admin.ask("PUT", path, { ...scale.body, spec: { replicas: 6 } })).code, 409, "stale version");
  });

  it("keeps an object with finalizers until the last one goes", async () => {
    await rig.admin.ask("POST", CM, { metadata: { name: "fin", finalizers: ["ex.io/a"] } });
    const deleted = await rig.admin.ask("DELETE", `${CM}/fin`);
    assert.ok(dig(deleted.body, "metadata", "deletionTimestamp"));
    const merge = (body: unknown) => rig.admin.ask("PATCH", `${CM}/fin`, body, { type: "application/merge-patch+json" });
    assert.equal((await merge({ metadata: { finalizers: ["ex.io/a", "ex.io/b"] } })).code, 422);
    assert.equal((await merge({ metadata: { finalizers: null } })).code, 200);
    assert.equal((await rig.admin.ask("GET", `${CM}/fin`)).code, 404);
  });

  for (const [policy, finalizer] of [["Foreground", "foregroundDeletion"], ["Orphan", "orphan"]] as const) {
    it(`${policy} deletion leaves the work to the garbage collector`, async () => {
      const name = `gc-${policy.toLowerCase()}`;
      await rig.admin.ask("POST", CM, configMap(name));
      const answer = await rig.admin.ask("DELETE", `${CM}/${name}`, { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: policy });
      assert.deepEqual(dig(answer.body, "metadata", "finalizers"), [finalizer]);
    });
  }

  it("honours preconditions of a deletion", async () => {
    await rig.admin.ask("POST", CM, configMap("pre"));
    const wrong = await rig.admin.ask("DELETE", `${CM}/pre`, { preconditions: { uid: "x" } });
    assert.equal(wrong.code, 409);
    assert.match(String(wrong.body["message"]), /UID in the precondition \(x\) does not match/);
    const gone = await rig.admin.ask("DELETE", `${CM}/pre`);
    assert.equal(gone.body["status"], "Success");
    assert.equal(dig(gone.body, "details", "name"), "pre");
  });

  it("gives pods grace once they are bound", async () => {
    await rig.admin.ask("POST", PODS, pod("graceful"));
    const binding = { apiVersion: "v1", kind: "Binding", metadata: { name: "graceful" }, target: { kind: "Node", name: "node-1" } };
    assert.equal((await rig.admin.ask("POST", `${PODS}/graceful/binding`, binding)).code, 201);
    assert.equal((await rig.admin.ask("POST", `${PODS}/graceful/binding`, binding)).code, 409, "bound only once");
    const deleted = await rig.admin.ask("DELETE", `${PODS}/graceful`);
    assert.equal(dig(deleted.body, "metadata", "deletionGracePeriodSeconds"), 30);
    assert.equal((await rig.admin.ask("GET", `${PODS}/graceful`)).code, 200);
    await rig.admin.ask("DELETE", `${PODS}/graceful?gracePeriodSeconds=0`);
    assert.equal((await rig.admin.ask("GET", `${PODS}/graceful`)).code, 404);
    await rig.admin.ask("POST", PODS, pod("unbound"));
    await rig.admin.ask("DELETE", `${PODS}/unbound`);
    assert.equal((await rig.admin.ask("GET", `${PODS}/unbound`)).code, 404);
  });

  it("defaults pods as upstream does", async () => {
    const { body } = await rig.admin.ask("POST", PODS, pod("defaults", { containers: [{ name: "m", image: "r/x", ports: [{ containerPort: 80 }] }] }));
    assert.equal(dig(body, "spec", "serviceAccountName"), "default");
    assert.equal(dig(body, "spec", "restartPolicy"), "Always");
    assert.equal(dig(body, "spec", "enableServiceLinks"), true);
    const [container] = dig(body, "spec", "containers") as JsonObject[];
    assert.equal(container?.["imagePullPolicy"], "Always");
    assert.equal(asObjects(container?.["ports"])[0]?.["protocol"], "TCP");
    assert.match(String(asObjects(container?.["volumeMounts"])[0]?.["name"]), /^kube-api-access-/);
    assert.equal((dig(body, "spec", "tolerations") as JsonObject[]).length, 2);
    assert.deepEqual(body["status"], { phase: "Pending", qosClass: "BestEffort" });
    const fixed = await rig.admin.ask("PATCH", `${PODS}/defaults`, { spec: { dnsPolicy: "Default" } }, { type: "application/merge-patch+json" });
    assert.equal(fixed.code, 422);
    assert.match(String(fixed.body["message"]), /pod updates may not change fields other than/);
  });

  it("allocates cluster IPs and node ports and frees them", async () => {
    const path = "/api/v1/namespaces/default/services";
    const make = (name: string, spec: JsonObject) => rig.admin.ask("POST", path, { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } });
    const one = await make("one", { clusterIP: "10.96.7.7", type: "NodePort" });
    assert.equal(dig(one.body, "spec", "clusterIP"), "10.96.7.7");
    const [port] = dig(one.body, "spec", "ports") as JsonObject[];
    assert.ok(Number(port?.["nodePort"]) >= 30000);
    assert.equal((await make("two", { clusterIP: "10.96.7.7" })).code, 422);
    const headless = await make("none", { clusterIP: "None" });
    assert.equal(dig(headless.body, "spec", "clusterIP"), "None");
    await rig.admin.ask("DELETE", `${path}/one`);
    assert.equal((await make("two", { clusterIP: "10.96.7.7" })).code, 201);
  });

  it("generates names", async () => {
    const { body } = await rig.admin.ask("POST", CM, { metadata: { generateName: "gen-" } });
    assert.match(String(dig(body, "metadata", "name")), /^gen-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  });

  it("terminates namespaces through their finalizer", async () => {
    await rig.admin.ask("POST", "/api/v1/namespaces", { metadata: { name: "short" } });
    const deleted = await rig.admin.ask("DELETE", "/api/v1/namespaces/short");
    assert.equal(dig(deleted.body, "status", "phase"), "Terminating");
    const late = await rig.admin.ask("POST", "/api/v1/namespaces/short/configmaps", configMap("late"));
    assert.equal(late.code, 403);
    assert.match(String(late.body["message"]), /because it is being terminated/);
    const finalized = { ...deleted.body, spec: {} };
    assert.equal((await rig.admin.ask("PUT", "/api/v1/namespaces/short/finalize", finalized)).code, 200);
    assert.equal((await rig.admin.ask("GET", "/api/v1/namespaces/short")).code, 404);
  });

  it("serves both faces of an event", async () => {
    const event = {
      metadata: { name: "ev" },
      involvedObject: { kind: "Pod", name: "p", namespace: "default" },
      reason: "Started",
      message: "hello",
      type: "Normal",
    };
    assert.equal((await rig.admin.ask("POST", "/api/v1/namespaces/default/events", event)).code, 201);
    const modern = await rig.admin.ask("GET", "/apis/events.k8s.io/v1/namespaces/default/events/ev");
    assert.equal(modern.body["note"], "hello");
    assert.equal(dig(modern.body, "regarding", "name"), "p");
    const found = await rig.admin.ask("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,type%3DNormal");
    assert.equal((found.body["items"] as JsonObject[]).length, 1);
  });

  it("lets events go after an hour", async () => {
    let now = Date.now();
    const aging = await startRig({ clock: { ...systemClock, now: () => now, every: (ms, task) => (ms === 60_000 && (sweep = task), { cancel: () => undefined }) } });
    await aging.admin.ask("POST", "/api/v1/namespaces/default/events", { metadata: { name: "old" }, involvedObject: {} });
    now += 50 * 60 * 1000;
    await aging.admin.ask("POST", "/api/v1/namespaces/default/events", { metadata: { name: "new" }, involvedObject: {} });
    now += 15 * 60 * 1000;
    sweep();
    const left = await aging.admin.ask("GET", "/api/v1/events");
    assert.deepEqual(asObjects(left.body["items"]).map((event) => dig(event, "metadata", "name")), ["new"]);
    await aging.close();
  });

  it("evicts as far as the budget allows", async () => {
    const labelled = { ...pod("evictee"), metadata: { name: "evictee", labels: { app: "e" } } };
    await rig.admin.ask("POST", PODS, labelled);
    await rig.admin.ask("PATCH", `${PODS}/evictee/status`, { status: { phase: "Running" } }, { type: "application/merge-patch+json" });
    const budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    await rig.admin.ask("POST", budgets, { metadata: { name: "b" }, spec: { minAvailable: 1, selector: { matchLabels: { app: "e" } } } });
    const status = (allowed: number) =>
      rig.admin.ask("PATCH", `${budgets}/b/status`, { status: { observedGeneration: 1, disruptionsAllowed: allowed } }, { type: "application/merge-patch+json" });
    await status(0);
    const refused = await rig.admin.ask("POST", `${PODS}/evictee/eviction`, { kind: "Eviction", apiVersion: "policy/v1", metadata: { name: "evictee" } });
    assert.equal(refused.code, 429);
    assert.equal(refused.headers["retry-after"], "10");
    await status(1);
    const granted = await rig.admin.ask("POST", `${PODS}/evictee/eviction`, { kind: "Eviction", apiVersion: "policy/v1", metadata: { name: "evictee" } });
    assert.equal(granted.code, 201);
    assert.equal(dig((await rig.admin.ask("GET", `${budgets}/b`)).body, "status", "disruptionsAllowed"), 0);
  });
});
