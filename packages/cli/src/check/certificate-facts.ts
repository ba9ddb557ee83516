// Owns reading certificates into facts: PEM bundles, and what a ztunnel's config dump holds.
import { X509Certificate } from "node:crypto";
import type { Dump } from "../commands/ztunnel.ts";
import type { CertificateFact, ZtunnelFact } from "./model/facts.ts";

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Every certificate of a bundle; what is not one is left out. */
export function certificatesIn(pem: string, where: string): CertificateFact[] {
  return [...pem.matchAll(BLOCK)].flatMap(([block]) => {
    const x = certificateOf(block);
    if (x === undefined) return [];
    // Workloads' have no subject, and Node has no text for that.
    const subject = (x.subject as string | undefined)?.replaceAll("\n", ", ") ?? "(no subject)";
    const identities = [...(x.subjectAltName ?? "").matchAll(/URI:(spiffe:[^,\s]+)/g)].map((m) => m[1] ?? "");
    return [{ where, subject, identities, notBefore: Date.parse(x.validFrom), notAfter: Date.parse(x.validTo), fingerprint: x.fingerprint256 }];
  });
}

function certificateOf(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

/** Identities and their certificates as one ztunnel has them. */
export function ztunnelFact(pod: string, node: string, dump: Dump): ZtunnelFact {
  const certificates = dump.certificates ?? [];
  const leafOf = (c: (typeof certificates)[number]) => certificatesIn(Buffer.from(c.certChain?.[0]?.pem ?? "", "base64").toString("utf8"), `ztunnel ${pod}`)[0];
  return {
    pod, node,
    leaves: certificates.flatMap((c) => { const leaf = leafOf(c); return leaf === undefined ? [] : [{ ...leaf, identity: c.identity }]; }),
    // Those that are being asked for right now are not missing yet.
    waiting: certificates.filter((c) => leafOf(c) === undefined && !/^(Initializing|Requesting)/i.test(c.state)).map((c) => ({ identity: c.identity, state: c.state })),
  };
}
