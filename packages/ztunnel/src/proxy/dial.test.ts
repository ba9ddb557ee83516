import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import type { SocketAddress } from "@ambit/core";
import { hostKernel, type Netns } from "@ambit/linux";
import { systemClock } from "@ambit/runtime";
import type { ConnectSignal, TcpConnection } from "@ambit/transport";
import { ManualClock, at } from "@ambit/proxy/testing";
import { createDial, CONNECT_TIMEOUT_MS, type DialTo } from "./dial.ts";

const NETNS = {} as Netns;

describe("dialling in a pod's namespace", () => {
  const rig = () => {
    const clock = new ManualClock();
    const dialled: unknown[] = [];
    const connected = {} as TcpConnection;
    const socket = { attempt: undefined as ConnectSignal | undefined, destroyed: false, succeed: () => {}, fail: undefined as ((error: Error) => void) | undefined };
    const connect = (fd: number, _to: SocketAddress, attempt: ConnectSignal): Promise<TcpConnection> => new Promise((resolve, reject) => {
      assert.equal(fd, 7);
      socket.attempt = attempt;
      socket.succeed = () => resolve(connected);
      socket.fail = attempt.giveUp = (error) => { socket.destroyed = true; reject(error); };
    });
    const dial = createDial({ openStream: (_ns, to, options) => { dialled.push([to, options]); return 7; } }, NETNS, 0x539, clock, connect);
    return { clock, socket, dialled, connected, dial: (o: Partial<DialTo> = {}) => dial({ to: at("10.0.0.9:80"), ...o }) };
  };

  it("marks the socket, and keeps a client's source address transparently", async () => {
    const { dial, dialled, socket, connected, clock } = rig();
    const done = dial({ source: at("10.0.0.1:1").ip });
    socket.succeed();
    assert.equal(await done, connected);
    assert.deepEqual(dialled, [[at("10.0.0.9:80"), { mark: 0x539, source: "10.0.0.1", transparent: true }]]);
    assert.equal(clock.pending, 0);
  });

  const cases: [string, string, (r: ReturnType<typeof rig>) => Promise<void> | void, string][] = [
    ["nobody answers", "10.0.0.9:80", ({ clock }) => clock.advance(CONNECT_TIMEOUT_MS), "connect-timeout"],
    ["nobody answers on the tunnel's port", "10.0.0.9:15008", ({ clock }) => clock.advance(CONNECT_TIMEOUT_MS), "tunnel-timeout"],
    ["nobody listens", "10.0.0.9:80", ({ socket }) => socket.fail?.(Object.assign(new Error("refused"), { code: "ECONNREFUSED" })), "connect-refused"],
  ];
  for (const [name, to, happen, code] of cases) it(`${name}: ${code}`, async () => {
    const r = rig();
    const failed = assert.rejects(r.dial({ to: at(to) }), { code });
    await happen(r);
    await failed;
    assert.deepEqual([r.socket.destroyed, r.clock.pending], [true, 0]);
  });

  for (const early of [true, false]) it(`the client leaves ${early ? "before" : "while"} we connect: downstream-reset`, async () => {
    const r = rig();
    const left = new AbortController();
    if (early) left.abort(new Error("gone"));
    const failed = assert.rejects(r.dial({ signal: left.signal }), { code: "downstream-reset", message: "given up while connecting to 10.0.0.9:80" });
    left.abort(new Error("gone"));
    await failed;
    assert.deepEqual([r.socket.destroyed, r.dialled.length, r.clock.pending], early ? [false, 0, 0] : [true, 1, 0]);
  });
});

/** Stands for the 28,000 of a node: what runs out is counted per destination, and not by us. Needs root. */
describe("dialling when a destination's source ports run out", () => {
  const PORTS = 8;
  const NAME = `zt-test-ports-${process.pid}`;
  const open: TcpConnection[] = [];
  const servers: Server[] = [];
  const accepted: Socket[] = [];
  let netns: Netns;
  before(async () => {
    execFileSync("ip", ["netns", "add", NAME]);
    execFileSync("ip", ["-n", NAME, "link", "set", "lo", "up"]);
    execFileSync("ip", ["netns", "exec", NAME, "sh", "-c", `echo 40000 ${40_000 + PORTS - 1} > /proc/sys/net/ipv4/ip_local_port_range`]);
    netns = hostKernel.openNetns(`/run/netns/${NAME}`);
    for (const port of [9001, 9002]) {
      const server = hostKernel.listen(netns, at(`127.0.0.1:${port}`), {});
      servers.push(server.on("connection", (socket) => accepted.push(socket.on("error", () => undefined))));
      if (!server.listening) await once(server, "listening");
    }
  });
  after(() => {
    for (const connection of open) connection.destroy(new Error("over"));
    // Accepted paused: they would never hear that the other end is gone, and keep the test run from ending.
    for (const socket of accepted) socket.destroy();
    for (const server of servers) server.close();
    netns[Symbol.dispose]();
    execFileSync("ip", ["netns", "del", NAME]);
  });

  it("the next is refused by name at once, another destination has all of its own, and one that ends makes room", async () => {
    const dial = createDial(hostKernel, netns, 0x539, systemClock);
    const to = async (port: number): Promise<void> => void open.push(await dial({ to: at(`127.0.0.1:${port}`), source: at("127.0.0.1:1").ip }));
    for (let i = 0; i < PORTS; i++) await to(9001);
    await assert.rejects(to(9001), { code: "connect-refused", message: /127\.0\.0\.1:9001: .*EADDRNOTAVAIL/ });
    for (let i = 0; i < PORTS; i++) await to(9002);
    open.shift()?.destroy(new Error("over"));
    for (let again = false; !again; ) again = await to(9001).then(() => true, () => false);
  });
});
