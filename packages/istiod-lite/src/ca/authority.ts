// Owns the signing authority: its key, its own certificate, the chain below its roots; self-signed or plugged in from a Secret.
import { createPrivateKey, generateKeyPairSync, X509Certificate, type KeyObject } from "node:crypto";
import { err, ok, problem, type Problem, type Result } from "@ambit/core";
import { AUTHORITY_USES, authorityKeyId, EMPTY_NAME, issuerFacts, keyIdOf, LEAF_USES, organizationName, signCertificate, subjectAltNames, subjectKeyId } from "./certificate.ts";
import { certificateBlocks, pemBlocks } from "./pem.ts";
import { algorithmOf } from "./signature.ts";

/** As Istio's self-signed root: ten years. */
export const ROOT_LIFETIME_MS = 3650 * 24 * 3600 * 1000;
/** Clocks of nodes may be behind ours by this much. Istio allows two minutes; nodes five minutes off must notice nothing. */
export const CLOCK_SKEW_MS = 6 * 60 * 1000;

export interface LeafRequest {
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
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
  /** The earliest end of the signer, its root and everything between. Epoch milliseconds. */
  readonly notAfter: number;
  /** SHA-256 of the signer's own certificate. */
  readonly fingerprint: string;
  /** SHA-256 of the root that its certificates lead to. */
  readonly anchor: string;
  /** SHA-256 to PEM, of every trust anchor. */
  readonly roots: ReadonlyMap<string, string>;
  /** Revocation list as plugged in; empty: none. */
  readonly crlPem: string;
  /** The leaf as PEM. */
  issue(request: LeafRequest): Promise<string>;
  /** `ca-cert.pem` and `ca-key.pem` for the Secret istio-ca-secret. The key is in it. */
  toSecret(): Readonly<Record<string, string>>;
}

/** A new P-256 root whose organization is the trust domain. */
export async function createSelfSigned(trustDomain: string, now: number): Promise<Authority> {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keyPem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const publicKey = pair.publicKey.export({ type: "spki", format: "der" });
  const name = organizationName(trustDomain);
  const certPem = await signCertificate({
    issuer: name, subject: name, publicKey, notBefore: now - CLOCK_SKEW_MS, notAfter: now + ROOT_LIFETIME_MS,
    extensions: [...AUTHORITY_USES, subjectKeyId(keyIdOf(publicKey))],
  }, pair.privateKey);
  const loaded = loadAuthority({ "ca-cert.pem": certPem, "ca-key.pem": keyPem }, now);
  if (!loaded.ok) throw new Error(`defect: our own root does not load: ${loaded.error.map((p) => p.message).join("; ")}`);
  return loaded.value;
}

/**
 * From the decoded data of a Secret: `tls.crt, tls.key, ca.crt` (wins) or `ca-cert.pem, ca-key.pem` with optional
 * `cert-chain.pem, root-cert.pem`. Reports everything that is wrong, by key.
 */
export function loadAuthority(data: Readonly<Record<string, string>>, now: number): Result<Authority> {
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
  const crlPem = data[CRL_KEY] ?? "";
  if (crlPem !== "" && !pemBlocks(crlPem).some((b) => b.label === "X509 CRL")) problems.push(problem(CRL_KEY, "has no PEM block X509 CRL"));
  if (problems.length > 0) return err(problems);
  const isRoot = (c: X509Certificate) => roots.some((r) => r.fingerprint256 === c.fingerprint256);
  const intermediates = pathToRoot(signer, [...certs, ...chain], isRoot);
  try {
    return ok(authorityOf({ signer, key, roots, intermediates, keyPem: data[form.key] ?? "", crlPem }));
  } catch (error) {
    return err([problem(form.cert, `has a form that cannot be signed with: ${error instanceof Error ? error.message : "unreadable"}`)]);
  }
}

/** The key of Istio's Secret. */
const CRL_KEY = "ca-crl.pem";

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

function authorityOf(m: { signer: X509Certificate; key: KeyObject; roots: readonly X509Certificate[]; intermediates: readonly X509Certificate[]; keyPem: string; crlPem: string }): Authority {
  const { name, keyId } = issuerFacts(m.signer);
  const shared = [...LEAF_USES, authorityKeyId(keyId)];
  const top = m.intermediates.at(-1) ?? m.signer;
  const anchor = m.roots.find((r) => r.fingerprint256 === top.fingerprint256 || (top.checkIssued(r) && top.verify(r.publicKey))) ?? top;
  const notAfter = Math.min(...[m.signer, ...m.intermediates, anchor].map((c) => c.validToDate.getTime()));
  return {
    rootsPem: m.roots.map((r) => r.toString()).join(""),
    intermediatesPem: m.intermediates.map((c) => c.toString()),
    notAfter, crlPem: m.crlPem, fingerprint: m.signer.fingerprint256, anchor: anchor.fingerprint256,
    roots: new Map(m.roots.map((r) => [r.fingerprint256, r.toString()])),
    toSecret: () => ({ "ca-cert.pem": m.signer.toString(), "ca-key.pem": m.keyPem }),
    issue: (r) => signCertificate({
      issuer: name, subject: EMPTY_NAME, publicKey: r.publicKey, notBefore: r.notBefore, notAfter: Math.min(r.notAfter, notAfter),
      extensions: [subjectAltNames(r), ...shared],
    }, m.key),
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
