// Owns PEM blocks (RFC 7468): strict about the markers and the base64, bounded in size.

/** More certificates than this in one bundle is not a trust store of a mesh. */
const BLOCKS_MAX = 100;

export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
  /** This block alone, as PEM. */
  readonly pem: string;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,64})-----\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----/g;

/** Every well-formed block in order; text between blocks is allowed (RFC 7468 §2). */
export function pemBlocks(text: string): PemBlock[] {
  const out: PemBlock[] = [];
  for (const [, label = "", body = ""] of text.matchAll(BLOCK)) {
    const base64 = body.replace(/\s+/g, "");
    const der = Buffer.from(base64, "base64");
    // Buffer skips what is not base64; a block that does not survive the way back is malformed.
    if (der.length === 0 || der.toString("base64").replace(/=+$/, "") !== base64.replace(/=+$/, "")) continue;
    out.push({ label, der, pem: toPem(label, der) });
    if (out.length > BLOCKS_MAX) break;
  }
  return out;
}

export const certificateBlocks = (text: string): PemBlock[] => pemBlocks(text).filter((b) => b.label === "CERTIFICATE");

export function toPem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${base64.join("\n")}\n-----END ${label}-----\n`;
}
