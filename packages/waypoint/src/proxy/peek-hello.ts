// Owns looking at a TLS ClientHello that goes by: read, and put back in front of the rest.
import { afterSilence, type Clock } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import { ReplayStream } from "../http/replay-stream.ts";
import { HELLO_MAX_OCTETS, readClientHello } from "../plan/client-hello.ts";

/** A client that connects to a TLS port and says nothing. */
export const HELLO_WAIT_MS = 5_000;

/** What is known of a client that is carried as it is. */
export interface ClientOfTcp {
  /** The name that it asks for. */
  readonly sni: string | undefined;
  /** It speaks TLS itself. */
  readonly tls: boolean;
}

/** The stream as it was, and who it asks for. Never rejects: what is no TLS has no name. */
export function peekHello(stream: ByteStream, clock: Clock): Promise<{ readonly stream: ByteStream; readonly client: ClientOfTcp }> {
  return new Promise((resolve) => {
    const pieces: Uint8Array[] = [];
    let octets = 0;
    let over = false;
    const finish = (hello: { readonly sni: string | undefined } | undefined, ended: boolean): void => {
      if (over) return;
      over = true;
      timer.cancel();
      if (!ended) stream.pause();
      resolve({ stream: new ReplayStream(stream, pieces, ended), client: { sni: hello?.sni, tls: hello !== undefined } });
    };
    const timer = afterSilence(clock, HELLO_WAIT_MS, () => finish(undefined, false));
    stream.attach({
      onData(bytes) {
        pieces.push(bytes);
        octets += bytes.length;
        const hello = readClientHello(pieces.length === 1 ? bytes : Buffer.concat(pieces));
        if (hello.kind !== "more") finish(hello.kind === "hello" ? hello : undefined, false);
        else if (octets > HELLO_MAX_OCTETS) finish(undefined, false);
      },
      onEnd: () => finish(undefined, true),
      onDrain: () => undefined,
      onClose: () => finish(undefined, true),
    });
  });
}
