// Owns what a long step looks like at the terminal: one line that changes on a TTY, plain lines elsewhere.
import { styleText } from "node:util";

export class Progress {
  readonly #tty = process.stdout.isTTY === true;
  readonly #start = performance.now();
  #open = "";

  /** Begins or replaces the current step. */
  step(text: string): void {
    if (text === this.#open) return;
    this.#open = text;
    if (this.#tty) process.stdout.write(`\r\x1b[K${styleText("dim", `${this.#elapsed()} ${text} …`)}`);
    else process.stdout.write(`${this.#elapsed()} ${text}\n`);
  }

  /** Ends the current step with a line that stays. */
  done(text: string): void {
    if (this.#tty) process.stdout.write("\r\x1b[K");
    this.#open = "";
    process.stdout.write(`${styleText("green", "✓")} ${text}\n`);
  }

  line(text: string): void {
    if (this.#tty) process.stdout.write("\r\x1b[K");
    process.stdout.write(`${text}\n`);
    this.#open = "";
  }

  fail(text: string): void {
    if (this.#tty) process.stdout.write("\r\x1b[K");
    this.#open = "";
    process.stdout.write(`${styleText("red", "✗")} ${text}\n`);
  }

  #elapsed(): string {
    return `[${((performance.now() - this.#start) / 1000).toFixed(1).padStart(5)} s]`;
  }
}
