// Owns verifying the tokens of a request by the rules that apply to it: signature, claims, and what several rules and tokens mean together.
import { constants, verify, type VerifyKeyObjectInput } from "node:crypto";
import { ok, type JwtRule } from "@ambit/core";
import type { RequestFacts, TokenFacts } from "../facts.ts";
import { CANDIDATES_MAX, findTokens, type TokenCandidate } from "../plan/tokens.ts";
import { checkClaims, parseJwt, splitClaims, type Jwt } from "./jwt.ts";
import type { KeySets, PublicKey } from "./key-set.ts";

type Outcome = NonNullable<RequestFacts["token"]>;

/**
 * One token that verifies is enough; with tokens and none that does, the request is refused with the reason nearest to success. Of several
 * valid tokens the one of the first rule (by issuer) speaks for the request.
 */
export function verifyTokens(rules: readonly JwtRule[], { fields, now }: Pick<RequestFacts, "fields" | "now">, query: string | undefined, keySets: KeySets): Outcome {
  const candidates = findTokens(rules, fields, query);
  if (candidates.length === 0) return { kind: "none" };
  if (candidates.length > CANDIDATES_MAX) return { kind: "invalid", reason: "Jwt: too many tokens" };
  const tokens: TokenFacts[] = [];
  let reason: string | undefined;
  for (const candidate of candidates) {
    const rule = rules[candidate.rule];
    if (rule === undefined) continue;
    const verified = verifyToken(rule, candidate, now, keySets);
    if (typeof verified !== "string") tokens.push(verified);
    // A rule of another issuer says nothing about this token.
    else if (reason === undefined || reason === UNKNOWN_ISSUER) reason = verified;
  }
  return tokens.length > 0 ? { kind: "valid", tokens } : { kind: "invalid", reason: reason ?? "Jwt is missing" };
}

const UNKNOWN_ISSUER = "Jwt issuer is not configured";

/** What the token says, or why it is none (Envoy's words). */
function verifyToken(rule: JwtRule, { token, location, rule: index }: TokenCandidate, now: number, keySets: KeySets): TokenFacts | string {
  const keys = rule.jwks === undefined ? undefined : keySets.get(rule.jwks);
  const cache = keys?.ok === true ? provenBy(keys.value) : undefined;
  const known = cache?.get(token);
  const jwt = known === undefined ? parseJwt(token) : ok(known);
  if (!jwt.ok) return jwt.error;
  const { algorithm, claims, payload } = jwt.value;
  const wrong = checkClaims(rule, claims, now);
  if (wrong !== undefined) return wrong;
  if (!ALGORITHMS.has(algorithm)) return "Jwt header [alg] is not supported";
  const found: TokenFacts = { issuer: rule.issuer, subject: typeof claims["sub"] === "string" ? claims["sub"] : "", claims: splitClaims(rule, claims), payload, rule: index, location };
  if (known !== undefined) return found;
  if (keys === undefined) return "Jwks remote fetch is failed";
  if (!keys.ok) return "Jwks is invalid";
  const fitting = keys.value.filter((k) => k.algorithms.includes(algorithm) && (jwt.value.keyId === undefined || k.id === undefined || k.id === jwt.value.keyId));
  if (fitting.length === 0) return "Jwks doesn't have key to match kid or alg from Jwt";
  if (!fitting.some((key) => signatureHolds(jwt.value, key))) return "Jwt verification fails";
  if (cache !== undefined) {
    // The oldest goes first.
    const [oldest] = cache.keys();
    if (cache.size >= PROVEN_MAX && oldest !== undefined) cache.delete(oldest);
    cache.set(token, jwt.value);
  }
  return found;
}

/** Tokens whose signature held, by the very keys: clients send the same one again and again. At most 16 KiB each, usually one. */
const PROVEN_MAX = 512;
const proven = new WeakMap<readonly PublicKey[], Map<string, Jwt>>();

function provenBy(keys: readonly PublicKey[]): Map<string, Jwt> {
  let known = proven.get(keys);
  if (known === undefined) proven.set(keys, (known = new Map<string, Jwt>()));
  return known;
}

interface Check { readonly hash: string | undefined; readonly more: Partial<VerifyKeyObjectInput> }
const check = (hash: string | undefined, more: Check["more"]): Check => ({ hash, more });

/** `none` and the symmetric ones are not in it: an attacker who may choose them needs no key. */
const ALGORITHMS: ReadonlyMap<string, Check> = new Map([
  ...["256", "384", "512"].flatMap((bits): [string, Check][] => [
    [`RS${bits}`, check(`sha${bits}`, { padding: constants.RSA_PKCS1_PADDING })],
    [`PS${bits}`, check(`sha${bits}`, { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })],
    [`ES${bits}`, check(`sha${bits}`, { dsaEncoding: "ieee-p1363" })],
  ]),
  ["EdDSA", check(undefined, {})],
]);

function signatureHolds({ algorithm, signed, signature }: Jwt, { key }: PublicKey): boolean {
  const how = ALGORITHMS.get(algorithm);
  if (how === undefined) return false;
  try {
    return verify(how.hash, Buffer.from(signed, "latin1"), { ...how.more, key }, signature);
  } catch {
    // OpenSSL throws where a signature is not even of the right shape.
    return false;
  }
}
