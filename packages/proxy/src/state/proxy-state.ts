// Owns everything the control plane told us: the stores, their indexes, and the one function that writes them.
import {
  familyOf, formatIdentity, networkAddressKey, type Endpoint, type Identity, type Ip, type MissingPolicy, type Policy, type PolicyKey,
  type PolicySet, type Service, type ServiceKey, type Workload, type WorkloadUid,
} from "@ambit/core";
import { MultiMap } from "./multi-map.ts";
import type { Batch, Change, RejectedPolicy } from "./prepare.ts";
import { bestCidrService, bestServices, strongestClaim } from "./rank.ts";
import type { JoinedEndpoint, PodInfo, StateView } from "./view.ts";

/** What one batch changed. */
export interface Applied {
  readonly workloads: ReadonlySet<WorkloadUid>;
  readonly services: ReadonlySet<ServiceKey>;
  readonly policies: boolean;
}

type Touched = { readonly workloads: Set<WorkloadUid>; readonly services: Set<ServiceKey>; policies: boolean };

export class ProxyState implements StateView {
  readonly #node: string;
  readonly #workloads = new Map<WorkloadUid, Workload>();
  readonly #byIp = new MultiMap<Workload>();
  readonly #byName = new MultiMap<Workload>();
  readonly #byWorkloadHost = new MultiMap<Workload>();
  readonly #localByIdentity = new MultiMap<Workload>();

  readonly #services = new Map<ServiceKey, Service>();
  readonly #byVip = new MultiMap<Service>();
  readonly #cidrServices = new Set<Service>();
  readonly #byHostname = new MultiMap<Service>();
  /** Also of services that are not known (yet): those are the staged ones. */
  readonly #members = new Map<ServiceKey, Map<WorkloadUid, Endpoint>>();
  readonly #joined = new Map<ServiceKey, readonly JoinedEndpoint[]>();

  readonly #policies = new Map<PolicyKey, Policy>();
  readonly #rejected = new Map<PolicyKey, RejectedPolicy>();
  /** What applies to every workload of a namespace; emptied by any policy change. */
  readonly #scoped = new Map<string, PolicySet>();
  readonly #listeners = new Set<(applied: Applied) => void>();

  /** `node`: workloads on it are local, and their identities are ours to hold. */
  constructor(node: string) {
    this.#node = node;
  }

  view(): StateView {
    return this;
  }

  /** Called after every batch, synchronously; returns the way to stop it. */
  onApplied(listener: (applied: Applied) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  apply(batch: Batch): Applied {
    const touched: Touched = { workloads: new Set(), services: new Set(), policies: false };
    for (const change of batch.changes) this.#applyOne(change, touched);
    if (touched.policies) this.#scoped.clear();
    for (const listener of this.#listeners) listener(touched);
    return touched;
  }

  #applyOne(change: Change, touched: Touched): void {
    switch (change.kind) {
      case "workload":
        this.#removeWorkload(change.value.uid, touched);
        return this.#insertWorkload(change.value, touched);
      case "service":
        this.#removeService(change.key, touched);
        return this.#insertService(change.key, change.value, touched);
      case "address-removed":
        if (this.#workloads.has(change.name)) return this.#removeWorkload(change.name, touched);
        return this.#removeService(change.name, touched);
      case "policy":
        this.#policies.set(change.key, change.value);
        this.#rejected.delete(change.key);
        touched.policies = true;
        return;
      case "policy-rejected":
        // The last good version stays in force.
        if (!this.#policies.has(change.value.key)) this.#rejected.set(change.value.key, change.value);
        touched.policies = true;
        return;
      case "policy-removed":
        touched.policies = this.#policies.delete(change.key) || this.#rejected.delete(change.key) || touched.policies;
        return;
    }
  }

  #insertWorkload(w: Workload, touched: Touched): void {
    this.#workloads.set(w.uid, w);
    touched.workloads.add(w.uid);
    // A host-network workload would shadow its node's address.
    if (!w.hostNetwork) for (const ip of w.addresses) this.#byIp.add(networkAddressKey(w.network, ip), w);
    this.#byName.add(`${w.namespace}/${w.name}`, w);
    if (w.hostname !== "") this.#byWorkloadHost.add(`${w.namespace}/${w.hostname}`, w);
    if (this.#isLocal(w)) this.#localByIdentity.add(formatIdentity(w.identity), w);
    for (const [key, ports] of w.services) {
      let members = this.#members.get(key);
      if (members === undefined) this.#members.set(key, (members = new Map()));
      members.set(w.uid, { workloadUid: w.uid, ports, healthy: w.healthy });
      this.#forgetJoin(key, touched);
    }
  }

  #removeWorkload(uid: WorkloadUid, touched: Touched): void {
    const w = this.#workloads.get(uid);
    if (w === undefined) return;
    this.#workloads.delete(uid);
    touched.workloads.add(uid);
    if (!w.hostNetwork) for (const ip of w.addresses) this.#byIp.remove(networkAddressKey(w.network, ip), w);
    this.#byName.remove(`${w.namespace}/${w.name}`, w);
    if (w.hostname !== "") this.#byWorkloadHost.remove(`${w.namespace}/${w.hostname}`, w);
    if (this.#isLocal(w)) this.#localByIdentity.remove(formatIdentity(w.identity), w);
    for (const key of w.services.keys()) {
      const members = this.#members.get(key);
      if (members?.delete(uid) === true && members.size === 0) this.#members.delete(key);
      this.#forgetJoin(key, touched);
    }
  }

  #insertService(key: ServiceKey, s: Service, touched: Touched): void {
    this.#services.set(key, s);
    for (const vip of s.vips) {
      if (isExact(vip.cidr.ip, vip.cidr.prefix)) this.#byVip.add(networkAddressKey(vip.network, vip.cidr.ip), s);
      else this.#cidrServices.add(s);
    }
    this.#byHostname.add(s.hostname, s);
    this.#forgetJoin(key, touched);
  }

  #removeService(key: ServiceKey, touched: Touched): void {
    const s = this.#services.get(key);
    if (s === undefined) return;
    this.#services.delete(key);
    for (const vip of s.vips) this.#byVip.remove(networkAddressKey(vip.network, vip.cidr.ip), s);
    this.#cidrServices.delete(s);
    this.#byHostname.remove(s.hostname, s);
    this.#forgetJoin(key, touched);
  }

  #forgetJoin(key: ServiceKey, touched: Touched): void {
    this.#joined.delete(key);
    touched.services.add(key);
  }

  #isLocal(w: Workload): boolean {
    return this.#node !== "" && w.node === this.#node;
  }

  workload(uid: WorkloadUid): Workload | undefined {
    return this.#workloads.get(uid);
  }

  workloadAt(network: string, ip: Ip): Workload | undefined {
    return strongestClaim(this.#byIp.get(networkAddressKey(network, ip)));
  }

  workloadOfPod(pod: PodInfo): Workload | undefined {
    const found = this.#byName.get(`${pod.namespace}/${pod.name}`).filter((w) => w.identity.serviceAccount === pod.serviceAccount);
    // The same name may exist in another cluster of the mesh: ours is on this node.
    return strongestClaim(found.filter((w) => this.#isLocal(w))) ?? strongestClaim(found);
  }

  workloadNamed(namespace: string, hostname: string): Workload | undefined {
    return this.#byWorkloadHost.get(`${namespace}/${hostname}`)[0];
  }

  service(key: ServiceKey): Service | undefined {
    return this.#services.get(key);
  }

  serviceAt(network: string, ip: Ip, namespace: string): Service | undefined {
    const exact = bestServices(this.#byVip.get(networkAddressKey(network, ip)), namespace)[0];
    if (exact !== undefined || this.#cidrServices.size === 0) return exact;
    return bestCidrService(this.#cidrServices, network, ip, namespace);
  }

  servicesNamed(hostname: string, namespace: string): readonly Service[] {
    return bestServices(this.#byHostname.get(hostname), namespace);
  }

  endpoints(key: ServiceKey): readonly JoinedEndpoint[] {
    const service = this.#services.get(key);
    if (service === undefined) return [];
    let joined = this.#joined.get(key);
    if (joined === undefined) {
      const all = service.loadBalancing?.healthPolicy === "allow-all";
      joined = this.members(key).filter((e) => all || e.healthy).map((endpoint) => ({ endpoint, workload: this.#workloads.get(endpoint.workloadUid) }));
      this.#joined.set(key, joined);
    }
    return joined;
  }

  members(key: ServiceKey): readonly Endpoint[] {
    return [...(this.#members.get(key)?.values() ?? [])];
  }

  policiesFor(workload: Workload): PolicySet {
    const scoped = this.#scopedTo(workload.namespace);
    if (workload.authorizationPolicies.length === 0) return scoped;
    const policies = [...scoped.policies];
    const missing = [...scoped.missing];
    for (const key of workload.authorizationPolicies) {
      const policy = this.#policies.get(key);
      const rejected = this.#rejected.get(key);
      // A named policy of another scope was found above already.
      if (policy !== undefined) { if (policy.scope === "workload") policies.push(policy); }
      else if (rejected === undefined) missing.push({ policy: key, reason: "unknown" });
      else if (!rejected.dryRun && (rejected.scope === "workload" || (rejected.scope === "unknown" && rejected.namespace !== workload.namespace))) missing.push({ policy: key, reason: "rejected" });
    }
    return { policies, missing };
  }

  #scopedTo(namespace: string): PolicySet {
    let set = this.#scoped.get(namespace);
    if (set === undefined) {
      const applies = (p: { scope: RejectedPolicy["scope"]; namespace: string }) => p.scope === "global" || (p.scope !== "workload" && p.namespace === namespace);
      const missing = [...this.#rejected.values()].filter((r) => !r.dryRun && applies(r)).map((r): MissingPolicy => ({ policy: r.key, reason: "rejected" }));
      set = { policies: [...this.#policies.values()].filter(applies), missing };
      this.#scoped.set(namespace, set);
    }
    return set;
  }

  /** Identities that a certificate is needed for: of local workloads that speak HBONE. */
  localIdentities(): Identity[] {
    const seen = new Map<string, Identity>();
    for (const w of this.#localByIdentity.values())
      if ((w.protocol === "hbone" || w.nativeTunnel)) seen.set(formatIdentity(w.identity), w.identity);
    return [...seen.values()];
  }

  hasLocalIdentity(identity: Identity): boolean {
    return this.#localByIdentity.has(formatIdentity(identity));
  }

  workloads(): Iterable<Workload> { return this.#workloads.values(); }
  services(): Iterable<Service> { return this.#services.values(); }
  policies(): Iterable<Policy> { return this.#policies.values(); }
  rejectedPolicies(): Iterable<RejectedPolicy> { return this.#rejected.values(); }
  *staged(): Iterable<readonly [ServiceKey, readonly Endpoint[]]> {
    for (const [key, members] of this.#members) if (!this.#services.has(key)) yield [key, [...members.values()]];
  }
}

const isExact = (ip: Ip, prefix: number): boolean => prefix === (familyOf(ip) === 4 ? 32 : 128);

