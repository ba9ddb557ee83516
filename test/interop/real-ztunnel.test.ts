// The real ztunnel under our control plane and our node agent, alone and as the other end of ours. `ZTUNNEL=/path/to/binary pnpm interop`.
import assert from "node:assert/strict";
import { join } from "node:path";
import { KINDS, type Pod } from "@ambit/kube";
import { documents, namespaceOf } from "../e2e/client-log.fixture.ts";
import { TestLab } from "../e2e/lab.fixture.ts";
import { choose, offerRealZtunnel, type Choice } from "./real-ztunnel.fixture.ts";

const binary = process.env["ZTUNNEL"] ?? "";
const PROGRAM = join(import.meta.dirname, "../e2e/programs/streams.ts");
const CHECKS = [["sink", 32_000_000], ["source", 32_000_000], ["echo", 16_000_000], ["half", 0], ["slow", 2_000], ["many", 300]] as const;
const SIDES: readonly (readonly [string, Choice])[] = [
  ["real at both ends", { "node-1": "real", "node-2": "real" }],
  ["real client, our server", { "node-1": "real", "node-2": "ambit" }],
  ["our client, real server", { "node-1": "ambit", "node-2": "real" }],
];
const DENY = JSON.stringify({ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "no-client", namespace: "t" }, spec: { action: "DENY", rules: [{ from: [{ source: { principals: ["cluster.local/ns/t/sa/default"] } }] }] } });

const pod = (name: string, node: string, args: readonly string[], restartPolicy = "Always"): string => JSON.stringify({
  apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "t", labels: { app: name } },
  spec: { restartPolicy, nodeSelector: { "kubernetes.io/hostname": node }, terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "ambit/sample:lab", command: [process.execPath, PROGRAM, ...args] }] },
});

describe("the real ztunnel", function () {
  this.timeout(180_000);
  let lab: TestLab;
  let runs = 0;
  before(async function () {
    if (binary === "") {
      console.log("      the real ztunnel is absent: give its path in ZTUNNEL to run these");
      this.skip();
    }
    lab = await TestLab.start();
    await lab.apply(namespaceOf("t", true));
    await lab.until(KINDS.serviceAccounts, "t", (accounts) => accounts.length > 0);
    await offerRealZtunnel(lab, binary);
    await lab.apply(documents(pod("server", "node-2", ["serve", "7000"])));
    await lab.ready("t", { enrolled: true });
  });
  after(() => lab?.stop());

  async function check(name: string, number: number): Promise<Record<string, unknown>> {
    const server = await lab.client.get<Pod>(KINDS.pods, "t", "server");
    const run = `${name}-${++runs}`;
    await lab.apply(pod(run, "node-1", ["check", server.status?.podIP ?? "", "7000", name, String(number)], "Never"));
    await lab.until<Pod>(KINDS.pods, "t", (pods) => pods.some((p) => p.metadata.name === run && (p.status?.phase === "Succeeded" || p.status?.phase === "Failed")), 60_000);
    const said = (await lab.kubectl("-n", "t", "logs", run)).trim();
    await lab.kubectl("-n", "t", "delete", "pod", run);
    assert.ok(said.startsWith("{"), `${run} said: ${said}`);
    return JSON.parse(said) as Record<string, unknown>;
  }

  for (const [title, choice] of SIDES) describe(title, () => {
    before(() => choose(lab, choice));
    for (const [name, number] of CHECKS) it(`${name} ${number}`, async () => {
      const said = await check(name, number);
      assert.equal(said["ok"], true, JSON.stringify(said));
    });

    it("a reset ends the connection", async () => {
      // The real one, at either end, hands a reset on as an end: ours alone keeps it (test/e2e/streams.test.ts).
      const said = await check("reset", 0);
      assert.ok(said["ok"] === true || said["error"] === undefined, JSON.stringify(said));
    });

    it("refuses by policy, and serves again without it", async () => {
      await lab.apply(DENY);
      const refused = await eventually(() => check("sink", 1_000), (said) => said["ok"] !== true);
      assert.ok(refused, "nothing was refused");
      await lab.kubectl("-n", "t", "delete", "authorizationpolicy", "no-client");
      assert.ok(await eventually(() => check("sink", 1_000), (said) => said["ok"] === true), "still refused");
    });
  });
});

/** A policy takes a moment to travel; each try is a pod of its own. */
async function eventually<T>(ask: () => Promise<T>, test: (said: T) => boolean, tries = 5): Promise<boolean> {
  for (let i = 0; i < tries; i++) if (test(await ask())) return true;
  return false;
}
