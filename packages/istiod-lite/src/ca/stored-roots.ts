// Owns how the record of roots is written down: one entry a root, JSON under its fingerprint. What is not understood is left out, not trusted.
import { X509Certificate } from "node:crypto";
import type { StoredRoot, StoredRoots } from "./keeper.ts";

/** A mesh has one root, two or three while it rolls. */
const ROOTS_MAX = 20;

export function encodeRoots(roots: StoredRoots): Record<string, string> {
  return Object.fromEntries([...roots].map(([fingerprint, r]) => [keyOf(fingerprint), JSON.stringify(r)]));
}

export function decodeRoots(data: Readonly<Record<string, string>>): StoredRoots {
  const out = new Map<string, StoredRoot>();
  for (const text of Object.values(data)) {
    const root = decode(text);
    if (root !== undefined && out.size < ROOTS_MAX) out.set(root[0], root[1]);
  }
  return out;
}

/** Under the fingerprint of the certificate that it holds, whatever its key says. */
function decode(text: string): [string, StoredRoot] | undefined {
  try {
    const { pem, knownFrom, inUseUntil } = JSON.parse(text) as Partial<Record<keyof StoredRoot, unknown>>;
    if (typeof pem !== "string" || typeof knownFrom !== "number" || typeof inUseUntil !== "number" || !Number.isFinite(knownFrom) || !Number.isFinite(inUseUntil)) return undefined;
    const certificate = new X509Certificate(pem);
    return certificate.ca ? [certificate.fingerprint256, { pem: certificate.toString(), knownFrom, inUseUntil }] : undefined;
  } catch {
    return undefined;
  }
}

/** Keys of a Secret take no colons. */
const keyOf = (fingerprint: string): string => fingerprint.replaceAll(":", "").toLowerCase();
