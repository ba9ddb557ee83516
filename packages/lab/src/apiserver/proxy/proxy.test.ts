// Tests the way to the kubelet: logs streamed, upgrades spliced both ways, refusals before anything is dialled.
import { createLogger } from "@ambit/runtime";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { issueNodePki } from "../../pki.ts";
import { pod, PODS, startRig, type Rig } from "../test-client.ts";

interface Seen {
  url: string;
  upgrade: string;
  authorization: string | undefined;
  client: string;
}

describe("apiserver: proxy to kubelets", () => {
  let rig: Rig;
  let kubelet: Server;
  const seen: Seen[] = [];
  const logged: string[] = [];
  let followerGone: () => void = () => undefined;
  const sockets = new Set<Duplex>();

  before(async () => {
    rig = await startRig({ log: createLogger("apiserver", { write: (line) => logged.push(line) }) });
    await issueNodePki(rig.server.pkiDir, { name: "node-1", ips: ["127.0.0.1"] });
    const file = (name: string) => readFileSync(join(rig.server.pkiDir, name));
    kubelet = createServer({ key: file("kubelet-node-1.key"), cert: file("kubelet-node-1.crt"), ca: file("ca.crt"), requestCert: true });
    const note = (message: IncomingMessage) => {
      const socket = message.socket as TLSSocket;
      const { url = "", headers } = message;
      seen.push({ url, upgrade: headers.upgrade ?? "", authorization: headers.authorization, client: String(socket.getPeerCertificate().subject?.CN) });
    };
    kubelet.on("connection", (socket: Duplex) => sockets.add(socket));
    kubelet.on("request", (message, response) => {
      note(message);
      if (message.url?.includes("missing") === true) {
        response.writeHead(404);
        response.end("no logs of that container");
        return;
      }
      response.write("line 1\n");
      if (message.url?.includes("sinceSeconds=7") === true) {
        response.on("close", () => followerGone());
        return;
      }
      setImmediate(() => response.end("line 2\n"));
    });
    kubelet.on("upgrade", (message, socket: Duplex) => {
      note(message);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${message.headers.upgrade ?? ""}\r\n\r\nhello `);
      socket.pipe(socket);
    });
    await new Promise<void>((resolve) => kubelet.listen(0, "127.0.0.1", resolve));
    const { port } = kubelet.address() as AddressInfo;
    const addresses = [{ type: "InternalIP", address: "127.0.0.1" }];
    await rig.admin.ask("POST", "/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
    await rig.admin.ask("POST", "/api/v1/nodes", {
      metadata: { name: "node-1" },
      status: { addresses, daemonEndpoints: { kubeletEndpoint: { Port: port } } },
    });
    await rig.admin.ask("POST", PODS, pod("p", { nodeName: "node-1" }));
    await rig.admin.ask("POST", PODS, pod("missing", { nodeName: "node-1" }));
    await rig.admin.ask("POST", PODS, pod("homeless"));
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => kubelet.close(resolve));
    await rig.close();
  });

  /** Sends a raw upgrade and returns everything until `until` is seen or the connection ends. */
  function upgrade(method: string, path: string, until: string, send = "", extra = ""): Promise<string> {
    const url = new URL(rig.server.url);
    const config = JSON.parse(readFileSync(rig.server.adminKubeconfig, "utf8")) as { users: { user: Record<string, string> }[] };
    const part = (name: string) => Buffer.from(config.users[0]?.user[name] ?? "", "base64");
    return new Promise((resolve, reject) => {
      const socket = connect({
        host: url.hostname,
        port: Number(url.port),
        ca: rig.server.ca,
        cert: part("client-certificate-data"),
        key: part("client-key-data"),
        ALPNProtocols: ["http/1.1"],
      });
      let text = "";
      socket.on("error", reject);
      socket.on("close", () => resolve(text));
      socket.on("data", (chunk) => {
        text += String(chunk);
        if (send !== "" && text.includes("hello ")) {
          socket.write(send);
          send = "";
        }
        if (until !== "" && text.includes(until)) socket.end();
      });
      socket.write(`${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n${extra}\r\n`);
    });
  }

  it("streams logs with the parameters that are for the kubelet", async () => {
    const answer = await rig.admin.ask("GET", `${PODS}/p/log?follow=true&tailLines=5&timestamps=1`);
    assert.equal(answer.code, 200);
    assert.equal(answer.text, "line 1\nline 2\n");
    const call = seen.at(-1);
    assert.equal(call?.url, "/containerLogs/default/p/main?follow=true&timestamps=true&tailLines=5");
    assert.equal(call?.client, "kube-apiserver-kubelet-client");
  });

  it("ends the kubelet's stream when a follower leaves, without a fuss", async () => {
    const gone = new Promise<void>((resolve) => (followerGone = resolve));
    const follower = await rig.admin.watch(`${PODS}/p/log?follow=true&sinceSeconds=7`);
    follower.close();
    await gone;
    await rig.admin.ask("GET", "/healthz");
    assert.deepEqual(logged.filter((line) => line.includes('"error"')), []);
  });

  const refusals: readonly [what: string, path: string, code: number, message: RegExp][] = [
    ["an unknown container", `${PODS}/p/log?container=x`, 400, /container x is not valid for pod p/],
    ["a pod without a node", `${PODS}/homeless/log`, 400, /does not have a host assigned/],
    ["a bad parameter", `${PODS}/p/log?tailLines=few`, 422, /tailLines/],
    ["a missing pod", `${PODS}/none/log`, 404, /pods "none" not found/],
    ["what the kubelet does not find", `${PODS}/missing/log`, 404, /no logs of that container/],
    ["exec without an upgrade", `${PODS}/p/exec?command=ls`, 400, /Upgrade request required/],
  ];
  for (const [what, path, code, message] of refusals) {
    it(`refuses ${what}`, async () => {
      const answer = await rig.admin.ask("GET", path);
      assert.equal(answer.code, code, answer.text);
      assert.match(String(answer.body["message"]), message);
    });
  }

  it("splices SPDY and WebSocket upgrades to the kubelet", async () => {
    const spdy = await upgrade("POST", `${PODS}/p/exec?command=ls&command=-l&stdout=true&stdin=true`, "hello ping", "ping", "Upgrade: SPDY/3.1\r\nAuthorization: Bearer\r\n");
    assert.match(spdy, /^HTTP\/1\.1 101 /);
    assert.equal(seen.at(-1)?.url, "/exec/default/p/main?input=1&output=1&command=ls&command=-l");
    assert.equal(seen.at(-1)?.upgrade, "SPDY/3.1");
    assert.equal(seen.at(-1)?.authorization, undefined, "the caller's credentials stay here");
    const socket = await upgrade("GET", `${PODS}/p/portforward?ports=80`, "hello ", "", "Upgrade: websocket\r\n");
    assert.match(socket, /101 Switching/);
    assert.equal(seen.at(-1)?.url, "/portForward/default/p?port=80");
  });

  it("answers refused upgrades with a Status and ends the connection", async () => {
    assert.match(await upgrade("GET", `${PODS}/none/exec?command=ls`, "", "", "Upgrade: websocket\r\n"), /^HTTP\/1\.1 404 [^]*pods \\"none\\" not found/);
    assert.match(await upgrade("GET", "/healthz", "", "", "Upgrade: websocket\r\n"), /^HTTP\/1\.1 400 [^]*cannot be upgraded/);
    assert.match(await upgrade("GET", `${PODS}/homeless/exec?command=ls`, "", "", "Upgrade: websocket\r\n"), /^HTTP\/1\.1 400 /);
  });
});
