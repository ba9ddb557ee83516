// Owns a whole node in namespaces of its own for tests: a fabric, an API server in this process, a kubelet beside it, and what they must do together.
// Run by one-node.test.ts inside `unshare`; prints one JSON line a check.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KINDS, KubeClient, loadClientConfig, pathOf, type Pod } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";
import { startApiServer } from "../../apiserver/server.ts";
import { fabricScript, layoutOf, nodeScript } from "../../supervisor/layout.ts";
import { addCommandImage } from "../images/store.ts";

export const CHECKS = [
  "a pod becomes ready with an address of the CNI chain",
  "its environment, volumes, name and user are as the spec says",
  "its log has what it printed, with times when asked",
  "a changed ConfigMap reaches its volume",
  "a Service address leads to it, from the node and from itself",
  "containers go on when the kubelet is killed, and the next kubelet adopts them",
  "a pod whose network is gone, as after a reboot, gets another, and its address is free again",
  "a crash is restarted, counted and explained",
  "an init container runs first and a sidecar ends last",
  "an unknown image says how to add it, and adding it is enough",
  "a failed CNI plugin is an event, and its repair is enough",
  "a pod that this node cannot run fails with the reason",
  "a deleted pod gets its signal and leaves nothing behind",
] as const;
type Check = (typeof CHECKS)[number];
export interface CheckResult { readonly check: Check; readonly ok: boolean; readonly detail: string }

/** Each wait ends here; a pod takes a fraction of a second. */
const WAIT_MS = 15_000;
const POLL_MS = 20;

if (import.meta.main) await main(process.argv[2] ?? "");

async function main(state: string): Promise<void> {
  const layout = layoutOf(state, 1);
  const [node] = layout.nodes;
  if (node === undefined) throw new Error("no node");
  execFileSync("mount", ["-t", "tmpfs", "-o", "mode=755", "run", "/run"]);
  for (const dir of ["/run/netns", "/run/lock", layout.images, layout.logs]) mkdirSync(dir, { recursive: true });
  execFileSync("ip", ["-batch", "-"], { input: fabricScript(layout) });
  execFileSync("ip", ["-n", node.name, "-batch", "-"], { input: nodeScript(node) });
  writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
  await startApiServer({ pkiDir: layout.pki, nodes: [node.name], listen: [{ host: "172.30.0.1", port: 6443 }] });
  const client = new KubeClient(loadClientConfig({ kubeconfig: layout.adminKubeconfig }));
  addCommandImage(layout.images, { name: "sh", command: ["sh", "-c"] });
  const kubelet = (): ChildProcess => {
    const out = openSync(join(layout.logs, "kubelet.log"), "a");
    return spawn("nsenter", [`--net=${node.netns}`, "--", process.execPath, join(import.meta.dirname, "../main.ts"), "--node", node.name, "--kubeconfig", join(layout.pki, `kubelet-${node.name}.kubeconfig`), "--state", node.state,
      "--images", layout.images, "--pki", layout.pki, "--node-ip", node.ip, "--pod-cidr", node.podCidr, "--cluster-dns", "10.96.0.10"], { stdio: ["ignore", out, out] });
  };
  let running = kubelet();

  const get1 = (name: string) => client.get<Pod>(KINDS.pods, "default", name);
  const status = (p: Pod, container = "main"): Record<string, unknown> => [...((p.status?.["containerStatuses"] ?? []) as Record<string, unknown>[]), ...((p.status?.["initContainerStatuses"] ?? []) as Record<string, unknown>[])].find((s) => s["name"] === container) ?? {};
  const until = async <T>(what: string, look: () => Promise<T | undefined>): Promise<T> => {
    const end = systemClock.monotonic() + WAIT_MS;
    for (let last: unknown; ; ) {
      try {
        const found = await look();
        if (found !== undefined) return found;
      } catch (error) {
        last = error;
      }
      if (systemClock.monotonic() > end) throw new Error(`waited too long for ${what}${last instanceof Error ? `: ${last.message}` : ""}`);
      await systemClock.sleep(POLL_MS);
    }
  };
  const isReady = (p: Pod) => p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
  const ready = (name: string) => until(`pod ${name}`, async () => { const p = await get1(name); return isReady(p) ? p : undefined; });
  const log = (name: string, query: Record<string, string> = {}) => client.request<string>("GET", pathOf(KINDS.pods, "default", name, "log"), { query });
  const create = (name: string, spec: Record<string, unknown>, labels: Record<string, string> = {}) =>
    client.create(KINDS.pods, "default", { apiVersion: "v1", kind: "Pod", metadata: { name, labels }, spec: { nodeName: node.name, automountServiceAccountToken: false, terminationGracePeriodSeconds: 2, ...spec } });
  const script = (text: string, more: Record<string, unknown> = {}) => ({ containers: [{ name: "main", image: "sh", args: [text], ...more }] });
  const events = async (name: string) => (await client.list(KINDS.events, "default")).items.filter((e) => (e["involvedObject"] as { name?: string }).name === name);
  const onNode = (argv: readonly string[]) => execFileSync("nsenter", [`--net=${node.netns}`, "--", ...argv], { encoding: "utf8" });

  await client.create(KINDS.serviceAccounts, "default", { metadata: { name: "default" } }).catch(() => undefined);
  await until("the node", async () => ((await client.get(KINDS.nodes, undefined, node.name))["status"] as { conditions?: { type: string; status: string }[] }).conditions?.find((c) => c.type === "Ready" && c.status === "True"));

  const reserved = (): string[] => readdirSync(join(node.state, "root/var/lib/cni/networks/ambit-lab")).filter((name) => name.startsWith("10."));
  // A user namespace of one user has no other to become.
  const user = /^\s*0\s+\d+\s+1\s*$/.test(readFileSync("/proc/self/uid_map", "utf8")) ? 0 : 1234;
  const checks: Record<Check, () => Promise<string>> = {
    "a pod becomes ready with an address of the CNI chain": async () => {
      await client.create(KINDS.configMaps, "default", { metadata: { name: "cfg" }, data: { color: "blue" } });
      await client.create(KINDS.secrets, "default", { metadata: { name: "sec" }, stringData: { pw: "s3cret" } });
      await create("web", {
        ...script("echo \"$COLOR $POD_IP $(id -u) $(hostname) $(cat /cfg/color) $(cat /s/pw)\"; trap 'echo got TERM; exit 0' TERM; mkdir -p /w/www; cd /w/www; python3 -m http.server 8080 & wait $!; wait", {
          env: [{ name: "COLOR", valueFrom: { configMapKeyRef: { name: "cfg", key: "color" } } }, { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
          securityContext: { runAsUser: user }, readinessProbe: { httpGet: { path: "/", port: 8080 } },
          volumeMounts: [{ name: "cfg", mountPath: "/cfg" }, { name: "sec", mountPath: "/s/pw", subPath: "pw" }, { name: "w", mountPath: "/w" }],
        }), volumes: [{ name: "cfg", configMap: { name: "cfg" } }, { name: "sec", secret: { secretName: "sec" } }, { name: "w", emptyDir: {} }],
      }, { app: "web" });
      return String((await ready("web")).status?.podIP);
    },
    "its environment, volumes, name and user are as the spec says": async () => {
      const ip = (await get1("web")).status?.podIP;
      const line = (await log("web")).split("\n")[0] ?? "";
      if (line !== `blue ${ip} ${user} web blue s3cret`) throw new Error(line);
      return line;
    },
    "its log has what it printed, with times when asked": async () => {
      const text = await log("web", { tailLines: "1", timestamps: "true" });
      if (!/^\d{4}-\d\d-\d\dT\S+Z .+\n$/.test(text)) throw new Error(JSON.stringify(text));
      return text.trim();
    },
    "a changed ConfigMap reaches its volume": async () => {
      await client.patch(KINDS.configMaps, "default", "cfg", { data: { color: "red" } });
      const dir = join(node.state, "pods", (await get1("web")).metadata.uid ?? "");
      return until("the new content", async () => { const text = readFileSync(join(dir, "volumes/cfg/color"), "utf8"); return text === "red" ? text : undefined; });
    },
    "a Service address leads to it, from the node and from itself": async () => {
      const ip = (await get1("web")).status?.podIP ?? "";
      const service = await client.create(KINDS.services, "default", { metadata: { name: "web" }, spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] } });
      await client.create(KINDS.endpointSlices, "default", { metadata: { name: "web-1", labels: { "kubernetes.io/service-name": "web" } }, addressType: "IPv4", ports: [{ name: "", port: 8080, protocol: "TCP" }], endpoints: [{ addresses: [ip], conditions: { ready: true } }] });
      const vip = (service["spec"] as { clusterIP: string }).clusterIP;
      const curl = ["curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", `http://${vip}/`];
      await until("the Service from the node", async () => (onNode(curl) === "200" ? true : undefined));
      const netns = readdirSync(join(node.state, "root/run/netns"))[0] ?? "";
      const own = execFileSync("nsenter", [`--net=${join(node.state, "root/run/netns", netns)}`, "--", ...curl], { encoding: "utf8" });
      if (own !== "200") throw new Error(`from itself: ${own}`);
      return vip;
    },
    "containers go on when the kubelet is killed, and the next kubelet adopts them": async () => {
      const before = status(await get1("web"));
      const gone = new Promise((resolve) => running.once("exit", resolve));
      running.kill("SIGKILL");
      await gone;
      const answer = onNode(["curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", `http://${(await get1("web")).status?.podIP}:8080/`]);
      if (answer !== "200") throw new Error(`without a kubelet it answered ${answer}`);
      running = kubelet();
      await create("second", script("sleep 1000"));
      await ready("second");
      const after = status(await get1("web"));
      if (after["containerID"] !== before["containerID"] || after["restartCount"] !== 0) throw new Error(JSON.stringify(after));
      return String(after["containerID"]);
    },
    "a pod whose network is gone, as after a reboot, gets another, and its address is free again": async () => {
      const before = String((await get1("second")).status?.podIP);
      if (!reserved().includes(before)) throw new Error(`${before} is none of ${reserved().join(", ")}`);
      const gone = new Promise((resolve) => running.once("exit", resolve));
      running.kill("SIGKILL");
      await gone;
      const netns = readdirSync(join(node.state, "root/run/netns")).map((name) => join(node.state, "root/run/netns", name)).find((path) => execFileSync("nsenter", [`--net=${path}`, "ip", "-br", "addr"], { encoding: "utf8" }).includes(` ${before}/`)) ?? "";
      const { ino } = statSync(netns);
      for (const pid of readdirSync("/proc").filter((p) => /^\d+$/.test(p) && existsSync(`/proc/${p}/ns/net`) && statSync(`/proc/${p}/ns/net`).ino === ino)) process.kill(Number(pid), "SIGKILL");
      execFileSync("umount", ["-l", netns]);
      rmSync(netns);
      running = kubelet();
      const after = await until("another address", async () => { const p = await get1("second"); return isReady(p) && p.status?.podIP !== before ? String(p.status?.podIP) : undefined; });
      await until("the old one's end", async () => (reserved().includes(before) ? undefined : true));
      return `${before}, then ${after}`;
    },
    "a crash is restarted, counted and explained": async () => {
      await create("crash", script("echo because > /dev/termination-log; exit 7"));
      const s = await until("the crash loop", async () => { const x = status(await get1("crash")); return (x["state"] as { waiting?: { reason?: string } }).waiting?.reason === "CrashLoopBackOff" ? x : undefined; });
      const last = (s["lastState"] as { terminated?: { exitCode?: number; message?: string } }).terminated;
      if (last?.exitCode !== 7 || last.message !== "because\n" || s["restartCount"] !== 1) throw new Error(JSON.stringify(s));
      return JSON.stringify(last);
    },
    "an init container runs first and a sidecar ends last": async () => {
      const w = [{ name: "w", mountPath: "/w" }];
      await create("order", {
        restartPolicy: "Never", volumes: [{ name: "w", hostPath: { path: "/var/order", type: "DirectoryOrCreate" } }],
        initContainers: [
          { name: "first", image: "sh", args: ["echo first >> /w/log"], volumeMounts: w },
          { name: "side", image: "sh", restartPolicy: "Always", args: ["trap 'echo side-ends >> /w/log; exit 0' TERM; echo side >> /w/log; while :; do sleep 0.05; done"], volumeMounts: w },
        ],
        containers: [{ name: "main", image: "sh", args: ["echo main >> /w/log"], volumeMounts: w }],
      });
      await until("its end", async () => ((await get1("order")).status?.phase === "Succeeded" ? true : undefined));
      const order = readFileSync(join(node.state, "root/var/order/log"), "utf8").trim().split("\n").join(" ");
      if (order.replace("side main", "main side") !== "first main side side-ends") throw new Error(order);
      return order;
    },
    "an unknown image says how to add it, and adding it is enough": async () => {
      await create("late", { containers: [{ name: "main", image: "late:1" }] });
      const message = await until("the refusal", async () => (status(await get1("late"))["state"] as { waiting?: { reason?: string; message?: string } } | undefined)?.waiting?.message);
      if (!message.includes('ambit lab image add late:1 --command')) throw new Error(message);
      addCommandImage(layout.images, { name: "late:1", command: ["sleep", "1000"] });
      await ready("late");
      return message;
    },
    "a failed CNI plugin is an event, and its repair is enough": async () => {
      const plugin = join(node.state, "root/opt/cni/bin/broken");
      const conflist = join(node.state, "root/etc/cni/net.d/10-ambit-lab.conflist");
      const good = readFileSync(conflist, "utf8");
      const config = JSON.parse(good) as { plugins: unknown[] };
      writeFileSync(plugin, "#!/bin/sh\necho '{\"code\":11,\"msg\":\"the agent is away\"}'\nexit 1\n", { mode: 0o755 });
      writeFileSync(conflist, JSON.stringify({ ...config, plugins: [...config.plugins, { type: "broken" }] }));
      await create("attach", script("sleep 1000"));
      const event = await until("the event", async () => (await events("attach")).find((e) => e["reason"] === "FailedCreatePodSandBox"));
      if (!String(event["message"]).includes("the agent is away")) throw new Error(String(event["message"]));
      writeFileSync(conflist, good);
      await ready("attach");
      return String(event["message"]);
    },
    "a pod that this node cannot run fails with the reason": async () => {
      await create("odd", { ...script("true"), shareProcessNamespace: true });
      const p = await until("the refusal", async () => { const x = await get1("odd"); return x.status?.phase === "Failed" ? x : undefined; });
      const message = String(p.status?.["message"]);
      if (!message.includes("spec.shareProcessNamespace")) throw new Error(message);
      return message;
    },
    "a deleted pod gets its signal and leaves nothing behind": async () => {
      const follow = log("web", { follow: "true" }).catch((e: unknown) => String(e));
      for (const name of ["web", "second", "crash", "order", "late", "attach", "odd"]) await client.delete(KINDS.pods, "default", name);
      await until("the end of all pods", async () => ((await client.list(KINDS.pods, "default")).items.length === 0 ? true : undefined));
      if (!(await follow).includes("got TERM")) throw new Error("the pod's log has no sign of SIGTERM");
      const left = () => [
        ...readdirSync(join(node.state, "pods")).filter((n) => !n.startsWith(".")),
        ...readdirSync(join(node.state, "pods/.logs")), ...readdirSync(join(node.state, "root/run/netns")), ...readdirSync(join(node.state, "root/var/lib/cni/results")), ...reserved(), ...readdirSync(join(node.state, "log/pods")),
        ...onNode(["ip", "-br", "link"]).split("\n").filter((l) => l.startsWith("veth")),
        ...readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter((l) => l.includes("/volumes/") || l.includes("netns/cni-")),
        ...readdirSync("/proc").filter((p) => /^\d+$/.test(p) && existsSync(`/proc/${p}/cmdline`) && /sleep\0|http\.server|init\.sh/.test(readFileSync(`/proc/${p}/cmdline`, "utf8"))),
      ];
      await until("nothing", async () => { const l = left(); if (l.length > 0) throw new Error(l.join(", ")); return true; });
      return "nothing";
    },
  };
  for (const check of CHECKS) {
    const result = await checks[check]().then((detail): CheckResult => ({ check, ok: true, detail }), (error: unknown): CheckResult => ({ check, ok: false, detail: error instanceof Error ? error.message : String(error) }));
    process.stdout.write(`${JSON.stringify(result)}\n`);
  }
  process.exit(0);
}
