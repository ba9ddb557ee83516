// The life of a lab as its user leads it: up, looked at, down with its state kept, up again, killed; and nothing left behind.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KINDS, KubeClient, parseKubeconfig, parseManifests, applyManifests, type KubeObject, type Pod } from "@ambit/kube";
import { ambit, ambitLater } from "./cli.fixture.ts";
import { accountOf, documents, namespaceOf, samplePod } from "./client-log.fixture.ts";
import { isEnrolled, isReady } from "./cluster.fixture.ts";

const NOBODY = 65534;
const GONE_MS = 2_000;
const READY_MS = 40_000;
/** What a lab names its links, namespaces and tables: none of these may ever be seen on the machine itself. */
const OURS = /\b(fabric0|port-\d+|node-\d+|cni0|ambit|istio|10\.244\.\d+|172\.30\.0)\b/;

describe("the life of a lab", function () {
  this.timeout(150_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let folder: string;
  let state: string;
  let root: string;
  let uid: string | undefined;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "al-"));
    state = join(folder, "s");
  });
  after(() => {
    ambit(["lab", "down", "--state", state]);
    rmSync(folder, { recursive: true, force: true });
  });
  const lab = (...args: string[]) => ambit(["lab", ...args, "--state", state]);

  it("lab up --detach, and a second one on the same state says so", () => {
    const up = lab("up", "--detach", "--port", "0");
    assert.equal(up.code, 0, up.out + up.err);
    assert.match(up.out, /the lab is up, in the background[^]*export KUBECONFIG=[^]*lab down/);
    for (const more of [[], ["--detach"]]) {
      const second = lab("up", "--port", "0", ...more);
      assert.equal(second.code, 1);
      assert.match(second.err, new RegExp(`^ambit: a lab is already running (on|\\(process \\d+, state) ${state}[^\n]*\n$`));
    }
  });

  it("lab status, kubeconfig and exec look into it", async () => {
    assert.match(lab("status").out, /node-1 +yes +\d+ +\d+ +0\nnode-2 +yes/);
    const { running, nodes, kubeconfig } = JSON.parse(lab("status", "-o", "json").out) as { running: boolean; nodes: { ready: boolean }[]; kubeconfig: string };
    assert.deepEqual([running, nodes.map((n) => n.ready), kubeconfig], [true, [true, true], join(state, "kubeconfig")]);
    assert.equal(lab("kubeconfig").out, `${kubeconfig}\n`);
    assert.equal(lab("kubeconfig", "--raw").out, readFileSync(kubeconfig, "utf8"));
    assert.equal(statSync(kubeconfig).mode & 0o077, 0, "others cannot read the administrator's key");
    const inside = (...args: string[]) => ambit(["lab", "exec", "--state", state, ...args]);
    assert.match(inside("fabric", "ip", "-br", "addr").out, /fabric0 .*172\.30\.0\.1\/24/);
    assert.match(inside("node/node-2", "ip", "-br", "addr").out, /eth0\S* .*172\.30\.0\.12\/24/);
    assert.equal(inside("node/node-2", "sh", "-c", "exit 9").code, 9);
    const failures: [string[], RegExp][] = [[["node/node-9", "true"], /no node "node-9".*node-1/], [["nowhere", "true"], /"nowhere"/], [["default/nobody", "true"], /not found/]];
    for (const [args, expected] of failures) {
      const bad = inside(...args);
      assert.ok(bad.code !== 0 && expected.test(bad.err), `${args.join(" ")}: ${bad.code} ${bad.err}`);
    }
    const client = connect();
    await applyManifests(client, parseManifests(documents(namespaceOf("t", true), accountOf("web"), samplePod({ name: "web", account: "web", node: "node-2", args: ["serve"] }),
      JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "kept", namespace: "t" }, data: { a: "1" } })), "test"), { fieldManager: "test" });
    await until(client, () => enrolled(client));
    assert.equal(inside("t/web", "sh", "-c", "echo in; exit 4").code, 4);
    uid = (await client.get(KINDS.configMaps, "t", "kept")).metadata.uid;
    root = await rootOf(client);
    client.close();
  });

  it("lab down --keep ends all but the state", () => {
    const done = lab("down", "--keep");
    assert.match(done.out, /the lab is down; its state is kept in/);
    assert.equal(done.code, 0);
    nothingRuns();
    assert.ok(existsSync(join(state, "apiserver")) && existsSync(join(state, "pki")));
    assert.equal(lab("status").code, 3);
    const failure = lab("kubeconfig");
    assert.deepEqual([failure.code, failure.err], [3, `ambit: no lab is running on ${state}: start one with "ambit lab up"\n`]);
  });

  it("lab up brings it back: the same objects, the same root, pods enrolled", async () => {
    const up = lab("up", "--detach", "--port", "0");
    assert.equal(up.code, 0, up.out + up.err);
    const client = connect();
    assert.equal((await client.get(KINDS.configMaps, "t", "kept")).metadata.uid, uid);
    await until(client, () => enrolled(client));
    assert.equal(await rootOf(client), root);
    await until(client, async () => isReady(await client.get<Pod>(KINDS.pods, "t", "web")));
    client.close();
  });

  it("kill -9 of its keeper takes everything along within 2 s", async () => {
    const { keeper } = JSON.parse(readFileSync(join(state, "lab.json"), "utf8")) as { keeper: number };
    const begin = Date.now();
    process.kill(keeper, "SIGKILL");
    while (processes().length > 0 && Date.now() - begin < GONE_MS) await new Promise((resolve) => setTimeout(resolve, 20));
    nothingRuns();
    assert.equal(lab("status").code, 3);
  });

  it("lab down removes the state that is left, and says when there is none", () => {
    assert.match(lab("down").out, /no lab was running; its kept state is removed/);
    assert.deepEqual(readdirSync(folder), []);
    assert.match(lab("down").out, /no lab is running/);
  });

  it("walks the tour as a user without rights", async function () {
    if (process.getuid?.() !== 0) this.skip(); // only root can become another user
    if (spawnSync("setpriv", ["--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups", "unshare", "--user", "--map-root-user", "true"]).status !== 0) this.skip(); // no user namespaces here
    chownSync(folder, NOBODY, NOBODY);
    const done = await ambitLater(["lab", "up", "--tour", "--exit", "--port", "0"], { as: { uid: NOBODY }, cwd: folder, env: { HOME: folder, AMBIT_LAB_DIR: state } });
    assert.equal(done.code, 0, done.out + done.err);
    assert.match(done.out, /every step proved its claim/);
    nothingRuns();
    assert.ok(!existsSync(state), "the state folder is gone");
  });

  const connect = (): KubeClient => new KubeClient(parseKubeconfig(readFileSync(join(state, "kubeconfig"), "utf8"), "the lab's"));
  const enrolled = async (client: KubeClient): Promise<boolean> => (await client.list<Pod>(KINDS.pods, "t")).items.filter((p) => isReady(p) && isEnrolled(p)).length === 1;
  async function rootOf(client: KubeClient): Promise<string> {
    let found = "";
    await until(client, async () => {
      const map = (await client.list<KubeObject>(KINDS.configMaps, "t")).items.find((m) => m.metadata.name === "istio-ca-root-cert");
      found = (map?.["data"] as Record<string, string> | undefined)?.["root-cert.pem"] ?? "";
      return found !== "";
    });
    return found;
  }

  /** Anything of this lab: a process that names its folder, a mount of it, or a link, namespace or rule with a lab's names. */
  function nothingRuns(): void {
    assert.deepEqual(processes(), []);
    assert.ok(!readFileSync("/proc/mounts", "utf8").includes(folder), "a mount is left");
    for (const command of [["ip", "-o", "link"], ["ip", "netns"], ["ip", "route"], ["nft", "list", "ruleset"]]) {
      const said = spawnSync(command[0] ?? "", command.slice(1), { encoding: "utf8" }).stdout ?? "";
      assert.deepEqual(said.split("\n").filter((line) => OURS.test(line)), [], command.join(" "));
    }
  }
  function processes(): string[] {
    return readdirSync("/proc").filter((p) => /^\d+$/.test(p) && Number(p) !== process.pid).flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return line.includes(state) ? [`${pid} ${line}`] : [];
      } catch {
        return []; // ended meanwhile
      }
    });
  }
});

async function until(client: KubeClient, test: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + READY_MS;
  while (!(await test())) {
    if (Date.now() > deadline) throw new Error(`not within ${READY_MS} ms: ${JSON.stringify((await client.list<Pod>(KINDS.pods)).items.map((p) => [p.metadata.name, p.metadata.annotations, p.status?.phase]))}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
