// Owns the reading of Istio's mesh-wide settings (ConfigMap istio, keys mesh and meshNetworks): what is honoured, kept for waypoints, or without effect here.
import { load, YAMLException } from "js-yaml";
import { err, ok, problem, type Problem, type Result } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "./decode.ts";
import { readSelector, type LabelSelector } from "./label-selector.ts";

export type EntryVisibility = "public" | "namespace" | "none";

export interface MeshConfig {
  /** Undefined: as the environment says. */
  readonly trustDomain: string | undefined;
  readonly trustDomainAliases: readonly string[];
  readonly rootNamespace: string | undefined;
  /** Empty: every namespace is read. */
  readonly discoverySelectors: readonly LabelSelector[];
  /** Undefined: Istio's behaviour before there was such a setting, public and not mentioned. */
  readonly entryVisibility: { readonly fallback: EntryVisibility; readonly policies: readonly { readonly visibility: EntryVisibility; readonly namespaces: readonly LabelSelector[] }[] } | undefined;
  /** Settings that waypoints read, as written. */
  readonly forWaypoints: Fields;
  /** Names of settings that are Istio's and have no effect here. */
  readonly withoutEffect: readonly string[];
}

export const NO_MESH_CONFIG: MeshConfig = {
  trustDomain: undefined, trustDomainAliases: [], rootNamespace: undefined, discoverySelectors: [], entryVisibility: undefined, forWaypoints: {}, withoutEffect: [],
};

const HONOURED = ["trustDomain", "trustDomainAliases", "rootNamespace", "discoverySelectors", "serviceEntryVisibility"];
export const FOR_WAYPOINTS: readonly string[] = [
  "extensionProviders", "defaultProviders", "accessLogFile", "accessLogFormat", "accessLogEncoding", "defaultConfig", "pathNormalization",
  "defaultHttpRetryPolicy",
];
/** Sidecars', ingress controllers' and Envoy's own; registry-only egress among them, which ambient does not enforce in Istio either. */
const WITHOUT_EFFECT = [
  "proxyListenPort", "proxyInboundListenPort", "proxyHttpPort", "protocolDetectionTimeout", "tcpKeepalive", "ingressClass", "ingressService", "ingressControllerMode",
  "ingressSelector", "enableEnvoyAccessLogService", "disableEnvoyListenerLog", "outboundTrafficPolicy", "inboundTrafficPolicy", "configSources", "enableAutoMtls",
  "caCertificates", "defaultServiceExportTo", "defaultVirtualServiceExportTo", "defaultDestinationRuleExportTo", "dnsRefreshRate", "h2UpgradePolicy",
  "inboundClusterStatName", "outboundClusterStatName", "certificates", "serviceSettings", "enablePrometheusMerge", "verifyCertificateAtClient", "ca", "meshMTLS", "tlsDefaults",
  "serviceScopeConfigs", "enableTracing", "connectTimeout", "localityLbSetting",
];
const VISIBILITIES = ["VISIBILITY_UNSPECIFIED", "PUBLIC", "NAMESPACE", "NONE"] as const;

/** An object that carries mesh-wide settings, whatever it is called. */
export const isMeshConfig = (o: KubeObject): boolean => typeof record(o["data"])?.["mesh"] === "string";

/** Refused whole when anything in it is not understood. Paths are below `data.mesh`. */
export function decodeMeshConfig(o: KubeObject): Result<MeshConfig> {
  const data = record(o["data"]) ?? {};
  const mesh = yamlOf(data["mesh"], "data.mesh");
  const networks = yamlOf(data["meshNetworks"], "data.meshNetworks");
  if (!mesh.ok) return mesh;
  if (!networks.ok) return networks;
  const reader = new Reader();
  const fields = reader.object(mesh.value, "data.mesh", [...HONOURED, ...FOR_WAYPOINTS, ...WITHOUT_EFFECT]) ?? {};
  const trustDomain = reader.text(fields["trustDomain"], "data.mesh.trustDomain")?.replaceAll("@", ".");
  if (trustDomain !== undefined && trustDomain !== "" && !isTrustDomain(trustDomain)) reader.refuse("data.mesh.trustDomain", `"${trustDomain}" is not a trust domain`);
  const aliases = (reader.list(fields["trustDomainAliases"], "data.mesh.trustDomainAliases") ?? []).map((a, i) => {
    const alias = reader.text(a, `data.mesh.trustDomainAliases[${i}]`)?.replaceAll("@", ".") ?? "";
    if (!isTrustDomain(alias)) reader.refuse(`data.mesh.trustDomainAliases[${i}]`, `"${alias}" is not a trust domain`);
    return alias;
  });
  const selectors = (reader.list(fields["discoverySelectors"], "data.mesh.discoverySelectors") ?? []).map((s, i) => readSelector(reader, s, `data.mesh.discoverySelectors[${i}]`));
  const config: MeshConfig = {
    trustDomain: trustDomain === "" ? undefined : trustDomain, trustDomainAliases: aliases,
    rootNamespace: reader.text(fields["rootNamespace"], "data.mesh.rootNamespace") || undefined,
    discoverySelectors: selectors, entryVisibility: visibilityOf(reader, fields["serviceEntryVisibility"], "data.mesh.serviceEntryVisibility"),
    forWaypoints: Object.fromEntries(Object.entries(fields).filter(([k]) => FOR_WAYPOINTS.includes(k))),
    withoutEffect: [
      ...Object.keys(fields).filter((k) => WITHOUT_EFFECT.includes(k)).sort(),
      ...(Object.keys(record(record(networks.value)?.["networks"]) ?? {}).length > 0 ? ["meshNetworks"] : []),
    ],
  };
  return reader.problems.length > 0 ? err(reader.problems) : ok(config);
}

const isTrustDomain = (s: string): boolean => /^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$/.test(s);

function visibilityOf(reader: Reader, value: unknown, path: string): MeshConfig["entryVisibility"] {
  const fields = reader.object(value, path, ["defaultVisibility", "policies", "applyToSidecars"]);
  if (fields === undefined) return undefined;
  const one = (v: unknown, at: string): EntryVisibility => {
    const text = reader.oneOf(v, at, VISIBILITIES) ?? "PUBLIC";
    return text === "NAMESPACE" ? "namespace" : text === "NONE" ? "none" : "public";
  };
  const policies = (reader.list(fields["policies"], `${path}.policies`) ?? []).map((p, i) => {
    const at = `${path}.policies[${i}]`;
    const policy = reader.object(p, at, ["visibility", "matchingRules", "name"]) ?? {};
    const namespaces = (reader.list(policy["matchingRules"], `${at}.matchingRules`) ?? []).map((r, k) => {
      const rule = reader.object(r, `${at}.matchingRules[${k}]`, ["namespaceSelector"]) ?? {};
      if (rule["namespaceSelector"] === undefined) reader.refuse(`${at}.matchingRules[${k}].namespaceSelector`, "is missing");
      return readSelector(reader, rule["namespaceSelector"], `${at}.matchingRules[${k}].namespaceSelector`);
    });
    return { visibility: one(policy["visibility"], `${at}.visibility`), namespaces };
  });
  return { fallback: one(fields["defaultVisibility"], `${path}.defaultVisibility`), policies };
}

function yamlOf(text: unknown, path: string): Result<unknown> {
  if (text === undefined || text === "") return ok({});
  if (typeof text !== "string") return err([problem(path, "must be text")]);
  try {
    return ok(load(text) ?? {});
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    return err([problem(path, `${error.reason} in line ${(error.mark?.line ?? 0) + 1}`)]);
  }
}

const record = (v: unknown): Readonly<Record<string, unknown>> | undefined => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined);

export const meshConfigProblems = (o: KubeObject): readonly Problem[] => {
  const decoded = decodeMeshConfig(o);
  return decoded.ok ? [] : decoded.error;
};
