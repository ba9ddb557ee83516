// The contract of who may do what: tokens and their reviews, roles and bindings, access reviews, impersonation, and what nobody can give away.
import { contract, type Talk } from "./contract.fixture.ts";
import { at } from "./masks.fixture.ts";
import { configMap, MERGE, pod } from "./objects.fixture.ts";
import type { Json, JsonObject } from "./wire.fixture.ts";

const RBAC = "rbac.authorization.k8s.io";
const ROLES = `~${RBAC}/v1/roles`;
const BINDINGS = `~${RBAC}/v1/rolebindings`;
const REVIEW = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const status = { show: ["status"] } as const;

async function token(t: Talk, account: string, spec: JsonObject = {}): Promise<string> {
  const made = await t.quiet("POST", `~/serviceaccounts/${account}/token`, { spec });
  const text = String(at(made, "status.token"));
  t.mask(text, "TOKEN");
  return text;
}

function claims(text: string): JsonObject {
  return JSON.parse(Buffer.from(text.split(".")[1] ?? "", "base64url").toString()) as JsonObject;
}

const role = (name: string, rules: JsonObject[]): JsonObject => ({ metadata: { name }, rules });
const binding = (name: string, kind: string, to: string, subjects: JsonObject[]): JsonObject => ({ metadata: { name }, roleRef: { apiGroup: RBAC, kind, name: to }, subjects });
const user = (name: string): JsonObject => ({ kind: "User", name, apiGroup: RBAC });

contract("auth", ({ it }) => {
  it("gives tokens to accounts", async (t) => {
    await t.quiet("POST", "~/serviceaccounts", { metadata: { name: "robot" } });
    const made = await t.ask("POST", "~/serviceaccounts/robot/token", { spec: { audiences: ["here"], expirationSeconds: 900 } }, { show: (body) => ({ kind: at(body, "kind"), apiVersion: at(body, "apiVersion"), metadata: at(body, "metadata"), spec: at(body, "spec"), status: Object.keys(at(body, "status") as JsonObject).sort() }) });
    const parts = claims(String(at(made.json, "status.token")));
    t.note("claims", { aud: parts["aud"] ?? null, sub: parts["sub"] ?? null, kubernetes: parts["kubernetes.io"] ?? null, life: Number(parts["exp"]) - Number(parts["iat"]), names: Object.keys(parts).sort() });
    await t.ask("POST", "~/serviceaccounts/robot/token", { spec: { expirationSeconds: 60 } });
    await t.ask("POST", "~/serviceaccounts/none/token", { spec: {} });
    await t.ask("POST", "~/serviceaccounts/robot/token", { spec: { boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "none" } } });
    await t.ask("POST", "~/serviceaccounts/robot/token", { spec: { boundObjectRef: { kind: "ConfigMap", apiVersion: "v1", name: "none" } } });
    await t.ask("GET", "~/serviceaccounts/robot/token");
  });

  it("reviews tokens", async (t) => {
    await t.quiet("POST", "~/serviceaccounts", { metadata: { name: "seen" } });
    const own = await token(t, "seen");
    const foreign = await token(t, "seen", { audiences: ["elsewhere"] });
    const shape = (body: Json): Json => ({ authenticated: at(body, "status.authenticated"), error: at(body, "status.error") !== null, username: at(body, "status.user.username"), groups: at(body, "status.user.groups"), uid: at(body, "status.user.uid") !== null, extra: Object.keys((at(body, "status.user.extra") ?? {}) as JsonObject).sort(), audiences: (at(body, "status.audiences") as Json[] | null)?.length ?? null });
    const review = (spec: JsonObject) => t.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", { spec }, { show: shape });
    await review({ token: own });
    await review({ token: foreign });
    await review({ token: foreign, audiences: ["elsewhere", "other"] });
    await review({ token: own, audiences: ["elsewhere"] });
    await review({ token: "nonsense" });
    await review({ token: `${own.slice(0, -4)}AAAA` });
    await t.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", { spec: {} }, { loose: true, show: shape });
    await t.ask("GET", "/apis/authentication.k8s.io/v1/tokenreviews");
  });

  it("ends tokens with what they are bound to", async (t) => {
    await t.quiet("POST", "~/serviceaccounts", { metadata: { name: "bound" } });
    await t.quiet("POST", "~/pods", pod("bound", { serviceAccountName: "bound" }));
    const held = await token(t, "bound", { boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "bound" } });
    const whoami = (text: string) => t.raw("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, { token: text });
    const before = await whoami(held);
    t.note("bound", [before.code, Object.keys((at(before.json, "status.userInfo.extra") ?? {}) as JsonObject).sort(), (at(before.json, "status.userInfo.extra") as JsonObject)["authentication.kubernetes.io/pod-name"] ?? null]);
    await t.quiet("DELETE", "~/pods/bound");
    await untilRefused(t, held);
    const plain = await token(t, "bound");
    t.note("account", (await whoami(plain)).code);
    await t.quiet("DELETE", "~/serviceaccounts/bound");
    await untilRefused(t, plain);
    const gone = await whoami(plain);
    t.note("gone", [gone.code, gone.json ?? null]);
  });

  it("says who asks", async (t) => {
    await t.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, { as: { user: "jane", groups: ["dev", "ops"] }, show: (body) => ({ ...(at(body, "status.userInfo") as JsonObject) }) });
    await t.ask("GET", "~/configmaps", undefined, { token: "nonsense" });
    await t.ask("GET", "~/configmaps", undefined, { token: "" });
    await t.ask("GET", "/version", undefined, { token: "", show: "code" });
    await t.ask("GET", "/healthz", undefined, { token: "", show: "code" });
    await t.ask("GET", "/readyz", undefined, { token: "", show: "code" });
    await t.ask("GET", "/metrics", undefined, { token: "", show: "code" });
    await t.ask("GET", "/api", undefined, { token: "", show: "code" });
    await t.ask("GET", "/apis", undefined, { token: "" });
    await t.ask("GET", "/no/such", undefined, { as: "jane" });
  });

  it("grants by roles, and refuses the rest", async (t) => {
    await t.quiet("POST", ROLES, role("reader", [{ apiGroups: [""], resources: ["configmaps", "pods/log"], verbs: ["get", "list"] }, { apiGroups: ["apps"], resources: ["deployments/scale"], resourceNames: ["one"], verbs: ["update"] }]));
    await t.quiet("POST", BINDINGS, binding("reader", "Role", "reader", [user("ct-joe"), { kind: "Group", name: "ct-readers", apiGroup: RBAC }, { kind: "ServiceAccount", name: "default" , namespace: t.ns }]));
    await t.quiet("POST", "~/configmaps", configMap("seen"));
    const joe = { as: "ct-joe" } as const;
    await untilAllowed(t, "~/configmaps/seen", "ct-joe");
    await t.ask("GET", "~/configmaps/seen", undefined, { ...joe, show: "code" });
    await t.ask("GET", "~/configmaps?limit=1", undefined, { ...joe, show: "code" });
    await t.ask("GET", "~/configmaps?watch=1&timeoutSeconds=1", undefined, joe);
    await t.ask("DELETE", "~/configmaps/seen", undefined, joe);
    await t.ask("POST", "~/configmaps", configMap("made"), joe);
    await t.ask("PATCH", "~/configmaps/seen", {}, { ...joe, ...MERGE });
    await t.ask("GET", "~/secrets", undefined, joe);
    await t.ask("GET", "~/pods/x/log", undefined, joe);
    await t.ask("GET", "~/pods/x/status", undefined, joe);
    await t.ask("GET", "/api/v1/configmaps", undefined, joe);
    await t.ask("GET", "/api/v1/nodes", undefined, joe);
    await t.ask("GET", "/api/v1/namespaces/elsewhere/configmaps", undefined, joe);
    await t.ask("DELETE", "~/configmaps", undefined, joe);
    await t.ask("PUT", "~apps/v1/deployments/two/scale", {}, joe);
    t.note("a name that is granted", (await t.raw("PUT", "~apps/v1/deployments/one/scale", {}, joe)).code !== 403);
    await t.ask("GET", "~/configmaps/seen", undefined, { as: { user: "someone", groups: ["ct-readers"] }, show: "code" });
    await t.ask("GET", "~/configmaps/seen", undefined, { token: await token(t, "default"), show: "code" });
    await t.ask("GET", "~/secrets", undefined, { token: await token(t, "default") });
  });

  it("answers access reviews", async (t) => {
    await t.quiet("POST", ROLES, role("rev", [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get"] }]));
    await t.quiet("POST", BINDINGS, binding("rev", "Role", "rev", [user("ct-rev")]));
    await t.quiet("POST", "~/configmaps", configMap("rev"));
    await untilAllowed(t, "~/configmaps/rev", "ct-rev");
    const ask = (attributes: JsonObject, who: JsonObject = { user: "ct-rev" }) => t.ask("POST", REVIEW, { spec: { ...who, resourceAttributes: { namespace: t.ns, verb: "get", resource: "configmaps", ...attributes } } }, status);
    await ask({});
    await ask({ name: "x" });
    await ask({ verb: "delete" });
    await ask({ namespace: "" });
    await ask({ group: "apps" });
    await ask({ subresource: "status" });
    await ask({ resource: "*" });
    await ask({}, { user: "other", groups: ["system:masters"] });
    await t.ask("POST", REVIEW, { spec: { user: "ct-rev", nonResourceAttributes: { path: "/version", verb: "get" } } }, { show: ["status.allowed"] });
    await t.ask("POST", REVIEW, { spec: { user: "ct-rev", groups: ["system:authenticated"], nonResourceAttributes: { path: "/version", verb: "get" } } }, { show: ["status.allowed"] });
    await t.ask("POST", REVIEW, { spec: { user: "ct-rev" } });
    await t.ask("POST", REVIEW, { spec: { resourceAttributes: { verb: "get", resource: "pods" } } });
    await t.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", { spec: { resourceAttributes: { namespace: t.ns, verb: "get", resource: "configmaps" } } }, { as: "ct-rev", show: (body) => at(body, "status.allowed") });
    await t.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", { spec: { resourceAttributes: { verb: "*", resource: "*", group: "*" } } }, { show: ["status.allowed"] });
    await t.ask("POST", "~authorization.k8s.io/v1/localsubjectaccessreviews", { spec: { user: "ct-rev", resourceAttributes: { namespace: t.ns, verb: "get", resource: "configmaps" } } }, { show: ["status.allowed"] });
    await t.ask("POST", "~authorization.k8s.io/v1/localsubjectaccessreviews", { spec: { user: "ct-rev", resourceAttributes: { namespace: "other", verb: "get", resource: "configmaps" } } });
    await t.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", { spec: { namespace: t.ns } }, { as: "ct-rev", show: (body) => ((at(body, "status.resourceRules") ?? []) as JsonObject[]).filter((rule) => JSON.stringify(rule["resources"]).includes("configmaps")) as Json });
  });

  it("lets nobody give what they do not have", async (t) => {
    await t.quiet("POST", ROLES, role("manager", [{ apiGroups: [RBAC], resources: ["roles", "rolebindings"], verbs: ["*"] }, { apiGroups: [""], resources: ["pods"], verbs: ["get"] }]));
    await t.quiet("PUT", `${ROLES}/manager`, role("manager", [{ apiGroups: [RBAC], resources: ["roles", "rolebindings"], verbs: ["get", "create", "update", "patch", "delete"] }, { apiGroups: [""], resources: ["pods"], verbs: ["get"] }]));
    await t.quiet("POST", BINDINGS, binding("manager", "Role", "manager", [user("ct-manager")]));
    await untilAllowed(t, `${ROLES}/manager`, "ct-manager");
    const as = { as: "ct-manager" } as const;
    await t.ask("POST", ROLES, role("same", [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }]), { ...as, show: ["rules"] });
    await t.ask("POST", ROLES, role("more", [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "delete"] }, { apiGroups: [""], resources: ["secrets"], verbs: ["get"] }]), as);
    await t.ask("POST", BINDINGS, binding("same", "Role", "same", [user("ct-friend")]), { ...as, show: ["roleRef"] });
    await t.ask("POST", BINDINGS, binding("more", "ClusterRole", "cluster-admin", [user("ct-manager")]), as);
    await t.ask("POST", BINDINGS, binding("none", "Role", "no-such-role", [user("ct-friend")]), as);
    await t.ask("PATCH", `${ROLES}/same`, { rules: [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }] }, { ...MERGE, ...as, loose: true });
  });

  it("impersonates for those who may", async (t) => {
    const whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    const info = { show: (body: Json) => at(body, "status.userInfo") };
    await t.ask("POST", whoami, {}, { ...info, headers: { "impersonate-user": "ann", "impersonate-group": ["a", "b"], "impersonate-extra-team": "red" } });
    await t.ask("POST", whoami, {}, { ...info, headers: { "impersonate-user": `system:serviceaccount:${t.ns}:default` } });
    await t.ask("POST", whoami, {}, { ...info, headers: { "impersonate-group": "a" } });
    await t.ask("GET", "~/configmaps", undefined, { token: await token(t, "default"), headers: { "impersonate-user": "ann" } });
  });

  it("aggregates cluster roles", async (t) => {
    const name = `ct-agg-${t.ns.slice(-8)}`;
    t.mask(name, "AGG");
    const roles = `/apis/${RBAC}/v1/clusterroles`;
    try {
      await t.quiet("POST", roles, { metadata: { name, labels: {} }, aggregationRule: { clusterRoleSelectors: [{ matchLabels: { [`ct/${name}`]: "yes" } }] }, rules: [] });
      await t.quiet("POST", roles, { metadata: { name: `${name}-part`, labels: { [`ct/${name}`]: "yes" } }, rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }] });
      const review = () => t.raw("POST", REVIEW, { spec: { user: "ct-agg", resourceAttributes: { namespace: t.ns, verb: "get", resource: "pods" } } });
      await t.quiet("POST", BINDINGS, binding("agg", "ClusterRole", name, [user("ct-agg")]));
      for (const deadline = Date.now() + 10_000; at((await review()).json, "status.allowed") !== true && Date.now() < deadline;) await t.raw("GET", "/version");
      t.note("allowed", at((await review()).json, "status.allowed"));
    } finally {
      for (const each of [name, `${name}-part`]) await t.raw("DELETE", `${roles}/${each}`);
    }
  });

  it("has the roles every cluster has", async (t) => {
    for (const name of ["cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user", "system:public-info-viewer", "system:node"]) {
      const answer = await t.raw("GET", `/apis/${RBAC}/v1/clusterroles/${name}`);
      t.note(name, [answer.code, ((at(answer.json, "metadata.labels") ?? {}) as JsonObject)["kubernetes.io/bootstrapping"] ?? null]);
    }
    const may = async (who: JsonObject, attributes: JsonObject): Promise<Json> => at((await t.raw("POST", REVIEW, { spec: { ...who, resourceAttributes: attributes } })).json, "status.allowed");
    for (const [as, verb, resource, group] of [["view", "get", "pods", ""], ["view", "get", "secrets", ""], ["view", "create", "pods", ""], ["edit", "create", "pods", ""], ["edit", "get", "secrets", ""], ["edit", "create", "roles", RBAC], ["admin", "create", "roles", RBAC], ["admin", "create", "nodes", ""], ["admin", "update", "namespaces", ""]] as const) {
      await t.raw("POST", BINDINGS, binding(`ct-${as}`, "ClusterRole", as, [user(`ct-is-${as}`)]));
      for (const deadline = Date.now() + 5_000; (await may({ user: `ct-is-${as}` }, { namespace: t.ns, verb: "get", resource: "pods" })) !== true && Date.now() < deadline;) await t.raw("GET", "/version");
      t.note(`${as} may ${verb} ${resource}`, await may({ user: `ct-is-${as}` }, { namespace: t.ns, verb, resource, group }));
    }
  });
});

/** Rights reach the authorizer through its watch. */
async function untilAllowed(t: Talk, path: string, who: string): Promise<void> {
  await t.until(path, `${who} may`, (answer) => answer.code === 200, undefined);
  for (const deadline = Date.now() + 10_000; Date.now() < deadline;) if ((await t.raw("GET", path, undefined, { as: who })).code === 200) return;
}

async function untilRefused(t: Talk, text: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
    const { code } = await t.raw("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, { token: text });
    if (code === 401) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
