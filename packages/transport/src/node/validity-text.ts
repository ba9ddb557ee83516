// Owns what is said of a chain that OpenSSL refuses for its time: whose certificate, from when to when, and what time it is here.
import type { X509Certificate } from "node:crypto";

const TIME_CODES: ReadonlySet<string> = new Set(["CERT_NOT_YET_VALID", "CERT_HAS_EXPIRED"]);
/** A chain longer than this is not a mesh's; a loop ends here. */
const DEPTH_MAX = 16;

/** Either clock may be the wrong one, so both times are named; "" when the code is not about time. `leaf` is as the handshake gave it, with its issuers. */
export function validityText(code: string, leaf: X509Certificate | undefined, now: number): string {
  if (!TIME_CODES.has(code)) return "";
  const here = `the time here is ${when(now)}`;
  for (let at = leaf, depth = 0; at !== undefined && depth < DEPTH_MAX; at = at.issuerCertificate, depth++) {
    const [from, to] = [at.validFromDate.getTime(), at.validToDate.getTime()];
    if (now >= from && now <= to) continue;
    return ` (${depth === 0 ? "its leaf" : "an authority above it"} is valid from ${when(from)} to ${when(to)}, ${here})`;
  }
  return ` (an authority above it, ${here})`;
}

const when = (at: number): string => new Date(at).toISOString();
