// A thread for tests whose TLS is post-quantum or fails: it accepts tunnels, dials one as a tunnel, or dials one as the control plane is dialled.
import net from "node:net";
import tls from "node:tls";
import { parentPort, workerData } from "node:worker_threads";
import { ok } from "@ambit/core";
import { requirePostQuantum } from "./key-exchange.ts";
import { acceptTls, connectTls, createTlsCredentials } from "./tls-handshake.ts";

export interface Strict { readonly does: "accept" | "dial" | "dial-control-plane"; readonly port: number; readonly pem: { readonly chain: string; readonly key: string; readonly roots: string } }

const { does, port, pem } = workerData as Strict;
const say = (what: string | number): void => parentPort?.postMessage(what);
const verify = () => ok("peer");
requirePostQuantum();
if (does === "accept") {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => void acceptTls(socket, { credentials: createTlsCredentials(pem), verify }).then((t) => t.stream.destroy(), () => undefined));
  server.listen(0, "127.0.0.1", () => say((server.address() as net.AddressInfo).port));
} else if (does === "dial") {
  connectTls(net.connect({ port, host: "127.0.0.1" }), { credentials: createTlsCredentials(pem), verify }).then((t) => { t.stream.destroy(); say("done"); }, () => say("refused"));
} else {
  const socket = tls.connect({ port, host: "127.0.0.1", key: pem.key, cert: pem.chain, ca: pem.roots, ALPNProtocols: ["h2"], checkServerIdentity: () => undefined });
  socket.on("secureConnect", () => { say("done"); socket.destroy(); }).on("error", () => say("refused"));
}
