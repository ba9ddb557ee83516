// Owns one `from`, `to` or `when` entry of an L7 policy, read whole (l7-authz.md §2).
import { checkTemplate, parseCidr, type Cidr, type ConditionKey, type Either, type PathPattern, type PolicyCondition, type PolicyOperation, type PolicySource, type ServiceAccountMatch, type StringMatch } from "@ambit/core";
import type { Fields, Reader } from "../decode.ts";
import type { PolicyScope } from "../policy-match.ts";
import { expandTrustDomains } from "../trust-domain.ts";

const NONE: Either<never> = { any: [], not: [] };
const SOURCE = ["principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals", "namespaces", "notNamespaces", "ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks", "serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains"];
const OPERATION = ["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];
/** Of Istio's validation. */
const ACCOUNTS_MAX = 16;

export function sourceOf(reader: Reader, fields: Fields, path: string, scope: PolicyScope): PolicySource {
  reader.object(fields, path, SOURCE);
  const either = eitherOf(reader, fields, path);
  const given = (f: string): boolean => (fields[f] ?? undefined) !== undefined;
  for (const f of ["serviceAccounts", "notServiceAccounts"])
    if (given(f) && ["principals", "notPrincipals", "namespaces", "notNamespaces"].some(given)) reader.refuse(`${path}.${f}`, "must not be given together with principals or namespaces");
  return {
    principals: either("principals", (t, at) => expandTrustDomains(stringMatch(reader, t, at), scope.trustDomains)),
    namespaces: either("namespaces", (t, at) => [stringMatch(reader, t, at)]),
    serviceAccounts: either("serviceAccounts", (t, at) => account(reader, t, at, scope.namespace), ACCOUNTS_MAX),
    trustDomains: either("trustDomains", (t, at) => trustDomain(reader, t, at)),
    ipBlocks: either("ipBlocks", (t, at) => block(reader, t, at)), remoteIpBlocks: either("remoteIpBlocks", (t, at) => block(reader, t, at)),
    requestPrincipals: either("requestPrincipals", (t, at) => [stringMatch(reader, t, at)]),
  };
}

export function operationOf(reader: Reader, fields: Fields, path: string): PolicyOperation {
  reader.object(fields, path, OPERATION);
  const either = eitherOf(reader, fields, path);
  return {
    hosts: either("hosts", (t, at) => [stringMatch(reader, t, at)]), methods: either("methods", (t, at) => [stringMatch(reader, t, at)]),
    paths: either("paths", (t, at) => [pathPattern(reader, t, at)]), ports: either("ports", (t, at) => port(reader, t, at)),
  };
}

export function conditionOf(reader: Reader, value: unknown, path: string, scope: PolicyScope): PolicyCondition | undefined {
  const fields = reader.object(value, path, ["key", "values", "notValues"]);
  if (fields === undefined) return reader.refuse(path, "must be an object with key and values");
  const text = reader.text(fields["key"], `${path}.key`) ?? "";
  const key = keyOf(text);
  if (key === undefined) return reader.refuse(`${path}.key`, `"${text}" is not an attribute that a waypoint knows`);
  if ((fields["values"] ?? undefined) === undefined && (fields["notValues"] ?? undefined) === undefined) return reader.refuse(path, "must have values or notValues");
  const both = <T>(read: (t: string, at: string) => readonly T[]): Either<T> => {
    const each = (name: "values" | "notValues") => (reader.texts(fields[name], `${path}.${name}`) ?? []).flatMap((t, i) => read(t, `${path}.${name}[${i}]`));
    return { any: each("values"), not: each("notValues") };
  };
  const nothing = { key, strings: NONE, blocks: NONE, ports: NONE, accounts: NONE };
  switch (key.kind) {
    case "source.ip": case "remote.ip": case "destination.ip": return { ...nothing, blocks: both((t, at) => block(reader, t, at)) };
    case "destination.port": return { ...nothing, ports: both((t, at) => port(reader, t, at)) };
    case "source.serviceAccount": return { ...nothing, accounts: both((t, at) => account(reader, t, at, scope.namespace)) };
    case "source.principal": return { ...nothing, strings: both((t, at) => expandTrustDomains(stringMatch(reader, t, at), scope.trustDomains)) };
    case "source.trustDomain": return { ...nothing, strings: both((t, at) => trustDomain(reader, t, at)) };
    case "header": case "source.namespace": case "connection.sni": case "auth.principal": case "auth.audiences": case "auth.presenter": case "auth.claims":
      return { ...nothing, strings: both((t, at) => [stringMatch(reader, t, at)]) };
  }
}

const PLAIN = ["source.ip", "remote.ip", "destination.ip", "source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain", "destination.port", "connection.sni"] as const;
const AUTH = ["principal", "audiences", "presenter"] as const;

function keyOf(text: string): ConditionKey | undefined {
  const plain = PLAIN.find((k) => k === text);
  if (plain !== undefined) return { kind: plain };
  const auth = AUTH.find((a) => text === `request.auth.${a}`);
  if (auth !== undefined) return { kind: `auth.${auth}` };
  const header = /^request\.headers\[([^\]]+)\]$/.exec(text)?.[1];
  if (header !== undefined) return { kind: "header", name: header.toLowerCase() };
  const claims = /^request\.auth\.claims((?:\[[^\]]+\])+)$/.exec(text)?.[1];
  return claims === undefined ? undefined : { kind: "auth.claims", path: [...claims.matchAll(/\[([^\]]+)\]/g)].map((m) => m[1] ?? "") };
}

/** Attributes that only a verified identity or token has: not for CUSTOM, which is asked before both (l7-authz.md §5). */
export const isIdentityKey = (key: ConditionKey): boolean => key.kind.startsWith("auth.") || (key.kind.startsWith("source.") && key.kind !== "source.ip");
export const IDENTITY_FIELDS = SOURCE.filter((f) => !/ipblocks$/i.test(f));

function eitherOf(reader: Reader, fields: Fields, path: string) {
  return <T>(name: string, read: (text: string, at: string) => readonly T[], max = Infinity): Either<T> => {
    const each = (field: string): T[] => {
      const texts = reader.texts(fields[field], `${path}.${field}`) ?? [];
      if (texts.length > max) reader.refuse(`${path}.${field}`, `has more than ${max} entries`);
      return texts.flatMap((t, i) => read(t, `${path}.${field}[${i}]`));
    };
    return { any: each(name), not: each(`not${name.charAt(0).toUpperCase()}${name.slice(1)}`) };
  };
}

/** `*` presence, `*x` suffix, `x*` prefix, otherwise exact; a `*` anywhere else has no meaning. */
export function stringMatch(reader: Reader, text: string, path: string): StringMatch {
  if (text === "*") return { kind: "presence" };
  const match: StringMatch = text.startsWith("*") ? { kind: "suffix", value: text.slice(1) }
    : text.endsWith("*") ? { kind: "prefix", value: text.slice(0, -1) } : { kind: "exact", value: text };
  if (match.value.includes("*")) reader.refuse(path, `"${text}": a "*" may stand at the start or at the end, once`);
  return match;
}

function pathPattern(reader: Reader, text: string, path: string): PathPattern {
  if (!text.includes("{*}") && !text.includes("{**}")) return stringMatch(reader, text, path);
  const wrong = checkTemplate(text);
  if (wrong !== undefined) reader.refuse(path, wrong);
  return { kind: "template", value: text };
}

function trustDomain(reader: Reader, text: string, path: string): readonly StringMatch[] {
  if (text.includes("/")) reader.refuse(path, `"${text}": a trust domain has no "/"`);
  return [stringMatch(reader, text, path)];
}

function block(reader: Reader, text: string, path: string): readonly Cidr[] {
  const parsed = parseCidr(text);
  if (parsed.ok) return [parsed.value];
  reader.refuse(path, parsed.error);
  return [];
}

function port(reader: Reader, text: string, path: string): readonly number[] {
  return [reader.port(text, path) ?? 0];
}

function account(reader: Reader, text: string, path: string, namespace: string): readonly ServiceAccountMatch[] {
  const parts = text.split("/");
  const [first = "", second] = parts;
  if (parts.length > 2 || first === "" || second === "" || text.includes("*")) reader.refuse(path, `"${text}" is not NAMESPACE/SERVICE-ACCOUNT or SERVICE-ACCOUNT`);
  return [second === undefined ? { namespace, serviceAccount: first } : { namespace: first, serviceAccount: second }];
}
