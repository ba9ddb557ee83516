// Owns looking at a TLS ClientHello that goes by: read, and put back in front of the rest.
import type { Clock } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import { ReplayStream } from "../http/replay-stream.ts";
import { HELLO_MAX_OCTETS, readClientHello } from "../plan/client-hello.ts";

/** A client that connects to a TLS port and says nothing. */
export const HELLO_WAIT_MS = 5_000;

/** The stream as it was, and the name it asks for. Never rejects: what is no TLS has none. */
export function peekHello(stream: ByteStream, clock: Clock): Promise<{ readonly stream: ByteStream; readonly sni: string | undefined }> {
  return new Promise((resolve) => {
    const pieces: Uint8Array[] = [];
    let octets = 0;
    let over = false;
    const finish = (sni: string | undefined, ended: boolean): void => {
      if (over) return;
      over = true;
      timer.cancel();
      if (!ended) stream.pause();
      resolve({ stream: new ReplayStream(stream, pieces, ended), sni });
    };
    const timer = clock.after(HELLO_WAIT_MS, () => finish(undefined, false));
    stream.attach({
      onData(bytes) {
        pieces.push(bytes);
        octets += bytes.length;
        const hello = readClientHello(pieces.length === 1 ? bytes : Buffer.concat(pieces));
        if (hello.kind !== "more") finish(hello.kind === "hello" ? hello.sni : undefined, false);
        else if (octets > HELLO_MAX_OCTETS) finish(undefined, false);
      },
      onEnd: () => finish(undefined, true),
      onDrain: () => undefined,
      onClose: () => finish(undefined, true),
    });
  });
}
