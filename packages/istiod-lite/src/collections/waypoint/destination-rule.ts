// Owns how a DestinationRule is read: settings, ports and subsets, resolved as Istio resolves them (l7-traffic.md §4.1).
import type { Context } from "@ambit/collections";
import { DEFAULT_TRAFFIC, type Problem, type Subset, type TrafficSettings } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "../decode.ts";
import type { Settings } from "../settings.ts";
import { exportsOf, fullHost } from "./istio-hosts.ts";
import { readBlocks, withBlocks, type Blocks } from "./traffic-blocks.ts";

export interface DestinationRuleInfo {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** One, as a list; maybe with a wildcard. */
  readonly hosts: readonly string[];
  readonly exportTo: readonly string[];
  /** Refused, or not for waypoints: nothing. */
  readonly traffic: {
    /** It has a trafficPolicy of its own; without one another rule of the host may speak for all. */
    readonly says: boolean;
    /** Somewhere in it something is said of TLS, be it that there is none. */
    readonly saysTls: boolean;
    readonly settings: TrafficSettings;
    readonly ports: ReadonlyMap<number, TrafficSettings>;
    readonly subsets: ReadonlyMap<string, Subset>;
    /** Subsets without a trafficPolicy of their own: they have the rule's, whoever's that is. */
    readonly inheriting: ReadonlySet<string>;
  } | undefined;
  readonly problems: readonly Problem[];
  /** What of it has no effect at a waypoint. */
  readonly remarks: readonly string[];
}

/** Nobody has more versions of one service at once. */
const SUBSETS_MAX = 256;
const PORT_BLOCKS = ["connectionPool", "loadBalancer", "outlierDetection", "tls"];
const RULE_BLOCKS = [...PORT_BLOCKS, "portLevelSettings", "proxyProtocol", "retryBudget", "tunnel"];

export function destinationRuleOf(settings: Settings) {
  return (_ctx: Context, o: KubeObject): DestinationRuleInfo => {
    const { name, namespace = "" } = o.metadata;
    const reader = new Reader();
    const remarks: string[] = [];
    const spec = reader.object(o["spec"], "spec", ["host", "trafficPolicy", "subsets", "exportTo", "workloadSelector"]) ?? {};
    const host = reader.text(spec["host"], "spec.host") ?? "";
    if (host === "") reader.refuse("spec.host", "is missing");
    const hostname = fullHost(settings, namespace, host);
    const rule = policyOf(reader, spec["trafficPolicy"], "spec.trafficPolicy", remarks);
    const own = withBlocks(DEFAULT_TRAFFIC, rule.blocks, hostname);
    const ports = portSettings(rule, own, hostname);
    const subsets = new Map<string, Subset>();
    const inheriting = new Set<string>();
    let saysTls = speaksOfTls(rule);
    const list = reader.list(spec["subsets"], "spec.subsets") ?? [];
    if (list.length > SUBSETS_MAX) reader.refuse("spec.subsets", `has more than ${SUBSETS_MAX} entries`);
    for (const [i, s] of list.slice(0, SUBSETS_MAX).entries()) {
      const path = `spec.subsets[${i}]`;
      const fields = reader.object(s, path, ["name", "labels", "trafficPolicy"]) ?? {};
      const subset = reader.text(fields["name"], `${path}.name`) ?? "";
      if (subset === "" || subsets.has(subset)) { reader.refuse(`${path}.name`, subset === "" ? "is missing" : `${subset}: is there twice`); continue; }
      const policy = policyOf(reader, fields["trafficPolicy"], `${path}.trafficPolicy`, remarks);
      const merged = withBlocks(own, policy.blocks, hostname);
      saysTls ||= speaksOfTls(policy);
      if (fields["trafficPolicy"] === undefined) inheriting.add(subset);
      subsets.set(subset, {
        name: subset, labels: reader.labels(fields["labels"], `${path}.labels`) ?? {}, settings: merged,
        // A subset that says something itself is nearer than the rule's ports.
        ports: fields["trafficPolicy"] === undefined ? ports : portSettings(policy, merged, hostname),
      });
    }
    if (spec["workloadSelector"] !== undefined) remarks.push("spec.workloadSelector: it is for clients with a sidecar, so no waypoint uses it");
    const usable = reader.problems.length === 0 && spec["workloadSelector"] === undefined;
    return {
      key: `${namespace}/${name}`, namespace, name, createdAt: Date.parse(o.metadata.creationTimestamp ?? "") || 0, hosts: host === "" ? [] : [hostname],
      exportTo: exportsOf(reader, spec["exportTo"]), traffic: usable ? { says: spec["trafficPolicy"] !== undefined, saysTls, settings: own, ports, subsets, inheriting } : undefined, problems: reader.problems, remarks,
    };
  };
}

const speaksOfTls = (policy: PolicySpec): boolean => [policy.blocks, ...policy.ports.values()].some((b) => b.tls !== undefined);

interface PolicySpec { readonly blocks: Blocks; readonly ports: ReadonlyMap<number, Blocks> }

function policyOf(reader: Reader, value: unknown, path: string, remarks: string[]): PolicySpec {
  const fields: Fields = reader.object(value, path, RULE_BLOCKS) ?? {};
  if (fields["tunnel"] !== undefined) reader.refuse(`${path}.tunnel`, "is not available: a waypoint has its own tunnels");
  const ports = new Map<number, Blocks>();
  for (const [i, p] of (reader.list(fields["portLevelSettings"], `${path}.portLevelSettings`) ?? []).entries()) {
    const at = `${path}.portLevelSettings[${i}]`;
    const entry = reader.object(p, at, [...PORT_BLOCKS, "port"]) ?? {};
    const number = reader.port(reader.object(entry["port"], `${at}.port`, ["number"])?.["number"], `${at}.port.number`);
    if (number !== undefined) ports.set(number, readBlocks(reader, entry, at, remarks));
  }
  return { blocks: readBlocks(reader, fields, path, remarks), ports };
}

/** What a port does not say is the default, not the rule's; only what ports cannot say is the rule's. */
const portSettings = (policy: PolicySpec, whole: TrafficSettings, hostname: string): ReadonlyMap<number, TrafficSettings> =>
  new Map([...policy.ports].sort(([a], [b]) => a - b).map(([port, blocks]) =>
    [port, withBlocks({ ...DEFAULT_TRAFFIC, proxyProtocol: whole.proxyProtocol, retryBudget: whole.retryBudget }, blocks, hostname)]));
