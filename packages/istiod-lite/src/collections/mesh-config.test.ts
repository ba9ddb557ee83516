import assert from "node:assert/strict";
import type { Collection } from "@ambit/collections";
import type { ServiceInfo } from "./services.ts";
import { decodeMeshConfig, FOR_WAYPOINTS, NO_MESH_CONFIG } from "./mesh-config.ts";
import type { MeshScope } from "./scope.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";
import { meshOptionsOf } from "./waypoint/mesh-options.ts";

describe("mesh-wide settings", () => {
  it("for waypoints: each that is taken is read, none is taken and then ignored", () => {
    const read = new Set<string>();
    const forWaypoints = new Proxy({}, { get: (_target, name) => { read.add(String(name)); return undefined; } });
    const nothing: Collection<ServiceInfo> = undefined as never;
    meshOptionsOf({ settings: DEFAULT_SETTINGS, services: nothing, servicesByHost: undefined as never })(undefined as never, { config: { ...NO_MESH_CONFIG, forWaypoints } } as MeshScope);
    assert.deepEqual([...read].sort(), [...FOR_WAYPOINTS].sort());
  });

  it("without effect here: named", () => {
    const config = decodeMeshConfig({ kind: "ConfigMap", metadata: { name: "istio" }, data: { mesh: "connectTimeout: 5s\nlocalityLbSetting: {enabled: true}\nenableTracing: true\naccessLogFile: /dev/stdout\n" } });
    assert.ok(config.ok);
    assert.deepEqual([config.value.withoutEffect, Object.keys(config.value.forWaypoints)], [["connectTimeout", "enableTracing", "localityLbSetting"], ["accessLogFile"]]);
  });
});
