// Owns what a route is called in access lines.
import type { RouteOrigin } from "@ambit/core";

/** `shop.reviews.canary`, or `shop.reviews.1` where the rule has no name; of a VirtualService the bare name of its rule, as Istio has it. */
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
