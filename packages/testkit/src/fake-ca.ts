// Owns a certificate authority for tests: its own root, SPIFFE leaves with ECDSA P-256 keys, all synchronous.
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate, type KeyObject } from "node:crypto";
import { formatIdentity, type Identity } from "@ambit/core";
import { bits, boolTrue, context, integer, octets, oid, sequence, set, time, utf8 } from "./der.ts";

const HOUR_MS = 3_600_000;
const ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const EKU = { client: oid("1.3.6.1.5.5.7.3.2"), server: oid("1.3.6.1.5.5.7.3.1") };

export interface LeafOptions {
  /** Becomes the first URI SAN. */
  readonly identity?: Identity;
  /** More URI SANs, taken as they are (also malformed ones). */
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** 4-byte addresses as text, `127.0.0.1`. */
  readonly ipv4?: readonly string[];
  /** Epoch milliseconds. Default: two minutes ago to one hour from now. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Default: both. */
  readonly usages?: readonly ("client" | "server")[];
}

export interface FakeCert {
  readonly certPem: string;
  readonly keyPem: string;
  /** Leaf first, then what is needed up to (not including) the root. */
  readonly chainPem: string;
  readonly der: Buffer;
}

export interface FakeCa {
  readonly rootPem: string;
  readonly rootDer: Buffer;
  readonly rootKeyPem: string;
  issue(options: LeafOptions): FakeCert;
  /** A leaf for `ns/sa` in trust domain `cluster.local` (or another). */
  leaf(namespace: string, serviceAccount: string, trustDomain?: string): FakeCert;
  /** An authority below this one; its certificate is in the chains of what it issues. */
  sub(name: string): FakeCa;
  /** A revocation list of this authority, PEM. `signedBy` another: a forged one. */
  crl(revoked: readonly FakeCert[], signedBy?: FakeCa): string;
}

/** A new self-signed root; two calls give two authorities that do not trust each other. */
export const fakeCa = (name = "fake root"): FakeCa => authority(name, undefined);

interface Above { readonly subject: Buffer; readonly key: KeyObject; readonly chainPem: string; readonly root: FakeCa }

function authority(name: string, above: Above | undefined): FakeCa {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const subject = nameOf(name);
  const now = Date.now();
  const keyId = keyIdOf(keys.publicKey);
  const own = certificate({ issuer: above?.subject ?? subject, subject, publicKey: keys.publicKey, signer: above?.key ?? keys.privateKey,
    notBefore: now - HOUR_MS, notAfter: now + 24 * HOUR_MS,
    extensions: [extension("2.5.29.19", true, sequence(boolTrue)), extension("2.5.29.15", true, bits(Buffer.from([0x06]), 1)),
      extension("2.5.29.14", false, octets(keyId))] });
  const chainPem = above === undefined ? "" : pem(own) + above.chainPem;
  const issue = (options: LeafOptions): FakeCert => {
    const leafKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const leaf = certificate({ issuer: subject, subject: sequence(), publicKey: leafKeys.publicKey, signer: keys.privateKey,
      notBefore: options.notBefore ?? now - 120_000, notAfter: options.notAfter ?? Date.now() + HOUR_MS, 
      extensions: [...leafExtensions(options), extension("2.5.29.35", false, sequence(context(0, false, keyId)))] });
    const certPem = pem(leaf);
    return { certPem, chainPem: certPem + chainPem, der: leaf, keyPem: leafKeys.privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
  };
  const ca: FakeCa = {
    rootPem: above?.root.rootPem ?? pem(own),
    rootDer: above?.root.rootDer ?? own,
    rootKeyPem: above?.root.rootKeyPem ?? keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    issue,
    leaf: (namespace, serviceAccount, trustDomain = "cluster.local") => issue({ identity: { trustDomain, namespace, serviceAccount } }),
    sub: (below) => authority(below, { subject, key: keys.privateKey, chainPem, root: above?.root ?? ca }),
    crl: (revoked, signedBy) => {
      const entries = revoked.map((c) => sequence(integer(Buffer.from(new X509Certificate(c.der).serialNumber, "hex")), time(now)));
      const tbs = sequence(integer(Buffer.from([1])), ECDSA_SHA256, subject, time(now - HOUR_MS), time(now + HOUR_MS), ...(entries.length === 0 ? [] : [sequence(...entries)]));
      const key = signedBy === undefined ? keys.privateKey : createPrivateKey(signedBy.rootKeyPem);
      const body = sequence(tbs, ECDSA_SHA256, bits(sign("sha256", tbs, key))).toString("base64").match(/.{1,64}/g) ?? [];
      return `-----BEGIN X509 CRL-----\n${body.join("\n")}\n-----END X509 CRL-----\n`;
    },
  };
  return ca;
}

function leafExtensions(o: LeafOptions): Buffer[] {
  const uris = [...(o.identity === undefined ? [] : [formatIdentity(o.identity)]), ...(o.uris ?? [])];
  const names = [
    ...uris.map((u) => context(6, false, Buffer.from(u))),
    ...(o.dnsNames ?? []).map((n) => context(2, false, Buffer.from(n))),
    ...(o.ipv4 ?? []).map((a) => context(7, false, Buffer.from(a.split(".").map(Number)))),
  ];
  return [
    extension("2.5.29.15", true, bits(Buffer.from([0xa0]), 5)),
    extension("2.5.29.37", false, sequence(...(o.usages ?? ["server", "client"]).map((u) => EKU[u]))),
    extension("2.5.29.19", true, sequence()),
    ...(names.length === 0 ? [] : [extension("2.5.29.17", true, sequence(...names))]),
  ];
}

interface Parts {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly Buffer[];
}

function certificate(p: Parts): Buffer {
  const serial = randomBytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  const tbs = sequence(context(0, true, integer(Buffer.from([2]))), integer(serial), ECDSA_SHA256, p.issuer,
    sequence(time(p.notBefore), time(p.notAfter)), p.subject, p.publicKey.export({ type: "spki", format: "der" }),
    context(3, true, sequence(...p.extensions)));
  return sequence(tbs, ECDSA_SHA256, bits(sign("sha256", tbs, p.signer)));
}

const nameOf = (commonName: string): Buffer => sequence(set(sequence(oid("2.5.4.3"), utf8(commonName))));
const extension = (id: string, critical: boolean, value: Buffer): Buffer => sequence(oid(id), ...(critical ? [boolTrue] : []), octets(value));
const keyIdOf = (key: KeyObject): Buffer => createHash("sha1").update(key.export({ type: "spki", format: "der" })).digest();
const pem = (certificateDer: Buffer): string => new X509Certificate(certificateDer).toString();
