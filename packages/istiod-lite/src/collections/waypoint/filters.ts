// Owns how Gateway API filters become what is done to a request and its answer (gateway-conformance.md §7).
import type { Context } from "@ambit/collections";
import { problem, type Problem } from "@ambit/core";
import type { AuthorizationProvider, Cors, Filters, Fraction, HeaderChange, Mirror, PathRewrite, Redirect, Rewrite, TextMatch } from "@ambit/core";
import type { Fields, Reader } from "../decode.ts";
import { BACKEND_REF_FIELDS, readBackendRef, resolveBackend, type BackendInputs, type RefProblem } from "./backends.ts";
import { externalAuthOf } from "./external-auth.ts";
import { ALWAYS, flag, headerName, integer, percentage } from "./read.ts";

export const NO_FILTERS: Filters = { request: undefined, response: undefined, rewrite: undefined, mirrors: [], cors: undefined };

export interface DecodedFilters {
  readonly filters: Filters;
  readonly redirect: Redirect | undefined;
  /** `unresolved`: its backend cannot be found (in `refs`): the rule lets nothing pass. */
  readonly externalAuth: AuthorizationProvider | "unresolved" | undefined;
  /** Filters that exclude each other: the route is not accepted (`IncompatibleFilters`). */
  readonly incompatible: Problem | undefined;
  readonly refs: readonly RefProblem[];
}

const TYPES = {
  RequestHeaderModifier: "requestHeaderModifier", ResponseHeaderModifier: "responseHeaderModifier", RequestMirror: "requestMirror",
  RequestRedirect: "requestRedirect", URLRewrite: "urlRewrite", ExtensionRef: "extensionRef", CORS: "cors", ExternalAuth: "externalAuth",
} as const;
type FilterType = keyof typeof TYPES;
const TYPE_NAMES = Object.keys(TYPES) as readonly FilterType[];

/** What each kind and level has. What is not listed is refused with its name: it is never skipped. */
export const RULE_FILTERS = {
  HTTPRoute: ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite", "CORS", "ExternalAuth"],
  GRPCRoute: ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"],
} as const satisfies Record<string, readonly FilterType[]>;
export const BACKEND_FILTERS = {
  HTTPRoute: ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite", "CORS"],
  GRPCRoute: ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"],
} as const satisfies Record<string, readonly FilterType[]>;
/** Of Gateway API's CRDs. */
const FILTERS_MAX = 16;

interface FilterContext {
  readonly ctx: Context;
  readonly inputs: BackendInputs;
  readonly namespace: string;
  readonly allowed: readonly FilterType[];
  /** Whose filters they are, for the log of who was asked. */
  readonly owner: string;
}

export function decodeFilters(reader: Reader, value: unknown, path: string, o: FilterContext): DecodedFilters {
  let { request, response, rewrite, cors }: Filters = NO_FILTERS;
  let redirect: Redirect | undefined;
  let externalAuth: DecodedFilters["externalAuth"];
  const mirrors: Mirror[] = [];
  const refs: RefProblem[] = [];
  const list = reader.list(value, path) ?? [];
  if (list.length > FILTERS_MAX) reader.refuse(path, `has more than ${FILTERS_MAX} entries`);
  const seen = new Set<string>();
  for (const [i, raw] of list.entries()) {
    const at = `${path}[${i}]`;
    const fields = reader.map(raw, at) ?? {};
    const type = reader.oneOf(fields["type"], `${at}.type`, TYPE_NAMES);
    if (type === undefined) { reader.refuse(`${at}.type`, "must name a filter"); continue; }
    const name = TYPES[type];
    reader.object(fields, at, ["type", name]);
    if (!o.allowed.includes(type)) { reader.refuse(at, `the filter ${type}${extension(reader, fields[name])} is not available here`); continue; }
    if (seen.has(type) && type !== "RequestMirror") { reader.refuse(at, `the filter ${type} may be given once`); continue; }
    seen.add(type);
    const body = reader.map(fields[name], `${at}.${name}`);
    if (body === undefined) { reader.refuse(`${at}.${name}`, "is missing"); continue; }
    switch (type) {
      case "RequestHeaderModifier": request = headerChange(reader, body, `${at}.${name}`); break;
      case "ResponseHeaderModifier": response = headerChange(reader, body, `${at}.${name}`); break;
      case "URLRewrite": rewrite = urlRewrite(reader, body, `${at}.${name}`); break;
      case "RequestRedirect": redirect = requestRedirect(reader, body, `${at}.${name}`); break;
      case "CORS": cors = corsOf(reader, body, `${at}.${name}`); break;
      case "RequestMirror": {
        const mirror = mirrorOf(reader, body, `${at}.${name}`, o);
        if ("reason" in mirror) refs.push(mirror);
        else mirrors.push(mirror);
        break;
      }
      case "ExternalAuth": {
        const auth = externalAuthOf(reader, body, `${at}.${name}`, o);
        const unresolved = auth !== undefined && "reason" in auth;
        if (unresolved) refs.push(auth);
        externalAuth = unresolved ? "unresolved" : auth;
        break;
      }
      case "ExtensionRef": break;
    }
  }
  const incompatible = redirect !== undefined && rewrite !== undefined ? problem(path, "a redirect and a rewrite exclude each other") : undefined;
  return { filters: { request, response, rewrite, mirrors, cors }, redirect, externalAuth, incompatible, refs };
}

const extension = (reader: Reader, value: unknown): string => {
  const ref = reader.map(value, "extensionRef") ?? {};
  return typeof ref["kind"] === "string" ? ` (${String(ref["group"] ?? "")}/${ref["kind"]} ${String(ref["name"] ?? "")})` : "";
};

function headerChange(reader: Reader, fields: Fields, path: string): HeaderChange {
  reader.object(fields, path, ["set", "add", "remove"]);
  const seen = new Set<string>();
  const once = (name: string | undefined, at: string): name is string => {
    if (name === undefined) return false;
    if (seen.has(name)) { reader.refuse(at, `${name}: one action per header`); return false; }
    seen.add(name);
    return true;
  };
  const pairs = (what: "set" | "add") => (reader.list(fields[what], `${path}.${what}`) ?? []).flatMap((h, i): [string, string][] => {
    const at = `${path}.${what}[${i}]`;
    const pair = reader.object(h, at, ["name", "value"]) ?? {};
    const name = headerName(reader, pair["name"], `${at}.name`);
    const value = headerValue(reader, pair["value"], `${at}.value`);
    return once(name, at) && value !== undefined ? [[name, value]] : [];
  });
  const set = pairs("set");
  const add = pairs("add");
  const remove = (reader.list(fields["remove"], `${path}.remove`) ?? []).flatMap((h, i) => {
    const name = headerName(reader, h, `${path}.remove[${i}]`);
    return once(name, `${path}.remove[${i}]`) ? [name] : [];
  });
  return { set, add, remove };
}

/** What would end the field, and with it begin another, is refused. */
export function headerValue(reader: Reader, value: unknown, path: string): string | undefined {
  const text = reader.text(value, path);
  // eslint-disable-next-line no-control-regex
  return text !== undefined && /[\u0000-\u0008\u000a-\u001f\u007f]/.test(text) ? reader.refuse(path, "has a control character") : text;
}

const HOSTNAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
function hostname(reader: Reader, value: unknown, path: string): string | undefined {
  const text = reader.text(value, path);
  return text === undefined || (HOSTNAME.test(text) && text.length <= 253) ? text : reader.refuse(path, `"${text.slice(0, 80)}" is not a hostname`);
}

function pathChange(reader: Reader, value: unknown, path: string): PathRewrite | undefined {
  const fields = reader.object(value, path, ["type", "replaceFullPath", "replacePrefixMatch"]);
  if (fields === undefined) return undefined;
  const type = reader.oneOf(fields["type"], `${path}.type`, ["ReplaceFullPath", "ReplacePrefixMatch"]);
  if (type === undefined) return reader.refuse(`${path}.type`, "is missing");
  const name = type === "ReplaceFullPath" ? "replaceFullPath" : "replacePrefixMatch";
  const text = reader.text(fields[name], `${path}.${name}`);
  if (text === undefined) return reader.refuse(`${path}.${name}`, "is missing");
  return { kind: type === "ReplaceFullPath" ? "full" : "prefix", value: text };
}

function urlRewrite(reader: Reader, fields: Fields, path: string): Rewrite {
  reader.object(fields, path, ["hostname", "path"]);
  return { hostname: hostname(reader, fields["hostname"], `${path}.hostname`), path: pathChange(reader, fields["path"], `${path}.path`) };
}

function requestRedirect(reader: Reader, fields: Fields, path: string): Redirect {
  reader.object(fields, path, ["scheme", "hostname", "path", "port", "statusCode"]);
  const scheme = reader.oneOf(fields["scheme"], `${path}.scheme`, ["http", "https"]);
  const port = fields["port"] === undefined ? undefined : reader.port(fields["port"], `${path}.port`);
  const status = integer(reader, fields["statusCode"], `${path}.statusCode`, 300, 399) ?? 302;
  if (![301, 302, 303, 307, 308].includes(status)) reader.refuse(`${path}.statusCode`, `${status} is none of 301, 302, 303, 307, 308`);
  return {
    scheme, hostname: hostname(reader, fields["hostname"], `${path}.hostname`), path: pathChange(reader, fields["path"], `${path}.path`), status,
    // Another scheme brings its own port along (GEP-726).
    port: port ?? (scheme === undefined ? undefined : "derive-from-scheme"),
  };
}

function mirrorOf(reader: Reader, fields: Fields, path: string, o: FilterContext): Mirror | RefProblem {
  reader.object(fields, path, ["backendRef", "percent", "fraction"]);
  const at = `${path}.backendRef`;
  const ref = readBackendRef(reader, reader.object(fields["backendRef"], at, BACKEND_REF_FIELDS) ?? {}, at);
  const percent = percentage(reader, integer(reader, fields["percent"], `${path}.percent`, 0, 100), `${path}.percent`);
  const part = reader.object(fields["fraction"], `${path}.fraction`, ["numerator", "denominator"]);
  if (percent !== undefined && part !== undefined) reader.refuse(path, "percent and fraction exclude each other");
  const denominator = integer(reader, part?.["denominator"], `${path}.fraction.denominator`, 1, 2 ** 31 - 1) ?? 100;
  const fraction: Fraction | undefined = part === undefined ? percent
    : { numerator: integer(reader, part["numerator"], `${path}.fraction.numerator`, 0, denominator) ?? 0, denominator };
  const resolved = resolveBackend(o.ctx, o.inputs, ref, o.namespace);
  return resolved.ok ? { backend: resolved.backend, fraction: fraction ?? ALWAYS } : { ...resolved.problem, message: `${at}: ${resolved.problem.message}` };
}

/** Seconds; what Gateway API says when nothing is given. */
const MAX_AGE_S = 5;

function corsOf(reader: Reader, fields: Fields, path: string): Cors {
  reader.object(fields, path, ["allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "allowCredentials", "maxAge"]);
  const texts = (name: string): readonly string[] => (fields[name] === undefined ? [] : (reader.texts(fields[name], `${path}.${name}`) ?? []));
  return {
    origins: texts("allowOrigins").flatMap((o, i) => origin(reader, o, `${path}.allowOrigins[${i}]`) ?? []),
    methods: texts("allowMethods"), headers: texts("allowHeaders").map((h) => h.toLowerCase()), exposeHeaders: texts("exposeHeaders").map((h) => h.toLowerCase()),
    maxAgeS: integer(reader, fields["maxAge"], `${path}.maxAge`, 1, 2 ** 31 - 1) ?? MAX_AGE_S,
    credentials: flag(reader, fields["allowCredentials"], `${path}.allowCredentials`) ?? false,
    unmatchedPreflight: "answer",
  };
}

/** `*`, `https://host`, `https://*.host` (greedy over labels to the left), each with an optional port. */
function origin(reader: Reader, text: string, path: string): TextMatch | undefined {
  if (text === "*") return { kind: "present" };
  const parts = /^(https?):\/\/(\*\.|\*(?=$|:))?([a-zA-Z0-9.-]*)(:\*|:[0-9]{1,5})?$/.exec(text);
  if (parts === null) return reader.refuse(path, `"${text.slice(0, 80)}" is not an origin`);
  const [, scheme, star, host = "", port = ""] = parts;
  if (star === undefined && port !== ":*") return { kind: "exact", value: text.toLowerCase() };
  const name = star === undefined ? "" : star === "*" ? "[a-z0-9.-]+" : "[a-z0-9.-]+\\.";
  return { kind: "regex", value: `${scheme}://${name}${host.toLowerCase().replaceAll(".", "\\.")}${port === ":*" ? "(:[0-9]+)?" : port}` };
}
