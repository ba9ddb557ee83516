// Owns the control plane's own serving certificate: issued by its authority, renewed at half its life, replaced live.
import { generateKeyPairSync } from "node:crypto";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import { nameOfRevision } from "../collections/scope.ts";
import { CLOCK_SKEW_MS, type Authority } from "./authority.ts";

export const SERVING_TTL_MS = 24 * 3600 * 1000;
/** After a failed renewal. */
const RETRY_MS = 60_000;
/** Not closer than this, whatever the authority's remaining life says. */
const RENEW_MIN_MS = 10_000;

export interface KeyAndChain {
  readonly keyPem: string;
  /** Leaf and intermediates, concatenated. */
  readonly certPem: string;
}

export interface ServingCertificate {
  current(): KeyAndChain;
  /** Runs after each replacement. */
  onRotate(listener: (next: KeyAndChain) => void): () => void;
  /** Issues a new one now, for example after the authority was replaced. */
  renew(): Promise<void>;
  close(): void;
}

/** The names under which clients know the control plane. */
export function servingNames(namespace: string, revision = ""): string[] {
  const plain = ["istiod", "istiod-remote", "istio-pilot"];
  return [...new Set([...plain, ...plain.map((n) => nameOfRevision(n, revision))])].map((n) => `${n}.${namespace}.svc`);
}

export async function createServingCertificate(o: {
  readonly authority: () => Authority; readonly dnsNames: readonly string[]; readonly clock: Clock; readonly log: Logger;
}): Promise<ServingCertificate> {
  const listeners = new Set<(next: KeyAndChain) => void>();
  let timer: Timer | undefined;
  let closed = false;
  let { pair, notAfter } = await issue(o);

  const plan = (delayMs: number) => {
    timer?.cancel();
    if (!closed) timer = o.clock.after(delayMs, () => void renew().catch(() => undefined));
  };
  const renew = async () => {
    try {
      ({ pair, notAfter } = await issue(o));
      if (closed) return;
      o.log.info("serving certificate renewed", { not_after: new Date(notAfter).toISOString() });
      for (const listener of listeners) listener(pair);
      plan(halfLife(o.clock.now(), notAfter));
    } catch (error) {
      o.log.error("serving certificate not renewed", { error: errorText(error), retry_ms: RETRY_MS });
      plan(RETRY_MS);
      throw error;
    }
  };
  plan(halfLife(o.clock.now(), notAfter));
  return {
    current: () => pair,
    onRotate: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    renew,
    close: () => {
      closed = true;
      timer?.cancel();
    },
  };
}

const halfLife = (now: number, notAfter: number): number => Math.max(RENEW_MIN_MS, (notAfter - now) / 2);

async function issue(o: { authority: () => Authority; dnsNames: readonly string[]; clock: Clock }): Promise<{ pair: KeyAndChain; notAfter: number }> {
  const authority = o.authority();
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = o.clock.now();
  const notAfter = Math.min(now + SERVING_TTL_MS, authority.notAfter);
  const leaf = await authority.issue({
    publicKey: keys.publicKey.export({ type: "spki", format: "der" }),
    dnsNames: o.dnsNames, notBefore: now - CLOCK_SKEW_MS, notAfter,
  });
  const keyPem = keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return { pair: { keyPem, certPem: [leaf, ...authority.intermediatesPem].join("") }, notAfter };
}
