// `ambit install`, `upgrade` and `uninstall` on a cluster that has nothing yet: again and again the same, and at the end nothing.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import { ambitLater, type Ran } from "./cli.fixture.ts";
import { documents, namespaceOf, saidBy, saidUntil, samplePod, serviceOf } from "./client-log.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

const ROOT = join(import.meta.dirname, "../..");
const NS = "istio-system";
/** Rollouts of everything, on a machine that does other things, too. */
const LIMIT_MS = 240_000;
/** Made by the cluster itself, by the minute. */
const PASSING = /^(events|endpointslices|endpoints|leases|componentstatuses|controllerrevisions)/;

describe("installing", function () {
  this.timeout(LIMIT_MS);
  let lab: TestLab;
  let first: { cluster: string[]; nodes: string[]; pods: unknown };

  const run = (...args: string[]): Promise<Ran> => ambitLater([...args, "--state", dirname(lab.kubeconfig)]);
  const done = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run(...args);
    assert.equal(code, 0, `${args.join(" ")}: ${err}${out}`);
    return out;
  };
  const kubectl = (...args: string[]): Promise<string> => lab.kubectl(...args);
  /** Every object there is, by kind and name. */
  const cluster = async (): Promise<string[]> => {
    const kinds = (await kubectl("api-resources", "--verbs=list", "-o", "name")).trim().split("\n").filter((k) => !PASSING.test(k));
    const { items } = JSON.parse(await kubectl("get", kinds.join(","), "-A", "-o", "json")) as { items: KubeObject[] };
    return items.map((o) => `${o.kind} ${o.metadata.namespace ?? ""}/${o.metadata.name}`).sort();
  };
  const versions = async (): Promise<Map<string, string | undefined>> => {
    const { items } = JSON.parse(await kubectl("get", "deploy,ds,svc,cm,sa,roles,rolebindings,clusterroles,clusterrolebindings,networkpolicies,validatingwebhookconfigurations", "-A", "-l", "app.kubernetes.io/part-of=ambit", "-o", "json")) as { items: KubeObject[] };
    // Of what has a status, the generation: the rest changes by itself.
    return new Map(items.map((o) => [`${o.kind} ${o.metadata.name}`, o["status"] === undefined ? o.metadata.resourceVersion : String(o.metadata.generation)]));
  };
  /** Of each node: its CNI configurations, plugins, our folders, and the rules of its network. */
  const nodes = async (): Promise<string[]> => Promise.all(["node-1", "node-2"].map(async (node) => {
    const root = join(dirname(lab.kubeconfig), "nodes", node, "root");
    const files = await lab.run(undefined, "sh", "-c", `cd ${root} && find opt/cni/bin etc/cni/net.d run var/run ! -type d | sort && cat etc/cni/net.d/*`);
    return `${files}\n${(await lab.run(node, "nft", "list", "ruleset")).replaceAll(/packets \d+ bytes \d+/g, "")}`;
  }));
  /** What the mesh may write at a pod. */
  const pods = async (): Promise<unknown> => (await lab.client.list<Pod>(KINDS.pods, "t")).items.map((p) => [p.metadata.name, p.metadata.annotations ?? {}, (p.status?.conditions ?? []).map((c) => c.type).sort()]);

  before(async () => {
    lab = await TestLab.start({ mesh: false });
    await lab.apply(readFileSync(join(ROOT, "manifests/lab/coredns.yaml"), "utf8"));
    await lab.apply(documents(namespaceOf("t", true), serviceOf("server"), samplePod({ name: "server", node: "node-2", args: ["serve", "--name", "server"] }), samplePod({ name: "friend", node: "node-1", args: ["client", "--url", "http://server.t.svc.cluster.local:8080/", "--every", "50"] })));
    await lab.ready("kube-system");
    await lab.ready("t", { count: 2 });
    first = { cluster: await cluster(), nodes: await nodes(), pods: await pods() };
  });
  after(() => lab?.stop());

  it("puts the mesh in, and running pods into the mesh; a second run changes nothing and says so", async () => {
    assert.match(await done("install", "--profile", "lab"), /ambit \S+ is installed: \d+ created/);
    await lab.ready("t", { enrolled: true, count: 2 });
    const once = await versions();
    assert.match(await done("install"), /nothing had to change/);
    assert.deepEqual(await versions(), once);
    assert.match(await done("install", "--dry-run=server"), /a run would change nothing/);
  });

  it("kubectl apply --server-side of the same YAML, twice, makes no difference and no conflict", async () => {
    const file = join(dirname(lab.kubeconfig), "printed.yaml");
    writeFileSync(file, await done("install", "--profile", "lab", "--dry-run"));
    // Another owner of the same values meets no conflict; only tried, so that it does not own them from now on.
    await kubectl("apply", "--server-side", "--dry-run=server", "-f", file);
    await kubectl("apply", "--server-side", "--field-manager=ambit", "-f", file);
    const once = await versions();
    await kubectl("apply", "--server-side", "--field-manager=ambit", "-f", file);
    assert.deepEqual(await versions(), once);
    assert.equal(await kubectl("diff", "--server-side", "--field-manager=ambit", "-f", file), "");
    const [webhook] = (JSON.parse(await kubectl("get", "validatingwebhookconfigurations", `istio-validator-${NS}`, "-o", "json")) as { webhooks: { failurePolicy: string; clientConfig: { caBundle: string } }[] }).webhooks;
    assert.equal(webhook?.failurePolicy, "Fail");
    assert.ok(webhook.clientConfig.caBundle.length > 100);
    assert.match(await done("install"), /nothing had to change/);
  });

  it("upgrades part by part without a failed request, and prunes what is no more wanted", async () => {
    const begin = Date.now();
    assert.match(await done("upgrade", "--set", "global.networkPolicy.enabled=false", "--set-string", "ztunnel.podAnnotations.turn=2,istiod.podAnnotations.turn=2,cni.podAnnotations.turn=2"), /3 changed, 2 pruned/);
    assert.equal(await kubectl("-n", NS, "get", "networkpolicies", "-o", "name"), "");
    await saidUntil(lab, "t", "friend", (said) => said.some((s) => s.t > Date.now() - 500 && s.ok === true));
    const said = (await saidBy(lab, "t", "friend")).filter((s) => s.t > begin && s.kind === "request");
    assert.ok(said.length > 20, String(said.length));
    assert.deepEqual(said.filter((s) => s.ok !== true), []);
  });

  it("refuses, with the reason, what it must not do", async () => {
    const patch = (kind: string, name: string, change: object): Promise<string> => kubectl("-n", NS, "patch", kind, name, "--type=merge", "-p", JSON.stringify(change));
    const record = (version: string): Promise<string> => patch("configmap", "ambit-install", { data: { version } });
    const refused = async (says: RegExp, ...args: string[]): Promise<void> => {
      const { code, err } = await run(...args);
      assert.notEqual(code, 0, args.join(" "));
      assert.match(err, says);
    };
    await record("99.0.0");
    await refused(/99\.0\.0 is installed, and this is ambit .*: going back is not supported/, "upgrade");
    await record("0.0.1");
    assert.match(await done("upgrade"), /upgraded from 0\.0\.1 to/);

    await patch("deployment", "istiod", { metadata: { labels: { "app.kubernetes.io/managed-by": "Helm" }, annotations: { "meta.helm.sh/release-name": "other" } } });
    await refused(/Deployment istio-system\/istiod belongs to Helm's release other.*--take-over/, "install");
    assert.match(await done("install", "--take-over"), /1 changed/);

    await patch("deployment", "istiod", { spec: { replicas: 2 } });
    await refused(/Deployment istio-system\/istiod: .*conflict.*replicas.*--take-over/s, "install");
    assert.match(await done("install", "--take-over"), /1 changed/);

    await refused(/cni\.binDirectory: there is no such value/, "install", "--set", "cni.binDirectory=/x");
    await refused(/there is no profile "k9s": .*k3s/, "install", "--profile", "k9s");
    await refused(/nothing to upgrade: no record of an installation/, "upgrade", "--namespace", "elsewhere");
  });

  it("a second control plane stands beside the first, serves the proxies that are sent to it, and goes", async () => {
    assert.match(await done("install", "--revision", "canary"), /is installed: \d+ created/);
    assert.match(await done("upgrade", "--set", "ztunnel.revision=canary"), /1 changed/);
    const busy = await run("uninstall", "--revision", "canary");
    assert.match(busy.err, /in use by DaemonSet ztunnel/);
    assert.match((await run("uninstall")).err, /other control planes stand beside it: ambit uninstall --revision canary first/);
    assert.match(await done("upgrade", "--set", "ztunnel.revision=default", "--no-wait"), /1 changed/);
    await done("uninstall", "--revision", "canary");
    assert.deepEqual((await kubectl("get", "deploy,sa,svc,roles,rolebindings,clusterroles,clusterrolebindings,cm,leases", "-A", "-o", "name")).split("\n").filter((n) => n.includes("canary")), []);
  });

  it("uninstall takes pods out first, and leaves nodes and cluster as they were", async () => {
    const out = await done("uninstall", "--purge");
    assert.match(out, /namespaces stay labelled for the mesh and talk in clear from now on: t/);
    const now = Date.now();
    await saidUntil(lab, "t", "friend", (said) => said.some((s) => s.t > now && s.kind === "request" && s.ok === true));
    await lab.until(KINDS.namespaces, undefined, (all) => !all.some((n) => n.metadata.name === NS));
    assert.deepEqual(await cluster(), first.cluster);
    assert.deepEqual(await nodes(), first.nodes);
    assert.deepEqual(await pods(), first.pods);
    for (const pod of await lab.ready("t")) assert.equal((await lab.inPodNetwork(pod, "nft", "list", "ruleset")).trim(), "", pod.metadata.name);
    assert.match((await run("uninstall")).err, /nothing to uninstall: no record/);
  });
});
