// Owns the signing authority: its key, its own certificate, the chain below its roots; self-signed or plugged in from a Secret.
import { createPrivateKey, generateKeyPairSync, randomBytes, webcrypto, X509Certificate, type KeyObject } from "node:crypto";
import { err, ok, problem, type Problem, type Result } from "@ambit/core";
import { certificateBlocks } from "./pem.ts";
import { x509, type CryptoKey } from "./x509.ts";

/** As Istio's self-signed root: ten years. */
export const ROOT_LIFETIME_MS = 3650 * 24 * 3600 * 1000;
/** Clocks of nodes may be behind ours by this much. */
export const CLOCK_SKEW_MS = 2 * 60 * 1000;

export interface LeafRequest {
  readonly publicKey: InstanceType<typeof x509.PublicKey>;
  /** Exactly one kind of name: workloads have a URI, servers have DNS names. */
  readonly uri?: string;
  readonly dnsNames?: readonly string[];
  /** Epoch milliseconds; notAfter is clamped to the authority's own. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface Authority {
  /** Trust anchors, one or more PEM certificates concatenated. */
  readonly rootsPem: string;
  /** From the signer up to, not including, a root; empty when the signer is the root. One PEM certificate each. */
  readonly intermediatesPem: readonly string[];
  readonly notAfter: number;
  /** The leaf as PEM. */
  issue(request: LeafRequest): Promise<string>;
  /** `ca-cert.pem` and `ca-key.pem` for the Secret istio-ca-secret. The key is in it. */
  toSecret(): Readonly<Record<string, string>>;
}

/** A new P-256 root whose organization is the trust domain. */
export async function createSelfSigned(trustDomain: string, now: number): Promise<Authority> {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keyPem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const { key, algorithm } = await importKey(pair.privateKey);
  const publicKey = new x509.PublicKey(pair.publicKey.export({ type: "spki", format: "der" }));
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ O: [trustDomain] }],
    issuer: [{ O: [trustDomain] }],
    notBefore: new Date(now - CLOCK_SKEW_MS),
    notAfter: new Date(now + ROOT_LIFETIME_MS),
    publicKey,
    signingKey: key,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  const loaded = await loadAuthority({ "ca-cert.pem": `${cert.toString("pem")}\n`, "ca-key.pem": keyPem }, now);
  if (!loaded.ok) throw new Error(`defect: our own root does not load: ${loaded.error.map((p) => p.message).join("; ")}`);
  return loaded.value;
}

/**
 * From the decoded data of a Secret: `tls.crt, tls.key, ca.crt` (wins) or `ca-cert.pem, ca-key.pem` with optional
 * `cert-chain.pem, root-cert.pem`. Reports everything that is wrong, by key.
 */
export async function loadAuthority(data: Readonly<Record<string, string>>, now: number): Promise<Result<Authority>> {
  const form = data["tls.crt"] !== undefined && data["tls.key"] !== undefined
    ? { cert: "tls.crt", key: "tls.key", chain: "tls.crt", root: "ca.crt" }
    : { cert: "ca-cert.pem", key: "ca-key.pem", chain: "cert-chain.pem", root: "root-cert.pem" };
  const problems: Problem[] = [];
  const certs = readCertificates(data, form.cert, problems);
  const [signer] = certs;
  const key = readKey(data, form.key, problems);
  if (signer === undefined || key === undefined) return err(problems);
  const roots = data[form.root] === undefined ? [signer] : readCertificates(data, form.root, problems);
  const chain = data[form.chain] === undefined ? [] : readCertificates(data, form.chain, problems);
  problems.push(...judge({ signer, key, roots, chain: [...certs, ...chain] }, form, now));
  if (problems.length > 0) return err(problems);
  const isRoot = (c: X509Certificate) => roots.some((r) => r.fingerprint256 === c.fingerprint256);
  const intermediates = pathToRoot(signer, [...certs, ...chain], isRoot);
  return ok(await authorityOf({ signer, key, roots, intermediates, keyPem: data[form.key] ?? "" }));
}

interface Material {
  readonly signer: X509Certificate;
  readonly key: KeyObject;
  readonly roots: readonly X509Certificate[];
  readonly chain: readonly X509Certificate[];
}

function judge(m: Material, form: { cert: string; key: string; root: string }, now: number): Problem[] {
  const out: Problem[] = [];
  if (!m.signer.ca) out.push(problem(form.cert, "is not a CA certificate (basicConstraints CA is not true)"));
  if (!m.signer.checkPrivateKey(m.key)) out.push(problem(form.key, `does not belong to the certificate in ${form.cert}`));
  if (m.signer.validToDate.getTime() <= now) out.push(problem(form.cert, `expired on ${m.signer.validTo}`));
  if (m.signer.validFromDate.getTime() > now + CLOCK_SKEW_MS) out.push(problem(form.cert, `is not valid before ${m.signer.validFrom}`));
  const isRoot = (c: X509Certificate) => m.roots.some((r) => r.fingerprint256 === c.fingerprint256);
  const path = pathToRoot(m.signer, m.chain, isRoot);
  const top = path.at(-1) ?? m.signer;
  const anchored = isRoot(top) || m.roots.some((r) => top.checkIssued(r) && top.verify(r.publicKey));
  if (!anchored) out.push(problem(form.root, `no root in it issued ${top.subject.replaceAll("\n", ", ")}`));
  return out;
}

/** A path longer than this is a mistake or a loop. */
const PATH_MAX = 8;

function pathToRoot(signer: X509Certificate, pool: readonly X509Certificate[], isRoot: (c: X509Certificate) => boolean): X509Certificate[] {
  const path: X509Certificate[] = [];
  for (let at: X509Certificate | undefined = signer; at !== undefined && !isRoot(at) && path.length < PATH_MAX; ) {
    const current: X509Certificate = at;
    path.push(current);
    at = pool.find((c) => !path.includes(c) && c.fingerprint256 !== current.fingerprint256 && current.checkIssued(c) && current.verify(c.publicKey));
  }
  return path;
}

async function authorityOf(m: { signer: X509Certificate; key: KeyObject; roots: readonly X509Certificate[]; intermediates: readonly X509Certificate[]; keyPem: string }): Promise<Authority> {
  const { key, algorithm } = await importKey(m.key);
  const signer = new x509.X509Certificate(m.signer.raw);
  const aki = await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey);
  const ski = signer.getExtension(x509.SubjectKeyIdentifierExtension);
  const authorityKeyId = ski === null ? aki : new x509.AuthorityKeyIdentifierExtension(ski.keyId);
  const notAfter = m.signer.validToDate.getTime();
  const shared = [
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
    new x509.BasicConstraintsExtension(false, undefined, true),
    authorityKeyId,
  ];
  return {
    rootsPem: m.roots.map((r) => r.toString()).join(""),
    intermediatesPem: m.intermediates.map((c) => c.toString()),
    notAfter,
    toSecret: () => ({ "ca-cert.pem": m.signer.toString(), "ca-key.pem": m.keyPem }),
    issue: async (r) => {
      const names: ConstructorParameters<typeof x509.SubjectAlternativeNameExtension>[0] =
        r.uri === undefined ? (r.dnsNames ?? []).map((value) => ({ type: "dns" as const, value })) : [{ type: "url" as const, value: r.uri }];
      const cert = await x509.X509CertificateGenerator.create({
        serialNumber: newSerial(),
        issuer: signer.subjectName,
        notBefore: new Date(r.notBefore),
        notAfter: new Date(Math.min(r.notAfter, notAfter)),
        publicKey: r.publicKey,
        signingKey: key,
        signingAlgorithm: algorithm,
        // With an empty subject the names must be critical (RFC 5280 §4.2.1.6).
        extensions: [new x509.SubjectAlternativeNameExtension(names, true), ...shared],
      });
      return `${cert.toString("pem")}\n`;
    },
  };
}

function readCertificates(data: Readonly<Record<string, string>>, key: string, problems: Problem[]): X509Certificate[] {
  const blocks = certificateBlocks(data[key] ?? "");
  if (blocks.length === 0) problems.push(problem(key, data[key] === undefined ? "is missing" : "has no PEM certificate"));
  return blocks.flatMap((b, i) => {
    try {
      return [new X509Certificate(b.der)];
    } catch {
      problems.push(problem(key, `certificate ${i + 1} cannot be parsed`));
      return [];
    }
  });
}

function readKey(data: Readonly<Record<string, string>>, key: string, problems: Problem[]): KeyObject | undefined {
  const pem = data[key];
  if (pem === undefined) problems.push(problem(key, "is missing"));
  else
    try {
      const parsed = createPrivateKey(pem);
      if (algorithmOf(parsed) !== undefined) return parsed;
      problems.push(problem(key, `a key of type ${parsed.asymmetricKeyType ?? "unknown"} cannot sign here: use ECDSA P-256, P-384, P-521, RSA or Ed25519`));
    } catch {
      problems.push(problem(key, "is not an unencrypted PEM private key"));
    }
  return undefined;
}

type KeyAlgorithm = { name: "ECDSA"; namedCurve: string; hash: string } | { name: "RSASSA-PKCS1-v1_5"; hash: string } | { name: "Ed25519" };

const CURVES: Readonly<Record<string, { namedCurve: string; hash: string }>> = {
  prime256v1: { namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { namedCurve: "P-384", hash: "SHA-384" },
  secp521r1: { namedCurve: "P-521", hash: "SHA-512" },
};

function algorithmOf(key: KeyObject): KeyAlgorithm | undefined {
  if (key.asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  if (key.asymmetricKeyType === "ed25519") return { name: "Ed25519" };
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  return key.asymmetricKeyType === "ec" && curve !== undefined ? { name: "ECDSA", ...curve } : undefined;
}

async function importKey(key: KeyObject): Promise<{ key: CryptoKey; algorithm: KeyAlgorithm }> {
  const algorithm = algorithmOf(key);
  if (algorithm === undefined) throw new Error(`defect: a key of type ${key.asymmetricKeyType ?? "unknown"} got past the check`);
  const pkcs8 = key.export({ type: "pkcs8", format: "der" });
  return { key: await webcrypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]), algorithm };
}

/** 127 random bits, positive, never zero (RFC 5280 §4.1.2.2 asks for at most 20 octets). */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = 0x40 | ((bytes[0] ?? 0) & 0x3f);
  return bytes.toString("hex");
}
