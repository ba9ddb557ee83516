// Owns the city of the control-plane simulations: an API server, replicas of the control plane, proxies, what changes, and what must hold all the time.
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { addressSource, auditServed, authorizationSource, buildMesh, createInbox, createTicker, DEFAULT_SETTINGS, encodeAddress, encodePolicy, SOURCE_KINDS, watchKubernetes, type KubernetesSources, type Mesh } from "@ambit/istiod-lite/testing";
import { KINDS, type Kind, type KubeObject } from "@ambit/kube";
import { createLogger, LogLevels, Metrics, seededRandom, type Random } from "@ambit/runtime";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, createXdsServer, type XdsServer } from "@ambit/xds/testing";
import { Api } from "./api.fixture.ts";
import { SimClock, turn } from "./clock.fixture.ts";
import { SimProxy } from "./proxy.fixture.ts";

const quiet = createLogger("sim", { levels: new LogLevels(process.env["TEST_LOG"] ?? "error"), write: (line) => { if (process.env["TEST_LOG"] !== undefined) process.stderr.write(`${line}\n`); } });
/** How long after its last change an endpoint may still be shown as before: outages of the API server included. */
const LAG_MAX_MS = 150_000;

/** One process of the control plane; killed, it leaves nothing behind. */
class Replica {
  readonly number: number;
  readonly mesh: Mesh = buildMesh(DEFAULT_SETTINGS);
  readonly xds: XdsServer;
  readonly #sources: KubernetesSources;
  readonly #audit: { cancel(): void };
  ready = false;
  dead = false;
  /** Its wall clock is off by this much; it may jump. */
  skewMs: number;

  constructor(number: number, api: Api, skewMs: number, random: Random) {
    this.number = number;
    this.skewMs = skewMs;
    const clock = api.clock.skewed(() => this.skewMs);
    const metrics = new Metrics();
    const inbox = createInbox(this.mesh, quiet);
    const ticker = createTicker(clock);
    const pushed = [authorizationSource(this.mesh.authorizations, ticker, clock), addressSource(this.mesh.addresses, ticker)];
    this.#audit = auditServed({ sources: pushed, clock, log: quiet, metrics });
    this.xds = createXdsServer({
      sources: pushed, authenticate: async () => ({ identity: { trustDomain: "cluster.local", namespace: "istio-system", serviceAccount: "ztunnel" } }),
      ready: () => this.ready, fresh: () => this.#sources.fresh(), log: quiet, clock, metrics,
    });
    this.#sources = watchKubernetes({ client: api.client(number), inbox, meshConfig: { namespace: "istio-system", name: "istio" }, clock, random, log: quiet });
    void this.#sources.whenSynced().then(() => {
      if (this.dead) return;
      inbox.open();
      ticker.flush();
      this.ready = true;
    });
  }

  kill(): void {
    this.dead = true;
    this.ready = false;
    this.#audit.cancel();
    this.xds.close();
    void this.#sources.stop();
  }
}

export class City {
  readonly clock = new SimClock();
  readonly api = new Api(this.clock);
  readonly random: Random;
  replicas: Replica[] = [];
  readonly proxies: SimProxy[] = [];
  /** Since when a workload is as it is in the API; by resource name. */
  readonly #since = new Map<string, number>();
  /** Names of pods that were deleted at least once. */
  readonly #deleted = new Set<string>();
  /** Never touched by anybody: they may not be taken away, shown otherwise, or lose their policies. */
  readonly stable = new Map<string, string>();
  /** Probability that a response is lost. */
  lossy = 0;
  #pods = 0;
  #nextReplica = 0;
  #attached = new Map<SimProxy, Replica>();

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.api.latency = (replica) => 2 + replica % 3 * 20 + this.random() * 30;
  }

  chance(p: number): boolean { return this.random() < p; }
  pick<T>(list: readonly T[]): T | undefined { return list[Math.floor(this.random() * list.length)]; }

  /** `pods` that never change, in services that never change, under a policy that never changes. */
  async build(o: { pods: number; replicas: number; proxies: number }): Promise<void> {
    for (const [plural, group, kind] of [["authorizationpolicies", "security.istio.io", "AuthorizationPolicy"], ["peerauthentications", "security.istio.io", "PeerAuthentication"]])
      this.api.put(KINDS.customResourceDefinitions, { metadata: { name: `${plural}.${group}`, uid: kind ?? "" }, spec: { versions: [{ name: "v1", served: true }] }, status: { conditions: [{ type: "Established", status: "True" }] } });
    for (const namespace of ["istio-system", "shop"]) this.api.put(KINDS.namespaces, { metadata: { name: namespace, uid: namespace } });
    for (let n = 0; n < 4; n++) this.api.put(KINDS.nodes, { metadata: { name: `node-${n}`, uid: `node-${n}`, labels: { "topology.kubernetes.io/zone": `z${n}` } } });
    for (let s = 0; s < 3; s++) this.putService(s);
    this.api.put(KINDS.peerAuthentications, { metadata: { name: "strict", namespace: "shop", uid: "strict" }, spec: { mtls: { mode: "STRICT" } } });
    for (let p = 0; p < o.pods; p++) this.putPod(`stable-${p}`, `10.1.0.${p + 1}`, p % 3);
    this.startReplicas(o.replicas);
    for (let p = 0; p < o.proxies; p++) this.#addProxy(`ztunnel-${p}`);
    await this.run(10_000);
    assert.ok(this.proxies.every((p) => p.ready), "everybody is ready before anything goes wrong");
    const [first] = this.proxies;
    for (const [name, held] of first?.state.get(ADDRESS_TYPE) ?? []) this.stable.set(name, held.version);
    for (const [name, held] of first?.state.get(AUTHORIZATION_TYPE) ?? []) this.stable.set(name, held.version);
    assert.ok(this.stable.size >= o.pods + 4);
  }

  putService(s: number): void {
    this.api.put(KINDS.services, { metadata: { name: `svc-${s}`, namespace: "shop", uid: `svc-${s}`, creationTimestamp: "2026-01-01T00:00:00Z" }, spec: { clusterIPs: [`10.96.0.${s + 1}`], selector: { app: `a${s}` }, ports: [{ port: 80, targetPort: 8080 }] } });
  }

  putPod(name: string, ip: string, app: number, o: { ready?: boolean; uid?: string } = {}): void {
    const uid = o.uid ?? `uid-${name}`;
    this.api.put(KINDS.pods, { metadata: { name, namespace: "shop", uid, labels: { app: `a${app}` }, annotations: { "ambient.istio.io/redirection": "enabled" } },
      spec: { nodeName: `node-${app}`, serviceAccountName: `sa-${app}`, containers: [{ name: "c", image: "x" }] },
      status: { phase: "Running", podIPs: [{ ip }], conditions: [{ type: "Ready", status: o.ready === false ? "False" : "True" }] } });
    this.#touched(name);
  }

  deletePod(name: string): void {
    this.api.delete(KINDS.pods, `shop/${name}`);
    this.#deleted.add(name);
    this.#touched(name);
  }

  startReplicas(count: number): void {
    for (let i = 0; i < count; i++) this.replicas.push(new Replica(this.#nextReplica++, this.api, this.skew(), this.random));
  }

  killReplica(which: Replica | undefined): void {
    if (which === undefined) return;
    this.replicas = this.replicas.filter((r) => r !== which);
    for (const [proxy, replica] of this.#attached) if (replica === which) proxy.cut();
    which.kill();
  }

  /** One random change of the API's objects; stable ones are never meant. */
  edit(): void {
    const mine = this.api.list(KINDS.pods).filter((p) => p.metadata.name.startsWith("pod-"));
    const roll = this.random();
    const victim = this.pick(mine);
    if (roll < 0.4 || victim === undefined) return this.putPod(`pod-${this.#pods++}`, `10.2.0.${1 + Math.floor(this.random() * 60)}`, Math.floor(this.random() * 3));
    const name = victim.metadata.name;
    const ip = ((victim["status"] as { podIPs: { ip: string }[] }).podIPs[0] as { ip: string }).ip;
    if (roll < 0.6) return this.deletePod(name);
    if (roll < 0.75) return this.putPod(name, ip, Math.floor(this.random() * 3), { ready: this.chance(0.5), uid: victim.metadata.uid ?? "" });
    if (roll < 0.85) {
      // A StatefulSet's pod, deleted by force: the same name with another address at once.
      this.deletePod(name);
      return this.putPod(name, `10.2.1.${1 + Math.floor(this.random() * 60)}`, 0, { uid: `again-${this.#pods++}` });
    }
    if (roll < 0.95) {
      // The address goes to another pod, which runs as somebody else.
      this.deletePod(name);
      return this.putPod(`pod-${this.#pods++}`, ip, 2);
    }
    const policy = `p-${Math.floor(this.random() * 3)}`;
    if (this.chance(0.5)) this.api.delete(KINDS.authorizationPolicies, `shop/${policy}`);
    else this.api.put(KINDS.authorizationPolicies, { metadata: { name: policy, namespace: "shop", uid: policy, generation: 1 }, spec: { action: "DENY", selector: { matchLabels: { app: "nobody" } }, rules: [{ from: [{ source: { namespaces: [`n${Math.floor(this.random() * 9)}`] } }] }] } });
  }

  /** Of a wall clock: minutes with bad luck, days when nobody cares for it; either way. */
  skew(): number {
    return (this.random() - 0.5) * 2 * (this.chance(0.5) ? 600_000 : 2 * 86_400_000);
  }

  /** One random fault, each of which ends by itself. */
  fault(): void {
    const roll = this.random();
    if (roll < 0.25) this.pick(this.proxies)?.cut();
    else if (roll < 0.40) this.api.flap(false);
    else if (roll < 0.50) this.api.flap(true);
    else if (roll < 0.65) {
      const replica = this.pick(this.replicas)?.number ?? 0;
      this.api.unreachable.add(replica);
      this.api.cut((r) => r === replica);
      this.clock.after(this.random() * 60_000, () => this.api.unreachable.delete(replica));
    } else if (roll < 0.80) {
      this.killReplica(this.pick(this.replicas));
      this.clock.after(this.random() * 8_000, () => this.startReplicas(1));
    } else if (roll < 0.85) {
      for (const r of this.replicas) this.killReplica(r);
      this.clock.after(this.random() * 20_000, () => this.startReplicas(2));
    } else if (roll < 0.92) {
      // Set right, or wrong, while it runs.
      const replica = this.pick(this.replicas);
      if (replica !== undefined) replica.skewMs = this.skew();
    } else {
      this.lossy = 0.2;
      this.clock.after(2_000, () => { this.lossy = 0; });
    }
  }

  /** All networks whole, a replica there. */
  heal(): void {
    this.lossy = 0;
    this.api.unreachable.clear();
    if (this.replicas.length === 0) this.startReplicas(1);
  }

  run(ms: number): Promise<void> {
    // Readable streams and async iterators take a few turns to hand an event on.
    return this.clock.advance(ms, async () => { for (let i = 0; i < 3; i++) await turn(); });
  }

  /** What every proxy must hold, computed from nothing but the API's objects. */
  truth(): Map<string, string> {
    const mesh = buildMesh(DEFAULT_SETTINGS);
    mesh.batch(() => {
      for (const [source, kind] of Object.entries(SOURCE_KINDS) as [keyof Mesh["sources"], Kind][])
        for (const object of this.api.list(kind)) mesh.sources[source].set(structuredClone(object) as never);
    });
    const out = new Map<string, string>();
    for (const a of mesh.addresses.list()) out.set(a.name, versionOf(encodeAddress(a)));
    for (const p of mesh.authorizations.list()) out.set(`${p.namespace}/${p.name}`, versionOf(encodePolicy(p)));
    return out;
  }

  held(proxy: SimProxy): Map<string, string> {
    return new Map([...proxy.state.values()].flatMap((s) => [...s].map(([name, h]) => [name, versionOf(h.bytes)] as const)));
  }

  converged(): boolean {
    const truth = [...this.truth()].sort().join();
    return this.proxies.every((p) => [...this.held(p)].sort().join() === truth);
  }

  /** Virtual milliseconds until everybody holds the truth. */
  async untilConverged(limitMs: number, stepMs = 100): Promise<number> {
    const begin = this.clock.now();
    while (!this.converged()) {
      if (this.clock.now() - begin >= limitMs) this.#explain(limitMs);
      await this.run(stepMs);
    }
    return this.clock.now() - begin;
  }

  close(): void {
    for (const r of this.replicas) r.kill();
  }

  #explain(limitMs: number): never {
    const truth = this.truth();
    const wrong = this.proxies.flatMap((p) => {
      const held = this.held(p);
      const names = new Set([...truth.keys(), ...held.keys()]);
      return [...names].filter((n) => truth.get(n) !== held.get(n)).map((n) => `${p.name}${p.connected ? "" : " (not connected)"}: ${n} ${held.has(n) ? (truth.has(n) ? "is old" : "should be gone") : "is missing"}`);
    });
    assert.fail(`not converged within ${limitMs} ms of virtual time: ${wrong.slice(0, 8).join("; ")}`);
  }

  #addProxy(name: string): void {
    const proxy = new SimProxy(name, this.clock, {
      random: this.random,
      latency: () => 1 + this.random() * 10,
      lose: () => this.lossy > 0 && this.chance(this.lossy),
      connect: (self) => {
        // Also one that is not ready: it has to refuse by itself.
        const replica = this.pick(this.replicas);
        if (replica === undefined) return undefined;
        this.#attached.set(self, replica);
        return replica.xds;
      },
      onRemoved: (_type, resource) => this.#mayGo(name, resource),
      onUpsert: (_type, resource, held) => {
        const version = this.stable.get(resource);
        assert.ok(version === undefined || version === held.version, `${this.#now()} ${name}: ${resource} never changed and was shown otherwise`);
      },
    });
    this.proxies.push(proxy);
  }

  #mayGo(proxy: string, resource: string): void {
    assert.ok(!this.stable.has(resource), `${this.#now()} ${proxy}: ${resource} never changed and was taken away`);
    const live = resource.startsWith("Kubernetes//Pod/shop/") && this.api.list(KINDS.pods).some((p) => `Kubernetes//Pod/shop/${p.metadata.name}` === resource);
    if (!live) return;
    const pod = resource.slice("Kubernetes//Pod/shop/".length);
    assert.ok(this.#deleted.has(pod), `${this.#now()} ${proxy}: ${resource} was taken away, and has lived since it was made`);
    // Of a name that was there before, an old deletion may arrive late.
    const since = this.#since.get(pod) ?? 0;
    assert.ok(this.clock.now() - since < LAG_MAX_MS, `${this.#now()} ${proxy}: ${resource} was taken away, and has been live for ${(this.clock.now() - since) / 1000} s`);
  }

  #touched(name: string): void {
    this.#since.set(name, this.clock.now());
  }

  #now(): string {
    return new Date(this.clock.now()).toISOString().slice(11, 23);
  }
}

const versionOf = (bytes: Uint8Array): string => hash("sha256", bytes, "hex").slice(0, 16);
export type { KubeObject };
