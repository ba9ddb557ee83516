// Owns the Endpoints decision: the older form of a Service's slices, which kubectl before 1.33 and many tools still read.
import type { ContainerPort, KubeObject, Pod, Service } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { NOTHING, planOf } from "./action.ts";
import { isMember, resolvePort } from "./endpoint-slices.ts";
import { isEqual, stableText } from "./equal.ts";
import { ENDPOINTS } from "./kinds.ts";
import { isReady, isTerminating } from "./pods.ts";

/** Upstream's bound: what is beyond it is only in the slices, and an annotation says so. */
export const ENDPOINTS_MAX_ADDRESSES = 1000;
const MANAGED_BY = "endpoints.kubernetes.io/managed-by";
const MANAGER = "endpoint-controller";
const OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity";
const HEADLESS = "service.kubernetes.io/headless";
const SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror";

interface Address { readonly ip: string; readonly hostname?: string; readonly nodeName?: string; readonly targetRef: object }
interface Subset { readonly addresses?: readonly Address[]; readonly notReadyAddresses?: readonly Address[]; readonly ports?: readonly ContainerPortLike[] }
type ContainerPortLike = Pick<ContainerPort, "name" | "protocol"> & { port: number };
export interface Endpoints extends KubeObject { subsets?: readonly Subset[] }

export interface EndpointsFacts { readonly service: Service | undefined; readonly pods: readonly Pod[]; readonly endpoints: Endpoints | undefined }

export function planEndpoints({ service, pods, endpoints }: EndpointsFacts): Plan {
  const live = endpoints?.metadata.deletionTimestamp === undefined ? endpoints : undefined;
  if (service === undefined || service.metadata.deletionTimestamp !== undefined || service.spec.type === "ExternalName")
    return live?.metadata.labels?.[MANAGED_BY] === MANAGER ? planOf([{ do: "delete", kind: ENDPOINTS, object: live }]) : NOTHING;
  const selector = service.spec.selector;
  // Without a selector they are somebody else's to write.
  if (selector === undefined || Object.keys(selector).length === 0) return NOTHING;
  const members = pods.filter((p) => isMember(p, selector) && !isTerminating(p)).sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const subsets = subsetsOf(service, members.slice(0, ENDPOINTS_MAX_ADDRESSES));
  const labels = {
    ...service.metadata.labels, [MANAGED_BY]: MANAGER, [SKIP_MIRROR]: "true",
    ...(service.spec.clusterIP === "None" ? { [HEADLESS]: "" } : {}),
  };
  const over = members.length > ENDPOINTS_MAX_ADDRESSES ? { [OVER_CAPACITY]: "truncated" } : undefined;
  if (live === undefined) return planOf([create(service, labels, over, subsets)]);
  if (isEqual(live.subsets ?? [], subsets) && isEqual(live.metadata.labels, labels) && isEqual(live.metadata.annotations?.[OVER_CAPACITY], over?.[OVER_CAPACITY])) return NOTHING;
  const { [OVER_CAPACITY]: _, ...annotations } = live.metadata.annotations ?? {};
  const object = { ...live, metadata: { ...live.metadata, labels, annotations: { ...annotations, ...over } }, subsets };
  return planOf([{ do: "replace", kind: ENDPOINTS, object }]);
}

function create(service: Service, labels: Record<string, string>, annotations: Record<string, string> | undefined, subsets: readonly Subset[]): Action {
  const { name, namespace } = service.metadata;
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }), labels, ...(annotations === undefined ? {} : { annotations }) };
  return { do: "create", kind: ENDPOINTS, object: { apiVersion: "v1", kind: "Endpoints", metadata, subsets } };
}

/** Pods that resolve the Service's ports alike share a subset. */
function subsetsOf(service: Service, pods: readonly Pod[]): Subset[] {
  const groups = new Map<string, { ports: ContainerPortLike[]; ready: Address[]; unready: Address[] }>();
  for (const pod of pods) {
    const ports = (service.spec.ports ?? []).flatMap((p) => resolvePort(p, pod)).map((p) => ({ ...(p.name === undefined || p.name === "" ? {} : { name: p.name }), port: p.port ?? 0, protocol: p.protocol ?? "TCP" }));
    const key = stableText(ports);
    const group = groups.get(key) ?? { ports, ready: [], unready: [] };
    groups.set(key, group);
    (isReady(pod) || service.spec.publishNotReadyAddresses === true ? group.ready : group.unready).push(addressOf(service, pod));
  }
  return [...groups.values()].map(({ ports, ready, unready }) => ({
    ...(ready.length === 0 ? {} : { addresses: ready }), ...(unready.length === 0 ? {} : { notReadyAddresses: unready }), ...(ports.length === 0 ? {} : { ports }),
  }));
}

function addressOf(service: Service, pod: Pod): Address {
  const { namespace = "", name, uid = "" } = pod.metadata;
  const hostname = pod.spec["subdomain"] === service.metadata.name ? pod.spec["hostname"] : undefined;
  return {
    ip: pod.status?.podIP ?? "", ...(typeof hostname === "string" && hostname !== "" ? { hostname } : {}),
    ...(pod.spec.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }), targetRef: { kind: "Pod", namespace, name, uid },
  };
}
