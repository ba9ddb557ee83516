// Owns the choice where a request goes once its backend is known: one endpoint, and the hop to it. The facts that change by the moment are hints.
import {
  cookieValue, eligible, fieldValue, firstParameter, nearest, pickForClient, pickWeighted, sameIdentity, parseIdentity, trafficSettings,
  type Backend, type Candidate, type HashKey, type Identity, type Ip, type Service, type SessionPersistence, type SocketAddress, type TrafficSettings, type WaypointConfig, type Workload,
} from "@ambit/core";
import type { JoinedEndpoint, StateView } from "@ambit/proxy/state";
import { buildMaglev, buildRing, hashText, type HashTables } from "./balance/hash.ts";
import { chooseLocality } from "./balance/locality.ts";
import { pickInTurn, pickLeastRequest, warmShare, type PickHints } from "./balance/weight.ts";
import { backendUnknown, noHealthyUpstream } from "./reply.ts";
import type { Because, LocalReply } from "./request-plan.ts";
import { readSession, rememberSession, type SessionSeal } from "./session.ts";

/** The port on which every ztunnel takes tunnels for its pods. */
export const HBONE_PORT = 15008;

export interface UpstreamHints extends PickHints {
  /** The client's workload; undefined: not known. */
  readonly client: Workload | undefined;
  /** The network that we are on. */
  readonly network: string;
  readonly ejected: (uid: string) => boolean;
  /** Where this request has been already: avoided while there is somebody else (not by consistent hashing). */
  readonly excluded: ReadonlySet<string>;
  readonly tables: HashTables;
  /** What consistent hashing and sessions look at. TCP has no fields. */
  readonly sourceIp: Ip;
  readonly fields: readonly string[];
  readonly query: string | undefined;
  readonly session: { readonly rule: SessionPersistence; readonly seal: SessionSeal } | undefined;
  /** Answers of DNS for workloads that have only a name. */
  readonly hosts: ReadonlyMap<string, readonly Ip[]>;
  /** False: nobody reads `because`, and it stays empty. */
  readonly reasons?: boolean;
}

export type NextHop =
  /** HBONE to the workload's ztunnel, which must prove one of `expect`. */
  | { readonly kind: "tunnel"; readonly at: SocketAddress; readonly target: SocketAddress; readonly expect: readonly [Identity, ...Identity[]] }
  /** A workload outside the mesh: plain TCP is all it understands. */
  | { readonly kind: "direct"; readonly at: SocketAddress };

export type UpstreamPlan =
  | {
    readonly kind: "endpoint";
    readonly workload: Workload;
    readonly service: Service | undefined;
    readonly port: number;
    readonly hop: NextHop;
    readonly settings: TrafficSettings;
    /** Fields for the answer (cookies of sessions and of hashing), names and values in turn. */
    readonly answerFields: readonly string[];
    readonly because: readonly Because[];
  }
  | { readonly kind: "none"; readonly reply: LocalReply; readonly because: readonly Because[] }
  | { readonly kind: "need"; readonly hostname: string };

export type EndpointPlan = Extract<UpstreamPlan, { kind: "endpoint" }>;

/** A service's endpoint. `random` is uniform in [0, 1). */
export function planUpstream(view: Pick<StateView, "service" | "endpoints" | "members">, config: Pick<WaypointConfig, "traffic" | "workloadLabels">, backend: Backend, hints: UpstreamHints, random: () => number): UpstreamPlan {
  const because: Because[] | undefined = hints.reasons === false ? undefined : [];
  const service = view.service(backend.service);
  if (service === undefined) return { kind: "none", reply: backendUnknown(`${backend.service} is not known`), because: because ?? NO_REASONS };
  const group = groupOf(service, view.endpoints(backend.service), config, backend, hints.network);
  if (group === undefined) return { kind: "none", reply: backendUnknown(`${backend.service} has no subset ${backend.subset ?? ""}`), because: because ?? NO_REASONS };
  const { able, settings } = group;

  const near = able.length < 2 ? able : nearEnough(group, config, hints, random);
  const well = settings.outlier === undefined && hints.excluded.size === 0 ? near : withoutEjected(near, settings, hints);
  because?.push({ step: "endpoints", saw: `${view.members(backend.service).length} in all, ${able.length} able, ${near.length} near enough`, chose: `${well.length} to choose from` });

  // Most requests ask for no particular endpoint and leave no mark.
  if (because === undefined && balancesPlainly(group, hints)) {
    const endpoint = pickLeastRequest(well, capacityOf, hints, random);
    return endpoint === undefined ? { kind: "none", reply: noHealthyUpstream, because: NO_REASONS } : shared(endpoint, group, hints);
  }
  const chosen = hints.session === undefined ? undefined : chosenBySession(well, backend, hints);
  const choice = chosen ?? chosenByBalancer(well, group, backend, hints, random);
  if (choice === undefined) return { kind: "none", reply: noHealthyUpstream, because: because ?? NO_REASONS };
  because?.push({ step: "endpoint", saw: settings.balancer.kind, chose: `${choice.candidate.workload.uid} port ${choice.candidate.port}` });
  return because === undefined && choice.answerFields.length === 0 ? shared(choice.candidate, group, hints) : finish(choice, service, settings, hints, because ?? NO_REASONS);
}

/** Where `chosenByBalancer` would do no more than draw two by their capacity. */
const balancesPlainly = ({ settings: { balancer, warmup }, ruled, service }: Group, { session }: UpstreamHints): boolean =>
  (balancer.kind === "least-request" || balancer.kind === "passthrough") && warmup === undefined && session === undefined && (ruled || service.clientAffinityMs === undefined);

const NO_REASONS: readonly Because[] = [];
const NO_FIELDS: readonly string[] = [];

/** Pod traffic goes on to the pod it was meant for. */
export function planWorkload(workload: Workload, port: number, hints: Pick<UpstreamHints, "hosts" | "network">, settings: TrafficSettings): UpstreamPlan {
  const because: Because[] = [{ step: "endpoint", saw: "pod traffic", chose: `${workload.uid} port ${port}` }];
  if (workload.network !== hints.network) return { kind: "none", reply: noHealthyUpstream, because: [...because, { step: "network", saw: workload.network, chose: "another network cannot be reached" }] };
  return finish({ candidate: { workload, port }, answerFields: NO_FIELDS }, undefined, settings, hints, because);
}

/** An endpoint that may take requests for one backend, and the plan of going there, which is the same for all of them. */
class AbleEndpoint implements Candidate {
  readonly workload: Workload;
  readonly port: number;
  plan: EndpointPlan | undefined = undefined;

  constructor({ workload, port }: Candidate) {
    this.workload = workload;
    this.port = port;
  }
}

/** What a backend comes to while neither the configuration nor the endpoints change. */
interface Group {
  readonly config: Pick<WaypointConfig, "traffic" | "workloadLabels">;
  readonly service: Service;
  readonly joined: readonly JoinedEndpoint[];
  readonly network: string;
  readonly settings: TrafficSettings;
  /** A rule for traffic says something about this destination. */
  readonly ruled: boolean;
  readonly able: readonly AbleEndpoint[];
  /** By client, where the service prefers near ones. */
  readonly near: WeakMap<Workload, readonly AbleEndpoint[]>;
}

/** Backends belong to a configuration. All that a group is made of is compared: each version of a service and of its endpoints is an object of its own. */
const groups = new WeakMap<Backend, Group>();

/** Undefined: there is no such subset. */
function groupOf(service: Service, joined: readonly JoinedEndpoint[], config: Pick<WaypointConfig, "traffic" | "workloadLabels">, backend: Backend, network: string): Group | undefined {
  const known = groups.get(backend);
  if (known !== undefined && known.service === service && known.joined === joined && known.config === config && known.network === network) return known;
  const policy = config.traffic.get(backend.service);
  if (backend.subset !== undefined && policy?.subsets.get(backend.subset) === undefined) return undefined;
  const able = eligible(service, joined, backend.port, network).filter((c) => c.workload.network === network && inSubset(c, backend, config)).map((c) => new AbleEndpoint(c));
  const group: Group = { config, service, joined, network, settings: trafficSettings(policy, backend), ruled: policy?.origin !== undefined, able, near: new WeakMap() };
  groups.set(backend, group);
  return group;
}

function nearEnough({ able, settings, service, near }: Group, config: Pick<WaypointConfig, "workloadLabels">, hints: UpstreamHints, random: () => number): readonly AbleEndpoint[] {
  const { client } = hints;
  if (client === undefined) return able;
  if (settings.locality !== undefined) return chooseLocality(able, settings.locality, service.loadBalancing, {
    client, ejected: hints.ejected, labelsOf: (uid) => config.workloadLabels.get(uid) ?? {}, clientLabels: config.workloadLabels.get(client.uid) ?? {},
  }, random);
  if (service.loadBalancing === undefined) return able;
  let list = near.get(client);
  if (list === undefined) near.set(client, (list = nearest(able, service.loadBalancing, client)));
  return list;
}

interface Choice<C extends Candidate = AbleEndpoint> { readonly candidate: C; readonly answerFields: readonly string[] }

/** The plan that every request to this endpoint has; one whose address DNS says is made each time. */
function shared(endpoint: AbleEndpoint, { service, settings }: Group, hints: Pick<UpstreamHints, "hosts">): UpstreamPlan {
  if (endpoint.plan !== undefined) return endpoint.plan;
  const plan = finish({ candidate: endpoint, answerFields: NO_FIELDS }, service, settings, hints, NO_REASONS);
  if (plan.kind === "endpoint" && endpoint.workload.addresses.length > 0) endpoint.plan = plan;
  return plan;
}

function finish({ candidate: { workload, port }, answerFields }: Choice<Candidate>, service: Service | undefined, settings: TrafficSettings, hints: Pick<UpstreamHints, "hosts">, because: readonly Because[]): UpstreamPlan {
  const ip = workload.addresses[0] ?? hints.hosts.get(workload.hostname)?.[0];
  if (ip === undefined) return hints.hosts.has(workload.hostname) || workload.hostname === "" ? { kind: "none", reply: noHealthyUpstream, because } : { kind: "need", hostname: workload.hostname };
  return { kind: "endpoint", workload, service, port, settings, answerFields, because, hop: hopTo(workload, ip, port, service) };
}

interface KnownHop { readonly ip: Ip; readonly port: number; readonly service: Service | undefined; readonly hop: NextHop }
/** Kept of one workload at most; then all are made again. */
const HOPS_MAX = 16;
/** A workload's version never changes, so every request to one of its ports takes the same hop, and what is known of that hop elsewhere is found by it. */
const hopsOf = new WeakMap<Workload, KnownHop[]>();

function hopTo(workload: Workload, ip: Ip, port: number, service: Service | undefined): NextHop {
  let known = hopsOf.get(workload);
  if (known === undefined) hopsOf.set(workload, (known = []));
  for (const k of known) if (k.port === port && k.service === service && k.ip === ip) return k.hop;
  const hop = makeHop(workload, ip, port, service);
  if (known.length >= HOPS_MAX) known.length = 0;
  known.push({ ip, port, service, hop });
  return hop;
}

function makeHop(workload: Workload, ip: Ip, port: number, service: Service | undefined): NextHop {
  if (workload.protocol !== "hbone") return { kind: "direct", at: { ip, port } };
  const more = (service?.subjectAltNames ?? []).map(parseIdentity).flatMap((r) => (r.ok && !sameIdentity(r.value, workload.identity) ? [r.value] : []));
  return { kind: "tunnel", at: { ip, port: HBONE_PORT }, target: { ip, port }, expect: [workload.identity, ...more] };
}

function inSubset({ workload }: Candidate, { service, subset }: Backend, config: Pick<WaypointConfig, "traffic" | "workloadLabels">): boolean {
  const wanted = subset === undefined ? undefined : config.traffic.get(service)?.subsets.get(subset)?.labels;
  if (wanted === undefined) return true;
  const labels = config.workloadLabels.get(workload.uid) ?? {};
  return Object.entries(wanted).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value);
}

/** Ejected ones are left out unless that would leave too few (panic); places already tried unless there is no other. */
function withoutEjected(candidates: readonly AbleEndpoint[], { outlier, balancer }: TrafficSettings, hints: UpstreamHints): readonly AbleEndpoint[] {
  const { excluded } = hints;
  const standing = outlier === undefined ? candidates : withoutThose(candidates, hints.ejected);
  const panic = outlier !== undefined && standing.length * 100 < outlier.minHealthPercent * candidates.length;
  const well = panic ? candidates : standing;
  if (excluded.size === 0 || balancer.kind === "consistent-hash") return well;
  const fresh = well.filter((c) => !excluded.has(c.workload.uid));
  return fresh.length > 0 ? fresh : well;
}

const withoutThose = (candidates: readonly AbleEndpoint[], gone: (uid: string) => boolean): readonly AbleEndpoint[] => candidates.filter((c) => !gone(c.workload.uid));

/** The endpoint that the client was given before, while it is well. */
function chosenBySession(candidates: readonly AbleEndpoint[], backend: Backend, { session, fields, now, excluded }: UpstreamHints): Choice | undefined {
  if (session === undefined) return undefined;
  const known = readSession(session.rule, session.seal, fields, now);
  const candidate = known?.service === backend.service ? candidates.find((c) => c.workload.uid === known.workload && !excluded.has(known.workload)) : undefined;
  return candidate && { candidate, answerFields: NO_FIELDS };
}

/** HttpOnly is there already. */
const attributesText = (attributes: readonly (readonly [string, string])[] = []): string => attributes.filter(([name]) => name.toLowerCase() !== "httponly").map(([name, value]) => `; ${name}${value === "" ? "" : `=${value}`}`).join("");

const capacityOf = ({ workload }: Candidate): number => workload.capacity;
const uidOf = ({ workload }: Candidate): string => workload.uid;

function chosenByBalancer(candidates: readonly AbleEndpoint[], { service, settings: { balancer, warmup }, ruled }: Group, backend: Backend, hints: UpstreamHints, random: () => number): Choice | undefined {
  const weightOf = warmup === undefined ? capacityOf : ({ workload }: Candidate): number => workload.capacity * warmShare(warmup, hints.memberSince(workload.uid), hints.now);
  // Kubernetes' own affinity, where no rule for traffic says otherwise.
  const affinity = !ruled && service.clientAffinityMs !== undefined;
  if (affinity) return withSession(pickForClient(candidates, capacityOf, uidOf, hints.sourceIp), NO_FIELDS, backend, hints);
  let candidate: AbleEndpoint | undefined;
  let answerFields = NO_FIELDS;
  switch (balancer.kind) {
    case "least-request": case "passthrough": candidate = pickLeastRequest(candidates, weightOf, hints, random); break;
    case "round-robin": candidate = pickInTurn(candidates, weightOf, hints.turn); break;
    case "random": candidate = pickWeighted(candidates, capacityOf, random); break;
    case "consistent-hash": {
      const key = hashKeyOf(balancer.key, hints, random);
      answerFields = key?.answerFields ?? NO_FIELDS;
      candidate = key === undefined ? pickWeighted(candidates, capacityOf, random) : pickByHash(candidates, backend, balancer, hints.tables, key.value);
      break;
    }
  }
  return withSession(candidate, answerFields, backend, hints);
}

function withSession(candidate: AbleEndpoint | undefined, answerFields: readonly string[], { service }: Backend, { session, now }: UpstreamHints): Choice | undefined {
  if (candidate === undefined) return undefined;
  if (session === undefined) return { candidate, answerFields };
  const remembered = rememberSession(session.rule, session.seal, { service, workload: candidate.workload.uid }, now);
  return { candidate, answerFields: [...answerFields, ...remembered] };
}

function pickByHash(candidates: readonly AbleEndpoint[], { service, port, subset }: Backend, { algorithm }: Extract<TrafficSettings["balancer"], { kind: "consistent-hash" }>, tables: HashTables, value: string): AbleEndpoint | undefined {
  const members = candidates.filter((c) => c.workload.capacity > 0).toSorted((a, b) => (a.workload.uid < b.workload.uid ? -1 : 1));
  if (members.length === 0) return undefined;
  const names = members.map((c) => c.workload.uid);
  const weights = members.map((c) => c.workload.capacity);
  const build = algorithm.kind === "ring" ? () => buildRing(names, weights, algorithm.minimumSize) : () => buildMaglev(names, weights, algorithm.tableSize);
  const table = tables.get(`${service}:${port}/${subset ?? ""}`, `${algorithm.kind} ${names.map((n, i) => `${n}=${weights[i] ?? 0}`).join(" ")}`, build);
  return members[table(hashText(value))];
}

/** undefined: the request has no such key, so any endpoint will do. */
function hashKeyOf(key: HashKey, { sourceIp, fields, query }: UpstreamHints, random: () => number): { readonly value: string; readonly answerFields: readonly string[] } | undefined {
  const plain = (value: string | undefined) => (value === undefined ? undefined : { value, answerFields: NO_FIELDS });
  switch (key.kind) {
    case "source-ip": return plain(sourceIp);
    case "header": return plain(key.name === "host" ? undefined : fieldValue(fields, key.name));
    case "query": return plain(firstParameter(query, key.name));
    case "cookie": {
      const known = cookieValue(fields, key.name);
      if (known !== undefined || key.ttlS === undefined) return plain(known);
      const value = Array.from({ length: 4 }, () => Math.floor(random() * 0x1_0000_0000).toString(16).padStart(8, "0")).join("");
      return { value, answerFields: ["set-cookie", `${key.name}=${value}${key.ttlS > 0 ? `; Max-Age=${key.ttlS}` : ""}; Path=${key.path === "" ? "/" : key.path}; HttpOnly${attributesText(key.attributes)}`] };
    }
  }
}
