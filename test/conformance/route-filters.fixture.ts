// Owns the conformance suite's cases of filters that it has for Gateways only, under their own names, as a mesh has them: a Service in the place of a Gateway.
import assert from "node:assert/strict";
import { backend, httpRoute, MESH, toService, type Answer, type Ask, type MeshBed } from "./bed.fixture.ts";

const PORTS = { HTTP: 8000, GRPC: 9000 } as const;
type Protocol = keyof typeof PORTS;
const authorizer = { apiVersion: "v1", kind: "Service", metadata: { name: "authorizer", namespace: MESH, labels: { "istio.io/use-waypoint": "none" } }, spec: { selector: { app: "authorizer" }, ports: [{ name: "http", port: 8000 }, { name: "grpc", port: 9000 }] } };
const empty = { apiVersion: "v1", kind: "Service", metadata: { name: "authorizer-away", namespace: MESH }, spec: { selector: { app: "nobody" }, ports: [{ name: "http", port: 8000 }] } };
const externalAuth = (protocol: Protocol, settings: object = {}, more: object = {}, to: object = { name: "authorizer", port: PORTS[protocol] }): object =>
  ({ type: "ExternalAuth", externalAuth: { protocol, backendRef: to, [protocol.toLowerCase()]: settings, ...more } });
const rule = (path: string, ...filters: object[]): object => ({ matches: [{ path: { type: "PathPrefix", value: path } }], filters, backendRefs: [backend("echo-v1")] });
const route = (name: string, ...rules: object[]): object => httpRoute(name, { parentRefs: [toService("echo", 80)], rules });

/** Within a describe whose bed is up. */
export function routeFilterCases(bed: () => MeshBed): void {
  before(async () => {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "authorizer", namespace: MESH, labels: { app: "authorizer" } }, spec: { serviceAccountName: "echo-v1", terminationGracePeriodSeconds: 0, containers: [{ name: "authorizer", image: "ambit/sample:lab", command: bed().lab.program("authorizer") }] } };
    await bed().lab.apply([authorizer, empty, pod].map((o) => JSON.stringify(o)).join("\n---\n"));
    await bed().lab.kubectl("-n", MESH, "wait", "--for=condition=Ready", "pod/authorizer", "--timeout=60s");
  });

  const answered = (path: string, ask: Ask, check: (a: Answer) => void): Promise<void> => bed().eventually(async () => check(await bed().askOnce(`http://echo${path}`, ask)));
  /** Reached the application with what the authorizer told it. */
  const passed = (path: string, told: Readonly<Record<string, string | undefined>> = {}, ask: Ask = {}): Promise<void> => answered(path, ask, (a) => {
    assert.deepEqual([a.status, a.seen?.path, a.seen?.server], [200, path, "echo-v1"], JSON.stringify(a));
    for (const [name, value] of Object.entries(told)) assert.equal(a.seen?.headers[name], value, name);
  });
  const refused = (path: string, status: number, body: string | undefined, told: Readonly<Record<string, string>> = {}, ask: Ask = {}): Promise<void> => answered(path, ask, (a) => {
    assert.deepEqual([a.status, a.seen], [status, undefined], JSON.stringify(a));
    if (body !== undefined) assert.equal(a.body, body);
    for (const [name, value] of Object.entries(told)) assert.equal(a.headers[name], value, name);
  });
  const conditions = (name: string, wanted: Readonly<Record<string, string>>): Promise<void> => bed().eventually(async () => {
    const [parent] = await bed().parentsOf("HTTPRoute", MESH, name);
    const said = Object.fromEntries(((parent?.["conditions"] ?? []) as { type: string; status: string; reason: string }[]).map((c) => [c.type, `${c.status} ${c.reason}`]));
    assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((type) => [type, said[type]])), wanted);
  });
  const DENIED = "Access denied by external auth server";

  it("HTTPRouteBackendRequestRedirect", () => bed().with([httpRoute("backend-request-redirect", { parentRefs: [toService("echo", 80)], rules: [
    { matches: [{ path: { type: "PathPrefix", value: "/full" } }], backendRefs: [backend("echo-v1", { filters: [{ type: "RequestRedirect", requestRedirect: { path: { type: "ReplaceFullPath", replaceFullPath: "/redirected-full" } } }] })] },
    { matches: [{ path: { type: "PathPrefix", value: "/prefix" } }], backendRefs: [backend("echo-v1", { filters: [{ type: "RequestRedirect", requestRedirect: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/redirected-prefix" } } }] })] },
  ] })], async () => {
    for (const [from, to] of [["/full/original", "/redirected-full"], ["/prefix/original", "/redirected-prefix/original"]] as const)
      await answered(from, {}, (a) => assert.deepEqual([a.status, new URL(a.headers["location"] ?? "none:", "http://echo/").pathname], [302, to]));
  }));

  for (const protocol of ["HTTP", "GRPC"] as const) {
    const at = `/${protocol.toLowerCase()}`;
    it(`HTTPRouteExternalAuth${protocol}`, () => bed().with([route("external-auth", rule(at, externalAuth(protocol)))], async () => {
      await passed(`${at}/allowed`);
      await refused(`${at}/denied`, 403, DENIED);
      await conditions("external-auth", { Accepted: "True Accepted", ResolvedRefs: "True ResolvedRefs" });
      const why = await bed().ambit("why", `${MESH}/echo-v1-pod`, "GET", `http://echo${at}/allowed`);
      assert.match(why.out, /ExternalAuth of HTTPRoute gateway-conformance-mesh\/external-auth rule 0/);
    }));

    it(`HTTPRouteExternalAuth${protocol}RequestHeadersToAuth`, () => bed().with([route("external-auth-request-headers", rule(at, externalAuth(protocol, { allowedHeaders: ["X-Test-Header"] })))], () =>
      passed(`${at}/allowed`, { "x-auth-received-test-header": "hello", "x-auth-received-cookie": "none" }, { headers: { "X-Test-Header": "hello", cookie: "secret=1" } })));

    it(`HTTPRouteExternalAuth${protocol}ResponseHeaders`, () => bed().with([route("external-auth-response-headers", rule(at, externalAuth(protocol, protocol === "HTTP" ? { allowedResponseHeaders: ["X-User-Id"] } : {})))], async () => {
      await passed(`${at}/allowed/upstream`, { "x-user-id": "42", ...(protocol === "HTTP" ? { "x-auth-received-body-size": undefined } : {}) }, { headers: { "X-User-Id": "forged" } });
      await refused(`${at}/denied/response-headers`, 403, DENIED, { "x-auth-error": "access-denied" });
    }));

    it(`HTTPRouteExternalAuth${protocol}ForwardBody`, () => bed().with([route("external-auth-forward-body",
      rule(`${at}/allowed/forward-body`, externalAuth(protocol, {}, { forwardBody: { maxSize: 100 } })),
      ...["allowed", "denied"].map((verdict) => rule(`${at}/${verdict}/forward-body-zero`, externalAuth(protocol, {}, { forwardBody: { maxSize: 0 } }))),
    )], async () => {
      const post = (body: string): Ask => ({ method: "POST", body });
      await passed(`${at}/allowed/forward-body`, { "x-auth-received-body-size": "10" }, post("0123456789"));
      await refused(`${at}/allowed/forward-body`, 413, undefined, {}, post("x".repeat(200)));
      await passed(`${at}/allowed/forward-body-zero`, { "x-auth-received-body-size": "0" }, post("x".repeat(200)));
      await refused(`${at}/denied/forward-body-zero`, 403, DENIED, { "x-auth-received-body-size": "0" }, post("x".repeat(200)));
    }));
  }

  it("HTTPRouteExternalAuthBackendRefNotFound", () => bed().with([
    route("external-auth-unknown-backendref", rule("/external-auth/unknown-backendref", externalAuth("HTTP", {}, {}, { name: "nobody", port: 8000 }))),
    route("external-auth-backendref-invalid-port", rule("/external-auth/invalid-port", externalAuth("HTTP", {}, {}, { name: "authorizer", port: 1 }))),
  ], async () => {
    for (const name of ["external-auth-unknown-backendref", "external-auth-backendref-invalid-port"]) await conditions(name, { Accepted: "True Accepted", ResolvedRefs: "False BackendNotFound" });
    for (const path of ["/external-auth/unknown-backendref", "/external-auth/invalid-port"]) await refused(path, 500, undefined);
  }));

  it("HTTPRouteExternalAuthBackendUnavailable", () => bed().with([route("external-auth-backend-unavailable", rule("/http/allowed", externalAuth("HTTP", {}, {}, { name: "authorizer-away", port: 8000 })))], async () => {
    await refused("/http/allowed", 403, undefined);
    await conditions("external-auth-backend-unavailable", { ResolvedRefs: "True ResolvedRefs" });
  }));
}
