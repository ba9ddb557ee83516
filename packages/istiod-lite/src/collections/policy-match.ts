// Owns one `from`, `to` or `when` entry of a rule: its L4 part as a match, the names of what L4 cannot see.
import { parseCidr, type Cidr, type Match, type ServiceAccountMatch, type StringMatch } from "@ambit/core";
import { Reader, type Fields } from "./decode.ts";
import { expandTrustDomains, principalsOfDomain } from "./trust-domain.ts";

/** What a policy's values depend on beside themselves. */
export interface PolicyScope {
  /** Of the policy: that of service accounts without one. */
  readonly namespace: string;
  /** The mesh's own first, then its aliases. */
  readonly trustDomains: readonly string[];
}

/** `match` undefined: nothing of it is visible at L4. `l7` lists the attributes that are not, by path. */
export interface Part {
  readonly match: Match | undefined;
  readonly l7: readonly string[];
}

const EMPTY: Match = {
  namespaces: [], notNamespaces: [], principals: [], notPrincipals: [], serviceAccounts: [], notServiceAccounts: [],
  sourceIps: [], notSourceIps: [], destinationIps: [], notDestinationIps: [], destinationPorts: [], notDestinationPorts: [],
};

const SOURCE_L4 = ["principals", "notPrincipals", "namespaces", "notNamespaces", "ipBlocks", "notIpBlocks", "serviceAccounts", "notServiceAccounts"];
/** The wire has no field for them: the principals of a domain stand for it, where that can be said. */
const SOURCE_DOMAINS = ["trustDomains", "notTrustDomains"];
const SOURCE_L7 = ["requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks"];
const OPERATION_L4 = ["ports", "notPorts"];
const OPERATION_L7 = ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"];

export function sourceMatch(reader: Reader, fields: Fields, path: string, scope: PolicyScope): Part {
  reader.object(fields, path, [...SOURCE_L4, ...SOURCE_DOMAINS, ...SOURCE_L7]);
  const principals = (f: string) => strings(f).flatMap((m) => expandTrustDomains(m, scope.trustDomains));
  const strings = (f: string) => (reader.texts(fields[f], `${path}.${f}`) ?? []).map((t, i) => stringMatch(reader, t, `${path}.${f}[${i}]`));
  const blocks = (f: string) => (reader.texts(fields[f], `${path}.${f}`) ?? []).flatMap((t, i) => cidr(reader, t, `${path}.${f}[${i}]`));
  const accounts = (f: string) => (reader.texts(fields[f], `${path}.${f}`) ?? []).map((t, i) => account(reader, t, `${path}.${f}[${i}]`, scope.namespace));
  const domains = (f: string) => (reader.texts(fields[f], `${path}.${f}`) ?? []).map((t, i) => principalsOf(reader, t, `${path}.${f}[${i}]`));
  const given = (f: string) => (fields[f] ?? undefined) !== undefined;
  for (const f of ["serviceAccounts", "notServiceAccounts"])
    if (given(f) && ["principals", "notPrincipals", "namespaces", "notNamespaces"].some(given)) reader.refuse(`${path}.${f}`, "must not be given together with principals or namespaces");
  const [named, inDomains, outsideDomains] = [principals("principals"), domains("trustDomains"), domains("notTrustDomains")];
  // Domains and principals both hold, but a list of principals is of alternatives: both together cannot be said.
  const sayable = { trustDomains: named.length === 0 && inDomains.every(isSayable), notTrustDomains: outsideDomains.every(isSayable) };
  const l4 = [...SOURCE_L4, ...(sayable.trustDomains ? ["trustDomains"] : []), ...(sayable.notTrustDomains ? ["notTrustDomains"] : [])];
  const match: Match = {
    ...EMPTY,
    principals: sayable.trustDomains ? [...named, ...inDomains.filter(isSayable)] : named,
    notPrincipals: [...principals("notPrincipals"), ...(sayable.notTrustDomains ? outsideDomains.filter(isSayable) : [])],
    namespaces: strings("namespaces"), notNamespaces: strings("notNamespaces"),
    sourceIps: blocks("ipBlocks"), notSourceIps: blocks("notIpBlocks"),
    serviceAccounts: accounts("serviceAccounts"), notServiceAccounts: accounts("notServiceAccounts"),
  };
  return part(reader, fields, path, match, l4, [...SOURCE_L7, ...SOURCE_DOMAINS.filter((f) => !l4.includes(f))]);
}

export function operationMatch(reader: Reader, fields: Fields, path: string): Part {
  reader.object(fields, path, [...OPERATION_L4, ...OPERATION_L7]);
  const ports = (f: string) => (reader.texts(fields[f], `${path}.${f}`) ?? []).flatMap((t, i) => reader.port(t, `${path}.${f}[${i}]`) ?? []);
  return part(reader, fields, path, { ...EMPTY, destinationPorts: ports("ports"), notDestinationPorts: ports("notPorts") }, OPERATION_L4, OPERATION_L7);
}

/** One `when` entry: key, values, notValues. */
export function conditionClause(reader: Reader, value: unknown, path: string, scope: PolicyScope): Part {
  const none: Part = { match: undefined, l7: [] };
  const fields = reader.object(value, path, ["key", "values", "notValues"]);
  if (fields === undefined) {
    reader.refuse(path, "must be an object with key and values");
    return none;
  }
  const key = reader.text(fields["key"], `${path}.key`) ?? "";
  const values = reader.texts(fields["values"], `${path}.values`) ?? [];
  const not = reader.texts(fields["notValues"], `${path}.notValues`) ?? [];
  if (values.length === 0 && not.length === 0) {
    reader.refuse(path, "must have values or notValues");
    return none;
  }
  const each = <T>(list: readonly string[], name: string, read: (t: string, at: string) => T | readonly T[] | undefined): T[] =>
    list.flatMap((t, i) => read(t, `${path}.${name}[${i}]`) ?? []) as T[];
  const both = <T>(read: (t: string, at: string) => T | readonly T[] | undefined) => [each(values, "values", read), each(not, "notValues", read)] as const;
  switch (key) {
    case "source.ip": { const [a, b] = both<Cidr>((t, at) => cidr(reader, t, at)); return l4({ sourceIps: a, notSourceIps: b }); }
    case "destination.ip": { const [a, b] = both<Cidr>((t, at) => cidr(reader, t, at)); return l4({ destinationIps: a, notDestinationIps: b }); }
    case "destination.port": { const [a, b] = both<number>((t, at) => reader.port(t, at)); return l4({ destinationPorts: a, notDestinationPorts: b }); }
    case "source.namespace": { const [a, b] = both<StringMatch>((t, at) => stringMatch(reader, t, at)); return l4({ namespaces: a, notNamespaces: b }); }
    case "source.principal": { const [a, b] = both<StringMatch>((t, at) => expandTrustDomains(stringMatch(reader, t, at), scope.trustDomains)); return l4({ principals: a, notPrincipals: b }); }
    case "source.trustDomain": {
      const [a, b] = both<StringMatch>((t, at) => principalsOf(reader, t, at));
      // One that cannot be said is missing from its list.
      if (a.length === values.length && b.length === not.length) return l4({ principals: a, notPrincipals: b });
      return { match: undefined, l7: [`${path}.key ${key}`] };
    }
    case "source.serviceAccount": {
      const [a, b] = both<ServiceAccountMatch>((t, at) => account(reader, t, at, scope.namespace));
      return l4({ serviceAccounts: a, notServiceAccounts: b });
    }
    default:
      // An attribute that exists is for someone else; a key that exists nowhere is a mistake.
      if (!isOtherKey(key)) reader.refuse(`${path}.key`, `"${key}" is not an attribute of Istio's conditions`);
      return { match: undefined, l7: [`${path}.key ${key}`] };
  }
}

const isOtherKey = (key: string): boolean =>
  ["remote.ip", "request.auth.principal", "request.auth.audiences", "request.auth.presenter", "connection.sni"].includes(key)
  || /^(request\.headers|request\.auth\.claims|experimental\.envoy\.filters\.[a-z0-9_.]+)(\[[^\]]+\])+$/.test(key);

const l4 = (fields: Partial<Match>): Part => ({ match: { ...EMPTY, ...fields }, l7: [] });

function part(reader: Reader, fields: Fields, path: string, match: Match, l4Names: readonly string[], l7Names: readonly string[]): Part {
  const has = (names: readonly string[]) => names.filter((n) => (fields[n] ?? undefined) !== undefined);
  // The values of L7 attributes are not ours to judge, but an empty list is a mistake in any of them.
  for (const n of has(l7Names)) reader.texts(fields[n], `${path}.${n}`);
  return { match: has(l4Names).length === 0 ? undefined : match, l7: has(l7Names).map((n) => `${path}.${n}`) };
}

/** `*` presence, `*x` suffix, `x*` prefix, otherwise exact; a `*` anywhere else has no meaning. */
function stringMatch(reader: Reader, text: string, path: string): StringMatch {
  if (text === "*") return { kind: "presence" };
  const match: StringMatch = text.startsWith("*") ? { kind: "suffix", value: text.slice(1) }
    : text.endsWith("*") ? { kind: "prefix", value: text.slice(0, -1) } : { kind: "exact", value: text };
  if (match.value.includes("*")) reader.refuse(path, `"${text}": a "*" may stand at the start or at the end, once`);
  return match;
}

const isSayable = (m: StringMatch | undefined): m is StringMatch => m !== undefined;

function principalsOf(reader: Reader, text: string, path: string): StringMatch | undefined {
  if (text.includes("/")) reader.refuse(path, `"${text}": a trust domain has no "/"`);
  return principalsOfDomain(stringMatch(reader, text, path));
}

function cidr(reader: Reader, text: string, path: string): readonly Cidr[] {
  const parsed = parseCidr(text);
  if (parsed.ok) return [parsed.value];
  reader.refuse(path, parsed.error);
  return [];
}

function account(reader: Reader, text: string, path: string, namespace: string): ServiceAccountMatch {
  const parts = text.split("/");
  const [first = "", second] = parts;
  if (parts.length > 2 || first === "" || second === "" || text.includes("*")) reader.refuse(path, `"${text}" is not NAMESPACE/SERVICE-ACCOUNT or SERVICE-ACCOUNT`);
  return second === undefined ? { namespace, serviceAccount: first } : { namespace: first, serviceAccount: second };
}
