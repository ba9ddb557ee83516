// A program for tests: a noisy pod. Arguments: its network namespace, that of its server, the server's address, how many connections; each sends all it can.
import { parseSocketAddress } from "@ambit/core";
import { hostKernel } from "@ambit/linux";

const [from = "", at = "", address = "", count = ""] = process.argv.slice(2);
const to = parseSocketAddress(address);
if (!to.ok) throw new Error(to.error);
const [client, server] = [hostKernel.openNetns(from), hostKernel.openNetns(at)];
const CHUNK = Buffer.alloc(256 << 10);

hostKernel.listen(server, to.value, {}).on("connection", (socket) => socket.on("error", () => undefined).resume());
for (let i = 0; i < Number(count); i++) {
  const socket = hostKernel.dial(client, to.value, {});
  const push = (): void => { while (socket.write(CHUNK)); };
  socket.on("error", () => undefined).on("connect", push).on("drain", push).resume();
}
