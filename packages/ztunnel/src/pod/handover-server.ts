// Owns giving our listening sockets to a successor on this node that asks for them; we go on accepting from them until we drain.
import type { SocketAddress } from "@ambit/core";
import { listenUnix, type Channel, type ChannelServer, type Kernel } from "@ambit/linux";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import { decodeAsk, encodeAnswer, HANDOVER_FDS_MAX, HANDOVER_MAX_BYTES, type HandoverAsk } from "./protocol/handover.ts";

export interface ListeningSocket { readonly at: SocketAddress; readonly fd: number }

export interface HandoverServerOptions {
  readonly path: string;
  /** Sockets of a pod in this very namespace; none when it is not ours (any more). */
  readonly socketsOf: (uid: string, netnsInode: bigint) => readonly ListeningSocket[];
  readonly kernel: Pick<Kernel, "streamListener">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Successors at once: one, and some that failed before it. */
const CONNECTIONS_MAX = 4;
/** A successor that asks for nothing more is let go of. */
const IDLE_MS = 30_000;

/** Listens at `path`, in place of whoever did before. */
export function offerListeners(o: HandoverServerOptions): Promise<ChannelServer> {
  let open = 0;
  return listenUnix(o.path, (channel) => {
    if (open >= CONNECTIONS_MAX) return channel.close();
    open++;
    serve(channel, o, () => { open--; });
  });
}

function serve(channel: Channel, o: HandoverServerOptions, ended: () => void): void {
  let held = "";
  let idle: Timer | undefined;
  const refuse = (error: string): void => {
    o.log.info("a successor's question is not understood", { error });
    held = "";
    channel.close();
  };
  const wait = (): void => {
    idle?.cancel();
    idle = o.clock.after(IDLE_MS, () => channel.close());
  };
  wait();
  channel.setHandler({
    onEnd: () => { idle?.cancel(); ended(); },
    onPacket: ({ data }) => {
      wait();
      held += data.toString("utf8");
      for (let end = held.indexOf("\n"); end >= 0; end = held.indexOf("\n")) {
        const ask = decodeAsk(held.slice(0, end));
        held = held.slice(end + 1);
        if (!ask.ok) return refuse(ask.error);
        try {
          answer(channel, ask.value, o);
        } catch (error) {
          return refuse(errorText(error));
        }
      }
      if (held.length > HANDOVER_MAX_BYTES) refuse(`a question above ${HANDOVER_MAX_BYTES} octets`);
    },
  });
}

function answer(channel: Channel, ask: HandoverAsk, o: HandoverServerOptions): void {
  // A number may name something else by now: what is sent is what listens in that namespace.
  const all = o.socketsOf(ask.uid, ask.netnsInode).filter(({ fd }) => o.kernel.streamListener(fd)?.netnsInode === ask.netnsInode);
  const part = all.slice(ask.from, ask.from + HANDOVER_FDS_MAX);
  channel.send(Buffer.from(encodeAnswer({ sockets: part.map((s) => s.at), more: all.length > ask.from + part.length })), part.map((s) => s.fd));
}
