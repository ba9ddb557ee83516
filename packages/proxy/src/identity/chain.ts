// Owns the judgement of what a CA answered: is it ours, is it whole, does it hold together.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { err, formatIdentity, ok, sameIdentity, type Identity, type Result } from "@ambit/core";
import { identityOfLeaf } from "./peer-identity.ts";

/** A workload's certificate with its key and its trust anchors. Times are epoch milliseconds. */
export interface WorkloadCertificate {
  readonly identity: Identity;
  /** Leaf first, then intermediates. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly rootsPem: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Hexadecimal, upper case. */
  readonly serial: string;
  /** SHA-256 of the leaf, hexadecimal with colons. */
  readonly fingerprint: string;
}

/** A chain longer than this is not a mesh CA's. */
const CHAIN_MAX = 16;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** `chain` as on the wire: leaf, intermediates, and as its last element all trust anchors. */
export function readChain(chain: readonly string[], identity: Identity, keyPem: string, now: number): Result<WorkloadCertificate, string> {
  const rootsPem = chain.at(-1) ?? "";
  if (chain.length < 2) return err(`the CA gave ${chain.length} chain element(s): a certificate and its root are needed`);
  if (chain.length > CHAIN_MAX) return err(`the CA gave ${chain.length} chain elements, more than ${CHAIN_MAX}`);
  const path = certificates(chain.slice(0, -1).join("\n"));
  const roots = certificates(rootsPem);
  const [leaf, ...intermediates] = path ?? [];
  if (leaf === undefined) return err("the CA's certificate cannot be parsed");
  if (roots === undefined || roots.length === 0) return err("the CA's roots cannot be parsed");
  const named = identityOfLeaf(leaf.raw);
  if (!named.ok) return err(`the CA's certificate: ${named.error}`);
  if (!sameIdentity(named.value, identity)) return err(`asked for ${formatIdentity(identity)}, the CA certified ${formatIdentity(named.value)}`);
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) return err("the CA's certificate is for another key");
  const notAfter = leaf.validToDate.getTime();
  if (notAfter <= now) return err(`the CA's certificate expired at ${leaf.validToDate.toISOString()}, the time here is ${new Date(now).toISOString()}: is this clock ahead?`);
  if (!anchored(leaf, intermediates, roots)) return err("the CA's certificate does not lead to the roots it came with");
  return ok({
    identity, keyPem, rootsPem,
    chainPem: [leaf, ...intermediates].map((c) => c.toString()).join(""),
    notBefore: leaf.validFromDate.getTime(), notAfter, serial: leaf.serialNumber, fingerprint: leaf.fingerprint256,
  });
}

/** Does a path of `intermediates` lead from the leaf to one of the roots? */
export function anchored(leaf: X509Certificate, intermediates: readonly X509Certificate[], roots: readonly X509Certificate[]): boolean {
  let at = leaf;
  for (let depth = 0; depth <= intermediates.length; depth++) {
    const current = at;
    const issuer = (c: X509Certificate) => current.checkIssued(c) && current.verify(c.publicKey);
    if (roots.some((r) => issuer(r) || (r.fingerprint256 === current.fingerprint256 && depth > 0))) return true;
    const next = intermediates.find((c) => c.fingerprint256 !== current.fingerprint256 && issuer(c));
    if (next === undefined) return false;
    at = next;
  }
  return false;
}

/** Every certificate of a PEM text; undefined if one of them cannot be parsed. */
export function certificates(text: string): X509Certificate[] | undefined {
  try {
    return (text.match(CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem));
  } catch {
    return undefined;
  }
}
