// Owns which GatewayClasses are ours and what their status says. Pure; protocol.md §10.5, Gateway API GatewayClass.
import type { KubeObject } from "@ambit/kube";
import type { DesiredCondition } from "./conditions.ts";

const MESH_CONTROLLER = "istio.io/mesh-controller";
const AMBIT_CONTROLLER = "ambit.dev/waypoint-controller";
const REMOTE_CONTROLLER = "istio.io/unmanaged-gateway";

/** Made where they are missing. Ingress (`istio`) and east-west gateways are not run here. */
export const OUR_CLASSES: ReadonlyMap<string, { readonly controller: string; readonly description: string }> = new Map([
  ["istio-waypoint", { controller: MESH_CONTROLLER, description: "L7 proxies of services and workloads of the mesh" }],
  ["ambit-waypoint", { controller: AMBIT_CONTROLLER, description: "L7 proxies of services and workloads of the mesh" }],
  ["istio-remote", { controller: REMOTE_CONTROLLER, description: "The gateway of another network: nothing is run for it" }],
]);
const CONTROLLERS: ReadonlySet<string> = new Set([MESH_CONTROLLER, AMBIT_CONTROLLER, REMOTE_CONTROLLER]);

/** Names of Gateway API features (sorted, as the field asks): what waypoints carry out whole. test/conformance holds each of the mesh profiles' to its cases. */
const WAYPOINT_FEATURES = [
  "GRPCRoute", "HTTPRoute", "HTTPRoute303RedirectStatusCode", "HTTPRoute307RedirectStatusCode", "HTTPRoute308RedirectStatusCode", "HTTPRouteParentRefPort",
  "HTTPRouteResponseHeaderModification", "Mesh", "MeshClusterIPMatching", "MeshConsumerRoute", "MeshHTTPRouteBackendRequestHeaderModification", "MeshHTTPRouteNamedRouteRule",
  "MeshHTTPRouteQueryParamMatching", "MeshHTTPRouteRedirectPath", "MeshHTTPRouteRedirectPort", "MeshHTTPRouteRewritePath", "MeshHTTPRouteSchemeRedirect", "TCPRoute", "TLSRoute",
];

/** Undefined: of another controller. */
export function classStatus(o: KubeObject): { readonly accepted: DesiredCondition; readonly features: readonly string[] } | undefined {
  const spec = (typeof o["spec"] === "object" && o["spec"] !== null ? o["spec"] : {}) as Readonly<Record<string, unknown>>;
  const controller = String(spec["controllerName"] ?? "");
  if (!CONTROLLERS.has(controller)) return undefined;
  const no = (reason: string, message: string) => ({ accepted: { type: "Accepted", status: "False", reason, message } as const, features: [] });
  const ours = OUR_CLASSES.get(o.metadata.name);
  if (ours === undefined || ours.controller !== controller) return no("Unsupported", `gateways are run of the classes ${[...OUR_CLASSES.keys()].join(", ")} only`);
  if (spec["parametersRef"] !== undefined && spec["parametersRef"] !== null)
    return no("InvalidParameters", "spec.parametersRef is not read: defaults for a class are a ConfigMap with the label gateway.istio.io/defaults-for-class in the root namespace");
  return { accepted: { type: "Accepted", status: "True", reason: "Accepted", message: "Handled by Istio controller" }, features: controller === REMOTE_CONTROLLER ? [] : WAYPOINT_FEATURES };
}
