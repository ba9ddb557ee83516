// Owns the administrative HTTP surface of ztunnel: the dump, the explanation, the way to stop.
import { formatIdentity, formatSocketAddress, parseIp, parseSocketAddress, type SocketAddress, type Workload } from "@ambit/core";
import { parseAuthority } from "@ambit/hbone";
import { json, text, type Clock, type Reply, type Routes } from "@ambit/runtime";
import type { Config } from "../config.ts";
import { explainConnection } from "../plan/explain.ts";
import type { ListedConnection } from "../proxy/connections.ts";
import type { WireState } from "../proxy/wires.ts";
import type { PodInfo, StateView } from "@ambit/proxy/state";
import { cpuProfile, heapProfile } from "./profile.ts";
import { dumpCertificates, dumpPods, dumpPolicies, dumpServices, dumpStaged, dumpWorkloads, type DumpedCertificate } from "./dump.ts";

/** What flows now. */
export interface Live { readonly connections: readonly ListedConnection[]; readonly wires: readonly WireState[] }

export interface AdminSources {
  readonly config: Config;
  readonly view: () => StateView;
  readonly rejectedPolicies: () => Iterable<{ readonly key: string }>;
  readonly pods: () => readonly { readonly uid: string; readonly state: "Up" | "Pending"; readonly info: PodInfo }[];
  /** Of every thread. */
  readonly live: () => Promise<Live>;
  readonly clock: Clock;
  readonly certificates: () => readonly DumpedCertificate[];
  readonly random: () => number;
  readonly quit: () => void;
}

const PATHS = ["/config_dump", "/debug/connections", "/debug/explain?source=NAMESPACE/NAME&destination=HOST:PORT", "/debug/pprof/profile?seconds=10", "/debug/pprof/heap?seconds=10", "/logging?level=LEVEL (POST)", "/quitquitquit (POST)", "/metrics", "/healthz/ready"];

export function adminRoutes(s: AdminSources): Routes {
  return {
    "GET /": () => ({ type: "text/html; charset=utf-8", body: `<!doctype html><title>ztunnel</title><ul>${PATHS.map((p) => `<li>${p}</li>`).join("")}</ul>\n` }),
    "GET /config_dump": async () => json(configDump(s, await s.live())),
    "GET /debug/connections": async () => json(liveConnections(s, await s.live())),
    "GET /debug/pprof/profile": (query) => cpuProfile(query, s.clock),
    "GET /debug/pprof/heap": (query) => heapProfile(query, s.clock),
    "GET /debug/explain": (query) => explain(s, query),
    "POST /quitquitquit": () => { s.quit(); return text("shutdown now\n"); },
  };
}

function configDump(s: AdminSources, live: Live): Record<string, unknown> {
  const view = s.view();
  return {
    certificates: dumpCertificates(s.certificates()), config: withoutSecrets(s.config), policies: dumpPolicies(view), rejectedPolicies: [...s.rejectedPolicies()].map((r) => r.key).sort(),
    services: dumpServices(view), stagedServices: dumpStaged(view), staticConfig: {}, version: { version: "ambit", name: "ztunnel" },
    workloadState: dumpPods(podsWithConnections(s, live)), workloads: dumpWorkloads(view),
  };
}

/** A token may be given as itself, and headers may carry one. */
function withoutSecrets(config: Config): Record<string, unknown> {
  const plane = (c: Config["xds"]) => ({ ...c, token: c.token.startsWith("/") ? c.token : "[redacted]", headers: Object.fromEntries(Object.keys(c.headers).map((name) => [name, "[redacted]"])) });
  return { ...config, xds: plane(config.xds), ca: plane(config.ca) };
}

/** Every connection with its age and bytes, and the tunnels with what the kernel measured: both as they are now. */
function liveConnections(s: AdminSources, live: Live): Record<string, unknown> {
  return Object.fromEntries(podsWithConnections(s, live).map((p) => [p.uid, {
    info: p.info,
    connections: p.connections.map((c) => ({
      direction: c.direction, src: formatSocketAddress(c.src), originalDst: c.originalDst, actualDst: formatSocketAddress(c.actualDst), protocol: c.protocol, ageMs: c.ageMs, bytes: c.bytes,
    })),
    tunnels: live.wires.filter((w) => w.pod === p.uid).map(({ direction, local, peer, ageMs, proof, tcp }) => ({
      direction, local: local && formatSocketAddress(local), peer: formatSocketAddress(peer), ageMs, ...tcp,
      mutualTls: proof && { protocol: proof.protocol, cipher: proof.cipher, local: formatIdentity(proof.local), peer: formatIdentity(proof.peer) },
    })),
  }]));
}

const podsWithConnections = (s: AdminSources, live: Live) =>
  s.pods().map((p) => ({ uid: p.uid, state: p.state, info: { ...p.info }, connections: live.connections.filter((c) => c.pod === p.uid) }));

function explain(s: AdminSources, query: URLSearchParams): Reply {
  const view = s.view();
  const source = findWorkload(view, query.get("source") ?? "");
  if (source === undefined) return text(`no workload "${query.get("source") ?? ""}": source is NAMESPACE/NAME, a uid or an address\n`, 400);
  const destination = findDestination(view, query.get("destination") ?? "", source.namespace);
  if (destination === undefined) return text(`"${query.get("destination") ?? ""}" is neither ADDRESS:PORT nor the HOSTNAME:PORT of a service with a VIP\n`, 400);
  return json(explainConnection({ view, source, destination, network: s.config.network, random: s.random }));
}

function findWorkload(view: StateView, name: string): Workload | undefined {
  const ip = parseIp(name);
  if (ip.ok) return view.workloadAt("", ip.value);
  return view.workload(name) ?? [...view.workloads()].find((w) => `${w.namespace}/${w.name}` === name);
}

function findDestination(view: StateView, name: string, namespace: string): SocketAddress | undefined {
  const address = parseSocketAddress(name);
  if (address.ok) return address.value;
  const authority = parseAuthority(name);
  if (!authority.ok || authority.value.kind !== "hostname") return undefined;
  const vip = view.servicesNamed(authority.value.hostname, namespace)[0]?.vips[0];
  return vip && { ip: vip.cidr.ip, port: authority.value.port };
}
