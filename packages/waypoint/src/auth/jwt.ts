// Owns reading a JWT and judging its claims (RFC 7519, RFC 7515 compact form). Pure; who signed it is verify-token.ts's question.
import { err, ok, type JwtRule, type Result } from "@ambit/core";

/** Characters: three times the largest token that browsers and servers pass. Header limits are far above; this bounds our work. */
const TOKEN_MAX = 16 * 1024;
/** Clocks differ (Envoy's default). */
const SKEW_S = 60;

export interface Jwt {
  readonly algorithm: string;
  readonly keyId: string | undefined;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Base64url, as it came. */
  readonly payload: string;
  /** What the signature is over. */
  readonly signed: string;
  readonly signature: Uint8Array;
}

/** Errors are Envoy's words: users search their logs for them. */
export function parseJwt(token: string): Result<Jwt, string> {
  if (token.length > TOKEN_MAX) return err("Jwt is too long");
  const [header, payload, signature, ...more] = token.split(".");
  if (header === undefined || payload === undefined || signature === undefined || more.length > 0) return err("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections");
  const head = readPart(header);
  if (head === undefined) return err("Jwt header is an invalid JSON");
  const claims = readPart(payload);
  if (claims === undefined) return err("Jwt payload is an invalid JSON");
  const signatureBytes = fromBase64Url(signature);
  if (signatureBytes === undefined || signatureBytes.length === 0) return err("Jwt signature is an invalid Base64url encoded");
  const { alg, kid, crit } = head;
  if (typeof alg !== "string") return err("Jwt header [alg] field is required and must be a string");
  if (kid !== undefined && typeof kid !== "string") return err("Jwt header [kid] field is not a string");
  // RFC 7515 §4.1.11: an extension that must be understood and is not.
  if (crit !== undefined) return err("Jwt header has critical extensions");
  return ok({ algorithm: alg, keyId: kid, claims, payload, signed: `${header}.${payload}`, signature: signatureBytes });
}

/** What is wrong with the claims for this rule; undefined: nothing. `nowMs`: epoch. */
export function checkClaims({ issuer, audiences }: JwtRule, claims: Jwt["claims"], nowMs: number): string | undefined {
  if (own(claims, "iss") !== issuer) return "Jwt issuer is not configured";
  const now = nowMs / 1000;
  const [expires, begins] = [own(claims, "exp"), own(claims, "nbf")];
  if (expires !== undefined && !(typeof expires === "number" && Number.isFinite(expires))) return "Jwt payload [exp] field is not a number";
  if (begins !== undefined && !(typeof begins === "number" && Number.isFinite(begins))) return "Jwt payload [nbf] field is not a number";
  if (expires !== undefined && now > expires + SKEW_S) return "Jwt is expired";
  if (begins !== undefined && now < begins - SKEW_S) return "Jwt not yet valid";
  const subject = own(claims, "sub");
  if (subject !== undefined && typeof subject !== "string") return "Jwt payload [sub] field is not a string";
  if (audiences.length === 0) return undefined;
  const audience = own(claims, "aud");
  const listed = typeof audience === "string" ? [audience] : Array.isArray(audience) ? audience : [];
  return listed.some((a) => typeof a === "string" && audiences.some((wanted) => sameAudience(a, wanted))) ? undefined : "Audiences in Jwt are not allowed";
}

/** The scheme and a final slash do not count (Envoy). */
const sameAudience = (a: string, b: string): boolean => bare(a) === bare(b);
const bare = (audience: string): string => audience.replace(/^https?:\/\//, "").replace(/\/$/, "");

/** `scope`, `permission` and what the rule names are lists written as one text. */
export function splitClaims({ spaceDelimitedClaims }: JwtRule, claims: Jwt["claims"]): Jwt["claims"] {
  const names = ["scope", "permission", ...spaceDelimitedClaims].filter((n) => typeof own(claims, n) === "string");
  return names.length === 0 ? claims : { ...claims, ...Object.fromEntries(names.map((n) => [n, String(claims[n]).split(" ").filter((word) => word !== "")])) };
}

const own = (object: Jwt["claims"], name: string): unknown => (Object.hasOwn(object, name) ? object[name] : undefined);

function readPart(text: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = fromBase64Url(text);
  if (bytes === undefined) return undefined;
  try {
    const json = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const value: unknown = JSON.parse(json);
    // Two readers may each believe another of two equal names.
    return typeof value === "object" && value !== null && !Array.isArray(value) && !repeatsName(json) ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether any object of a (valid) JSON text has the same name twice. */
export function repeatsName(json: string): boolean {
  const names: Set<string>[] = [];
  const objects: boolean[] = [];
  let expectsName = false;
  for (let i = 0; i < json.length; i++) {
    switch (json.charAt(i)) {
      case "{": objects.push(true); names.push(new Set()); expectsName = true; break;
      case "[": objects.push(false); names.push(new Set()); expectsName = false; break;
      case "}": case "]": objects.pop(); names.pop(); expectsName = false; break;
      case ",": expectsName = objects.at(-1) === true; break;
      case '"': {
        const start = i;
        for (i++; json[i] !== '"' && i < json.length; i++) if (json[i] === "\\") i++;
        if (!expectsName) break;
        const name = String(JSON.parse(json.slice(start, i + 1)));
        const seen = names.at(-1);
        if (seen?.has(name) === true) return true;
        seen?.add(name);
        expectsName = false;
        break;
      }
    }
  }
  return false;
}

/** Unpadded, strict (RFC 7515 §2): one text for one value. */
function fromBase64Url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}
