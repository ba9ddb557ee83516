// Owns what MeshConfig says to waypoints, and what holds when it says nothing: retries, paths, providers, the mesh's own telemetry.
import type { Context } from "@ambit/collections";
import { formatProblem, type AuthorizationProvider, type PathNormalization, type Problem, type RetryPolicy, type TelemetrySettings, type TracingProvider } from "@ambit/core";
import { Reader, type Fields } from "../decode.ts";
import type { MeshScope } from "../scope.ts";
import type { BackendInputs } from "./backends.ts";
import { authorizationProvider, providerHost, type ProviderSpec } from "./providers.ts";
import { integer } from "./read.ts";
import { DEFAULT_RETRY } from "./rule-settings.ts";
import { retryPolicy } from "./vs-actions.ts";

/** A file that access lines go to, with its format; undefined: the default one. `problem`: why that stands in for what was written. */
export interface LogProvider { readonly encoding: "text" | "json"; readonly format: string | undefined; readonly problem: string | undefined }

export interface MeshOptions {
  readonly key: "mesh";
  readonly pathNormalization: PathNormalization;
  readonly defaultRetry: RetryPolicy;
  readonly trustedProxies: number;
  readonly authorizationProviders: ReadonlyMap<string, AuthorizationProvider>;
  readonly logProviders: ReadonlyMap<string, LogProvider>;
  readonly tracingProviders: ReadonlyMap<string, TracingProvider>;
  /** Providers that cannot be used, and why. */
  readonly broken: ReadonlyMap<string, string>;
  readonly defaultTracing: readonly string[];
  readonly telemetry: TelemetrySettings;
  readonly problems: readonly Problem[];
}

export const DEFAULT_TELEMETRY: TelemetrySettings = {
  accessLog: { enabled: false, encoding: "text", format: undefined, filter: undefined },
  tracing: { provider: undefined, samplingPercent: 1, customTags: [] },
  metrics: { enabled: true, overrides: [] },
};
/** Always there, as in Istio. */
export const BUILT_IN_LOG = "envoy";
export const BUILT_IN_METRICS = "prometheus";
export const STDOUT = "/dev/stdout";

export const DEFAULT_OPTIONS: MeshOptions = {
  key: "mesh", pathNormalization: "base", defaultRetry: DEFAULT_RETRY, trustedProxies: 0, authorizationProviders: new Map(), logProviders: new Map([[BUILT_IN_LOG, { encoding: "text", format: undefined, problem: undefined }]]),
  tracingProviders: new Map(), broken: new Map(), defaultTracing: [], telemetry: DEFAULT_TELEMETRY, problems: [],
};

const NORMALIZATIONS: Readonly<Record<string, PathNormalization>> = { DEFAULT: "base", NONE: "none", BASE: "base", MERGE_SLASHES: "merge-slashes", DECODE_AND_MERGE_SLASHES: "decode-and-merge-slashes" };
/** Of the list of proxies in front of the mesh; more are a mistake. */
const TRUSTED_MAX = 16;

export function meshOptionsOf(inputs: BackendInputs) {
  return (ctx: Context, scope: MeshScope): MeshOptions => {
    const fields = scope.config.forWaypoints;
    const reader = new Reader();
    const path = "data.mesh";
    const normalization = reader.text(reader.object(fields["pathNormalization"], `${path}.pathNormalization`, ["normalization"])?.["normalization"], `${path}.pathNormalization.normalization`);
    if (normalization !== undefined && NORMALIZATIONS[normalization] === undefined) reader.refuse(`${path}.pathNormalization.normalization`, `"${normalization}" is not one of ${Object.keys(NORMALIZATIONS).join(", ")}`);
    const retries = reader.object(fields["defaultHttpRetryPolicy"], `${path}.defaultHttpRetryPolicy`, ["attempts", "retryOn", "backoff"]);
    const proxy = reader.map(fields["defaultConfig"], `${path}.defaultConfig`);
    const topology = reader.map(proxy?.["gatewayTopology"], `${path}.defaultConfig.gatewayTopology`);
    const providers = providersOf(ctx, inputs, reader, fields["extensionProviders"], `${path}.extensionProviders`);
    const log = logProvider(reader.oneOf(fields["accessLogEncoding"], `${path}.accessLogEncoding`, ["TEXT", "JSON"]) === "JSON" ? "json" : "text", reader.text(fields["accessLogFormat"], `${path}.accessLogFormat`), `${path}.accessLogFormat`);
    if (log.problem !== undefined) reader.refuse(`${path}.accessLogFormat`, log.problem);
    const logs = new Map([[BUILT_IN_LOG, log], ...providers.logs]);
    const defaults = reader.object(fields["defaultProviders"], `${path}.defaultProviders`, ["tracing", "metrics", "accessLogging"]) ?? {};
    const names = (field: string): readonly string[] => (reader.list(defaults[field], `${path}.defaultProviders.${field}`) ?? []).flatMap((n, i) => reader.text(n, `${path}.defaultProviders.${field}[${i}]`) ?? []);
    const logName = names("accessLogging").find((n) => logs.has(n));
    const file = reader.text(fields["accessLogFile"], `${path}.accessLogFile`) ?? "";
    if (file !== "" && file !== STDOUT) reader.refuse(`${path}.accessLogFile`, `access lines go to ${STDOUT} or nowhere`);
    const chosen = file === STDOUT ? log : logs.get(logName ?? "");
    const tracing = names("tracing");
    return {
      key: "mesh", pathNormalization: NORMALIZATIONS[normalization ?? "DEFAULT"] ?? "base", defaultRetry: retries === undefined ? DEFAULT_RETRY : retryPolicy(reader, retries, `${path}.defaultHttpRetryPolicy`),
      trustedProxies: integer(reader, topology?.["numTrustedProxies"], `${path}.defaultConfig.gatewayTopology.numTrustedProxies`, 0, TRUSTED_MAX) ?? 0,
      authorizationProviders: providers.authorization, logProviders: logs, tracingProviders: providers.tracing, broken: providers.broken, defaultTracing: tracing,
      telemetry: {
        accessLog: { enabled: chosen !== undefined, encoding: chosen?.encoding ?? "text", format: chosen?.format, filter: undefined },
        tracing: { ...DEFAULT_TELEMETRY.tracing, samplingPercent: sampling(reader, proxy, `${path}.defaultConfig.tracing`), provider: providers.tracing.get(tracing[0] ?? "") },
        metrics: DEFAULT_TELEMETRY.metrics,
      },
      problems: reader.problems,
    };
  };
}

function sampling(reader: Reader, proxy: Fields | undefined, path: string): number {
  const percent = reader.map(proxy?.["tracing"], path)?.["sampling"];
  if (percent === undefined) return DEFAULT_TELEMETRY.tracing.samplingPercent;
  return typeof percent === "number" && percent >= 0 && percent <= 100 ? percent : (reader.refuse(`${path}.sampling`, "must be from 0 to 100") ?? DEFAULT_TELEMETRY.tracing.samplingPercent);
}

interface Providers {
  readonly authorization: Map<string, AuthorizationProvider>;
  readonly logs: Map<string, LogProvider>;
  readonly tracing: Map<string, TracingProvider>;
  readonly broken: Map<string, string>;
}

/** Each by itself: one that is not understood breaks what names it, and nothing else. */
function providersOf(ctx: Context, inputs: BackendInputs, reader: Reader, value: unknown, path: string): Providers {
  const out: Providers = { authorization: new Map(), logs: new Map(), tracing: new Map(), broken: new Map() };
  for (const [i, p] of (reader.list(value, path) ?? []).entries()) {
    const at = `${path}[${i}]`;
    const fields = reader.map(p, at) ?? {};
    const name = reader.text(fields["name"], `${at}.name`) ?? "";
    const [kind, ...more] = Object.keys(fields).filter((k) => k !== "name");
    if (name === "" || kind === undefined || more.length > 0) { reader.refuse(at, "must have a name and one kind of provider"); continue; }
    const own = new Reader();
    const spec: ProviderSpec = { name, fields: own.map(fields[kind], `${at}.${kind}`) ?? {}, path: `${at}.${kind}`, locate: (text, where) => providerHost(ctx, inputs, own, text, where) };
    switch (kind) {
      case "envoyExtAuthzHttp": case "envoyExtAuthzGrpc": {
        const provider = authorizationProvider(own, spec, kind === "envoyExtAuthzHttp" ? "http" : "grpc");
        if (own.problems.length === 0 && provider !== undefined) out.authorization.set(name, provider);
        break;
      }
      case "envoyFileAccessLog": {
        const log = fileLog(own, spec);
        if (own.problems.length === 0) out.logs.set(name, log);
        break;
      }
      case "opentelemetry": {
        const tracing = openTelemetry(own, spec);
        if (own.problems.length === 0 && tracing !== undefined) out.tracing.set(name, tracing);
        break;
      }
      case "prometheus": break;
      default: own.refuse(`${at}.${kind}`, "is a kind of provider that is not available here");
    }
    if (own.problems.length > 0) out.broken.set(name, own.problems.map((x) => `${x.path} ${x.message}`).join("; "));
  }
  return out;
}

function fileLog(reader: Reader, { fields, path }: ProviderSpec): LogProvider {
  reader.object(fields, path, ["path", "logFormat"]);
  if ((reader.text(fields["path"], `${path}.path`) ?? STDOUT) !== STDOUT) reader.refuse(`${path}.path`, `access lines go to ${STDOUT}`);
  const format = reader.object(fields["logFormat"], `${path}.logFormat`, ["text", "labels"]);
  const labels = reader.map(format?.["labels"], `${path}.logFormat.labels`);
  return labels === undefined ? logProvider("text", reader.text(format?.["text"], `${path}.logFormat.text`), `${path}.logFormat.text`) : logProvider("json", JSON.stringify(labels), `${path}.logFormat.labels`);
}

/** Lines in a format that is not understood would say what nobody asked for: they come in the default one, and whoever names the provider is told. */
function logProvider(encoding: "text" | "json", written: string | undefined, path: string): LogProvider {
  const format = written || undefined;
  const problem = formatProblem(encoding, format);
  return { encoding, format: problem === undefined ? format : undefined, problem: problem && `${path}: ${problem}` };
}

function openTelemetry(reader: Reader, { name, fields, path, locate }: ProviderSpec): TracingProvider | undefined {
  reader.object(fields, path, ["service", "port", "maxTagLength", "http"]);
  const service = locate(fields["service"], `${path}.service`);
  const port = reader.port(fields["port"], `${path}.port`);
  return service === undefined || port === undefined ? undefined : { name, service, port, protocol: fields["http"] === undefined ? "otlp-grpc" : "otlp-http" };
}
