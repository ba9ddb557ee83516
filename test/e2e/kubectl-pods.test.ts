// kubectl on what runs: logs, exec, cp, attach, port-forward, jobs, nodes; streams over both protocols kubectl knows.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { KINDS, type Pod } from "@ambit/kube";
import { Kubectl, type How } from "./kubectl.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

const shell = (name: string, script: string, more: Record<string, unknown> = {}): string => JSON.stringify({
  apiVersion: "v1", kind: "Pod", metadata: { name, labels: { app: name } },
  spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "ambit/sample:lab", command: ["sh", "-c", script], ...more }] },
});
/** kubectl 1.31 and later streams over WebSocket first; older ones, or told so, over SPDY/3.1. */
const PROTOCOLS: readonly (readonly [name: string, env: Readonly<Record<string, string>>])[] = [
  ["as it likes", {}],
  ["over SPDY", { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "false", KUBECTL_PORT_FORWARD_WEBSOCKETS: "false" }],
];

describe("kubectl on what runs", function () {
  this.timeout(90_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestLab;
  let kubectl: Kubectl;
  before(async () => {
    lab = await TestLab.start({ mesh: false });
    kubectl = new Kubectl(lab.kubeconfig);
    await lab.until(KINDS.nodes, undefined, (nodes) => nodes.length === 2);
    await lab.until(KINDS.serviceAccounts, "default", (accounts) => accounts.some((a) => a.metadata.name === "default"));
    await lab.apply([shell("box", "echo hello from box; echo second; while :; do sleep 0.2; echo tick; done"), shell("crash", "echo a run; exit 3")].join("\n---\n"));
    await lab.apply(JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "web", labels: { app: "web" } }, spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "ambit/sample:lab", args: ["serve", "--name", "web"] }] } }));
    await lab.apply(JSON.stringify({ apiVersion: "v1", kind: "Service", metadata: { name: "web" }, spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] } }));
    await lab.until<Pod>(KINDS.pods, "default", (pods) => ["box", "web"].every((name) => pods.some((p) => p.metadata.name === name && p.status?.phase === "Running")));
  });
  after(async () => {
    kubectl?.close();
    await lab?.stop();
  });

  it("reads logs: whole, the end, of before, of many, and follows", async () => {
    await kubectl.steps([
      ["logs box", /^hello from box\nsecond\n/], ["logs box --tail=1", /^tick\n$/], ["logs box --limit-bytes=5", /^hello$/], ["logs box --timestamps --tail=1", /^\d{4}-\d\d-\d\dT[\d:.]+Z tick\n$/],
      ["logs box -c c --since=1h", /hello/], ["logs -l app=box --prefix --tail=1", /^\[pod\/box\/c\] tick/], ["logs box -c nope", /container nope is not valid/, { code: 1 }], ["logs nobody", /not found/, { code: 1 }],
    ]);
    await lab.until<Pod>(KINDS.pods, "default", (pods) => pods.some((p) => p.metadata.name === "crash" && ((p.status?.["containerStatuses"] as { restartCount?: number }[] | undefined)?.[0]?.restartCount ?? 0) > 0));
    await kubectl.steps([["logs crash --previous", /^a run\n$/], ["get pod crash", /Error|CrashLoopBackOff|Completed/], ["describe pod crash", /Exit Code: +3/]]);
    const follow = kubectl.start("logs -f box --tail=1");
    await follow.says(/tick\ntick\n/);
    await follow.stop();
  });

  for (const [name, env] of PROTOCOLS) {
    it(`exec ${name}: output, input, exit code, terminal`, async () => {
      await kubectl.steps([
        ["exec box -- echo one two", /^one two\n$/, { env }],
        ["exec -i box -- wc -c", /^300000\n$/, { env, input: "x".repeat(300_000) }],
        ["exec -i box -- cat", /^line 1\nline 2\n$/, { env, input: "line 1\nline 2\n" }],
        ["exec box -- sh -c 'echo out; echo err >&2; exit 42'", /out[^]*exit code 42/, { env, code: 42 }],
        ["exec box -c c -- sh -c 'head -c 3000000 /dev/zero | tr \"\\0\" z'", /^z{3000000}$/, { env }],
        ["exec box -- no-such-program", /no-such-program/, { env, code: 127 }],
        ["exec nobody -- true", /not found/, { env, code: 1 }],
        ["exec box -c nope -- true", /nope/, { env, code: 1 }],
      ]);
      const terminal = kubectl.start("exec -it box -- sh", { env, terminal: true });
      terminal.child.stdin?.write("stty rows 31 cols 99 && tty && echo $((40+2)); exit 7\n");
      await terminal.says(/\/dev\/pts\/\d+\s+42/);
      assert.equal((await terminal.ended()).code, 7);
    });

    it(`port-forward ${name}: to a pod, a Service, many at once, and a closed port`, async () => {
      for (const target of ["pod/web", "service/web"]) {
        const forward = kubectl.start(`port-forward ${target} :${target === "pod/web" ? 8080 : 80}`, { env });
        const port = Number((await forward.says(/127\.0\.0\.1:(\d+)/))[1]);
        const answers = await Promise.all(Array.from({ length: 20 }, () => get(port)));
        assert.ok(answers.every((a) => a.includes("\"web\"")), answers.join(""));
        await forward.stop();
      }
      const closed = kubectl.start("port-forward pod/web :7", { env });
      const port = Number((await closed.says(/127\.0\.0\.1:(\d+)/))[1]);
      await assert.rejects(get(port));
      await closed.says(/[Cc]onnection refused|error forwarding|lost connection/);
      await closed.stop();
    });

    it(`cp, and a plain word about attach, ${name}`, async () => {
      const how: How = { env };
      kubectl.file("up.txt", "carried\n".repeat(50_000));
      await kubectl.steps([
        ["cp @up.txt box:/tmp/there.txt", /^$/, how], ["exec box -- sha256sum /tmp/there.txt", /^[0-9a-f]{64} /, how], ["cp box:/tmp/there.txt @back.txt", /^(tar: .*\n)?$/, how],
      ]);
      assert.equal(kubectl.read("back.txt"), "carried\n".repeat(50_000));
      await kubectl.steps([["attach box", /attach is not supported by the lab: .* use `kubectl logs -f` or `kubectl exec`/, { ...how, code: 1 }]]);
    });
  }

  it("runs pods from the command line", async () => {
    await kubectl.steps([
      ["run one --image=ambit/sample:lab --restart=Never --command -- sh -c 'echo did it'", /pod\/one created/],
      ["wait --for=jsonpath={.status.phase}=Succeeded pod/one --timeout=20s", /condition met/, { since: 23 }],
      ["run dry --image=x --dry-run=client -o yaml", /image: x/],
      ["run two --image=ambit/sample:lab --port=8080 --expose -- serve", /service\/two created[^]*pod\/two created/],
      ["delete pod,service two --grace-period=1", /deleted/], ["delete pod one --now", /deleted/],
    ]);
  });

  it("runs jobs, also from a cron job", async () => {
    await kubectl.steps([
      ["create job once --image=ambit/sample:lab -- sh -c 'echo worked'", /job\.batch\/once created/],
      ["wait --for=condition=complete job/once --timeout=20s", /condition met/], ["logs job/once", /^worked\n$/], ["get jobs", /once +(Complete +)?1\/1/],
      ["create cronjob often --image=ambit/sample:lab --schedule='*/5 * * * *' -- sh -c 'echo tick'", /created/, { since: 21 }],
      ["create job by-hand --from=cronjob/often", /created/, { since: 21 }], ["wait --for=condition=complete job/by-hand --timeout=20s", /condition met/, { since: 21 }],
      ["get cronjobs", /often +\*\/5 \* \* \* \*/, { since: 21 }], ["create cronjob bad --image=x --schedule=never", /nvalid/, { since: 21, code: 1 }],
      ["delete job,cronjob --all --timeout=20s", /deleted/, { since: 21 }],
    ]);
  });

  it("cordons, taints and drains nodes", async () => {
    await kubectl.steps([
      ["cordon node-2", /node\/node-2 cordoned/], ["get nodes", /node-2 +Ready,SchedulingDisabled/], ["uncordon node-2", /uncordoned/],
      ["taint node node-2 for=test:NoSchedule", /tainted/], ["describe node node-2", /Taints: +for=test:NoSchedule/], ["taint node node-2 for-", /untainted/],
      ["label node node-2 disk=fast", /labeled/],
      ["create deployment moves --image=ambit/sample:lab --replicas=2", /created/, {}], ["rollout status deployment/moves --timeout=20s", /rolled out/],
      ["drain node-2 --ignore-daemonsets --force --delete-emptydir-data --grace-period=0 --timeout=30s", /drained|evicted/, { since: 21 }],
      ["rollout status deployment/moves --timeout=20s", /rolled out/], ["get pods -l app=moves --field-selector spec.nodeName=node-2 -o name", /^$|No resources/, { since: 21 }],
      ["uncordon node-2", /uncordoned/, { since: 21 }],
    ]);
  });

  it("deletes pods: at once, with their grace, and waits for it", async () => {
    await lab.apply(shell("stubborn", "trap '' TERM; while :; do sleep 0.1; done"));
    await kubectl.steps([
      ["wait --for=condition=Ready pod/stubborn --timeout=20s", /condition met/],
      ["delete pod stubborn --grace-period=1 --timeout=10s", /deleted/], ["get pod stubborn", /not found/, { code: 1 }],
      ["delete pod box crash web --force --grace-period=0 --ignore-not-found", /deleted/],
    ]);
  });
});

function get(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ host: "127.0.0.1", port, agent: false, timeout: 10_000 }, (res) => {
      let text = "";
      res.on("data", (b: Buffer) => { text += b.toString(); });
      void once(res, "end").then(() => resolve(text), reject);
    });
    req.on("error", reject).on("timeout", () => req.destroy(new Error("timeout"))).end();
  });
}
