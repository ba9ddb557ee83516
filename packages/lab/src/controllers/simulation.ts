// Owns a small world for tests of plans: objects, actions applied at once, and nodes that obey. Not used by the product.
import assert from "node:assert/strict";
import type { Condition, Kind, KubeObject, Node, Pod } from "@ambit/kube";
import type { Action, Plan } from "./plan/action.ts";
import { apiVersionOf, NODE, POD } from "./plan/kinds.ts";
import { isTerminating, timestamp } from "./plan/pods.ts";

/** More rounds than any correct controller needs in these tests. */
const ROUNDS_MAX = 200;

export class World {
  now = Date.parse("2026-01-01T00:00:00Z");
  readonly events: string[] = [];
  /** Every action taken, as `verb kind name`. */
  readonly log: string[] = [];
  readonly #objects = new Map<string, KubeObject>();
  #version = 0;
  #serial = 0;
  /** Pods for which this says false never become ready. */
  healthy: (pod: Pod) => boolean = () => true;
  /** Pods for which this returns a phase end with it. */
  ends: (pod: Pod) => "Succeeded" | "Failed" | undefined = () => undefined;

  put(kind: Kind, object: { metadata: KubeObject["metadata"]; [field: string]: unknown }): KubeObject {
    return this.#create(kind, { ...object, metadata: { ...(kind.namespaced ? { namespace: "default" } : {}), ...object.metadata } });
  }

  edit(kind: Kind, name: string, change: (draft: Record<string, never> & KubeObject) => void, namespace = "default"): void {
    const draft = structuredClone(this.get(kind, name, namespace)) as Record<string, never> & KubeObject;
    change(draft);
    this.#save(kind, { ...draft, metadata: { ...draft.metadata, generation: (draft.metadata.generation ?? 1) + 1 } });
  }

  node(name: string, more: Partial<Node> = {}): KubeObject {
    const conditions: Condition[] = [{ type: "Ready", status: "True" }];
    return this.put(NODE, { spec: {}, status: { conditions }, ...more, metadata: { name, labels: { "kubernetes.io/hostname": name }, ...more.metadata } });
  }

  all<T extends KubeObject>(kind: Kind): T[] {
    return [...this.#objects].filter(([k]) => k.startsWith(`${kind.plural}/`)).map(([, o]) => o as T);
  }

  get<T extends KubeObject>(kind: Kind, name: string, namespace = "default"): T {
    const found = this.find<T>(kind, name, namespace);
    assert.ok(found, `${kind.plural} ${name} exists`);
    return found;
  }

  find<T extends KubeObject>(kind: Kind, name: string, namespace = "default"): T | undefined {
    return this.#objects.get(`${kind.plural}/${kind.namespaced ? namespace : ""}/${name}`) as T | undefined;
  }

  /** Runs the plans and the nodes until nothing changes; `watch` is called after every round. */
  settle(plans: () => Plan[], watch: () => void = () => undefined): void {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const before = this.#version;
      for (const plan of plans()) this.apply(plan);
      watch();
      this.#kubelets();
      if (this.#version === before) return;
    }
    assert.fail(`still moving after ${ROUNDS_MAX} rounds: ${this.log.slice(-10).join("; ")}`);
  }

  apply(plan: Plan): void {
    for (const action of plan.actions) this.#act(action);
  }

  remove(kind: Kind, object: KubeObject): void {
    this.#objects.delete(keyOf(kind, object));
    this.#version++;
  }

  #act(action: Action): void {
    switch (action.do) {
      case "event": this.events.push(`${action.reason}: ${action.message}`); return;
      case "create": {
        const made = this.#create(action.kind, action.object as KubeObject);
        this.log.push(`create ${action.kind.kind} ${made.metadata.name}`);
        return;
      }
      case "replace": {
        const there = this.#current(action.kind, action.object);
        if (there.metadata.resourceVersion !== action.object.metadata.resourceVersion) return;
        const changed = action.subresource === "status" ? there.metadata.generation ?? 1 : (there.metadata.generation ?? 1) + 1;
        if (action.subresource !== "status") this.log.push(`replace ${action.kind.kind} ${action.object.metadata.name}`);
        this.#save(action.kind, { ...action.object, metadata: { ...action.object.metadata, generation: changed } });
        return;
      }
      case "merge": {
        const there = this.#current(action.kind, action.of);
        const version = (action.body as { metadata?: { resourceVersion?: string } }).metadata?.resourceVersion;
        if (version === undefined || version === there.metadata.resourceVersion) this.#save(action.kind, merged(there, action.body) as KubeObject);
        return;
      }
      case "delete": {
        const there = this.find(action.kind, action.object.metadata.name, action.object.metadata.namespace);
        if (there === undefined || there.metadata.deletionTimestamp !== undefined) return;
        this.log.push(`delete ${action.kind.kind} ${there.metadata.name}`);
        const lingers = (there.metadata.finalizers ?? []).length > 0 || (action.kind === POD && (there as Pod).spec.nodeName !== undefined && action.graceSeconds !== 0);
        if (lingers) this.#save(action.kind, { ...there, metadata: { ...there.metadata, deletionTimestamp: timestamp(this.now) } });
        else this.remove(action.kind, there);
        return;
      }
      case "bind": {
        const there = this.get<Pod>(POD, action.pod.metadata.name, action.pod.metadata.namespace);
        this.#save(POD, { ...there, spec: { ...there.spec, nodeName: action.node } });
      }
    }
  }

  #kubelets(): void {
    for (const pod of this.all<Pod>(POD)) {
      if (pod.spec.nodeName === undefined || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") {
        if (isTerminating(pod) && (pod.metadata.finalizers ?? []).length === 0) this.remove(POD, pod);
        continue;
      }
      const end = isTerminating(pod) ? undefined : this.ends(pod);
      if (isTerminating(pod) && (pod.metadata.finalizers ?? []).length === 0) this.remove(POD, pod);
      else if (end !== undefined) this.#save(POD, { ...pod, status: { ...pod.status, phase: end } });
      else if (pod.status?.phase !== "Running" || (this.healthy(pod) && pod.status.conditions?.[0]?.status !== "True")) {
        const ready: Condition = { type: "Ready", status: this.healthy(pod) ? "True" : "False", lastTransitionTime: timestamp(this.now) };
        this.#save(POD, { ...pod, status: { ...pod.status, phase: "Running", podIP: `10.244.1.${++this.#serial}`, conditions: [ready] } });
      }
    }
  }

  #create(kind: Kind, object: KubeObject): KubeObject {
    const name = object.metadata.name ?? `${object.metadata.generateName}${(++this.#serial).toString(36).padStart(5, "0")}`;
    assert.equal(this.find(kind, name, object.metadata.namespace), undefined, `${kind.plural} ${name} is created once`);
    const metadata = { uid: `uid-${++this.#serial}`, creationTimestamp: timestamp(this.now), generation: 1, ...object.metadata, name };
    return this.#save(kind, { apiVersion: apiVersionOf(kind), kind: kind.kind, ...object, metadata });
  }

  #current(kind: Kind, object: KubeObject): KubeObject {
    return this.get(kind, object.metadata.name, object.metadata.namespace);
  }

  #save(kind: Kind, object: KubeObject): KubeObject {
    const saved = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    this.#objects.set(keyOf(kind, saved), saved);
    if (saved.metadata.deletionTimestamp !== undefined && (saved.metadata.finalizers ?? []).length === 0 && kind !== POD) this.remove(kind, saved);
    return saved;
  }
}

function keyOf(kind: Kind, object: KubeObject): string {
  return `${kind.plural}/${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

function merged(base: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> = typeof base === "object" && base !== null ? { ...base } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = merged(out[key], value);
  }
  return out;
}
