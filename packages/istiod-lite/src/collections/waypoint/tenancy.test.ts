// Whoever may write anything in one namespace changes nothing of what the waypoint of another one is told, but for the documented means.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import type { PolicyTarget, WaypointConfig } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { seededRandom } from "@ambit/runtime";
import { goldenCases } from "@ambit/testkit";
import { admit, type SourceName } from "../admit.ts";
import { buildMesh, type Mesh } from "../graph.ts";
import { sourceOf } from "../kinds.ts";
import { DEFAULT_SETTINGS } from "../settings.ts";

const FOLDER = join(import.meta.dirname, "testdata");
const ROUNDS = 600;
const SEED = 11;
/** Objects of the mesh's owner, or of the cluster's. */
const NOT_A_TENANTS: readonly SourceName[] = ["namespaces", "nodes", "gatewayClasses", "configMaps"];
const GROUPS: Readonly<Record<string, string>> = {
  Gateway: "gateway.networking.k8s.io/v1", HTTPRoute: "gateway.networking.k8s.io/v1", GRPCRoute: "gateway.networking.k8s.io/v1", TLSRoute: "gateway.networking.k8s.io/v1", TCPRoute: "gateway.networking.k8s.io/v1alpha2",
  AuthorizationPolicy: "security.istio.io/v1", RequestAuthentication: "security.istio.io/v1", VirtualService: "networking.istio.io/v1", DestinationRule: "networking.istio.io/v1",
  Telemetry: "telemetry.istio.io/v1", Service: "v1", Namespace: "v1", Pod: "v1", ConfigMap: "v1",
};

const objects = goldenCases(FOLDER).flatMap((name) => loadAll(readFileSync(join(FOLDER, name, "input.yaml"), "utf8")) as KubeObject[]).map((o) => ({ ...o, apiVersion: GROUPS[o.kind ?? ""] ?? o.apiVersion ?? "v1" }));
const victims = objects.filter((o) => o.metadata.namespace === "shop" || o.kind === "Namespace");

function put(mesh: Mesh, object: KubeObject): void {
  const source = sourceOf(object);
  const admitted = source === undefined ? undefined : admit(source, object);
  if (source !== undefined && admitted?.ok === true) mesh.sources[source].set(admitted.value as never);
}

const isItsRoute = (t: PolicyTarget): boolean => t.kind === "route" && t.route.namespace === "evil";

/** What is left when the documented means are taken out: what clients of the other namespace see of the service, and what its own clients' labels are. */
function ownOf(mesh: Mesh): WaypointConfig {
  const config = mesh.waypointConfigs.get("shop/waypoint")?.config;
  assert.ok(config, "the victim's waypoint has a configuration");
  return {
    ...config,
    services: new Map([...config.services].map(([key, routes]) => [key, { ...routes, consumers: new Map([...routes.consumers].filter(([namespace]) => namespace !== "evil")) }])),
    // What it attaches to its own consumer routes.
    policies: config.policies.filter((p) => !p.targets.every(isItsRoute)), authentications: config.authentications.filter((p) => !p.targets.every(isItsRoute)),
    // How its own services are to be connected to, when its consumer routes lead there.
    traffic: new Map([...config.traffic].filter(([key]) => !key.startsWith("evil/"))),
    workloadLabels: new Map([...config.workloadLabels].filter(([uid]) => !uid.includes("/evil/"))),
  };
}

describe("a tenant", () => {
  it(`changes nothing of another's waypoint, over ${ROUNDS} attacks (seed ${SEED})`, () => {
    const random = seededRandom(SEED);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const mesh = buildMesh(DEFAULT_SETTINGS);
    mesh.batch(() => { for (const o of victims) put(mesh, o); });
    const before = ownOf(mesh);
    assert.ok(before.services.size >= 3 && before.policies.length > 3 && before.traffic.size > 0);
    const attacks = objects.filter((o) => { const s = sourceOf(o); return s !== undefined && !NOT_A_TENANTS.includes(s); });
    for (let round = 0; round < ROUNDS; round++) {
      const object = structuredClone(pick(attacks));
      // Once as the attacker's own, once reaching for the victim by its name.
      const reaching = JSON.stringify(object).replaceAll(/"host":"([a-z0-9-]+)"/g, '"host":"$1.shop.svc.cluster.local"').replaceAll('"hosts":["reviews"]', '"hosts":["reviews.shop.svc.cluster.local"]')
        .replaceAll('"name":"reviews"', '"name":"reviews","namespace":"shop"');
      const attack = random() < 0.5 ? object : (JSON.parse(reaching) as KubeObject);
      attack.metadata = { ...object.metadata, namespace: "evil", labels: { ...object.metadata.labels, "istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "shop" } };
      mesh.batch(() => put(mesh, attack));
      assert.deepEqual(ownOf(mesh), before, `round ${round}: ${attack.kind} ${attack.metadata.name}`);
    }
  }).timeout(60_000);
});
