import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { Netns } from "@ambit/linux";
import { ManualClock, at } from "@ambit/proxy/testing";
import { createDial, CONNECT_TIMEOUT_MS, type DialTo } from "./dial.ts";

const NETNS = {} as Netns;

describe("dialling in a pod's namespace", () => {
  const rig = () => {
    const clock = new ManualClock();
    const socket = Object.assign(new EventEmitter(), { destroyed: false, destroy() { this.destroyed = true; } });
    const dialled: unknown[] = [];
    const dial = createDial({ dial: (_ns, to, options) => { dialled.push([to, options]); return socket as unknown as Socket; } }, NETNS, 0x539, clock);
    return { clock, socket, dialled, dial: (o: Partial<DialTo> = {}) => dial({ to: at("10.0.0.9:80"), ...o }) };
  };

  it("marks the socket, and keeps a client's source address transparently", async () => {
    const { dial, dialled, socket, clock } = rig();
    const done = dial({ source: at("10.0.0.1:1").ip });
    socket.emit("connect");
    assert.equal(await done, socket);
    assert.deepEqual(dialled, [[at("10.0.0.9:80"), { mark: 0x539, source: "10.0.0.1", transparent: true }]]);
    assert.equal(clock.pending, 0);
  });

  const cases: [string, string, (r: ReturnType<typeof rig>) => Promise<void> | void, string][] = [
    ["nobody answers", "10.0.0.9:80", ({ clock }) => clock.advance(CONNECT_TIMEOUT_MS), "connect-timeout"],
    ["nobody answers on the tunnel's port", "10.0.0.9:15008", ({ clock }) => clock.advance(CONNECT_TIMEOUT_MS), "tunnel-timeout"],
    ["nobody listens", "10.0.0.9:80", ({ socket }) => void socket.emit("error", Object.assign(new Error("refused"), { code: "ECONNREFUSED" })), "connect-refused"],
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
    assert.deepEqual([r.socket.destroyed, r.clock.pending], [true, 0]);
  });
});
