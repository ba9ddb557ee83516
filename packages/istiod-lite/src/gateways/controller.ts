// Owns the running of waypoints: for each Gateway of a waypoint class its objects are applied and its status is written. Leader only.
import { createHash } from "node:crypto";
import { load } from "js-yaml";
import type { Collection } from "@ambit/collections";
import { describeProblems, ok, problem, type Problem, type Result } from "@ambit/core";
import { isNotFound, KINDS, objectKey, Reflector, type ConfigMap, type Kind, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import type { Clock, Logger, Timer } from "@ambit/runtime";
import { createWorker, type Worker } from "../status/worker.ts";
import { MANAGED_LABEL, MANAGED_VALUE, namesOf, record, waypointObjects, WAYPOINT_CLASSES, type ManagedKind, type ManagedObject, type Overlays, type WaypointTemplate } from "./plan/objects.ts";
import { gatewayStatus, gatewayStatusToApply } from "./plan/status.ts";

const MANAGER = "istio.io/gateway-controller";
/** Overlays live in ConfigMaps that are not watched one by one: what they say is looked at again so often. */
const OVERLAYS_EVERY_MS = 30_000;
const CLASS_DEFAULTS = "gateway.istio.io/defaults-for-class";

const MANAGED: Readonly<Record<ManagedKind, Kind>> = {
  serviceAccounts: KINDS.serviceAccounts, deployments: KINDS.deployments, services: KINDS.services,
  horizontalPodAutoscalers: { group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers", kind: "HorizontalPodAutoscaler", namespaced: true },
  podDisruptionBudgets: { group: "policy", version: "v1", plural: "poddisruptionbudgets", kind: "PodDisruptionBudget", namespaced: true },
};

export interface GatewayControllerOptions {
  readonly client: KubeClient;
  readonly gateways: Collection<KubeObject>;
  readonly services: Collection<KubeObject>;
  readonly pods: Collection<Pod>;
  readonly template: WaypointTemplate;
  /** Whether its revision is ours: another control plane runs the others. */
  readonly isOurs: (gateway: KubeObject) => boolean;
  readonly rootNamespace: string;
  readonly clusterDomain: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface GatewayController {
  lead(leading: boolean): void;
  stop(): Promise<void>;
}

export function runWaypoints(o: GatewayControllerOptions): GatewayController {
  const managed = { labelSelector: `${MANAGED_LABEL}=${MANAGED_VALUE}`, clock: o.clock, log: o.log };
  const deployments = new Reflector(o.client, KINDS.deployments, managed);
  const defaults = new Reflector<ConfigMap>(o.client, KINDS.configMaps, { labelSelector: CLASS_DEFAULTS, clock: o.clock, log: o.log });
  const controller = new Controller(o, deployments, defaults);
  const { worker } = controller;
  const ours = (): string[] => o.gateways.list().filter((g) => isWaypoint(g) && o.isOurs(g)).map(objectKey);
  const touch = (object: KubeObject): void => {
    const name = object.metadata.labels?.["gateway.networking.k8s.io/gateway-name"];
    if (name !== undefined) worker.add(`${object.metadata.namespace ?? ""}/${name}`);
  };
  o.gateways.onChange((changes) => { for (const c of changes) worker.add(c.key); });
  o.services.onChange((changes) => { for (const c of changes) for (const s of [c.before, c.after]) if (s !== undefined) touch(s); });
  o.pods.onChange((changes) => { for (const c of changes) if (isReady(c.before) !== isReady(c.after)) for (const p of [c.before, c.after]) if (p !== undefined) touch(p); });
  deployments.handle({ onAdd: touch, onUpdate: touch, onDelete: touch });
  const again = (): void => { for (const key of ours()) worker.add(key); };
  defaults.handle({ onAdd: again, onUpdate: again, onDelete: again });

  let leading = false;
  let every: Timer | undefined;
  const goOn = (): void => { if (leading && deployments.synced && defaults.synced) worker.resume(ours()); };
  void Promise.all([deployments.start().whenSynced(), defaults.start().whenSynced()]).then(goOn);
  return {
    lead(now) {
      leading = now;
      every?.cancel();
      every = now ? o.clock.every(OVERLAYS_EVERY_MS, again) : undefined;
      if (now) goOn();
      else worker.pause();
    },
    async stop() {
      every?.cancel();
      await worker.stop();
      await Promise.all([deployments.stop(), defaults.stop()]);
    },
  };
}

const isWaypoint = (g: KubeObject): boolean => WAYPOINT_CLASSES.has(String(record(g["spec"])["gatewayClassName"] ?? ""));
const isReady = (pod: Pod | undefined): boolean =>
  pod !== undefined && pod.metadata.deletionTimestamp === undefined && (pod.status?.conditions ?? []).some((c) => c.type === "Ready" && c.status === "True");

class Controller {
  readonly #o: GatewayControllerOptions;
  readonly #deployments: Reflector;
  readonly #defaults: Reflector<ConfigMap>;
  readonly worker: Worker;
  /** What was applied last, by kind and name; an equal one that nobody touched is not applied again. */
  readonly #applied = new Map<string, string>();

  constructor(o: GatewayControllerOptions, deployments: Reflector, defaults: Reflector<ConfigMap>) {
    this.#o = o;
    this.#deployments = deployments;
    this.#defaults = defaults;
    this.worker = createWorker({ name: "waypoints", clock: o.clock, log: o.log, reconcile: (key) => this.#reconcile(key) });
  }

  async #reconcile(key: string): Promise<void> {
    const gateway = this.#o.gateways.get(key);
    if (gateway === undefined || !isWaypoint(gateway) || !this.#o.isOurs(gateway) || gateway.metadata.deletionTimestamp !== undefined) return this.#forget(key);
    const unmanaged = hostnameOf(gateway);
    const problems = unmanaged === undefined ? await this.#applyAll(key, gateway) : [];
    await this.#writeStatus(key, gateway, problems);
  }

  #forget(key: string): void {
    // Owner references take the objects away.
    for (const k of [...this.#applied.keys()]) if (k.startsWith(`${key} `)) this.#applied.delete(k);
  }

  async #applyAll(key: string, gateway: KubeObject): Promise<readonly Problem[]> {
    const overlays = await this.#overlays(gateway);
    const objects: Result<readonly ManagedObject[]> = overlays.ok ? waypointObjects(gateway, this.#o.template, overlays.value, (yaml) => load(yaml)) : overlays;
    if (!objects.ok) {
      this.#o.log.warn("a waypoint cannot be made", { gateway: key, error: describeProblems(objects.error) });
      return objects.error;
    }
    const problems: Problem[] = [];
    for (const object of objects.value) {
      const stranger = await this.#apply(key, object);
      if (stranger !== undefined) problems.push(stranger);
    }
    return problems;
  }

  async #apply(key: string, { kind, body }: ManagedObject): Promise<Problem | undefined> {
    const { name, namespace = "" } = body.metadata;
    const slot = `${key} ${kind}/${name}`;
    const standing = kind === "deployments" ? this.#deployments.get(`${namespace}/${name}`) : kind === "services" ? this.#o.services.get(`${namespace}/${name}`) : undefined;
    const mark = createHash("sha256").update(JSON.stringify(body)).update(String(standing?.metadata.generation ?? standing?.metadata.uid ?? "")).digest("hex");
    if (this.#applied.get(slot) === mark && (standing !== undefined || (kind !== "deployments" && kind !== "services"))) return undefined;
    if (!this.#applied.has(slot) && standing?.metadata.labels?.[MANAGED_LABEL] === undefined && (await this.#isStrangers(kind, namespace, name)))
      return problem(`${MANAGED[kind].kind} ${name}`, `exists and is not managed by this mesh (no label ${MANAGED_LABEL}): left alone`);
    await this.#o.client.patch(MANAGED[kind], namespace, name, body, { type: "apply", fieldManager: MANAGER, force: true });
    this.#applied.set(slot, mark);
    this.#o.log.info("applied", { gateway: key, kind: MANAGED[kind].kind, name });
    return undefined;
  }

  async #isStrangers(kind: ManagedKind, namespace: string, name: string): Promise<boolean> {
    try {
      const found = await this.#o.client.get(MANAGED[kind], namespace, name);
      return found.metadata.labels?.[MANAGED_LABEL] === undefined;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  /** Of the class, then of the Gateway. */
  async #overlays(gateway: KubeObject): Promise<Result<readonly Overlays[]>> {
    const spec = record(gateway["spec"]);
    const forClass = this.#defaults.items().filter((c) => c.metadata.namespace === this.#o.rootNamespace && c.metadata.labels?.[CLASS_DEFAULTS] === spec["gatewayClassName"]);
    const out: Overlays[] = forClass.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)).map((c) => ({ name: c.metadata.name, data: c.data ?? {} }));
    const ref = record(spec["infrastructure"])["parametersRef"];
    if (ref === undefined) return ok(out);
    const { group, kind, name } = record(ref);
    const bad = (message: string): Result<readonly Overlays[]> => ({ ok: false, error: [problem("spec.infrastructure.parametersRef", message)] });
    if ((group ?? "") !== "" || kind !== "ConfigMap") return bad(`only a ConfigMap is understood, not ${String(kind)} of group "${String(group)}"`);
    try {
      const found = (await this.#o.client.get(KINDS.configMaps, gateway.metadata.namespace ?? "", String(name))) as ConfigMap;
      return ok([...out, { name: String(name), data: found.data ?? {} }]);
    } catch (error) {
      if (isNotFound(error)) return bad(`ConfigMap ${String(name)} does not exist`);
      throw error;
    }
  }

  async #writeStatus(key: string, gateway: KubeObject, problems: readonly Problem[]): Promise<void> {
    const namespace = gateway.metadata.namespace ?? "";
    const service = this.#o.services.get(`${namespace}/${hostnameOf(gateway)?.split(".")[0] ?? namesOf(gateway).name}`);
    const selector = record(record(service?.["spec"])["selector"]);
    const readyPods = this.#o.pods.list().filter((p) => p.metadata.namespace === namespace && isReady(p)
      && Object.keys(selector).length > 0 && Object.entries(selector).every(([k, v]) => p.metadata.labels?.[k] === v)).length;
    const want = gatewayStatus(gateway, { service, readyPods, clusterDomain: this.#o.clusterDomain, problems });
    const status = gatewayStatusToApply(gateway, want, new Date(this.#o.clock.now()).toISOString().replace(/\.\d+Z$/, "Z"));
    if (status === undefined) return;
    const version = (gateway.apiVersion ?? "").split("/").at(-1) ?? "v1";
    const uid = gateway.metadata.uid;
    try {
      await this.#o.client.patch({ ...KINDS.gateways, version }, namespace, gateway.metadata.name, {
        apiVersion: gateway.apiVersion ?? "gateway.networking.k8s.io/v1", kind: "Gateway", metadata: { name: gateway.metadata.name, namespace, ...(uid === undefined ? {} : { uid }) }, status,
      }, { type: "apply", subresource: "status", fieldManager: MANAGER, force: true });
      this.#o.log.debug("gateway status written", { gateway: key, programmed: want.conditions.find((c) => c.type === "Programmed")?.status });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

/** A Gateway that names an existing Service by host name is not ours to run. */
function hostnameOf(gateway: KubeObject): string | undefined {
  const addresses = record(gateway["spec"])["addresses"];
  const found = (Array.isArray(addresses) ? addresses.map(record) : []).find((a) => a["type"] === "Hostname");
  return found === undefined ? undefined : String(found["value"]);
}
