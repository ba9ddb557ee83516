// Owns how the matches of HTTPRoute and GRPCRoute are read (gateway-conformance.md §5).
import type { GrpcMethodMatch, HeaderMatch, PathMatch, QueryMatch, RequestMatch, TextMatch } from "@ambit/core";
import type { Reader } from "../decode.ts";
import { headerName, regex } from "./read.ts";

export const ANY_REQUEST: RequestMatch = {
  path: undefined, method: undefined, grpc: undefined, headers: [], query: [], sourceNamespace: undefined, sourceLabels: {}, claims: [],
};
const ROOT: PathMatch = { kind: "path-prefix", value: "/", ignoreCase: false };
const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] as const;
/** Of Gateway API's CRDs. */
const MATCHES_MAX = 64;
const FIELDS_MAX = 16;

export function httpMatches(reader: Reader, value: unknown, path: string): RequestMatch[] {
  const list = bounded(reader, value, path, MATCHES_MAX);
  if (list.length === 0) return [{ ...ANY_REQUEST, path: ROOT }];
  return list.map((m, i) => {
    const at = `${path}[${i}]`;
    const fields = reader.object(m, at, ["path", "headers", "queryParams", "method"]) ?? {};
    const method = reader.oneOf(fields["method"], `${at}.method`, METHODS);
    return {
      ...ANY_REQUEST, path: httpPath(reader, fields["path"], `${at}.path`), method: method === undefined ? undefined : { kind: "exact", value: method },
      headers: headers(reader, fields["headers"], `${at}.headers`), query: query(reader, fields["queryParams"], `${at}.queryParams`),
    };
  });
}

/** `grpc` undefined: any method of any service. */
export function grpcMatches(reader: Reader, value: unknown, path: string): RequestMatch[] {
  const list = bounded(reader, value, path, MATCHES_MAX);
  if (list.length === 0) return [ANY_REQUEST];
  return list.map((m, i) => {
    const at = `${path}[${i}]`;
    const fields = reader.object(m, at, ["method", "headers"]) ?? {};
    return { ...ANY_REQUEST, grpc: grpcMethod(reader, fields["method"], `${at}.method`), headers: headers(reader, fields["headers"], `${at}.headers`) };
  });
}

function httpPath(reader: Reader, value: unknown, path: string): PathMatch {
  const fields = reader.object(value, path, ["type", "value"]);
  if (fields === undefined) return ROOT;
  const type = reader.oneOf(fields["type"], `${path}.type`, ["Exact", "PathPrefix", "RegularExpression"]) ?? "PathPrefix";
  const text = reader.text(fields["value"], `${path}.value`) ?? "/";
  if (type === "RegularExpression") return { kind: "regex", value: regex(reader, text, `${path}.value`) ?? "", ignoreCase: false };
  if (!text.startsWith("/")) reader.refuse(`${path}.value`, `"${text.slice(0, 80)}" must start with "/"`);
  if (/\/\/|\/\.\.?(\/|$)|%2f|#/i.test(text)) reader.refuse(`${path}.value`, `"${text.slice(0, 80)}" can never match a normalised path`);
  return { kind: type === "Exact" ? "exact" : "path-prefix", value: text, ignoreCase: false };
}

function grpcMethod(reader: Reader, value: unknown, path: string): GrpcMethodMatch | undefined {
  const fields = reader.object(value, path, ["type", "service", "method"]);
  if (fields === undefined) return undefined;
  const kind = reader.oneOf(fields["type"], `${path}.type`, ["Exact", "RegularExpression"]) === "RegularExpression" ? "regex" : "exact";
  const part = (name: "service" | "method"): string | undefined => {
    const text = reader.text(fields[name], `${path}.${name}`);
    // As in the CRD: empty means any.
    if (text === undefined || text === "") return undefined;
    if (kind === "regex") return regex(reader, text, `${path}.${name}`);
    return text.includes("/") ? reader.refuse(`${path}.${name}`, `"${text.slice(0, 80)}" must not contain "/"`) : text;
  };
  const [service, method] = [part("service"), part("method")];
  if (service === undefined && method === undefined) return reader.refuse(path, "must name a service or a method");
  return { kind, service, method };
}

/** Of two with one name the first counts (Gateway API). */
function headers(reader: Reader, value: unknown, path: string): HeaderMatch[] {
  const seen = new Set<string>();
  return bounded(reader, value, path, FIELDS_MAX).flatMap((h, i) => {
    const at = `${path}[${i}]`;
    const fields = reader.object(h, at, ["type", "name", "value"]) ?? {};
    const name = headerName(reader, fields["name"], `${at}.name`);
    const match = text(reader, fields, at);
    if (name === undefined) return reader.refuse(`${at}.name`, "is missing") ?? [];
    if (seen.has(name)) return [];
    seen.add(name);
    // The authority is not among the fields: `Host` is how Gateway API users ask for it.
    return [{ name: name === "host" ? ":authority" : name, value: match, invert: false }];
  });
}

function query(reader: Reader, value: unknown, path: string): QueryMatch[] {
  const seen = new Set<string>();
  return bounded(reader, value, path, FIELDS_MAX).flatMap((q, i) => {
    const at = `${path}[${i}]`;
    const fields = reader.object(q, at, ["type", "name", "value"]) ?? {};
    const name = reader.text(fields["name"], `${at}.name`);
    const match = text(reader, fields, at);
    if (name === undefined) return reader.refuse(`${at}.name`, "is missing") ?? [];
    if (seen.has(name)) return [];
    seen.add(name);
    return [{ name, value: match }];
  });
}

function text(reader: Reader, fields: Readonly<Record<string, unknown>>, path: string): TextMatch {
  const type = reader.oneOf(fields["type"], `${path}.type`, ["Exact", "RegularExpression"]) ?? "Exact";
  const value = reader.text(fields["value"], `${path}.value`) ?? reader.refuse(`${path}.value`, "is missing") ?? "";
  return type === "Exact" ? { kind: "exact", value } : { kind: "regex", value: regex(reader, value, `${path}.value`) ?? "" };
}

function bounded(reader: Reader, value: unknown, path: string, max: number): readonly unknown[] {
  const list = reader.list(value, path) ?? [];
  return list.length > max ? (reader.refuse(path, `has more than ${max} entries`) ?? []) : list;
}
