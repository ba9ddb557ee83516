// Owns CORS (Fetch standard): what a preflight is told, and what is added to other answers.
import { fieldValue, withoutFields } from "./fields.ts";
import { textMatches } from "./match-request.ts";
import type { Cors } from "./route.ts";

export interface Preflight { readonly origin: string; readonly method: string; readonly headers: string | undefined }

/** An OPTIONS request that a browser sends of its own accord; without both fields it is an ordinary OPTIONS. */
export function preflightOf(method: string, fields: readonly string[]): Preflight | undefined {
  if (method !== "OPTIONS") return undefined;
  const origin = fieldValue(fields, "origin");
  const asked = fieldValue(fields, "access-control-request-method");
  return origin === undefined || asked === undefined ? undefined : { origin, method: asked, headers: fieldValue(fields, "access-control-request-headers") };
}

export const originAllowed = (cors: Cors, origin: string): boolean => cors.origins.some((o) => textMatches(o, origin) || (o.kind === "exact" && o.value === "*"));

/** The fields that answer a preflight from an allowed origin. `*` becomes what was asked for where credentials forbid the word. */
export function preflightFields(cors: Cors, { origin, method, headers }: Preflight): string[] {
  const fields = originFields(cors, origin);
  const methods = cors.methods.includes("*") ? (cors.credentials ? [method] : ["*"]) : cors.methods;
  if (methods.length > 0) fields.push("access-control-allow-methods", methods.join(","));
  if (cors.headers.includes("*")) {
    if (headers !== undefined) fields.push("access-control-allow-headers", cors.credentials ? headers : "*");
  } else if (cors.headers.length > 0) fields.push("access-control-allow-headers", cors.headers.join(","));
  if (cors.maxAgeS !== undefined) fields.push("access-control-max-age", String(cors.maxAgeS));
  return fields;
}

/** An answer to `origin`, with our word on CORS in place of what the application said. */
export function withCors(fields: readonly string[], cors: Cors, origin: string): string[] {
  const plain = withoutFields(fields, (name) => name === "access-control-allow-origin" || name === "access-control-allow-credentials" || name === "access-control-expose-headers");
  const names = (): string[] => [...new Set(plain.filter((_, i) => i % 2 === 0))];
  const exposed = cors.exposeHeaders.includes("*") && cors.credentials ? names() : cors.exposeHeaders;
  return [...plain, ...originFields(cors, origin), ...(exposed.length > 0 ? ["access-control-expose-headers", exposed.join(",")] : [])];
}

/** `*` only where everybody may come and no credentials do; else the origin, and that the answer depends on it. */
function originFields(cors: Cors, origin: string): string[] {
  const anybody = cors.origins.some((o) => o.kind === "present" || (o.kind === "exact" && o.value === "*"));
  const fields = anybody && !cors.credentials ? ["access-control-allow-origin", "*"] : ["access-control-allow-origin", origin, "vary", "origin"];
  if (cors.credentials) fields.push("access-control-allow-credentials", "true");
  return fields;
}
