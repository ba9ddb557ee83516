// Owns two connections that are one: what comes on either goes out on the other, until one ends.
import type { Socket } from "node:net";

/** What a side said last is still on its way when its connection has ended: a reader that takes none of it for so long, as long as the kubelet lets a stream be silent, is gone. */
const LAST_WORDS_MS = 4 * 60 * 60 * 1000;

/** `client` gone ends `server` at once, for what it runs must not go on; `server` gone ends `client` once it has got everything. Errors are the caller's to hear. */
export function join(client: Socket, server: Socket): void {
  client.pipe(server);
  server.pipe(client);
  client.on("close", () => server.destroy());
  server.on("close", () => {
    if (!server.readableEnded) {
      client.destroy();
      return;
    }
    client.setTimeout(LAST_WORDS_MS, () => client.destroy());
    client.resume();
  });
}
