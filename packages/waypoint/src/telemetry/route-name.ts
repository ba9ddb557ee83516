// Owns what a route is called in access lines.
import type { RouteOrigin } from "@ambit/core";

/** `HTTPRoute shop/reviews rule 1 (canary)`, or the bare name of a VirtualService's rule, as Istio has it. */
export function routeName(origin: RouteOrigin | undefined): string {
  if (origin === undefined) return "default";
  let name = routeNames.get(origin);
  if (name === undefined) routeNames.set(origin, (name = nameOfRoute(origin)));
  return name;
}
const routeNames = new WeakMap<RouteOrigin, string>();

function nameOfRoute(origin: RouteOrigin): string {
  if (origin.kind === "VirtualService") return origin.ruleName ?? `${origin.namespace}.${origin.name}.${origin.rule}`;
  return `${origin.namespace}.${origin.name}.${origin.ruleName ?? origin.rule}`;
}
