// Who may ask what of the control plane, and the forms that istioctl reads (S39: nobody without an identity, nobody across namespaces).
import assert from "node:assert/strict";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Metadata } from "@grpc/grpc-js";
import type { ClientStatus } from "@ambit/xds";
import { buildMesh } from "../collections/graph.ts";
import { DEFAULT_SETTINGS } from "../collections/settings.ts";
import { decodeDebugRequest, encodeClientConfig } from "./encode-client-config.ts";
import { guardedRoutes } from "./http.ts";
import { DEBUG_PATHS, debugRoutes } from "./routes.ts";
import { appliedPolicies, syncStatuses, type Asker } from "./view.ts";

const subscription = (over: object = {}) => ({ mode: "wildcard" as const, wanted: 0, pending: 0, unacked: 0, sentNonce: "1-3", sentVersion: "7", ackedNonce: "1-3", ackedVersion: "7", nack: "", refused: [], outstanding: [], settled: true, ...over });
const client = (namespace: string, name: string, over: object = {}): ClientStatus => ({
  proxyId: `${namespace === "istio-system" ? "ztunnel" : "waypoint"}~10.0.0.1~${name}.${namespace}~${namespace}.svc.cluster.local`, role: namespace === "istio-system" ? "ztunnel" : "waypoint",
  node: "node-1", identity: { trustDomain: "cluster.local", namespace, serviceAccount: name }, peer: "10.0.0.1:1", connectedSince: 0,
  types: { "type/A": subscription(over), "type/B": subscription({ mode: "none", sentNonce: "" }) },
} satisfies ClientStatus);
const CLIENTS = [client("app", "waypoint"), client("istio-system", "ztunnel-1"), client("other", "waypoint", { nack: "x: bad" })];
const ABOUT = { clusterId: "Kubernetes", version: "0.1.0" };
const asker = (namespace: string): Asker => ({ identity: { namespace }, rootNamespace: "istio-system" });
const routes = debugRoutes({ mesh: buildMesh(DEFAULT_SETTINGS), clients: () => CLIENTS, about: ABOUT });
const ask = (path: string, namespace: string, query = ""): unknown => routes(path, new URLSearchParams(query), asker(namespace));

describe("debug endpoints", () => {
  it("show the root namespace every proxy, others those of their own", () => {
    const names = (namespace: string) => syncStatuses(CLIENTS, asker(namespace), ABOUT).map((s) => s.proxy.split("~")[2]);
    assert.deepEqual(names("istio-system"), ["waypoint.app", "ztunnel-1.istio-system", "waypoint.other"]);
    assert.deepEqual(names("app"), ["waypoint.app"]);
    assert.deepEqual(names("nobody"), []);
  });
  it("do not dump a proxy of another namespace, by whatever name", () => {
    assert.ok(ask("/debug/config_dump", "app", "proxyID=waypoint.app"));
    for (const id of ["waypoint.other", "ztunnel-1.istio-system", CLIENTS[2]?.proxyId ?? "", "", "waypoint"]) assert.equal(ask("/debug/config_dump", "app", `proxyID=${encodeURIComponent(id)}`), undefined, id);
    assert.ok(ask("/debug/config_dump", "istio-system", "proxyID=waypoint.other"));
  });
  it("keep what is of the whole mesh to the root namespace", () => {
    for (const path of DEBUG_PATHS.filter((p) => p !== "/debug/config_dump")) assert.ok(ask(path, "istio-system"), path);
    assert.equal(ask("/debug/mesh", "app"), undefined);
    assert.equal(ask("/debug/networkz", "app"), undefined);
    assert.ok(!(ask("/debug/list", "app") as string[]).includes("/debug/mesh"));
    assert.equal(ask("/debug/nonsense", "istio-system"), undefined);
  });
  it("count who applied a policy, and name only proxies that the asker may see", () => {
    const counted = (over: object, namespace: string, types: object = {}) => appliedPolicies(["app/p", "other/p"], "type/A", [client("istio-system", "ztunnel-1"), { ...client("istio-system", "ztunnel-2", over), ...types }], asker(namespace));
    const refusing = { outstanding: [{ name: "app/p", reason: "rules[0]: bad" }] };
    const cases: readonly (readonly [string, unknown, unknown])[] = [
      ["all", counted({}, "app"), [{ policy: "app/p", applied: 2, connected: 2, waiting: 0, refused: 0, refusals: [] }]],
      ["one has not answered", counted({ settled: false }, "app"), [{ policy: "app/p", applied: 1, connected: 2, waiting: 1, refused: 0, refusals: [] }]],
      ["one refuses, seen by a namespace's owner", counted(refusing, "app"), [{ policy: "app/p", applied: 1, connected: 2, waiting: 0, refused: 1, refusals: [] }]],
      ["one refuses and owes more", counted({ ...refusing, settled: false }, "app"), [{ policy: "app/p", applied: 1, connected: 2, waiting: 0, refused: 1, refusals: [] }]],
      ["one refuses, seen by the root namespace", counted(refusing, "istio-system"), [
        { policy: "app/p", applied: 1, connected: 2, waiting: 0, refused: 1, refusals: [{ proxy: "ztunnel~10.0.0.1~ztunnel-2.istio-system~istio-system.svc.cluster.local", reason: "rules[0]: bad" }] },
        { policy: "other/p", applied: 2, connected: 2, waiting: 0, refused: 0, refusals: [] }]],
      ["one does not ask for policies", counted({}, "app", { types: {} }), [{ policy: "app/p", applied: 1, connected: 1, waiting: 0, refused: 0, refusals: [] }]],
      ["a stranger", counted({}, "nobody"), []],
    ];
    for (const [name, found, expected] of cases) assert.deepEqual(found, expected, name);
  });
  it("have istioctl's fields", () => assert.deepEqual(ask("/debug/syncz", "other"), [{
    cluster_id: "Kubernetes", proxy: "waypoint~10.0.0.1~waypoint.other~other.svc.cluster.local", proxy_type: "waypoint", istio_version: "0.1.0",
    resources: { "type/A": { sent: "1-3", acked: "1-3", lastError: "x: bad" } },
  }]));

  describe("over HTTP", () => {
    const guarded = guardedRoutes(() => ({
      routes,
      authenticate: (metadata: Metadata) => {
        const [token] = metadata.get("authorization");
        if (token === "Bearer later") return Promise.resolve({ error: "x", unavailable: true });
        return Promise.resolve(token === "Bearer app" || token === "Bearer istio-system" ? { identity: { trustDomain: "d", namespace: token.slice(7), serviceAccount: "s" } } : { error: "no" });
      },
    }), "istio-system");
    const status = async (path: string, authorization: string | undefined, query = ""): Promise<number> => (await guarded[`GET ${path}`]?.(new URLSearchParams(query), "", { authorization }))?.status ?? 200;
    const cases: readonly (readonly [string, string | undefined, number, string?])[] = [
      ["/debug/syncz", undefined, 401], ["/debug/syncz", "", 401], ["/debug/syncz", "Bearer wrong", 401], ["/debug/syncz", "bearer app", 401], ["/debug/syncz", "Bearer later", 503],
      ["/debug/syncz", "Bearer app", 200], ["/debug/mesh", "Bearer app", 403], ["/debug/mesh", "Bearer istio-system", 200],
      ["/debug/config_dump", "Bearer app", 403, "proxyID=waypoint.other"], ["/debug/config_dump", "Bearer app", 200, "proxyID=waypoint.app"],
    ];
    for (const [path, token, code, query] of cases) it(`${path}?${query ?? ""} with ${token ?? "nothing"} is ${code}`, async () => assert.equal(await status(path, token, query), code));
    it("answers nothing before there is anybody to ask", async () => assert.equal((await guardedRoutes(() => undefined, "r")["GET /debug/syncz"]?.(new URLSearchParams(), "", { authorization: "Bearer app" }))?.status, 503));
  });

  describe("over xDS", () => {
    it("reads requests, skipping what it does not know, and refuses what is no protobuf", () => {
      const w = new BinaryWriter();
      w.tag(2, WireType.LengthDelimited).bytes(new Uint8Array([1, 2])).tag(3, WireType.LengthDelimited).string("syncz").tag(4, WireType.LengthDelimited).string("istio.io/debug").tag(5, WireType.LengthDelimited).string("n").tag(99, WireType.Varint).int32(5);
      assert.deepEqual(decodeDebugRequest(w.finish()), { resources: ["syncz"], typeUrl: "istio.io/debug", nonce: "n" });
      assert.throws(() => decodeDebugRequest(new Uint8Array([0x22, 0xff, 0x01])));
    });
    it("says synced, stale, not sent, error as numbers of ConfigStatus", () => {
      const statusOf = (over: object): number | undefined => {
        const reader = new BinaryReader(encodeClientConfig(client("app", "w", over), ABOUT));
        while (reader.pos < reader.len) {
          const [field, wire] = reader.tag();
          if (field !== 3) { reader.skip(wire, field); continue; }
          const inner = new BinaryReader(reader.bytes());
          while (inner.pos < inner.len) {
            const [f, t] = inner.tag();
            if (f === 6) return inner.int32();
            inner.skip(t, f);
          }
        }
        return undefined;
      };
      assert.deepEqual([{}, { ackedNonce: "1-2" }, { sentNonce: "" }, { nack: "x: y" }].map(statusOf), [1, 3, 2, 4]);
    });
  });
});
