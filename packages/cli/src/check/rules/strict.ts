// Decides who is cut off by pods that take mutual TLS only: the API server, and clients outside the mesh.
import type { KubeObject, Pod, Service } from "@ambit/kube";
import { finding, names, type Finding } from "../model/finding.ts";
import { isCaptured, isRunning, isWaypointPod, keyOf, labelsOf, list, MESH_NAMESPACE, record, stringMap, text, type Facts } from "../model/facts.ts";
import { hasLabels } from "./selectors.ts";

/** PeerAuthentication as Istio resolves it: the workload's, then the namespace's, then the mesh's; the oldest of each wins. */
export function isStrict(policies: readonly KubeObject[], pod: Pod, port: number): boolean {
  const byAge = [...policies].sort((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? "") || keyOf(a).localeCompare(keyOf(b)));
  const selectorOf = (p: KubeObject) => stringMap(record(record(p["spec"])["selector"])["matchLabels"]);
  const modeOf = (p: KubeObject | undefined) => text(record(record(p?.["spec"])["mtls"])["mode"]);
  const { namespace } = pod.metadata;
  const wide = (of: string | undefined) => byAge.find((p) => p.metadata.namespace === of && Object.keys(selectorOf(p)).length === 0);
  const own = byAge.find((p) => p.metadata.namespace === namespace && Object.keys(selectorOf(p)).length > 0 && hasLabels(selectorOf(p), labelsOf(pod)));
  const onPort = text(record(record(record(own?.["spec"])["portLevelMtls"])[String(port)])["mode"]);
  const mode = [onPort, modeOf(own), modeOf(wide(namespace)), modeOf(wide(MESH_NAMESPACE))].find((m) => m !== "" && m !== "UNSET");
  return mode === "STRICT";
}

/** The pods and the port behind a port of a Service. */
function behind(f: Facts, service: Service, port: number | undefined): { pod: Pod; port: number }[] {
  const { selector } = service.spec;
  if (selector === undefined || Object.keys(selector).length === 0) return [];
  const ports = (service.spec.ports ?? []).filter((p) => port === undefined || p.port === port);
  return f.objects.pods.filter((p) => p.metadata.namespace === service.metadata.namespace && isRunning(p) && isCaptured(p) && !isWaypointPod(p) && hasLabels(selector, labelsOf(p)))
    .flatMap((pod) => ports.flatMap((p) => {
      const target = p.targetPort ?? p.port;
      const number = typeof target === "number" ? target : pod.spec.containers.flatMap((c) => c.ports ?? []).find((x) => x.name === target)?.containerPort;
      return number === undefined ? [] : [{ pod, port: number }];
    }));
}

export const judgeStrict = (f: Facts): Finding[] => (f.objects.peerAuthentications.length === 0 ? [] : [...apiServer(f), ...outsiders(f)]);

interface Caller { readonly where: string; readonly namespace: string; readonly name: string; readonly port: number }

/** What the API server calls, in its own name and from outside the mesh: webhooks, and API groups served by pods. */
function calledByApiServer(f: Facts): Caller[] {
  const hooks = [...f.objects.validatingWebhooks, ...f.objects.mutatingWebhooks].flatMap((c) => list(c["webhooks"]).map((w) => ({ where: `${c.kind} ${c.metadata.name}`, service: record(record(record(w)["clientConfig"])["service"]) })));
  const groups = f.objects.apiServices.map((a) => ({ where: `APIService ${a.metadata.name}`, service: record(record(a["spec"])["service"]) }));
  return [...hooks, ...groups].filter((x) => text(x.service["name"]) !== "").map((x) => ({ where: x.where, namespace: text(x.service["namespace"]), name: text(x.service["name"]), port: Number(x.service["port"] ?? 443) }));
}

function apiServer(f: Facts): Finding[] {
  return calledByApiServer(f).flatMap((c) => {
    const service = f.objects.services.find((s) => s.metadata.namespace === c.namespace && s.metadata.name === c.name);
    const strict = service === undefined ? [] : behind(f, service, c.port).filter(({ pod, port }) => isStrict(f.objects.peerAuthentications, pod, port));
    const [one] = strict;
    if (one === undefined) return [];
    return [finding("AMB0503", c.where, `the API server calls ${names(strict.map((s) => keyOf(s.pod)))} and is not in the mesh; STRICT refuses it`,
      `a PeerAuthentication in ${c.namespace} that selects these pods, with portLevelMtls: { "${one.port}": { mode: PERMISSIVE } }; or label them istio.io/dataplane-mode=none`)];
  });
}

function outsiders(f: Facts): Finding[] {
  return f.objects.services.filter((s) => s.spec.type === "LoadBalancer" || s.spec.type === "NodePort").flatMap((s) => {
    const strict = behind(f, s, undefined).filter(({ pod, port }) => isStrict(f.objects.peerAuthentications, pod, port));
    const [one] = strict;
    if (one === undefined) return [];
    return [finding("AMB0504", `Service ${keyOf(s)}`, `it is of type ${s.spec.type}: its clients are outside the mesh, and ${names([...new Set(strict.map((x) => keyOf(x.pod)))])} take mutual TLS only`,
      `let them in through a gateway of the mesh, or set portLevelMtls: { "${one.port}": { mode: PERMISSIVE } } in a PeerAuthentication that selects these pods`)];
  });
}
