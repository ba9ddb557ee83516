// Owns what is watched at the API server: built-in kinds from the start, custom kinds as soon as their definitions exist.
import { KINDS, objectKey, Reflector, type Kind, type KubeClient, type KubeObject } from "@ambit/kube";
import type { Clock, Logger, Random } from "@ambit/runtime";
import type { SourceName } from "../collections/admit.ts";
import { SOURCE_KINDS } from "../collections/kinds.ts";
import { isCaBundle } from "../collections/waypoint/ca-bundle.ts";
import type { Inbox } from "./inbox.ts";
import { keepNeeded } from "./keep.ts";

export interface KubernetesSources {
  /** Resolves when every kind that exists has been listed once. */
  whenSynced(): Promise<void>;
  /** Kinds that have not been listed yet, for readiness. */
  pending(): string[];
  /** Every kind is being watched: nothing that is served is old because the API server is away. */
  fresh(): boolean;
  stop(): Promise<void>;
}

/** Every API server has these; the others come with their definitions. */
const isBuiltIn = (kind: Kind): boolean => kind.group === "" || kind.group === "discovery.k8s.io";
const ALL = Object.entries(SOURCE_KINDS) as [SourceName, Kind][];
const BUILT_IN = ALL.filter(([, kind]) => isBuiltIn(kind));
const CUSTOM = ALL.filter(([, kind]) => !isBuiltIn(kind));
/** Served versions that have the same shape, best first. */
const VERSIONS = ["v1", "v1beta1", "v1alpha3", "v1alpha2", "v1alpha1"];

export interface KubernetesSourcesOptions {
  readonly client: KubeClient;
  readonly inbox: Inbox;
  /** Where the one ConfigMap with mesh-wide settings is. */
  readonly meshConfig: { readonly namespace: string; readonly name: string };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export function watchKubernetes(o: KubernetesSourcesOptions): KubernetesSources {
  const options = { clock: o.clock, random: o.random, log: o.log, keep: keepNeeded };
  const running = new Map<SourceName, Reflector>();
  let bundles: Reflector | undefined;
  const stopping = new Set<Promise<void>>();
  const definitions = new Reflector(o.client, KINDS.customResourceDefinitions, options);
  let waiters: (() => void)[] = [];
  const all = (): Reflector[] => [...running.values(), ...(bundles === undefined ? [] : [bundles])];
  const pending = (): string[] => [...(definitions.synced ? [] : ["CustomResourceDefinition"]), ...all().filter((r) => !r.synced).map((r) => r.kind.kind)];
  const check = (): void => {
    if (pending().length > 0) return;
    const all = waiters;
    waiters = [];
    for (const wake of all) wake();
  };

  const quit = (reflector: Reflector): void => {
    const stopped = reflector.stop().then(() => void stopping.delete(stopped));
    stopping.add(stopped);
  };
  /** `before`: the same kind in another version; its objects stay until the new list says otherwise, because policies must not flicker. */
  const start = (source: SourceName, kind: Kind, before?: Reflector): void => {
    const reflector = new Reflector(o.client, kind, { ...options, ...(source === "configMaps" ? { namespace: o.meshConfig.namespace, fieldSelector: `metadata.name=${o.meshConfig.name}` } : {}) }).handle({
      onAdd: (object) => o.inbox.put(source, object),
      onUpdate: (object) => o.inbox.put(source, object),
      onDelete: (object) => o.inbox.remove(source, objectKey(object)),
      onSynced: () => {
        for (const object of before?.items() ?? []) if (reflector.get(objectKey(object)) === undefined) o.inbox.remove(source, objectKey(object));
        // This handler runs before the reflector says so itself.
        queueMicrotask(check);
      },
    });
    running.set(source, reflector);
    reflector.start();
  };
  const isMeshs = ({ metadata: { namespace, name } }: KubeObject): boolean => namespace === o.meshConfig.namespace && name === o.meshConfig.name;
  /** Certificates of authorities may be in any ConfigMap; nobody asks for them where there are no BackendTLSPolicies. */
  const startBundles = (): void => {
    const take = (object: KubeObject): void => {
      if (isMeshs(object)) return;
      if (isCaBundle(object)) o.inbox.put("configMaps", object);
      else o.inbox.remove("configMaps", objectKey(object));
    };
    bundles = new Reflector(o.client, SOURCE_KINDS.configMaps, options).handle({
      onAdd: (object) => { if (isCaBundle(object)) take(object); }, onUpdate: take, onSynced: () => queueMicrotask(check),
      onDelete: (object) => { if (!isMeshs(object)) o.inbox.remove("configMaps", objectKey(object)); },
    });
    bundles.start();
  };
  const endBundles = (): void => {
    const reflector = bundles;
    bundles = undefined;
    if (reflector === undefined) return;
    quit(reflector);
    for (const object of reflector.items()) if (isCaBundle(object) && !isMeshs(object)) o.inbox.remove("configMaps", objectKey(object));
  };
  const end = (source: SourceName): void => {
    const reflector = running.get(source);
    if (reflector === undefined) return;
    running.delete(source);
    quit(reflector);
    if (source === "backendTlsPolicies") endBundles();
    // The definition is gone and its objects with it; their own deletions may have been missed.
    for (const object of reflector.items()) o.inbox.remove(source, objectKey(object));
    check();
  };
  const follow = (definition: KubeObject): void => {
    for (const [source, kind] of CUSTOM) {
      if (definition.metadata.name !== `${kind.plural}.${kind.group}`) continue;
      const now = running.get(source);
      const served = servedVersions(definition);
      // A definition in transit is no reason to forget its objects: only one that is deleted is.
      if (now === undefined ? !isEstablished(definition) : served.includes(now.kind.version)) continue;
      const version = VERSIONS.find((v) => served.includes(v));
      if (version === undefined) {
        o.log.warn("a custom kind is served in no version that is understood here", { kind: kind.kind, served: served.join() });
        continue;
      }
      o.log.info("watching a custom kind", { kind: kind.kind, version });
      if (now !== undefined) quit(now);
      start(source, { ...kind, version }, now);
      if (source === "backendTlsPolicies" && bundles === undefined) startBundles();
    }
  };
  definitions.handle({
    onAdd: follow,
    onUpdate: follow,
    onDelete: (d) => { for (const [source, kind] of CUSTOM) if (d.metadata.name === `${kind.plural}.${kind.group}`) end(source); },
    onSynced: () => queueMicrotask(check),
  });
  for (const [source, kind] of BUILT_IN) start(source, kind);
  definitions.start();

  return {
    pending,
    fresh: () => all().every((r) => r.current),
    whenSynced: () => new Promise((resolve) => {
      waiters.push(resolve);
      check();
    }),
    stop: async () => {
      await Promise.all([definitions.stop(), ...all().map((r) => r.stop()), ...stopping]);
    },
  };
}

const isEstablished = (definition: KubeObject): boolean =>
  list(record(definition["status"])["conditions"]).some((c) => c["type"] === "Established" && c["status"] === "True");
const servedVersions = (definition: KubeObject): string[] =>
  list(record(definition["spec"])["versions"]).filter((v) => v["served"] === true).map((v) => String(v["name"]));

const record = (v: unknown): Record<string, unknown> => (typeof v === "object" && v !== null ? (v as Record<string, unknown>) : {});
const list = (v: unknown): Record<string, unknown>[] => (Array.isArray(v) ? v.map(record) : []);
