// A program for tests: listens in a network namespace, offers its sockets, and stops doing anything when told to. Arguments: namespace, socket path, address.
import { once } from "node:events";
import { formatSocketAddress, parseSocketAddress } from "@ambit/core";
import { hostKernel } from "@ambit/linux";
import { createLogger, LogLevels, systemClock } from "@ambit/runtime";
import { listenDescriptor } from "@ambit/transport";
import { offerListeners } from "./handover-server.ts";

const [path = "", socketPath = "", address = ""] = process.argv.slice(2);
const netns = hostKernel.openNetns(path);
const at = parseSocketAddress(address);
if (!at.ok) throw new Error(at.error);
const listener = listenDescriptor(hostKernel.bindStream(netns, at.value, { mark: 0x539, transparent: true }), 128, (connection) => connection.destroy(new Error("not served")), (error) => { throw error; });
await offerListeners({
  path: socketPath, kernel: hostKernel, clock: systemClock, log: createLogger("t", { levels: new LogLevels("off") }),
  socketsOf: (uid, inode) => (uid === "u" && inode === netns.inode && listener.local !== undefined ? [{ at: listener.local, fd: listener.fd }] : []),
});
process.stdout.write(`listening ${formatSocketAddress(at.value)}\n`);
await once(process.stdin, "data");
process.stdout.write("frozen\n", () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
