// Owns service-account tokens: signing ES256 JWTs and verifying them against the objects they are bound to.
import { createPrivateKey, createPublicKey, createHash, randomUUID, sign, verify, type KeyObject } from "node:crypto";
import { asNumber, asObject, asString, asStrings, dig, isObject, type JsonObject } from "../json.ts";
import type { Store } from "../storage/store.ts";
import { AUTHENTICATED, serviceAccountName, type User } from "./user.ts";

export const ISSUER = "https://kubernetes.default.svc.cluster.local";
/** Longer tokens cannot be ours. */
const MAX_TOKEN_CHARS = 16 * 1024;
/** Tolerated difference of clocks. */
const LEEWAY_S = 10;

export interface BoundObject {
  readonly kind: "Pod" | "Node" | "Secret";
  readonly name: string;
  readonly uid: string;
}

interface TokenOrder {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly audiences: readonly string[];
  readonly lifetimeS: number;
  readonly bound: BoundObject | null;
  /** The node of a bound pod. */
  readonly node: { readonly name: string; readonly uid: string } | null;
}

type Verified =
  | { readonly ok: true; readonly user: User; readonly audiences: readonly string[] }
  | { readonly ok: false; readonly why: string };

export class Tokens {
  readonly #key: KeyObject;
  readonly #publicKey: KeyObject;
  readonly #keyId: string;
  readonly #store: Store;
  readonly #now: () => number;

  constructor(privateKeyPem: string, store: Store, now: () => number) {
    this.#key = createPrivateKey(privateKeyPem);
    this.#publicKey = createPublicKey(this.#key);
    const der = this.#publicKey.export({ type: "spki", format: "der" });
    this.#keyId = createHash("sha256").update(der).digest("base64url");
    this.#store = store;
    this.#now = now;
  }

  /** The public key as a JSON Web Key Set. */
  keySet(): JsonObject {
    const key = this.#publicKey.export({ format: "jwk" }) as unknown as JsonObject; // the shape of RFC 7517 is plain JSON
    return { keys: [{ ...key, use: "sig", kid: this.#keyId, alg: "ES256" }] };
  }

  issue(order: TokenOrder): { token: string; expiresAt: string } {
    const now = Math.floor(this.#now() / 1000);
    const exp = now + order.lifetimeS;
    const kubernetes: JsonObject = {
      namespace: order.namespace,
      serviceaccount: { name: order.serviceAccount.name, uid: order.serviceAccount.uid },
    };
    if (order.bound !== null) kubernetes[order.bound.kind.toLowerCase()] = { name: order.bound.name, uid: order.bound.uid };
    if (order.node !== null) kubernetes["node"] = { name: order.node.name, uid: order.node.uid };
    const claims: JsonObject = {
      aud: [...order.audiences],
      exp,
      iat: now,
      iss: ISSUER,
      jti: randomUUID(),
      "kubernetes.io": kubernetes,
      nbf: now,
      sub: serviceAccountName(order.namespace, order.serviceAccount.name),
    };
    const head = encode({ alg: "ES256", kid: this.#keyId });
    const signed = `${head}.${encode(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: this.#key, dsaEncoding: "ieee-p1363" });
    const expiresAt = `${new Date(exp * 1000).toISOString().slice(0, 19)}Z`;
    return { token: `${signed}.${signature.toString("base64url")}`, expiresAt };
  }

  /** Checks signature, times, audience (one of `wanted`) and that every bound object still exists with its uid. */
  verify(token: string, wanted: readonly string[]): Verified {
    const claims = this.#open(token);
    if (typeof claims === "string") return refuse(claims);
    const now = this.#now() / 1000;
    if (asString(claims["iss"]) !== ISSUER) return refuse("the token is not from this issuer");
    if (asNumber(claims["exp"]) < now - LEEWAY_S) return refuse("the token has expired");
    if (asNumber(claims["nbf"]) > now + LEEWAY_S) return refuse("the token is not valid yet");
    const audiences = asStrings(claims["aud"]).filter((audience) => wanted.includes(audience));
    if (audiences.length === 0) return refuse(`the token is for none of the audiences ${JSON.stringify(wanted)}`);
    return this.#identify(claims, audiences);
  }

  #open(token: string): JsonObject | string {
    if (token.length > MAX_TOKEN_CHARS) return "the token is too long";
    const [head, body, signature, extra] = token.split(".");
    if (head === undefined || body === undefined || signature === undefined || extra !== undefined) return "not a JWT";
    const header = decode(head);
    if (header === null || header["alg"] !== "ES256") return "not an ES256 JWT";
    const key = { key: this.#publicKey, dsaEncoding: "ieee-p1363" as const };
    const genuine = verify("sha256", Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url"));
    if (!genuine) return "the signature does not match";
    return decode(body) ?? "the claims are not a JSON object";
  }

  #identify(claims: JsonObject, audiences: readonly string[]): Verified {
    const kubernetes = asObject(claims["kubernetes.io"]);
    const namespace = asString(kubernetes["namespace"]);
    const account = asObject(kubernetes["serviceaccount"]);
    const name = asString(account["name"]);
    const uid = asString(account["uid"]);
    if (!this.#exists("/serviceaccounts", `${namespace}/${name}`, uid)) {
      return refuse(`service account ${namespace}/${name} with uid ${uid} does not exist`);
    }
    const extra: Record<string, string[]> = {
      "authentication.kubernetes.io/credential-id": [`JTI=${asString(claims["jti"])}`],
    };
    for (const kind of ["pod", "node", "secret"] as const) {
      const bound = kubernetes[kind];
      if (!isObject(bound)) continue;
      const at = asString(bound["name"]);
      const boundUid = asString(bound["uid"]);
      const key = kind === "node" ? at : `${namespace}/${at}`;
      // A bound pod names its node for information: only a token bound to the node itself ends with it.
      const binds = kind !== "node" || !isObject(kubernetes["pod"]);
      if (binds && !this.#exists(`/${kind}s`, key, boundUid)) return refuse(`the bound ${kind} ${key} does not exist any more`);
      if (kind === "secret") continue;
      extra[`authentication.kubernetes.io/${kind}-name`] = [at];
      extra[`authentication.kubernetes.io/${kind}-uid`] = [boundUid];
    }
    const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, AUTHENTICATED];
    return { ok: true, user: { name: serviceAccountName(namespace, name), uid, groups, extra }, audiences };
  }

  #exists(bucket: string, key: string, uid: string): boolean {
    const entry = this.#store.get(bucket, key);
    return entry !== undefined && dig(entry.object, "metadata", "uid") === uid;
  }
}

function refuse(why: string): Verified {
  return { ok: false, why };
}

function encode(value: JsonObject): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function decode(part: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return isObject(value) ? value : null;
  } catch {
    return null; // not JSON: the caller names it
  }
}
