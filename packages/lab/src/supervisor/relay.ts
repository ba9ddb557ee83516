// Owns the only door between the lab and the machine: a loopback port whose connections are carried to a unix socket.
import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "../apiserver/proxy/join.ts";

/** kubectl and a few watchers; beyond this somebody loops. */
const CONNECTIONS_MAX = 2_000;

export interface Relay { readonly port: number; close(): Promise<void> }

/** Listens on 127.0.0.1:`port`; when it is taken, on any free one. */
export async function startRelay(port: number, socketPath: string): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (down) => {
    const up = connect({ path: socketPath, allowHalfOpen: true });
    for (const socket of [down, up]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
    join(down, up);
  });
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, port).catch(() => listen(server, 0));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      for (const s of sockets) s.destroy();
    }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => { server.off("error", reject); resolve(); });
  });
}
