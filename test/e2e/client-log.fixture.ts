// Owns reading what the sample's clients say: every request and held connection of a pod, from its log.
import type { TestCluster } from "./cluster.fixture.ts";

export interface Said { readonly t: number; readonly kind: "request" | "hold"; readonly n?: number; readonly ms?: number; readonly ok?: boolean; readonly error?: string; readonly client?: string; readonly event?: string; readonly status?: number }

export async function saidBy(lab: TestCluster, namespace: string, pod: string, sinceMs?: number): Promise<Said[]> {
  const text = await lab.kubectl("-n", namespace, "logs", pod, ...(sinceMs === undefined ? [] : [`--since-time=${new Date(sinceMs).toISOString()}`]));
  return text.split("\n").flatMap((line) => {
    if (!line.startsWith("{")) return [];
    const record = JSON.parse(line) as Said;
    return record.kind === undefined ? [] : [record];
  });
}

/** Asks again until `test` holds of what was said; the log itself is the event source, read at most every 100 ms. */
export async function saidUntil(lab: TestCluster, namespace: string, pod: string, test: (said: Said[]) => boolean, limitMs = 15_000): Promise<Said[]> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    // The kubelet or the API server may be down: what the pod said is still there afterwards.
    const said: Said[] = await saidBy(lab, namespace, pod).catch((error: unknown) => {
      if (Date.now() > deadline) throw error;
      return [];
    });
    if (said.length > 0 && test(said)) return said;
    if (Date.now() > deadline) throw new Error(`${namespace}/${pod} never said so; last: ${JSON.stringify(said.slice(-5))}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A pod of the sample image. */
export function samplePod(o: { name: string; namespace?: string; node?: string; account?: string; args: readonly string[]; labels?: Readonly<Record<string, string>> }): string {
  const namespace = o.namespace ?? "t";
  return JSON.stringify({
    apiVersion: "v1", kind: "Pod", metadata: { name: o.name, namespace, labels: { app: o.name, ...o.labels } },
    spec: {
      ...(o.node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": o.node } }), ...(o.account === undefined ? {} : { serviceAccountName: o.account }), terminationGracePeriodSeconds: 0,
      containers: [{ name: "c", image: "ambit/sample:lab", args: o.args }],
    },
  });
}
export const serviceOf = (name: string, namespace = "t"): string => JSON.stringify({ apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec: { selector: { app: name }, ports: [{ name: "http", port: 8080 }, { name: "tcp-echo", port: 9080 }] } });
export const accountOf = (name: string, namespace = "t"): string => JSON.stringify({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } });
export const namespaceOf = (name: string, ambient: boolean): string => JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: ambient ? { "istio.io/dataplane-mode": "ambient" } : {} } });
export const documents = (...docs: string[]): string => docs.join("\n---\n");
