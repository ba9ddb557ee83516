import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import { gatewayStatus, gatewayStatusToApply, type GatewayFacts } from "./status.ts";

const gateway = (listeners: object[] = [{ name: "mesh", port: 15008, protocol: "HBONE" }]): KubeObject => ({ metadata: { name: "waypoint", namespace: "shop", generation: 2 }, spec: { gatewayClassName: "istio-waypoint", listeners } });
const service = (clusterIPs: string[]): KubeObject => ({ metadata: { name: "waypoint", namespace: "shop" }, spec: { clusterIPs } });
const facts = (more: Partial<GatewayFacts> = {}): GatewayFacts => ({ service: service(["10.96.0.7"]), readyPods: 1, clusterDomain: "cluster.local", problems: [], ...more });
const summary = (g: KubeObject, f: GatewayFacts): string[] => gatewayStatus(g, f).conditions.map((c) => `${c.type}=${c.status} ${c.reason}`);

describe("the status of a waypoint's Gateway", () => {
  const cases: [string, KubeObject, GatewayFacts, string[]][] = [
    ["running", gateway(), facts(), ["Accepted=True Accepted", "Programmed=True Programmed", "ResolvedRefs=True ResolvedRefs"]],
    ["no ready pod", gateway(), facts({ readyPods: 0 }), ["Accepted=True Accepted", "Programmed=False NoResources", "ResolvedRefs=True ResolvedRefs"]],
    ["no Service yet", gateway(), facts({ service: undefined }), ["Accepted=True Accepted", "Programmed=False AddressNotAssigned", "ResolvedRefs=True ResolvedRefs"]],
    ["a Service without address", gateway(), facts({ service: service(["None"]) }), ["Accepted=True Accepted", "Programmed=False AddressNotAssigned", "ResolvedRefs=True ResolvedRefs"]],
    ["another listener", gateway([{ name: "web", port: 80, protocol: "HTTP" }]), facts(), ["Accepted=False ListenersNotValid", "Programmed=False Invalid", "ResolvedRefs=True ResolvedRefs"]],
    ["objects that could not be made", gateway(), facts({ problems: [{ path: "ConfigMap own", message: "bad" }] }), ["Accepted=False InvalidParameters", "Programmed=False Invalid", "ResolvedRefs=True ResolvedRefs"]],
  ];
  for (const [name, g, f, expected] of cases) it(name, () => assert.deepEqual(summary(g, f), expected));

  it("orders addresses: IPv4, IPv6, host name", () =>
    assert.deepEqual(gatewayStatus(gateway(), facts({ service: service(["fd00::7", "10.96.0.7"]) })).addresses, [
      { type: "IPAddress", value: "10.96.0.7" }, { type: "IPAddress", value: "fd00::7" }, { type: "Hostname", value: "waypoint.shop.svc.cluster.local" },
    ]));

  it("is written once, and again only when something changed, keeping the times of what did not", () => {
    const first = gatewayStatusToApply(gateway(), gatewayStatus(gateway(), facts({ readyPods: 0 })), "2026-01-01T00:00:00Z");
    assert.ok(first !== undefined);
    const standing = { ...gateway(), status: first };
    assert.equal(gatewayStatusToApply(standing, gatewayStatus(standing, facts({ readyPods: 0 })), "2026-01-02T00:00:00Z"), undefined);
    const next = gatewayStatusToApply(standing, gatewayStatus(standing, facts()), "2026-01-02T00:00:00Z") as { conditions: { type: string; lastTransitionTime: string }[] };
    assert.deepEqual(next.conditions.map((c) => c.lastTransitionTime), ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]);
  });

  it("keeps the number of attached routes that another writer counted", () => {
    const standing = { ...gateway(), status: { listeners: [{ name: "mesh", attachedRoutes: 4 }] } };
    const next = gatewayStatusToApply(standing, gatewayStatus(standing, facts()), "2026-01-01T00:00:00Z") as { listeners: { attachedRoutes: number }[] };
    assert.equal(next.listeners[0]?.attachedRoutes, 4);
  });
});
