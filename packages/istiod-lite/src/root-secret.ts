// Owns where the authority lives in a cluster: Secret cacerts (plugged in) wins, else istio-ca-secret, made once by whoever comes first.
import { describeProblems } from "@ambit/core";
import { ifFound, isAlreadyExists, isConflict, KINDS, KubeError, type KubeClient, type Secret } from "@ambit/kube";
import { backoffDelay, errorText, systemRandom, type Clock, type Logger } from "@ambit/runtime";
import { createSelfSigned, loadAuthority, type Authority } from "./ca/authority.ts";
import type { AuthoritySource, Material, StoredRoots } from "./ca/keeper.ts";
import { decodeRoots, encodeRoots } from "./ca/stored-roots.ts";

const PLUGGED_IN = "cacerts";
const SELF_SIGNED = "istio-ca-secret";
/** Which roots are known and in use, for every replica and the next start: no secrets in it, but whoever writes it chooses whom the mesh trusts. */
const ROOTS = "ambit-ca-roots";
/** The API server may start after us. */
const BACKOFF = { initialMs: 100, maxMs: 5_000 };
/** Replicas that write at the same moment: each retry reads what the other wrote. */
const WRITE_TRIES = 5;

/** Keys of the authority that a roll is leaving. */
const PREVIOUS = { cert: "previous-ca-cert.pem", key: "previous-ca-key.pem" };
/** Asks for a new self-signed root; taken away when it is made. */
const ROLL_ANNOTATION = "ambit.istio.io/roll-root";

interface SecretOptions { readonly client: KubeClient; readonly namespace: string; readonly trustDomain: string; readonly clock: Clock; readonly log: Logger; readonly signal: AbortSignal }

/** What the leader may do to a self-signed root. */
export interface SelfSignedRoot {
  /** undefined: another authority is plugged in. */
  state(): Promise<{ readonly authority: Authority; readonly previous: Authority | undefined; readonly rollAsked: boolean } | undefined>;
  /** Puts a new root in the place of this one, which stays as the previous. */
  roll(next: Authority): Promise<void>;
  /** Lets go of the previous one. */
  finish(): Promise<void>;
}

export class AuthoritySecrets implements AuthoritySource, SelfSignedRoot {
  readonly #o: SecretOptions;
  #loaded = false;
  #known: { readonly version: string; readonly material: Material } | undefined;

  constructor(o: SecretOptions) {
    this.#o = o;
  }

  /** The first time it waits for an API server; rejects when a Secret is there and unusable, because replacing it would break every certificate. */
  async load(): Promise<Material> {
    for (let attempt = 0; ; attempt++) {
      try {
        const material = await this.#attempt();
        this.#loaded = true;
        return material;
      } catch (error) {
        const passing = error instanceof KubeError && (error.status === 0 || error.status >= 500 || error.status === 429 || error.status === 401 || error.status === 403);
        if (!passing || this.#loaded) throw error;
        this.#o.log.warn("the authority's secret cannot be read yet", { error: errorText(error) });
        await this.#o.clock.sleep(backoffDelay(BACKOFF, attempt, systemRandom), this.#o.signal);
      }
    }
  }

  async loadRoots(): Promise<StoredRoots> {
    const secret = await this.#read(ROOTS);
    return secret === undefined ? new Map() : decodeRoots(textsOf(secret));
  }

  async changeRoots(change: (stored: StoredRoots) => StoredRoots): Promise<StoredRoots> {
    const { client, namespace } = this.#o;
    for (let attempt = 1; ; attempt++) {
      const secret = await this.#read(ROOTS);
      const next = change(secret === undefined ? new Map() : decodeRoots(textsOf(secret)));
      const data = base64(encodeRoots(next));
      try {
        if (secret === undefined) await client.create(KINDS.secrets, namespace, { apiVersion: "v1", kind: "Secret", metadata: { name: ROOTS, namespace }, data });
        else await client.replace(KINDS.secrets, { ...secret, data });
        return next;
      } catch (error) {
        if (attempt >= WRITE_TRIES || !(isConflict(error) || isAlreadyExists(error))) throw error;
      }
    }
  }

  async state() {
    if ((await this.#read(PLUGGED_IN)) !== undefined) return undefined;
    const secret = await this.#read(SELF_SIGNED);
    if (secret === undefined) return undefined;
    const { desired, previous } = this.#material(secret);
    return { authority: desired, previous, rollAsked: secret.metadata.annotations?.[ROLL_ANNOTATION] !== undefined };
  }

  async roll(next: Authority): Promise<void> {
    await this.#change((data) => ({
      ...next.toSecret(), "root-cert.pem": next.rootsPem + (data["root-cert.pem"] ?? data["ca-cert.pem"] ?? ""),
      [PREVIOUS.cert]: data["ca-cert.pem"] ?? "", [PREVIOUS.key]: data["ca-key.pem"] ?? "",
    }));
  }

  async finish(): Promise<void> {
    await this.#change((data) => ({ "ca-cert.pem": data["ca-cert.pem"] ?? "", "ca-key.pem": data["ca-key.pem"] ?? "", "root-cert.pem": data["ca-cert.pem"] ?? "" }));
  }

  /** With the version that was read: somebody else's change in between is a conflict and stays. */
  async #change(change: (data: Readonly<Record<string, string>>) => Record<string, string>): Promise<void> {
    const { client, namespace } = this.#o;
    const secret = await client.get<Secret>(KINDS.secrets, namespace, SELF_SIGNED);
    const { [ROLL_ANNOTATION]: _, ...annotations } = secret.metadata.annotations ?? {};
    await client.replace(KINDS.secrets, { ...secret, metadata: { ...secret.metadata, annotations }, data: base64(change(textsOf(secret))) });
  }

  async #attempt(): Promise<Material> {
    const { client, namespace, clock, log } = this.#o;
    for (const name of [PLUGGED_IN, SELF_SIGNED]) {
      const secret = await this.#read(name);
      if (secret !== undefined) return this.#material(secret);
    }
    const made = await createSelfSigned(this.#o.trustDomain, clock.now());
    try {
      await client.create(KINDS.secrets, namespace, { apiVersion: "v1", kind: "Secret", type: "istio.io/ca-root", metadata: { name: SELF_SIGNED, namespace }, data: base64(made.toSecret()) });
      log.info("made a self-signed root", { secret: `${namespace}/${SELF_SIGNED}` });
      return { desired: made };
    } catch (error) {
      // Another replica was faster: its root is everybody's.
      if (!isAlreadyExists(error)) throw error;
      return this.#material(await client.get<Secret>(KINDS.secrets, namespace, SELF_SIGNED));
    }
  }

  #read(name: string): Promise<Secret | undefined> {
    return ifFound(this.#o.client.get<Secret>(KINDS.secrets, this.#o.namespace, name));
  }

  /** It is asked for every few seconds and changes every few years. */
  #material(secret: Secret): Material {
    const version = `${secret.metadata.name} ${secret.metadata.uid} ${secret.metadata.resourceVersion}`;
    if (this.#known?.version !== version) this.#known = { version, material: this.#parse(secret) };
    return this.#known.material;
  }

  #parse(secret: Secret): Material {
    const data = textsOf(secret);
    const now = this.#o.clock.now();
    const loaded = loadAuthority(data, now);
    if (!loaded.ok) throw new Error(`Secret ${this.#o.namespace}/${secret.metadata.name} is not a usable authority: ${describeProblems(loaded.error)}`);
    if (!this.#loaded) this.#o.log.info("authority loaded", { secret: secret.metadata.name, not_after: new Date(loaded.value.notAfter).toISOString() });
    if (data[PREVIOUS.cert] === undefined) return { desired: loaded.value };
    // One that has expired or is broken signs nothing more, and does not keep the present one from it.
    const previous = loadAuthority({ "ca-cert.pem": data[PREVIOUS.cert] ?? "", "ca-key.pem": data[PREVIOUS.key] ?? "" }, now);
    return { desired: loaded.value, previous: previous.ok ? previous.value : undefined };
  }
}

const textsOf = (secret: Secret): Record<string, string> => Object.fromEntries(Object.entries(secret.data ?? {}).map(([k, v]) => [k, Buffer.from(v, "base64").toString("utf8")]));
const base64 = (texts: Readonly<Record<string, string>>): Record<string, string> => Object.fromEntries(Object.entries(texts).map(([k, v]) => [k, Buffer.from(v).toString("base64")]));
