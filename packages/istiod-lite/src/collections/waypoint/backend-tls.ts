// Owns how a BackendTLSPolicy is read, which of several holds for a port, and what connections there are then made of (gateway-conformance.md §7, §8).
import type { Collection, Context, Index } from "@ambit/collections";
import { describeProblems, trafficSettings, type Problem, type TrafficPolicy, type TrafficSettings, type UpstreamTls } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "../decode.ts";
import type { ServiceInfo } from "../services.ts";
import { certificatesIn } from "./ca-bundle.ts";
import { parentKey } from "./parents.ts";
import type { Objection } from "./routes.ts";

export interface TlsTarget {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
  /** A port's name; undefined: every port. */
  readonly sectionName: string | undefined;
  /** `Service/namespace/name` or `ServiceEntry/namespace/name`; undefined: nothing that TLS could be spoken to. */
  readonly owner: string | undefined;
}

export interface BackendTlsInfo {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly targets: readonly TlsTarget[];
  readonly tls: UpstreamTls;
  /** Nothing of it can be used: connections fail, none is made without TLS. */
  readonly rejected: Objection | undefined;
  readonly refs: Objection | undefined;
  readonly problems: readonly Problem[];
}

export interface BackendTlsInputs {
  readonly backendTls: Collection<BackendTlsInfo>;
  /** Value: `kind/namespace/name` of a target. */
  readonly backendTlsByTarget: Index<BackendTlsInfo>;
}

/** Of Gateway API's CRD. */
const TARGETS_MAX = 16;
const CA_REFS_MAX = 8;
const NAMES_MAX = 5;
const HOSTNAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** `configMaps` by `namespace/name`: certificates of authorities are of the policy's own namespace. */
export function backendTlsOf(configMaps: Collection<KubeObject>) {
  return (ctx: Context, o: KubeObject): BackendTlsInfo => {
    const { name, namespace = "" } = o.metadata;
    const reader = new Reader();
    const spec = reader.object(o["spec"], "spec", ["targetRefs", "validation", "options"]) ?? {};
    if (Object.keys(reader.map(spec["options"], "spec.options") ?? {}).length > 0) reader.refuse("spec.options", "there are no options here");
    const targets = targetsOf(reader, spec["targetRefs"], namespace);
    const validation = reader.object(spec["validation"], "spec.validation", ["caCertificateRefs", "wellKnownCACertificates", "hostname", "subjectAltNames"]) ?? {};
    const hostname = reader.text(validation["hostname"], "spec.validation.hostname") ?? "";
    if (!HOSTNAME.test(hostname)) reader.refuse("spec.validation.hostname", hostname === "" ? "is missing" : `"${hostname.slice(0, 80)}" is not a host name in small letters`);
    const names = namesOf(reader, validation["subjectAltNames"]);
    const roots = rootsOf(ctx, configMaps, reader, validation, namespace);
    const invalid: Objection | undefined = reader.problems.length === 0 ? undefined : { reason: "Invalid", message: describeProblems(reader.problems) };
    const rejected = invalid ?? (roots.pem === "none" ? { reason: "NoValidCACertificate", message: roots.refs?.message ?? "no certificate of an authority" } : undefined);
    return {
      key: `${namespace}/${name}`, namespace, name, createdAt: Date.parse(o.metadata.creationTimestamp ?? "") || 0, targets, rejected, refs: roots.refs, problems: reader.problems,
      tls: {
        mode: "simple", sni: hostname, subjectAltNames: names.length > 0 ? names : [hostname], rootsPem: roots.pem === "system" ? undefined : roots.pem, insecureSkipVerify: false,
        ...(rejected === undefined ? {} : { unusable: `BackendTLSPolicy ${namespace}/${name}: ${rejected.message}` }),
      },
    };
  };
}

function targetsOf(reader: Reader, value: unknown, namespace: string): TlsTarget[] {
  const list = reader.list(value, "spec.targetRefs") ?? [];
  if (list.length === 0) reader.refuse("spec.targetRefs", "must name a Service");
  if (list.length > TARGETS_MAX) reader.refuse("spec.targetRefs", `has more than ${TARGETS_MAX} entries`);
  return list.slice(0, TARGETS_MAX).map((t, i) => {
    const path = `spec.targetRefs[${i}]`;
    const fields = reader.object(t, path, ["group", "kind", "name", "sectionName"]) ?? {};
    const text = (field: string): string => reader.text(fields[field], `${path}.${field}`) ?? "";
    const ref = { group: text("group"), kind: text("kind"), name: text("name") };
    if (ref.kind === "" || ref.name === "") reader.refuse(path, "must name a kind and an object");
    return { ...ref, sectionName: text("sectionName") || undefined, owner: parentKey({ ...ref, namespace }) };
  });
}

/** DNS names and URIs, one of which the certificate must have; empty: the host name itself. */
function namesOf(reader: Reader, value: unknown): string[] {
  const list = reader.list(value, "spec.validation.subjectAltNames") ?? [];
  if (list.length > NAMES_MAX) reader.refuse("spec.validation.subjectAltNames", `has more than ${NAMES_MAX} entries`);
  return list.map((n, i) => {
    const path = `spec.validation.subjectAltNames[${i}]`;
    const fields = reader.object(n, path, ["type", "hostname", "uri"]) ?? {};
    if (fields["type"] === undefined) reader.refuse(`${path}.type`, "is missing");
    const type = reader.oneOf(fields["type"], `${path}.type`, ["Hostname", "URI"]) ?? "Hostname";
    const [field, other] = type === "URI" ? ["uri", "hostname"] as const : ["hostname", "uri"] as const;
    if ((fields[other] ?? "") !== "") reader.refuse(`${path}.${other}`, `is not for type ${type}`);
    const name = reader.text(fields[field], `${path}.${field}`) ?? "";
    if (name === "" || (type === "Hostname" && !HOSTNAME.test(name.replace(/^\*\./, "")))) reader.refuse(`${path}.${field}`, name === "" ? "is missing" : `"${name.slice(0, 80)}" is not a host name in small letters`);
    return name;
  });
}

interface Roots { readonly pem: string; readonly refs: Objection | undefined }

/** `pem`: `system` for the roots that the waypoint's own system trusts, `none` when nobody would be trusted. */
function rootsOf(ctx: Context, configMaps: Collection<KubeObject>, reader: Reader, validation: Fields, namespace: string): Roots {
  const list = reader.list(validation["caCertificateRefs"], "spec.validation.caCertificateRefs") ?? [];
  const wellKnown = reader.oneOf(validation["wellKnownCACertificates"], "spec.validation.wellKnownCACertificates", ["System"]);
  if (list.length > CA_REFS_MAX) reader.refuse("spec.validation.caCertificateRefs", `has more than ${CA_REFS_MAX} entries`);
  if (list.length > 0 && wellKnown !== undefined) reader.refuse("spec.validation", "caCertificateRefs and wellKnownCACertificates exclude each other");
  if (list.length === 0 && wellKnown === undefined) reader.refuse("spec.validation", "must have caCertificateRefs or wellKnownCACertificates");
  if (list.length === 0) return { pem: "system", refs: undefined };
  const found: string[] = [];
  const bad: Objection[] = [];
  for (const [i, r] of list.slice(0, CA_REFS_MAX).entries()) {
    const path = `spec.validation.caCertificateRefs[${i}]`;
    const fields = reader.object(r, path, ["group", "kind", "name"]) ?? {};
    const [group, kind, name] = ["group", "kind", "name"].map((f) => reader.text(fields[f], `${path}.${f}`) ?? "");
    if (group !== "" || kind !== "ConfigMap") { bad.push({ reason: "InvalidKind", message: `${path}: ${group === "" ? "" : `${group}/`}${kind} cannot hold certificates of authorities: only a ConfigMap can` }); continue; }
    const map = ctx.fetchOne(configMaps, { key: `${namespace}/${name}` });
    const pem = map === undefined ? undefined : certificatesIn(map);
    if (pem?.ok === true) found.push(pem.value);
    else bad.push({ reason: "InvalidCACertificateRef", message: `${path}: ConfigMap ${namespace}/${name} ${pem === undefined ? "does not exist, or has no key ca.crt" : pem.error}` });
  }
  const refs = bad[0] === undefined ? undefined : { reason: bad[0].reason, message: bad.map((b) => b.message).join("; ") };
  return { pem: found.length === 0 ? "none" : found.join(""), refs };
}

const olderFirst = (a: BackendTlsInfo, b: BackendTlsInfo): number => a.createdAt - b.createdAt || (a.key < b.key ? -1 : 1);

/** The one that holds where several have the same target and section: the oldest, then by name. */
export const winnerAt = (ctx: Context, inputs: BackendTlsInputs, { owner, sectionName }: Pick<TlsTarget, "owner" | "sectionName">): BackendTlsInfo | undefined =>
  (owner === undefined ? undefined
    : ctx.fetch(inputs.backendTls, { index: [inputs.backendTlsByTarget, owner] }).filter((p) => p.targets.some((t) => t.owner === owner && t.sectionName === sectionName)).sort(olderFirst)[0]);

/** One that names the port is nearer than one that names the service. */
export function withBackendTls(ctx: Context, inputs: BackendTlsInputs, s: ServiceInfo, policy: TrafficPolicy | undefined, saysTls: boolean): TrafficPolicy | undefined {
  const owner = `${s.owner.kind}/${s.owner.namespace}/${s.owner.name}`;
  // A DestinationRule that speaks of TLS has the last word, as in Istio.
  if (saysTls || ctx.fetch(inputs.backendTls, { index: [inputs.backendTlsByTarget, owner] }).length === 0) return policy;
  const whole = winnerAt(ctx, inputs, { owner, sectionName: undefined });
  const named = s.ports.filter((p) => p.tcp).flatMap(({ port, name }): [number, BackendTlsInfo][] => {
    const winner = (name === "" ? undefined : winnerAt(ctx, inputs, { owner, sectionName: name })) ?? whole;
    return winner === undefined ? [] : [[port, winner]];
  });
  if (named.length === 0) return policy;
  const over = (subset: string | undefined): Map<number, TrafficSettings> => new Map(named.map(([port, { tls }]) => [port, { ...trafficSettings(policy, { port, subset }), tls }]));
  const all = (under: ReadonlyMap<number, TrafficSettings> | undefined, subset: string | undefined) => new Map([...(under ?? []), ...over(subset)]);
  return {
    service: s.key, origin: policy?.origin, settings: policy?.settings ?? trafficSettings(undefined, { port: 0, subset: undefined }), ports: all(policy?.ports, undefined),
    subsets: new Map([...(policy?.subsets ?? [])].map(([name, subset]) => [name, { ...subset, ports: all(subset.ports, name) }])),
  };
}
