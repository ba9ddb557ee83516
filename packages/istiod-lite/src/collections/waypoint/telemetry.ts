// Owns the Telemetry API: what one object says, and how objects of root, namespace and target add up (l7-traffic.md §6).
import type { Collection, Context, Index } from "@ambit/collections";
import { expressionProblem, type Problem, type ServiceKey, type TelemetrySettings } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "../decode.ts";
import { BUILT_IN_METRICS, type MeshOptions } from "./mesh-options.ts";
import type { Aimed, TargetInputs } from "./policy-target.ts";
import { flag } from "./read.ts";
import { attach, isTargeted } from "./request-policy.ts";

type Overrides = TelemetrySettings["metrics"]["overrides"];
type CustomTags = TelemetrySettings["tracing"]["customTags"];

/** A part that is undefined says nothing. */
interface Said {
  readonly accessLog: { readonly disabled: boolean; readonly providers: readonly string[]; readonly filter: string | undefined } | undefined;
  readonly tracing: { readonly disabled: boolean | undefined; readonly provider: string | undefined; readonly samplingPercent: number | undefined; readonly customTags: CustomTags | undefined } | undefined;
  readonly overrides: Overrides | undefined;
}

export interface TelemetryInfo {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly createdAt: number;
  /** Undefined: of its whole namespace (in the root namespace: of the mesh). */
  readonly services: readonly ServiceKey[] | undefined;
  /** Waypoints that it is attached to as a whole. */
  readonly gateways: readonly string[];
  readonly said: Said;
  readonly waypoints: readonly string[];
  readonly misses: readonly Extract<Aimed, { ok: false }>[];
  readonly problems: readonly Problem[];
  readonly remarks: readonly string[];
  /** A selector: for sidecars, not for waypoints. */
  readonly selected: boolean;
}

export function telemetryOf(inputs: TargetInputs) {
  return (ctx: Context, o: KubeObject): TelemetryInfo => {
    const { name, namespace = "" } = o.metadata;
    const reader = new Reader();
    const spec = reader.object(o["spec"] ?? {}, "spec", ["selector", "targetRef", "targetRefs", "accessLogging", "tracing", "metrics"]) ?? {};
    const targeted = isTargeted(o);
    const where = targeted ? attach(ctx, inputs, reader, spec, o) : { targets: [], waypoints: [], misses: [] };
    const remarks: string[] = [];
    const said: Said = { accessLog: accessLogOf(reader, spec["accessLogging"]), tracing: tracingOf(reader, spec["tracing"], remarks), overrides: metricsOf(reader, spec["metrics"], remarks) };
    return {
      key: `${namespace}/${name}`, namespace, createdAt: Date.parse(o.metadata.creationTimestamp ?? "") || 0,
      services: targeted ? where.targets.flatMap((t) => (t.kind === "service" ? [t.service] : [])) : undefined,
      gateways: where.targets.some((t) => t.kind === "waypoint") ? where.waypoints : [],
      said: reader.problems.length > 0 ? { accessLog: undefined, tracing: undefined, overrides: undefined } : said,
      waypoints: where.waypoints, misses: where.misses, problems: reader.problems, remarks, selected: !targeted && spec["selector"] !== undefined,
    };
  };
}

/** Of one service if it has anything of its own; the narrowest word on each part wins. */
export interface TelemetryInputs {
  readonly telemetries: Collection<TelemetryInfo>;
  /** Value: namespace of those that are for all of it. */
  readonly telemetriesByNamespace: Index<TelemetryInfo>;
  /** Value: service key, or `gatewayTarget`. */
  readonly telemetriesByTarget: Index<TelemetryInfo>;
}

export const namespaceWide = (t: TelemetryInfo): string[] => (t.services === undefined && !t.selected ? [t.namespace] : []);
export const telemetryTargets = (t: TelemetryInfo): string[] => [...(t.services ?? []), ...t.gateways.map(gatewayTarget)];
/** Gateways and services have names of one form. */
export const gatewayTarget = (key: string): string => `gateway ${key}`;

/** Widest first; of several of one width the oldest. */
export function telemetryFor(ctx: Context, inputs: TelemetryInputs, options: MeshOptions, o: { rootNamespace: string; namespace: string; targets: readonly string[] }): TelemetrySettings {
  const oldest = (found: readonly TelemetryInfo[]): TelemetryInfo | undefined => [...found].sort((a, b) => a.createdAt - b.createdAt || (a.key < b.key ? -1 : 1))[0];
  const levels = [
    ...[...new Set([o.rootNamespace, o.namespace])].map((n) => oldest(ctx.fetch(inputs.telemetries, { index: [inputs.telemetriesByNamespace, n] }))),
    ...o.targets.map((t) => oldest(ctx.fetch(inputs.telemetries, { index: [inputs.telemetriesByTarget, t] }))),
  ];
  return levels.reduce<TelemetrySettings>((settings, level) => (level === undefined ? settings : over(settings, level.said, options)), options.telemetry);
}

function over(under: TelemetrySettings, said: Said, options: MeshOptions): TelemetrySettings {
  const log = said.accessLog?.providers.map((p) => options.logProviders.get(p)).find((p) => p !== undefined);
  const accessLog = said.accessLog === undefined ? under.accessLog
    : said.accessLog.disabled ? { ...under.accessLog, enabled: false }
    : log !== undefined ? { enabled: true, encoding: log.encoding, format: log.format, filter: said.accessLog.filter }
    : said.accessLog.providers.length > 0 ? { ...under.accessLog, enabled: false } : under.accessLog;
  const t = said.tracing;
  const named = t?.provider === undefined ? under.tracing.provider ?? options.tracingProviders.get(options.defaultTracing[0] ?? "") : options.tracingProviders.get(t.provider);
  const tracing = t === undefined ? under.tracing
    : { provider: t.disabled === true ? undefined : named, samplingPercent: t.samplingPercent ?? under.tracing.samplingPercent, customTags: t.customTags ?? under.tracing.customTags };
  return { accessLog, tracing, metrics: said.overrides === undefined ? under.metrics : { enabled: true, overrides: [...under.metrics.overrides, ...said.overrides] } };
}

/** What of a Telemetry cannot be done as it says, because of the mesh's configuration, and what is done instead. */
export function unusableProviders({ said: { accessLog, tracing } }: Pick<TelemetryInfo, "said">, options: MeshOptions): string[] {
  const missing = (name: string): string => `there is no provider ${name} (${options.broken.get(name) ?? "extensionProviders of the mesh's configuration"})`;
  // The first that there is writes the lines.
  const logs = accessLog === undefined || accessLog.disabled ? [] : accessLog.providers;
  const writing = logs.map((name) => options.logProviders.get(name)).find((p) => p !== undefined);
  const traced = tracing === undefined || tracing.disabled === true || tracing.provider === undefined ? undefined : tracing.provider;
  return [
    ...logs.filter((name) => !options.logProviders.has(name)).map((name) => `spec.accessLogging: ${missing(name)}${writing === undefined ? ": no lines are written" : ""}`),
    ...(writing?.problem === undefined ? [] : [`spec.accessLogging: the format is not understood, lines come in the default one: ${writing.problem}`]),
    ...(traced === undefined || options.tracingProviders.has(traced) ? [] : [`spec.tracing: ${missing(traced)}: nothing is traced`]),
  ];
}

/** Waypoints are servers: what is only for clients is not for them. */
const forServers = (reader: Reader, fields: Fields, path: string, extra: readonly string[] = []): boolean =>
  reader.oneOf(reader.object(fields["match"], `${path}.match`, ["mode", ...extra])?.["mode"], `${path}.match.mode`, ["CLIENT_AND_SERVER", "CLIENT", "SERVER"]) !== "CLIENT";

const providerNames = (reader: Reader, value: unknown, path: string): string[] =>
  (reader.list(value, path) ?? []).flatMap((p, i) => reader.text(reader.object(p, `${path}[${i}]`, ["name"])?.["name"], `${path}[${i}].name`) ?? []);

function accessLogOf(reader: Reader, value: unknown): Said["accessLog"] {
  let out: Said["accessLog"];
  for (const [i, a] of (reader.list(value, "spec.accessLogging") ?? []).entries()) {
    const path = `spec.accessLogging[${i}]`;
    const fields = reader.object(a, path, ["match", "providers", "disabled", "filter"]) ?? {};
    const filter = reader.text(reader.object(fields["filter"], `${path}.filter`, ["expression"])?.["expression"], `${path}.filter.expression`) || undefined;
    const problem = filter === undefined ? undefined : expressionProblem(filter);
    if (problem !== undefined) reader.refuse(`${path}.filter.expression`, problem);
    if (!forServers(reader, fields, path)) continue;
    const providers = providerNames(reader, fields["providers"], `${path}.providers`);
    out = { disabled: flag(reader, fields["disabled"], `${path}.disabled`) ?? false, providers: providers.length > 0 ? providers : ["envoy"], filter };
  }
  return out;
}

function tracingOf(reader: Reader, value: unknown, remarks: string[]): Said["tracing"] {
  let out: Said["tracing"];
  for (const [i, t] of (reader.list(value, "spec.tracing") ?? []).entries()) {
    const path = `spec.tracing[${i}]`;
    const fields = reader.object(t, path, ["match", "providers", "randomSamplingPercentage", "disableSpanReporting", "customTags", "enableIstioTags", "useRequestIdForTraceSampling"]) ?? {};
    for (const name of ["enableIstioTags", "useRequestIdForTraceSampling"]) if (fields[name] !== undefined) remarks.push(`${path}.${name} has no effect here`);
    if (!forServers(reader, fields, path)) continue;
    const percent = fields["randomSamplingPercentage"];
    if (percent !== undefined && !(typeof percent === "number" && percent >= 0 && percent <= 100)) reader.refuse(`${path}.randomSamplingPercentage`, "must be from 0 to 100");
    out = {
      disabled: flag(reader, fields["disableSpanReporting"], `${path}.disableSpanReporting`), provider: providerNames(reader, fields["providers"], `${path}.providers`)[0],
      samplingPercent: typeof percent === "number" ? percent : undefined, customTags: customTags(reader, fields["customTags"], `${path}.customTags`),
    };
  }
  return out;
}

function customTags(reader: Reader, value: unknown, path: string): CustomTags | undefined {
  const tags = reader.map(value, path);
  return tags && Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([tag, v]) => {
    const at = `${path}.${tag}`;
    const fields = reader.object(v, at, ["literal", "header", "environment"]) ?? {};
    const kind = (["literal", "header", "environment"] as const).find((k) => fields[k] !== undefined);
    if (kind === undefined) return reader.refuse(at, "must be a literal, a header or an environment variable") ?? [];
    const inner = reader.object(fields[kind], `${at}.${kind}`, kind === "literal" ? ["value"] : ["name", "defaultValue"]) ?? {};
    const text = reader.text(inner[kind === "literal" ? "value" : "name"], `${at}.${kind}`) ?? "";
    // The environment of a waypoint is the mesh's, not the users': secrets may be in it.
    if (kind === "environment") return reader.refuse(`${at}.environment`, "is not available: a waypoint's environment is nobody's to publish") ?? [];
    return [{ tag, from: kind, value: text, fallback: reader.text(inner["defaultValue"], `${at}.${kind}.defaultValue`) ?? "" }];
  });
}

/** Of Prometheus. */
const TAG = /^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/;
const METRICS = ["ALL_METRICS", "REQUEST_COUNT", "REQUEST_DURATION", "REQUEST_SIZE", "RESPONSE_SIZE", "TCP_OPENED_CONNECTIONS", "TCP_CLOSED_CONNECTIONS", "TCP_SENT_BYTES", "TCP_RECEIVED_BYTES",
  "GRPC_REQUEST_MESSAGES", "GRPC_RESPONSE_MESSAGES"] as const;

function metricsOf(reader: Reader, value: unknown, remarks: string[]): Overrides | undefined {
  const list = reader.list(value, "spec.metrics");
  return list?.flatMap((m, i) => {
    const path = `spec.metrics[${i}]`;
    const fields = reader.object(m, path, ["providers", "overrides", "reportingInterval"]) ?? {};
    if (fields["reportingInterval"] !== undefined) remarks.push(`${path}.reportingInterval has no effect here`);
    for (const p of providerNames(reader, fields["providers"], `${path}.providers`)) if (p !== BUILT_IN_METRICS) reader.refuse(`${path}.providers`, `${p}: metrics are for ${BUILT_IN_METRICS}`);
    return (reader.list(fields["overrides"], `${path}.overrides`) ?? []).flatMap((x, k) => {
      const at = `${path}.overrides[${k}]`;
      const entry = reader.object(x, at, ["match", "disabled", "tagOverrides"]) ?? {};
      const match = reader.object(entry["match"], `${at}.match`, ["metric", "mode"]) ?? {};
      if (!forServers(reader, entry, at, ["metric"])) return [];
      const removeTags: string[] = [];
      const setTags: [string, string][] = [];
      const expressionTags: [string, string][] = [];
      for (const [tag, v] of Object.entries(reader.map(entry["tagOverrides"], `${at}.tagOverrides`) ?? {})) {
        const where = `${at}.tagOverrides.${tag}`;
        const change = reader.object(v, where, ["operation", "value"]) ?? {};
        if (reader.oneOf(change["operation"], `${where}.operation`, ["UPSERT", "REMOVE"]) === "REMOVE") { removeTags.push(tag); continue; }
        if (!TAG.test(tag)) { reader.refuse(where, "is not the name of a label"); continue; }
        const value = reader.text(change["value"], `${where}.value`) ?? "";
        const literal = /^(?:"([^"\\]*)"|'([^'\\]*)')$/.exec(value);
        const problem = literal === null ? expressionProblem(value) : undefined;
        if (problem !== undefined) reader.refuse(`${where}.value`, problem);
        else if (literal === null) expressionTags.push([tag, value]);
        else setTags.push([tag, literal[1] ?? literal[2] ?? ""]);
      }
      return [{ metric: reader.oneOf(match["metric"], `${at}.match.metric`, METRICS) ?? "ALL_METRICS", disabled: flag(reader, entry["disabled"], `${at}.disabled`) ?? false, removeTags, setTags, ...(expressionTags.length === 0 ? {} : { expressionTags }) }];
    });
  });
}
