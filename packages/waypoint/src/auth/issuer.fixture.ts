// An issuer of tokens for tests: keys of every kind made once, tokens signed, and tokens that are wrong on purpose.
import { constants, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

const pairs = {
  RSA: generateKeyPairSync("rsa", { modulusLength: 2048 }), short: generateKeyPairSync("rsa", { modulusLength: 1024 }), "P-256": generateKeyPairSync("ec", { namedCurve: "P-256" }),
  "P-384": generateKeyPairSync("ec", { namedCurve: "P-384" }), "P-521": generateKeyPairSync("ec", { namedCurve: "P-521" }), Ed25519: generateKeyPairSync("ed25519"),
};
export type KeyName = keyof typeof pairs;
const KEY_OF: Readonly<Record<string, KeyName>> = {
  RS256: "RSA", RS384: "RSA", RS512: "RSA", PS256: "RSA", PS384: "RSA", PS512: "RSA", ES256: "P-256", ES384: "P-384", ES512: "P-521", EdDSA: "Ed25519",
};

export const publicJwk = (name: KeyName): object => ({ ...pairs[name].publicKey.export({ format: "jwk" }), kid: name });
export const jwksOf = (...names: readonly KeyName[]): string => JSON.stringify({ keys: names.map(publicJwk) });
export const publicPem = (name: KeyName): string => pairs[name].publicKey.export({ format: "pem", type: "spki" }).toString();
export const b64 = (value: unknown): string => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** `head` is merged over alg and kid; `key` undefined: the usual one for the algorithm. */
export function tokenOf(algorithm: string, claims: unknown, head: object = {}, key: KeyObject = pairs[KEY_OF[algorithm] ?? "RSA"].privateKey): string {
  const signed = `${b64({ alg: algorithm, kid: KEY_OF[algorithm], ...head })}.${typeof claims === "string" ? b64(claims) : b64(claims)}`;
  const hash = algorithm === "EdDSA" ? undefined : `sha${algorithm.slice(2)}`;
  const how = algorithm.startsWith("PS") ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : algorithm.startsWith("ES") ? { dsaEncoding: "ieee-p1363" as const } : {};
  return `${signed}.${sign(hash, Buffer.from(signed), { key, ...how }).toString("base64url")}`;
}
