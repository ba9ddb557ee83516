// Owns log lines on their way into a pipe that its reader may leave full: so many wait, the rest is counted, and nothing ever waits for the reader but an exit.
import { constants, fstatSync, openSync } from "node:fs";
import { systemClock, type Timer } from "./clock.ts";
import { lineCount, lossLine, WAITING_MAX, type LineSink } from "./line-sink.ts";

/** How often a full pipe is tried again: at 64 KiB a time, some 13 MB/s. A try in vain costs some 10 µs. */
const RETRY_MS = 5;
/** A process that ends gives its reader so long for what waits. */
const FINISH_MS = 1000;

/**
 * Descriptor `fd` opened once more without blocking, if it is a pipe: to set O_NONBLOCK on the one we were given would set it for everybody who shares it.
 * undefined: no pipe, or one that we may not open.
 */
export function reopenPipe(fd: number): number | undefined {
  try {
    return fstatSync(fd).isFIFO() ? openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * `write` takes some of the octets and says how many, or throws as write(2) fails; EAGAIN means that there is no room. Order is kept. Once lines are lost, more
 * are until everything that waits is out; then one line says how many.
 */
export class PipeSink implements LineSink {
  readonly #write: (bytes: Uint8Array) => number;
  #waiting: Uint8Array[] = [];
  #octets = 0;
  #lost = 0;
  #why = "";
  #timer: Timer | undefined;

  constructor(write: (bytes: Uint8Array) => number) {
    this.#write = write;
  }

  write(lines: Uint8Array): void {
    if (this.#lost > 0 || this.#octets + lines.length > WAITING_MAX) {
      this.#why ||= `stdout is not read: ${this.#octets >> 10} KiB wait`;
      this.#lost += lineCount(lines);
      return;
    }
    this.#octets += lines.length;
    if (this.#timer !== undefined) return void this.#waiting.push(Buffer.from(lines));
    // The rule: nothing waits, and the pipe has room.
    this.#waiting.push(lines);
    this.#pump();
    const [rest] = this.#waiting;
    if (rest !== undefined) this.#waiting[0] = Buffer.from(rest);
  }

  finish(): void {
    const until = systemClock.monotonic() + FINISH_MS;
    while (!this.#empty() && systemClock.monotonic() < until) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
  }

  #pump(): void {
    if (this.#empty()) {
      this.#timer?.cancel();
      this.#timer = undefined;
    } else this.#timer ??= systemClock.every(RETRY_MS, () => this.#pump());
  }

  /** Writes what there is room for; true: nothing waits, and nothing that was lost is unsaid. */
  #empty(): boolean {
    for (;;) {
      const [first] = this.#waiting;
      if (first === undefined) {
        if (this.#lost === 0) return true;
        const line = Buffer.from(lossLine(this.#lost, this.#why));
        [this.#lost, this.#why] = [0, ""];
        this.#waiting.push(line);
        this.#octets += line.length;
        continue;
      }
      try {
        const taken = this.#write(first);
        this.#octets -= taken;
        if (taken === first.length) this.#waiting.shift();
        else this.#waiting[0] = first.subarray(taken);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false;
        // Nobody reads any more: there is nobody to tell.
        this.#waiting = [];
        this.#octets = this.#lost = 0;
        return true;
      }
    }
  }
}
