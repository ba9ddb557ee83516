// Istio's ambient getting-started objects, unmodified in shape: the namespace label, L4 AuthorizationPolicy, PeerAuthentication.
import assert from "node:assert/strict";
import { KINDS, type Condition, type Kind, type KubeObject } from "@ambit/kube";
import { accountOf, documents, namespaceOf, samplePod, saidBy, saidUntil, serviceOf } from "./client-log.fixture.ts";
import { ambit, ambitLater } from "./cli.fixture.ts";
import { TestCluster } from "./cluster.fixture.ts";

const CLIENT = ["client", "--url", "http://server.t.svc.cluster.local:8080/", "--hold", "server.t:9080", "--every", "50"];

const ALLOW = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: server-viewer
  namespace: t
spec:
  selector:
    matchLabels:
      app: server
  action: ALLOW
  rules:
  - from:
    - source:
        principals:
        - cluster.local/ns/t/sa/friend
`;
const STRICT = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: t
spec:
  mtls:
    mode: STRICT
`;

const VALIDATORS: Kind = { group: "admissionregistration.k8s.io", version: "v1", plural: "validatingwebhookconfigurations", kind: "ValidatingWebhookConfiguration", namespaced: false };

describe("Istio's own objects", function () {
  this.timeout(120_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestCluster;
  before(async () => {
    lab = await TestCluster.start();
    await lab.apply(documents(
      namespaceOf("t", true), namespaceOf("outside", false), accountOf("friend"), accountOf("stranger"), accountOf("server"), serviceOf("server"),
      samplePod({ name: "server", account: "server", node: "node-2", args: ["serve", "--name", "server"] }),
    ));
    await lab.ready("t", { enrolled: true });
    await lab.apply(documents(
      samplePod({ name: "friend", account: "friend", node: "node-1", args: CLIENT }), samplePod({ name: "stranger", account: "stranger", node: "node-2", args: CLIENT }),
      samplePod({ name: "alien", namespace: "outside", node: "node-1", args: CLIENT }),
    ));
    await lab.ready("t", { enrolled: true, count: 3 });
    await lab.ready("outside", { enrolled: false });
  });
  after(() => lab.stop());
  const served = (since: number) => (said: Awaited<ReturnType<typeof saidBy>>) => said.some((s) => s.t > since && s.kind === "request" && s.ok === true);
  const refused = (since: number) => (said: Awaited<ReturnType<typeof saidBy>>) => said.some((s) => s.t > since && s.kind === "request" && s.ok === false);
  const now = async () => Date.now();

  it("without policies everyone is served: enrolled on both nodes, and not enrolled", async () => {
    for (const [ns, pod] of [["t", "friend"], ["t", "stranger"], ["outside", "alien"]] as const) await saidUntil(lab, ns, pod, served(0));
  });

  it("ambit verify proves who talks mutual TLS, names both, and says who does not", async () => {
    const verify = (...pods: string[]) => ambitLater(["verify", ...pods, ...lab.cliOptions]);
    const proven = await verify("t/friend", "t/server");
    assert.match(proven.out, /^PROVEN: t\/friend → t\/server speak mutual TLS\n +wire +[\d.]+:\d+ → [\d.]+:15008, TLSv1\.3 TLS_AES_\w+, told alike by both ztunnels\n +client +spiffe:\/\/cluster\.local\/ns\/t\/sa\/friend\n +server +spiffe:\/\/cluster\.local\/ns\/t\/sa\/server\n/, proven.err);
    assert.match(proven.out, /\n +door +TLSv1\.3 \w+, spiffe:\/\/cluster\.local\/ns\/t\/sa\/server, by the mesh's root; who shows no certificate is refused\n$/);
    assert.equal(proven.code, 0);
    const plain = await verify("outside/alien", "t/server");
    assert.match(plain.out, /^DISPROVEN: outside\/alien → t\/server: outside\/alien is not enrolled/);
    assert.equal(plain.code, 1);
    const silent = await verify("t/server", "t/friend", "--wait", "1");
    assert.match(silent.out, /^UNKNOWN: t\/server → t\/friend: no connection/);
    assert.equal(silent.code, 3);
    const all = await verify();
    assert.match(all.out, /t\/friend +t\/server +proven[^]*t\/stranger +t\/server +proven/);
  });

  it("ALLOW for one principal refuses everyone else and cuts what they hold", async () => {
    const begin = await now();
    await lab.kubectl("apply", "-f", await tempFile(ALLOW));
    await saidUntil(lab, "t", "stranger", (said) => refused(begin)(said) && said.some((s) => s.t > begin && s.event === "closed"));
    await saidUntil(lab, "outside", "alien", refused(begin));
    const friend = await saidUntil(lab, "t", "friend", served(begin + 500));
    assert.deepEqual(friend.filter((s) => s.t > begin && (s.ok === false || s.event === "closed")), []);
    const cut = (await saidBy(lab, "t", "stranger")).find((s) => s.t > begin && s.event === "closed");
    assert.ok((cut?.t ?? Infinity) - begin < 2_000, "cut within 2 s");
    const [policy] = await lab.until<KubeObject>(KINDS.authorizationPolicies, "t", (p) => conditions(p[0]).some((c) => c.type === "ZtunnelAccepted"));
    assert.equal(conditions(policy).find((c) => c.type === "ZtunnelAccepted")?.status, "True");
  });

  it("deleting it lets them in again", async () => {
    await lab.kubectl("-n", "t", "delete", "authorizationpolicy", "server-viewer");
    const begin = await now();
    await saidUntil(lab, "t", "stranger", served(begin));
    await saidUntil(lab, "outside", "alien", served(begin));
  });

  it("PeerAuthentication STRICT refuses plaintext and nothing else", async () => {
    const begin = await now();
    await lab.kubectl("apply", "-f", await tempFile(STRICT));
    await saidUntil(lab, "outside", "alien", refused(begin));
    const friend = await saidUntil(lab, "t", "friend", served(begin + 500));
    assert.deepEqual(friend.filter((s) => s.t > begin && s.ok === false), []);
    await lab.kubectl("-n", "t", "delete", "peerauthentication", "default");
    await saidUntil(lab, "outside", "alien", served(await now()));
  });

  it("a rule for HTTP in a selector policy is refused and says so in status", async () => {
    await lab.kubectl("apply", "-f", await tempFile(ALLOW.replace("  - from:", "  - to:\n    - operation:\n        methods: [GET]\n    from:")));
    const [policy] = await lab.until<KubeObject>(KINDS.authorizationPolicies, "t", (p) => conditions(p[0]).some((c) => c.type === "ZtunnelAccepted" && c.reason === "UnsupportedValue"));
    assert.match(conditions(policy).find((c) => c.type === "ZtunnelAccepted")?.message ?? "", /methods|HTTP/);
    const begin = await now();
    // The only ALLOW rule is left out: nobody is allowed.
    await saidUntil(lab, "t", "friend", refused(begin));
    await lab.kubectl("-n", "t", "delete", "authorizationpolicy", "server-viewer");
  });

  it("what the mesh would not understand is refused where it is written, in the words of its status", async () => {
    // Open until it is proven to work: the leader says when.
    await lab.until<KubeObject>(VALIDATORS, undefined, (all) => all.some((c) => (c["webhooks"] as { failurePolicy: string }[]).every((w) => w.failurePolicy === "Fail")));
    const wrong = await tempFile(ALLOW.replace("principals:", "ipBlocks:").replace("cluster.local/ns/t/sa/friend", "10.0.0.0/33"));
    await assert.rejects(lab.kubectl("apply", "-f", wrong), /admission webhook "rev\.validation\.istio\.io" denied the request: AuthorizationPolicy t\/server-viewer is not understood: spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[0\]/);
    const offline = ambit(["analyze", "-f", wrong]);
    assert.equal(offline.code, 1);
    assert.match(offline.out, /object\.yaml:16: Error \[IST0106\] AuthorizationPolicy t\/server-viewer: spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[0\]/);
    await lab.kubectl("apply", "--dry-run=server", "-f", await tempFile(ALLOW));
  });

  it("the namespace label taken away releases every pod, and they still talk", async () => {
    await lab.kubectl("label", "namespace", "t", "istio.io/dataplane-mode-");
    await lab.ready("t", { enrolled: false, count: 3 });
    await saidUntil(lab, "t", "friend", served(await now()));
    await lab.kubectl("label", "namespace", "t", "istio.io/dataplane-mode=ambient");
    await lab.ready("t", { enrolled: true, count: 3 });
    await saidUntil(lab, "t", "friend", served(await now()));
  });
});

const conditions = (o: KubeObject | undefined): Condition[] => ((o?.["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? []);

async function tempFile(text: string): Promise<string> {
  const { mkdtempSync, writeFileSync } = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const dir = mkdtempSync(join(tmpdir(), "ay-"));
  const file = join(dir, "object.yaml");
  writeFileSync(file, text);
  files.push(dir);
  return file;
}
const files: string[] = [];
after(async () => {
  const { rmSync } = await import("node:fs");
  for (const dir of files) rmSync(dir, { recursive: true, force: true });
});
