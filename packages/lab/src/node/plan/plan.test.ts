import assert from "node:assert/strict";
import type { Service } from "@ambit/kube";
import { CRASH, nextBackoff, retryAt, type Backoff } from "./backoff.ts";
import { LINE_MAX_BYTES, LogSplitter, parseLogLine } from "./cri-log.ts";
import { parseQuantity, qosClass, type NodeFacts } from "./downward.ts";
import { buildEnv, expand, serviceEnv, type EnvSources } from "./env.ts";
import { overlayPath, renderFstab } from "./fstab.ts";
import { normalizeImageName } from "./image-name.ts";
import { processArgv, quote } from "./init-script.ts";
import { hostnameOf, hostsFile, resolvConf } from "./names.ts";
import { refusals, type ContainerSpec, type NodePod, type NodePodSpec, type Probe } from "./pod-spec.ts";
import { parseIdMap, privilegesOf, type IdMap, type ImageUser } from "./privileges.ts";
import { initialProbe, probeKills, stepProbe } from "./probe.ts";
import { isSafePath, referencedObjects, refreshTokenAt, volumeFiles, type VolumeData } from "./volume-files.ts";

const pod = (spec: Partial<NodePodSpec> = {}, metadata: Partial<NodePod["metadata"]> = {}): NodePod => ({
  metadata: { name: "web-1", namespace: "app", uid: "u-1", labels: { b: "2", a: "1" }, ...metadata },
  spec: { containers: [{ name: "main", image: "web" }], serviceAccountName: "sa", nodeName: "node-1", ...spec },
});
const node: NodeFacts = { nodeName: "node-1", hostIP: "172.30.0.11", podIP: "10.244.1.2", cpuMillis: 2000, memoryBytes: 1024 ** 3 };

describe("variables in a container's command", () => {
  const env: Record<string, string> = { A: "1", B: "two" };
  for (const [text, expected] of [["$(A)-$(B)", "1-two"], ["$$(A)", "$(A)"], ["$(C)", "$(C)"], ["$A $", "$A $"], ["$(A", "$(A"], ["$$$(A)", "$1"], ["", ""]])
    it(`${JSON.stringify(text)} becomes ${JSON.stringify(expected)}`, () => assert.equal(expand(text ?? "", (n) => env[n]), expected));
});

describe("a container's environment", () => {
  const sources: EnvSources = { configMap: (n) => (n === "cfg" ? { color: "blue", size: "9" } : undefined), secret: (n) => (n === "sec" ? { pw: "x" } : undefined), services: { WEB_SERVICE_HOST: "10.96.0.9" }, node };
  const build = (c: Partial<ContainerSpec>) => buildEnv(pod(), { name: "main", ...c }, { FROM_IMAGE: "i" }, sources);
  it("later wins, and a value sees what came before it", () => {
    assert.deepEqual(build({ envFrom: [{ prefix: "P_", configMapRef: { name: "cfg" } }], env: [{ name: "FROM_IMAGE", value: "mine" }, { name: "BOTH", value: "$(P_color)/$(FROM_IMAGE)/$(LATER)" }, { name: "LATER", value: "l" }] }),
      { env: { FROM_IMAGE: "mine", WEB_SERVICE_HOST: "10.96.0.9", P_color: "blue", P_size: "9", BOTH: "blue/mine/$(LATER)", LATER: "l" } });
  });
  const refs: [string, Partial<ContainerSpec>, unknown][] = [
    ["a field of the pod", { env: [{ name: "X", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }] }, "10.244.1.2"],
    ["a label", { env: [{ name: "X", valueFrom: { fieldRef: { fieldPath: "metadata.labels['a']" } } }] }, "1"],
    ["a limit that is not written is the node's", { env: [{ name: "X", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } }] }, "2"],
    ["a secret's key", { env: [{ name: "X", valueFrom: { secretKeyRef: { name: "sec", key: "pw" } } }] }, "x"],
    ["an optional key that is missing", { env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "no", key: "k", optional: true } } }] }, undefined],
  ];
  for (const [name, c, expected] of refs) it(name, () => { const r = build(c); assert.equal("env" in r ? r.env["X"] : r.problem, expected); });
  const problems: [string, Partial<ContainerSpec>, RegExp][] = [
    ["a ConfigMap that is missing", { envFrom: [{ configMapRef: { name: "no" } }] }, /configmap "no" not found/],
    ["a key that is missing", { env: [{ name: "X", valueFrom: { secretKeyRef: { name: "sec", key: "k" } } }] }, /couldn't find key k in secret app\/sec/],
    ["an unknown field", { env: [{ name: "X", valueFrom: { fieldRef: { fieldPath: "spec.secret" } } }] }, /not supported/],
    ["a name with =", { env: [{ name: "A=B", value: "x" }] }, /not a variable name/],
    ["a value with NUL", { env: [{ name: "A", value: "a\0b" }] }, /cannot be passed/],
  ];
  for (const [name, c, expected] of problems) it(`refuses ${name}`, () => { const r = build(c); assert.match("problem" in r ? r.problem : "", expected); });
  it("knows the API server always, and other Services of its namespace when it wants links", () => {
    const services: Service[] = [
      { metadata: { name: "kubernetes", namespace: "default" }, spec: { clusterIP: "10.96.0.1", ports: [{ name: "https", port: 443 }] } },
      { metadata: { name: "my-db", namespace: "app" }, spec: { clusterIP: "10.96.0.7", ports: [{ port: 5432 }] } },
      { metadata: { name: "other", namespace: "else" }, spec: { clusterIP: "10.96.0.8", ports: [{ port: 1 }] } },
      { metadata: { name: "headless", namespace: "app" }, spec: { clusterIP: "None", ports: [{ port: 1 }] } },
    ];
    assert.deepEqual(Object.keys(serviceEnv(services, "app", false)).filter((k) => k.endsWith("_HOST")), ["KUBERNETES_SERVICE_HOST"]);
    const linked = serviceEnv(services, "app", true);
    assert.deepEqual(Object.keys(linked).filter((k) => k.endsWith("_HOST")), ["KUBERNETES_SERVICE_HOST", "MY_DB_SERVICE_HOST"]);
    assert.equal(linked["MY_DB_PORT_5432_TCP"], "tcp://10.96.0.7:5432");
    assert.equal(linked["KUBERNETES_SERVICE_PORT_HTTPS"], "443");
  });
});

describe("image names", () => {
  const digest = `sha256:${"ab".repeat(32)}`;
  for (const [text, expected] of [
    ["nginx", "docker.io/library/nginx:latest"], ["nginx:1", "docker.io/library/nginx:1"], ["me/app", "docker.io/me/app:latest"], ["localhost/app:dev", "localhost/app:dev"], ["localhost:5000/app", "localhost:5000/app:latest"],
    ["gcr.io/a/b/c:v1", "gcr.io/a/b/c:v1"], ["index.docker.io/x/y", "docker.io/x/y:latest"], [`nginx:1@${digest}`, `docker.io/library/nginx@${digest}`], ["ambit/ztunnel:lab", "docker.io/ambit/ztunnel:lab"],
  ] as const) it(`${text} is ${expected}`, () => assert.deepEqual(normalizeImageName(text), { name: expected }));
  for (const bad of ["", "UPPER", "a//b", "a:b:c", "../../etc", "a@sha256:12", "a b", "-x", `${"a".repeat(300)}`, "http://x/y"])
    it(`refuses ${JSON.stringify(bad.slice(0, 20))}`, () => assert.ok("problem" in normalizeImageName(bad)));
});

describe("resolv.conf and hosts", () => {
  const dns = { clusterDns: "10.96.0.10", clusterDomain: "cluster.local", nodeName: "node-1", nodeResolvConf: "search corp\nnameserver 9.9.9.9\noptions edns0\n" };
  const cluster = "nameserver 10.96.0.10\nsearch app.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
  const machine = "nameserver 9.9.9.9\nsearch corp\noptions edns0\n";
  const rows: [string, Partial<NodePodSpec>, string][] = [
    ["ClusterFirst is the default", {}, cluster],
    ["ClusterFirst of a hostNetwork pod is the machine's", { hostNetwork: true }, machine],
    ["ClusterFirstWithHostNet", { hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" }, cluster],
    ["Default", { dnsPolicy: "Default" }, machine],
    ["None with its own configuration", { dnsPolicy: "None", dnsConfig: { nameservers: ["1.2.3.4"], searches: ["x"], options: [{ name: "ndots", value: "1" }] } }, "nameserver 1.2.3.4\nsearch x\noptions ndots:1\n"],
    ["dnsConfig adds and overrides", { dnsConfig: { searches: ["x"], options: [{ name: "ndots", value: "2" }] } }, cluster.replace("cluster.local\n", "cluster.local x\n").replace("ndots:5", "ndots:2")],
  ];
  for (const [name, spec, expected] of rows) it(name, () => assert.equal(resolvConf(pod(spec), dns), expected));
  it("hosts has the pod's own name, its subdomain and its aliases", () => {
    const text = hostsFile(pod({ hostname: "h", subdomain: "s", hostAliases: [{ ip: "1.1.1.1", hostnames: ["a", "b"] }] }), "10.244.1.2", "node-1", "cluster.local");
    assert.match(text, /^10\.244\.1\.2\th\.s\.app\.svc\.cluster\.local\th$/m);
    assert.match(text, /^1\.1\.1\.1\ta\tb$/m);
  });
  it("a host name is at most 63 characters", () => assert.equal(hostnameOf(pod({}, { name: `${"a".repeat(62)}-bbb` }), "n").length, 62));
});

describe("privileges", () => {
  const all: IdMap = { uids: parseIdMap("         0          0 4294967295\n"), gids: [[0, 4294967295]], setgroups: true };
  const one: IdMap = { uids: parseIdMap("         0       1000          1\n"), gids: [[0, 1]], setgroups: false };
  const root: ImageUser = { uid: 0, gid: 0, groups: [] };
  const of = (own: ContainerSpec["securityContext"], shared: NodePodSpec["securityContext"] = {}, image = root, ids = all) => privilegesOf(pod({ securityContext: shared ?? {} }), { name: "main", ...(own ? { securityContext: own } : {}) }, image, ids);
  const args = (r: ReturnType<typeof of>) => ("setpriv" in r ? r.setpriv.join(" ") : r.problem);
  it("default: Docker's capabilities, root", () => assert.match(args(of({})), /^--bounding-set=-all,\+audit_write,\+chown,.*\+sys_chroot --inh-caps=-all --reuid=0 --regid=0 --clear-groups$/));
  it("drop ALL and add one", () => assert.match(args(of({ capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } })), /^--bounding-set=-all,\+net_admin --inh/));
  it("drop ALL without more leaves none", () => assert.match(args(of({ capabilities: { drop: ["ALL"] } })), /^--bounding-set=-all --inh/));
  it("privileged has no bound", () => assert.doesNotMatch(args(of({ privileged: true })), /bounding/));
  it("the container wins over the pod, the pod over the image", () => assert.match(args(of({ runAsUser: 5 }, { runAsUser: 6, runAsGroup: 7, fsGroup: 8, supplementalGroups: [9] }, { uid: 1, gid: 1, groups: [] })), /--reuid=5 --regid=7 --groups=9,8/));
  it("a user without a group has group 0", () => assert.match(args(of({ runAsUser: 5 }, {}, { uid: 1, gid: 1, groups: [] })), /--reuid=5 --regid=0 /));
  it("in a user namespace of one user: root, with the groups there are", () => assert.match(args(of({}, {}, root, one)), /--reuid=0 --regid=0 --keep-groups$/));
  it("who stands in for everyone else, and that is said", () => {
    const r = of({ runAsUser: 1337, runAsNonRoot: true }, { runAsGroup: 7 }, root, one);
    assert.match(args(r), /--reuid=0 --regid=0 --keep-groups$/);
    assert.match("note" in r ? (r.note ?? "") : "", /stands in for user 1337, group 7$/);
  });
  it("no new privileges", () => assert.match(args(of({ allowPrivilegeEscalation: false })), /--no-new-privs/));
  it("runAsNonRoot refuses root", () => assert.match(args(of({ runAsNonRoot: true })), /runAsNonRoot/));
  it("an unknown capability is refused", () => assert.match(args(of({ capabilities: { add: ["FLY"] } })), /unknown capability "fly"/));
  it("an id that is none is refused", () => assert.match(args(of({ runAsUser: -1 })), /not a user or group id/));
});

describe("back-off", () => {
  it("the first restart is at once, then 10 s doubling to 5 min", () => {
    let b: Backoff | undefined;
    const waits: number[] = [];
    for (let now = 0, i = 0; i < 8; i++) {
      const at = retryAt(b, now, CRASH);
      waits.push((at - now) / 1000);
      b = nextBackoff(b, at, CRASH);
      now = at + 1000;
    }
    assert.deepEqual(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
  });
  it("a long run forgets it", () => assert.equal(retryAt({ delayMs: 300_000, sinceMs: 0 }, 700_000, CRASH), 700_000));
});

describe("probe results", () => {
  const run = (kind: "liveness" | "readiness" | "startup", spec: Probe, results: string) => [...results].reduce((s, r) => stepProbe(s, r === "+", spec), initialProbe(kind));
  const rows: [string, "liveness" | "readiness" | "startup", Probe, string, boolean, boolean][] = [
    ["alive before anything is known", "liveness", {}, "", true, false],
    ["not ready before anything is known", "readiness", {}, "", false, false],
    ["ready after one success", "readiness", {}, "+", true, false],
    ["two failures of three do not matter", "readiness", {}, "+--", true, false],
    ["three failures do", "readiness", {}, "+---", false, false],
    ["a success between starts the count anew", "liveness", {}, "--+--", true, false],
    ["liveness kills at its threshold", "liveness", { failureThreshold: 2 }, "+--", false, true],
    ["startup kills too", "startup", { failureThreshold: 1 }, "-", false, true],
    ["a success threshold of two", "readiness", { successThreshold: 2 }, "+", false, false],
    ["and its second success", "readiness", { successThreshold: 2 }, "++", true, false],
  ];
  for (const [name, kind, spec, results, ok, kills] of rows) it(name, () => { const s = run(kind, spec, results); assert.deepEqual([s.ok, probeKills(kind, s, spec)], [ok, kills]); });
});

describe("volume files", () => {
  const data: VolumeData = { configMap: (n) => (n === "cfg" ? { a: Buffer.from("A"), b: Buffer.from("B") } : undefined), secret: () => undefined, token: (i) => (i === 0 ? "tok" : undefined), node };
  const files = (v: Parameters<typeof volumeFiles>[1]) => { const r = volumeFiles(pod(), v, data); return "files" in r ? r.files.map((f) => `${f.path}=${Buffer.from(f.data).toString()}:${f.mode.toString(8)}`) : r.problem; };
  it("a ConfigMap's keys", () => assert.deepEqual(files({ name: "v", configMap: { name: "cfg" } }), ["a=A:644", "b=B:644"]));
  it("items with paths and modes", () => assert.deepEqual(files({ name: "v", configMap: { name: "cfg", items: [{ key: "a", path: "x/y", mode: 0o400 }], defaultMode: 0o600 } }), ["x/y=A:400"]));
  it("a missing object", () => assert.equal(files({ name: "v", secret: { secretName: "no" } }), 'secret "no" not found'));
  it("a missing optional object is an empty volume", () => assert.deepEqual(files({ name: "v", secret: { secretName: "no", optional: true } }), []));
  it("a missing key", () => assert.match(String(files({ name: "v", configMap: { name: "cfg", items: [{ key: "z", path: "z" }] } })), /non-existent key "z"/));
  it("projected: token, ConfigMap and the pod's own fields", () => assert.deepEqual(files({ name: "v", projected: { sources: [
    { serviceAccountToken: { path: "token" } }, { configMap: { name: "cfg", items: [{ key: "a", path: "ca.crt" }] } }, { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } }] } }),
  ["token=tok:644", "ca.crt=A:644", 'labels=a="1"\nb="2":644']));
  it("no token yet", () => assert.match(String(files({ name: "v", projected: { sources: [{ downwardAPI: {} }, { serviceAccountToken: { path: "token" } }] } })), /no token for service account "sa"/));
  for (const bad of ["../x", "/x", "", "a/../b", "..data", "a//b", "."]) it(`refuses the path ${JSON.stringify(bad)}`, () => assert.equal(isSafePath(bad), false));
  it("a token is renewed at 80 % of its life, at the latest after a day", () => { assert.equal(refreshTokenAt(0, 3600), 2880); assert.equal(refreshTokenAt(0, 1e12), 24 * 3600 * 1000); });
  it("names everything a pod refers to", () => assert.deepEqual(referencedObjects(pod({
    volumes: [{ name: "a", configMap: { name: "c1" } }, { name: "b", projected: { sources: [{ secret: { name: "s1" } }] } }],
    containers: [{ name: "m", image: "i", envFrom: [{ secretRef: { name: "s2" } }], env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "c2", key: "k" } } }] }],
  })), { configMaps: ["c1", "c2"], secrets: ["s1", "s2"] }));
});

describe("what a node refuses", () => {
  const rows: [string, Partial<NodePodSpec> & Record<string, unknown>, RegExp | undefined][] = [
    ["nothing of a plain pod", {}, undefined],
    ["an unknown volume type", { volumes: [{ name: "v", nfs: {} } as never] }, /spec\.volumes\[0\]: volume type "nfs"/],
    ["a process namespace that is shared", { shareProcessNamespace: true }, /spec\.shareProcessNamespace/],
    ["a mount of no volume", { containers: [{ name: "m", image: "i", volumeMounts: [{ name: "no", mountPath: "/x" }] }] }, /containers\[0\]\.volumeMounts\[0\]\.name/],
    ["a mount path with ..", { volumes: [{ name: "v", emptyDir: {} }], containers: [{ name: "m", image: "i", volumeMounts: [{ name: "v", mountPath: "/a/../b" }] }] }, /mountPath/],
    ["a container name that is a path", { containers: [{ name: "../x", image: "i" }] }, /containers\[0\]\.name/],
    ["Bidirectional mounts", { volumes: [{ name: "v", emptyDir: {} }], containers: [{ name: "m", image: "i", volumeMounts: [{ name: "v", mountPath: "/a", mountPropagation: "Bidirectional" }] }] }, /Bidirectional/],
  ];
  for (const [name, spec, expected] of rows) it(name, () => { const r = refusals(pod(spec)); if (expected === undefined) assert.deepEqual(r, []); else assert.match(r.join("; "), expected); });
  it("a uid that is a path", () => assert.equal(refusals(pod({}, { uid: "../../x" })).length, 1));
});

describe("logs on disk", () => {
  const lines = (parts: readonly string[], end = true) => {
    const s = new LogSplitter("stdout");
    const out = parts.flatMap((p) => s.push(Buffer.from(p), "T"));
    return [...out, ...(end ? s.end("T") : [])].map((b) => Buffer.from(b).toString());
  };
  it("a line split over two reads is one entry", () => assert.deepEqual(lines(["he", "llo\nwor", "ld\n"]), ["T stdout F hello\n", "T stdout F world\n"]));
  it("an unfinished last line is partial", () => assert.deepEqual(lines(["a\nb"]), ["T stdout F a\n", "T stdout P b\n"]));
  it("an empty line is an entry", () => assert.deepEqual(lines(["\n"]), ["T stdout F \n"]));
  it("a long line is cut", () => { const out = lines([`${"x".repeat(LINE_MAX_BYTES + 1)}\n`]); assert.deepEqual(out.map((l) => [l.slice(0, 11), l.length]), [["T stdout P ", LINE_MAX_BYTES + 12], ["T stdout F ", 13]]); });
  it("reads back what it wrote", () => assert.deepEqual(parseLogLine("2026-01-01T00:00:00Z stderr F a b"), { time: "2026-01-01T00:00:00Z", stream: "stderr", full: true, text: "a b" }));
  it("anything else is no entry", () => assert.equal(parseLogLine("hello"), undefined));
});

describe("small texts", () => {
  it("quantities", () => assert.deepEqual(["100m", "1Gi", "2", "1e3", "1.5k", "x", "1Q"].map(parseQuantity), [0.1, 1024 ** 3, 2, 1000, 1500, undefined, undefined]));
  it("quality of service", () => {
    const resources = (limits: Record<string, string>, requests: Record<string, string> = limits) => ({ containers: [{ name: "m", image: "i", resources: { limits, requests } }] });
    assert.deepEqual([qosClass(pod()), qosClass(pod(resources({ cpu: "1", memory: "1Gi" }))), qosClass(pod(resources({ cpu: "1" }, {})))], ["BestEffort", "Guaranteed", "Burstable"]);
  });
  it("fstab escapes what would split a field", () => assert.equal(renderFstab([{ source: "/a b", target: "/c\\d", type: "none", options: ["bind"] }]), "/a\\040b /c\\134d none bind 0 0\n"));
  it("fstab refuses NUL", () => assert.throws(() => renderFstab([{ source: "/a\0", target: "/", type: "none", options: [] }]), /NUL/));
  it("overlay paths", () => assert.equal(overlayPath("/a:b,c"), "/a\\:b\\,c"));
  it("shell words", () => assert.deepEqual(["a", "a b", "it's", "", "$(x)"].map(quote), ["a", "'a b'", "'it'\\''s'", "''", "'$(x)'"]));
  it("a process runs through the tools inside", () => assert.deepEqual(processArgv("ld.so", { setpriv: ["--x"], cwd: "/w", env: { A: "1" }, argv: ["run", "it"] }),
    ["/dev/.ambit/ld.so", "--library-path", "/dev/.ambit", "/dev/.ambit/setpriv", "--x", "/dev/.ambit/ld.so", "--library-path", "/dev/.ambit", "/dev/.ambit/env", "-i", "-C", "/w", "A=1", "run", "it"]));
});
