// Owns asking from inside the sample's namespace: a pod that makes requests, says how each was answered, and goes.
import { KINDS, pathOf, type KubeClient, type Pod } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";

const LIMIT_MS = 30_000;
const POLL_MS = 100;

export interface Answer { readonly status?: number; readonly body?: string; readonly error?: string; readonly ms: number }

/** `count` requests, one after the other, as the visitor. */
export async function askFromPod(client: KubeClient, o: { readonly namespace: string; readonly url: string; readonly method?: string; readonly count: number }): Promise<readonly Answer[]> {
  const name = `asker-${Math.random().toString(36).slice(2, 8)}`;
  await client.create(KINDS.pods, o.namespace, {
    apiVersion: "v1", kind: "Pod", metadata: { name, namespace: o.namespace, labels: { app: "asker" } },
    spec: {
      restartPolicy: "Never", serviceAccountName: "visitor", nodeSelector: { "kubernetes.io/hostname": "node-1" }, terminationGracePeriodSeconds: 0,
      containers: [{ name: "asker", image: "ambit/sample:lab", args: ["get", o.url, "--method", o.method ?? "GET", "--count", String(Math.max(2, o.count))] }],
    },
  });
  try {
    const end = systemClock.monotonic() + LIMIT_MS;
    for (;;) {
      const pod = await client.get<Pod>(KINDS.pods, o.namespace, name);
      if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") break;
      if (systemClock.monotonic() > end) break;
      await systemClock.sleep(POLL_MS);
    }
    const response = await client.open("GET", pathOf(KINDS.pods, o.namespace, name, "log"), { accept: "*/*" });
    response.setEncoding("utf8");
    let text = "";
    for await (const chunk of response as AsyncIterable<string>) text += chunk;
    return text.trim().split("\n").flatMap((line) => {
      try {
        const said = JSON.parse(line) as Answer & { kind?: string };
        return said.kind === "answer" ? [said] : [];
      } catch {
        return [];
      }
    });
  } finally {
    await client.delete(KINDS.pods, o.namespace, name, { gracePeriodSeconds: 0 });
  }
}
