// Owns the decision where a TCP (or passed-through TLS) connection goes, and what a port speaks.
import { chooseBackend, cidrContains, hostnameMatches, matchSource, type Backend, type PortRoutes, type RouteOrigin, type ServicePort, type TcpRoute, type WaypointConfig } from "@ambit/core";
import type { StateView } from "@ambit/proxy/state";
import type { CheckFacts, ConnectionFacts, PortProtocol } from "../facts.ts";
import { denialReply, explainVerdictShortly, judgeConnection, policiesFor, policyId, remarksOf } from "./authorization.ts";
import { decideChecks } from "./checks.ts";
import { clientLabels } from "./match-facts.ts";
import type { Because, Remark, RequestNeed } from "./request-plan.ts";
import { clientNamespace, destinationKey, isHttp, routesOf } from "./routes.ts";

/**
 * What to expect on a port. Its own protocol first, so that routes for HTTP never break a port that says it is something else; then the
 * kind of its routes; an undeclared port is looked at. Pod traffic: by what a service says of that target port, else looked at.
 */
export function choosePortProtocol(config: WaypointConfig, view: Pick<StateView, "service">, connection: ConnectionFacts): PortProtocol {
  const routes = routesOf(config, connection)?.routes;
  if (routes !== undefined && !isHttp(routes)) return routes.kind;
  switch (declaredProtocol(view, connection)) {
    case "http11": return "http1";
    case "http2": return "http2";
    case "grpc": return "grpc";
    case "tcp": return "tcp";
    case "tls": return "tls";
    case "unknown": case undefined: return routes?.kind === "grpc" ? "grpc" : "detect";
  }
}

const NO_ANSWERS: ReadonlyMap<string, CheckFacts> = new Map();

function declaredProtocol(view: Pick<StateView, "service">, { destination, address }: ConnectionFacts): ServicePort["appProtocol"] | undefined {
  if (destination.kind === "service") return destination.service.ports.get(address.port)?.appProtocol;
  for (const [key, ports] of destination.workload.services)
    for (const [servicePort, targetPort] of ports) {
      const declared = targetPort === address.port ? view.service(key)?.ports.get(servicePort)?.appProtocol : undefined;
      if (declared !== undefined && declared !== "unknown") return declared;
    }
  return undefined;
}

export type TcpPlan =
  | { readonly kind: "forward"; readonly origin: RouteOrigin | undefined; readonly to: { readonly kind: "service"; readonly backend: Backend } | { readonly kind: "workload" }; readonly remarks: readonly Remark[]; readonly because: readonly Because[] }
  /** Ask this provider, then plan again. */
  | { readonly kind: "need"; readonly need: Extract<RequestNeed, { kind: "check" }>; readonly remarks: readonly Remark[]; readonly because: readonly Because[] }
  /** The connection is closed. `flag` and `details` as in access logs. */
  | { readonly kind: "close"; readonly flag: "-" | "NR" | "UH" | "NC" | "UAEX"; readonly details: string; readonly origin: RouteOrigin | undefined; readonly remarks: readonly Remark[]; readonly because: readonly Because[] };

/** `sni`: of a TLS port's ClientHello; undefined: none, or not TLS. */
export function planTcp(config: WaypointConfig, view: Pick<StateView, "service">, connection: ConnectionFacts, sni: string | undefined, random: () => number, answers: ReadonlyMap<string, CheckFacts> = NO_ANSWERS): TcpPlan {
  const because: Because[] = [];
  const verdict = judgeConnection(policiesFor(config.policies, connection, () => false), connection, connection.address, sni);
  const remarks = remarksOf(verdict);
  const close = (flag: Extract<TcpPlan, { kind: "close" }>["flag"], details: string, origin?: RouteOrigin): TcpPlan => ({ kind: "close", flag, details, origin, remarks, because });
  because.push(explainVerdictShortly(verdict));
  if (verdict.kind === "deny") return close("-", denialReply(verdict).details);
  // Those that ask over HTTP cannot be asked about what is none, and nothing is let through unasked.
  const mute = verdict.checks.find((c) => config.authorizationProviders.get(c.provider)?.protocol === "http");
  if (mute !== undefined) return close("UAEX", `ext_authz_denied_on_tcp[${policyId(mute.by.policy, mute.by.rule)}]`);
  const checked = decideChecks(config, verdict.checks, answers);
  if (checked.kind === "need") return { kind: "need", need: checked.need, remarks, because };
  if (checked.kind === "deny") return close(checked.reply.flag === "UAEX" ? "UAEX" : "-", checked.reply.details);

  const routes = routesOf(config, connection)?.routes;
  const key = destinationKey(connection);
  // Routes for HTTP have no say where there is none: the port keeps working.
  if (routes === undefined || isHttp(routes) || key === undefined) return { kind: "forward", origin: undefined, to: key === undefined ? { kind: "workload" } : { kind: "service", backend: { service: key, port: connection.address.port, subset: undefined } }, remarks, because };
  const route = chooseTcpRoute(routes, config, connection, sni);
  because.push({ step: "route", saw: sni === undefined ? "no SNI" : `SNI ${sni}`, chose: route === undefined ? "nothing matches" : `${route.origin.kind} ${route.origin.namespace}/${route.origin.name}` });
  if (route === undefined) return close("NR", "filter_chain_not_found");
  const chosen = chooseBackend(route.backends, random);
  if (chosen === undefined) return close("UH", "no_weight", route.origin);
  if (chosen.kind === "invalid") return close("NC", "cluster_not_found", route.origin);
  if (view.service(chosen.backend.service) === undefined) return close("NC", "cluster_not_found", route.origin);
  return { kind: "forward", origin: route.origin, to: { kind: "service", backend: chosen.backend }, remarks, because };
}

/** The first in order whose names, source and destination fit; names ask for an SNI. */
function chooseTcpRoute(routes: Exclude<PortRoutes, { kind: "http" | "grpc" }>, config: WaypointConfig, connection: ConnectionFacts, sni: string | undefined): TcpRoute | undefined {
  const source = { namespace: clientNamespace(connection), labels: clientLabels(config, { connection }) };
  return routes.routes.find((r) => matchSource(r, { source }) && (r.destinationSubnets === undefined || r.destinationSubnets.some((s) => cidrContains(s, connection.address.ip))) && (r.sniHosts.length === 0 || (sni !== undefined && r.sniHosts.some((h) => hostnameMatches(h, sni)))));
}
