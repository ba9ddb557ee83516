// Owns how a RequestAuthentication with targetRefs becomes token rules, and which keys must be fetched for them (l7-authz.md §4).
import type { Collection, Context } from "@ambit/collections";
import { describeProblems, type JwtRule, type RequestAuthentication } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader } from "../decode.ts";
import type { TargetInputs } from "./policy-target.ts";
import { flag, headerName, istioDuration } from "./read.ts";
import { attach, isTargeted, type AttachedPolicy } from "./request-policy.ts";

/** A set of keys that rules need: found at a URI, or at the one that an issuer's discovery document names. */
export interface WantedKeys {
  readonly key: string;
  readonly uri: string;
  readonly discovery: boolean;
  /** Milliseconds that one attempt may take. */
  readonly timeoutMs: number;
}
/** What came of it. `jwks` undefined: nothing yet, or not any more. */
export interface FetchedKeys { readonly key: string; readonly jwks: string | undefined; readonly error: string | undefined }

export interface AttachedAuthentication extends AttachedPolicy<RequestAuthentication> { readonly wanted: readonly WantedKeys[] }

/** Of Istio's CRDs. */
const RULES_MAX = 4_096;
const URI_MAX = 2_048;
const SPACE_DELIMITED_MAX = 64;
/** Istio's default for one fetch. */
const TIMEOUT_MS = 5_000;
const RULE = ["issuer", "audiences", "jwksUri", "jwks", "fromHeaders", "fromParams", "fromCookies", "outputPayloadToHeader", "forwardOriginalToken", "outputClaimToHeaders", "timeout", "spaceDelimitedClaims"];

export function requestAuthenticationOf(inputs: TargetInputs, fetched: Collection<FetchedKeys>) {
  return (ctx: Context, o: KubeObject): AttachedAuthentication | undefined => {
    if (!isTargeted(o)) return undefined;
    const { name, namespace = "" } = o.metadata;
    const reader = new Reader();
    const spec = reader.object(o["spec"], "spec", ["targetRef", "targetRefs", "jwtRules"]) ?? {};
    const where = attach(ctx, inputs, reader, spec, o);
    const list = reader.list(spec["jwtRules"], "spec.jwtRules") ?? [];
    if (list.length > RULES_MAX) reader.refuse("spec.jwtRules", `has more than ${RULES_MAX} entries`);
    const wanted: WantedKeys[] = [];
    const remarks: string[] = [];
    const rules = list.slice(0, RULES_MAX).flatMap((r, i) => {
      const path = `spec.jwtRules[${i}]`;
      const rule = jwtRule(reader, r, path);
      if (rule?.keys.kind === "inline" && rule.jwks === undefined) remarks.push(`${path}.jwks is no set of keys: every token of ${rule.issuer} fails`);
      if (rule?.keys.kind !== "fetched") return rule ?? [];
      wanted.push(rule.keys.wanted);
      const found = ctx.fetchOne(fetched, { key: rule.keys.wanted.key });
      if (found?.jwks === undefined) remarks.push(`no keys of ${rule.issuer} yet (${found?.error ?? "not fetched so far"}): every token of it fails`);
      return { ...rule, jwks: found?.jwks };
    });
    return {
      key: `${namespace}/${name}`, waypoints: where.waypoints, misses: where.misses, remarks, problems: reader.problems, wanted: reader.problems.length > 0 ? [] : wanted,
      policy: {
        namespace, name, targets: where.targets, rules: rules.map(({ keys: _keys, ...rule }) => rule),
        refused: reader.problems.length > 0 ? describeProblems(reader.problems) : undefined,
      },
    };
  };
}

type Keys = { readonly kind: "inline" } | { readonly kind: "fetched"; readonly wanted: WantedKeys };

function jwtRule(reader: Reader, value: unknown, path: string): (JwtRule & { readonly keys: Keys }) | undefined {
  const fields = reader.object(value, path, RULE);
  const issuer = reader.text(fields?.["issuer"], `${path}.issuer`) ?? "";
  if (fields === undefined || issuer === "") return reader.refuse(`${path}.issuer`, "is missing");
  const texts = (name: string): readonly string[] => (fields[name] === undefined ? [] : (reader.texts(fields[name], `${path}.${name}`) ?? []));
  const timeoutMs = istioDuration(reader, fields["timeout"], `${path}.timeout`) || TIMEOUT_MS;
  const inline = reader.text(fields["jwks"], `${path}.jwks`);
  const uri = reader.text(fields["jwksUri"], `${path}.jwksUri`);
  if (inline !== undefined && uri !== undefined) reader.refuse(`${path}.jwks`, "must not be given together with jwksUri");
  if (uri !== undefined) fetchable(reader, uri, `${path}.jwksUri`);
  if (inline === undefined && uri === undefined) fetchable(reader, issuer, `${path}.issuer`);
  const space = texts("spaceDelimitedClaims");
  if (space.length > SPACE_DELIMITED_MAX) reader.refuse(`${path}.spaceDelimitedClaims`, `has more than ${SPACE_DELIMITED_MAX} entries`);
  return {
    issuer, audiences: texts("audiences"), jwks: inline !== undefined && isKeySet(inline) ? inline : undefined,
    fromHeaders: (fields["fromHeaders"] === undefined ? [] : (reader.someOf(fields["fromHeaders"], `${path}.fromHeaders`) ?? [])).flatMap((h, i) => {
      const at = `${path}.fromHeaders[${i}]`;
      const header = reader.object(h, at, ["name", "prefix"]);
      const name = headerName(reader, header?.["name"], `${at}.name`);
      return name === undefined ? (reader.refuse(`${at}.name`, "is missing") ?? []) : [{ name, prefix: reader.text(header?.["prefix"], `${at}.prefix`) ?? "" }];
    }),
    fromParams: texts("fromParams"), fromCookies: texts("fromCookies"),
    forwardOriginalToken: flag(reader, fields["forwardOriginalToken"], `${path}.forwardOriginalToken`) ?? false,
    outputPayloadToHeader: headerName(reader, fields["outputPayloadToHeader"], `${path}.outputPayloadToHeader`),
    outputClaimToHeaders: claimHeaders(reader, fields["outputClaimToHeaders"], `${path}.outputClaimToHeaders`), spaceDelimitedClaims: space,
    keys: inline !== undefined ? { kind: "inline" } : { kind: "fetched", wanted: uri !== undefined
      ? { key: `jwks ${uri}`, uri, discovery: false, timeoutMs }
      : { key: `issuer ${issuer}`, uri: `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, discovery: true, timeoutMs } },
  };
}

function claimHeaders(reader: Reader, value: unknown, path: string): { header: string; claim: string }[] {
  const seen = new Set<string>();
  return (reader.list(value, path) ?? []).flatMap((c, i) => {
    const at = `${path}[${i}]`;
    const fields = reader.object(c, at, ["header", "claim"]);
    const header = headerName(reader, fields?.["header"], `${at}.header`);
    const claim = reader.text(fields?.["claim"], `${at}.claim`) ?? "";
    if (header === undefined || claim === "") return reader.refuse(at, "must name a header and a claim") ?? [];
    if (seen.has(header)) return reader.refuse(`${at}.header`, `${header}: one claim per header`) ?? [];
    seen.add(header);
    return [{ header, claim }];
  });
}

function fetchable(reader: Reader, uri: string, path: string): void {
  if (uri.length > URI_MAX) reader.refuse(path, `is longer than ${URI_MAX} characters`);
  else if (!/^https?:\/\/[^/?#@\s]+([/?][^#\s]*)?$/i.test(uri)) reader.refuse(path, `"${uri.slice(0, 80)}" is no http or https address that keys could be fetched from`);
}

/** A JSON Web Key Set (RFC 7517 §5), as far as its outside tells. */
export function isKeySet(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "keys" in value && Array.isArray(value.keys);
  } catch {
    return false;
  }
}
