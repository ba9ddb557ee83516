// Owns the lab's certificate authority on disk: the CA, the serving and client certificates under it, and kubeconfigs.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

type CryptoKey = webcrypto.CryptoKey;

x509.cryptoProvider.set(webcrypto);

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 24 * 3600 * 1000;
/** The CA outlives any lab; leaves are renewed by ensurePki when less than half their life is left. */
const CA_DAYS = 3650;
const LEAF_DAYS = 365;
/** Clocks of machines that share a state folder may differ a little. */
const BACKDATE_MS = 5 * 60 * 1000;

export const API_SERVER_URL = "https://172.30.0.1:6443";
const API_SERVER_NAMES = [
  "kubernetes",
  "kubernetes.default",
  "kubernetes.default.svc",
  "kubernetes.default.svc.cluster.local",
  "localhost",
];
const API_SERVER_IPS = ["127.0.0.1", "172.30.0.1", "10.96.0.1", "::1"];

export interface CertRequest {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ips?: readonly string[];
  readonly usage: "client" | "server" | "both";
}

export interface KeyAndCert {
  readonly key: string;
  readonly cert: string;
}

export interface PkiNode {
  readonly name: string;
  readonly ips: readonly string[];
}

/**
 * Makes what is missing in `dir`: ca.crt/ca.key, sa.key/sa.pub, apiserver.crt/.key, apiserver-kubelet-client.crt/.key,
 * admin.kubeconfig, controller-manager.kubeconfig, and per node kubelet-NAME.kubeconfig (group system:nodes) and
 * kubelet-NAME.crt/.key (serving). A node given by name alone gets the address 172.30.0.(10+N) when it ends in -N.
 */
export async function ensurePki(dir: string, options: { nodes: readonly (string | PkiNode)[] }): Promise<void> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const ca = await ensureCa(dir);
  ensureTokenKey(dir);
  await ensureLeaf(dir, ca, "apiserver", {
    commonName: "kube-apiserver",
    dnsNames: API_SERVER_NAMES,
    ips: API_SERVER_IPS,
    usage: "server",
  });
  await ensureLeaf(dir, ca, "apiserver-kubelet-client", {
    commonName: "kube-apiserver-kubelet-client",
    usage: "client",
  });
  await ensureUser(dir, ca, "admin", { commonName: "kubernetes-admin", organizations: ["system:masters"], usage: "client" });
  await ensureUser(dir, ca, "controller-manager", { commonName: "system:kube-controller-manager", usage: "client" });
  for (const node of options.nodes) await ensureNode(dir, ca, typeof node === "string" ? addressed(node) : node);
}

/** Issues (or renews) the kubelet's two identities for one node; see ensurePki for the file names. */
export async function issueNodePki(dir: string, node: PkiNode): Promise<void> {
  await ensureNode(dir, await ensureCa(dir), node);
}

/** Signs a fresh P-256 key with the CA in `dir`. */
export async function issueCertificate(dir: string, request: CertRequest): Promise<KeyAndCert> {
  return issue(await ensureCa(dir), request);
}

export interface KubeconfigInput {
  readonly server: string;
  readonly ca: string;
  readonly user: string;
  readonly key?: string;
  readonly cert?: string;
  readonly token?: string;
  readonly namespace?: string;
}

/** Writes a kubeconfig with everything embedded; it is JSON, which is YAML, so that no reader needs a YAML parser. */
export function writeKubeconfig(path: string, input: KubeconfigInput): void {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const user: Record<string, string> = {};
  if (input.cert !== undefined) user["client-certificate-data"] = base64(input.cert);
  if (input.key !== undefined) user["client-key-data"] = base64(input.key);
  if (input.token !== undefined) user["token"] = input.token;
  const context: Record<string, string> = { cluster: "lab", user: input.user };
  if (input.namespace !== undefined) context["namespace"] = input.namespace;
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "lab", cluster: { server: input.server, "certificate-authority-data": base64(input.ca) } }],
    users: [{ name: input.user, user }],
    contexts: [{ name: "lab", context }],
    "current-context": "lab",
  };
  writeAtomically(path, `${JSON.stringify(config, null, 2)}\n`, 0o600);
}

interface Authority {
  readonly cert: x509.X509Certificate;
  readonly pem: string;
  readonly key: CryptoKey;
}

async function ensureCa(dir: string): Promise<Authority> {
  const certPath = join(dir, "ca.crt");
  const keyPath = join(dir, "ca.key");
  if (!existsSync(certPath) || !existsSync(keyPath)) {
    const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const keyPem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const keys = await importPair(keyPem);
    const cert = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: [{ CN: ["ambit-lab-ca"] }],
      notBefore: new Date(Date.now() - BACKDATE_MS),
      notAfter: new Date(Date.now() + CA_DAYS * DAY_MS),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    writeAtomically(keyPath, keyPem, 0o600);
    writeAtomically(certPath, `${cert.toString("pem")}\n`, 0o644);
  }
  const pem = readFileSync(certPath, "utf8");
  const { privateKey } = await importPair(readFileSync(keyPath, "utf8"));
  return { cert: new x509.X509Certificate(pem), pem, key: privateKey };
}

/** The key that signs service-account tokens (ES256). */
function ensureTokenKey(dir: string): void {
  const path = join(dir, "sa.key");
  if (existsSync(path) && existsSync(join(dir, "sa.pub"))) return;
  const pem = existsSync(path)
    ? readFileSync(path, "utf8")
    : generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  writeAtomically(path, pem, 0o600);
  const publicKey = createPublicKey(createPrivateKey(pem)).export({ type: "spki", format: "pem" }).toString();
  writeAtomically(join(dir, "sa.pub"), publicKey, 0o644);
}

async function ensureNode(dir: string, ca: Authority, node: PkiNode): Promise<void> {
  const commonName = `system:node:${node.name}`;
  await ensureUser(dir, ca, `kubelet-${node.name}`, { commonName, organizations: ["system:nodes"], usage: "client" });
  await ensureLeaf(dir, ca, `kubelet-${node.name}`, {
    commonName,
    organizations: ["system:nodes"],
    dnsNames: [node.name],
    ips: node.ips,
    usage: "server",
  });
}

function addressed(name: string): PkiNode {
  const index = /-(\d{1,3})$/.exec(name)?.[1];
  return { name, ips: index === undefined ? [] : [`172.30.0.${10 + Number(index)}`] };
}

async function ensureLeaf(dir: string, ca: Authority, name: string, request: CertRequest): Promise<void> {
  const certPath = join(dir, `${name}.crt`);
  const keyPath = join(dir, `${name}.key`);
  if (existsSync(keyPath) && existsSync(certPath) && isFresh(readFileSync(certPath, "utf8"), ca.pem, request)) return;
  const made = await issue(ca, request);
  writeAtomically(keyPath, made.key, 0o600);
  writeAtomically(certPath, made.cert, 0o644);
}

async function ensureUser(dir: string, ca: Authority, name: string, request: CertRequest): Promise<void> {
  const path = join(dir, `${name}.kubeconfig`);
  if (existsSync(path) && isFresh(certificateOf(path), ca.pem, request)) return;
  const made = await issue(ca, request);
  writeKubeconfig(path, { server: API_SERVER_URL, ca: ca.pem, user: request.commonName, key: made.key, cert: made.cert });
}

function certificateOf(kubeconfig: string): string {
  const text = readFileSync(kubeconfig, "utf8");
  const data = /"client-certificate-data": "([^"]+)"/.exec(text)?.[1] ?? "";
  return Buffer.from(data, "base64").toString("utf8");
}

function isFresh(pem: string, caPem: string, request: CertRequest): boolean {
  try {
    const cert = new X509Certificate(pem);
    const halfLife = Date.now() + (LEAF_DAYS / 2) * DAY_MS;
    if (Date.parse(cert.validTo) < halfLife || !cert.verify(new X509Certificate(caPem).publicKey)) return false;
    return (request.ips ?? []).every((ip) => cert.checkIP(ip) !== undefined);
  } catch {
    return false; // unreadable: issue it again
  }
}

async function issue(ca: Authority, request: CertRequest): Promise<KeyAndCert> {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const { publicKey } = await importPair(key);
  const usages = { client: ["clientAuth"], server: ["serverAuth"], both: ["serverAuth", "clientAuth"] } as const;
  const names: x509.JsonGeneralNames = [
    ...(request.dnsNames ?? []).map((value) => ({ type: "dns" as const, value })),
    ...(request.ips ?? []).map((value) => ({ type: "ip" as const, value })),
  ];
  const organizations = request.organizations ?? [];
  const subject: x509.JsonName = organizations.length > 0 ? [{ O: [...organizations] }] : [];
  subject.push({ CN: [request.commonName] });
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject,
    issuer: ca.cert.subject,
    notBefore: new Date(Date.now() - BACKDATE_MS),
    notAfter: new Date(Date.now() + LEAF_DAYS * DAY_MS),
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey: ca.key,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
      new x509.ExtendedKeyUsageExtension(usages[request.usage].map((usage) => x509.ExtendedKeyUsage[usage])),
      await x509.AuthorityKeyIdentifierExtension.create(ca.cert),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return { key, cert: `${cert.toString("pem")}\n` };
}

async function importPair(pkcs8Pem: string): Promise<webcrypto.CryptoKeyPair> {
  const key = createPrivateKey(pkcs8Pem);
  const pkcs8 = key.export({ type: "pkcs8", format: "der" });
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  const importable = { name: "ECDSA", namedCurve: "P-256" };
  const privateKey = await webcrypto.subtle.importKey("pkcs8", pkcs8, importable, true, ["sign"]);
  const publicKey = await webcrypto.subtle.importKey("spki", spki, importable, true, ["verify"]);
  return { privateKey, publicKey };
}

/** A positive 127-bit serial number in hex. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

/** Readers see the old file or the new one, never a part. */
function writeAtomically(path: string, text: string, mode: number): void {
  const next = `${path}.new`;
  writeFileSync(next, text, { mode });
  chmodSync(next, mode);
  renameSync(next, path);
}
