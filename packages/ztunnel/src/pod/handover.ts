// Owns both ends of the hand-over in one process: what we take from a predecessor as we start, and what a successor may take from us.
import type { ChannelServer, Kernel } from "@ambit/linux";
import { errorText, type Clock, type Logger } from "@ambit/runtime";
import { Predecessor } from "./handover-client.ts";
import { offerListeners, type ListeningSocket } from "./handover-server.ts";

export interface HandoverOptions {
  /** Undefined: neither. */
  readonly path: string | undefined;
  readonly kernel: Pick<Kernel, "streamListener">;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Served { readonly netnsInode: bigint; readonly sockets: readonly ListeningSocket[] }

export class Handover {
  readonly #o: HandoverOptions;
  readonly #predecessor: Predecessor | undefined;
  readonly #served = new Map<string, Served>();
  #server: Promise<ChannelServer | undefined> | undefined;
  #taken = 0;
  #closed = false;

  constructor(options: HandoverOptions) {
    this.#o = options;
    const { path, ...rest } = options;
    this.#predecessor = path === undefined ? undefined : new Predecessor({ path, ...rest });
  }

  /** A predecessor's listening sockets in this pod: the caller's to use or to close. */
  async take(uid: string, netnsInode: bigint): Promise<readonly ListeningSocket[]> {
    const taken = (await this.#predecessor?.take(uid, netnsInode)) ?? [];
    this.#taken += taken.length;
    return taken;
  }

  serves(uid: string, netnsInode: bigint, sockets: readonly ListeningSocket[]): void {
    this.#served.set(uid, { netnsInode, sockets });
  }

  /** Before they are closed: their numbers may name something else then. */
  forget(uid: string): void {
    this.#served.delete(uid);
  }

  /** Every pod of the node is served: the predecessor has nothing more for us, and we are the one to ask. */
  settled(): void {
    const { path, kernel, clock, log } = this.#o;
    if (path === undefined || this.#server !== undefined || this.#closed) return;
    this.#predecessor?.close();
    if (this.#taken > 0) log.info("listeners taken over", { sockets: this.#taken });
    this.#server = offerListeners({ path, kernel, clock, log, socketsOf: (uid, netnsInode) => {
      const served = this.#served.get(uid);
      return served?.netnsInode === netnsInode ? served.sockets : [];
    } }).catch((error: unknown) => {
      log.warn("listeners cannot be handed over to a successor", { path, error: errorText(error) });
      return undefined;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#served.clear();
    this.#predecessor?.close();
    await (await this.#server)?.close();
  }
}
