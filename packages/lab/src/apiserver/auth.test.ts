// Tests who may do what: certificates, tokens, impersonation, RBAC and the reviews.
import { systemClock } from "@ambit/runtime";
import assert from "node:assert/strict";
import { dig, type JsonObject } from "./json.ts";
import { CM, pod, PODS, startRig, TestClient, type Answer, type Rig } from "./test-client.ts";

const ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts";
const RBAC = "/apis/rbac.authorization.k8s.io/v1";

describe("apiserver: authentication and authorization", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    await rig.admin.ask("POST", ACCOUNTS, { metadata: { name: "default" } });
    await rig.admin.ask("POST", ACCOUNTS, { metadata: { name: "app" } });
  });
  after(() => rig.close());

  const token = async (name: string, spec: JsonObject = {}): Promise<Answer> => rig.admin.ask("POST", `${ACCOUNTS}/${name}/token`, { spec });
  const issued = async (name: string, spec: JsonObject = {}) => String(dig((await token(name, spec)).body, "status", "token"));
  const review = async (text: string, audiences: string[] = []) => {
    const answer = await rig.admin.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token: text, audiences } });
    assert.equal(answer.code, 201, answer.text);
    return answer.body["status"] as JsonObject;
  };

  it("lets anonymous callers see health and version only", async () => {
    const anonymous = new TestClient(rig.server.url, rig.server.adminKubeconfig, "");
    for (const [path, code] of [["/healthz", 200], ["/livez", 200], ["/readyz", 200], ["/version", 200], ["/api", 403], [CM, 403]] as const) {
      const answer = await anonymous.ask("GET", path, undefined, { headers: { authorization: [] } });
      assert.equal(answer.code, code, path);
      if (path === CM) assert.match(String(answer.body["message"]), /User "system:anonymous" cannot list resource "configmaps" in API group "" in the namespace "default"/);
    }
    anonymous.close();
  });

  for (const [what, text] of [["garbage", "abc"], ["three parts of garbage", "a.b.c"], ["an unsigned token", "eyJhbGciOiJub25lIn0.e30."]] as const) {
    it(`refuses ${what} as a token`, async () => {
      const answer = await rig.withToken(text).ask("GET", CM);
      assert.equal(answer.code, 401);
      assert.equal(answer.body["reason"], "Unauthorized");
    });
  }

  it("grants by RoleBinding in a namespace and takes it back", async () => {
    const joe = await rig.as("joe", ["dev"]);
    const refused = await joe.ask("GET", CM);
    assert.equal(refused.code, 403);
    assert.equal(refused.body["message"], 'configmaps is forbidden: User "joe" cannot list resource "configmaps" in API group "" in the namespace "default"');
    const binding = { metadata: { name: "dev" }, roleRef: { kind: "ClusterRole", name: "view" }, subjects: [{ kind: "Group", name: "dev" }] };
    assert.equal((await rig.admin.ask("POST", `${RBAC}/namespaces/default/rolebindings`, binding)).code, 201);
    assert.equal((await joe.ask("GET", CM)).code, 200);
    assert.equal((await joe.ask("GET", "/api/v1/namespaces/default/secrets")).code, 403, "view does not see secrets");
    assert.equal((await joe.ask("GET", "/api/v1/configmaps")).code, 403, "only that namespace");
    assert.equal((await joe.ask("POST", CM, { metadata: { name: "x" } })).code, 403);
    await rig.admin.ask("DELETE", `${RBAC}/namespaces/default/rolebindings/dev`);
    assert.equal((await joe.ask("GET", CM)).code, 403);
  });

  it("limits rules to resource names and subresources", async () => {
    const rules = [{ apiGroups: [""], resources: ["configmaps"], resourceNames: ["only"], verbs: ["get"] }, { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] }];
    await rig.admin.ask("POST", `${RBAC}/namespaces/default/roles`, { metadata: { name: "narrow" }, rules });
    await rig.admin.ask("POST", `${RBAC}/namespaces/default/rolebindings`, { metadata: { name: "narrow" }, roleRef: { kind: "Role", name: "narrow" }, subjects: [{ kind: "User", name: "ann" }] });
    const ann = await rig.as("ann");
    assert.equal((await ann.ask("GET", `${CM}/only`)).code, 404, "allowed, but not there");
    assert.equal((await ann.ask("GET", `${CM}/other`)).code, 403);
    assert.equal((await ann.ask("GET", `${PODS}/p/log`)).code, 404);
    assert.equal((await ann.ask("GET", `${PODS}/p`)).code, 403);
  });

  it("lets nobody grant what they do not hold", async () => {
    const roles = `${RBAC}/namespaces/default/roles`;
    const bindings = `${RBAC}/namespaces/default/rolebindings`;
    const bind = (name: string, role: string) => ({ metadata: { name }, roleRef: { kind: "ClusterRole", name: role }, subjects: [{ kind: "User", name: "kim" }] });
    await rig.admin.ask("POST", bindings, bind("kim-admin", "admin"));
    const kim = await rig.as("kim");
    const held = [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }];
    assert.equal((await kim.ask("POST", roles, { metadata: { name: "fine" }, rules: held })).code, 201);
    const refused = await kim.ask("POST", roles, { metadata: { name: "more" }, rules: [{ apiGroups: [""], resources: ["pods/status"], verbs: ["update"] }] });
    assert.equal(refused.code, 403);
    assert.match(String(refused.body["message"]), /attempting to grant RBAC permissions not currently held:\n.*pods\/status/);
    assert.equal((await kim.ask("POST", roles, { metadata: { name: "all" }, rules: [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }] })).code, 403);
    assert.equal((await kim.ask("POST", bindings, bind("view", "view"))).code, 201);
    assert.equal((await kim.ask("POST", bindings, bind("root", "cluster-admin"))).code, 403);
  });

  it("acts as a service account by its token", async () => {
    const app = rig.withToken(await issued("app"));
    const who = await app.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {});
    assert.equal(dig(who.body, "status", "userInfo", "username"), "system:serviceaccount:default:app");
    assert.deepEqual(dig(who.body, "status", "userInfo", "groups"), ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert.equal((await app.ask("GET", CM)).code, 403);
  });

  it("binds tokens to a pod and its node, and ends with the pod", async () => {
    const made = await rig.admin.ask("POST", PODS, pod("holder", { serviceAccountName: "app", nodeName: "node-1" }));
    const uid = String(dig(made.body, "metadata", "uid"));
    const spec = { audiences: ["istio-ca"], boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "holder", uid } };
    const text = await issued("app", spec);
    const claims = JSON.parse(Buffer.from(text.split(".")[1] ?? "", "base64url").toString()) as JsonObject;
    assert.deepEqual(dig(claims, "kubernetes.io", "pod"), { name: "holder", uid });
    assert.equal(dig(claims, "kubernetes.io", "node", "name"), "node-1");
    const status = await review(text, ["istio-ca"]);
    assert.equal(status["authenticated"], true);
    assert.deepEqual(status["audiences"], ["istio-ca"]);
    const extra = dig(status, "user", "extra") as JsonObject;
    assert.deepEqual(extra["authentication.kubernetes.io/pod-name"], ["holder"]);
    assert.deepEqual(extra["authentication.kubernetes.io/pod-uid"], [uid]);
    assert.deepEqual(extra["authentication.kubernetes.io/node-name"], ["node-1"]);
    assert.match(String((extra["authentication.kubernetes.io/credential-id"] as string[])[0]), /^JTI=/);
    assert.equal((await review(text))["authenticated"], undefined, "not for the API server");
    await rig.admin.ask("DELETE", `${PODS}/holder?gracePeriodSeconds=0`);
    const after = await review(text, ["istio-ca"]);
    assert.equal(after["authenticated"], undefined);
    assert.match(String(after["error"]), /the bound pod default\/holder does not exist any more/);
  });

  it("ends tokens with their account, even when its name returns", async () => {
    await rig.admin.ask("POST", ACCOUNTS, { metadata: { name: "brief" } });
    const text = await issued("brief");
    await rig.admin.ask("DELETE", `${ACCOUNTS}/brief`);
    await rig.admin.ask("POST", ACCOUNTS, { metadata: { name: "brief" } });
    assert.equal((await review(text))["authenticated"], undefined);
  });

  it("refuses tampered and expired tokens", async () => {
    const text = await issued("app");
    const [head, , signature] = text.split(".");
    const forged = Buffer.from(JSON.stringify({ sub: "system:serviceaccount:kube-system:admin" })).toString("base64url");
    assert.equal((await review(`${head}.${forged}.${signature}`))["authenticated"], undefined);
    let now = Date.now();
    const aging = await startRig({ clock: { ...systemClock, now: () => now } });
    await aging.admin.ask("POST", ACCOUNTS, { metadata: { name: "app" } });
    const old = String(dig((await aging.admin.ask("POST", `${ACCOUNTS}/app/token`, { spec: { expirationSeconds: 600 } })).body, "status", "token"));
    now += 700_000;
    assert.equal((await aging.withToken(old).ask("GET", CM)).code, 401);
    await aging.close();
  });

  const orders: readonly [what: string, spec: JsonObject, code: number, message: RegExp][] = [
    ["a life under 10 minutes", { expirationSeconds: 60 }, 422, /less than 10 minutes/],
    ["a life that is no number", { expirationSeconds: "x" }, 422, /must be an integer/],
    ["an unknown bound kind", { boundObjectRef: { kind: "Job", apiVersion: "batch/v1", name: "x" } }, 400, /cannot bind token to object of type batch\/v1, Kind=Job/],
    ["a missing pod", { boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "x" } }, 404, /pods "x" not found/],
  ];
  for (const [what, spec, code, message] of orders) {
    it(`refuses a token for ${what}`, async () => {
      const answer = await token("app", spec);
      assert.equal(answer.code, code);
      assert.match(String(answer.body["message"]), message);
    });
  }

  it("impersonates for those who may", async () => {
    const headers = { "impersonate-user": "zoe", "impersonate-group": ["a", "b"], "impersonate-extra-scopes": "x" };
    const who = await rig.admin.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, { headers });
    assert.equal(dig(who.body, "status", "userInfo", "username"), "zoe");
    assert.deepEqual(dig(who.body, "status", "userInfo", "groups"), ["a", "b", "system:authenticated"]);
    assert.deepEqual(dig(who.body, "status", "userInfo", "extra"), { scopes: ["x"] });
    const joe = await rig.as("joe");
    const refused = await joe.ask("GET", CM, undefined, { headers: { "impersonate-user": "system:admin" } });
    assert.equal(refused.code, 403);
    assert.match(String(refused.body["message"]), /users "system:admin" is forbidden: User "joe" cannot impersonate resource "users"/);
  });

  it("answers access reviews", async () => {
    const path = "/apis/authorization.k8s.io/v1";
    const ask = (resource: string, spec: JsonObject) => rig.admin.ask("POST", `${path}/${resource}`, { spec });
    const attributes = { verb: "get", resource: "pods", namespace: "default" };
    assert.equal(dig((await ask("subjectaccessreviews", { user: "joe", resourceAttributes: attributes })).body, "status", "allowed"), false);
    assert.equal(dig((await ask("subjectaccessreviews", { user: "x", groups: ["system:masters"], resourceAttributes: attributes })).body, "status", "allowed"), true);
    assert.equal(dig((await ask("selfsubjectaccessreviews", { nonResourceAttributes: { verb: "get", path: "/x" } })).body, "status", "allowed"), true);
    assert.equal((await ask("subjectaccessreviews", { user: "joe" })).code, 422);
    const local = { user: "system:node:n", groups: ["system:nodes"], resourceAttributes: attributes };
    const answer = await rig.admin.ask("POST", `${path}/namespaces/default/localsubjectaccessreviews`, { spec: local });
    assert.equal(dig(answer.body, "status", "allowed"), true);
    const rules = await ask("selfsubjectrulesreviews", { namespace: "default" });
    assert.ok((dig(rules.body, "status", "resourceRules") as JsonObject[]).length > 0);
  });

  it("lets nodes and controllers do their work", async () => {
    const node = await rig.as("system:node:node-1", ["system:nodes"]);
    assert.equal((await node.ask("POST", "/api/v1/nodes", { metadata: { name: "node-1" }, status: { phase: "Running" } })).code, 201);
    assert.equal((await node.ask("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1")).code, 200);
    assert.equal((await node.ask("DELETE", CM)).code, 403);
    const controller = await rig.as("system:kube-controller-manager");
    assert.equal((await controller.ask("GET", "/apis/apps/v1/deployments")).code, 200);
  });
});
