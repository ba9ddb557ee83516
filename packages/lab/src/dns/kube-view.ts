// Owns the live view: Services, EndpointSlices and Namespaces followed from the API server, indexed as DNS asks for them.
import { KINDS, objectKey, Reflector, type EndpointSlice, type KubeClient, type KubeObject, type Service } from "@ambit/kube";
import type { Logger } from "@ambit/runtime";
import { serviceRecord, type DnsEndpoint, type DnsService, type DnsView } from "./plan/view.ts";

const SERVICE_NAME = "kubernetes.io/service-name";

export interface LiveView extends DnsView {
  /** Raised by every change. */
  readonly serial: number;
  readonly synced: Promise<void>;
  stop(): Promise<void>;
}

export function followServices(client: KubeClient, log: Logger, startSerial: number): LiveView {
  const namespaces = new Reflector<KubeObject>(client, KINDS.namespaces, { log });
  const services = new Reflector<Service>(client, KINDS.services, { log });
  const slices = new Reflector<EndpointSlice>(client, KINDS.endpointSlices, { log });
  const slicesOf = new Map<string, Map<string, EndpointSlice>>();
  const records = new Map<string, DnsService>();
  const byIp = new Map<string, string>();
  const byEndpoint = new Map<string, Set<string>>();
  let serial = startSerial;

  const rebuild = (key: string): void => {
    serial += 1;
    const before = records.get(key);
    for (const ip of before?.clusterIps ?? []) if (byIp.get(ip) === key) byIp.delete(ip);
    for (const { ip } of before?.endpoints ?? []) {
      const set = byEndpoint.get(ip);
      if (set?.delete(key) === true && set.size === 0) byEndpoint.delete(ip);
    }
    records.delete(key);
    const service = services.get(key);
    if (service === undefined) return;
    const record = serviceRecord(service, [...(slicesOf.get(key)?.values() ?? [])]);
    records.set(key, record);
    for (const ip of record.clusterIps) byIp.set(ip, key);
    if (record.kind !== "headless") return;
    for (const { ip } of record.endpoints) byEndpoint.set(ip, (byEndpoint.get(ip) ?? new Set()).add(key));
  };
  const sliceKey = (slice: EndpointSlice): string => `${slice.metadata.namespace ?? ""}/${slice.metadata.labels?.[SERVICE_NAME] ?? ""}`;
  const putSlice = (slice: EndpointSlice, old?: EndpointSlice): void => {
    if (old !== undefined && sliceKey(old) !== sliceKey(slice)) dropSlice(old);
    const key = sliceKey(slice);
    slicesOf.set(key, (slicesOf.get(key) ?? new Map<string, EndpointSlice>()).set(slice.metadata.name, slice));
    rebuild(key);
  };
  const dropSlice = (slice: EndpointSlice): void => {
    const key = sliceKey(slice);
    const own = slicesOf.get(key);
    if (own?.delete(slice.metadata.name) === true && own.size === 0) slicesOf.delete(key);
    rebuild(key);
  };
  slices.handle({ onAdd: (s) => putSlice(s), onUpdate: (s, old) => putSlice(s, old), onDelete: dropSlice });
  const onService = (s: Service): void => rebuild(objectKey(s));
  services.handle({ onAdd: onService, onUpdate: onService, onDelete: onService });
  for (const reflector of [namespaces, services, slices]) reflector.start();

  const ready = (e: DnsEndpoint, ip: string): boolean => e.ready && e.ip === ip;
  return {
    get serial() { return serial; },
    synced: Promise.all([namespaces, services, slices].map((r) => r.whenSynced())).then(() => undefined),
    hasNamespace: (namespace) => namespaces.get(namespace) !== undefined,
    service: (namespace, name) => records.get(`${namespace}/${name}`),
    serviceByIp: (ip) => records.get(byIp.get(ip) ?? ""),
    endpointsByIp: (ip) => [...(byEndpoint.get(ip) ?? [])].flatMap((key) => {
      const service = records.get(key);
      const endpoint = service?.endpoints.find((e) => ready(e, ip));
      return service === undefined || endpoint === undefined ? [] : [{ service, endpoint }];
    }),
    stop: async () => { await Promise.all([namespaces, services, slices].map((r) => r.stop())); },
  };
}
