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
const SEED = Number(process.env["MESH_FUZZ_SEED"] ?? 7);
const WEIRD: readonly unknown[] = [null, "", "*", "\u0000", 0, -1, 1e9, NaN, true, [], {}, [null], [[]], ["*"], { a: null }, "__proto__", "10.0.0.0/8", "x".repeat(300)];

const kinds = Object.keys(buildMesh(DEFAULT_SETTINGS).sources) as SourceName[];
const corpus = FOLDERS.flatMap((folder) => goldenCases(folder).flatMap((name) => loadAll(readFileSync(join(folder, name, "input.yaml"), "utf8")) as KubeObject[]))
  .flatMap((object) => { const source = kinds.find((k) => SOURCE_KINDS[k].kind === object?.kind); return source === undefined ? [] : [{ source, object }]; });

describe("the mesh under random objects", () => {
  it(`equals a mesh built from scratch, and never throws, over ${STEPS} batches (seed ${SEED})`, () => {
    const random = seededRandom(SEED);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const live = buildMesh(DEFAULT_SETTINGS);
    for (let step = 0; step < STEPS; step++) {
      live.batch(() => {
        for (let n = 1 + Math.floor(random() * 4); n > 0; n--) {
          const { source, object } = pick(corpus);
          const key = objectKey(object);
          if (random() < 0.25) live.sources[source].delete(key);
          else put(live, source, random() < 0.5 ? object : mutate(object, random, pick));
        }
      });
      if (step % 50 === 0 || step === STEPS - 1) compare(live, step);
    }
  }).timeout(120_000);
});

function put(mesh: Mesh, source: SourceName, object: KubeObject): void {
  const admitted = admit(source, object);
  if (admitted.ok) mesh.sources[source].set(admitted.value as never);
}

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

function compare(live: Mesh, step: number): void {
  const fresh = buildMesh(DEFAULT_SETTINGS);
  fresh.batch(() => { for (const k of kinds) for (const object of live.sources[k].list()) fresh.sources[k].set(object as never); });
  for (const what of ["addresses", "authorizations", "statuses", "waypointConfigs"] as const)
    assert.deepEqual(live[what].list(), fresh[what].list(), `step ${step}: ${what}`);
  // What is listed by a workload is sent: an unknown name is a hole or a wall, depending on whose ztunnel reads it.
  for (const a of live.addresses.list()) {
    if (a.kind === "workload") for (const name of a.workload.authorizationPolicies) assert.ok(live.authorizations.get(name), `${a.name} lists ${name}, which is not sent`);
    encodeAddress(a);
  }
  for (const p of live.authorizations.list()) encodePolicy(p);
  for (const c of live.waypointConfigs.list()) assert.ok(decodeWaypointConfig(encodeWaypointConfig(c.config)).ok);
}
