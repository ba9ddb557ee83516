// Decides whether waypoints run, labels lead to one, and routes lie where a waypoint reads them.
import { appProtocol } from "@ambit/istiod-lite/pure";
import type { KubeObject, Service } from "@ambit/kube";
import { finding, type Finding } from "../model/finding.ts";
import { canRead, conditionsOf, isGoing, isYoung, keyOf, labelsOf, list, record, text, WAYPOINT_CLASSES, type Facts } from "../model/facts.ts";

const USE = "istio.io/use-waypoint";
const USE_NAMESPACE = "istio.io/use-waypoint-namespace";
const HTTP = ["http11", "http2", "grpc", "unknown"];

export const judgeWaypoints = (f: Facts): Finding[] => [...programmed(f), ...labels(f), ...routes(f), ...hosts(f)];

const isWaypoint = (g: KubeObject): boolean => WAYPOINT_CLASSES.includes(text(record(g["spec"])["gatewayClassName"]));

function programmed(f: Facts): Finding[] {
  return f.objects.gateways.filter((g) => isWaypoint(g) && !isGoing(g) && !isYoung(f, g)).flatMap((g) => {
    const c = conditionsOf(g["status"]).find((x) => x.type === "Programmed");
    if (c?.status === "True") return [];
    const { namespace, name } = g.metadata;
    return [finding("AMB0601", `Gateway ${keyOf(g)}`, c === undefined ? "nobody has looked at this waypoint: no istiod answers for its class" : `it does not run (${c.reason ?? ""}): ${c.message ?? ""}`,
      c === undefined ? "istiod must run and lead: see AMB0201, AMB0205" : `kubectl -n ${namespace} get deployment,pods -l gateway.networking.k8s.io/gateway-name=${name}; what is bound to it is refused until it runs`)];
  });
}

function labels(f: Facts): Finding[] {
  if (!canRead(f, "gateways")) return [];
  const asking = [...f.objects.namespaces.map((o) => ({ o, kind: "Namespace", home: o.metadata.name })), ...f.objects.services.map((o) => ({ o, kind: "Service", home: o.metadata.namespace ?? "" })),
    ...f.objects.serviceEntries.map((o) => ({ o, kind: "ServiceEntry", home: o.metadata.namespace ?? "" })), ...f.objects.pods.filter((p) => !isGoing(p)).map((o) => ({ o, kind: "Pod", home: o.metadata.namespace ?? "" }))];
  return asking.flatMap(({ o, kind, home }) => {
    const name = labelsOf(o)[USE];
    const namespace = labelsOf(o)[USE_NAMESPACE] ?? home;
    if (name === undefined || name === "none" || isYoung(f, o)) return [];
    const gateway = f.objects.gateways.find((g) => g.metadata.name === name && g.metadata.namespace === namespace);
    if (gateway !== undefined && isWaypoint(gateway)) return [];
    const what = gateway === undefined ? `${USE} names Gateway ${namespace}/${name}, which is not there` : `${USE} names Gateway ${namespace}/${name}, which is of class ${text(record(gateway["spec"])["gatewayClassName"])} and no waypoint`;
    return [finding("AMB0602", `${kind} ${keyOf(o)}`, `${what}: traffic that it covers is refused`, `ambit waypoint apply -n ${namespace} --name ${name}; or kubectl label ${kind.toLowerCase()} ${o.metadata.name}${kind === "Namespace" ? "" : ` -n ${home}`} ${USE}-`)];
  });
}

interface Attached { readonly where: string; readonly service: Service; readonly port: number | undefined; readonly path: string }

function routes(f: Facts): Finding[] {
  const serviceOf = (namespace: string, name: string) => f.objects.services.find((s) => s.metadata.namespace === namespace && s.metadata.name === name);
  const attached = [...f.objects.httpRoutes, ...f.objects.grpcRoutes].flatMap((r) => list(record(r["spec"])["parentRefs"]).flatMap((p, i): Attached[] => {
    const ref = record(p);
    const service = ref["kind"] === "Service" ? serviceOf(text(ref["namespace"]) || (r.metadata.namespace ?? ""), text(ref["name"])) : undefined;
    return service === undefined ? [] : [{ where: `${r.kind} ${keyOf(r)}`, service, port: typeof ref["port"] === "number" ? ref["port"] : undefined, path: `spec.parentRefs[${i}]` }];
  }));
  return attached.flatMap(({ where, service, port, path }) => {
    const ports = (service.spec.ports ?? []).filter((p) => (port === undefined || p.port === port) && (p.protocol ?? "TCP") === "TCP");
    const fitting = ports.filter((p) => HTTP.includes(appProtocol(p.appProtocol, p.name ?? "")));
    const [one] = ports;
    if (one !== undefined && fitting.length === 0) {
      const says = one.appProtocol === undefined ? `is called ${one.name}` : `declares appProtocol ${one.appProtocol}`;
      return [finding("AMB0603", where, `${path}: port ${one.port} of Service ${keyOf(service)} ${says}, so no HTTP is looked for there and the route has no effect`, `kubectl -n ${service.metadata.namespace} patch service ${service.metadata.name} --type=json -p '[{"op":"add","path":"/spec/ports/${(service.spec.ports ?? []).indexOf(one)}/appProtocol","value":"http"}]'`)];
    }
    return hasWaypoint(f, service) ? [] : [finding("AMB0605", where, `${path}: Service ${keyOf(service)} has no waypoint, and only a waypoint reads routes`, `ambit waypoint apply -n ${service.metadata.namespace}; kubectl -n ${service.metadata.namespace} label service ${service.metadata.name} ${USE}=waypoint`)];
  });
}

function hasWaypoint(f: Facts, service: Service): boolean {
  const own = labelsOf(service)[USE] ?? labelsOf(f.objects.namespaces.find((n) => n.metadata.name === service.metadata.namespace) ?? service)[USE];
  return own !== undefined && own !== "none";
}

/** Within one namespace, or against a Service: who is meant is decided by age, silently. */
function hosts(f: Facts): Finding[] {
  const taken = new Map<string, string>();
  const out: Finding[] = [];
  const byAge = [...f.objects.serviceEntries].sort((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""));
  for (const s of f.objects.services) taken.set(`*/${s.metadata.name}.${s.metadata.namespace}.svc.cluster.local`, `Service ${keyOf(s)}`);
  for (const e of byAge)
    for (const host of new Set(list(record(e["spec"])["hosts"]).map(text))) {
      const key = `${e.metadata.namespace}/${host}`;
      const other = taken.get(`*/${host}`) ?? taken.get(key);
      if (other !== undefined) out.push(finding("AMB0604", `ServiceEntry ${keyOf(e)}`, `${host} is also that of ${other}: only one of them counts`, `take ${host} out of one of the two, or join them`));
      else taken.set(key, `ServiceEntry ${keyOf(e)}`);
    }
  return out;
}
