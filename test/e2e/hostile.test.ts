// Bad input from every side of a running mesh: each gets an answer that names what and where, nothing crashes, the last good
// state stays, and afterwards everything still works.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { KINDS, type Condition, type KubeObject, type Pod } from "@ambit/kube";
import { accountOf, documents, namespaceOf, samplePod, saidUntil, serviceOf } from "./client-log.fixture.ts";
import { Kubectl } from "./kubectl.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

const PROGRAM = join(import.meta.dirname, "programs/garbage.ts");
const PLUGIN = join(import.meta.dirname, "../../packages/cni/src/plugin/main.ts");
const PARTS = ["istiod-lite/src/main.ts", "packages/cni/src/main.ts", "ztunnel/src/main.ts", "lab/src/apiserver/main.ts", "lab/src/controllers/main.ts", "lab/src/node/main.ts", "lab/src/dns/main.ts"];
/** Speaks to a SOCK_SEQPACKET (5) unix socket: messages of nobody's protocol, one too long, and many that say nothing. */
const ZDS_NOISE = String.raw`
  $SIG{PIPE} = "IGNORE"; my $to = pack("Sa108", 1, $ARGV[0]); my @held;
  for my $say ("", "x", "\0" x 9, "\x08\x96\x01" x 300, join("", map { chr(($_ * 7919) % 256) } 1 .. 1024), "y" x 60000, "\x12\x04\x0a\x02hi") {
    socket(my $s, 1, 5, 0) or die $!; connect($s, $to) or die "connect: $!"; send($s, $say, 0) for 1 .. 3; close $s }
  for (1 .. 50) { socket(my $s, 1, 5, 0) or die $!; push @held, $s if connect($s, $to) }
  print scalar @held, "\n"; sleep 1;`;

const policy = (name: string, spec: unknown, kind = "AuthorizationPolicy"): string => JSON.stringify({ apiVersion: "security.istio.io/v1", kind, metadata: { name, namespace: "t" }, spec });
const rule = (source: unknown, more: Record<string, unknown> = {}): unknown => ({ selector: { matchLabels: { app: "server" } }, action: "ALLOW", rules: [{ from: [{ source }], ...more }] });

/** Each is refused at admission, or admitted, named in status, and denies what it selects. */
const MALFORMED: readonly (readonly [string, string, RegExp])[] = [
  ["a CIDR that is none", policy("bad", rule({ ipBlocks: ["10.0.0.0/99"] })), /ipBlocks|10\.0\.0\.0\/99/],
  ["a CIDR of words", policy("bad", rule({ ipBlocks: ["everyone"] })), /ipBlocks|everyone/],
  ["port 70000", policy("bad", { ...(rule({ namespaces: ["t"] }) as object), rules: [{ to: [{ operation: { ports: ["70000"] } }] }] }), /ports|70000/],
  ["a port of words", policy("bad", { ...(rule({ namespaces: ["t"] }) as object), rules: [{ to: [{ operation: { ports: ["http"] } }] }] }), /ports|http/],
  ["an unknown field", policy("bad", rule({ principalz: ["x"] })), /principalz/],
  ["an empty source", policy("bad", rule({})), /source|empty|from/],
  ["a wrong action", policy("bad", { action: "PERMIT", rules: [{}] }), /action[^]*PERMIT|PERMIT/],
  ["a list that is text", policy("bad", rule({ principals: "x" })), /principals/],
  ["a wrong condition", policy("bad", { ...(rule({ namespaces: ["t"] }) as object), rules: [{ when: [{ key: "no.such.key", values: ["x"] }] }] }), /no\.such\.key|when/],
  ["a selector that is a list", policy("bad", { selector: [], rules: [{}] }), /selector/],
  ["a wrong mode", policy("bad", { mtls: { mode: "SOMETIMES" } }, "PeerAuthentication"), /mode[^]*SOMETIMES|SOMETIMES/],
  ["port 0 of a PeerAuthentication", policy("bad", { selector: { matchLabels: { app: "server" } }, portLevelMtls: { "0": { mode: "STRICT" } } }, "PeerAuthentication"), /port/i],
];

describe("bad input to a running mesh", function () {
  this.timeout(120_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestLab;
  let kubectl: Kubectl;
  let pods: Pod[];
  let before_: number[][];
  before(async () => {
    lab = await TestLab.start();
    kubectl = new Kubectl(lab.kubeconfig);
    await lab.apply(documents(
      namespaceOf("t", true), namespaceOf("outside", false), accountOf("friend"), accountOf("stranger"), accountOf("server"), serviceOf("server"),
      policy("good", { selector: { matchLabels: { app: "server" } }, action: "DENY", rules: [{ from: [{ source: { principals: ["cluster.local/ns/t/sa/stranger"] } }] }] }),
      samplePod({ name: "server", account: "server", node: "node-2", args: ["serve", "--name", "server"] }),
    ));
    await lab.ready("t", { enrolled: true, count: 1 });
    for (const name of ["friend", "stranger"]) await lab.apply(samplePod({ name, account: name, node: "node-1", args: ["client", "--url", "http://server.t:8080/", "--every", "50"] }));
    pods = await lab.ready("t", { enrolled: true, count: 3 });
    await works();
    before_ = PARTS.map((part) => lab.pids(part));
  });
  after(async () => {
    kubectl?.close();
    await lab?.stop();
  });

  /** One is served and the other refused, from now on. */
  async function works(): Promise<void> {
    const now = Date.now();
    await saidUntil(lab, "t", "friend", (said) => said.filter((s) => s.t > now).slice(-5).length === 5 && said.slice(-5).every((s) => s.ok === true));
    await saidUntil(lab, "t", "stranger", (said) => said.some((s) => s.t > now && s.ok === false));
  }
  const unhurt = () => assert.deepEqual(PARTS.map((part) => lab.pids(part)), before_, "every process is the same as before");

  for (const [name, object, expected] of MALFORMED) it(`${name} is refused by name, or denies and says so`, async () => {
    const said = await kubectl.run("apply -f -", { input: object });
    const { kind } = JSON.parse(object) as { kind: string };
    if (said.code !== 0) assert.match(said.both, expected);
    else {
      const kinds = kind === "PeerAuthentication" ? KINDS.peerAuthentications : KINDS.authorizationPolicies;
      const conditionsOf = (items: KubeObject[]) => ((items.find((i) => i.metadata.name === "bad")?.["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? []);
      const items = await lab.until<KubeObject>(kinds, "t", (all) => conditionsOf(all).some((c) => c.type === "ZtunnelAccepted"));
      const condition = conditionsOf(items).find((c) => c.type === "ZtunnelAccepted");
      assert.match(condition?.message ?? "", expected);
      assert.notEqual(condition?.reason, "Accepted");
      const now = Date.now();
      if (kind !== "PeerAuthentication") await saidUntil(lab, "t", "friend", (all) => all.some((s) => s.t > now && s.ok === false));
      await lab.kubectl("-n", "t", "delete", kind, "bad");
    }
    await works();
  });

  it("a good policy made bad is not weaker than before", async () => {
    await kubectl.run("apply -f -", { input: policy("good", rule({ ipBlocks: ["x"] })) });
    const now = Date.now();
    const stranger = await saidUntil(lab, "t", "stranger", (said) => said.filter((s) => s.t > now).length > 20);
    assert.deepEqual(stranger.filter((s) => s.t > now && s.ok === true), []);
    await lab.apply(policy("good", { selector: { matchLabels: { app: "server" } }, action: "DENY", rules: [{ from: [{ source: { principals: ["cluster.local/ns/t/sa/stranger"] } }] }] }));
    await works();
  });

  it("garbage and half-open connections on every port", async () => {
    const system = (await lab.client.list<Pod>(KINDS.pods)).items;
    const ip = (label: string, value: string) => system.find((p) => p.metadata.labels?.[label] === value)?.status?.podIP ?? "";
    const server = pods.find((p) => p.metadata.name === "server")?.status?.podIP ?? "";
    const targets = [`${server}:15001`, `${server}:15006`, `${server}:15008`, `${server}:8080`, `${ip("app", "istiod")}:15012`, `${ip("app", "istiod")}:15014`, `${ip("app", "ztunnel")}:15021`, `${ip("app", "ztunnel")}:15020`, "172.30.0.11:10250", "172.30.0.1:6443", "10.96.0.10:53"];
    await lab.apply(JSON.stringify({
      apiVersion: "v1", kind: "Pod", metadata: { name: "noise", namespace: "outside" },
      spec: { restartPolicy: "Never", nodeSelector: { "kubernetes.io/hostname": "node-1" }, containers: [{ name: "c", image: "ambit/sample:lab", command: [process.execPath, PROGRAM, ...targets] }] },
    }));
    await lab.until<Pod>(KINDS.pods, "outside", (all) => all.some((p) => ["Succeeded", "Failed"].includes(p.status?.phase ?? "")), 60_000);
    const text = await lab.kubectl("-n", "outside", "logs", "noise");
    const report = JSON.parse(text) as Record<string, { closed: number; silent: number; refused: number; open: number }>;
    assert.deepEqual(Object.keys(report).sort(), [...targets].sort());
    // Whoever listens for TLS ends a peer that does not speak it.
    for (const port of [15008, 15012, 6443, 10250]) {
      const [target, seen] = Object.entries(report).find(([t]) => t.endsWith(`:${port}`)) ?? ["", undefined];
      assert.ok((seen?.closed ?? 0) > 0 && seen?.refused === 0, `${target}: ${JSON.stringify(seen)}`);
    }
    unhurt();
    await works();
  });

  it("garbage on the agent's sockets", async () => {
    const root = join(dirname(lab.kubeconfig), "nodes/node-1/root/run");
    const held = await lab.run(undefined, "perl", "-e", ZDS_NOISE, join(root, "ztunnel/ztunnel.sock"));
    assert.match(held, /^\d+\n$/);
    for (const noise of ["nonsense\r\n\r\n", "POST /cmdadd HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{]}", `POST /cmdadd HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n${"x".repeat(100_000)}`, "GET /else HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 'POST /cmdadd HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 81\r\n\r\n{"Netns":"/etc/passwd","PodName":"friend","PodNamespace":"t","IPs":[{"bad":true}]}'])
      await lab.run(undefined, process.execPath, "-e", "const s=require('net').connect(process.argv[1],()=>s.end(process.argv[2]));s.on('data',(d)=>process.stdout.write(d));s.on('error',()=>{});setTimeout(()=>s.destroy(),500)", join(root, "istio-cni/pluginevent.sock"), noise).then((answer) => assert.doesNotMatch(answer, /^HTTP\/1\.1 200/));
    unhurt();
    // The agent still enrols, and its ztunnel still takes pods.
    await lab.apply(samplePod({ name: "late", account: "friend", node: "node-1", args: ["client", "--url", "http://server.t:8080/"] }));
    await lab.ready("t", { enrolled: true, count: 4 });
    await saidUntil(lab, "t", "late", (said) => said.some((s) => s.ok === true));
    await works();
  });

  const conf = (more: object) => JSON.stringify({ cniVersion: "1.0.0", name: "k", type: "istio-cni", ambient_enabled: true, cni_agent_run_dir: "/no/such/dir", prevResult: { cniVersion: "1.0.0", ips: [] }, ...more });
  const POD_ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=t;K8S_POD_NAME=x";
  for (const [name, env, input, expected] of [
    ["no configuration", {}, "", { code: 6, msg: /not JSON/ }], ["a list", {}, "[1]", { code: 7, msg: /must be a JSON object/ }], ["prevResult of text", {}, conf({ prevResult: "x" }), { code: 7, msg: /prevResult must be/ }],
    ["addresses of numbers", {}, conf({ prevResult: { ips: [{ address: 7 }] } }), { code: 7, msg: /prevResult\.ips\[0\]\.address/ }], ["selectors of text", {}, conf({ enablement_selectors: "x" }), { code: 7, msg: /enablement_selectors/ }],
    ["a run folder of numbers", {}, conf({ cni_agent_run_dir: 5 }), { code: 7, msg: /cni_agent_run_dir must be text/ }], ["an unknown command", { CNI_COMMAND: "HELLO" }, conf({}), { code: 4, msg: /"HELLO" is unknown/ }],
    ["no agent on the node", {}, conf({}), { code: 11, msg: /cannot find out whether pod t\/x belongs to the mesh/ }],
  ] as const) it(`the CNI plugin with ${name}: an error the runtime understands`, () => {
    const done = spawnSync(process.execPath, [PLUGIN], { input, encoding: "utf8", env: { ...process.env, CNI_COMMAND: "ADD", CNI_ARGS: POD_ARGS, CNI_NETNS: "/no/such/netns", CNI_CONTAINERID: "c", CNI_IFNAME: "eth0", ...env } });
    const said = JSON.parse(done.stdout) as { code: number; msg: string };
    assert.equal(done.status, 1);
    assert.equal(said.code, expected.code, said.msg);
    assert.match(said.msg, expected.msg);
  });
});
