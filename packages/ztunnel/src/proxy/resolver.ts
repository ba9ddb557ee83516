// Owns DNS lookups of workloads that are known by hostname only: ztunnel's own resolv.conf, a bounded cache that honours TTLs.
import { Resolver } from "node:dns/promises";
import { MeshError, parseIp, type Ip } from "@ambit/core";
import type { Clock } from "@ambit/runtime";

const CACHE_MAX = 4096;
/** An answer without addresses is asked for again soon. */
const NEGATIVE_TTL_MS = 1_000;
/** A name server that does not answer must not hold a connection longer than a connect would. */
const LOOKUP_TIMEOUT_MS = 5_000;

export function createResolver(clock: Clock): (hostname: string) => Promise<readonly Ip[]> {
  const resolver = new Resolver({ timeout: LOOKUP_TIMEOUT_MS / 2, tries: 2 });
  const cache = new Map<string, { readonly until: number; readonly ips: Promise<readonly Ip[]> }>();

  async function lookup(hostname: string): Promise<readonly Ip[]> {
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(hostname, { ttl: true }), resolver.resolve6(hostname, { ttl: true })]);
    const answers = [v4, v6].flatMap((r) => (r.status === "fulfilled" ? r.value : []));
    if (answers.length === 0 && v4.status === "rejected" && !isEmptyAnswer(v4.reason))
      throw new MeshError("dns-failed", `${hostname}: ${v4.reason instanceof Error ? v4.reason.message : String(v4.reason)}`, { cause: v4.reason });
    const ttlMs = answers.length === 0 ? NEGATIVE_TTL_MS : 1000 * Math.min(...answers.map((a) => a.ttl));
    const ips = answers.map((a) => parseIp(a.address)).flatMap((r) => (r.ok ? [r.value] : []));
    remember(hostname, ttlMs, Promise.resolve(ips));
    return ips;
  }

  function remember(hostname: string, ttlMs: number, ips: Promise<readonly Ip[]>): void {
    cache.delete(hostname);
    cache.set(hostname, { until: clock.monotonic() + ttlMs, ips });
    const [oldest] = cache.keys();
    if (cache.size > CACHE_MAX && oldest !== undefined) cache.delete(oldest);
  }

  return (hostname) => {
    const known = cache.get(hostname);
    if (known !== undefined && known.until > clock.monotonic()) return known.ips;
    const asked = lookup(hostname);
    // Connections that come meanwhile share the question.
    remember(hostname, LOOKUP_TIMEOUT_MS, asked);
    asked.catch(() => cache.delete(hostname));
    return asked;
  };
}

function isEmptyAnswer(error: unknown): boolean {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return code === "ENODATA" || code === "ENOTFOUND";
}
