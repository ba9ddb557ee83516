// Owns two connections that are one: what comes on either goes out on the other, until one ends.
import type { Socket } from "node:net";

/** What a side said last is still on its way when its connection has ended: a reader that takes none of it for so long is gone. */
const LAST_WORDS_MS = 30_000;

/** `client` gone ends `kubelet` at once, for its command must not go on; `kubelet` gone ends `client` once it has got everything. */
export function join(client: Socket, kubelet: Socket): void {
  client.pipe(kubelet);
  kubelet.pipe(client);
  client.on("close", () => kubelet.destroy());
  kubelet.on("close", () => {
    if (!kubelet.readableEnded) {
      client.destroy();
      return;
    }
    client.setTimeout(LAST_WORDS_MS, () => client.destroy());
    client.resume();
  });
}
