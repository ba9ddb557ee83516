// Decides in which order an installation is taken away, and what its control plane left behind by itself. Pure.
import type { KubeObject } from "@ambit/kube";
import type { ObjectId } from "./inventory.ts";
import { DEFAULT_REVISION } from "./mesh-objects.ts";

/** `until`: pods with this label must be gone before the next step. */
export interface Step { readonly say: string; readonly objects: readonly ObjectId[]; readonly until?: string }

const AGENT = "istio-cni-node";
const isWebhook = (id: ObjectId): boolean => id.kind === "ValidatingWebhookConfiguration";
const isSet = (id: ObjectId): boolean => id.kind === "DaemonSet" || id.kind === "Deployment";

/**
 * Admission first: nobody will answer it. Then the agents, which take every pod out of the mesh while ztunnel still carries its connections and
 * while they still have their rights; then ztunnel, then the control plane; then all the rest, last made first gone. Namespaces are not in it.
 */
export function removalSteps(objects: readonly ObjectId[]): Step[] {
  const named = (kind: string, test: (name: string) => boolean): ObjectId[] => objects.filter((id) => id.kind === kind && test(id.name));
  const steps: Step[] = [
    { say: "taking the admission webhook away", objects: objects.filter(isWebhook) },
    { say: "taking pods out of the mesh, and the plugin out of every node", objects: named("DaemonSet", (n) => n === AGENT), until: `k8s-app=${AGENT}` },
    { say: "removing ztunnel", objects: named("DaemonSet", (n) => n !== AGENT), until: "app=ztunnel" },
    { say: "removing the control plane", objects: named("Deployment", () => true), until: "app=istiod" },
    { say: "removing accounts, rights and settings", objects: objects.filter((id) => !isWebhook(id) && !isSet(id) && id.kind !== "Namespace").reverse() },
  ];
  return steps.filter((s) => s.objects.length > 0);
}

const CONTROLLERS = ["istio.io/mesh-controller", "ambit.dev/waypoint-controller", "istio.io/unmanaged-gateway"];
const CLASSES = ["istio-waypoint", "ambit-waypoint", "istio-remote"];

/** GatewayClasses that istiod made: its names and its controllers. */
export const isOurClass = (o: KubeObject): boolean => CLASSES.includes(o.metadata.name) && CONTROLLERS.includes(String((o["spec"] as { controllerName?: unknown } | undefined)?.controllerName));

/** Label of the parts of waypoints, which Gateways own. */
export const WAYPOINT_PARTS = "gateway.istio.io/managed=istio.io-mesh-controller";

/** What istiod keeps in the mesh's namespace under names of its own; a key that was plugged in (cacerts) is its owner's. */
export function keptByControlPlane(namespace: string, revision: string): ObjectId[] {
  const named = (name: string): string => (revision === DEFAULT_REVISION ? name : `${name}-${revision}`);
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace, name: named("istio-status-leader") };
  const secret = (name: string): ObjectId => ({ apiVersion: "v1", kind: "Secret", namespace, name });
  const keys = { apiVersion: "v1", kind: "ConfigMap", namespace, name: named("ambit-jwks") };
  return revision === DEFAULT_REVISION ? [lease, keys, secret("istio-ca-secret"), secret("ambit-ca-roots")] : [lease, keys];
}

/** Trust anchors that istiod wrote into every namespace. */
export const ANCHORS = { label: "istio.io/config=true", names: ["istio-ca-root-cert", "istio-ca-crl"] } as const;
