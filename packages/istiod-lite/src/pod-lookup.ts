// Owns the certificate service's view of pods: a look into the collections, no store of its own.
import type { Pod } from "@ambit/kube";
import type { PodFacts, PodLookup } from "./ca/attest.ts";
import type { Mesh } from "./collections/graph.ts";

export const podLookup = (mesh: Mesh): PodLookup => ({
  pod: (namespace, name) => {
    const pod = mesh.sources.pods.get(`${namespace}/${name}`);
    return pod === undefined ? undefined : factsOf(pod);
  },
  onNode: (node, namespace, serviceAccount) => mesh.podsByAccount.lookup(`${node}/${namespace}/${serviceAccount}`).map(factsOf),
});

const factsOf = (pod: Pod): PodFacts => ({
  namespace: pod.metadata.namespace ?? "", name: pod.metadata.name, uid: pod.metadata.uid ?? "",
  serviceAccount: pod.spec.serviceAccountName || "default", nodeName: pod.spec.nodeName ?? "", phase: pod.status?.phase ?? "",
});
