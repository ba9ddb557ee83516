import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import { at, ManualClock } from "@ambit/proxy/testing";
import { hostKernel } from "@ambit/linux";
import { Metrics } from "@ambit/runtime";
import { Wires, type Proof } from "./wires.ts";

const fake = (): Socket => new EventEmitter() as Partial<Socket> as Socket;

describe("what the kernel measures", () => {
  it("is sampled at each scrape; what was sent again is counted once", () => {
    let retransmits = 3;
    const metrics = new Metrics();
    const wires = new Wires({ tcpInfo: () => ({ rttUs: 700, rttVarUs: 1, retransmits, unacked: 0 }) }, new ManualClock());
    wires.collectInto(metrics);
    const socket = fake();
    const prove = wires.add(socket, { pod: "p", direction: "outbound", peer: at("10.0.0.2:15008") });
    metrics.expose();
    retransmits = 5;
    const text = metrics.expose();
    assert.match(text, /ambit_tunnel_retransmits_total\{direction="outbound"\} 5/);
    assert.match(text, /ambit_tunnel_rtt_seconds_bucket\{direction="outbound",le="0.001"\} 2/);
    assert.deepEqual([wires.list("p").length, wires.list("q").length, wires.list("p")[0]?.proof], [1, 0, undefined]);
    const who = { trustDomain: "cluster.local", namespace: "t", serviceAccount: "a" } as Proof["local"];
    prove({ protocol: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", local: who, peer: who });
    assert.equal(wires.list("p")[0]?.proof?.peer, who);
    socket.emit("close");
    assert.deepEqual(wires.list("p"), []);
  });
  it("comes from a real socket", async () => {
    const server = createServer((s) => s.pipe(s)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await once(socket, "connect");
    socket.write("x");
    await once(socket, "data");
    const info = hostKernel.tcpInfo(socket);
    assert.ok(info !== undefined && info.rttUs > 0 && info.rttUs < 1_000_000 && info.retransmits === 0, JSON.stringify(info));
    socket.destroy();
    await once(socket, "close");
    assert.equal(hostKernel.tcpInfo(socket), undefined);
    server.close();
  });
});
