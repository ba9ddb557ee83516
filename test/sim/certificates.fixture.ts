// Owns the certificates' side of the simulations: authorities made by hand, replicas that keep one, holders of leaves, and their handshakes.
import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { Duplex } from "node:stream";
import { connect, TLSSocket } from "node:tls";
import { createSelfSigned, keepAuthority, loadAuthority, AUTHORITY_USES, authorityKeyId, keyIdOf, organizationName, signCertificate, subjectKeyId, signWorkload, type AuthorityKeeper, type AuthoritySource, type Material, type SelfSignedRoot, type StoredRoots } from "@ambit/istiod-lite/testing";
import { createCertStore, type CertStore, type WorkloadCertificate } from "@ambit/proxy/identity";
import { readChain } from "@ambit/proxy/testing";
import { createLogger, LogLevels, Metrics, seededRandom, type Clock } from "@ambit/runtime";
import { fakeCsr } from "@ambit/testkit";

export const quiet = createLogger("sim", { levels: new LogLevels("error"), write: (line) => { if (process.env["TEST_LOG"] !== undefined) process.stderr.write(`${line}\n`); } });
const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

export interface HandMade { readonly name: string; readonly certPem: string; readonly keyPem: string }

/** A root, or an intermediate when `issuer` is given. */
export async function makeCa(name: string, notBefore: number, lifeMs: number, issuer?: HandMade): Promise<HandMade> {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = keys.publicKey.export({ type: "spki", format: "der" });
  const keyPem = keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const issuerKey = issuer === undefined ? keys.privateKey : createPrivateKey(issuer.keyPem);
  const issuerPublic = issuer === undefined ? publicKey : createPublicKey(issuer.certPem).export({ type: "spki", format: "der" });
  const certPem = await signCertificate({
    issuer: organizationName(issuer?.name ?? name), subject: organizationName(name), publicKey, notBefore, notAfter: notBefore + lifeMs,
    extensions: [...AUTHORITY_USES, subjectKeyId(keyIdOf(publicKey)), authorityKeyId(keyIdOf(issuerPublic))],
  }, issuerKey);
  return { name, certPem, keyPem };
}

/** The Secret cacerts, in memory: what is put there is found at the next reading; nobody is told. */
export class PluggedIn implements AuthoritySource {
  data: Readonly<Record<string, string>> = {};
  roots: StoredRoots = new Map();
  /** The API server is away. */
  away = false;
  readonly #clock: Clock;
  #known: { readonly data: object; readonly material: Material } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  put(signer: HandMade, chain: readonly HandMade[], roots: readonly HandMade[]): void {
    this.data = { "ca-cert.pem": signer.certPem, "ca-key.pem": signer.keyPem, "cert-chain.pem": chain.map((c) => c.certPem).join(""), "root-cert.pem": roots.map((c) => c.certPem).join("") };
  }

  async load(): Promise<Material> {
    if (this.away) throw new Error("no answer from the API server");
    if (this.#known?.data === this.data) return this.#known.material;
    const loaded = loadAuthority(this.data, this.#clock.now());
    if (!loaded.ok) throw new Error(loaded.error.map((p) => `${p.path}: ${p.message}`).join("; "));
    this.#known = { data: this.data, material: { desired: loaded.value } };
    return this.#known.material;
  }
  loadRoots = async (): Promise<StoredRoots> => this.roots;
  async changeRoots(change: (stored: StoredRoots) => StoredRoots): Promise<StoredRoots> {
    if (this.away) throw new Error("no answer from the API server");
    return (this.roots = change(this.roots));
  }
}

/** The Secret istio-ca-secret, in memory. */
export class SelfSigned implements AuthoritySource, SelfSignedRoot {
  rolls = 0;
  asked = false;
  roots: StoredRoots = new Map();
  #data: Material & { both: string };
  private constructor(first: Material["desired"]) {
    this.#data = { desired: first, both: first.rootsPem };
  }
  static async create(now: number): Promise<SelfSigned> {
    return new SelfSigned(await createSelfSigned("cluster.local", now));
  }
  load = async (): Promise<Material> => {
    const { desired, previous, both } = this.#data;
    const loaded = loadAuthority({ ...desired.toSecret(), "root-cert.pem": both }, 0);
    assert.ok(!loaded.ok || loaded.value.fingerprint === desired.fingerprint);
    return { desired: { ...desired, roots: new Map([...desired.roots, ...(previous?.roots ?? [])]) }, previous };
  };
  loadRoots = async (): Promise<StoredRoots> => this.roots;
  changeRoots = async (change: (stored: StoredRoots) => StoredRoots): Promise<StoredRoots> => (this.roots = change(this.roots));
  state = async () => ({ authority: this.#data.desired, previous: this.#data.previous, rollAsked: this.asked });
  roll = async (next: Material["desired"]): Promise<void> => {
    this.rolls++;
    this.asked = false;
    this.#data = { desired: next, previous: this.#data.desired, both: next.rootsPem + this.#data.desired.rootsPem };
  };
  finish = async (): Promise<void> => { this.#data = { desired: this.#data.desired, both: this.#data.desired.rootsPem }; };
}

export const replica = (source: AuthoritySource, clock: Clock): Promise<AuthorityKeeper> => keepAuthority({ source, clock, log: quiet, metrics: new Metrics() });

export interface Holder { readonly name: string; readonly store: CertStore; current(): Promise<WorkloadCertificate>; close(): void }

/** ztunnel's own certificate store; the way to the CA is a function call. `ca` may throw: then the CA is down. */
export function holder(o: { name: string; ttlMs: number; clock: Clock; ca: () => AuthorityKeeper; caClock?: Clock; seed: number }): Holder {
  const identity = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: o.name };
  const store = createCertStore({
    clock: o.clock, random: seededRandom(o.seed), log: quiet, metrics: new Metrics(() => 0),
    caClient: {
      request: async (wanted) => {
        const keeper = o.ca();
        const { keyPem, csrPem } = fakeCsr(wanted);
        const signed = await signWorkload(keeper.current(), { csrPem, identity: wanted, ttlSeconds: BigInt(o.ttlMs / 1000) }, (o.caClock ?? o.clock).now());
        if (!signed.ok) throw new Error(signed.error);
        const read = readChain(signed.value, wanted, keyPem, o.clock.now());
        if (!read.ok) throw new Error(read.error);
        return read.value;
      },
      close: () => undefined,
    },
  });
  store.prefetch(identity);
  const current = async (): Promise<WorkloadCertificate> => {
    const [held] = store.list();
    // The store would wait for another in virtual time, which stands still meanwhile.
    if (held?.notAfter !== undefined && !held.usable) throw new Error(`${o.name} holds a certificate that ended at ${new Date(held.notAfter).toISOString()} and no other: ${held.error ?? held.state}`);
    return store.fetch(identity, "realtime");
  };
  return { name: o.name, store, current, close: () => store.close() };
}

/** Two ends of one wire, in memory. */
function wire(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  const end = (other: () => Duplex | undefined): Duplex => new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => { other()?.push(chunk); done(); },
    final: (done) => { other()?.push(null); done(); },
  });
  ends.push(end(() => ends[1]), end(() => ends[0]));
  return [ends[0] as Duplex, ends[1] as Duplex];
}

/**
 * A real mutual TLS 1.3 handshake. OpenSSL judges by the wall clock of this machine, which is not the simulation's: it proves the keys and
 * gives the chains; both chains are then judged at `now`. Returns what is wrong, or nothing.
 */
export async function handshake(client: WorkloadCertificate, server: WorkloadCertificate, now: number): Promise<string | undefined> {
  const [a, b] = wire();
  const options = { minVersion: "TLSv1.3" as const, rejectUnauthorized: false };
  const serving = new TLSSocket(b, { ...options, isServer: true, requestCert: true, key: server.keyPem, cert: server.chainPem, ca: server.rootsPem });
  const calling = connect({ ...options, socket: a, key: client.keyPem, cert: client.chainPem, ca: client.rootsPem, checkServerIdentity: () => undefined });
  try {
    await Promise.all([serving, calling].map((socket) => new Promise<void>((resolve, reject) => {
      socket.once(socket === calling ? "secureConnect" : "secure", () => resolve());
      socket.once("error", reject);
    })));
    return judge(calling, client.rootsPem, now) ?? judge(serving, server.rootsPem, now);
  } finally {
    calling.destroy();
    serving.destroy();
    a.destroy();
    b.destroy();
  }
}

/** The chain that the peer presented, from its leaf to one of these roots, all valid now. */
function judge(socket: TLSSocket, rootsPem: string, now: number): string | undefined {
  const presented: X509Certificate[] = [];
  for (let c = socket.getPeerX509Certificate(); c !== undefined && presented.length < 8; c = c.issuerCertificate === c ? undefined : c.issuerCertificate) presented.push(c);
  const roots = rootsPem.split(/(?<=-----END CERTIFICATE-----)\s*/).filter((p) => p.includes("BEGIN")).map((p) => new X509Certificate(p));
  let [at] = presented;
  if (at === undefined) return "no certificate";
  for (let depth = 0; depth < 8; depth++) {
    const current: X509Certificate = at;
    if (current.validFromDate.getTime() > now) return `${current.subject || current.subjectAltName} is not valid before ${current.validFrom}, it is ${new Date(now).toISOString()}`;
    if (current.validToDate.getTime() < now) return `${current.subject || current.subjectAltName} expired on ${current.validTo}, it is ${new Date(now).toISOString()}`;
    if (roots.some((r) => r.fingerprint256 === current.fingerprint256)) return undefined;
    const root = roots.find((r) => current.checkIssued(r) && current.verify(r.publicKey));
    if (root !== undefined) return root.validToDate.getTime() < now ? `the root expired on ${root.validTo}` : undefined;
    const next = presented.find((c) => c !== current && current.checkIssued(c) && c.ca && current.verify(c.publicKey));
    if (next === undefined) return `${presented[0]?.subjectAltName} leads to no root of its peer (issuer ${current.issuer})`;
    at = next;
  }
  return "the chain is too long";
}
