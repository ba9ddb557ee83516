// Decides whether the mesh's webhooks have somebody behind them whom the API server can believe.
import { finding, type Finding } from "../model/finding.ts";
import { canRead, isGoing, isReadyPod, isYoung, keyOf, labelsOf, list, MESH_NAMESPACE, record, text, type Facts } from "../model/facts.ts";
import { hasLabels } from "./selectors.ts";

/** What is of Istio or of us, by label or by the Service's name. */
export function judgeWebhooks(f: Facts): Finding[] {
  return [...f.objects.validatingWebhooks, ...f.objects.mutatingWebhooks].filter((c) => !isYoung(f, c)).flatMap((c) => {
    const hooks = list(c["webhooks"]).map(record).map((w) => ({ w, client: record(w["clientConfig"]) })).map((x) => ({ ...x, service: record(x.client["service"]) }));
    const ours = hooks.filter((h) => text(h.service["namespace"]) === MESH_NAMESPACE || labelsOf(c)["app"] === "istiod" || labelsOf(c)["app"] === "sidecar-injector");
    const [first] = ours;
    if (first === undefined) return [];
    const where = `${c.kind} ${c.metadata.name}`;
    const level = ours.some((h) => h.w["failurePolicy"] !== "Ignore") ? "Error" : "Warning";
    const effect = level === "Error" ? "objects of the mesh cannot be written" : "objects of the mesh are not judged when they are written";
    const remove = `kubectl delete ${c.kind?.toLowerCase()} ${c.metadata.name}`;
    const said = deadness(f, first.service);
    if (said !== undefined) return [finding("AMB0206", where, `${said}: ${effect}`, `make the pods of ${text(first.service["namespace"])}/${text(first.service["name"])} ready; if that control plane is gone for good: ${remove}`, level)];
    if (ours.some((h) => text(h.client["caBundle"]) === "")) return [finding("AMB0206", where, `it has no caBundle: ${effect}`, `istiod's leader writes it: kubectl -n ${MESH_NAMESPACE} logs deployment/istiod; its ClusterRole must let it patch ${c.kind?.toLowerCase()}s`, level)];
    return [];
  });
}

function deadness(f: Facts, service: Readonly<Record<string, unknown>>): string | undefined {
  const key = `${text(service["namespace"])}/${text(service["name"])}`;
  if (!canRead(f, "services") || !canRead(f, "pods") || key === "/") return undefined;
  const found = f.objects.services.find((s) => keyOf(s) === key);
  if (found === undefined) return `it calls Service ${key}, which is not there`;
  const { selector } = found.spec;
  if (selector === undefined) return undefined;
  const ready = f.objects.pods.some((p) => p.metadata.namespace === found.metadata.namespace && hasLabels(selector, labelsOf(p)) && isReadyPod(p) && !isGoing(p));
  return ready ? undefined : `it calls Service ${key}, and no ready pod is behind it`;
}
