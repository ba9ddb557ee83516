// Owns a stream handler for tests: it keeps what came, and lets a test wait for it.
import { createHash } from "node:crypto";
import type { ByteStream, ByteStreamHandler } from "@ambit/transport";

export class Recorder implements ByteStreamHandler {
  octets = 0;
  ended = false;
  closes = 0;
  error: Error | undefined;
  drains = 0;
  /** Every event in order; consecutive data counts once. */
  readonly events: ("data" | "end" | "drain" | "close")[] = [];
  /** When set, called with each piece of data. */
  onPiece: ((bytes: Uint8Array) => void) | undefined;
  readonly #hash = createHash("sha256");
  readonly #head: Uint8Array[] = [];
  #waits: { readonly met: () => boolean; readonly resolve: () => void }[] = [];

  constructor(stream?: ByteStream) {
    stream?.attach(this);
  }

  onData(bytes: Uint8Array): void {
    this.octets += bytes.length;
    this.#hash.update(bytes);
    if (this.octets <= HEAD_MAX) this.#head.push(bytes);
    if (this.events.at(-1) !== "data") this.events.push("data");
    this.onPiece?.(bytes);
    this.#check();
  }

  onEnd(): void {
    this.ended = true;
    this.events.push("end");
    this.#check();
  }

  onDrain(): void {
    this.drains++;
    this.events.push("drain");
    this.#check();
  }

  onClose(error?: Error): void {
    this.closes++;
    this.error = error;
    this.events.push("close");
    this.#check();
  }

  /** SHA-256 of everything so far; once. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  /** The first octets as latin-1 text. */
  get text(): string {
    return Buffer.concat(this.#head).toString("latin1");
  }

  until(met: (r: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waits.push({ met: () => met(this), resolve });
      this.#check();
    });
  }

  get closed(): Promise<void> {
    return this.until((r) => r.closes > 0);
  }

  #check(): void {
    const met = this.#waits.filter((w) => w.met());
    this.#waits = this.#waits.filter((w) => !met.includes(w));
    for (const wait of met) wait.resolve();
  }
}

const HEAD_MAX = 64 << 10;

/** So many turns of the event loop: for "nothing more happens", never as synchronisation. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Writes everything, pausing when told. */
export async function sendAll(stream: ByteStream, recorder: Recorder, bytes: Uint8Array, pieceOctets: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += pieceOctets) {
    const drains = recorder.drains;
    if (stream.write(bytes.subarray(at, at + pieceOctets))) continue;
    await recorder.until((r) => r.drains > drains || r.closes > 0);
    if (recorder.closes > 0) return;
  }
}
