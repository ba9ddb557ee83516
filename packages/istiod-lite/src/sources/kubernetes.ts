// Owns what is watched at the API server: built-in kinds from the start, custom kinds as soon as their definitions exist.
import { KINDS, objectKey, Reflector, type Kind, type KubeClient, type KubeObject } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import type { SourceName } from "../collections/admit.ts";
import type { Inbox } from "./inbox.ts";

export interface KubernetesSources {
  /** Resolves when every kind that exists has been listed once. */
  whenSynced(): Promise<void>;
  /** Kinds that have not been listed yet, for readiness. */
  pending(): string[];
  stop(): Promise<void>;
}

const BUILT_IN: Readonly<Partial<Record<SourceName, Kind>>> = {
  pods: KINDS.pods, services: KINDS.services, namespaces: KINDS.namespaces, nodes: KINDS.nodes, endpointSlices: KINDS.endpointSlices,
};
const CUSTOM: Readonly<Partial<Record<SourceName, Kind>>> = {
  gateways: KINDS.gateways, gatewayClasses: KINDS.gatewayClasses,
  authorizationPolicies: KINDS.authorizationPolicies, peerAuthentications: KINDS.peerAuthentications,
  serviceEntries: KINDS.serviceEntries, workloadEntries: KINDS.workloadEntries,
};
/** Served versions that have the same shape, best first. */
const VERSIONS = ["v1", "v1beta1", "v1alpha3"];

export function watchKubernetes(o: { client: KubeClient; inbox: Inbox; clock: Clock; log: Logger }): KubernetesSources {
  const options = { clock: o.clock, log: o.log };
  const running = new Map<SourceName, Reflector>();
  const stopping = new Set<Promise<void>>();
  const definitions = new Reflector(o.client, KINDS.customResourceDefinitions, options);
  let waiters: (() => void)[] = [];
  const pending = (): string[] => [...(definitions.synced ? [] : ["CustomResourceDefinition"]), ...[...running.values()].filter((r) => !r.synced).map((r) => r.kind.kind)];
  const check = (): void => {
    if (pending().length > 0) return;
    const all = waiters;
    waiters = [];
    for (const wake of all) wake();
  };

  const start = (source: SourceName, kind: Kind): void => {
    if (running.has(source)) return;
    const reflector = new Reflector(o.client, kind, options).handle({
      onAdd: (object) => o.inbox.put(source, object),
      onUpdate: (object) => o.inbox.put(source, object),
      onDelete: (object) => o.inbox.remove(source, objectKey(object)),
      // The handler runs before the reflector says so itself.
      onSynced: () => queueMicrotask(check),
    });
    running.set(source, reflector);
    reflector.start();
  };
  const end = (source: SourceName): void => {
    const reflector = running.get(source);
    if (reflector === undefined) return;
    running.delete(source);
    const stopped = reflector.stop().then(() => void stopping.delete(stopped));
    stopping.add(stopped);
    // The definition is gone and its objects with it; their own deletions may have been missed.
    for (const object of reflector.items()) o.inbox.remove(source, objectKey(object));
    check();
  };
  const follow = (definition: KubeObject): void => {
    for (const [source, kind] of entries(CUSTOM)) {
      if (definition.metadata.name !== `${kind.plural}.${kind.group}`) continue;
      const version = servedVersion(definition);
      const now = running.get(source);
      if (now !== undefined && now.kind.version !== version) end(source);
      if (version === undefined) continue;
      o.log.info("watching a custom kind", { kind: kind.kind, version });
      start(source, { ...kind, version });
    }
  };
  definitions.handle({
    onAdd: follow,
    onUpdate: (d, old) => { if (servedVersion(d) !== servedVersion(old)) follow(d); },
    onDelete: (d) => { for (const [source, kind] of entries(CUSTOM)) if (d.metadata.name === `${kind.plural}.${kind.group}`) end(source); },
    onSynced: () => queueMicrotask(check),
  });
  for (const [source, kind] of entries(BUILT_IN)) start(source, kind);
  definitions.start();

  return {
    pending,
    whenSynced: () => new Promise((resolve) => {
      waiters.push(resolve);
      check();
    }),
    stop: async () => {
      await Promise.all([definitions.stop(), ...[...running.values()].map((r) => r.stop()), ...stopping]);
    },
  };
}

const entries = (kinds: Readonly<Partial<Record<SourceName, Kind>>>): [SourceName, Kind][] => Object.entries(kinds) as [SourceName, Kind][];

/** Undefined until the API server serves the kind in a version that we read. */
function servedVersion(definition: KubeObject): string | undefined {
  const conditions = list(record(definition["status"])["conditions"]);
  if (!conditions.some((c) => c["type"] === "Established" && c["status"] === "True")) return undefined;
  const served = list(record(definition["spec"])["versions"]).filter((v) => v["served"] === true).map((v) => v["name"]);
  return VERSIONS.find((v) => served.includes(v));
}

const record = (v: unknown): Record<string, unknown> => (typeof v === "object" && v !== null ? (v as Record<string, unknown>) : {});
const list = (v: unknown): Record<string, unknown>[] => (Array.isArray(v) ? v.map(record) : []);
