// Owns what a workload certificate looks like: names, lifetime, order of the chain (Istio's certificate form).
import { err, formatIdentity, ok, type Identity, type Result } from "@ambit/core";
import { CLOCK_SKEW_MS, type Authority } from "./authority.ts";
import { parseCsr } from "./csr.ts";

/** When the request asks for no lifetime. */
export const TTL_DEFAULT_MS = 24 * 3600 * 1000;
/** Longer is refused, not shortened: the asker would believe it. */
export const TTL_MAX_MS = 90 * 24 * 3600 * 1000;

export interface WorkloadRequest {
  readonly csrPem: string;
  /** Decided by attestation; names in the CSR count for nothing. */
  readonly identity: Identity;
  /** Seconds as on the wire; zero or less is the default. */
  readonly ttlSeconds: bigint;
}

/** The response's chain: leaf, intermediates, and as the last element all roots. The error says what is wrong with the request. */
export async function signWorkload(authority: Authority, request: WorkloadRequest, now: number): Promise<Result<string[], string>> {
  if (request.ttlSeconds > BigInt(TTL_MAX_MS / 1000))
    return err(`validity_duration: ${request.ttlSeconds} s is more than the ${TTL_MAX_MS / 1000} s allowed`);
  const ttlMs = request.ttlSeconds <= 0n ? TTL_DEFAULT_MS : Number(request.ttlSeconds) * 1000;
  const csr = parseCsr(request.csrPem);
  if (!csr.ok) return csr;
  const leaf = await authority.issue({
    publicKey: csr.value.publicKey, uri: formatIdentity(request.identity), notBefore: now - CLOCK_SKEW_MS, notAfter: now + ttlMs,
  });
  return ok([leaf, ...authority.intermediatesPem, authority.rootsPem]);
}
