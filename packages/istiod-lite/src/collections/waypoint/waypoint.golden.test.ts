// Kubernetes objects in, configurations of waypoints and conditions out; one folder per rule or trap.
import { join } from "node:path";
import { encodeWaypointConfig } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { checkGolden, goldenCases, type GoldenInput } from "@ambit/testkit";
import { admit, type SourceName } from "../admit.ts";
import { buildMesh } from "../graph.ts";
import { SOURCE_KINDS } from "../kinds.ts";
import type { Settings } from "../settings.ts";

const FOLDER = join(import.meta.dirname, "testdata");
const DEFAULTS: Settings = { rootNamespace: "istio-system", trustDomain: "cluster.local", clusterId: "Kubernetes", clusterDomain: "cluster.local", revision: "default", waypointOnly: false };

describe("configurations of waypoints", () => {
  for (const name of goldenCases(FOLDER)) it(name, () => checkGolden(FOLDER, name, translate));
});

/** What never changes in these cases; whatever differs from it is shown. */
const USUAL = shown(configOfEmpty());

function translate(input: GoldenInput): unknown {
  const mesh = buildMesh(DEFAULTS);
  const refused: Record<string, unknown> = {};
  mesh.batch(() => {
    for (const source of Object.keys(mesh.sources) as SourceName[])
      for (const object of input.take((d) => d["kind"] === SOURCE_KINDS[source].kind)) {
        const admitted = admit(source, object);
        if (admitted.ok) mesh.sources[source].set(admitted.value as never);
        else refused[(object as unknown as KubeObject).metadata?.name ?? "?"] = admitted.error;
      }
  });
  return {
    configs: Object.fromEntries(mesh.waypointConfigs.list().map((c) => [`${c.key} for ${c.serviceAccount}`,
      Object.fromEntries(Object.entries(shown(encodeWaypointConfig(c.config))).filter(([k, v]) => k === "services" || JSON.stringify(v) !== JSON.stringify(USUAL[k])))])),
    conditions: Object.fromEntries(mesh.statuses.list().filter((s) => !s.key.startsWith("services/")).flatMap((s): [string, unknown][] =>
      s.parents !== undefined || s.ancestors !== undefined ? [[s.key, s.parents ?? s.ancestors]] : s.conditions.length > 0 ? [[s.key, s.conditions]] : [])),
    ...(mesh.keys.wantedKeys.size === 0 ? {} : { wantedKeys: mesh.keys.wantedKeys.list() }),
    ...(Object.keys(refused).length === 0 ? {} : { refused }),
  };
}

function configOfEmpty(): string {
  const mesh = buildMesh(DEFAULTS);
  mesh.sources.gateways.set({ kind: "Gateway", metadata: { name: "waypoint", namespace: "shop" }, spec: { gatewayClassName: "istio-waypoint" } });
  const [only] = mesh.waypointConfigs.list();
  if (only === undefined) throw new Error("a waypoint without anything has no configuration");
  return encodeWaypointConfig(only.config);
}

function shown(text: string): Record<string, unknown> {
  const { config } = JSON.parse(text, (_key, value: unknown) =>
    (typeof value === "object" && value !== null && "$map" in value ? Object.fromEntries(value.$map as [string, unknown][]) : value)) as { config: Record<string, unknown> };
  return config;
}
