// Owns taking over the listening sockets of a predecessor on this node: asked per pod, checked, and never waited for long.
import { formatSocketAddress } from "@ambit/core";
import { closeDescriptor, connectUnix, type Kernel, type Packet, type UnixCaller } from "@ambit/linux";
import { errorText, type Clock, type Logger } from "@ambit/runtime";
import type { ListeningSocket } from "./handover-server.ts";
import { decodeAnswer, encodeAsk, HANDOVER_MAX_BYTES, HANDOVER_SOCKETS_MAX } from "./protocol/handover.ts";

/** An answer comes from a process that serves traffic meanwhile. Without one we bind our own sockets, as always. */
export const HANDOVER_ANSWER_MS = 2_000;
/** An answer takes a fraction of a millisecond; nobody tells when it is there. */
const LOOK_MS = 1;

export interface HandoverClientOptions {
  readonly path: string;
  readonly kernel: Pick<Kernel, "streamListener">;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Predecessor {
  readonly #o: HandoverClientOptions;
  #caller: UnixCaller | undefined;
  /** Set when there is nobody, or nobody who understands us: not asked again. */
  #over = false;

  constructor(options: HandoverClientOptions) {
    this.#o = options;
  }

  /** Sockets that listen in this pod's namespace, now ours to close too. Empty when there is nobody to ask. Never rejects. One at a time. */
  async take(uid: string, netnsInode: bigint): Promise<ListeningSocket[]> {
    const taken: ListeningSocket[] = [];
    try {
      for (let more = this.#connected(); more; ) {
        const packet = await this.#ask(encodeAsk({ uid, netnsInode, from: taken.length }));
        const answer = packet.truncated ? undefined : decodeAnswer(packet.data.toString("utf8").trimEnd(), packet.fds.length);
        if (answer?.ok !== true || taken.length + packet.fds.length > HANDOVER_SOCKETS_MAX) {
          for (const fd of packet.fds) closeDescriptor(fd);
          throw new Error(answer?.ok === false ? answer.error : "the answer is too long");
        }
        packet.fds.forEach((fd, i) => {
          const at = answer.value.sockets[i];
          if (at !== undefined) taken.push({ at, fd });
        });
        more = answer.value.more;
      }
    } catch (error) {
      this.#o.log.info("the predecessor's listeners are not taken over", { error: errorText(error) });
      this.close();
    }
    return taken.filter((socket) => this.#belongs(socket, netnsInode));
  }

  close(): void {
    this.#over = true;
    this.#caller?.[Symbol.dispose]();
    this.#caller = undefined;
  }

  #connected(): boolean {
    if (this.#over) return false;
    try {
      this.#caller ??= connectUnix(this.#o.path, HANDOVER_MAX_BYTES);
      return true;
    } catch {
      // Nobody was here before us, or not one of ours.
      this.#over = true;
      return false;
    }
  }

  async #ask(question: string): Promise<Packet> {
    const { clock } = this.#o;
    this.#caller?.send(Buffer.from(question));
    // The clock is asked before the look: the time may have gone by while we had no processor, and the answer be there.
    for (const until = clock.monotonic() + HANDOVER_ANSWER_MS; ; await clock.sleep(LOOK_MS)) {
      const late = clock.monotonic() >= until;
      const packet = this.#caller?.receive();
      if (packet === undefined) throw new Error("the predecessor ended the conversation");
      if (packet !== "again") return packet;
      if (late) throw new Error(`no answer within ${HANDOVER_ANSWER_MS} ms`);
    }
  }

  /** Where it listens is the kernel's word, not the predecessor's. */
  #belongs(socket: ListeningSocket, netnsInode: bigint): boolean {
    const facts = this.#o.kernel.streamListener(socket.fd);
    if (facts?.netnsInode === netnsInode && formatSocketAddress(facts.local) === formatSocketAddress(socket.at)) return true;
    this.#o.log.warn("a socket that was handed over is not what it was said to be", { said: formatSocketAddress(socket.at), is: facts === undefined ? "no listener" : formatSocketAddress(facts.local) });
    closeDescriptor(socket.fd);
    return false;
  }
}
