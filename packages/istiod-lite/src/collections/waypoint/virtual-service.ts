// Owns how a VirtualService for the mesh is read: hosts, HTTP, TLS and TCP routes in its own order (l7-traffic.md §1, §2).
import type { Context } from "@ambit/collections";
import { describeProblems, parseCidr, type Backend, type Cidr, type Filters, type HttpRoute, type Mirror, type Problem, type RequestMatch, type RouteAction, type RouteOrigin, type TcpRoute, type WeightedBackend } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "../decode.ts";
import { serviceOfHost, type BackendInputs } from "./backends.ts";
import { NO_FILTERS } from "./filters.ts";
import { exportsOf, fullHost } from "./istio-hosts.ts";
import { ANY_REQUEST } from "./match-decode.ts";
import { ALWAYS, integer, istioDuration, percentage } from "./read.ts";
import { directResponse, faultOf, headersOf, rewriteOf, vsCors, vsRedirect, vsRetry } from "./vs-actions.ts";
import { forMesh, sourceOf, vsHttpMatch, type VsMatch } from "./vs-match.ts";

/** The port that the client dialled: a destination that names none. */
export const SAME_PORT = 0;

/** `port` undefined: on any port. */
export interface OnPort<T> { readonly port: number | undefined; readonly route: T }

export interface VirtualServiceInfo {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: number;
  readonly hosts: readonly string[];
  readonly exportTo: readonly string[];
  readonly http: readonly OnPort<HttpRoute>[];
  /** Places in `http` where the routes of another one belong. Empty once they are there (`withDelegates`). */
  readonly delegations: readonly Delegation[];
  readonly tls: readonly OnPort<TcpRoute>[];
  readonly tcp: readonly OnPort<TcpRoute>[];
  readonly problems: readonly Problem[];
  /** Destinations that are not there. */
  readonly missing: readonly string[];
}

export interface Delegation {
  /** They come before this index of `http`. */
  readonly before: number;
  /** `namespace/name`. */
  readonly to: string;
  readonly path: string;
  readonly matches: readonly VsMatch[];
  readonly origin: RouteOrigin;
}

/** Istio has no bound; the whole of it goes to every replica on every change. */
const ROUTES_MAX = 1_024;
const HTTP = ["name", "match", "route", "redirect", "directResponse", "rewrite", "timeout", "retries", "fault", "mirror", "mirrors", "mirrorPercentage", "mirrorPercent", "mirror_percent", "corsPolicy", "headers", "delegate"];

/** No path is empty. */
const NO_REQUEST: RequestMatch = { ...ANY_REQUEST, path: { kind: "exact", value: "", ignoreCase: false } };

interface Reading { readonly ctx: Context; readonly inputs: BackendInputs; readonly namespace: string; readonly reader: Reader; readonly missing: string[] }

/** undefined: it is for gateways only. */
export function virtualServiceOf(inputs: BackendInputs) {
  return (ctx: Context, o: KubeObject): VirtualServiceInfo | undefined => {
    const { name, namespace = "" } = o.metadata;
    const reader = new Reader();
    const spec = reader.object(o["spec"], "spec", ["hosts", "gateways", "http", "tls", "tcp", "exportTo"]) ?? {};
    if (!forMesh(reader, spec["gateways"], "spec.gateways")) return undefined;
    const missing: string[] = [];
    const createdAt = Date.parse(o.metadata.creationTimestamp ?? "") || 0;
    const hosts = (reader.list(spec["hosts"], "spec.hosts") ?? []).flatMap((h, i) => {
      const text = reader.text(h, `spec.hosts[${i}]`);
      return text === undefined ? [] : [fullHost(inputs.settings, namespace, text)];
    });
    const problems: Problem[] = [...reader.problems];
    const whole = problems.length > 0 ? describeProblems(problems) : undefined;
    const each = <T>(field: "http" | "tls" | "tcp", read: (r: Reading, about: RouteOrigin, path: string, value: unknown) => OnPort<T>[]): OnPort<T>[] => {
      const list = reader.list(spec[field], `spec.${field}`) ?? [];
      if (list.length > ROUTES_MAX) problems.push({ path: `spec.${field}`, message: `has more than ${ROUTES_MAX} entries` });
      return list.slice(0, ROUTES_MAX).flatMap((value, rule) => {
        const own = new Reader();
        const out = read({ ctx, inputs, namespace, reader: own, missing }, { kind: "VirtualService", namespace, name, rule, ruleName: undefined, match: 0, createdAt }, `spec.${field}[${rule}]`, value);
        problems.push(...own.problems);
        return out;
      });
    };
    const delegations: Delegation[] = [];
    let placed = 0;
    const http = each("http", (r, about, path, value) => {
      const made = httpRoutes(r, about, path, value);
      placed += made.routes.length;
      if (made.delegation !== undefined) delegations.push({ ...made.delegation, before: placed });
      return made.routes;
    });
    const tls = each("tls", (r, about, path, value) => l4Routes(r, about, path, value, true));
    const tcp = each("tcp", (r, about, path, value) => l4Routes(r, about, path, value, false));
    return {
      key: `${namespace}/${name}`, namespace, name, createdAt, hosts, exportTo: exportsOf(reader, spec["exportTo"]), problems, missing, tls, tcp, delegations: whole === undefined ? delegations : [],
      http: whole === undefined ? http : http.map((h) => ({ ...h, route: { ...h.route, action: { kind: "fail", status: 500, why: whole } } })),
    };
  };
}

/** A match that is not understood matches nothing; what else is not understood fails what the route matches. */
function httpRoutes(r: Reading, about: RouteOrigin, path: string, value: unknown): { routes: OnPort<HttpRoute>[]; delegation?: Delegation } {
  const { reader } = r;
  const fields = reader.object(value, path, HTTP) ?? {};
  const origin = { ...about, ruleName: reader.text(fields["name"], `${path}.name`) || undefined };
  const list = reader.list(fields["match"], `${path}.match`) ?? [];
  const matching = reader.problems.length;
  const matches = list.length === 0 ? [{ match: ANY_REQUEST, name: undefined, port: undefined }] : list.map((m, i) => vsHttpMatch(reader, m, `${path}.match[${i}]`));
  const blind = reader.problems.length > matching;
  if (fields["delegate"] !== undefined) return delegationOf(r, fields, path, origin, blind ? [] : matches.filter((m) => m !== undefined));
  const rewrite = rewriteOf(reader, fields["rewrite"], `${path}.rewrite`);
  const headers = headersOf(reader, fields["headers"], `${path}.headers`);
  const timeout = istioDuration(reader, fields["timeout"], `${path}.timeout`) || undefined;
  const { retry, perTryMs } = vsRetry(reader, fields["retries"], `${path}.retries`);
  const fault = faultOf(reader, fields["fault"], `${path}.fault`);
  const action = actionOf(r, fields, path);
  const base: Filters = { request: headers.request, response: headers.response, rewrite: undefined, mirrors: mirrorsOf(r, fields, path), cors: vsCors(reader, fields["corsPolicy"], `${path}.corsPolicy`) };
  const done: RouteAction = reader.problems.length > 0 ? { kind: "fail", status: 500, why: describeProblems(reader.problems) } : action;
  return { routes: matches.filter((m): m is VsMatch => m !== undefined).map((m, i) => ({
    port: m.port,
    route: {
      origin: { ...origin, match: i, ruleName: m.name === undefined ? origin.ruleName : `${origin.ruleName ?? ""}.${m.name}` }, match: blind ? NO_REQUEST : m.match, action: done, fault, session: undefined, retry,
      filters: { ...base, rewrite: rewrite(m.match) }, timeouts: { requestMs: timeout, attemptMs: perTryMs },
    },
  })) };
}

/** It says where, and leaves all else to the other one. */
function delegationOf(r: Reading, fields: Fields, path: string, origin: RouteOrigin, matches: readonly VsMatch[]): { routes: []; delegation?: Delegation } {
  const { reader } = r;
  const ref = reader.object(fields["delegate"], `${path}.delegate`, ["name", "namespace"]);
  const name = reader.text(ref?.["name"], `${path}.delegate.name`) ?? "";
  if (name === "") reader.refuse(`${path}.delegate.name`, "is missing");
  for (const field of Object.keys(fields)) if (!["name", "match", "delegate"].includes(field)) reader.refuse(`${path}.${field}`, "must not be given together with delegate");
  const namespace = reader.text(ref?.["namespace"], `${path}.delegate.namespace`) || r.namespace;
  return reader.problems.length > 0 ? { routes: [] } : { routes: [], delegation: { before: 0, to: `${namespace}/${name}`, path, matches, origin } };
}

function actionOf(r: Reading, fields: Fields, path: string): RouteAction {
  const { reader } = r;
  const redirect = vsRedirect(reader, fields["redirect"], `${path}.redirect`);
  const direct = directResponse(reader, fields["directResponse"], `${path}.directResponse`);
  const backends = (reader.list(fields["route"], `${path}.route`) ?? []).map((d, i) => destination(r, d, `${path}.route[${i}]`, true));
  const said = [redirect, direct, backends.length > 0 ? backends : undefined].filter((x) => x !== undefined).length;
  if (said !== 1) reader.refuse(path, said === 0 ? "must have a route, a redirect or a directResponse" : "route, redirect and directResponse exclude each other");
  // A destination that is alone gets everything, whatever its weight.
  const shares = backends.length === 1 ? backends.map((b) => ({ ...b, weight: 1 })) : backends;
  return redirect !== undefined ? { kind: "redirect", redirect } : direct ?? { kind: "forward", backends: shares };
}

function mirrorsOf(r: Reading, fields: Fields, path: string): Mirror[] {
  const { reader } = r;
  const share = (value: unknown, at: string) => percentage(reader, reader.object(value, at, ["value"])?.["value"], `${at}.value`);
  const one = (value: unknown, at: string, fraction: Mirror["fraction"]): Mirror[] => {
    const found = backendOf(r, value, at);
    return typeof found === "string" ? [] : [{ backend: found, fraction }];
  };
  const many = (reader.list(fields["mirrors"], `${path}.mirrors`) ?? []).flatMap((m, i) => {
    const at = `${path}.mirrors[${i}]`;
    const entry = reader.object(m, at, ["destination", "percentage"]) ?? {};
    return one(entry["destination"], `${at}.destination`, share(entry["percentage"], `${at}.percentage`) ?? ALWAYS);
  });
  if (fields["mirror"] === undefined) return many;
  if (many.length > 0) reader.refuse(`${path}.mirror`, "must not be given together with mirrors");
  const old = fields["mirrorPercent"] ?? fields["mirror_percent"];
  return one(fields["mirror"], `${path}.mirror`, share(fields["mirrorPercentage"], `${path}.mirrorPercentage`) ?? percentage(reader, old, `${path}.mirrorPercent`) ?? ALWAYS);
}

function destination(r: Reading, value: unknown, path: string, http: boolean): WeightedBackend {
  const { reader } = r;
  const fields = reader.object(value, path, ["destination", "weight", ...(http ? ["headers"] : [])]) ?? {};
  const weight = integer(reader, fields["weight"], `${path}.weight`, 0, 2 ** 31 - 1) ?? 0;
  const headers = headersOf(reader, fields["headers"], `${path}.headers`);
  const filters: Filters = { ...NO_FILTERS, request: headers.request, response: headers.response };
  const found = backendOf(r, fields["destination"], `${path}.destination`);
  return typeof found === "string" ? { kind: "invalid", why: found, weight, filters } : { kind: "service", backend: found, weight, filters };
}

/** Or why it is none. */
function backendOf(r: Reading, value: unknown, path: string): Backend | string {
  const { reader } = r;
  const fields = reader.object(value, path, ["host", "subset", "port"]) ?? {};
  const host = fullHost(r.inputs.settings, r.namespace, reader.text(fields["host"], `${path}.host`) ?? "");
  const number = reader.object(fields["port"], `${path}.port`, ["number"])?.["number"];
  const port = number === undefined ? undefined : reader.port(number, `${path}.port.number`);
  const service = serviceOfHost(r.ctx, r.inputs, host, r.namespace);
  const ports = service?.ports.filter((p) => p.tcp) ?? [];
  const why = service === undefined ? `no service that is reachable from namespace ${r.namespace} has the host ${host}` : port !== undefined && !ports.some((p) => p.port === port) ? `${host} has no port ${port}` : undefined;
  if (service === undefined || why !== undefined) {
    r.missing.push(`${path}: ${why ?? ""}`);
    return why ?? "";
  }
  return { service: service.key, port: port ?? (ports.length === 1 ? (ports[0]?.port ?? SAME_PORT) : SAME_PORT), subset: reader.text(fields["subset"], `${path}.subset`) || undefined };
}

const L4_MATCH = ["port", "gateways", "sourceLabels", "sourceNamespace", "destinationSubnets"];
/** Of one match. */
const SUBNETS_MAX = 256;

function l4Routes(r: Reading, about: RouteOrigin, path: string, value: unknown, tls: boolean): OnPort<TcpRoute>[] {
  const { reader } = r;
  const fields = reader.object(value, path, ["match", "route"]) ?? {};
  const backends = (reader.list(fields["route"], `${path}.route`) ?? []).map((d, i) => destination(r, d, `${path}.route[${i}]`, false));
  const list = reader.list(fields["match"], `${path}.match`) ?? [];
  const shares = backends.length === 1 ? backends.map((b) => ({ ...b, weight: 1 })) : backends;
  return (list.length === 0 ? [{}] : list).flatMap((m, match): OnPort<TcpRoute>[] => {
    const at = `${path}.match[${match}]`;
    const entry = reader.object(m, at, [...L4_MATCH, ...(tls ? ["sniHosts"] : [])]) ?? {};
    if (!forMesh(reader, entry["gateways"], `${at}.gateways`)) return [];
    const sniHosts = tls && entry["sniHosts"] !== undefined ? (reader.texts(entry["sniHosts"], `${at}.sniHosts`) ?? []).map((h) => h.toLowerCase()) : [];
    const port = entry["port"] === undefined || entry["port"] === 0 ? undefined : reader.port(entry["port"], `${at}.port`);
    const source = sourceOf(reader, entry, at);
    const subnets = entry["destinationSubnets"] === undefined ? undefined : subnetsOf(reader, entry["destinationSubnets"], `${at}.destinationSubnets`);
    const refused = reader.problems.length > 0 ? describeProblems(reader.problems) : undefined;
    return [{ port, route: { origin: { ...about, match }, sniHosts, ...source, ...(subnets === undefined || refused !== undefined ? {} : { destinationSubnets: subnets }), backends: refused === undefined ? shares : [{ kind: "invalid", why: refused, weight: 1, filters: NO_FILTERS }] } }];
  });
}

/** An empty list is no condition, as in Istio. */
function subnetsOf(reader: Reader, value: unknown, path: string): Cidr[] | undefined {
  const texts = reader.texts(value, path) ?? [];
  if (texts.length > SUBNETS_MAX) reader.refuse(path, `has more than ${SUBNETS_MAX} entries`);
  const blocks = texts.slice(0, SUBNETS_MAX).flatMap((t, i): Cidr[] => {
    const parsed = parseCidr(t);
    return parsed.ok ? [parsed.value] : (reader.refuse(`${path}[${i}]`, parsed.error) ?? []);
  });
  return texts.length === 0 ? undefined : blocks;
}
