// Owns the debug endpoints over HTTP: on loopback everything as it is, on the monitoring port only for who proves to be somebody (S39).
import { Metadata } from "@grpc/grpc-js";
import { json, text, type Routes } from "@ambit/runtime";
import type { Authenticated } from "@ambit/xds";
import type { Mesh } from "../collections/graph.ts";
import type { Config } from "../config.ts";
import { DEBUG_PATHS, type DebugRoutes } from "./routes.ts";

/** What must be there before anything can be answered. */
export interface Debugging {
  readonly routes: DebugRoutes;
  authenticate(metadata: Metadata): Promise<Authenticated>;
}

/** The same token as for xDS, as `authorization: Bearer …`; the answer is what its namespace may see. */
export function guardedRoutes(debugging: () => Debugging | undefined, rootNamespace: string): Routes {
  return Object.fromEntries(DEBUG_PATHS.map((path) => [`GET ${path}`, async (query, _body, caller) => {
    const now = debugging();
    if (now === undefined) return text("not ready\n", 503);
    const metadata = new Metadata();
    if (caller.authorization !== undefined) metadata.set("authorization", caller.authorization);
    const verdict = await now.authenticate(metadata);
    if (!("identity" in verdict)) return verdict.unavailable === true ? text("tokens cannot be reviewed now\n", 503) : text("authentication failure\n", 401);
    const value = now.routes(path, query, { identity: verdict.identity, rootNamespace });
    return value === undefined ? text(`nothing that ${verdict.identity.namespace} may see\n`, 403) : json(value);
  }]));
}

/** Whoever is inside the pod is the control plane. */
export function loopbackRoutes(mesh: Mesh, routes: DebugRoutes, config: Config): Routes {
  const asker = { identity: { namespace: config.namespace }, rootNamespace: config.namespace };
  return {
    "GET /config_dump": () => json({
      config, addresses: mesh.addresses.list().map(plain), authorizations: mesh.authorizations.list(), waypoints: mesh.waypointConfigs.list().map(plain), waypointOptions: mesh.waypointOptions.list().map(plain),
    }),
    ...Object.fromEntries(DEBUG_PATHS.map((path) => [`GET ${path}`, (query: URLSearchParams) => {
      const value = routes(path, query, asker);
      return value === undefined ? text("no such proxy\n", 404) : json(value);
    }])),
  };
}

/** Maps as objects, for reading. */
const plain = (value: unknown): unknown =>
  value instanceof Map ? Object.fromEntries([...value].map(([k, v]) => [k, plain(v)])) : Array.isArray(value) ? value.map(plain)
    : typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)])) : value;
