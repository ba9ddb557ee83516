// The mesh of the lab from its image archives (`pnpm images:boot`): nothing of the work tree is in its pods.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { meshReady } from "@ambit/cli/mesh";
import { ambit } from "../e2e/cli.fixture.ts";
import { documents, namespaceOf, samplePod, saidBy, saidUntil, serviceOf } from "../e2e/client-log.fixture.ts";
import { TestLab } from "../e2e/lab.fixture.ts";

const ROOT = join(import.meta.dirname, "../..");
/** By component: what runs it, and its container. */
const RUNS: readonly (readonly [component: string, workload: string, container: string])[] = [
  ["istiod-lite", "deployment/istiod", "discovery"], ["cni", "daemonset/istio-cni-node", "install-cni"], ["ztunnel", "daemonset/ztunnel", "istio-proxy"],
];

describe("the mesh from its image archives", function () {
  this.timeout(300_000);
  let lab: TestLab;
  let out: string;
  before(async () => {
    out = mkdtempSync(join(tmpdir(), "ambit-images-"));
    execFileSync(process.execPath, [join(ROOT, "packages/images/src/main.ts"), "--out", out], { stdio: "ignore" });
    lab = await TestLab.start();
  });
  after(async () => {
    await lab?.stop();
    rmSync(out, { recursive: true, force: true });
  });

  it("replaces the mesh of the work tree, and captures, carries and refuses as that does", async () => {
    for (const archive of readdirSync(out).filter((f) => f.endsWith(".tar"))) {
      const loaded = ambit(["lab", "image", "load", join(out, archive), "--state", dirname(lab.kubeconfig)]);
      assert.equal(loaded.code, 0, loaded.err);
    }
    const [tag] = readdirSync(out).flatMap((f) => /^ztunnel-(.+)-\w+\.tar$/.exec(f)?.[1] ?? []);
    for (const [component, workload, container] of RUNS) {
      await lab.kubectl("-n", "istio-system", "set", "image", workload, `${container}=ambit/${component}:${tag}`);
      await lab.kubectl("-n", "istio-system", "rollout", "status", workload, "--timeout=90s");
    }
    await meshReady(lab.client, () => undefined);
    await lab.apply(documents(namespaceOf("t", true), namespaceOf("outside", false), serviceOf("server"), samplePod({ name: "server", node: "node-2", args: ["serve", "--name", "server"] })));
    await lab.ready("t", { enrolled: true });
    const args = ["client", "--url", "http://server.t.svc.cluster.local:8080/", "--every", "50"];
    await lab.apply(documents(samplePod({ name: "friend", node: "node-1", args }), samplePod({ name: "alien", namespace: "outside", node: "node-1", args })));
    await lab.ready("t", { enrolled: true, count: 2 });
    for (const [ns, pod] of [["t", "friend"], ["outside", "alien"]] as const) await saidUntil(lab, ns, pod, (said) => said.some((s) => s.kind === "request" && s.ok === true));
    const begin = Date.now();
    await lab.apply(JSON.stringify({ apiVersion: "security.istio.io/v1", kind: "PeerAuthentication", metadata: { name: "default", namespace: "t" }, spec: { mtls: { mode: "STRICT" } } }));
    await saidUntil(lab, "outside", "alien", (said) => said.some((s) => s.t > begin && s.kind === "request" && s.ok === false));
    await saidUntil(lab, "t", "friend", (said) => said.some((s) => s.t > begin + 500 && s.ok === true));
    assert.deepEqual((await saidBy(lab, "t", "friend")).filter((s) => s.t > begin && s.ok === false), []);
  });
});
