// Owns the debug endpoints' answers, whichever way they are asked: /debug/syncz, appliedz, config_dump, mesh, list; scoped to the asker. Pure.
import { policyKey } from "@ambit/core";
import { AUTHORIZATION_TYPE, type ClientStatus } from "@ambit/xds";
import type { Mesh } from "../collections/graph.ts";
import { appliedPolicies, proxyFor, subscribed, syncStatuses, type Asker } from "./view.ts";

/** Undefined: there is no such endpoint, or not for this asker. */
export type DebugRoutes = (path: string, query: URLSearchParams, asker: Asker) => unknown;

/** Of the whole mesh: for the root namespace only. */
const MESH_WIDE = ["/debug/mesh", "/debug/networkz"];
const SCOPED = ["/debug/syncz", "/debug/config_dump", "/debug/connections", "/debug/appliedz", "/debug/list"];
export const DEBUG_PATHS: readonly string[] = [...SCOPED, ...MESH_WIDE];

export function debugRoutes(o: { mesh: Mesh; clients: () => readonly ClientStatus[]; about: { clusterId: string; version: string } }): DebugRoutes {
  return (path, query, asker) => {
    if (MESH_WIDE.includes(path) && asker.identity.namespace !== asker.rootNamespace) return undefined;
    switch (path) {
      case "/debug/list": return DEBUG_PATHS.filter((p) => SCOPED.includes(p) || asker.identity.namespace === asker.rootNamespace);
      case "/debug/syncz": {
        const namespace = query.get("namespace");
        return syncStatuses(o.clients().filter((c) => namespace === null || c.identity.namespace === namespace), asker, o.about);
      }
      case "/debug/connections": return syncStatuses(o.clients(), asker, o.about).map((s) => ({ connectionId: s.proxy, type: s.proxy_type, watches: Object.keys(s.resources) }));
      case "/debug/appliedz": return appliedPolicies(o.mesh.authorizations.list().map(policyKey), AUTHORIZATION_TYPE, o.clients(), asker);
      case "/debug/config_dump": {
        const client = proxyFor(o.clients(), asker, query.get("proxyID") ?? "");
        return client === undefined ? undefined : configDump(o.mesh, client);
      }
      case "/debug/mesh": return o.mesh.scope.get("mesh");
      case "/debug/networkz": return o.mesh.networkGateways.list();
      default: return undefined;
    }
  };
}

/** What this proxy is told, type by type, and how far it has come; a ztunnel's own dump says what it made of it. */
function configDump(mesh: Mesh, client: ClientStatus): unknown {
  const [, , name = ""] = client.proxyId.split("~");
  return {
    proxy: client.proxyId, role: client.role, node: client.node, connectedSince: new Date(client.connectedSince).toISOString(),
    types: Object.fromEntries(subscribed(client)),
    ...(client.role === "ztunnel" ? { resources: { addresses: mesh.addresses.size, authorizations: mesh.authorizations.size } } : { pod: name }),
  };
}
