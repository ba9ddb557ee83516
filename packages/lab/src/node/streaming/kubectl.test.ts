// Tests with the kubectl on this machine, if there is one, through the real API server: both transports of exec and port-forward.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { connect, createServer as createTcp, type AddressInfo, type Server as TcpServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { KINDS, KubeClient, loadClientConfig } from "@ambit/kube";
import { createLogger } from "@ambit/runtime";
import { startApiServer, type RunningApiServer } from "../../apiserver/server.ts";
import { fakeRuntime } from "./fake-runtime.ts";
import { serveStreaming } from "./server.ts";

const MEGABYTES = 8;

describe("kubectl exec and port-forward", function () {
  this.timeout(60_000);
  let api: RunningApiServer;
  let kubelet: Server;
  let echo: TcpServer;
  let streaming: { close(): void };

  before(async function () {
    try {
      execFileSync("kubectl", ["version", "--client"], { stdio: "ignore" });
    } catch {
      this.skip(); // no kubectl on this machine
    }
    api = await startApiServer({ nodes: ["node-1"] });
    const read = (name: string): Buffer => readFileSync(join(api.pkiDir, name));
    kubelet = createServer({ cert: read("kubelet-node-1.crt"), key: read("kubelet-node-1.key"), ca: read("ca.crt"), requestCert: true, rejectUnauthorized: false });
    streaming = serveStreaming(kubelet, { runtime: fakeRuntime(), log: createLogger("test", { write: () => undefined }), authorize: () => true });
    echo = createTcp({ allowHalfOpen: true }, (socket) => { socket.on("error", () => socket.destroy()); socket.pipe(socket); });
    for (const server of [kubelet, echo]) { server.listen(0, "127.0.0.1"); await once(server, "listening"); }
    const client = new KubeClient(loadClientConfig({ kubeconfig: api.adminKubeconfig }));
    await client.create(KINDS.nodes, undefined, { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } });
    const kubeletEndpoint = { Port: (kubelet.address() as AddressInfo).port };
    await client.patch(KINDS.nodes, undefined, "node-1", { status: { addresses: [{ type: "InternalIP", address: "127.0.0.1" }], daemonEndpoints: { kubeletEndpoint } } }, { subresource: "status" });
    await client.create(KINDS.serviceAccounts, "default", { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default" } });
    await client.create(KINDS.pods, "default", { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: { nodeName: "node-1", containers: [{ name: "main", image: "x" }] } });
    await client.patch(KINDS.pods, "default", "p", { status: { phase: "Running" } }, { subresource: "status" });
    client.close();
  });
  after(async () => {
    if (api === undefined) return;
    streaming.close();
    for (const server of [kubelet, echo]) await new Promise<void>((resolve) => server.close(() => resolve()));
    await api.close();
  });

  const kubectl = (websockets: boolean, ...args: string[]) => spawn("kubectl", args, {
    stdio: "pipe",
    // What it discovers it leaves at home, and without one in the present folder.
    env: { PATH: process.env["PATH"], HOME: api.pkiDir, KUBECONFIG: api.adminKubeconfig, KUBECTL_REMOTE_COMMAND_WEBSOCKETS: String(websockets), KUBECTL_PORT_FORWARD_WEBSOCKETS: String(websockets) },
  });

  for (const websockets of [true, false]) {
    const name = websockets ? "WebSocket" : "SPDY";

    it(`passes output, errors and the exit code over ${name}`, async () => {
      const child = kubectl(websockets, "exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 3");
      const text = { stdout: "", stderr: "" };
      child.stdout.on("data", (b: Buffer) => { text.stdout += b.toString(); });
      child.stderr.on("data", (b: Buffer) => { text.stderr += b.toString(); });
      const [code] = (await once(child, "close")) as [number];
      assert.deepEqual([code, text.stdout], [3, "out\n"]);
      assert.match(text.stderr, /^err\n/);
    });

    it(`moves ${MEGABYTES} MB in and out over ${name}, whole`, async () => {
      const child = kubectl(websockets, "exec", "-i", "p", "--", "cat");
      let size = 0;
      child.stdout.on("data", (b: Buffer) => { size += b.length; });
      child.stdin.end(Buffer.alloc(MEGABYTES * 1024 * 1024, 1));
      const [code] = (await once(child, "close")) as [number];
      assert.deepEqual([code, size], [0, MEGABYTES * 1024 * 1024]);
    });

    it(`forwards connections over ${name}`, async () => {
      const child = kubectl(websockets, "port-forward", "pod/p", `:${(echo.address() as AddressInfo).port}`);
      try {
        let port = 0;
        for await (const line of createInterface(child.stdout)) {
          port = Number(/^Forwarding from 127\.0\.0\.1:(\d+)/.exec(line)?.[1]);
          if (port > 0) break;
        }
        const answers = await Promise.all(Array.from({ length: 10 }, async (_, i) => {
          const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
          socket.end(`hello ${i}`);
          let text = "";
          for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString();
          return text;
        }));
        assert.deepEqual(answers, Array.from({ length: 10 }, (_, i) => `hello ${i}`));
      } finally {
        child.kill();
        await once(child, "exit");
      }
    });
  }
});
