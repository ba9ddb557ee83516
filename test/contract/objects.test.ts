// The contract of single objects: create, read, replace, delete, their defaults, and what is said when they are refused.
import { contract } from "./contract.fixture.ts";
import { configMap, deployment, MERGE, pod, service } from "./objects.fixture.ts";
import type { JsonObject } from "./wire.fixture.ts";

contract("objects", ({ it }) => {
  it("creates, reads, replaces and deletes", async (t) => {
    const made = await t.ask("POST", "~/configmaps", configMap("crud", { a: "1" }));
    await t.ask("GET", "~/configmaps/crud");
    await t.ask("PUT", "~/configmaps/crud", { ...(made.json as JsonObject), data: { a: "2" } });
    await t.ask("PUT", "~/configmaps/crud", configMap("crud", { a: "3" }));
    await t.ask("DELETE", "~/configmaps/crud");
    await t.ask("DELETE", "~/configmaps/crud");
    await t.ask("GET", "~/configmaps/crud");
  });

  const defaults: readonly [what: string, path: string, object: JsonObject][] = [
    ["a pod", "~/pods", pod("d")],
    ["a pod with everything", "~/pods", pod("all", {
      hostNetwork: true, initContainers: [{ name: "init", image: "x:latest", env: [{ name: "A", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }] }],
      containers: [{
        name: "main", image: "app@sha256:0000000000000000000000000000000000000000000000000000000000000000", ports: [{ containerPort: 80 }, { containerPort: 53, protocol: "UDP", name: "dns" }],
        livenessProbe: { httpGet: { port: 80 } }, readinessProbe: { tcpSocket: { port: 80 } }, startupProbe: { exec: { command: ["true"] } },
        resources: { limits: { cpu: "1", memory: "1Gi" } }, lifecycle: { preStop: { httpGet: { port: "dns" } } },
        volumeMounts: [{ name: "v", mountPath: "/v" }], securityContext: { runAsUser: 0 },
      }],
      volumes: [{ name: "v", configMap: { name: "x" } }, { name: "w", secret: { secretName: "x" } }, { name: "e", emptyDir: {} }, { name: "h", hostPath: { path: "/" } }, { name: "p", projected: { sources: [{ serviceAccountToken: { path: "t" } }] } }, { name: "a", downwardAPI: { items: [{ path: "l", fieldRef: { fieldPath: "metadata.labels" } }] } }],
      tolerations: [{ key: "a", operator: "Exists" }], topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule", labelSelector: {} }],
    })],
    ["a deployment", "~apps/v1/deployments", deployment("d")],
    ["a deployment that recreates", "~apps/v1/deployments", deployment("r", { strategy: { type: "Recreate" } })],
    ["a daemon set", "~apps/v1/daemonsets", { ...deployment("ds"), kind: "DaemonSet", spec: { selector: { matchLabels: { app: "ds" } }, template: { metadata: { labels: { app: "ds" } }, spec: { nodeSelector: { no: "where" }, containers: [{ name: "m", image: "m" }] } } } }],
    ["a stateful set", "~apps/v1/statefulsets", { ...deployment("ss"), kind: "StatefulSet" }],
    ["a replica set", "~apps/v1/replicasets", { ...deployment("rs"), kind: "ReplicaSet" }],
    ["a service", "~/services", service("s")],
    ["a headless service", "~/services", service("hl", { clusterIP: "None" })],
    ["a service without selector", "~/services", service("sel", { selector: null })],
    ["a node port service", "~/services", service("np", { type: "NodePort" })],
    ["a load balancer", "~/services", service("lb", { type: "LoadBalancer", ports: [{ port: 80, name: "a" }, { port: 53, protocol: "UDP", name: "b", targetPort: "dns" }] })],
    ["an external name", "~/services", service("en", { type: "ExternalName", externalName: "example.com", ports: null, selector: null })],
    ["a sticky service", "~/services", service("st", { sessionAffinity: "ClientIP", internalTrafficPolicy: "Local" })],
    ["a secret with stringData", "~/secrets", { metadata: { name: "s" }, stringData: { a: "b" }, data: { c: "ZA==" } }],
    ["a service account", "~/serviceaccounts", { metadata: { name: "robot" } }],
    ["a role", "~rbac.authorization.k8s.io/v1/roles", { metadata: { name: "r" }, rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }] }],
    ["a role binding", "~rbac.authorization.k8s.io/v1/rolebindings", { metadata: { name: "r" }, roleRef: { kind: "Role", name: "r", apiGroup: "rbac.authorization.k8s.io" }, subjects: [{ kind: "User", name: "u" }, { kind: "ServiceAccount", name: "robot" }] }],
    ["a lease", "~coordination.k8s.io/v1/leases", { metadata: { name: "l" }, spec: { holderIdentity: "me", leaseDurationSeconds: 15, renewTime: "2026-01-02T03:04:05.000000Z" } }],
    ["an endpoint slice", "~discovery.k8s.io/v1/endpointslices", { metadata: { name: "e", labels: { "endpointslice.kubernetes.io/managed-by": "test" } }, addressType: "IPv4", endpoints: [{ addresses: ["10.9.9.9"] }], ports: [{ port: 80 }] }],
    ["endpoints", "~/endpoints", { metadata: { name: "e" }, subsets: [{ addresses: [{ ip: "10.9.9.9" }], ports: [{ port: 80 }] }] }],
    ["an event", "~/events", { metadata: { name: "e" }, involvedObject: { kind: "Pod", name: "x", namespace: "NS" }, reason: "Because", message: "m", type: "Normal" }],
    ["a job", "~batch/v1/jobs", { metadata: { name: "j" }, spec: { suspend: true, template: { spec: { restartPolicy: "Never", containers: [{ name: "m", image: "m" }] } } } }],
    ["a cron job", "~batch/v1/cronjobs", { metadata: { name: "c" }, spec: { schedule: "0 0 1 1 *", suspend: true, jobTemplate: { spec: { template: { spec: { restartPolicy: "OnFailure", containers: [{ name: "m", image: "m" }] } } } } } }],
    ["a disruption budget", "~policy/v1/poddisruptionbudgets", { metadata: { name: "p" }, spec: { minAvailable: "50%", selector: { matchLabels: { app: "none" } } } }],
    ["an autoscaler", "~autoscaling/v2/horizontalpodautoscalers", { metadata: { name: "h" }, spec: { maxReplicas: 3, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "none" } } }],
    ["a network policy", "~networking.k8s.io/v1/networkpolicies", { metadata: { name: "n" }, spec: { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] } }],
    ["an ingress", "~networking.k8s.io/v1/ingresses", { metadata: { name: "i" }, spec: { defaultBackend: { service: { name: "x", port: { number: 80 } } } } }],
    ["a limited config map", "~/configmaps", { metadata: { name: "im", annotations: { a: "b" }, labels: { c: "d" } }, binaryData: { x: "AAEC" }, immutable: true }],
  ];
  for (const [what, path, object] of defaults) {
    it(`fills the defaults of ${what} in`, async (t) => {
      const named = JSON.parse(JSON.stringify(object).replaceAll('"NS"', JSON.stringify(t.ns))) as JsonObject;
      const made = await t.ask("POST", `${path}?dryRun=All`, named);
      for (const mount of JSON.stringify(made.json).matchAll(/kube-api-access-[a-z0-9]{5}/g)) t.mask(mount[0], "TOKEN-VOLUME");
      t.transcript.pop();
      t.note("made", made.json ?? null);
    });
  }

  const refusals: readonly [what: string, method: string, path: string, body: unknown][] = [
    ["a missing object", "GET", "~/configmaps/none", undefined],
    ["a missing object of a group", "GET", "~apps/v1/deployments/none", undefined],
    ["an unknown resource", "GET", "~/gadgets", undefined],
    ["an unknown resource of a group", "GET", "~apps/v1/gadgets/x", undefined],
    ["an unknown group", "GET", "~no.such/v1/things", undefined],
    ["an unknown version", "GET", "~apps/v7/deployments", undefined],
    ["an unknown subresource", "GET", "~/configmaps/x/status", undefined],
    ["an unknown path", "GET", "/no/such/path", undefined],
    ["a method on a list", "PUT", "~/configmaps", configMap("x")],
    ["a method on an object", "POST", "~/configmaps/x", configMap("x")],
    ["a patch of a list", "PATCH", "~/configmaps", {}],
    ["deletion in all namespaces", "DELETE", "/api/v1/configmaps", undefined],
    ["creation in all namespaces", "POST", "/api/v1/configmaps", configMap("x")],
    ["deletion of all namespaces", "DELETE", "/api/v1/namespaces", undefined],
    ["a second of a name", "POST", "/api/v1/namespaces", { metadata: { name: "default" } }],
    ["a missing namespace", "POST", "/api/v1/namespaces/nowhere/configmaps", configMap("a")],
    ["no name", "POST", "~/configmaps", { data: {} }],
    ["no name for a pod", "POST", "~/pods", { ...pod("x"), metadata: {} }],
    ["a bad name", "POST", "~/configmaps", configMap("Bad_Name")],
    ["a long name", "POST", "~/configmaps", configMap("a".repeat(254))],
    ["a bad service name", "POST", "~/services", service("1bad")],
    ["a bad namespace name", "POST", "/api/v1/namespaces", { metadata: { name: "a.b" } }],
    ["a bad label key", "POST", "~/configmaps", configMap("x", {}, { labels: { "a b": "c" } })],
    ["a bad label value", "POST", "~/configmaps", configMap("x", {}, { labels: { a: "-c" } })],
    ["a bad annotation key", "POST", "~/configmaps", configMap("x", {}, { annotations: { "a/b/c": "" } })],
    ["a bad finalizer", "POST", "~/configmaps", configMap("x", {}, { finalizers: ["nope"] })],
    ["a bad owner", "POST", "~/configmaps", configMap("x", {}, { ownerReferences: [{ kind: "A", name: "" }] })],
    ["two controllers", "POST", "~/configmaps", configMap("x", {}, { ownerReferences: [1, 2].map((n) => ({ apiVersion: "v1", kind: "Pod", name: `p${n}`, uid: `${n}`, controller: true })) })],
    ["a bad data key", "POST", "~/configmaps", configMap("x", { "a b": "c" })],
    ["a foreign namespace in the body", "POST", "~/configmaps", configMap("x", {}, { namespace: "other" })],
    ["a resourceVersion on creation", "POST", "~/configmaps", configMap("x", {}, { resourceVersion: "5" })],
    ["another kind", "POST", "~/configmaps", { kind: "Secret", apiVersion: "v1", metadata: { name: "x" } }],
    ["another apiVersion", "POST", "~/configmaps", { kind: "ConfigMap", apiVersion: "v2", metadata: { name: "x" } }],
    ["an unknown kind", "POST", "~/configmaps", { kind: "Gadget", apiVersion: "v1", metadata: { name: "x" } }],
    ["data of another type", "POST", "~/configmaps", { metadata: { name: "x" }, data: "text" }],
    ["a number in a map of strings", "POST", "~/configmaps", { metadata: { name: "x" }, data: { a: 1 } }],
    ["a text where a number belongs", "POST", "~apps/v1/deployments", { ...deployment("x"), spec: { replicas: "two" } }],
    ["what is not JSON", "POST", "~/configmaps", "{"],
    ["a list", "POST", "~/configmaps", []],
    ["a text", "POST", "~/configmaps", '"text"'],
    ["an empty body", "POST", "~/configmaps", ""],
    ["an object that is missing", "PUT", "~/configmaps/none", configMap("none")],
    ["a bad pod", "POST", "~/pods", pod("bad", { restartPolicy: "Sometimes", containers: [{ name: "Main", image: "" }] })],
    ["a pod without containers", "POST", "~/pods", pod("bad", { containers: [] })],
    ["two containers of one name", "POST", "~/pods", pod("bad", { containers: [{ name: "a", image: "a" }, { name: "a", image: "b" }] })],
    ["an unknown volume", "POST", "~/pods", pod("bad", { containers: [{ name: "a", image: "a", volumeMounts: [{ name: "v", mountPath: "/v" }] }] })],
    ["two ports of one name", "POST", "~/pods", pod("bad", { containers: [{ name: "a", image: "a", ports: [{ name: "p", containerPort: 1 }, { name: "p", containerPort: 2 }] }] })],
    ["a port out of range", "POST", "~/pods", pod("bad", { containers: [{ name: "a", image: "a", ports: [{ containerPort: 70000 }] }] })],
    ["a bad quantity", "POST", "~/pods", pod("bad", { containers: [{ name: "a", image: "a", resources: { requests: { cpu: "much" } } }] })],
    ["a request above its limit", "POST", "~/pods", pod("bad", { containers: [{ name: "a", image: "a", resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } }] })],
    ["a pod of an unknown account", "POST", "~/pods", pod("x", { serviceAccountName: "nobody" })],
    ["a pod of an unknown priority class", "POST", "~/pods", pod("x", { priorityClassName: "none" })],
    ["a template that its selector misses", "POST", "~apps/v1/deployments", { ...deployment("x"), spec: { selector: { matchLabels: { a: "b" } }, template: { metadata: { labels: { a: "c" } }, spec: { containers: [{ name: "a", image: "a" }] } } } }],
    ["a deployment without selector", "POST", "~apps/v1/deployments", { metadata: { name: "x" }, spec: { template: { metadata: { labels: { a: "c" } }, spec: { containers: [{ name: "a", image: "a" }] } } } }],
    ["replicas below zero", "POST", "~apps/v1/deployments", deployment("x", { replicas: -1 })],
    ["a service without ports", "POST", "~/services", service("x", { ports: [] })],
    ["a service port out of range", "POST", "~/services", service("x", { ports: [{ port: 0 }] })],
    ["two ports without names", "POST", "~/services", service("x", { ports: [{ port: 1 }, { port: 2 }] })],
    ["a service of an unknown type", "POST", "~/services", service("x", { type: "Magic" })],
    ["an external name without a name", "POST", "~/services", service("x", { type: "ExternalName" })],
    ["a foreign cluster IP", "POST", "~/services", service("x", { clusterIP: "1.2.3.4" })],
    ["a secret that is not base64", "POST", "~/secrets", { metadata: { name: "x" }, data: { a: "?" } }],
    ["a TLS secret without key", "POST", "~/secrets", { metadata: { name: "x" }, type: "kubernetes.io/tls", data: { "tls.crt": "" } }],
    ["an unknown dryRun", "POST", "~/configmaps?dryRun=Some", configMap("x")],
    ["an unknown fieldValidation", "POST", "~/configmaps?fieldValidation=Maybe", configMap("x")],
    ["an unknown propagation", "DELETE", "~/configmaps/kube-root-ca.crt?propagationPolicy=Maybe", undefined],
    ["two ways of deletion", "DELETE", "~/configmaps/kube-root-ca.crt", { propagationPolicy: "Orphan", orphanDependents: true }],
    ["a field manager that is too long", "POST", `~/configmaps?fieldManager=${"m".repeat(129)}`, configMap("x")],
    ["a role without verbs", "POST", "~rbac.authorization.k8s.io/v1/roles", { metadata: { name: "x" }, rules: [{ apiGroups: [""], resources: ["pods"], verbs: [] }] }],
    ["a binding to nothing", "POST", "~rbac.authorization.k8s.io/v1/rolebindings", { metadata: { name: "x" }, roleRef: { kind: "Role", name: "", apiGroup: "rbac.authorization.k8s.io" } }],
    ["a lease of no time", "POST", "~coordination.k8s.io/v1/leases", { metadata: { name: "x" }, spec: { leaseDurationSeconds: 0 } }],
    ["an endpoint slice of no type", "POST", "~discovery.k8s.io/v1/endpointslices", { metadata: { name: "x" }, endpoints: [], ports: [] }],
    ["an event about another namespace", "POST", "~/events", { metadata: { name: "x" }, involvedObject: { namespace: "other", kind: "Pod", name: "x" } }],
    ["a cron job without a schedule", "POST", "~batch/v1/cronjobs", { metadata: { name: "x" }, spec: { schedule: "often", jobTemplate: { spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "a", image: "a" }] } } } } } }],
    ["a job that always restarts", "POST", "~batch/v1/jobs", { metadata: { name: "x" }, spec: { template: { spec: { containers: [{ name: "a", image: "a" }] } } } }],
  ];
  // Their words are those of Go's decoders and of its table of types.
  const foreignWords = /another (kind|apiVersion|type)|unknown kind|number in a map|text where|not JSON|a list$|a text$|an empty body/;
  for (const [what, method, path, body] of refusals) {
    it(`refuses ${what}`, async (t) => {
      await t.ask(method, path, body, { ...(method === "PATCH" ? MERGE : {}), loose: foreignWords.test(what) && !what.startsWith("a method") });
    });
  }

  it("keeps what may not change", async (t) => {
    await t.quiet("POST", "~/services", service("fixed", { clusterIP: "None" }));
    await t.quiet("POST", "~apps/v1/deployments", deployment("fixed"));
    await t.quiet("POST", "~/pods", pod("fixed"));
    await t.quiet("POST", "~/configmaps", { ...configMap("fixed"), immutable: true });
    await t.quiet("POST", "~/secrets", { metadata: { name: "fixed" }, type: "Opaque" });
    await t.quiet("POST", "~rbac.authorization.k8s.io/v1/rolebindings", { metadata: { name: "fixed" }, roleRef: { kind: "Role", name: "r", apiGroup: "rbac.authorization.k8s.io" } });
    await t.ask("PATCH", "~/services/fixed", { spec: { clusterIP: "10.0.0.9" } }, MERGE);
    await t.ask("PATCH", "~apps/v1/deployments/fixed", { spec: { selector: { matchLabels: { x: "y" } }, template: { metadata: { labels: { x: "y" } } } } }, MERGE);
    await t.ask("PATCH", "~/pods/fixed", { spec: { schedulerName: "other" } }, { ...MERGE, loose: true });
    await t.ask("PATCH", "~/configmaps/fixed", { data: { a: "b" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/fixed", { immutable: false }, MERGE);
    await t.ask("PATCH", "~/secrets/fixed", { type: "other" }, MERGE);
    await t.ask("PATCH", "~rbac.authorization.k8s.io/v1/rolebindings/fixed", { roleRef: { name: "s" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/kube-root-ca.crt", { metadata: { name: "other" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/kube-root-ca.crt", { metadata: { namespace: "other" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/kube-root-ca.crt", { metadata: { uid: "00000000-0000-0000-0000-000000000000" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/kube-root-ca.crt", { metadata: { resourceVersion: "1" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/fixed", { kind: "Secret" }, { ...MERGE, loose: true });
  });

  it("replaces by version or not at all", async (t) => {
    const made = await t.quiet("POST", "~/configmaps", configMap("versions", { a: "1" }));
    const newer = await t.quiet("PUT", "~/configmaps/versions", { ...made, data: { a: "2" } });
    await t.ask("PUT", "~/configmaps/versions", { ...made, data: { a: "3" } });
    await t.ask("PUT", "~/configmaps/versions", configMap("other"));
    await t.ask("PUT", "~/configmaps/versions", { ...newer, metadata: { ...newer.metadata, uid: "0-0" } });
    const same = await t.quiet("PUT", "~/configmaps/versions", newer);
    t.note("no change, no new version", same.metadata["resourceVersion"] === newer.metadata["resourceVersion"]);
    const lease = await t.quiet("POST", "~coordination.k8s.io/v1/leases", { metadata: { name: "l" }, spec: {} });
    await t.ask("PUT", "~coordination.k8s.io/v1/leases/l", { metadata: { name: "l" }, spec: {} });
    await t.ask("PUT", "~coordination.k8s.io/v1/leases/l", { ...lease, spec: { holderIdentity: "x" } });
    await t.ask("DELETE", "~/configmaps/versions", { preconditions: { uid: "0-0" } });
    await t.ask("DELETE", "~/configmaps/versions", { preconditions: { resourceVersion: "1" } }, { digits: true });
    await t.ask("DELETE", "~/configmaps/versions", { preconditions: { uid: newer.metadata["uid"], resourceVersion: newer.metadata["resourceVersion"] } });
  });

  it("counts generations", async (t) => {
    const generation = { show: ["metadata.generation"] };
    await t.ask("POST", "~apps/v1/deployments", deployment("gen"), generation);
    await t.ask("PATCH", "~apps/v1/deployments/gen", { metadata: { labels: { a: "b" } } }, { ...MERGE, ...generation });
    await t.ask("PATCH", "~apps/v1/deployments/gen", { spec: { paused: true } }, { ...MERGE, ...generation });
    await t.ask("PATCH", "~apps/v1/deployments/gen/status", { status: { observedGeneration: 1 } }, { ...MERGE, ...generation });
    await t.ask("PATCH", "~apps/v1/deployments/gen", { metadata: { generation: 9 } }, { ...MERGE, ...generation });
    await t.ask("POST", "~/configmaps", configMap("gen"), generation);
    await t.ask("POST", "~/pods", pod("gen"), generation);
    await t.ask("POST", "~/services", service("gen"), generation);
  });

  it("makes names up", async (t) => {
    const first = await t.quiet("POST", "~/configmaps", { metadata: { generateName: "made-" } });
    const second = await t.quiet("POST", "~/configmaps", { metadata: { generateName: "made-" } });
    const shape = (name: unknown): boolean => /^made-[bcdfghjklmnpqrstvwxz2456789]{5}$/.test(String(name));
    t.note("names", [shape(first.metadata["name"]), shape(second.metadata["name"]), first.metadata["name"] === second.metadata["name"], first.metadata["generateName"] ?? null]);
    const long = await t.quiet("POST", "~/configmaps", { metadata: { generateName: "a".repeat(80) } });
    t.note("a long base is cut", String(long.metadata["name"]).length);
    await t.ask("POST", "~/configmaps", { metadata: { name: "given", generateName: "made-" } });
    await t.ask("POST", "~/configmaps", { metadata: { generateName: "Bad_" } }, { show: "code" }).then(() => t.transcript.pop());
  });

  it("changes nothing on a dry run", async (t) => {
    await t.ask("POST", "~/configmaps?dryRun=All", configMap("dry", { a: "1" }));
    await t.ask("GET", "~/configmaps/dry");
    await t.quiet("POST", "~/configmaps", configMap("wet", { a: "1" }));
    await t.ask("PUT", "~/configmaps/wet?dryRun=All", configMap("wet", { a: "2" }));
    await t.ask("PATCH", "~/configmaps/wet?dryRun=All", { data: { a: "3" } }, MERGE);
    await t.ask("DELETE", "~/configmaps/wet?dryRun=All");
    await t.ask("DELETE", "~/configmaps/wet", { dryRun: ["All"] });
    await t.ask("DELETE", "~/configmaps?dryRun=All", undefined, { show: ["kind", "status"] });
    await t.ask("GET", "~/configmaps/wet", undefined, { show: ["data"] });
    await t.ask("POST", "~/configmaps?dryRun=All", configMap("wet"));
  });

  it("says which fields it does not know", async (t) => {
    const odd = { ...configMap("odd", { a: "b" }), spec: { x: 1 }, metadata: { name: "odd", color: "red" } };
    for (const how of ["Strict", "Warn", "Ignore"]) await t.ask("POST", `~/configmaps?dryRun=All&fieldValidation=${how}`, odd);
    await t.ask("POST", "~/configmaps?dryRun=All", odd);
    await t.ask("POST", "~/configmaps?dryRun=All&fieldValidation=Strict", '{"metadata":{"name":"twice"},"data":{"a":"1","a":"2"}}');
    await t.ask("POST", "~/configmaps?dryRun=All", '{"metadata":{"name":"twice"},"data":{"a":"1","a":"2"}}');
    await t.ask("POST", "~/pods?dryRun=All&fieldValidation=Strict", pod("odd", { containers: [{ name: "a", image: "a", imagge: "b", ports: [{ containerPort: 1, prot: "x" }] }] }));
    await t.ask("POST", "~apps/v1/deployments?dryRun=All&fieldValidation=Strict", deployment("odd", { replica: 1 }, { container: [] }));
    await t.quiet("POST", "~/configmaps", configMap("odd"));
    await t.ask("PUT", "~/configmaps/odd?fieldValidation=Strict", { ...configMap("odd"), spec: {} });
    await t.ask("PATCH", "~/configmaps/odd?fieldValidation=Strict", { spec: {} }, { ...MERGE, loose: true });
    await t.ask("PATCH", "~/configmaps/odd", { spec: {} }, MERGE);
  });

  it("takes null for nothing", async (t) => {
    await t.ask("POST", "~/configmaps", { metadata: { name: "nulls", labels: null, annotations: { a: null }, creationTimestamp: null }, data: { a: null }, binaryData: null });
    await t.ask("POST", "~apps/v1/deployments?dryRun=All", deployment("nulls", { replicas: null, strategy: null }), { show: ["spec.replicas", "spec.strategy"] });
  });
});
