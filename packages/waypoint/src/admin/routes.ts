// Owns the administrative surface of a waypoint: what it knows, what is open, and why a request would go where.
import { encodeWaypointConfig, formatIdentity } from "@ambit/core";
import type { CertStatus } from "@ambit/proxy/identity";
import { keyOf } from "@ambit/proxy/state";
import { json, type Routes } from "@ambit/runtime";
import type { Config } from "../config.ts";
import type { TcpProxy } from "../proxy/tcp.ts";
import type { WaypointState } from "../state/waypoint-state.ts";

export interface AdminSources {
  readonly config: Config;
  readonly state: WaypointState;
  readonly tcp: Pick<TcpProxy, "list">;
  readonly sessions: () => number;
  readonly certificates: () => readonly CertStatus[];
}

const PATHS = ["/config_dump", "/debug/connections", "/logging (POST)", "/metrics", "/healthz/ready"];

export function adminRoutes(s: AdminSources): Routes {
  return {
    "GET /": () => ({ type: "text/html; charset=utf-8", body: `<!doctype html><title>waypoint</title><ul>${PATHS.map((p) => `<li>${p}</li>`).join("")}</ul>\n` }),
    "GET /config_dump": () => json(configDump(s)),
    "GET /debug/connections": () => json({ http: s.sessions(), tcp: s.tcp.list() }),
  };
}

function configDump({ config, state, certificates }: AdminSources): Record<string, unknown> {
  const view = state.view();
  return {
    certificates: certificates().map((c) => ({ identity: formatIdentity(c.identity), state: c.state, usable: c.usable, serial: c.serial, notAfter: c.notAfter === undefined ? undefined : new Date(c.notAfter).toISOString(), error: c.error })),
    config: { ...config, xds: { ...config.xds, token: undefined }, ca: { ...config.ca, token: undefined } },
    refusedConfiguration: state.refused,
    waypoint: state.config === undefined ? undefined : (JSON.parse(encodeWaypointConfig(state.config)) as unknown),
    services: [...view.services()].map((service) => ({ service: keyOf(service), endpoints: view.members(keyOf(service)).length })).sort((a, b) => (a.service < b.service ? -1 : 1)),
  };
}
