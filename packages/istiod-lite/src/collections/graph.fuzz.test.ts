// Whatever objects come in whatever order, also malformed ones: nothing throws, and the outcome depends on the objects only.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import { decodeWaypointConfig, encodeWaypointConfig } from "@ambit/core";
import { objectKey, type KubeObject } from "@ambit/kube";
import { seededRandom } from "@ambit/runtime";
import { goldenCases } from "@ambit/testkit";
import { admit, type SourceName } from "./admit.ts";
import { SOURCE_KINDS } from "./kinds.ts";
import { buildMesh, type Mesh } from "./graph.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";
import { encodeAddress, encodePolicy } from "../push/encode.ts";

const FOLDERS = [join(import.meta.dirname, "testdata"), join(import.meta.dirname, "waypoint", "testdata")];
const STEPS = Number(process.env["MESH_FUZZ_STEPS"] ?? 1500);
/** Of one batch on a full machine; a calm one takes about 3 ms. */
const STEP_LIMIT_MS = 40;
const SEED = Number(process.env["MESH_FUZZ_SEED"] ?? 7);
const WEIRD: readonly unknown[] = [null, "", "*", "\u0000", 0, -1, 1e9, NaN, true, [], {}, [null], [[]], ["*"], { a: null }, "__proto__", "10.0.0.0/8", "x".repeat(300)];

/** What binds objects to waypoints, revisions, networks and the mesh; a namespace's changes everything in it. */
const LABELS: Readonly<Record<string, readonly string[]>> = {
  "istio.io/use-waypoint": ["waypoint", "wp", "gone", "none"], "istio.io/use-waypoint-namespace": ["infra", "default", "gone"], "istio.io/ingress-use-waypoint": ["true"],
  "istio.io/rev": ["default", "canary", "stable", ""], "istio.io/tag": ["stable", "canary"], "istio.io/dataplane-mode": ["ambient", "none"],
  "istio.io/waypoint-for": ["service", "workload", "all", "none"], "topology.istio.io/network": ["", "n1", "n2"], "env": ["prod", "test"], "app": ["web", "a", "b"],
};
/** Mesh-wide settings, each of which decides what is read at all or how. */
const MESH_CONFIGS = [
  "{}", "trustDomain: example.org\ntrustDomainAliases: [cluster.local]\n", "discoverySelectors: [{matchLabels: {env: prod}}]\n",
  "discoverySelectors: [{matchExpressions: [{key: env, operator: Exists}]}]\n", "rootNamespace: elsewhere\n", "no: [", "noSuchSetting: 1\n",
];

const kinds = Object.keys(buildMesh(DEFAULT_SETTINGS).sources) as SourceName[];
const corpus = FOLDERS.flatMap((folder) => goldenCases(folder).flatMap((name) => loadAll(readFileSync(join(folder, name, "input.yaml"), "utf8")) as KubeObject[]))
  .flatMap((object) => { const source = kinds.find((k) => SOURCE_KINDS[k].kind === object?.kind); return source === undefined ? [] : [{ source, object }]; });

describe("the mesh under random objects", () => {
  it("draws from every kind that the mesh is made of", () => assert.deepEqual(kinds.filter((k) => !corpus.some((c) => c.source === k)), []));
  it(`equals a mesh built from scratch, and never throws, over ${STEPS} batches (seed ${SEED})`, () => {
    const random = seededRandom(SEED);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const live = buildMesh(DEFAULT_SETTINGS);
    const most = new Map<string, number>();
    for (let step = 0; step < STEPS; step++) {
      live.batch(() => {
        for (let n = 1 + Math.floor(random() * 4); n > 0; n--) {
          if (random() < 0.2) { relabel(live, pick, random); continue; }
          if (random() < 0.02) { put(live, "configMaps", meshConfig(pick(MESH_CONFIGS))); continue; }
          const { source, object } = pick(corpus);
          const key = objectKey(object);
          if (random() < 0.25) live.sources[source].delete(key);
          else put(live, source, random() < 0.5 ? object : mutate(object, random, pick));
        }
      });
      if (step % 50 !== 0 && step !== STEPS - 1) continue;
      compare(live, step);
      for (const what of COMPARED) most.set(what, Math.max(most.get(what) ?? 0, live[what].size));
    }
    // A comparison of nothing with nothing holds always.
    assert.deepEqual(COMPARED.filter((what) => (most.get(what) ?? 0) === 0), []);
  }).timeout(Math.max(120_000, STEPS * STEP_LIMIT_MS));
});

function put(mesh: Mesh, source: SourceName, object: KubeObject): void {
  const admitted = admit(source, object);
  if (admitted.ok) mesh.sources[source].set(admitted.value as never);
}

/** One label of one object that is there, also of a namespace or Gateway: what others are bound to changes under them. */
function relabel(mesh: Mesh, pick: <T>(list: readonly T[]) => T, random: () => number): void {
  const source = random() < 0.4 ? pick(["namespaces", "gateways", "services"] as const) : pick(kinds);
  const objects: readonly KubeObject[] = mesh.sources[source].list();
  if (objects.length === 0) return;
  const object = structuredClone(pick(objects));
  const labels = { ...object.metadata.labels };
  const label = pick(Object.keys(LABELS));
  if (random() < 0.3) delete labels[label];
  else labels[label] = pick(LABELS[label] ?? []);
  put(mesh, source, { ...object, metadata: { ...object.metadata, labels } });
}

const meshConfig = (mesh: string): KubeObject => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "istio", namespace: DEFAULT_SETTINGS.rootNamespace }, data: { mesh } });

/** Replaces, removes or adds one thing somewhere. */
function mutate(object: KubeObject, random: () => number, pick: <T>(list: readonly T[]) => T): KubeObject {
  const copy = structuredClone(object);
  let at: Record<string, unknown> = copy;
  for (;;) {
    const keys = Object.keys(at);
    const key = keys.length === 0 ? "extra" : pick(keys);
    const next = at[key];
    if (typeof next === "object" && next !== null && random() < 0.85) { at = next as Record<string, unknown>; continue; }
    const roll = random();
    if (roll < 0.2) delete at[key];
    else if (roll < 0.3) at["extra"] = pick(WEIRD);
    else at[key] = pick(WEIRD);
    // As it would come off the wire.
    return JSON.parse(JSON.stringify(copy)) as KubeObject;
  }
}

/** All that is made of objects and read by somebody. */
const COMPARED = ["addresses", "authorizations", "statuses", "waypointConfigs", "scope", "services", "serviceEntries", "networkGateways", "waypointOptions"] as const;

function compare(live: Mesh, step: number): void {
  // The objects are there before anything is derived: a mesh that is told of them afterwards would share a missing dependency with the live one.
  const fresh = buildMesh(DEFAULT_SETTINGS, (sources) => { for (const k of kinds) for (const object of live.sources[k].list()) sources[k].set(object as never); });
  for (const what of COMPARED)
    assert.deepEqual(live[what].list(), fresh[what].list(), `step ${step}: ${what}`);
  // What is listed by a workload is sent: an unknown name is a hole or a wall, depending on whose ztunnel reads it.
  for (const a of live.addresses.list()) {
    if (a.kind === "workload") for (const name of a.workload.authorizationPolicies) assert.ok(live.authorizations.get(name), `${a.name} lists ${name}, which is not sent`);
    encodeAddress(a);
  }
  for (const p of live.authorizations.list()) encodePolicy(p);
  for (const c of live.waypointConfigs.list()) assert.ok(decodeWaypointConfig(encodeWaypointConfig(c.config)).ok);
}
