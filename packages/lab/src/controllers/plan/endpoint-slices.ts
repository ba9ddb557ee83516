// Owns the EndpointSlice decision: the slices one Service should have, with as few writes as the change needs.
import type { ContainerPort, EndpointSlice, Node, Pod, Service, ServicePort } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { NOTHING, planOf } from "./action.ts";
import { ownerReference } from "./claim.ts";
import { isEqual, stableText } from "./equal.ts";
import { apiVersionOf, ENDPOINT_SLICE, SERVICE } from "./kinds.ts";
import { isSubset } from "./labels.ts";
import { isFinished, isReady, isTerminating } from "./pods.ts";
import { namePrefix } from "./template.ts";

/** Upstream's default --max-endpoints-per-slice. */
export const SLICE_MAX_ENDPOINTS = 100;
export const SERVICE_NAME = "kubernetes.io/service-name";
export const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
export const MANAGER = "endpointslice-controller.k8s.io";
const HEADLESS = "service.kubernetes.io/headless";
const ZONE = "topology.kubernetes.io/zone";

type SlicePort = NonNullable<NonNullable<EndpointSlice["ports"]>[number]>;
type Endpoint = NonNullable<EndpointSlice["endpoints"]>[number] & { hostname?: string };

export interface SliceFacts {
  /** Undefined when the Service is gone. */
  readonly service: Service | undefined;
  /** Every pod of the namespace. */
  readonly pods: readonly Pod[];
  readonly nodes: ReadonlyMap<string, Node>;
  /** Slices labelled with the Service's name and managed by us. */
  readonly slices: readonly EndpointSlice[];
}

export function planEndpointSlices(facts: SliceFacts): Plan {
  const { service } = facts;
  const live = facts.slices.filter((s) => s.metadata.deletionTimestamp === undefined);
  if (service === undefined || service.metadata.deletionTimestamp !== undefined) return planOf(live.map(remove));
  if (service.spec.type === "ExternalName") return planOf(live.map(remove));
  const selector = service.spec.selector;
  // Without a selector the slices are somebody else's to write.
  if (selector === undefined || Object.keys(selector).length === 0) return NOTHING;
  const groups = groupByPorts(service, facts.pods.filter((p) => isMember(p, selector)), facts.nodes);
  const actions: Action[] = [];
  const spare = new Set(live);
  for (const group of groups) {
    const own = live.filter((s) => isEqual(portsKey(s.ports ?? []), portsKey(group.ports)));
    for (const slice of own) spare.delete(slice);
    actions.push(...reconcile(service, group, own));
  }
  return planOf([...actions, ...[...spare].map(remove)]);
}

const remove = (object: EndpointSlice): Action => ({ do: "delete", kind: ENDPOINT_SLICE, object });

/** Selected, not finished, and with an address. */
export function isMember(pod: Pod, selector: Readonly<Record<string, string>>): boolean {
  return isSubset(selector, pod.metadata.labels ?? {}) && !isFinished(pod) && (pod.status?.podIP ?? "") !== "";
}

interface Group { readonly ports: readonly SlicePort[]; readonly endpoints: Map<string, Endpoint> }

/** Pods that resolve a named port differently need slices of their own. An empty Service keeps one group. */
function groupByPorts(service: Service, pods: readonly Pod[], nodes: ReadonlyMap<string, Node>): Group[] {
  const groups = new Map<string, Group>();
  for (const pod of [...pods].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
    const ports = (service.spec.ports ?? []).flatMap((port) => resolvePort(port, pod));
    const key = portsKey(ports);
    const group = groups.get(key) ?? { ports, endpoints: new Map<string, Endpoint>() };
    groups.set(key, group);
    group.endpoints.set(pod.metadata.uid ?? pod.metadata.name, endpointOf(service, pod, nodes));
  }
  if (groups.size === 0) groups.set("", { ports: [], endpoints: new Map() });
  return [...groups.values()];
}

function portsKey(ports: readonly SlicePort[]): string {
  return ports.map((p) => stableText({ name: p.name ?? "", port: p.port, protocol: p.protocol ?? "TCP", appProtocol: p.appProtocol })).sort().join();
}

/** Empty when the pod has no container port of that name and protocol. */
export function resolvePort(port: ServicePort, pod: Pod): SlicePort[] {
  const protocol = port.protocol ?? "TCP";
  const target = port.targetPort ?? port.port;
  const number = typeof target === "number" ? target : namedPort(pod, target, protocol);
  if (number === undefined) return [];
  return [{ name: port.name ?? "", port: number, protocol, ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }) }];
}

function namedPort(pod: Pod, name: string, protocol: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name);
  const sidecars = (pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always");
  const ports = [...pod.spec.containers, ...sidecars].flatMap((c) => (c["ports"] as ContainerPort[] | undefined) ?? []);
  return ports.find((p) => p.name === name && (p.protocol ?? "TCP") === protocol)?.containerPort;
}

function endpointOf(service: Service, pod: Pod, nodes: ReadonlyMap<string, Node>): Endpoint {
  const terminating = isTerminating(pod);
  const serving = isReady(pod);
  const node = pod.spec.nodeName;
  const zone = node === undefined ? undefined : nodes.get(node)?.metadata.labels?.[ZONE];
  const hostname = pod.spec["subdomain"] === service.metadata.name && pod.spec["hostname"];
  return {
    addresses: [pod.status?.podIP ?? ""],
    conditions: { ready: service.spec.publishNotReadyAddresses === true || (serving && !terminating), serving, terminating },
    ...(typeof hostname === "string" && hostname !== "" && pod.metadata.namespace === service.metadata.namespace ? { hostname } : {}),
    ...(node === undefined ? {} : { nodeName: node }),
    ...(zone === undefined ? {} : { zone }),
    targetRef: { kind: "Pod", namespace: pod.metadata.namespace ?? "", name: pod.metadata.name, uid: pod.metadata.uid ?? "" },
  };
}

/** Endpoints stay in the slice they are in; newcomers fill slices that are written anyway, then others, then a new one. */
function reconcile(service: Service, group: Group, own: readonly EndpointSlice[]): Action[] {
  const left = new Map(group.endpoints);
  const drafts = own.map((slice) => {
    const kept: Endpoint[] = [];
    let dirty = false;
    for (const endpoint of slice.endpoints ?? []) {
      const uid = endpoint.targetRef?.uid ?? "";
      const wanted = left.get(uid);
      left.delete(uid);
      if (wanted === undefined) { dirty = true; continue; }
      if (!isEqual(wanted, endpoint)) dirty = true;
      kept.push(wanted);
    }
    return { slice, kept, dirty };
  });
  const queue = [...left.values()];
  const room = (d: { kept: Endpoint[] }): number => SLICE_MAX_ENDPOINTS - d.kept.length;
  for (const draft of [...drafts].sort((a, b) => Number(b.dirty) - Number(a.dirty) || room(a) - room(b))) {
    if (queue.length === 0) break;
    const moved = queue.splice(0, room(draft));
    if (moved.length > 0) draft.dirty = true;
    draft.kept.push(...moved);
  }
  const empty = drafts.filter((d) => d.kept.length === 0);
  const keptOne = empty.length < drafts.length || queue.length > 0 ? undefined : empty[0];
  const actions: Action[] = [];
  for (const draft of drafts) {
    if (draft.kept.length === 0 && draft !== keptOne) { actions.push(remove(draft.slice)); continue; }
    const labels = sliceLabels(service);
    if (!draft.dirty && isEqual(labels, draft.slice.metadata.labels)) continue;
    const object = { ...draft.slice, metadata: { ...draft.slice.metadata, labels }, endpoints: draft.kept, ports: [...group.ports] };
    actions.push({ do: "replace", kind: ENDPOINT_SLICE, object });
  }
  while (queue.length > 0 || (drafts.length === 0 && actions.length === 0)) {
    actions.push({ do: "create", kind: ENDPOINT_SLICE, object: newSlice(service, group.ports, queue.splice(0, SLICE_MAX_ENDPOINTS)) });
  }
  return actions;
}

function sliceLabels(service: Service): Record<string, string> {
  const { [HEADLESS]: _, ...labels } = service.metadata.labels ?? {};
  return {
    ...labels, ...(service.spec.clusterIP === "None" ? { [HEADLESS]: "" } : {}),
    [SERVICE_NAME]: service.metadata.name, [MANAGED_BY]: MANAGER,
  };
}

function newSlice(service: Service, ports: readonly SlicePort[], endpoints: Endpoint[]): Extract<Action, { do: "create" }>["object"] {
  return {
    apiVersion: apiVersionOf(ENDPOINT_SLICE), kind: ENDPOINT_SLICE.kind,
    metadata: {
      generateName: namePrefix(service.metadata.name), ...(service.metadata.namespace === undefined ? {} : { namespace: service.metadata.namespace }),
      labels: sliceLabels(service), ownerReferences: [ownerReference(SERVICE, service)],
    },
    addressType: "IPv4", endpoints, ports: [...ports],
  };
}
