// Owns how PeerAuthentications become L4 policies: who wins, and what refuses plaintext (protocol.md §8.6, §14.1–5).
import type { Collection, Context, Index } from "@ambit/collections";
import { EMPTY_MATCH, type Match, type Policy, type Problem, type Rule } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader } from "./decode.ts";
import { selects, type LabelMap, type Settings } from "./settings.ts";

const MODES = ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] as const;
export type Mode = (typeof MODES)[number];

export interface PeerAuthInfo {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly created: string;
  /** Undefined: the whole namespace, or in the root namespace the whole mesh. */
  readonly selector: LabelMap | undefined;
  readonly mode: Mode;
  readonly ports: ReadonlyMap<number, Mode>;
  /** Not understood: then it is STRICT for what it selects, without exceptions. */
  readonly problems: readonly Problem[];
  /** Understood, but without effect, and why. */
  readonly ignored: string | undefined;
  readonly generation: number;
  readonly uid: string;
}

export interface PeerAuthInputs {
  readonly settings: Settings;
  readonly peerAuths: Collection<PeerAuthInfo>;
  /** Values: `workload NAMESPACE` of those with a selector, `namespace NAMESPACE` of those without. */
  readonly byLevel: Index<PeerAuthInfo>;
}

/** Underscores keep these names apart from every Kubernetes name. */
const STATIC_STRICT = "istio_converted_static_strict";
const portPolicyName = (name: string): string => `converted_peer_authentication_${name}`;

export const levelsOf = (p: PeerAuthInfo): string[] => (p.ignored !== undefined ? [] : [`${p.selector === undefined ? "namespace" : "workload"} ${p.namespace}`]);

export function peerAuthOf(settings: Settings) {
  return (_ctx: Context, o: KubeObject): PeerAuthInfo => {
    const reader = new Reader();
    const spec = reader.object(o["spec"], "spec", ["selector", "mtls", "portLevelMtls"]) ?? {};
    const before = reader.problems.length;
    const selectorFields = reader.object(spec["selector"], "spec.selector", ["matchLabels"]);
    const labels = reader.labels(selectorFields?.["matchLabels"], "spec.selector.matchLabels");
    // A selector that cannot be read must not narrow: then the whole namespace is meant.
    const selector = reader.problems.length > before || labels === undefined || Object.keys(labels).length === 0 ? undefined : labels;
    const mode = modeOf(reader, spec["mtls"], "spec.mtls");
    const ports = new Map<number, Mode>();
    for (const [text, value] of Object.entries(reader.map(spec["portLevelMtls"], "spec.portLevelMtls") ?? {})) {
      const port = reader.port(text, `spec.portLevelMtls.${text}`);
      const portMode = modeOf(reader, value, `spec.portLevelMtls.${text}`);
      if (port !== undefined) ports.set(port, portMode);
    }
    if (ports.size > 0 && selector === undefined && reader.problems.length === 0) reader.refuse("spec.portLevelMtls", "needs a selector with labels");
    const { name, namespace = "" } = o.metadata;
    const refused = reader.problems.length > 0;
    return {
      key: `${namespace}/${name}`, namespace, name, created: o.metadata.creationTimestamp ?? "", selector,
      mode: refused ? "STRICT" : mode, ports: refused ? new Map() : ports, problems: reader.problems,
      ignored: namespace === settings.rootNamespace && selector !== undefined ? `a selector has no effect in the root namespace ${namespace}` : undefined,
      generation: o.metadata.generation ?? 0, uid: o.metadata.uid ?? "",
    };
  };
}

function modeOf(reader: Reader, value: unknown, path: string): Mode {
  const fields = reader.object(value, path, ["mode"]);
  return reader.oneOf(fields?.["mode"], `${path}.mode`, MODES) ?? "UNSET";
}

/** The names that a workload must list so that plaintext is refused where it should be. */
export function strictPoliciesOf(ctx: Context, inputs: PeerAuthInputs, namespace: string, labels: LabelMap): string[] {
  const { byLevel, peerAuths, settings } = inputs;
  const own = namespace === settings.rootNamespace ? undefined
    : oldest(ctx.fetch(peerAuths, { index: [byLevel, `workload ${namespace}`], where: (p) => selects(p.selector ?? {}, labels) }));
  const base = own === undefined ? inheritedMode(ctx, inputs, namespace) : baseMode(ctx, inputs, own);
  if (own !== undefined && exceptions(own, base).length > 0) return [`${namespace}/${portPolicyName(own.name)}`];
  return base === "STRICT" ? [`${settings.rootNamespace}/${STATIC_STRICT}`] : [];
}

/** The policy of a PeerAuthentication whose ports differ from its base; others need none of their own. */
export function portPolicyOf(inputs: PeerAuthInputs) {
  return (ctx: Context, p: PeerAuthInfo): Policy | undefined => {
    if (p.selector === undefined || p.ignored !== undefined) return undefined;
    const base = baseMode(ctx, inputs, p);
    const ports = exceptions(p, base);
    if (ports.length === 0) return undefined;
    const rules: Rule[] = base === "STRICT"
      // Plaintext, and none of the open ports.
      ? [{ clauses: [{ matches: [NO_IDENTITY] }, ...ports.map((port) => ({ matches: [{ ...EMPTY_MATCH, notDestinationPorts: [port] }] }))] }]
      : ports.map((port) => ({ clauses: [{ matches: [{ ...NO_IDENTITY, destinationPorts: [port] }] }] }));
    return { name: portPolicyName(p.name), namespace: p.namespace, scope: "workload", action: "deny", rules, dryRun: false };
  };
}

/** Exists as soon as any PeerAuthentication does, so that no workload ever lists a policy that ztunnel lacks. */
export const staticStrictOf = (settings: Settings, peerAuths: Collection<PeerAuthInfo>) => (ctx: Context): Policy | undefined =>
  ctx.fetch(peerAuths).length === 0 ? undefined
    : { name: STATIC_STRICT, namespace: settings.rootNamespace, scope: "workload", action: "deny", rules: [{ clauses: [{ matches: [NO_IDENTITY] }] }], dryRun: false };

const NO_IDENTITY: Match = { ...EMPTY_MATCH, notPrincipals: [{ kind: "presence" }] };

const baseMode = (ctx: Context, inputs: PeerAuthInputs, p: PeerAuthInfo): Mode => (p.mode === "UNSET" ? inheritedMode(ctx, inputs, p.namespace) : p.mode);

function inheritedMode(ctx: Context, { byLevel, peerAuths, settings }: PeerAuthInputs, namespace: string): Mode {
  for (const level of [namespace, settings.rootNamespace]) {
    const mode = oldest(ctx.fetch(peerAuths, { index: [byLevel, `namespace ${level}`] }))?.mode ?? "UNSET";
    if (mode !== "UNSET") return mode;
  }
  return "PERMISSIVE";
}

/** Ports whose strictness differs from the base, in order. DISABLE refuses nothing, just as PERMISSIVE. */
function exceptions(p: PeerAuthInfo, base: Mode): number[] {
  const out: number[] = [];
  for (const [port, mode] of p.ports) if (mode !== "UNSET" && (mode === "STRICT") !== (base === "STRICT")) out.push(port);
  return out.sort((a, b) => a - b);
}

/** Oldest first; equal ages are settled by name. */
function oldest(list: readonly PeerAuthInfo[]): PeerAuthInfo | undefined {
  let best: PeerAuthInfo | undefined;
  for (const p of list) if (best === undefined || p.created < best.created || (p.created === best.created && p.name < best.name)) best = p;
  return best;
}
